//! Which attributes records have.

use hashbrown::HashSet;

use super::chunk::{Chunk, NONE, Record};
use crate::query::engine::Names;
use crate::value::{Value, parse_map};

/// More keys than this are not listed: then the rows tell.
const MOST: usize = 10_000;

/// The keys of all attributes of all records by scope; none if there are too many to list.
pub(in crate::store) fn names<R: Record>(chunks: &[&Chunk<R>]) -> Option<Names> {
    let mut names = Names::new();
    for chunk in chunks {
        let text = |number: u32| chunk.pool.get(number);
        let mut keys = vec![false; chunk.pool.len()];
        for attribute in &chunk.attributes {
            keys[attribute.key as usize] = true;
        }
        for (number, _) in (0_u32..).zip(&keys).filter(|(_, there)| **there) {
            note(&mut names, "span", text(number));
        }
        let (mut resources, mut scopes) = (HashSet::new(), HashSet::new());
        for row in &chunk.rows {
            let (resource, scope) = row.origin();
            if resources.insert(resource) {
                attributes(&mut names, "resource", parse_map(text(resource)).map(Value::Map));
            }
            if scopes.insert(scope) {
                attributes(&mut names, "instrumentation", parse_map(text(scope)).map(Value::Map));
            }
            let Some(span) = row.as_span() else { continue };
            for (list, scope) in [(span.events, "event"), (span.links, "link")] {
                if list != NONE
                    && let Some(Value::Array(items)) = Value::parse(text(list))
                {
                    items.into_iter().for_each(|item| attributes(&mut names, scope, Some(item)));
                }
            }
        }
        if names.values().map(std::collections::BTreeSet::len).sum::<usize>() > MOST {
            return None;
        }
    }
    Some(names)
}

/// Notes the keys of an object's attributes.
fn attributes(names: &mut Names, scope: &str, object: Option<Value>) {
    let Some(Value::Map(members)) = object else { return };
    for (member, value) in members {
        if let Value::Map(attributes) = value
            && member == "attributes"
        {
            attributes.iter().for_each(|(key, _)| note(names, scope, key));
        }
    }
}

fn note(names: &mut Names, scope: &str, key: &str) {
    if let Some(keys) = names.get_mut(scope) {
        if !keys.contains(key) {
            keys.insert(key.to_owned());
        }
    } else {
        names.insert(scope.to_owned(), [key.to_owned()].into());
    }
}

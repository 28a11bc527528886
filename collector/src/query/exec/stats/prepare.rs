//! What questions come to in parts that do not change, found out before anybody asks them.

use std::cmp::Reverse;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::{Reading, Wanted};
use crate::query::engine::{Control, Part, QueryError};
use crate::query::exec::memo::{Known, Partial as _};
use crate::query::exec::{Plan, Queries, parallel};
use crate::query::request::StatsRequest;

/// What was found out ahead of time about which parts, so that none is read twice for it.
#[derive(Debug, Default)]
pub struct Prepared {
    /// The bytes that were kept of each part.
    parts: HashMap<u64, usize>,
    rows: u64,
}

impl Prepared {
    /// Rows that were read ahead of time so far.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    fn bytes(&self) -> usize {
        self.parts.values().sum()
    }
}

/// Finds out what a question comes to, and a lesser one that it implies, from the newest part back. What the greater one takes
/// most of the memory for is left to the lesser one, and what has no room then is left out.
pub(in crate::query::exec) fn prepare(
    queries: &Queries,
    request: &StatsRequest,
    (greater, lesser): (&Wanted<'_>, &Wanted<'_>),
    prepared: &mut Prepared,
    control: &Control,
) -> Result<(), QueryError> {
    let plan = Plan::new(&request.q, request.start, request.end)?;
    let most = queries.memo.most();
    let greater = Reading::new(queries, &plan, request, greater, control)?;
    let lesser = Reading::new(queries, &plan, request, lesser, control)?;
    let there: HashSet<u64> = greater.parts.iter().filter_map(|part| part.identity()).collect();
    prepared.parts.retain(|part, _| there.contains(part));
    for (reading, implied, most) in [(&greater, Some(&lesser), most / 2), (&lesser, None, most / 4 * 3)] {
        let mut parts: Vec<(&dyn Part, u64)> =
            reading.parts.iter().filter_map(|part| Some((&**part, part.identity()?))).collect();
        parts.sort_by_key(|(part, _)| Reverse(part.times().1));
        for (part, identity) in parts {
            if prepared.bytes() >= most {
                break;
            }
            if prepared.parts.contains_key(&identity) {
                continue;
            }
            control.check()?;
            // Noted before it is read: what cannot be read stands in nobody's way.
            prepared.parts.insert(identity, 0);
            let (rows, bytes) = keep(queries, part, identity, (reading, implied), control)?;
            prepared.rows += rows;
            prepared.parts.insert(identity, bytes);
        }
    }
    Ok(())
}

/// Reads a part, and keeps what it comes to; returns its rows, and the bytes of what is kept.
fn keep(
    queries: &Queries,
    part: &dyn Part,
    identity: u64,
    (reading, implied): (&Reading<'_>, Option<&Reading<'_>>),
    control: &Control,
) -> Result<(u64, usize), QueryError> {
    let (memo, mut found) = (&queries.memo, super::Read::default());
    let rows = parallel::read(part, control, &mut found, &|all: &mut super::Read, batch| {
        reading.reader.read(all, batch)
    })?;
    control.give_memory(found.bytes());
    found.seal();
    let mut kept = 0;
    let mut put = |question: &Arc<str>, found: super::Read| {
        let bytes = found.bytes();
        if memo.has_room(bytes, bytes) {
            kept += bytes;
            memo.put(identity, question, &Known { partial: Arc::new(found), rows });
        }
    };
    if let Some(implied) = implied {
        put(&implied.question, implied.reader.implied(&found));
    }
    put(&reading.question, found);
    Ok((rows, kept))
}

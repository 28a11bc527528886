//! What requests of all signals have in common: resources, scopes, attributes and values, as texts of a chunk.

use hashbrown::{HashMap, HashSet};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::chunk::{Attribute, Cell, Chunk, Record};
use crate::value::{MAX_DEPTH, write_bytes, write_double, write_int, write_string};

/// The service of what comes from a resource that names none.
pub(in crate::store) const UNKNOWN_SERVICE: &str = "unknown_service";
/// A chunk has no room.
pub(in crate::store) const FULL: &str = "the request holds more text than fits (4 GB)";

/// More attributes than this are looked up by their hash, so that a million of them do not take a million times as long.
const MANY: usize = 64;

/// A decoded request.
#[derive(Debug)]
pub(in crate::store) struct Decoded<R = super::chunk::Row> {
    pub(in crate::store) chunk: Chunk<R>,
    /// Records that are none.
    pub(in crate::store) rejected: u64,
    /// Why, for the first of them.
    pub(in crate::store) reason: String,
}

impl<R> Default for Decoded<R> {
    fn default() -> Self {
        Self { chunk: Chunk::default(), rejected: 0, reason: String::new() }
    }
}

impl<R> Decoded<R> {
    /// Counts a record that is none.
    pub(in crate::store) fn reject(&mut self, what: &str, name: &str, reason: &str) {
        self.rejected += 1;
        if self.reason.is_empty() {
            self.reason = format!("{what} {:?}: {reason}", cut(name));
        }
    }
}

/// What records of one scope of one resource share.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Shared {
    pub(in crate::store) resource: u32,
    pub(in crate::store) service: u32,
    pub(in crate::store) scope: u32,
}

impl Shared {
    /// The texts of a resource, and of a scope, in a chunk; `None` when it is full.
    pub(in crate::store) fn of<R: Record>(
        chunk: &mut Chunk<R>,
        resource: (&Resource, &str),
        scope: (&InstrumentationScope, &str),
        text: &mut String,
    ) -> Option<Self> {
        resource_text(resource.0, resource.1, text);
        let (resource, service) = (chunk.pool.intern(text)?, chunk.pool.intern(service_of(resource.0))?);
        scope_text(scope.0, scope.1, text);
        Some(Self { resource, service, scope: chunk.pool.intern(text)? })
    }
}

/// As much of a name as an error needs.
pub(in crate::store) fn cut(name: &str) -> String {
    name.chars().take(80).collect()
}

fn service_of(resource: &Resource) -> &str {
    let named = resource.attributes.iter().rev().find(|attribute| attribute.key == "service.name");
    match named.and_then(|attribute| attribute.value.as_ref()).and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(name)) if !name.is_empty() => name,
        _ => UNKNOWN_SERVICE,
    }
}

/// A time that rows can be found by: time ranges end before the last nanosecond there is.
pub(in crate::store) fn time(nanos: u64, what: &str) -> Result<i64, String> {
    let time = i64::try_from(nanos).ok().filter(|&time| time < i64::MAX);
    time.ok_or_else(|| format!("its {what} {nanos} is past the year 2262"))
}

/// An id that is one.
pub(in crate::store) fn id<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N], String> {
    match <[u8; N]>::try_from(bytes) {
        Ok(id) if id != [0; N] => Ok(id),
        Ok(_) => Err(format!("its {what} is all zeros")),
        Err(_) => Err(format!("its {what} has {} bytes, expected {N}", bytes.len())),
    }
}

/// Appends the attributes of a record; none of them when there is an error.
pub(in crate::store) fn add_attributes<R: Record>(
    chunk: &mut Chunk<R>,
    attributes: &[KeyValue],
    text: &mut String,
) -> Result<(u32, u32), String> {
    let before = chunk.attributes.len();
    let first = u32::try_from(before).map_err(|_| FULL)?;
    if let Err(reason) = push_attributes(chunk, attributes, text) {
        chunk.attributes.truncate(before);
        return Err(reason);
    }
    let count = u32::try_from(chunk.attributes.len() - before).map_err(|_| FULL)?;
    Ok((first, count))
}

fn push_attributes<R: Record>(
    chunk: &mut Chunk<R>,
    attributes: &[KeyValue],
    text: &mut String,
) -> Result<(), String> {
    let before = chunk.attributes.len();
    let (many, mut seen) = (attributes.len() > MANY, HashMap::new());
    for attribute in attributes {
        let key = chunk.pool.intern(&attribute.key).ok_or(FULL)?;
        let cell = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Any::StringValue(value)) => Cell::Text(chunk.pool.intern(value).ok_or(FULL)?),
            Some(Any::IntValue(value)) => Cell::Int(*value),
            Some(Any::DoubleValue(value)) => Cell::Double(*value),
            Some(Any::BoolValue(value)) => Cell::Bool(*value),
            other => {
                text.clear();
                if !any_text(other, text, 0) {
                    return Err(format!(
                        "its attribute {:?} is nested deeper than {MAX_DEPTH}",
                        cut(&attribute.key)
                    ));
                }
                Cell::Json(chunk.pool.intern(text).ok_or(FULL)?)
            }
        };
        // A key is there once; of those that senders repeat, the last one counts.
        let earlier = if many {
            seen.get(&key).copied()
        } else {
            chunk.attributes[before..].iter().position(|earlier| earlier.key == key)
        };
        match earlier {
            Some(place) => chunk.attributes[before + place].cell = cell,
            None => {
                if many {
                    seen.insert(key, chunk.attributes.len() - before);
                }
                chunk.attributes.push(Attribute { key, cell });
            }
        }
    }
    Ok(())
}

/// Appends a value as in [`crate::value`]; false if it is nested too deep.
pub(in crate::store) fn any_text(value: Option<&Any>, out: &mut String, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    let inner = |value: &AnyValue, out: &mut String| any_text(value.value.as_ref(), out, depth + 1);
    match value {
        None => out.push_str("null"),
        Some(Any::StringValue(value)) => write_string(value, out),
        Some(Any::BoolValue(value)) => out.push_str(if *value { "true" } else { "false" }),
        Some(Any::IntValue(value)) => write_int(*value, out),
        Some(Any::DoubleValue(value)) => write_double(*value, out),
        Some(Any::BytesValue(value)) => write_bytes(value, out),
        Some(Any::ArrayValue(array)) => {
            out.push('[');
            for (index, value) in array.values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                if !inner(value, out) {
                    return false;
                }
            }
            out.push(']');
        }
        Some(Any::KvlistValue(list)) => {
            let escaped = list.values.first().is_some_and(|entry| entry.key.starts_with('$'));
            out.push_str(if escaped { "{\"$map\":{" } else { "{" });
            for (index, entry) in list.values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(&entry.key, out);
                out.push(':');
                match &entry.value {
                    Some(value) if !inner(value, out) => return false,
                    Some(_) => {}
                    None => out.push_str("null"),
                }
            }
            out.push_str(if escaped { "}}" } else { "}" });
        }
        // Numbers of a string table that is not in such a request.
        Some(_) => out.push_str("null"),
    }
    true
}

fn attributes_text(attributes: &[KeyValue], out: &mut String) {
    // Of keys that senders repeat, the last one counts.
    let mut seen: HashSet<&str> = HashSet::new();
    let last: Vec<&KeyValue> = if attributes.len() > MANY {
        let mut last: Vec<_> =
            attributes.iter().rev().filter(|attribute| seen.insert(&attribute.key)).collect();
        last.reverse();
        last
    } else {
        let later = |index: usize, key: &str| attributes[index + 1..].iter().any(|later| later.key == key);
        let places = attributes.iter().enumerate();
        places.filter(|(index, it)| !later(*index, &it.key)).map(|(_, attribute)| attribute).collect()
    };
    // What begins with `$` would be taken for a value of another kind.
    let escaped = last.first().is_some_and(|attribute| attribute.key.starts_with('$'));
    out.push_str(if escaped { "{\"$map\":{" } else { "{" });
    for (index, attribute) in last.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(&attribute.key, out);
        out.push(':');
        let before = out.len();
        if !any_text(attribute.value.as_ref().and_then(|value| value.value.as_ref()), out, 0) {
            // Too deep to keep: the key stays, so that one sees that something was there.
            out.truncate(before);
            out.push_str("null");
        }
    }
    out.push_str(if escaped { "}}" } else { "}" });
}

/// Writes the members of an object, commas between them.
pub(in crate::store) struct Members<'a> {
    out: &'a mut String,
    first: bool,
}

impl Members<'_> {
    pub(in crate::store) fn key(&mut self, key: &str) -> &mut String {
        self.out.push(if self.first { '{' } else { ',' });
        self.first = false;
        write_string(key, self.out);
        self.out.push(':');
        self.out
    }

    pub(in crate::store) fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            write_string(value, self.key(key));
        }
    }

    pub(in crate::store) fn count(&mut self, key: &str, value: u32) {
        if value > 0 {
            write_int(i64::from(value), self.key(key));
        }
    }

    pub(in crate::store) fn attributes(&mut self, attributes: &[KeyValue]) {
        if !attributes.is_empty() {
            attributes_text(attributes, self.key("attributes"));
        }
    }

    pub(in crate::store) fn end(self) {
        self.out.push_str(if self.first { "{}" } else { "}" });
    }
}

/// Begins an object.
pub(in crate::store) fn members(out: &mut String) -> Members<'_> {
    Members { out, first: true }
}

fn resource_text(resource: &Resource, schema_url: &str, out: &mut String) {
    out.clear();
    let mut object = members(out);
    object.attributes(&resource.attributes);
    object.count("dropped_attributes_count", resource.dropped_attributes_count);
    object.text("schema_url", schema_url);
    object.end();
}

fn scope_text(scope: &InstrumentationScope, schema_url: &str, out: &mut String) {
    out.clear();
    let mut object = members(out);
    object.text("name", &scope.name);
    object.text("version", &scope.version);
    object.attributes(&scope.attributes);
    object.count("dropped_attributes_count", scope.dropped_attributes_count);
    object.text("schema_url", schema_url);
    object.end();
}

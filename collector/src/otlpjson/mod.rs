//! OTLP/JSON as protobuf, and protobuf as OTLP/JSON.

mod encode;
mod schema;
mod write;

use bytes::Bytes;
use serde::de::DeserializeSeed as _;

use self::encode::Fields;
pub(crate) use self::write::write;
use crate::ingest::Signal;

/// How deep objects and arrays may be nested. A value of an attribute that is nested as deep as protobuf allows is not
/// deeper than this.
const MAX_DEPTH: usize = 120;

/// Objects of a request at most. An empty one takes three bytes here and some hundred in memory.
const MAX_OBJECTS: usize = 250_000;

/// The protobuf of a JSON request.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn decode(signal: Signal, body: &[u8]) -> Result<Bytes, String> {
    check_bounds(body)?;
    let of = request(signal);
    let mut out = Vec::with_capacity(body.len() / 2);
    let mut from = serde_json::Deserializer::from_slice(body);
    let read = Fields { of, out: &mut out }.deserialize(&mut from).and_then(|()| from.end());
    read.map_err(|error| format!("the body is no {} in OTLP/JSON: {error}", of.name))?;
    Ok(out.into())
}

const fn request(signal: Signal) -> &'static schema::Message {
    match signal {
        Signal::Traces => &schema::TRACES,
        Signal::Metrics => &schema::METRICS,
        Signal::Logs => &schema::LOGS,
    }
}

/// Before anything recurses.
fn check_bounds(body: &[u8]) -> Result<(), String> {
    let (mut depth, mut objects, mut in_text, mut escaped) = (0_usize, 0_usize, false, false);
    for (at, &byte) in body.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                objects += usize::from(byte == b'{');
                if depth > MAX_DEPTH {
                    return Err(format!("the body is nested deeper than {MAX_DEPTH} (at byte {at})"));
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if objects > MAX_OBJECTS {
        return Err(format!(
            "the body has {objects} objects, at most {MAX_OBJECTS} are taken; send smaller batches"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

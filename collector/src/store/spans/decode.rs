//! An OTLP request as a chunk of spans.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use prost::Message as _;

use super::chunk::{Attribute, Cell, Chunk, NONE, Row};
use crate::value::{MAX_DEPTH, write_bytes, write_double, write_int, write_string};

/// The service of spans whose resource names none.
pub(in crate::store) const UNKNOWN_SERVICE: &str = "unknown_service";

/// A decoded request.
#[derive(Debug, Default)]
pub(in crate::store) struct Decoded {
    pub(in crate::store) chunk: Chunk,
    /// Spans that are none.
    pub(in crate::store) rejected: u64,
    /// Why, for the first of them.
    pub(in crate::store) reason: String,
}

/// Decodes a request. The same bytes give the same spans, so what is refused now is refused when the log is read again.
///
/// # Errors
/// When the bytes are no such request.
pub(in crate::store) fn decode(request: Bytes) -> Result<Decoded, String> {
    let request = ExportTraceServiceRequest::decode(request)
        .map_err(|error| format!("the body is no ExportTraceServiceRequest: {error}"))?;
    let mut decoded = Decoded::default();
    let mut text = String::new();
    for spans in request.resource_spans {
        let resource = spans.resource.unwrap_or_default();
        let service = service_of(&resource);
        resource_text(&resource, &spans.schema_url, &mut text);
        let numbers = decoded.chunk.pool.intern(&text).zip(decoded.chunk.pool.intern(service));
        for scoped in spans.scope_spans {
            scope_text(&scoped.scope.unwrap_or_default(), &scoped.schema_url, &mut text);
            let scope = decoded.chunk.pool.intern(&text);
            for span in scoped.spans {
                let shared = numbers.zip(scope).map(|((resource, service), scope)| Shared {
                    resource,
                    service,
                    scope,
                });
                if let Err(reason) = add(&mut decoded.chunk, shared, &span, &mut text) {
                    decoded.rejected += 1;
                    if decoded.reason.is_empty() {
                        decoded.reason = format!("span {:?}: {reason}", cut(&span.name));
                    }
                }
            }
        }
    }
    Ok(decoded)
}

/// What spans of one scope of one resource share.
#[derive(Clone, Copy)]
struct Shared {
    resource: u32,
    service: u32,
    scope: u32,
}

fn cut(name: &str) -> String {
    name.chars().take(80).collect()
}

fn service_of(resource: &Resource) -> &str {
    let named = resource.attributes.iter().rev().find(|attribute| attribute.key == "service.name");
    match named.and_then(|attribute| attribute.value.as_ref()).and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(name)) if !name.is_empty() => name,
        _ => UNKNOWN_SERVICE,
    }
}

fn id<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N], String> {
    match <[u8; N]>::try_from(bytes) {
        Ok(id) if id != [0; N] => Ok(id),
        Ok(_) => Err(format!("its {what} is all zeros")),
        Err(_) => Err(format!("its {what} has {} bytes, expected {N}", bytes.len())),
    }
}

/// Appends a span, or says why it is none.
fn add(chunk: &mut Chunk, shared: Option<Shared>, span: &Span, text: &mut String) -> Result<(), String> {
    const FULL: &str = "the request holds more text than fits (4 GB)";
    let shared = shared.ok_or(FULL)?;
    let parent =
        if span.parent_span_id.iter().all(|&byte| byte == 0) && matches!(span.parent_span_id.len(), 0 | 8) {
            [0; 8]
        } else {
            id(&span.parent_span_id, "parent_span_id")?
        };
    let start = i64::try_from(span.start_time_unix_nano).map_err(|_| {
        format!("its start_time_unix_nano {} is past the year 2262", span.start_time_unix_nano)
    })?;
    let end = i64::try_from(span.end_time_unix_nano).unwrap_or(i64::MAX);
    let trace_id = id(&span.trace_id, "trace_id")?;
    let span_id = id(&span.span_id, "span_id")?;
    // Everything that can be refused comes before the first change of the rows.
    let attributes_before = chunk.attributes.len();
    let first_attribute = u32::try_from(attributes_before).map_err(|_| FULL)?;
    if let Err(reason) = add_attributes(chunk, &span.attributes, text) {
        chunk.attributes.truncate(attributes_before);
        return Err(reason);
    }
    let rest = || -> Option<Row> {
        let pool = &mut chunk.pool;
        let status = span.status.as_ref();
        let message = status.map_or("", |status| status.message.as_str());
        Some(Row {
            trace_id,
            span_id,
            parent,
            start,
            // A clock that was set back gives an end before the start.
            duration: end.saturating_sub(start).max(0),
            service: shared.service,
            name: pool.intern(&span.name)?,
            message: if message.is_empty() { NONE } else { pool.intern(message)? },
            trace_state: if span.trace_state.is_empty() { NONE } else { pool.intern(&span.trace_state)? },
            resource: shared.resource,
            scope: shared.scope,
            events: if span.events.is_empty() {
                NONE
            } else {
                events_text(&span.events, text);
                pool.push(text)?
            },
            links: if span.links.is_empty() {
                NONE
            } else {
                links_text(&span.links, text);
                pool.push(text)?
            },
            first_attribute,
            attributes: u32::try_from(chunk.attributes.len() - attributes_before).ok()?,
            flags: span.flags,
            dropped: [span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count],
            kind: i8::try_from(span.kind).unwrap_or(0),
            status: i8::try_from(status.map_or(0, |status| status.code)).unwrap_or(0),
        })
    };
    match { rest }() {
        Some(row) => {
            chunk.rows.push(row);
            Ok(())
        }
        None => {
            chunk.attributes.truncate(attributes_before);
            Err(FULL.to_owned())
        }
    }
}

fn add_attributes(chunk: &mut Chunk, attributes: &[KeyValue], text: &mut String) -> Result<(), String> {
    let before = chunk.attributes.len();
    for attribute in attributes {
        const FULL: &str = "the request holds more text than fits (4 GB)";
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
        match chunk.attributes[before..].iter_mut().find(|earlier| earlier.key == key) {
            Some(earlier) => earlier.cell = cell,
            None => chunk.attributes.push(Attribute { key, cell }),
        }
    }
    Ok(())
}

/// Appends a value as in [`crate::value`]; false if it is nested too deep.
fn any_text(value: Option<&Any>, out: &mut String, depth: usize) -> bool {
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
    out.push('{');
    let mut first = true;
    for (index, attribute) in attributes.iter().enumerate() {
        if attributes[index + 1..].iter().any(|later| later.key == attribute.key) {
            continue;
        }
        if !first {
            out.push(',');
        }
        first = false;
        write_string(&attribute.key, out);
        out.push(':');
        let before = out.len();
        if !any_text(attribute.value.as_ref().and_then(|value| value.value.as_ref()), out, 0) {
            // Too deep to keep: the key stays, so that one sees that something was there.
            out.truncate(before);
            out.push_str("null");
        }
    }
    out.push('}');
}

/// Writes the members of an object, commas between them.
struct Members<'a> {
    out: &'a mut String,
    first: bool,
}

impl Members<'_> {
    fn key(&mut self, key: &str) -> &mut String {
        self.out.push(if self.first { '{' } else { ',' });
        self.first = false;
        write_string(key, self.out);
        self.out.push(':');
        self.out
    }

    fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            write_string(value, self.key(key));
        }
    }

    fn count(&mut self, key: &str, value: u32) {
        if value > 0 {
            write_int(i64::from(value), self.key(key));
        }
    }

    fn attributes(&mut self, attributes: &[KeyValue]) {
        if !attributes.is_empty() {
            attributes_text(attributes, self.key("attributes"));
        }
    }

    fn end(self) {
        self.out.push_str(if self.first { "{}" } else { "}" });
    }
}

fn members(out: &mut String) -> Members<'_> {
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

fn events_text(events: &[Event], out: &mut String) {
    out.clear();
    for (index, event) in events.iter().enumerate() {
        out.push(if index == 0 { '[' } else { ',' });
        let mut object = members(out);
        write_int(i64::try_from(event.time_unix_nano).unwrap_or(i64::MAX), object.key("time"));
        write_string(&event.name, object.key("name"));
        object.attributes(&event.attributes);
        object.count("dropped_attributes_count", event.dropped_attributes_count);
        object.end();
    }
    out.push(']');
}

fn links_text(links: &[Link], out: &mut String) {
    out.clear();
    for (index, link) in links.iter().enumerate() {
        out.push(if index == 0 { '[' } else { ',' });
        let mut object = members(out);
        write_string(&hex::encode(&link.trace_id), object.key("trace_id"));
        write_string(&hex::encode(&link.span_id), object.key("span_id"));
        object.text("trace_state", &link.trace_state);
        object.count("flags", link.flags);
        object.attributes(&link.attributes);
        object.count("dropped_attributes_count", link.dropped_attributes_count);
        object.end();
    }
    out.push(']');
}

//! An OTLP request as a chunk of spans.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use prost::Message as _;

use super::chunk::{Chunk, NONE, Row};
use super::fields::{Decoded, FULL, Shared, add_attributes, id, members, time};
use crate::value::{write_int, write_string};

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
        for scoped in spans.scope_spans {
            let scope = scoped.scope.unwrap_or_default();
            let shared = Shared::of(
                &mut decoded.chunk,
                (&resource, &spans.schema_url),
                (&scope, &scoped.schema_url),
                &mut text,
            );
            for span in scoped.spans {
                if let Err(reason) = add(&mut decoded.chunk, shared, &span, &mut text) {
                    decoded.reject("span", &span.name, &reason);
                }
            }
        }
    }
    Ok(decoded)
}

/// Appends a span, or says why it is none.
fn add(chunk: &mut Chunk, shared: Option<Shared>, span: &Span, text: &mut String) -> Result<(), String> {
    let shared = shared.ok_or(FULL)?;
    let parent =
        if span.parent_span_id.iter().all(|&byte| byte == 0) && matches!(span.parent_span_id.len(), 0 | 8) {
            [0; 8]
        } else {
            id(&span.parent_span_id, "parent_span_id")?
        };
    let start = time(span.start_time_unix_nano, "start_time_unix_nano")?;
    let end = i64::try_from(span.end_time_unix_nano).unwrap_or(i64::MAX);
    let trace_id = id(&span.trace_id, "trace_id")?;
    let span_id = id(&span.span_id, "span_id")?;
    // Everything that can be refused comes before the first change of the rows.
    let attributes_before = chunk.attributes.len();
    let (first_attribute, attributes) = add_attributes(chunk, &span.attributes, text)?;
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
            attributes,
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

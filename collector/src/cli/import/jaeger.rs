//! Jaeger's JSON, as its web page downloads it and its API answers it, as OTLP.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde::Deserialize;
use serde_json::Value as Json;

/// What Jaeger calls the service of those that name none.
const NO_SERVICE: &str = "OTLPResourceNoServiceName";
/// How a link says which kind of reference it is.
const REFERENCE: &str = "opentracing.ref_type";
const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];

#[derive(Debug, Deserialize)]
pub(super) struct Trace {
    spans: Vec<JaegerSpan>,
    #[serde(default)]
    processes: BTreeMap<String, Process>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
    #[serde(default)]
    tags: Option<Vec<Tag>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JaegerSpan {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    /// Files of old have it in place of a reference.
    #[serde(rename = "parentSpanID", default)]
    parent_span_id: Option<String>,
    operation_name: String,
    #[serde(default)]
    references: Option<Vec<Reference>>,
    start_time: u64,
    duration: u64,
    #[serde(default)]
    tags: Option<Vec<Tag>>,
    #[serde(default)]
    logs: Option<Vec<Log>>,
    #[serde(rename = "processID", default)]
    process_id: Option<String>,
    #[serde(default)]
    process: Option<Process>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: String,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Debug, Deserialize)]
struct Log {
    timestamp: u64,
    fields: Vec<Tag>,
}

#[derive(Debug, Clone, Deserialize)]
struct Tag {
    key: String,
    #[serde(rename = "type", default)]
    kind: String,
    value: Json,
}

/// The spans of a trace, each with its resource and scope.
pub(super) fn spans(trace: Trace) -> Result<Vec<ResourceSpans>, String> {
    let Trace { spans, processes } = trace;
    let of = |span: JaegerSpan| {
        let place = format!("the span {:?}", span.span_id);
        let named = span.process_id.as_ref().and_then(|id| processes.get(id));
        let process = span.process.clone().or_else(|| named.cloned());
        let process = process.ok_or_else(|| format!("{place} has a process that is not there"))?;
        one(span, &process).map_err(|what| format!("{place}: {what}"))
    };
    spans.into_iter().map(of).collect()
}

fn one(span: JaegerSpan, process: &Process) -> Result<ResourceSpans, String> {
    let (trace_id, references) = (id::<16>(&span.trace_id)?, span.references.unwrap_or_default());
    let mut parent = span.parent_span_id.as_deref().filter(|id| !id.is_empty()).map(id::<8>).transpose()?;
    let mut links = Vec::new();
    // The first that it is a child of is the parent; without one, the first that it follows.
    for wanted in ["CHILD_OF", "FOLLOWS_FROM"] {
        for reference in references.iter().filter(|reference| reference.ref_type == wanted) {
            let (other, id) = (id::<16>(&reference.trace_id)?, id::<8>(&reference.span_id)?);
            let is_parent = other == trace_id && parent.as_ref().is_none_or(|parent| *parent == id);
            if is_parent {
                parent = Some(id.clone());
            }
            if !is_parent || wanted != "CHILD_OF" {
                links.push(link(other, id, &wanted.to_ascii_lowercase()));
            }
        }
    }
    let nanos =
        |micros: u64| micros.checked_mul(1_000).ok_or_else(|| format!("the time {micros} is past all time"));
    let start = nanos(span.start_time)?;
    let mut out = Span {
        trace_id,
        span_id: id::<8>(&span.span_id)?,
        parent_span_id: parent.unwrap_or_default(),
        name: span.operation_name,
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(nanos(span.duration)?),
        links,
        ..Span::default()
    };
    let (mut scope, mut status) = (InstrumentationScope::default(), Status::default());
    for tag in span.tags.unwrap_or_default() {
        // What Jaeger has as tags of fields that OTLP has.
        match (tag.key.as_str(), &tag.value) {
            ("span.kind", Json::String(kind)) => {
                out.kind = KINDS
                    .iter()
                    .position(|known| known == kind)
                    .and_then(|at| i32::try_from(at).ok())
                    .unwrap_or(0);
            }
            ("otel.status_code", Json::String(code)) => status.code = if code == "OK" { 1 } else { 2 },
            ("otel.status_description", Json::String(message)) => status.message.clone_from(message),
            ("error", Json::Bool(true)) => status.code = 2,
            ("w3c.tracestate", Json::String(state)) => out.trace_state.clone_from(state),
            ("otel.scope.name" | "otel.library.name", Json::String(name)) => scope.name.clone_from(name),
            ("otel.scope.version" | "otel.library.version", Json::String(version)) => {
                scope.version.clone_from(version)
            }
            _ => out.attributes.push(pair(tag)?),
        }
    }
    out.status = Some(status);
    out.events = span.logs.unwrap_or_default().into_iter().map(event).collect::<Result<_, _>>()?;
    let mut attributes = Vec::new();
    if process.service_name != NO_SERVICE {
        attributes.push(text("service.name", &process.service_name));
    }
    for tag in process.tags.iter().flatten() {
        attributes.push(pair(tag.clone())?);
    }
    let scoped = ScopeSpans { scope: Some(scope), spans: vec![out], ..ScopeSpans::default() };
    let resource = Resource { attributes, ..Resource::default() };
    Ok(ResourceSpans { resource: Some(resource), scope_spans: vec![scoped], ..ResourceSpans::default() })
}

/// An id in hex; leading zeros may be left out.
fn id<const N: usize>(hex: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("the id {hex:?} is not up to {} hex digits", N * 2);
    if hex.is_empty() || hex.len() > N * 2 {
        return Err(wrong());
    }
    hex::decode(format!("{hex:0>width$}", width = N * 2)).map_err(|_| wrong())
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Any::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn link(trace_id: Vec<u8>, span_id: Vec<u8>, kind: &str) -> Link {
    Link { trace_id, span_id, attributes: vec![text(REFERENCE, kind)], ..Link::default() }
}

/// A log is an event; the field `event` is its name.
fn event(log: Log) -> Result<Event, String> {
    let time = log
        .timestamp
        .checked_mul(1_000)
        .ok_or_else(|| format!("the time {} is past all time", log.timestamp))?;
    let mut event = Event { time_unix_nano: time, ..Event::default() };
    for field in log.fields {
        match (field.key.as_str(), &field.value) {
            ("event", Json::String(name)) if event.name.is_empty() => event.name.clone_from(name),
            _ => event.attributes.push(pair(field)?),
        }
    }
    Ok(event)
}

fn pair(tag: Tag) -> Result<KeyValue, String> {
    let wrong = || format!("the tag {:?} is {}, which is no {}", tag.key, tag.value, tag.kind);
    let value = match (tag.kind.as_str(), &tag.value) {
        ("int64", Json::String(text)) => Any::IntValue(text.parse().map_err(|_| wrong())?),
        ("int64", value) => Any::IntValue(value.as_i64().ok_or_else(wrong)?),
        ("float64", Json::String(text)) => Any::DoubleValue(text.parse().map_err(|_| wrong())?),
        ("float64", value) => Any::DoubleValue(value.as_f64().ok_or_else(wrong)?),
        ("binary", Json::String(text)) => Any::BytesValue(STANDARD.decode(text).map_err(|_| wrong())?),
        (_, Json::String(text)) => Any::StringValue(text.clone()),
        (_, Json::Bool(value)) => Any::BoolValue(*value),
        (_, Json::Number(number)) => match number.as_i64() {
            Some(whole) => Any::IntValue(whole),
            None => Any::DoubleValue(number.as_f64().ok_or_else(wrong)?),
        },
        (_, other) => Any::StringValue(other.to_string()),
    };
    Ok(KeyValue { key: tag.key, value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() })
}

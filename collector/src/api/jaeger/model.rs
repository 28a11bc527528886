//! Traces in the JSON of Jaeger's API, which its web page reads: tags with types, microseconds.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use serde_json::{Map, Value as Json, json};

use crate::protojson::double;

const SERVICE: &str = "service.name";
/// What Jaeger calls the service of those that name none.
const NO_SERVICE: &str = "OTLPResourceNoServiceName";
/// The largest integer that every reader of JSON takes.
const MOST_EXACT: u64 = (1 << 53) - 1;
const KINDS: [&str; 6] = ["", "internal", "server", "client", "producer", "consumer"];

/// A trace.
pub(super) fn trace(spans: &[ResourceSpans]) -> Json {
    let mut processes = Map::new();
    let (mut out, mut trace_id) = (Vec::new(), String::new());
    for of in spans {
        let name = format!("p{}", processes.len() + 1);
        processes.insert(name.clone(), process(of.resource.as_ref()));
        for scoped in &of.scope_spans {
            for of in &scoped.spans {
                trace_id = shown_trace_id(&of.trace_id);
                out.push((of.start_time_unix_nano, span(of, scoped.scope.as_ref(), &name)));
            }
        }
    }
    out.sort_by_key(|(start, _)| *start);
    let spans: Vec<Json> = out.into_iter().map(|(_, span)| span).collect();
    json!({"traceID": trace_id, "spans": spans, "processes": processes, "warnings": null})
}

/// The first half of an id is not shown if there is nothing in it.
fn shown_trace_id(id: &[u8]) -> String {
    match id.split_at_checked(8) {
        Some((first, rest)) if first.iter().all(|byte| *byte == 0) => hex::encode(rest),
        _ => hex::encode(id),
    }
}

fn process(resource: Option<&Resource>) -> Json {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let service = attributes.iter().find(|pair| pair.key == SERVICE).map(|pair| text(pair.value.as_ref()));
    let others = attributes.iter().filter(|pair| pair.key != SERVICE);
    let tags = sorted(others.map(tag).collect());
    json!({"serviceName": service.unwrap_or_else(|| NO_SERVICE.to_owned()), "tags": tags})
}

fn span(span: &Span, scope: Option<&InstrumentationScope>, process: &str) -> Json {
    let mut tags: Vec<Json> = span.attributes.iter().map(tag).collect();
    let told = |key: &str, value: &str| {
        (!value.is_empty()).then(|| json!({"key": key, "type": "string", "value": value}))
    };
    if let Some(scope) = scope {
        tags.extend(told("otel.scope.name", &scope.name));
        tags.extend(told("otel.scope.version", &scope.version));
    }
    let kind = usize::try_from(span.kind).ok().and_then(|kind| KINDS.get(kind));
    tags.extend(told("span.kind", kind.unwrap_or(&"")));
    let (code, message) = span.status.as_ref().map_or((0, ""), |of| (of.code, of.message.as_str()));
    tags.extend(told(
        "otel.status_code",
        ["", "OK", "ERROR"].get(usize::try_from(code).unwrap_or(0)).unwrap_or(&""),
    ));
    if code == 2 {
        tags.push(json!({"key": "error", "type": "bool", "value": true}));
    }
    tags.extend(told("otel.status_description", message));
    tags.extend(told("w3c.tracestate", &span.trace_state));
    let duration = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    json!({
        "traceID": shown_trace_id(&span.trace_id),
        "spanID": hex::encode(&span.span_id),
        "operationName": span.name,
        "references": references(span),
        "startTime": span.start_time_unix_nano / 1_000,
        "duration": duration / 1_000,
        "tags": sorted(tags),
        "logs": span.events.iter().map(log).collect::<Vec<Json>>(),
        "processID": process,
        "warnings": null,
    })
}

/// Whether a span, its resource or one of its events has an attribute with this value as text.
pub(super) fn has(resource: Option<&Resource>, span: &Span, key: &str, value: &str) -> bool {
    let is = |pair: &KeyValue| pair.key == key && text(pair.value.as_ref()) == value;
    span.attributes.iter().any(is)
        || resource.is_some_and(|resource| resource.attributes.iter().any(is))
        || span.events.iter().any(|event| event.attributes.iter().any(is))
}

/// The parent first; a link to the parent says how it is one.
fn references(span: &Span) -> Vec<Json> {
    let is_parent = |link: &&Link| link.trace_id == span.trace_id && link.span_id == span.parent_span_id;
    let reference = |kind: &str, trace: &[u8], id: &[u8]| json!({"refType": kind, "traceID": shown_trace_id(trace), "spanID": hex::encode(id)});
    let mut out = Vec::new();
    if !span.parent_span_id.is_empty() {
        let kind = span.links.iter().rfind(is_parent).map_or("CHILD_OF", kind_of);
        out.push(reference(kind, &span.trace_id, &span.parent_span_id));
    }
    let others = span.links.iter().filter(|link| !is_parent(link));
    out.extend(others.map(|link| reference(kind_of(link), &link.trace_id, &link.span_id)));
    out
}

fn kind_of(link: &Link) -> &'static str {
    let kind = link.attributes.iter().find(|pair| pair.key == "opentracing.ref_type");
    match kind.map(|pair| text(pair.value.as_ref())).as_deref() {
        Some("child_of") => "CHILD_OF",
        _ => "FOLLOWS_FROM",
    }
}

fn log(event: &Event) -> Json {
    let mut fields: Vec<Json> = event.attributes.iter().map(tag).collect();
    if !event.name.is_empty() && event.attributes.iter().all(|pair| pair.key != "event") {
        fields.push(json!({"key": "event", "type": "string", "value": event.name}));
    }
    json!({"timestamp": event.time_unix_nano / 1_000, "fields": sorted(fields)})
}

fn sorted(mut tags: Vec<Json>) -> Vec<Json> {
    tags.sort_by(|a, b| a["key"].as_str().cmp(&b["key"].as_str()));
    tags
}

fn tag(pair: &KeyValue) -> Json {
    use any_value::Value as Any;
    let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
    let (kind, value) = match value {
        Some(Any::BoolValue(value)) => ("bool", (*value).into()),
        Some(Any::IntValue(number)) if number.unsigned_abs() > MOST_EXACT => {
            ("int64", number.to_string().into())
        }
        Some(Any::IntValue(number)) => ("int64", (*number).into()),
        Some(Any::DoubleValue(number)) => ("float64", double(*number)),
        Some(Any::BytesValue(bytes)) => ("binary", STANDARD.encode(bytes).into()),
        _ => ("string", text(pair.value.as_ref()).into()),
    };
    json!({"key": pair.key, "type": kind, "value": value})
}

/// A value as text; lists and maps as JSON.
fn text(value: Option<&AnyValue>) -> String {
    use any_value::Value as Any;
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        None => String::new(),
        _ => plain(value).to_string(),
    }
}

fn plain(value: Option<&AnyValue>) -> Json {
    use any_value::Value as Any;
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.as_str().into(),
        Some(Any::BoolValue(value)) => (*value).into(),
        Some(Any::IntValue(number)) => (*number).into(),
        Some(Any::DoubleValue(number)) => double(*number),
        Some(Any::BytesValue(bytes)) => STANDARD.encode(bytes).into(),
        Some(Any::ArrayValue(of)) => of.values.iter().map(|value| plain(Some(value))).collect(),
        Some(Any::KvlistValue(of)) => {
            let pairs = of.values.iter().map(|pair| (pair.key.clone(), plain(pair.value.as_ref())));
            Json::Object(pairs.collect::<BTreeMap<_, _>>().into_iter().collect())
        }
        _ => Json::Null,
    }
}

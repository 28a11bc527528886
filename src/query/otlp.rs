//! Traces as Tempo answers them: the JSON of protobuf, with ids in base64.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value as Json;

use super::span::{self, FoundSpan, Kind, Status};
use crate::semconv::resource::SERVICE_NAME;

/// The spans of one resource.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceSpans {
    #[serde(default)]
    resource: Attributes,
    #[serde(default, alias = "instrumentationLibrarySpans")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Debug, Default, Deserialize)]
struct Attributes {
    #[serde(default)]
    attributes: Vec<KeyValue>,
}

#[derive(Debug, Deserialize)]
struct ScopeSpans {
    #[serde(default)]
    spans: Vec<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    trace_id: String,
    span_id: String,
    #[serde(default)]
    parent_span_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    kind: Json,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    #[serde(default)]
    attributes: Vec<KeyValue>,
    #[serde(default)]
    status: SpanStatus,
}

#[derive(Debug, Default, Deserialize)]
struct SpanStatus {
    #[serde(default)]
    code: Json,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Deserialize)]
struct KeyValue {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: Json,
}

/// The spans of a trace.
///
/// # Errors
/// What of it cannot be read.
pub(super) fn found(all: Vec<ResourceSpans>) -> Result<Vec<FoundSpan>, String> {
    let mut out = Vec::new();
    for ResourceSpans { resource, scope_spans } in all {
        let resource = attributes(resource.attributes);
        for span in scope_spans.into_iter().flat_map(|of| of.spans) {
            out.push(one(span, &resource)?);
        }
    }
    Ok(out)
}

fn one(span: Span, resource: &BTreeMap<String, Json>) -> Result<FoundSpan, String> {
    let time = |text: &str| text.parse::<i64>().map_err(|_| format!("{text:?} is no time"));
    let start = time(&span.start_time_unix_nano)?;
    let service = resource.get(SERVICE_NAME).and_then(Json::as_str).unwrap_or_default();
    Ok(FoundSpan {
        trace_id: id(&span.trace_id, 16)?,
        span_id: id(&span.span_id, 8)?,
        parent_span_id: Some(span.parent_span_id.as_str())
            .filter(|id| !id.is_empty())
            .map(|parent| id(parent, 8))
            .transpose()?,
        service: service.to_owned(),
        name: span.name,
        kind: match &span.kind {
            Json::String(name) => Kind::named(name),
            other => {
                numbered(other, &["unspecified", "internal", "server", "client", "producer", "consumer"])
                    .map_or(Kind::Unspecified, Kind::named)
            }
        },
        start_unix_nano: start,
        duration: span::nanos(time(&span.end_time_unix_nano)?.saturating_sub(start)),
        status: match &span.status.code {
            Json::String(name) => Status::named(name),
            other => numbered(other, &["unset", "ok", "error"]).map_or(Status::Unset, Status::named),
        },
        status_message: span.status.message,
        attributes: attributes(span.attributes),
        resource: resource.clone(),
    })
}

fn numbered(number: &Json, names: &[&'static str]) -> Option<&'static str> {
    names.get(usize::try_from(number.as_u64()?).ok()?).copied()
}

/// An id in hex, of base64 or of hex.
fn id(text: &str, bytes: usize) -> Result<String, String> {
    if text.len() == bytes * 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    let wrong = || format!("{text:?} is no id of {bytes} bytes");
    let read = STANDARD.decode(text).ok().filter(|read| read.len() == bytes).ok_or_else(wrong)?;
    Ok(read.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, Json> {
    pairs.into_iter().map(|pair| (pair.key, value(pair.value))).collect()
}

/// A value of OTLP as plain JSON; bytes stay base64.
fn value(of: Json) -> Json {
    let Json::Object(members) = of else { return Json::Null };
    let Some((kind, inner)) = members.into_iter().next() else { return Json::Null };
    match (kind.as_str(), inner) {
        ("intValue", Json::String(text)) => text.parse::<i64>().map_or(Json::Null, Json::from),
        // Without a point where it is whole, from a program in Go.
        ("doubleValue", Json::Number(number)) => number.as_f64().map_or(Json::Null, Json::from),
        ("arrayValue", Json::Object(mut of)) => match of.remove("values") {
            Some(Json::Array(values)) => values.into_iter().map(value).collect(),
            _ => Json::Array(Vec::new()),
        },
        ("kvlistValue", Json::Object(mut of)) => match of.remove("values") {
            Some(Json::Array(pairs)) => {
                let pair = |pair: Json| {
                    let Json::Object(mut pair) = pair else { return None };
                    let key = pair.get("key")?.as_str()?.to_owned();
                    Some((key, pair.remove("value").map_or(Json::Null, value)))
                };
                Json::Object(pairs.into_iter().filter_map(pair).collect())
            }
            _ => Json::Object(serde_json::Map::new()),
        },
        (_, inner) => inner,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::value;

    #[test]
    fn values_have_the_types_that_otlp_tells() {
        let cases = [
            (json!({"doubleValue": 59}), json!(59.0)),
            (json!({"doubleValue": 0.5}), json!(0.5)),
            (json!({"doubleValue": "NaN"}), json!("NaN")),
            (json!({"intValue": "59"}), json!(59)),
            (json!({"intValue": 59}), json!(59)),
            (
                json!({"arrayValue": {"values": [{"doubleValue": 1}, {"stringValue": "1"}]}}),
                json!([1.0, "1"]),
            ),
            (
                json!({"kvlistValue": {"values": [{"key": "a", "value": {"boolValue": true}}]}}),
                json!({"a": true}),
            ),
            (json!({}), json!(null)),
        ];
        for (of, plain) in cases {
            assert_eq!(value(of.clone()), plain, "{of}");
        }
    }
}

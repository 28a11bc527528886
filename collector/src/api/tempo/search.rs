//! Searches for traces, by TraceQL or by tags.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use serde_json::Value as Json;

use super::messages::{FoundSpan, SearchMetrics, SearchResponse, ServiceStats, SpanSet, TraceSearchMetadata};
use super::{Asked, invalid, reply};
use crate::api::ApiState;
use crate::api::error::TempoError;
use crate::api::routes::{Parameters, answer};
use crate::query::go_duration;
use crate::query::search::{self, FoundSet, FoundTrace, SearchRequest};
use crate::query::traceql::{Field, Intrinsic, Literal, parse_field};

/// The name that Tempo gives a root that has not arrived.
const NO_ROOT: &str = "<root span not yet received>";

pub(super) async fn search(
    State(state): State<ApiState>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, TempoError> {
    Ok(reply(&headers, &found(state, &Asked::new(parameters)?).await?))
}

pub(super) async fn found(state: ApiState, asked: &Asked) -> Result<SearchResponse, TempoError> {
    let (start, end) = asked.range()?;
    let (limit, spans) = (asked.number("limit")?, asked.number("spss")?);
    if limit == Some(0) {
        return Err(invalid("invalid limit: must be a positive number"));
    }
    let by_query = asked.text("q").is_some();
    let q = query(asked)?;
    // None of them is all of them.
    let spans_per_set = if spans == Some(0) { Some(MOST_SPANS) } else { spans };
    let request = SearchRequest { q, start, end, limit, spans_per_set, ..SearchRequest::default() };
    let found = answer(state, request, |answers, request, control| answers.search(request, control));
    let found = found.await.map_err(TempoError)?;
    let metrics = SearchMetrics {
        inspected_traces: count(found.traces.len() as u64),
        completed_jobs: 1,
        total_jobs: 1,
        inspected_spans: found.scanned,
    };
    let traces = found.traces.into_iter().map(|trace| shown(trace, by_query)).collect();
    Ok(SearchResponse { traces, metrics: Some(metrics) })
}

/// Spans of a set when all of them are asked for.
const MOST_SPANS: usize = 10_000;

/// The query, or that of the tags and durations.
fn query(asked: &Asked) -> Result<String, TempoError> {
    let tags = asked.text("tags");
    if let Some(q) = asked.text("q") {
        if tags.is_some() {
            return Err(invalid("invalid request: can't specify tags and q in the same query"));
        }
        return Ok(q.to_owned());
    }
    let mut conditions = Vec::new();
    for (key, value) in logfmt(tags.unwrap_or_default())? {
        conditions.push(tag(&key, &value));
    }
    for (name, op) in [("minDuration", ">="), ("maxDuration", "<=")] {
        if let Some(nanos) = asked.duration(name)? {
            conditions.push(format!("{{ traceDuration {op} {} }}", Literal::Duration(nanos)));
        }
    }
    Ok(conditions.join(" && "))
}

/// The spans that a tag is found in: a text that holds it in any case, or a number or boolean that is it.
fn tag(key: &str, value: &str) -> String {
    let holds = Literal::String(format!("(?is).*{}.*", regex::escape(value)));
    let field = match key {
        "error" | "status.code" => {
            let status = if key == "error" && value == "true" { "error" } else { value };
            let known = ["unset", "ok", "error"].contains(&status);
            return format!("{{ status = {} }}", if known { status } else { "unset" });
        }
        "name" => Field::Intrinsic(Intrinsic::Name),
        "root.name" => Field::Intrinsic(Intrinsic::RootName),
        "root.service.name" => Field::Intrinsic(Intrinsic::RootServiceName),
        key => Field::Attribute { scope: crate::query::traceql::Scope::Any, key: key.to_owned() },
    };
    let is_plain = value == "true" || value == "false" || value.parse::<f64>().is_ok_and(f64::is_finite);
    match field {
        Field::Attribute { .. } if is_plain => format!("{{ {field} =~ {holds} || {field} = {value} }}"),
        field => format!("{{ {field} =~ {holds} }}"),
    }
}

/// Pairs as logfmt writes them: `key=value key="a value"`.
fn logfmt(text: &str) -> Result<Vec<(String, String)>, TempoError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let wrong = |what: &str| invalid(format!("invalid tags: {what} at pos {}", text.len() - rest.len()));
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        if key.is_empty() || key.contains('"') {
            return Err(wrong("expected a key"));
        }
        let (value, after) = match after.strip_prefix('=') {
            None => (String::new(), after),
            Some(quoted) if quoted.starts_with('"') => {
                let mut values = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
                let value =
                    values.next().and_then(Result::ok).ok_or_else(|| wrong("a quote is not closed"))?;
                (value, &quoted[values.byte_offset()..])
            }
            Some(plain) => {
                let end = plain.find(char::is_whitespace).unwrap_or(plain.len());
                (plain[..end].to_owned(), &plain[end..])
            }
        };
        if pairs.iter().any(|(known, _)| known == key) {
            return Err(invalid(format!("invalid tags: tag {key} has been set twice")));
        }
        pairs.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn nanos(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

fn shown(trace: FoundTrace, with_sets: bool) -> TraceSearchMetadata {
    let span_sets: Vec<SpanSet> = if with_sets { trace.sets.iter().map(set).collect() } else { Vec::new() };
    let stats = |of: search::ServiceSpans| ServiceStats {
        span_count: count(of.spans),
        error_count: count(of.errors),
    };
    let services: HashMap<String, ServiceStats> =
        trace.services.into_iter().map(|(name, of)| (name, stats(of))).collect();
    TraceSearchMetadata {
        trace_id: trace.trace_id,
        root_service_name: trace.root_service.unwrap_or_else(|| NO_ROOT.to_owned()),
        root_trace_name: trace.root_name.unwrap_or_default(),
        start_time_unix_nano: nanos(trace.start_unix_nano),
        duration_ms: count(nanos(trace.duration_ns) / 1_000_000),
        span_set: span_sets.first().cloned(),
        span_sets,
        service_stats: services,
    }
}

fn set(set: &FoundSet) -> SpanSet {
    let told = |(name, value): (&String, &Json)| {
        let is_time = set.times.contains(name);
        KeyValue { key: name.clone(), value: Some(any(value, is_time)), ..KeyValue::default() }
    };
    SpanSet {
        spans: set.spans.iter().map(span).collect(),
        matched: count(set.matched),
        attributes: set.told.iter().map(told).collect(),
    }
}

fn span(span: &search::FoundSpan) -> FoundSpan {
    let mut shown = FoundSpan {
        span_id: span.span_id.clone(),
        name: String::new(),
        start_time_unix_nano: nanos(span.start_unix_nano),
        duration_nanos: nanos(span.duration_ns),
        attributes: Vec::new(),
    };
    for (field, value) in &span.fields {
        let Ok(field) = parse_field(field) else { continue };
        let (key, is_time) = match &field {
            Field::Intrinsic(Intrinsic::Name) => {
                shown.name = value.as_str().unwrap_or_default().to_owned();
                continue;
            }
            // What each trace and span is shown with anyway.
            Field::Intrinsic(
                Intrinsic::Duration
                | Intrinsic::TraceDuration
                | Intrinsic::RootName
                | Intrinsic::RootServiceName
                | Intrinsic::TraceId
                | Intrinsic::SpanId,
            ) => continue,
            Field::Intrinsic(intrinsic) => (field.to_string(), *intrinsic == Intrinsic::EventTimeSinceStart),
            Field::Attribute { key, .. } => (key.clone(), false),
        };
        shown.attributes.push(KeyValue { key, value: Some(any(value, is_time)), ..KeyValue::default() });
    }
    shown
}

/// A value as Tempo shows it: times are texts.
pub(super) fn any(value: &Json, is_time: bool) -> AnyValue {
    use any_value::Value as Any;
    let value = match value {
        Json::Null => Any::StringValue("nil".to_owned()),
        Json::Bool(value) => Any::BoolValue(*value),
        #[expect(clippy::cast_possible_truncation, reason = "nanoseconds")]
        Json::Number(number) if is_time => {
            let time = number.as_i64().or_else(|| number.as_f64().map(|time| time as i64));
            Any::StringValue(go_duration(time.unwrap_or(0)))
        }
        Json::Number(number) => match number.as_i64() {
            Some(number) => Any::IntValue(number),
            None => Any::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Any::StringValue(text.clone()),
        Json::Array(values) => {
            let values = values.iter().map(|value| any(value, is_time)).collect();
            Any::ArrayValue(ArrayValue { values })
        }
        Json::Object(_) => Any::StringValue(value.to_string()),
    };
    AnyValue { value: Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_logfmt_writes_them() {
        let read = |text| logfmt(text).map_err(|_| ()).unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read(r#"a=b  c="d \"e\"" f"#), [pair("a", "b"), pair("c", "d \"e\""), pair("f", "")]);
        for wrong in ["a=b a=c", "=b", "a=\"b"] {
            assert!(logfmt(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tags_are_queries() {
        assert_eq!(tag("error", "true"), "{ status = error }");
        assert_eq!(tag("service.name", "a.b"), r#"{ .service.name =~ "(?is).*a\\.b.*" }"#);
        for (key, value) in [("n", "500"), ("a key", "it's `x`"), ("b", "true"), ("name", "\"")] {
            let query = tag(key, value);
            crate::query::traceql::parse(&query).unwrap_or_else(|error| panic!("{query}: {error}"));
        }
    }
}

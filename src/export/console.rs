//! The `console` exporter: one JSON document a line.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanId, Status};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Map, Value as Json, json};

/// Where lines go, shared by both signals so that they do not mix within a line.
pub(crate) type Output = Arc<Mutex<dyn Write + Send>>;

#[derive(Clone)]
pub(crate) struct Console(Output);

impl Console {
    pub(crate) fn new(output: Output) -> Self {
        Self(output)
    }

    pub(crate) fn spans(&self, spans: &[SpanData]) -> io::Result<()> {
        self.lines(spans.iter().map(span_line))
    }

    pub(crate) fn metrics(&self, metrics: &ResourceMetrics) -> io::Result<()> {
        self.lines(metrics.scope_metrics().flat_map(|scope| scope.metrics()).map(|metric| {
            let points = match metric.data() {
                AggregatedMetrics::F64(data) => points(data),
                AggregatedMetrics::U64(data) => points(data),
                AggregatedMetrics::I64(data) => points(data),
            };
            json!({ "metric": metric.name(), "unit": metric.unit(), "points": points })
        }))
    }

    fn lines(&self, documents: impl Iterator<Item = Json>) -> io::Result<()> {
        let mut text = String::new();
        for document in documents {
            text.push_str(&document.to_string());
            text.push('\n');
        }
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        output.write_all(text.as_bytes())?;
        output.flush()
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Console")
    }
}

fn span_line(span: &SpanData) -> Json {
    let events: Vec<Json> = span
        .events
        .iter()
        .map(|event| {
            json!({
                "name": event.name, "time_unix_nano": nanos(event.timestamp), "attributes": object(event.attributes.iter())
            })
        })
        .collect();
    let mut line = json!({
        "span": span.name,
        "trace_id": span.span_context.trace_id().to_string(),
        "span_id": span.span_context.span_id().to_string(),
        "kind": format!("{:?}", span.span_kind).to_uppercase(),
        "start_time_unix_nano": nanos(span.start_time),
        "end_time_unix_nano": nanos(span.end_time),
        "attributes": object(span.attributes.iter()),
        "events": events,
    });
    if span.parent_span_id != SpanId::INVALID {
        line["parent_span_id"] = json!(span.parent_span_id.to_string());
    }
    if let Status::Error { description } = &span.status {
        line["status"] = json!({ "code": "ERROR", "message": description });
    }
    line
}

fn points<T: Copy + Into<Number>>(data: &MetricData<T>) -> Vec<Json> {
    match data {
        MetricData::Gauge(gauge) => gauge
            .data_points()
            .map(|point| json!({ "attributes": object(point.attributes()), "value": number(point.value()) }))
            .collect(),
        MetricData::Sum(sum) => sum
            .data_points()
            .map(|point| json!({ "attributes": object(point.attributes()), "value": number(point.value()) }))
            .collect(),
        MetricData::Histogram(histogram) => histogram
            .data_points()
            .map(|point| {
                json!({
                    "attributes": object(point.attributes()), "count": point.count(), "sum": number(point.sum()),
                    "bounds": point.bounds().collect::<Vec<_>>(), "counts": point.bucket_counts().collect::<Vec<_>>(),
                })
            })
            .collect(),
        MetricData::ExponentialHistogram(histogram) => histogram
            .data_points()
            .map(|point| {
                json!({
                    "attributes": object(point.attributes()), "count": point.count(), "sum": number(point.sum()),
                    "scale": point.scale(),
                })
            })
            .collect(),
    }
}

/// The number types that instruments have.
pub(crate) enum Number {
    F64(f64),
    U64(u64),
    I64(i64),
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::F64(value)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::U64(value)
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

fn number(value: impl Into<Number>) -> Json {
    match value.into() {
        Number::F64(value) => json!(value),
        Number::U64(value) => json!(value),
        Number::I64(value) => json!(value),
    }
}

fn object<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Map<String, Json> {
    attributes.map(|attribute| (attribute.key.to_string(), json_value(&attribute.value))).collect()
}

fn json_value(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::F64(value) => json!(value),
        Value::String(value) => json!(value.as_str()),
        Value::Array(Array::Bool(values)) => json!(values),
        Value::Array(Array::I64(values)) => json!(values),
        Value::Array(Array::F64(values)) => json!(values),
        Value::Array(Array::String(values)) => values.iter().map(|text| text.as_str()).collect(),
        other => json!(other.as_str()),
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

//! The messages of Tempo's API (`tempopb`), as protobuf and as JSON.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use serde_json::Value as Json;

use crate::protojson::{Object, Style, double, key_value, resource_spans};

/// A message that can be shown as JSON.
pub(super) trait Shown: Message {
    fn json(&self) -> Json;
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SearchResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) traces: Vec<TraceSearchMetadata>,
    #[prost(message, optional, tag = "2")]
    pub(super) metrics: Option<SearchMetrics>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TraceSearchMetadata {
    #[prost(string, tag = "1")]
    pub(super) trace_id: String,
    #[prost(string, tag = "2")]
    pub(super) root_service_name: String,
    #[prost(string, tag = "3")]
    pub(super) root_trace_name: String,
    #[prost(uint64, tag = "4")]
    pub(super) start_time_unix_nano: u64,
    #[prost(uint32, tag = "5")]
    pub(super) duration_ms: u32,
    #[prost(message, optional, tag = "6")]
    pub(super) span_set: Option<SpanSet>,
    #[prost(message, repeated, tag = "7")]
    pub(super) span_sets: Vec<SpanSet>,
    #[prost(map = "string, message", tag = "8")]
    pub(super) service_stats: HashMap<String, ServiceStats>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ServiceStats {
    #[prost(uint32, tag = "1")]
    pub(super) span_count: u32,
    #[prost(uint32, tag = "2")]
    pub(super) error_count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SpanSet {
    #[prost(message, repeated, tag = "1")]
    pub(super) spans: Vec<FoundSpan>,
    #[prost(uint32, tag = "2")]
    pub(super) matched: u32,
    #[prost(message, repeated, tag = "3")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FoundSpan {
    #[prost(string, tag = "1")]
    pub(super) span_id: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(uint64, tag = "3")]
    pub(super) start_time_unix_nano: u64,
    #[prost(uint64, tag = "4")]
    pub(super) duration_nanos: u64,
    #[prost(message, repeated, tag = "5")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct SearchMetrics {
    #[prost(uint32, tag = "1")]
    pub(super) inspected_traces: u32,
    #[prost(uint32, tag = "4")]
    pub(super) completed_jobs: u32,
    #[prost(uint32, tag = "5")]
    pub(super) total_jobs: u32,
    #[prost(uint64, tag = "7")]
    pub(super) inspected_spans: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Trace {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TraceByIdResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) trace: Option<Trace>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TagNames {
    #[prost(string, repeated, tag = "1")]
    pub(super) tag_names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TagNamesV2 {
    #[prost(message, repeated, tag = "1")]
    pub(super) scopes: Vec<TagScope>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TagScope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) tags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TagValues {
    #[prost(string, repeated, tag = "1")]
    pub(super) tag_values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TagValuesV2 {
    #[prost(message, repeated, tag = "1")]
    pub(super) tag_values: Vec<TagValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TagValue {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryRangeResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) series: Vec<TimeSeries>,
    #[prost(message, optional, tag = "2")]
    pub(super) metrics: Option<SearchMetrics>,
    #[prost(string, tag = "4")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<KeyValue>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    pub(super) exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<KeyValue>,
    #[prost(double, tag = "2")]
    pub(super) value: f64,
    #[prost(int64, tag = "3")]
    pub(super) timestamp_ms: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Sample {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    #[prost(int64, tag = "2")]
    pub(super) timestamp_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryInstantResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) series: Vec<InstantSeries>,
    #[prost(message, optional, tag = "2")]
    pub(super) metrics: Option<SearchMetrics>,
    #[prost(string, tag = "4")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InstantSeries {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<KeyValue>,
    #[prost(double, tag = "2")]
    pub(super) value: f64,
}

impl SearchMetrics {
    fn json(&self) -> Json {
        Object::default()
            .count("inspectedTraces", self.inspected_traces)
            .count("completedJobs", self.completed_jobs)
            .count("totalJobs", self.total_jobs)
            .long("inspectedSpans", self.inspected_spans)
            .json()
    }
}

/// A number is left out if it is 0.
fn with_value(object: Object, value: f64) -> Json {
    if value == 0.0 { object.json() } else { object.with("value", double(value)).json() }
}

fn numbers(series: Json, metrics: Option<SearchMetrics>, message: &str) -> Json {
    let metrics = metrics.unwrap_or_default().json();
    Object::default().with("series", series).with("metrics", metrics).text("message", message).json()
}

impl Shown for QueryRangeResponse {
    fn json(&self) -> Json {
        let series = self.series.iter().map(|series| {
            let samples = series.samples.iter().map(|sample| {
                let object = Object::default().text("timestampMs", &sample.timestamp_ms.to_string());
                with_value(object, sample.value)
            });
            let exemplars = series.exemplars.iter().map(|exemplar| {
                let object = Object::default().list("labels", exemplar.labels.iter().map(key_value));
                with_value(object.text("timestampMs", &exemplar.timestamp_ms.to_string()), exemplar.value)
            });
            Object::default()
                .list("labels", series.labels.iter().map(key_value))
                .list("samples", samples)
                .list("exemplars", exemplars)
                .json()
        });
        let series = series.collect();
        numbers(series, self.metrics, &self.message)
    }
}

impl Shown for QueryInstantResponse {
    fn json(&self) -> Json {
        let series = self.series.iter().map(|series| {
            let object = Object::default().list("labels", series.labels.iter().map(key_value));
            with_value(object, series.value)
        });
        let series = series.collect();
        numbers(series, self.metrics, &self.message)
    }
}

impl Shown for SearchResponse {
    fn json(&self) -> Json {
        let metrics = self.metrics.unwrap_or_default();
        let traces = self.traces.iter().map(TraceSearchMetadata::json).collect();
        Object::default().with("traces", traces).with("metrics", metrics.json()).json()
    }
}

impl TraceSearchMetadata {
    fn json(&self) -> Json {
        let object = Object::default()
            .text("traceID", &self.trace_id)
            .text("rootServiceName", &self.root_service_name)
            .text("rootTraceName", &self.root_trace_name)
            .long("startTimeUnixNano", self.start_time_unix_nano)
            .count("durationMs", self.duration_ms)
            .list("spanSets", self.span_sets.iter().map(SpanSet::json));
        let object = match &self.span_set {
            Some(set) => object.with("spanSet", set.json()),
            None => object,
        };
        let services = self.service_stats.iter().map(|(name, stats)| {
            let stats =
                Object::default().count("spanCount", stats.span_count).count("errorCount", stats.error_count);
            (name.clone(), stats.json())
        });
        object.with("serviceStats", Json::Object(services.collect())).json()
    }
}

impl SpanSet {
    fn json(&self) -> Json {
        Object::default()
            .list("spans", self.spans.iter().map(FoundSpan::json))
            .count("matched", self.matched)
            .list("attributes", self.attributes.iter().map(key_value))
            .json()
    }
}

impl FoundSpan {
    fn json(&self) -> Json {
        Object::default()
            .text("spanID", &self.span_id)
            .text("name", &self.name)
            .long("startTimeUnixNano", self.start_time_unix_nano)
            .long("durationNanos", self.duration_nanos)
            .list("attributes", self.attributes.iter().map(key_value))
            .json()
    }
}

fn spans(trace: &Trace) -> impl Iterator<Item = Json> {
    trace.resource_spans.iter().map(|spans| resource_spans(spans, Style::Plain))
}

impl Shown for Trace {
    fn json(&self) -> Json {
        // The name that the first version of the API has for them.
        Object::default().list("batches", spans(self)).json()
    }
}

impl Shown for TraceByIdResponse {
    fn json(&self) -> Json {
        let trace = self
            .trace
            .as_ref()
            .map_or_else(Object::default, |trace| Object::default().list("resourceSpans", spans(trace)));
        Object::default().with("trace", trace.json()).with("metrics", Object::default().json()).json()
    }
}

/// Texts that are there, even if there are none.
fn texts(name: &str, texts: &[String]) -> Json {
    let texts = texts.iter().map(String::as_str).collect();
    Object::default().with(name, texts).with("metrics", Object::default().json()).json()
}

impl Shown for TagNames {
    fn json(&self) -> Json {
        texts("tagNames", &self.tag_names)
    }
}

impl Shown for TagNamesV2 {
    fn json(&self) -> Json {
        let scopes = self.scopes.iter().map(|scope| {
            let tags = scope.tags.iter().map(|tag| tag.as_str().into());
            Object::default().text("name", &scope.name).list("tags", tags).json()
        });
        let scopes = scopes.collect();
        Object::default().with("scopes", scopes).with("metrics", Object::default().json()).json()
    }
}

impl Shown for TagValues {
    fn json(&self) -> Json {
        texts("tagValues", &self.tag_values)
    }
}

impl Shown for TagValuesV2 {
    fn json(&self) -> Json {
        let values = self.tag_values.iter().map(|value| {
            Object::default().text("type", &value.kind).with("value", value.value.as_str().into()).json()
        });
        let values = values.collect();
        Object::default().with("tagValues", values).with("metrics", Object::default().json()).json()
    }
}

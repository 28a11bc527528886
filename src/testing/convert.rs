//! From OTLP messages, and from the SDK's own types by way of OTLP messages, to what tests look at.
//!
//! The SDK's types go through the same messages as the wire, so that a captured span equals a received one.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, Histogram, Metric, NumberDataPoint, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, span, status};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::trace::SpanData;
use serde_json::Value;

use super::point::{PointKind, ReceivedPoint};
use super::span::{Attributes, ReceivedEvent, ReceivedLink, ReceivedSpan};

/// Nesting of attribute values deeper than this becomes null: a hostile value must not overflow the stack.
const MAX_VALUE_DEPTH: usize = 32;

impl From<&SpanData> for ReceivedSpan {
    /// The span as it would arrive over OTLP, but without its resource, which the data does not hold.
    fn from(data: &SpanData) -> Self {
        let scope = data.instrumentation_scope.name().to_owned();
        received_span(Span::from(data.clone()), &Arc::default(), &scope)
    }
}

impl ReceivedPoint {
    /// The points of a collection of the OpenTelemetry SDK, as they would arrive over OTLP.
    pub fn from_metrics(metrics: &ResourceMetrics) -> Vec<Self> {
        points(ExportMetricsServiceRequest::from(metrics)).points
    }
}

/// The points of a request, and how many were of a kind that is not kept (summaries).
#[derive(Debug, Default)]
pub(super) struct Points {
    pub(super) points: Vec<ReceivedPoint>,
    pub(super) unsupported: usize,
}

pub(super) fn points(request: ExportMetricsServiceRequest) -> Points {
    let mut all = Points::default();
    for resource_metrics in request.resource_metrics {
        let resource = resource(resource_metrics.resource);
        for scope_metrics in resource_metrics.scope_metrics {
            let scope = scope_name(scope_metrics.scope);
            for metric in scope_metrics.metrics {
                metric_points(metric, &resource, &scope, &mut all);
            }
        }
    }
    all
}

fn metric_points(metric: Metric, resource: &Arc<Attributes>, scope: &str, all: &mut Points) {
    let Metric { name, unit, description, data, .. } = metric;
    let mut push = |kind, temporality: &str, attributes, start, time| {
        all.points.push(ReceivedPoint {
            name: name.clone(),
            unit: unit.clone(),
            description: description.clone(),
            kind,
            temporality: temporality.to_owned(),
            attributes: self::attributes(attributes),
            resource: Arc::clone(resource),
            scope_name: scope.to_owned(),
            start_unix_nano: start,
            time_unix_nano: time,
        });
    };
    match data {
        Some(metric::Data::Gauge(gauge)) => {
            for point in gauge.data_points {
                let (value, integer) = number(&point);
                let kind = PointKind::Gauge { value, integer };
                push(kind, "none", point.attributes, point.start_time_unix_nano, point.time_unix_nano);
            }
        }
        Some(metric::Data::Sum(sum)) => {
            let temporality = temporality(sum.aggregation_temporality);
            for point in sum.data_points {
                let (value, integer) = number(&point);
                let kind = PointKind::Sum { value, integer, monotonic: sum.is_monotonic };
                push(kind, temporality, point.attributes, point.start_time_unix_nano, point.time_unix_nano);
            }
        }
        Some(metric::Data::Histogram(Histogram { data_points, aggregation_temporality })) => {
            for point in data_points {
                let kind = PointKind::Histogram {
                    count: point.count,
                    sum: point.sum,
                    min: point.min,
                    max: point.max,
                    bounds: point.explicit_bounds,
                    bucket_counts: point.bucket_counts,
                };
                let temporality = temporality(aggregation_temporality);
                push(kind, temporality, point.attributes, point.start_time_unix_nano, point.time_unix_nano);
            }
        }
        Some(metric::Data::ExponentialHistogram(ExponentialHistogram {
            data_points,
            aggregation_temporality,
        })) => {
            for point in data_points {
                let positive = point.positive.unwrap_or_default();
                let negative = point.negative.unwrap_or_default();
                let kind = PointKind::ExponentialHistogram {
                    count: point.count,
                    sum: point.sum,
                    min: point.min,
                    max: point.max,
                    scale: point.scale,
                    zero_count: point.zero_count,
                    positive_offset: positive.offset,
                    positive_counts: positive.bucket_counts,
                    negative_offset: negative.offset,
                    negative_counts: negative.bucket_counts,
                };
                let temporality = temporality(aggregation_temporality);
                push(kind, temporality, point.attributes, point.start_time_unix_nano, point.time_unix_nano);
            }
        }
        Some(metric::Data::Summary(summary)) => all.unsupported += summary.data_points.len(),
        None => all.unsupported += 1,
    }
}

pub(super) fn received_span(span: Span, resource: &Arc<Attributes>, scope: &str) -> ReceivedSpan {
    let kind = match span.kind() {
        span::SpanKind::Unspecified => "unspecified",
        span::SpanKind::Internal => "internal",
        span::SpanKind::Server => "server",
        span::SpanKind::Client => "client",
        span::SpanKind::Producer => "producer",
        span::SpanKind::Consumer => "consumer",
    };
    let status = span.status.unwrap_or_default();
    let status_code = match status.code() {
        status::StatusCode::Unset => "unset",
        status::StatusCode::Ok => "ok",
        status::StatusCode::Error => "error",
    };
    let known = span.flags & SpanFlags::ContextHasIsRemoteMask as u32 != 0;
    let remote = span.flags & SpanFlags::ContextIsRemoteMask as u32 != 0;
    ReceivedSpan {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        // Senders write "no parent" both as no bytes and as eight zeros.
        parent_span_id: span.parent_span_id.iter().any(|byte| *byte != 0).then(|| hex(&span.parent_span_id)),
        parent_is_remote: known.then_some(remote),
        name: span.name,
        kind: kind.to_owned(),
        start_unix_nano: span.start_time_unix_nano,
        end_unix_nano: span.end_time_unix_nano,
        attributes: attributes(span.attributes),
        status_code: status_code.to_owned(),
        status_message: status.message,
        events: span.events.into_iter().map(event).collect(),
        links: span.links.into_iter().map(link).collect(),
        resource: Arc::clone(resource),
        scope_name: scope.to_owned(),
        trace_state: span.trace_state,
        flags: span.flags,
        dropped_attributes: span.dropped_attributes_count,
        dropped_events: span.dropped_events_count,
        dropped_links: span.dropped_links_count,
    }
}

fn event(event: span::Event) -> ReceivedEvent {
    ReceivedEvent {
        name: event.name,
        time_unix_nano: event.time_unix_nano,
        attributes: attributes(event.attributes),
        dropped_attributes: event.dropped_attributes_count,
    }
}

fn link(link: span::Link) -> ReceivedLink {
    ReceivedLink {
        trace_id: hex(&link.trace_id),
        span_id: hex(&link.span_id),
        trace_state: link.trace_state,
        attributes: attributes(link.attributes),
        dropped_attributes: link.dropped_attributes_count,
    }
}

pub(super) fn resource(resource: Option<Resource>) -> Arc<Attributes> {
    Arc::new(resource.map(|resource| attributes(resource.attributes)).unwrap_or_default())
}

pub(super) fn scope_name(scope: Option<InstrumentationScope>) -> String {
    scope.map(|scope| scope.name).unwrap_or_default()
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|pair| (pair.key, value(pair.value, 0))).collect()
}

fn value(any: Option<AnyValue>, depth: usize) -> Value {
    if depth > MAX_VALUE_DEPTH {
        return Value::Null;
    }
    match any.and_then(|any| any.value) {
        None | Some(any_value::Value::StringValueStrindex(_)) => Value::Null,
        Some(any_value::Value::StringValue(text)) => Value::String(text),
        Some(any_value::Value::BoolValue(value)) => Value::Bool(value),
        Some(any_value::Value::IntValue(value)) => Value::from(value),
        Some(any_value::Value::DoubleValue(value)) => double(value),
        Some(any_value::Value::BytesValue(bytes)) => {
            Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Some(any_value::Value::ArrayValue(array)) => {
            array.values.into_iter().map(|item| value(Some(item), depth + 1)).collect()
        }
        Some(any_value::Value::KvlistValue(list)) => Value::Object(
            list.values.into_iter().map(|pair| (pair.key, value(pair.value, depth + 1))).collect(),
        ),
    }
}

/// JSON has no NaN and no infinities: they are written as protobuf's JSON mapping writes them.
fn double(value: f64) -> Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => Value::from("NaN"),
        None if value > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}

fn number(point: &NumberDataPoint) -> (f64, Option<i64>) {
    match point.value {
        Some(number_data_point::Value::AsDouble(value)) => (value, None),
        Some(number_data_point::Value::AsInt(value)) => (value as f64, Some(value)),
        None => (0.0, None),
    }
}

fn temporality(code: i32) -> &'static str {
    match AggregationTemporality::try_from(code) {
        Ok(AggregationTemporality::Delta) => "delta",
        Ok(AggregationTemporality::Cumulative) => "cumulative",
        _ => "unspecified",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

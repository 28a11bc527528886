//! OTLP metrics as the points that views take in.

use std::borrow::Cow;

use agentvitals::views::{Numbers, Reading, Views};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{DataPointFlags, NumberDataPoint, number_data_point};
use prost::Message as _;
use xxhash_rust::xxh3::xxh3_64;

/// `AggregationTemporality::Delta`.
const DELTA: i32 = 1;

/// Adds what a request carries. What is no request adds nothing: the store has told so.
pub(super) fn add(views: &Views, request: &[u8], now: std::time::SystemTime) {
    let Ok(request) = ExportMetricsServiceRequest::decode(request) else { return };
    for resource in &request.resource_metrics {
        // The resource tells processes apart: it has the instance id, or at least the process id and host.
        let process = resource.resource.as_ref().map_or(0, |resource| xxh3_64(&resource.encode_to_vec()));
        for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            if let Some(data) = &metric.data {
                add_metric(views, process, &metric.name, data, now);
            }
        }
    }
}

fn add_metric(views: &Views, process: u64, name: &str, data: &Data, now: std::time::SystemTime) {
    let put = |attributes: &[KeyValue], (start, time): (u64, u64), delta: bool, numbers: Numbers<'_>| {
        let attributes = texts(attributes);
        let reading = Reading::new(process, name, &attributes, numbers).between(start, time);
        views.add([if delta { reading.delta() } else { reading }], now);
    };
    match data {
        Data::Gauge(gauge) => {
            for point in &gauge.data_points {
                if let Some(value) = number(point) {
                    put(&point.attributes, times(point), false, Numbers::Gauge(value));
                }
            }
        }
        Data::Sum(sum) => {
            for point in &sum.data_points {
                if let Some(value) = number(point) {
                    put(
                        &point.attributes,
                        times(point),
                        sum.aggregation_temporality == DELTA,
                        Numbers::Sum(value),
                    );
                }
            }
        }
        Data::Histogram(histogram) => {
            for point in histogram.data_points.iter().filter(|point| has_value(point.flags)) {
                let numbers = Numbers::Explicit {
                    sum: point.sum.unwrap_or(0.0),
                    min: point.min,
                    max: point.max,
                    bounds: &point.explicit_bounds,
                    counts: &point.bucket_counts,
                };
                let times = (point.start_time_unix_nano, point.time_unix_nano);
                put(&point.attributes, times, histogram.aggregation_temporality == DELTA, numbers);
            }
        }
        Data::ExponentialHistogram(histogram) => {
            for point in histogram.data_points.iter().filter(|point| has_value(point.flags)) {
                let (offset, counts) = point
                    .positive
                    .as_ref()
                    .map_or((0, [].as_slice()), |buckets| (buckets.offset, buckets.bucket_counts.as_slice()));
                let Ok(scale) = i8::try_from(point.scale) else { continue };
                let numbers = Numbers::Exponential {
                    sum: point.sum.unwrap_or(0.0),
                    min: point.min,
                    max: point.max,
                    scale,
                    zeros: point.zero_count,
                    offset,
                    counts,
                };
                let times = (point.start_time_unix_nano, point.time_unix_nano);
                put(&point.attributes, times, histogram.aggregation_temporality == DELTA, numbers);
            }
        }
        Data::Summary(_) => {}
    }
}

fn times(point: &NumberDataPoint) -> (u64, u64) {
    (point.start_time_unix_nano, point.time_unix_nano)
}

fn has_value(flags: u32) -> bool {
    flags & (DataPointFlags::NoRecordedValueMask as u32) == 0
}

#[expect(clippy::cast_precision_loss, reason = "views have doubles")]
fn number(point: &NumberDataPoint) -> Option<f64> {
    let value = match point.value.as_ref().filter(|_| has_value(point.flags))? {
        number_data_point::Value::AsDouble(value) => *value,
        number_data_point::Value::AsInt(value) => *value as f64,
    };
    value.is_finite().then_some(value)
}

fn texts(attributes: &[KeyValue]) -> Vec<(&str, Cow<'_, str>)> {
    let text = |attribute: &'_ KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::BoolValue(value) => Some(value.to_string()),
        Value::IntValue(value) => Some(value.to_string()),
        Value::DoubleValue(value) => Some(value.to_string()),
        _ => None,
    };
    attributes
        .iter()
        .filter_map(|attribute| Some((attribute.key.as_str(), Cow::Owned(text(attribute)?))))
        .collect()
}

//! An OTLP request as a chunk of data points.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
    exemplar, exponential_histogram_data_point::Buckets, number_data_point,
};
use prost::Message as _;
use xxhash_rust::xxh3::xxh3_64;

use super::{Number, PointRow};
use crate::store::spans::chunk::{Chunk, NONE};
use crate::store::spans::fields::{self, Decoded, FULL, Shared, add_attributes, members};
use crate::value::{write_double, write_int, write_string};

/// Decodes a request. The same bytes give the same points.
///
/// # Errors
/// When the bytes are no such request.
pub(in crate::store) fn decode(request: Bytes) -> Result<Decoded<PointRow>, String> {
    let batch = xxh3_64(&request);
    let request = ExportMetricsServiceRequest::decode(request)
        .map_err(|error| format!("the body is no ExportMetricsServiceRequest: {error}"))?;
    let mut decoded = Decoded::default();
    let mut text = String::new();
    for metrics in request.resource_metrics {
        let resource = metrics.resource.unwrap_or_default();
        for scoped in metrics.scope_metrics {
            let scope = scoped.scope.unwrap_or_default();
            let shared = Shared::of(
                &mut decoded.chunk,
                (&resource, &metrics.schema_url),
                (&scope, &scoped.schema_url),
                &mut text,
            );
            for metric in &scoped.metrics {
                add_metric(&mut decoded, shared, metric, batch, &mut text);
            }
        }
    }
    Ok(decoded)
}

/// A point without what differs between kinds of metrics.
fn add_metric(
    decoded: &mut Decoded<PointRow>,
    shared: Option<Shared>,
    metric: &Metric,
    batch: u64,
    text: &mut String,
) {
    let Some(template) = shared.and_then(|shared| template(&mut decoded.chunk, shared, metric, batch, text))
    else {
        decoded.reject("metric", &metric.name, FULL);
        return;
    };
    let mut each = |point: Point<'_>| {
        if let Err(reason) = add(&mut decoded.chunk, template, &point, text) {
            decoded.reject("a point of the metric", &metric.name, &reason);
        }
    };
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.iter().for_each(|point| each(Point::Number(point))),
        Some(Data::Sum(sum)) => sum.data_points.iter().for_each(|point| each(Point::Number(point))),
        Some(Data::Histogram(histogram)) => {
            histogram.data_points.iter().for_each(|point| each(Point::Histogram(point)));
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            histogram.data_points.iter().for_each(|point| each(Point::Exponential(point)));
        }
        Some(Data::Summary(summary)) => {
            summary.data_points.iter().for_each(|point| each(Point::Summary(point)));
        }
        None => decoded.reject("metric", &metric.name, "it has no data"),
    }
}

fn template(
    chunk: &mut Chunk<PointRow>,
    shared: Shared,
    metric: &Metric,
    batch: u64,
    text: &mut String,
) -> Option<PointRow> {
    let (kind, temporality, monotonic) = match &metric.data {
        Some(Data::Sum(sum)) => (1, sum.aggregation_temporality, sum.is_monotonic),
        // A histogram counts, so it is monotonic.
        Some(Data::Histogram(histogram)) => (2, histogram.aggregation_temporality, true),
        Some(Data::ExponentialHistogram(histogram)) => (3, histogram.aggregation_temporality, true),
        Some(Data::Summary(_)) => (4, 2, true),
        Some(Data::Gauge(_)) | None => (0, 0, false),
    };
    let metadata = if metric.metadata.is_empty() {
        NONE
    } else {
        text.clear();
        let mut object = members(text);
        object.attributes(&metric.metadata);
        object.end();
        chunk.pool.intern(text)?
    };
    Some(PointRow {
        time: 0,
        start_time: 0,
        number: Number::Nothing,
        count: None,
        sum: None,
        min: None,
        max: None,
        batch,
        service: shared.service,
        name: chunk.pool.intern(&metric.name)?,
        unit: chunk.pool.intern(&metric.unit)?,
        description: chunk.pool.intern(&metric.description)?,
        metadata,
        buckets: NONE,
        exemplars: NONE,
        resource: shared.resource,
        scope: shared.scope,
        first_attribute: 0,
        attributes: 0,
        flags: 0,
        kind,
        temporality: u8::try_from(temporality).ok().filter(|number| *number <= 2).unwrap_or(0),
        monotonic,
    })
}

#[derive(Clone, Copy)]
enum Point<'a> {
    Number(&'a NumberDataPoint),
    Histogram(&'a HistogramDataPoint),
    Exponential(&'a ExponentialHistogramDataPoint),
    Summary(&'a SummaryDataPoint),
}

/// What all kinds of points have: start, time, attributes, exemplars, flags.
fn common<'a>(point: &Point<'a>) -> (u64, u64, &'a [KeyValue], &'a [Exemplar], u32) {
    match *point {
        Point::Number(p) => (p.start_time_unix_nano, p.time_unix_nano, &p.attributes, &p.exemplars, p.flags),
        Point::Histogram(p) => {
            (p.start_time_unix_nano, p.time_unix_nano, &p.attributes, &p.exemplars, p.flags)
        }
        Point::Exponential(p) => {
            (p.start_time_unix_nano, p.time_unix_nano, &p.attributes, &p.exemplars, p.flags)
        }
        Point::Summary(p) => (p.start_time_unix_nano, p.time_unix_nano, &p.attributes, &[], p.flags),
    }
}

/// Appends a point, or says why it is none.
fn add(
    chunk: &mut Chunk<PointRow>,
    template: PointRow,
    point: &Point<'_>,
    text: &mut String,
) -> Result<(), String> {
    let (start, time, attributes, exemplars, flags) = common(point);
    let mut row = PointRow {
        time: fields::time(time, "time_unix_nano")?,
        start_time: fields::time(start, "start_time_unix_nano")?,
        flags,
        ..template
    };
    if row.time == 0 {
        return Err("it has no time_unix_nano".to_owned());
    }
    text.clear();
    match *point {
        Point::Number(point) => {
            row.number = match point.value {
                Some(number_data_point::Value::AsInt(value)) => Number::Int(value),
                Some(number_data_point::Value::AsDouble(value)) => Number::Double(value),
                None => Number::Nothing,
            };
        }
        Point::Histogram(point) => {
            (row.count, row.sum) = (Some(point.count), point.sum);
            (row.min, row.max) = (point.min, point.max);
            explicit(point, text)?;
        }
        Point::Exponential(point) => {
            (row.count, row.sum) = (Some(point.count), point.sum);
            (row.min, row.max) = (point.min, point.max);
            exponential(point, text);
        }
        Point::Summary(point) => {
            (row.count, row.sum) = (Some(point.count), Some(point.sum));
            let mut object = members(text);
            let quantiles = point.quantile_values.iter();
            list(object.key("quantiles"), quantiles, |value, out| {
                out.push('[');
                write_double(value.quantile, out);
                out.push(',');
                write_double(value.value, out);
                out.push(']');
            });
            object.end();
        }
    }
    if !text.is_empty() {
        row.buckets = chunk.pool.push(text).ok_or(FULL)?;
    }
    if !exemplars.is_empty() {
        exemplars_text(exemplars, text);
        row.exemplars = chunk.pool.push(text).ok_or(FULL)?;
    }
    (row.first_attribute, row.attributes) = add_attributes(chunk, attributes, text)?;
    chunk.rows.push(row);
    Ok(())
}

fn list<T>(out: &mut String, items: impl Iterator<Item = T>, write: impl Fn(T, &mut String)) {
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(']');
}

fn write_count(count: u64, out: &mut String) {
    out.push_str(&count.to_string());
}

/// Writes the buckets of a histogram.
///
/// # Errors
/// When it is none.
pub(in crate::store) fn explicit(point: &HistogramDataPoint, text: &mut String) -> Result<(), String> {
    let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
    // Both may be left out: then there are only count and sum.
    let fits = counts.len() == bounds.len() + 1 || (counts.is_empty() && bounds.is_empty());
    if !fits {
        return Err(format!("it has {} bucket counts for {} bounds", counts.len(), bounds.len()));
    }
    if !bounds.is_sorted_by(|a, b| a < b) {
        return Err("its bounds do not rise".to_owned());
    }
    let mut object = members(text);
    list(object.key("bounds"), bounds.iter(), |bound, out| write_double(*bound, out));
    list(object.key("counts"), counts.iter(), |count, out| write_count(*count, out));
    object.end();
    Ok(())
}

/// Writes the buckets of an exponential histogram.
pub(in crate::store) fn exponential(point: &ExponentialHistogramDataPoint, text: &mut String) {
    let mut object = members(text);
    write_int(i64::from(point.scale), object.key("scale"));
    write_count(point.zero_count, object.key("zero_count"));
    write_double(point.zero_threshold, object.key("zero_threshold"));
    for (name, buckets) in [("positive", &point.positive), ("negative", &point.negative)] {
        let Some(Buckets { offset, bucket_counts }) =
            buckets.as_ref().filter(|buckets| !buckets.bucket_counts.is_empty())
        else {
            continue;
        };
        let mut inner = members(object.key(name));
        write_int(i64::from(*offset), inner.key("offset"));
        list(inner.key("counts"), bucket_counts.iter(), |count, out| write_count(*count, out));
        inner.end();
    }
    object.end();
}

fn exemplars_text(exemplars: &[Exemplar], text: &mut String) {
    text.clear();
    list(text, exemplars.iter(), |exemplar, out| {
        let mut object = members(out);
        write_int(i64::try_from(exemplar.time_unix_nano).unwrap_or(i64::MAX), object.key("time"));
        match exemplar.value {
            Some(exemplar::Value::AsInt(value)) => write_int(value, object.key("value")),
            Some(exemplar::Value::AsDouble(value)) => write_double(value, object.key("value")),
            None => {}
        }
        for (name, id) in [("trace_id", &exemplar.trace_id), ("span_id", &exemplar.span_id)] {
            if !id.is_empty() {
                write_string(&hex::encode(id), object.key(name));
            }
        }
        object.attributes(&exemplar.filtered_attributes);
        object.end();
    });
}

//! Data points as they came: those of one metric in one message.

use std::str::FromStr;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array as _, RecordBatch};
use hashbrown::HashMap;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    number_data_point,
};
use serde::Deserialize;

use super::logs::nanos;
use super::{Members, Origin, by_origin, resource, scope};
use crate::anyvalue::key_value;
use crate::query::exec::render::Rows;
use crate::value::{Value, parse_map};

/// The points of some rows.
pub(super) fn metrics(batch: &RecordBatch, rows: &[u32]) -> Vec<ResourceMetrics> {
    let of = Of { rows: Rows::new(batch), batch };
    let place = |&row: &u32| {
        let row = row as usize;
        (of.rows.text("resource", row).to_owned(), of.rows.text("scope", row).to_owned(), row)
    };
    by_origin(rows.iter().map(place)).into_iter().map(|origin| of.resource(origin)).collect()
}

/// What points of one metric share.
#[derive(PartialEq, Eq, Hash)]
struct Shared<'a> {
    texts: [&'a str; 6],
    monotonic: bool,
}

struct Of<'a> {
    rows: Rows<'a>,
    batch: &'a RecordBatch,
}

impl Of<'_> {
    fn resource(&self, (text, scopes): Origin<usize>) -> ResourceMetrics {
        let (resource, schema_url) = resource(&text);
        let scoped = |(text, rows): (String, Vec<usize>)| {
            let (scope, schema_url) = scope(&text);
            ScopeMetrics { scope: Some(scope), metrics: self.metrics(&rows), schema_url }
        };
        let scope_metrics = scopes.into_iter().map(scoped).collect();
        ResourceMetrics { resource: Some(resource), scope_metrics, schema_url }
    }

    fn metrics(&self, rows: &[usize]) -> Vec<Metric> {
        let mut places: HashMap<Shared<'_>, usize> = HashMap::new();
        let mut out: Vec<Metric> = Vec::new();
        for &row in rows {
            let texts = ["name", "unit", "description", "type", "temporality", "metadata"];
            let shared = Shared {
                texts: texts.map(|name| self.rows.text(name, row)),
                monotonic: self.truth("monotonic", row),
            };
            let at = *places.entry(shared).or_insert_with_key(|shared| {
                out.push(metric(shared));
                out.len() - 1
            });
            self.add(&mut out[at], row);
        }
        out
    }

    fn add(&self, metric: &mut Metric, row: usize) {
        match &mut metric.data {
            Some(Data::Gauge(of)) => of.data_points.push(self.number(row)),
            Some(Data::Sum(of)) => of.data_points.push(self.number(row)),
            Some(Data::Histogram(of)) => of.data_points.push(self.histogram(row)),
            Some(Data::ExponentialHistogram(of)) => of.data_points.push(self.exponential(row)),
            Some(Data::Summary(of)) => of.data_points.push(self.summary(row)),
            None => {}
        }
    }

    fn value<T: ArrowPrimitiveType>(&self, name: &str, row: usize) -> Option<T::Native> {
        let column = self.batch.column_by_name(name)?.as_primitive_opt::<T>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn truth(&self, name: &str, row: usize) -> bool {
        let column = self.batch.column_by_name(name).and_then(|column| column.as_boolean_opt());
        column.is_some_and(|column| column.is_valid(row) && column.value(row))
    }

    fn attributes(&self, row: usize) -> Vec<KeyValue> {
        self.rows.values(row).into_iter().map(key_value).collect()
    }

    fn number(&self, row: usize) -> NumberDataPoint {
        use number_data_point::Value as Number;
        let whole = self.value::<Int64Type>("int_value", row).map(Number::AsInt);
        NumberDataPoint {
            attributes: self.attributes(row),
            start_time_unix_nano: nanos(self.batch, "start_time", row),
            time_unix_nano: nanos(self.batch, "time", row),
            exemplars: self.exemplars(row),
            flags: self.rows.count("flags", row),
            value: whole.or_else(|| self.value::<Float64Type>("value", row).map(Number::AsDouble)),
        }
    }

    fn histogram(&self, row: usize) -> HistogramDataPoint {
        let told: Explicit = self.buckets(row);
        HistogramDataPoint {
            attributes: self.attributes(row),
            start_time_unix_nano: nanos(self.batch, "start_time", row),
            time_unix_nano: nanos(self.batch, "time", row),
            count: self.value::<UInt64Type>("count", row).unwrap_or(0),
            sum: self.value::<Float64Type>("sum", row),
            bucket_counts: told.counts,
            explicit_bounds: told.bounds.into_iter().map(|bound| bound.0).collect(),
            exemplars: self.exemplars(row),
            flags: self.rows.count("flags", row),
            min: self.value::<Float64Type>("min", row),
            max: self.value::<Float64Type>("max", row),
        }
    }

    fn exponential(&self, row: usize) -> ExponentialHistogramDataPoint {
        let told: Exponential = self.buckets(row);
        let side =
            |side: Option<Side>| side.map(|side| Buckets { offset: side.offset, bucket_counts: side.counts });
        ExponentialHistogramDataPoint {
            attributes: self.attributes(row),
            start_time_unix_nano: nanos(self.batch, "start_time", row),
            time_unix_nano: nanos(self.batch, "time", row),
            count: self.value::<UInt64Type>("count", row).unwrap_or(0),
            sum: self.value::<Float64Type>("sum", row),
            scale: told.scale,
            zero_count: told.zero_count,
            positive: side(told.positive),
            negative: side(told.negative),
            flags: self.rows.count("flags", row),
            exemplars: self.exemplars(row),
            min: self.value::<Float64Type>("min", row),
            max: self.value::<Float64Type>("max", row),
            zero_threshold: told.zero_threshold.0,
        }
    }

    fn summary(&self, row: usize) -> SummaryDataPoint {
        let told: Quantiles = self.buckets(row);
        let quantile =
            |(quantile, value): (Double, Double)| ValueAtQuantile { quantile: quantile.0, value: value.0 };
        SummaryDataPoint {
            attributes: self.attributes(row),
            start_time_unix_nano: nanos(self.batch, "start_time", row),
            time_unix_nano: nanos(self.batch, "time", row),
            count: self.value::<UInt64Type>("count", row).unwrap_or(0),
            sum: self.value::<Float64Type>("sum", row).unwrap_or(0.0),
            quantile_values: told.quantiles.into_iter().map(quantile).collect(),
            flags: self.rows.count("flags", row),
        }
    }

    fn buckets<'t, T: Deserialize<'t> + Default>(&'t self, row: usize) -> T {
        serde_json::from_str(self.rows.text("buckets", row)).unwrap_or_default()
    }

    fn exemplars(&self, row: usize) -> Vec<Exemplar> {
        super::list(&self.rows, "exemplars", row, exemplar)
    }
}

fn metric(shared: &Shared<'_>) -> Metric {
    let [name, unit, description, kind, temporality, metadata] = shared.texts;
    let aggregation_temporality = match temporality {
        "delta" => 1,
        "cumulative" => 2,
        _ => 0,
    };
    let data = match kind {
        "sum" => Data::Sum(Sum { aggregation_temporality, is_monotonic: shared.monotonic, ..Sum::default() }),
        "histogram" => Data::Histogram(Histogram { aggregation_temporality, ..Histogram::default() }),
        "exponential_histogram" => Data::ExponentialHistogram(ExponentialHistogram {
            aggregation_temporality,
            ..ExponentialHistogram::default()
        }),
        "summary" => Data::Summary(Summary::default()),
        _ => Data::Gauge(Gauge::default()),
    };
    let metadata =
        parse_map(metadata).unwrap_or_default().into_iter().find_map(|(name, value)| match value {
            Value::Map(entries) if name == "attributes" => Some(entries),
            _ => None,
        });
    Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: unit.to_owned(),
        metadata: metadata.unwrap_or_default().into_iter().map(key_value).collect(),
        data: Some(data),
    }
}

fn exemplar(mut members: Members) -> Exemplar {
    let time = match members.take("time") {
        Some(Value::Int(time)) => u64::try_from(time).unwrap_or(0),
        _ => 0,
    };
    let value = match members.take("value") {
        Some(Value::Int(value)) => Some(exemplar::Value::AsInt(value)),
        Some(Value::Double(value)) => Some(exemplar::Value::AsDouble(value)),
        _ => None,
    };
    Exemplar {
        time_unix_nano: time,
        value,
        span_id: members.bytes("span_id"),
        trace_id: members.bytes("trace_id"),
        filtered_attributes: members.attributes(),
    }
}

/// A number as [`crate::value`] writes it: those that JSON has not are objects.
#[derive(Default, Clone, Copy, Deserialize)]
#[serde(from = "Written")]
struct Double(f64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Named {
        #[serde(rename = "$double")]
        name: String,
    },
}

impl From<Written> for Double {
    fn from(written: Written) -> Self {
        Self(match written {
            Written::Number(number) => number,
            Written::Named { name } => f64::from_str(&name).unwrap_or(f64::NAN),
        })
    }
}

#[derive(Default, Deserialize)]
struct Explicit {
    bounds: Vec<Double>,
    counts: Vec<u64>,
}

#[derive(Default, Deserialize)]
struct Exponential {
    scale: i32,
    zero_count: u64,
    zero_threshold: Double,
    positive: Option<Side>,
    negative: Option<Side>,
}

#[derive(Default, Deserialize)]
struct Side {
    offset: i32,
    counts: Vec<u64>,
}

#[derive(Default, Deserialize)]
struct Quantiles {
    quantiles: Vec<(Double, Double)>,
}

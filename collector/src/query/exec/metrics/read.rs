//! Points of one metric out of batches.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampNanosecondType, UInt64Type};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use hashbrown::HashMap;
use serde::Deserialize;
use xxhash_rust::xxh3::Xxh3;

use super::super::render::Rows;
use super::super::{Plan, bind, stats};
use crate::query::engine::{Control, Must, QueryError, SpanColumn};
use crate::query::metrics::{
    Buckets, Counting, Distribution, Exponential, Kind, Point, Reading, Shape, Temporality,
};
use crate::query::traceql::Field;
use crate::value::{Value, parse_map};

/// Columns besides attributes that a point is read from.
const COLUMNS: [&str; 15] = [
    "name",
    "unit",
    "type",
    "temporality",
    "monotonic",
    "time",
    "start_time",
    "value",
    "count",
    "sum",
    "min",
    "max",
    "buckets",
    "resource",
    "scope",
];

/// Bytes of a point while an answer is made, without its buckets.
const POINT_BYTES: usize = 160;
/// Bytes of what all points of a series have, and of one attribute of it.
const SERIES_BYTES: usize = 64;
const MUST_BYTES: usize = 120;

/// Reads the newest point of each of some series.
pub(super) struct Newest<'a> {
    pub(super) name: &'a str,
    /// The series, and since when they count.
    pub(super) wanted: &'a HashMap<u64, i64>,
}

impl Newest<'_> {
    pub(super) fn read(
        &self,
        batch: &RecordBatch,
        found: &mut HashMap<u64, Point>,
    ) -> Result<(), QueryError> {
        let rows = Rows::new(batch);
        let columns = PointColumns::of(&rows)?;
        for row in 0..batch.num_rows() {
            if rows.text("name", row) != self.name {
                continue;
            }
            let series = columns.series(&rows, row);
            let newer = |known: Option<&Point>| known.is_none_or(|known| known.time <= columns.time(row));
            if self.wanted.contains_key(&series)
                && newer(found.get(&series))
                && let Some(point) = columns.point(&rows, row)
                && point.counting() == Counting::Cumulative
            {
                found.insert(series, point);
            }
        }
        Ok(())
    }
}

/// What is read before anything is put together.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) points: Vec<Point>,
    /// What is grouped by (a JSON array) and the unit, by the number that points have.
    pub(super) groups: Vec<(String, String)>,
    /// What all points have of a cumulative series that began before the time range.
    pub(super) begun: HashMap<u64, Vec<Must>>,
    places: HashMap<(String, String), usize>,
}

impl Collected {
    fn group(&mut self, key: (String, String)) -> usize {
        if let Some(&place) = self.places.get(&key) {
            return place;
        }
        self.groups.push(key.clone());
        self.places.insert(key, self.groups.len() - 1);
        self.groups.len() - 1
    }

    pub(super) fn merge(&mut self, other: Self) {
        let places: Vec<usize> = other.groups.into_iter().map(|key| self.group(key)).collect();
        self.points
            .extend(other.points.into_iter().map(|point| Point { group: places[point.group], ..point }));
        self.begun.extend(other.begun);
    }
}

/// Reads the points of a metric.
pub(super) struct Reader<'a> {
    pub(super) plan: &'a Plan,
    pub(super) name: &'a str,
    pub(super) by: &'a [Field],
    pub(super) control: &'a Control,
}

impl Reader<'_> {
    pub(super) fn read(&self, batch: &RecordBatch, collected: &mut Collected) -> Result<(), QueryError> {
        let rows = Rows::new(batch);
        let bound = bind::Bound::new(self.by, batch)?;
        let columns = PointColumns::of(&rows)?;
        for row in self.plan.rows(batch)? {
            let row = row as usize;
            if rows.text("name", row) != self.name {
                continue;
            }
            let Some(point) = columns.point(&rows, row) else { continue };
            let mut key = String::from("[");
            for field in 0..self.by.len() {
                if field > 0 {
                    key.push(',');
                }
                stats::write(&bound.value(field, row), &mut key);
            }
            key.push(']');
            self.control.take_memory(POINT_BYTES + 24 * buckets(&point.reading))?;
            let group = collected.group((key, rows.text("unit", row).to_owned()));
            if point.counting() == Counting::Cumulative
                && point.start.unwrap_or(i64::MIN) < self.plan.time.from
                && !collected.begun.contains_key(&point.series)
            {
                let musts = musts(batch, &rows, row);
                self.control.take_memory(SERIES_BYTES + MUST_BYTES * musts.len())?;
                collected.begun.insert(point.series, musts);
            }
            collected.points.push(Point { group, ..point });
        }
        Ok(())
    }
}

/// The points of a batch, by row, each in the group 0; none for those that say that there is no value.
///
/// # Errors
/// When the batch lacks a column.
pub(crate) fn points(batch: &RecordBatch) -> Result<Vec<Option<Point>>, QueryError> {
    let rows = Rows::new(batch);
    let columns = PointColumns::of(&rows)?;
    Ok((0..batch.num_rows()).map(|row| columns.point(&rows, row)).collect())
}

/// The columns that a point is read from: attributes are all needed, as they tell one series from another.
pub(crate) fn point_columns() -> Vec<SpanColumn> {
    let fixed = COLUMNS.iter().map(|column| SpanColumn::Fixed(column));
    fixed.chain([SpanColumn::Attributes]).collect()
}

/// What the attributes of a point are, as far as they can be looked for.
fn musts(batch: &RecordBatch, rows: &Rows<'_>, row: usize) -> Vec<Must> {
    let mut values: Vec<(String, Value)> = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let Some(key) = field.name().strip_prefix("a:").filter(|_| column.is_valid(row)) else { continue };
        let value = match column.data_type() {
            DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => Value::Double(column.as_primitive::<Float64Type>().value(row)),
            DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
            _ => Value::String(rows.text(field.name(), row).to_owned()),
        };
        values.push((key.to_owned(), value));
    }
    values.extend(parse_map(rows.text("attributes", row)).unwrap_or_default());
    let can_be_found = |value: &Value| match value {
        Value::Double(value) => !value.is_nan(),
        Value::String(_) | Value::Int(_) | Value::Bool(_) => true,
        _ => false,
    };
    let found = values.into_iter().filter(|(_, value)| can_be_found(value));
    found.map(|(key, value)| Must::Attribute(key, value)).collect()
}

fn temporality(rows: &Rows<'_>, row: usize) -> Temporality {
    match rows.text("temporality", row) {
        "delta" => Temporality::Delta,
        "cumulative" => Temporality::Cumulative,
        _ => Temporality::None,
    }
}

fn buckets(reading: &Reading) -> usize {
    match reading {
        Reading::Number(_) => 0,
        Reading::Values(values) => values.buckets().len(),
    }
}

/// What tells a series, and a start of its process, from others.
fn series(rows: &Rows<'_>, row: usize, start: Option<i64>) -> u64 {
    let mut hash = Xxh3::new();
    for name in ["name", "resource", "scope", "unit", "type", "temporality"] {
        hash.update(rows.text(name, row).as_bytes());
        hash.update(&[0xff]);
    }
    // They come by column, so in the same order whatever the sender's was; a map is sorted anyway.
    let attributes: BTreeMap<String, String> =
        rows.attributes(row).into_iter().map(|(key, value)| (key, value.to_string())).collect();
    for (key, value) in &attributes {
        hash.update(key.as_bytes());
        hash.update(&[0xff]);
        hash.update(value.as_bytes());
        hash.update(&[0xff]);
    }
    hash.update(&start.unwrap_or(0).to_le_bytes());
    hash.digest()
}

/// The columns of a batch that make a point.
pub(in crate::query::exec) struct PointColumns<'a> {
    time: &'a ArrayRef,
    start_time: &'a ArrayRef,
    monotonic: &'a ArrayRef,
    value: &'a ArrayRef,
    count: &'a ArrayRef,
    doubles: [&'a ArrayRef; 3],
}

impl<'a> PointColumns<'a> {
    pub(in crate::query::exec) fn of(rows: &Rows<'a>) -> Result<Self, QueryError> {
        Ok(Self {
            time: rows.column("time")?,
            start_time: rows.column("start_time")?,
            monotonic: rows.column("monotonic")?,
            value: rows.column("value")?,
            count: rows.column("count")?,
            doubles: [rows.column("sum")?, rows.column("min")?, rows.column("max")?],
        })
    }

    /// The point of a row, in the group 0.
    pub(in crate::query::exec) fn point(&self, rows: &Rows<'_>, row: usize) -> Option<Point> {
        let reading = self.reading(rows, row)?;
        let (temporality, start) = (temporality(rows, row), self.start(row));
        Some(Point {
            series: self.series(rows, row),
            group: 0,
            kind: Kind::of(rows.text("type", row)),
            temporality,
            monotonic: self.monotonic.as_boolean().value(row),
            time: self.time(row),
            start,
            reading,
        })
    }

    fn series(&self, rows: &Rows<'_>, row: usize) -> u64 {
        // Each delta has a start of its own, the end of the one before; so have gauges of senders that prefer deltas.
        let own =
            temporality(rows, row) == Temporality::Delta || rows.text("type", row) == Kind::Gauge.name();
        let start = self.start(row).filter(|_| !own);
        series(rows, row, start)
    }

    fn time(&self, row: usize) -> i64 {
        self.time.as_primitive::<TimestampNanosecondType>().value(row)
    }

    fn start(&self, row: usize) -> Option<i64> {
        let starts = self.start_time.as_primitive::<TimestampNanosecondType>();
        starts.is_valid(row).then(|| starts.value(row))
    }

    /// What a point says; nothing if it says that there is no value.
    fn reading(&self, rows: &Rows<'_>, row: usize) -> Option<Reading> {
        let double = |column: &ArrayRef| {
            let column = column.as_primitive::<Float64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        let counts = self.count.as_primitive::<UInt64Type>();
        if counts.is_null(row) {
            return double(self.value).map(Reading::Number);
        }
        Some(Reading::Values(Distribution {
            count: counts.value(row),
            sum: double(self.doubles[0]),
            min: double(self.doubles[1]),
            max: double(self.doubles[2]),
            shape: shape(rows.text("buckets", row)),
        }))
    }
}

/// The column `buckets`, as it mostly is.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    bounds: Vec<f64>,
    counts: Option<Vec<u64>>,
    scale: Option<i32>,
    #[serde(default)]
    zero_count: u64,
    #[serde(default)]
    zero_threshold: f64,
    positive: Option<Side>,
    negative: Option<Side>,
}

#[derive(Deserialize)]
struct Side {
    offset: i32,
    counts: Vec<u64>,
}

fn shape(text: &str) -> Shape {
    let Ok(written) = serde_json::from_str::<Written>(text) else { return odd_shape(text) };
    if let Some(scale) = written.scale {
        let side =
            |side: Option<Side>| side.map_or_else(Buckets::default, |s| Buckets::new(s.offset, s.counts));
        let zero = (written.zero_count, written.zero_threshold);
        return Shape::Exponential(Exponential::new(
            scale,
            zero,
            side(written.positive),
            side(written.negative),
        ));
    }
    match written.counts {
        Some(counts) if !counts.is_empty() => Shape::Explicit { bounds: written.bounds, counts },
        _ => Shape::Unknown,
    }
}

/// Bounds that JSON has no number for, such as infinity, are written as objects.
fn odd_shape(text: &str) -> Shape {
    let Some(Value::Map(members)) = Value::parse(text) else { return Shape::Unknown };
    let list = |name: &str| {
        members.iter().find_map(|(member, value)| match value {
            Value::Array(values) if member == name => Some(values.as_slice()),
            _ => None,
        })
    };
    let (Some(bounds), Some(counts)) = (list("bounds"), list("counts")) else { return Shape::Unknown };
    let bound = |value: &Value| match value {
        Value::Double(value) => Some(*value),
        _ => None,
    };
    let count = |value: &Value| match value {
        Value::Int(value) => u64::try_from(*value).ok(),
        _ => None,
    };
    match (bounds.iter().map(bound).collect(), counts.iter().map(count).collect()) {
        (Some(bounds), Some(counts)) => Shape::Explicit { bounds, counts },
        _ => Shape::Unknown,
    }
}

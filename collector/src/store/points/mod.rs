//! Data points of metrics: how they are kept in memory, and as columns.

pub(super) mod decode;

use std::sync::Arc;

use arrow_array::types::{Float64Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow_schema::ArrowError;

use super::spans::assemble::{Made, Source};
use super::spans::chunk::{NONE, Pool, Record};
use super::spans::disassemble::Reading;
use crate::query::Table;

const TYPES: [&str; 5] = ["gauge", "sum", "histogram", "exponential_histogram", "summary"];
const TEMPORALITIES: [&str; 3] = ["unspecified", "delta", "cumulative"];

/// A column's name, and what a row has in it.
type Column<T> = (&'static str, fn(&PointRow) -> T);

/// The value of a point of a gauge or sum.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    /// None: a histogram, a summary, or a point that says that there is no value.
    Nothing,
    Int(i64),
    Double(f64),
}

/// One data point; texts by number.
#[derive(Debug, Clone, Copy)]
pub(super) struct PointRow {
    pub(super) time: i64,
    /// 0 when the sender told none.
    pub(super) start_time: i64,
    pub(super) number: Number,
    pub(super) count: Option<u64>,
    pub(super) sum: Option<f64>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    /// The hash of the request that it came with, so that a request that comes again is kept once.
    pub(super) batch: u64,
    pub(super) service: u32,
    pub(super) name: u32,
    pub(super) unit: u32,
    pub(super) description: u32,
    pub(super) metadata: u32,
    pub(super) buckets: u32,
    pub(super) exemplars: u32,
    pub(super) resource: u32,
    pub(super) scope: u32,
    pub(super) first_attribute: u32,
    pub(super) attributes: u32,
    pub(super) flags: u32,
    /// The place in [`TYPES`].
    pub(super) kind: u8,
    /// The number of OTLP.
    pub(super) temporality: u8,
    pub(super) monotonic: bool,
}

impl Record for PointRow {
    const TABLE: Table = Table::Metrics;

    fn time(&self) -> i64 {
        self.time
    }

    fn attributes(&self) -> (u32, u32) {
        (self.first_attribute, self.attributes)
    }

    fn set_attributes(&mut self, first: u32, count: u32) {
        (self.first_attribute, self.attributes) = (first, count);
    }

    fn texts(&mut self, each: &mut dyn FnMut(&mut u32)) {
        for text in [
            &mut self.service,
            &mut self.name,
            &mut self.unit,
            &mut self.description,
            &mut self.metadata,
            &mut self.buckets,
            &mut self.exemplars,
            &mut self.resource,
            &mut self.scope,
        ] {
            each(text);
        }
    }

    fn trace_id(&self) -> [u8; 16] {
        [0; 16]
    }

    fn span_id(&self) -> [u8; 8] {
        [0; 8]
    }

    fn service(&self) -> u32 {
        self.service
    }

    fn name(&self) -> u32 {
        self.name
    }

    fn origin(&self) -> (u32, u32) {
        (self.resource, self.scope)
    }

    fn read(reading: &mut Reading<'_>, pool: &mut Pool, row: usize) -> Option<Self> {
        let time = |name: &str| reading.value::<TimestampNanosecondType>(name, row).unwrap_or(0);
        let double = |name: &str| reading.value::<Float64Type>(name, row);
        let place = |names: &[&str], name: &str| {
            let text = reading.str(name, row);
            names.iter().position(|known| *known == text).and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
        };
        let number = match (reading.value::<Int64Type>("int_value", row), double("value")) {
            (Some(value), _) => Number::Int(value),
            (None, Some(value)) => Number::Double(value),
            (None, None) => Number::Nothing,
        };
        let mut read = Self {
            time: time("time"),
            start_time: time("start_time"),
            number,
            count: reading.value::<UInt64Type>("count", row),
            sum: double("sum"),
            min: double("min"),
            max: double("max"),
            batch: reading.value::<UInt64Type>("batch", row).unwrap_or(0),
            service: NONE,
            name: NONE,
            unit: NONE,
            description: NONE,
            metadata: NONE,
            buckets: NONE,
            exemplars: NONE,
            resource: NONE,
            scope: NONE,
            first_attribute: 0,
            attributes: 0,
            flags: reading.value::<UInt32Type>("flags", row).unwrap_or(0),
            kind: place(&TYPES, "type"),
            temporality: place(&TEMPORALITIES, "temporality"),
            monotonic: reading.bool("monotonic", row),
        };
        for (name, text) in [
            ("service", &mut read.service),
            ("name", &mut read.name),
            ("unit", &mut read.unit),
            ("description", &mut read.description),
            ("metadata", &mut read.metadata),
            ("buckets", &mut read.buckets),
            ("exemplars", &mut read.exemplars),
            ("resource", &mut read.resource),
            ("scope", &mut read.scope),
        ] {
            *text = reading.text(pool, name, row)?;
        }
        Some(read)
    }

    fn columns(
        source: &Source<'_, Self>,
        wanted: &dyn Fn(&str) -> bool,
        made: &mut Made,
    ) -> Result<(), ArrowError> {
        let texts: [Column<u32>; 6] = [
            ("name", |row| row.name),
            ("service", |row| row.service),
            ("unit", |row| row.unit),
            ("description", |row| row.description),
            ("resource", |row| row.resource),
            ("scope", |row| row.scope),
        ];
        for (name, of) in texts.into_iter().filter(|(name, _)| wanted(name)) {
            made.add(name, false, source.dictionary(of));
        }
        if wanted("metadata") {
            made.add("metadata", true, source.dictionary(|row| row.metadata));
        }
        if wanted("buckets") {
            made.add("buckets", true, source.plain(|row| row.buckets));
        }
        if wanted("exemplars") {
            made.add("exemplars", true, source.plain(|row| row.exemplars));
        }
        numbers(source, wanted, made)
    }
}

fn numbers(
    source: &Source<'_, PointRow>,
    wanted: &dyn Fn(&str) -> bool,
    made: &mut Made,
) -> Result<(), ArrowError> {
    let rows = || source.records();
    if wanted("type") {
        made.add("type", false, coded(rows().map(|row| row.kind), &TYPES)?);
    }
    if wanted("temporality") {
        made.add("temporality", false, coded(rows().map(|row| row.temporality), &TEMPORALITIES)?);
    }
    if wanted("monotonic") {
        let monotonic: BooleanArray = rows().map(|row| Some(row.monotonic)).collect();
        made.add("monotonic", false, Arc::new(monotonic));
    }
    if wanted("time") {
        made.add(
            "time",
            false,
            Arc::new(TimestampNanosecondArray::from_iter_values(rows().map(|row| row.time))),
        );
    }
    if wanted("start_time") {
        let starts = rows().map(|row| (row.start_time != 0).then_some(row.start_time));
        made.add("start_time", true, Arc::new(starts.collect::<TimestampNanosecondArray>()));
    }
    if wanted("value") {
        let values = rows().map(|row| match row.number {
            Number::Nothing => None,
            #[expect(clippy::cast_precision_loss, reason = "the integer is in a column of its own")]
            Number::Int(value) => Some(value as f64),
            Number::Double(value) => Some(value),
        });
        made.add("value", true, Arc::new(values.collect::<Float64Array>()));
    }
    if wanted("int_value") {
        let values = rows().map(|row| match row.number {
            Number::Int(value) => Some(value),
            _ => None,
        });
        made.add("int_value", true, Arc::new(values.collect::<Int64Array>()));
    }
    if wanted("count") {
        made.add("count", true, Arc::new(rows().map(|row| row.count).collect::<UInt64Array>()));
    }
    let doubles: [Column<Option<f64>>; 3] =
        [("sum", |row| row.sum), ("min", |row| row.min), ("max", |row| row.max)];
    for (name, of) in doubles.into_iter().filter(|(name, _)| wanted(name)) {
        made.add(name, true, Arc::new(rows().map(of).collect::<Float64Array>()));
    }
    if wanted("flags") {
        made.add("flags", false, Arc::new(UInt32Array::from_iter_values(rows().map(|row| row.flags))));
    }
    if wanted("batch") {
        made.add("batch", false, Arc::new(UInt64Array::from_iter_values(rows().map(|row| row.batch))));
    }
    Ok(())
}

/// Places in a list of names as a column of these.
fn coded(places: impl Iterator<Item = u8>, names: &[&'static str]) -> Result<ArrayRef, ArrowError> {
    let last = i32::try_from(names.len()).unwrap_or(1) - 1;
    let keys = Int32Array::from_iter_values(places.map(|place| i32::from(place).min(last)));
    let values: StringArray = names.iter().copied().map(Some).collect();
    Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(values))?))
}

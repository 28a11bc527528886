//! What is in the index of a segment for each row: its `key = value` pairs as hashes.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int8Type, Int32Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::value::{Value, parse_map};

/// What an entry is about; it is part of its hash.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Scope {
    Span = 1,
    Resource,
    Instrumentation,
    Event,
    Link,
    Intrinsic,
    /// A key that the column `attributes` holds.
    Residual,
}

pub(super) fn key_hash(scope: Scope, key: &str) -> u64 {
    xxh3_64_with_seed(key.as_bytes(), scope as u64)
}

pub(super) fn pair_hash(key: u64, value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, key)
}

/// The hash of a key with a value that can be looked for; numbers that are equal have one hash.
pub(super) fn value_hash(key: u64, value: &Value) -> Option<u64> {
    Some(match value {
        Value::String(text) => pair_hash(key, text.as_bytes()),
        Value::Int(number) => int_hash(key, *number),
        Value::Double(number) => double_hash(key, *number),
        Value::Bool(value) => pair_hash(key, if *value { b"true" } else { b"false" }),
        _ => return None,
    })
}

fn int_hash(key: u64, number: i64) -> u64 {
    // As a double, so that 200 is found by 200.0 and the other way round, large ones with a few neighbours.
    #[expect(clippy::cast_precision_loss, reason = "a filter may find too much")]
    double_hash(key, number as f64)
}

fn double_hash(key: u64, number: f64) -> u64 {
    // Both zeros are equal.
    let number = if number == 0.0 { 0.0 } else { number };
    pair_hash(key, &number.to_bits().to_le_bytes())
}

/// The entry of a trace.
pub(in crate::store) fn trace_entry(id: &[u8; 16]) -> u64 {
    pair_hash(key_hash(Scope::Intrinsic, "trace_id"), id)
}

/// The entry of a request of log records or data points.
pub(in crate::store) fn batch_entry(batch: u64) -> u64 {
    pair_hash(key_hash(Scope::Intrinsic, "batch"), &batch.to_le_bytes())
}

/// A column of a batch as hashes.
enum Column<'a> {
    /// By code, the hashes of each value; and the last block in which a code was seen.
    Dictionary(&'a ArrayRef, Vec<Vec<u64>>, Vec<usize>),
    Text(&'a ArrayRef, u64),
    Int(&'a ArrayRef, u64),
    Double(&'a ArrayRef, u64),
    Bool(&'a ArrayRef, u64),
    Small(&'a ArrayRef, u64),
    Id(&'a ArrayRef, u64),
    Batch(&'a ArrayRef),
    Root(&'a ArrayRef, u64),
    Residual(&'a ArrayRef),
    Objects(&'a ArrayRef, Scope),
}

/// What each block of a batch has.
pub(super) struct Entries<'a> {
    columns: Vec<Column<'a>>,
    block: usize,
}

impl<'a> Entries<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Self {
        let schema = batch.schema();
        let mut columns = Vec::new();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let name = field.name().as_str();
            let intrinsic = key_hash(Scope::Intrinsic, name);
            match name {
                "trace_id" => columns.push(Column::Id(column, intrinsic)),
                "batch" => columns.push(Column::Batch(column)),
                "parent_span_id" => columns.push(Column::Root(column, key_hash(Scope::Intrinsic, "root"))),
                "service" | "name" => {
                    columns.push(dictionary(column, |text| vec![pair_hash(intrinsic, text.as_bytes())]))
                }
                "kind" | "status" => columns.push(Column::Small(column, intrinsic)),
                "resource" => columns.push(dictionary(column, |text| object_hashes(Scope::Resource, text))),
                "scope" => {
                    columns.push(dictionary(column, |text| object_hashes(Scope::Instrumentation, text)))
                }
                "attributes" => columns.push(Column::Residual(column)),
                "events" => columns.push(Column::Objects(column, Scope::Event)),
                "links" => columns.push(Column::Objects(column, Scope::Link)),
                name => {
                    let Some(key) = name.strip_prefix("a:") else { continue };
                    let key = key_hash(Scope::Span, key);
                    columns.push(match column.data_type() {
                        DataType::Utf8 => Column::Text(column, key),
                        DataType::Int64 => Column::Int(column, key),
                        DataType::Float64 => Column::Double(column, key),
                        DataType::Boolean => Column::Bool(column, key),
                        _ => dictionary(column, |text| vec![pair_hash(key, text.as_bytes())]),
                    });
                }
            }
        }
        Self { columns, block: 0 }
    }

    /// The hashes of the rows of one block, some of them more than once.
    pub(super) fn hashes(&mut self, first: usize, end: usize) -> Vec<u64> {
        self.block += 1;
        let block = self.block;
        let mut out = Vec::with_capacity((end - first) * 6);
        for column in &mut self.columns {
            match column {
                Column::Dictionary(array, hashes, seen) => {
                    let array = array.as_dictionary::<Int32Type>();
                    for row in (first..end).filter(|&row| array.is_valid(row)) {
                        let code = usize::try_from(array.keys().value(row)).unwrap_or(0);
                        if seen[code] != block {
                            seen[code] = block;
                            out.extend_from_slice(&hashes[code]);
                        }
                    }
                }
                Column::Text(array, key) => each(array, first, end, &mut out, |row| {
                    pair_hash(*key, array.as_string::<i32>().value(row).as_bytes())
                }),
                Column::Int(array, key) => each(array, first, end, &mut out, |row| {
                    int_hash(*key, array.as_primitive::<Int64Type>().value(row))
                }),
                Column::Double(array, key) => each(array, first, end, &mut out, |row| {
                    double_hash(*key, array.as_primitive::<Float64Type>().value(row))
                }),
                Column::Bool(array, key) => each(array, first, end, &mut out, |row| {
                    pair_hash(*key, if array.as_boolean().value(row) { b"true" } else { b"false" })
                }),
                Column::Small(array, key) => each(array, first, end, &mut out, |row| {
                    pair_hash(*key, &array.as_primitive::<Int8Type>().value(row).to_le_bytes())
                }),
                Column::Id(array, key) => each(array, first, end, &mut out, |row| {
                    pair_hash(*key, array.as_fixed_size_binary().value(row))
                }),
                Column::Batch(array) => {
                    let array = array.as_primitive::<UInt64Type>();
                    let mut last = None;
                    for &batch in &array.values()[first..end] {
                        if last.replace(batch) != Some(batch) {
                            out.push(batch_entry(batch));
                        }
                    }
                }
                Column::Root(array, key) => {
                    if (first..end).any(|row| array.is_null(row)) {
                        out.push(pair_hash(*key, b""));
                    }
                }
                Column::Residual(array) => {
                    let array = array.as_string::<i32>();
                    for row in (first..end).filter(|&row| array.is_valid(row)) {
                        for (key, value) in parse_map(array.value(row)).unwrap_or_default() {
                            out.push(key_hash(Scope::Residual, &key));
                            value_hashes(key_hash(Scope::Span, &key), &value, &mut out);
                        }
                    }
                }
                Column::Objects(array, scope) => {
                    let array = array.as_string::<i32>();
                    for row in (first..end).filter(|&row| array.is_valid(row)) {
                        list_hashes(*scope, array.value(row), &mut out);
                    }
                }
            }
        }
        out
    }
}

fn each(array: &ArrayRef, first: usize, end: usize, out: &mut Vec<u64>, hash: impl Fn(usize) -> u64) {
    let mut last = None;
    for row in (first..end).filter(|&row| array.is_valid(row)) {
        let hash = hash(row);
        if last != Some(hash) {
            out.push(hash);
            last = Some(hash);
        }
    }
}

fn dictionary<'a>(column: &'a ArrayRef, hashes: impl Fn(&str) -> Vec<u64>) -> Column<'a> {
    let values = column.as_dictionary::<Int32Type>().values().as_string::<i32>();
    let hashes: Vec<Vec<u64>> = values.iter().map(|text| text.map_or_else(Vec::new, &hashes)).collect();
    let seen = vec![0; hashes.len()];
    Column::Dictionary(column, hashes, seen)
}

/// A value, or each element of an array.
fn value_hashes(key: u64, value: &Value, out: &mut Vec<u64>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| out.extend(value_hash(key, value))),
        value => out.extend(value_hash(key, value)),
    }
}

/// The hashes of the attributes of a resource or a scope.
fn object_hashes(scope: Scope, text: &str) -> Vec<u64> {
    let mut out = Vec::new();
    for (member, value) in parse_map(text).unwrap_or_default() {
        match value {
            Value::Map(attributes) if member == "attributes" => {
                for (key, value) in attributes {
                    value_hashes(key_hash(scope, &key), &value, &mut out);
                }
            }
            _ => {}
        }
    }
    out
}

/// The hashes of a list of events or links.
fn list_hashes(scope: Scope, text: &str, out: &mut Vec<u64>) {
    let Some(Value::Array(items)) = Value::parse(text) else { return };
    for item in items {
        let Value::Map(members) = item else { continue };
        for (member, value) in members {
            match (member.as_str(), value) {
                ("attributes", Value::Map(attributes)) => {
                    for (key, value) in attributes {
                        value_hashes(key_hash(scope, &key), &value, out);
                    }
                }
                ("name", Value::String(name)) => {
                    out.push(pair_hash(key_hash(Scope::Intrinsic, "event"), name.as_bytes()));
                }
                ("trace_id", Value::String(id)) => {
                    out.push(pair_hash(key_hash(Scope::Intrinsic, "link"), id.as_bytes()));
                }
                _ => {}
            }
        }
    }
}

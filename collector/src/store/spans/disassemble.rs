//! Columns as rows again: for writing a segment anew.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use hashbrown::HashMap;

use super::chunk::{Attribute, Cell, Chunk, NONE, Pool, Record};
use crate::value::{Value, parse_map};

/// A batch whose rows are read one by one.
pub(in crate::store) struct Reading<'a> {
    columns: HashMap<&'a str, &'a ArrayRef>,
    /// By column and code of its dictionary, the number of the text in the pool.
    codes: HashMap<&'static str, Vec<Option<u32>>>,
}

impl<'a> Reading<'a> {
    fn new(batch: &'a RecordBatch) -> Self {
        let names = batch.schema_ref().fields().iter().map(|field| field.name().as_str());
        Self { columns: names.zip(batch.columns()).collect(), codes: HashMap::new() }
    }

    fn column(&self, name: &str, row: usize) -> Option<&'a ArrayRef> {
        self.columns.get(name).copied().filter(|column| column.is_valid(row))
    }

    /// The number of a column in a row, if it has one.
    pub(in crate::store) fn value<T: ArrowPrimitiveType>(&self, name: &str, row: usize) -> Option<T::Native> {
        Some(self.column(name, row)?.as_primitive_opt::<T>()?.value(row))
    }

    /// The boolean of a column in a row.
    pub(in crate::store) fn bool(&self, name: &str, row: usize) -> bool {
        self.column(name, row)
            .and_then(|column| column.as_boolean_opt())
            .is_some_and(|column| column.value(row))
    }

    /// The id of a column in a row; zeros if there is none.
    pub(in crate::store) fn id<const N: usize>(&self, name: &str, row: usize) -> [u8; N] {
        let column = self.column(name, row).and_then(|column| column.as_fixed_size_binary_opt());
        column.and_then(|column| column.value(row).try_into().ok()).unwrap_or([0; N])
    }

    /// The text of a column in a row; empty if there is none.
    pub(in crate::store) fn str(&self, name: &str, row: usize) -> &'a str {
        let Some(column) = self.column(name, row) else { return "" };
        if let Some(texts) = column.as_string_opt::<i32>() {
            return texts.value(row);
        }
        let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() else { return "" };
        let code = usize::try_from(dictionary.keys().value(row)).unwrap_or(0);
        dictionary.values().as_string_opt::<i32>().map_or("", |texts| texts.value(code))
    }

    /// The number in the pool of the text of a column in a row; [`NONE`] if there is none.
    pub(in crate::store) fn text(&mut self, pool: &mut Pool, name: &'static str, row: usize) -> Option<u32> {
        let Some(column) = self.column(name, row) else { return Some(NONE) };
        let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() else {
            return pool.push(self.str(name, row));
        };
        let code = usize::try_from(dictionary.keys().value(row)).unwrap_or(0);
        if let Some(Some(number)) = self.codes.get(name).and_then(|codes| codes.get(code)) {
            return Some(*number);
        }
        let number = pool.intern(self.str(name, row))?;
        let codes = self.codes.entry(name).or_insert_with(|| vec![None; dictionary.values().len()]);
        if let Some(slot) = codes.get_mut(code) {
            *slot = Some(number);
        }
        Some(number)
    }
}

/// Appends the rows of a batch that `keep` lets through by their service; false when there is no room.
pub(in crate::store) fn disassemble<R: Record>(
    batch: &RecordBatch,
    keep: impl Fn(&str) -> bool,
    chunk: &mut Chunk<R>,
) -> bool {
    let mut reading = Reading::new(batch);
    let attributes: Vec<(&str, &ArrayRef)> = batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .filter_map(|(field, column)| Some((field.name().strip_prefix("a:")?, column)))
        .collect();
    let mut keys = Vec::with_capacity(attributes.len());
    for (key, _) in &attributes {
        let Some(key) = chunk.pool.intern(key) else { return false };
        keys.push(key);
    }
    for row in 0..batch.num_rows() {
        if !keep(reading.str("service", row)) {
            continue;
        }
        let mut add = || {
            let first = u32::try_from(chunk.attributes.len()).ok()?;
            for (&key, (_, column)) in keys.iter().zip(&attributes) {
                if column.is_valid(row) {
                    chunk.attributes.push(Attribute { key, cell: cell(column, row, &mut chunk.pool)? });
                }
            }
            for (key, value) in parse_map(reading.str("attributes", row)).unwrap_or_default() {
                let key = chunk.pool.intern(&key)?;
                chunk.attributes.push(Attribute { key, cell: cell_of(&value, &mut chunk.pool)? });
            }
            let count = u32::try_from(chunk.attributes.len()).ok()? - first;
            let mut record = R::read(&mut reading, &mut chunk.pool, row)?;
            record.set_attributes(first, count);
            Some(record)
        };
        match add() {
            Some(record) => chunk.rows.push(record),
            None => return false,
        }
    }
    true
}

fn cell(column: &ArrayRef, row: usize, pool: &mut Pool) -> Option<Cell> {
    Some(match column.data_type() {
        DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Cell::Double(column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Cell::Bool(column.as_boolean().value(row)),
        DataType::Utf8 => Cell::Text(pool.intern(column.as_string::<i32>().value(row))?),
        _ => {
            let dictionary = column.as_dictionary_opt::<Int32Type>()?;
            let code = usize::try_from(dictionary.keys().value(row)).ok()?;
            Cell::Text(pool.intern(dictionary.values().as_string_opt::<i32>()?.value(code))?)
        }
    })
}

fn cell_of(value: &Value, pool: &mut Pool) -> Option<Cell> {
    Some(match value {
        Value::String(text) => Cell::Text(pool.intern(text)?),
        Value::Int(value) => Cell::Int(*value),
        Value::Double(value) => Cell::Double(*value),
        Value::Bool(value) => Cell::Bool(*value),
        other => Cell::Json(pool.intern(&other.to_text())?),
    })
}

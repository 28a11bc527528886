//! Columns of attributes and of texts, from values by row.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray,
};
use arrow_schema::DataType;

use super::chunk::{Cell, NONE};

/// What kind of column an attribute has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Double,
    Bool,
}

/// Numbers of texts as an array.
pub(super) fn dictionary(numbers: &[u32], texts: &[&str]) -> ArrayRef {
    let (keys, values) = codes(numbers, texts);
    array(keys, values)
}

fn array(keys: Int32Array, values: Vec<&str>) -> ArrayRef {
    // The keys were made for these values, so nothing can be out of bounds.
    let array = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(StringArray::from(values)));
    array.map_or_else(
        |_| arrow_array::new_empty_array(&dictionary_type()),
        |array| Arc::new(array) as ArrayRef,
    )
}

fn dictionary_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// A code for each number, and the text of each code.
fn codes<'a>(numbers: &[u32], texts: &[&'a str]) -> (Int32Array, Vec<&'a str>) {
    // By the number of the text: quicker than to look for it, and as large as the numbers are.
    let mut codes: Vec<i32> = vec![-1; texts.len()];
    let mut values = Vec::new();
    let mut last = (NONE, 0);
    let keys = numbers
        .iter()
        .map(|&number| {
            if number == NONE {
                return None;
            }
            if number != last.0 {
                let code = &mut codes[number as usize];
                if *code < 0 {
                    values.push(texts[number as usize]);
                    *code = i32::try_from(values.len() - 1).unwrap_or(i32::MAX);
                }
                last = (number, *code);
            }
            Some(last.1)
        })
        .collect();
    (keys, values)
}

/// The column of one attribute while it is filled.
pub(super) enum Column {
    Text(Vec<u32>),
    Int(Vec<Option<i64>>),
    Double(Vec<Option<f64>>),
    Bool(Vec<Option<bool>>),
}

impl Column {
    pub(super) fn new(kind: Kind, rows: usize) -> Self {
        match kind {
            Kind::Text => Self::Text(vec![NONE; rows]),
            Kind::Int => Self::Int(vec![None; rows]),
            Kind::Double => Self::Double(vec![None; rows]),
            Kind::Bool => Self::Bool(vec![None; rows]),
        }
    }

    /// Puts a value into a row; false if it is of another kind.
    pub(super) fn put(&mut self, row: usize, cell: Cell, number: impl Fn(u32) -> u32) -> bool {
        match (self, cell) {
            (Self::Text(column), Cell::Text(value)) => column[row] = number(value),
            (Self::Int(column), Cell::Int(value)) => column[row] = Some(value),
            (Self::Double(column), Cell::Double(value)) => column[row] = Some(value),
            (Self::Bool(column), Cell::Bool(value)) => column[row] = Some(value),
            _ => return false,
        }
        true
    }

    pub(super) fn finish(self, texts: &[&str]) -> ArrayRef {
        match self {
            Self::Text(numbers) => {
                let (keys, values) = codes(&numbers, texts);
                // Of values that hardly repeat, a dictionary is one more copy.
                if values.len() > 64 && values.len() * 2 > keys.len() - keys.null_count() {
                    let plain = numbers.iter().map(|&n| (n != NONE).then(|| texts[n as usize]));
                    return Arc::new(plain.collect::<StringArray>());
                }
                array(keys, values)
            }
            Self::Int(values) => Arc::new(Int64Array::from(values)),
            Self::Double(values) => Arc::new(Float64Array::from(values)),
            Self::Bool(values) => Arc::new(BooleanArray::from(values)),
        }
    }
}

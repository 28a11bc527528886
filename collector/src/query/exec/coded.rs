//! The values of a field by number: rows that share a value share its number, so that what depends on the value is
//! found out once for each value of a batch, and not once a row.

use std::borrow::Cow;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{Array, ArrayRef};

use super::bind::{Source, borrowed};
use crate::query::traceql::Datum;

/// No number yet.
const NONE: u32 = u32::MAX;

/// The values of a field in some rows.
#[derive(Clone)]
pub(super) struct Coded<'a> {
    /// For each of the rows, in their order, the number of its value.
    pub(super) codes: Vec<u32>,
    /// The values by number, the first of them nil. A value may be there more than once.
    pub(super) values: Vec<Datum<'a>>,
}

impl<'a> Coded<'a> {
    /// The values of these rows; none where each row has one of its own.
    pub(super) fn of(source: &'a Source<'a>, rows: &[u32]) -> Option<Self> {
        let mut coded = Self { codes: Vec::with_capacity(rows.len()), values: vec![Datum::Nil] };
        match source {
            Source::Nothing => coded.codes.resize(rows.len(), 0),
            Source::Texts(column, texts) => {
                coded.keys(column, rows, texts.len(), |code| {
                    (!texts.is_null(code)).then(|| Datum::Text(Cow::Borrowed(texts.value(code))))
                });
            }
            Source::Codes(column, values) => {
                coded.keys(column, rows, values.len(), |code| values.get(code).map(borrowed));
            }
            Source::Bool(column) => {
                let column = column.as_boolean();
                coded.values.extend([Datum::Bool(false), Datum::Bool(true)]);
                let code =
                    |row: usize| if column.is_null(row) { 0 } else { 1 + u32::from(column.value(row)) };
                coded.codes.extend(rows.iter().map(|&row| code(row as usize)));
            }
            Source::Status(column) => coded.small(column, rows, Datum::Status),
            Source::Kind(column) => coded.small(column, rows, Datum::Kind),
            Source::Residual(..) => coded.each(source, rows),
            Source::First(sources) => coded.first(sources, rows)?,
            _ => return None,
        }
        Some(coded)
    }

    /// The values of these rows, in whichever way they can be numbered.
    pub(super) fn of_any(source: &'a Source<'a>, rows: &[u32]) -> Self {
        Self::of(source, rows).unwrap_or_else(|| Self::of_each(source, rows))
    }

    /// The values of these rows, each with a number of its own.
    fn of_each(source: &'a Source<'a>, rows: &[u32]) -> Self {
        let mut coded = Self { codes: Vec::with_capacity(rows.len()), values: vec![Datum::Nil] };
        coded.each(source, rows);
        coded
    }

    /// Gives a value a number.
    fn add(values: &mut Vec<Datum<'a>>, value: Datum<'a>) -> u32 {
        if value == Datum::Nil {
            return 0;
        }
        values.push(value);
        u32::try_from(values.len() - 1).unwrap_or(0)
    }

    fn each(&mut self, source: &'a Source<'a>, rows: &[u32]) {
        for &row in rows {
            self.codes.push(Self::add(&mut self.values, source.value(row as usize)));
        }
    }

    /// From the keys of a dictionary; values that none of the rows has are left out.
    fn keys(
        &mut self,
        column: &'a ArrayRef,
        rows: &[u32],
        size: usize,
        value: impl Fn(usize) -> Option<Datum<'a>>,
    ) {
        let keys = column.as_dictionary::<Int32Type>().keys();
        let mut numbers = vec![NONE; size];
        let values = &mut self.values;
        self.codes.extend(rows.iter().map(|&row| {
            let row = row as usize;
            if keys.is_null(row) {
                return 0;
            }
            let code = usize::try_from(keys.value(row)).unwrap_or(usize::MAX);
            match numbers.get_mut(code) {
                Some(number) => {
                    if *number == NONE {
                        *number = Self::add(values, value(code).unwrap_or(Datum::Nil));
                    }
                    *number
                }
                None => 0,
            }
        }));
    }

    fn small(&mut self, column: &'a ArrayRef, rows: &[u32], value: fn(i8) -> Datum<'a>) {
        let column = column.as_primitive::<Int8Type>();
        let mut numbers = [NONE; 256];
        let values = &mut self.values;
        self.codes.extend(rows.iter().map(|&row| {
            let row = row as usize;
            if column.is_null(row) {
                return 0;
            }
            let small = column.value(row);
            let number = &mut numbers[usize::from(small.cast_unsigned())];
            if *number == NONE {
                *number = Self::add(values, value(small));
            }
            *number
        }));
    }

    /// The first that is not nil.
    fn first(&mut self, sources: &'a [Source<'a>], rows: &[u32]) -> Option<()> {
        self.codes.resize(rows.len(), 0);
        for source in sources {
            let missing: Vec<usize> = (0..rows.len()).filter(|&place| self.codes[place] == 0).collect();
            if missing.is_empty() {
                break;
            }
            let rows: Vec<u32> = missing.iter().map(|&place| rows[place]).collect();
            let Self { codes, mut values } = Self::of(source, &rows)?;
            let before = u32::try_from(self.values.len()).ok()? - 1;
            for (place, code) in missing.into_iter().zip(codes) {
                self.codes[place] = if code == 0 { 0 } else { before + code };
            }
            self.values.extend(values.drain(1..));
        }
        Some(())
    }
}

//! Rows that are counted where they are read: of each value of a column how many there are, and sums of others. What DataFusion
//! gets are a few rows of each part in place of all of them.

use std::fmt;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int64Builder, StringViewBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use hashbrown::HashMap;

use super::columns::{self, Column, From};
use super::table::{self, Convert, Reading};
use crate::query::engine::{Order, QueryError, Scan, Table, TimeRange};

/// What is counted.
#[derive(Clone)]
pub(super) struct Grouped {
    pub(super) table: Table,
    /// What is grouped by, a text.
    pub(super) key: Column,
    /// Whether rows without it are left out.
    pub(super) present: bool,
    pub(super) time: TimeRange,
    /// The numbers that are summed up.
    pub(super) measures: Vec<Column>,
    pub(super) reading: Reading,
}

impl fmt::Debug for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grouped").field("key", &self.key.name).finish_non_exhaustive()
    }
}

/// The column of the key, of how many rows there are, and of what is known of each number.
pub(super) const KEY: &str = "key";
pub(super) const ROWS: &str = "rows";
pub(super) const OF_NUMBERS: [&str; 4] = ["count", "sum", "min", "max"];

/// The name of what is known of a number.
pub(super) fn named(what: &str, measure: usize) -> String {
    format!("{what}{measure}")
}

/// Whether a column can be grouped by.
pub(super) fn is_key(from: &From) -> bool {
    matches!(from, From::Text(_) | From::Named(..) | From::Attribute(..))
}

/// Whether a column can be summed up.
pub(super) fn is_measure(from: &From) -> bool {
    // Not what may be NaN, of which there is no smallest.
    matches!(from, From::Millis | From::Whole(_))
}

impl Grouped {
    pub(super) fn schema(&self) -> SchemaRef {
        let mut fields =
            vec![Field::new(KEY, DataType::Utf8View, true), Field::new(ROWS, DataType::Int64, true)];
        for (place, measure) in self.measures.iter().enumerate() {
            let kind = columns::schema(std::slice::from_ref(measure)).field(0).data_type().clone();
            for what in OF_NUMBERS {
                let kind = if what == "count" { DataType::Int64 } else { kind.clone() };
                fields.push(Field::new(named(what, place), kind, true));
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// The key and the numbers, as they are read.
    fn read_columns(&self) -> Vec<Column> {
        let mut all = vec![self.key.clone()];
        all.extend(self.measures.iter().cloned());
        all
    }
}

#[async_trait]
impl TableProvider for Grouped {
    fn schema(&self) -> SchemaRef {
        self.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let read = self.read_columns();
        let scan = Scan {
            table: self.table,
            time: self.time,
            must: Vec::new(),
            columns: columns::needed(self.table, &read),
            order: Order::Any,
        };
        let schema = self.schema();
        let places: Vec<usize> =
            projection.map_or_else(|| (0..schema.fields().len()).collect(), Clone::clone);
        let schema = Arc::new(schema.project(&places)?);
        let grouped = self.clone();
        let convert: Convert = Arc::new(move || {
            let (places, mut counts) = (places.clone(), Counts::new(&grouped));
            Box::new(move |batch| match batch {
                Some(batch) => counts.add(batch).map(|()| None),
                None => counts.finish(&places).map(Some),
            })
        });
        table::plan(&self.reading, &scan, state, &schema, None, &convert)
    }
}

/// What is known of a number in a group.
#[derive(Clone, Copy)]
enum Number {
    Whole { count: i64, sum: i64, min: i64, max: i64 },
    Float { count: i64, sum: f64, min: f64, max: f64 },
}

/// The groups of a part.
struct Counts {
    grouped: Grouped,
    key_schema: SchemaRef,
    known: HashMap<Option<String>, usize>,
    rows: Vec<i64>,
    numbers: Vec<Vec<Number>>,
}

impl Counts {
    fn new(grouped: &Grouped) -> Self {
        Self {
            key_schema: columns::schema(std::slice::from_ref(&grouped.key)),
            known: HashMap::new(),
            rows: Vec::new(),
            numbers: vec![Vec::new(); grouped.measures.len()],
            grouped: grouped.clone(),
        }
    }

    fn place(&mut self, key: Option<&str>) -> Result<usize, QueryError> {
        if let Some(&place) = self.known.get(&key.map(str::to_owned)) {
            return Ok(place);
        }
        self.grouped.reading.control.take_memory(64 + key.map_or(0, str::len) + 48 * self.numbers.len())?;
        let place = self.rows.len();
        self.known.insert(key.map(str::to_owned), place);
        self.rows.push(0);
        for (numbers, measure) in self.numbers.iter_mut().zip(&self.grouped.measures) {
            numbers.push(match measure.from {
                From::Whole(_) => Number::Whole { count: 0, sum: 0, min: i64::MAX, max: i64::MIN },
                _ => Number::Float { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY },
            });
        }
        Ok(place)
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        let places = self.places(batch)?;
        for &place in places.iter().filter(|place| **place != LEFT_OUT) {
            self.rows[place] += 1;
        }
        for (numbers, measure) in self.numbers.iter_mut().zip(&self.grouped.measures) {
            let schema = columns::schema(std::slice::from_ref(measure));
            let made = columns::batch(std::slice::from_ref(measure), &schema, batch)?;
            let column = made.column(0);
            let rows = places.iter().enumerate().filter(|(_, place)| **place != LEFT_OUT);
            if let Some(values) = column.as_primitive_opt::<Float64Type>() {
                for (row, &place) in rows.filter(|(row, _)| values.is_valid(*row)) {
                    numbers[place].float(values.value(row));
                }
            } else if let Some(values) = column.as_primitive_opt::<Int64Type>() {
                for (row, &place) in rows.filter(|(row, _)| values.is_valid(*row)) {
                    numbers[place].whole(values.value(row))?;
                }
            }
        }
        Ok(())
    }

    /// Of each row the place of its group.
    fn places(&mut self, batch: &RecordBatch) -> Result<Vec<usize>, QueryError> {
        let of = |counts: &mut Self, key: Option<&str>| {
            if key.is_none() && counts.grouped.present { Ok(LEFT_OUT) } else { counts.place(key) }
        };
        // Straight from the dictionary, where the column is one and nothing else has the key.
        let straight = match &self.grouped.key.from {
            From::Text(name) => batch.column_by_name(name),
            From::Attribute(columns::Base::Attributes, key)
                if batch.column_by_name("attributes").is_none() =>
            {
                batch.column_by_name(&format!("a:{key}"))
            }
            _ => None,
        };
        if let Some(dictionary) = straight.and_then(|column| column.as_dictionary_opt::<Int32Type>())
            && let Some(texts) = dictionary.values().as_string_opt::<i32>()
        {
            let nothing = if dictionary.null_count() > 0 { of(self, None)? } else { LEFT_OUT };
            let mut by_code = vec![None; texts.len()];
            let keys = dictionary.keys();
            let mut places = Vec::with_capacity(keys.len());
            for row in 0..keys.len() {
                let code = usize::try_from(keys.value(row)).unwrap_or(usize::MAX);
                let place = match by_code.get(code) {
                    _ if keys.is_null(row) => nothing,
                    Some(Some(place)) => *place,
                    Some(None) if texts.is_valid(code) => {
                        let place = of(self, Some(texts.value(code)))?;
                        by_code[code] = Some(place);
                        place
                    }
                    _ => of(self, None)?,
                };
                places.push(place);
            }
            return Ok(places);
        }
        let key = std::slice::from_ref(&self.grouped.key).to_vec();
        let made = columns::batch(&key, &self.key_schema, batch)?;
        let texts = made.column(0).as_string_view();
        texts.iter().map(|text| of(self, text)).collect()
    }

    /// A row for each group, and these of its columns.
    fn finish(&mut self, places: &[usize]) -> Result<RecordBatch, QueryError> {
        let mut keys: Vec<(Option<String>, usize)> = self.known.drain().collect();
        keys.sort_unstable_by_key(|(_, place)| *place);
        let mut key = StringViewBuilder::new();
        keys.iter().for_each(|(text, _)| key.append_option(text.as_deref()));
        let mut rows = Int64Builder::new();
        rows.append_slice(&self.rows);
        let mut all: Vec<ArrayRef> = vec![Arc::new(key.finish()), Arc::new(rows.finish())];
        for (numbers, measure) in self.numbers.iter().zip(&self.grouped.measures) {
            all.extend(shown(numbers, matches!(measure.from, From::Whole(_))));
        }
        let columns: Vec<ArrayRef> = places.iter().map(|&place| Arc::clone(&all[place])).collect();
        let schema = self.grouped.schema().project(places);
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        schema
            .and_then(|schema| RecordBatch::try_new_with_options(Arc::new(schema), columns, &options))
            .map_err(|error| QueryError::Failed(error.to_string()))
    }
}

/// A row that belongs to no group.
const LEFT_OUT: usize = usize::MAX;

impl Number {
    fn float(&mut self, value: f64) {
        if let Self::Float { count, sum, min, max } = self {
            *count += 1;
            *sum += value;
            (*min, *max) = (min.min(value), max.max(value));
        }
    }

    fn whole(&mut self, value: i64) -> Result<(), QueryError> {
        if let Self::Whole { count, sum, min, max } = self {
            *count += 1;
            *sum = sum.checked_add(value).ok_or_else(|| {
                QueryError::invalid("a sum is larger than a bigint can be; cast it to double precision")
            })?;
            (*min, *max) = ((*min).min(value), (*max).max(value));
        }
        Ok(())
    }
}

/// The columns of a number: null where a group has none of it.
fn shown(numbers: &[Number], is_whole: bool) -> [ArrayRef; 4] {
    let mut counts = Int64Builder::new();
    let (mut wholes, mut floats) =
        ([(); 3].map(|()| Int64Builder::new()), [(); 3].map(|()| Float64Builder::new()));
    for number in numbers {
        match *number {
            Number::Whole { count, sum, min, max } => {
                counts.append_value(count);
                for (column, value) in wholes.iter_mut().zip([sum, min, max]) {
                    column.append_option((count > 0).then_some(value));
                }
            }
            Number::Float { count, sum, min, max } => {
                counts.append_value(count);
                for (column, value) in floats.iter_mut().zip([sum, min, max]) {
                    column.append_option((count > 0).then_some(value));
                }
            }
        }
    }
    let [a, b, c] = if is_whole {
        wholes.map(|mut column| Arc::new(column.finish()) as ArrayRef)
    } else {
        floats.map(|mut column| Arc::new(column.finish()) as ArrayRef)
    };
    [Arc::new(counts.finish()), a, b, c]
}

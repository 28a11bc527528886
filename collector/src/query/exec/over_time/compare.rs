//! `compare`: how often each attribute has each value, in a selection of spans and in all others.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, RecordBatch};
use hashbrown::{HashMap, HashSet};
use serde_json::Value as Json;

use super::roots::{Roots, TOLD};
use super::series::{Grid, counted};
use super::values::Values;
use crate::query::engine::{Columns, Control, Order, QueryError, Scan, SpanColumn, Table};
use crate::query::exec::bind::{self, Source, datum};
use crate::query::exec::coded::Coded;
use crate::query::exec::filter::Condition;
use crate::query::exec::render::Rows;
use crate::query::exec::traces::{self, TraceId};
use crate::query::exec::{Queries, parallel, stats};
use crate::query::over_time::Series;
use crate::query::traceql::{Datum, Field, Filter, Intrinsic, Pipeline, Scope, Spanset, Stage};
use crate::value::{Value, each_entry, parse_map};

/// What every span has, beside its attributes.
const OF_EVERY_SPAN: [Intrinsic; 4] =
    [Intrinsic::Name, Intrinsic::Kind, Intrinsic::Status, Intrinsic::StatusMessage];
/// Roots of traces that are looked at at most, by each thread: to find those of more takes as long as all else.
const MOST_ROOTS: usize = 1 << 18;
const KIND_OF_SERIES: &str = "__meta_type";
const SIDES: [&str; 2] = ["baseline", "selection"];

/// What is compared: the spans, which of them are selected, and how many values are shown.
pub(super) struct Compared<'a> {
    pub(super) spans: &'a Pipeline,
    pub(super) selection: &'a Filter,
    /// The selection is of spans that started after the first and not after the second.
    pub(super) between: Option<(i64, i64)>,
    pub(super) top: usize,
}

pub(super) fn series(
    queries: &Queries,
    grid: Grid,
    compared: &Compared<'_>,
    control: &Control,
) -> Result<(Vec<Series>, u64), QueryError> {
    let mut looked_at = 0;
    let (single, selection) = (compared.spans.single(), compared.selection.with_roots());
    let spans = Picked::new(queries, grid, compared.spans, single.as_ref(), control, &mut looked_at)?;
    let mut both = compared.spans.clone();
    both.stages.push(Stage::Spans(Spanset::Filter(selection.clone())));
    let selection = Picked::new(queries, grid, &both, Some(&selection), control, &mut looked_at)?;
    let mut columns = bind::columns(&OF_EVERY_SPAN.map(Field::Intrinsic))?;
    columns.extend([SpanColumn::Attributes, SpanColumn::Fixed("resource"), SpanColumn::Fixed("start")]);
    for picked in [&spans, &selection] {
        columns.extend(picked.columns()?);
    }
    let roots = Roots::read(queries, grid.range(), MOST_ROOTS, control, &mut looked_at)?;
    columns.extend(roots.is_some().then_some(SpanColumn::Fixed("trace_id")));
    columns.sort_unstable();
    columns.dedup();
    let must = single.map(|filter| filter.musts()).unwrap_or_default();
    let (columns, time) = (Columns::Some(columns), grid.range());
    let scan = Scan { table: Table::Spans, time, must, columns, order: Order::Any };
    let parts = queries.engine.parts(&scan)?;
    let (found, scanned) = parallel::fold(&parts, control, |counts: &mut Counts, batch| {
        let starts = Rows::new(batch).column("start")?.as_primitive::<TimestampNanosecondType>();
        let start = |row: u32| starts.value(row as usize);
        let mut rows: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
        rows.retain(|&row| time.contains(start(row)));
        spans.keep(batch, &mut rows)?;
        let mut selected = rows.clone();
        selected
            .retain(|&row| compared.between.is_none_or(|(after, to)| after < start(row) && start(row) <= to));
        selection.keep(batch, &mut selected)?;
        let mut selected = selected.into_iter().peekable();
        let mut interval = grid.intervals();
        let cell = |&row: &u32| 2 * interval(start(row)) + usize::from(selected.next_if_eq(&row).is_some());
        let cells: Vec<usize> = rows.iter().map(cell).collect();
        counts.add(batch, &Placed { rows: &rows, cells: &cells, roots: roots.as_ref(), grid, control })
    })?;
    let mut all = Counts::default();
    for counts in found {
        all.merge(counts, control)?;
    }
    Ok((all.finish(grid, compared.top), looked_at + scanned))
}

/// How it is known which spans count.
enum Picked {
    /// By a look at each alone.
    Alone(Condition),
    /// By a look at their traces.
    Known(HashSet<(TraceId, [u8; 8])>),
}

impl Picked {
    /// Those that a pipeline leaves, or a filter that tells the same of spans that are left before.
    fn new(
        queries: &Queries,
        grid: Grid,
        pipeline: &Pipeline,
        filter: Option<&Filter>,
        control: &Control,
        scanned: &mut u64,
    ) -> Result<Self, QueryError> {
        if let Some(filter) = filter.filter(|filter| filter.fields().iter().all(Field::is_of_one_span)) {
            return Ok(Self::Alone(Condition::new(filter)?));
        }
        let mut known = HashSet::new();
        *scanned += traces::each(queries, pipeline, &[], None, grid.range(), control, |left, _| {
            known.insert((left.trace, left.span.get().to_be_bytes()));
            control.take_memory(2 * size_of::<(TraceId, [u8; 8])>())
        })?;
        Ok(Self::Known(known))
    }

    fn columns(&self) -> Result<Vec<SpanColumn>, QueryError> {
        match self {
            Self::Alone(condition) => bind::columns(condition.fields()),
            Self::Known(_) => Ok(vec![SpanColumn::Fixed("trace_id"), SpanColumn::Fixed("span_id")]),
        }
    }

    /// Leaves of some rows those that are picked.
    fn keep(&self, batch: &RecordBatch, rows: &mut Vec<u32>) -> Result<(), QueryError> {
        match self {
            Self::Alone(condition) => {
                condition.keep(&bind::Bound::new(condition.fields(), batch)?, rows);
            }
            Self::Known(known) => {
                let of = Rows::new(batch);
                let traces = of.column("trace_id")?.as_fixed_size_binary();
                let spans = of.column("span_id")?.as_fixed_size_binary();
                let key = |row: usize| {
                    Some((traces.value(row).try_into().ok()?, spans.value(row).try_into().ok()?))
                };
                rows.retain(|&row| key(row as usize).is_some_and(|key| known.contains(&key)));
            }
        }
        Ok(())
    }
}

/// The rows of a batch that count, and of each the cell.
struct Placed<'a> {
    rows: &'a [u32],
    cells: &'a [usize],
    roots: Option<&'a Roots>,
    grid: Grid,
    control: &'a Control,
}

/// The values of every attribute.
#[derive(Default)]
struct Counts {
    all: HashMap<String, Values>,
    /// What is known of texts of values, by the keys of attributes without a column.
    texts: HashMap<String, Texts>,
}

/// The values of an attribute as they are written: most come again, and are read once.
struct Texts {
    label: String,
    /// The numbers of those that are told apart.
    known: HashMap<Box<str>, u32>,
}

impl Counts {
    fn of(&mut self, label: &str, placed: &Placed<'_>) -> Result<&mut Values, QueryError> {
        if !self.all.contains_key(label) {
            self.all.insert(label.to_owned(), Values::new(placed.grid.times().count(), placed.control)?);
        }
        self.all.get_mut(label).ok_or_else(|| QueryError::Failed("a label is lost".to_owned()))
    }

    fn add(&mut self, batch: &RecordBatch, placed: &Placed<'_>) -> Result<(), QueryError> {
        let attributes =
            batch.schema_ref().fields().iter().filter_map(|field| field.name().strip_prefix("a:"));
        let of_span = |key: &str| Field::Attribute { scope: Scope::Span, key: key.to_owned() };
        let mut fields: Vec<Field> = attributes.map(of_span).collect();
        fields.extend(OF_EVERY_SPAN.map(Field::Intrinsic));
        // The others are read below, all of a row at once.
        let others = batch.column_by_name("attributes").map(|column| column.as_string::<i32>().clone());
        let own: Vec<usize> = batch
            .schema_ref()
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| field.name() != "attributes")
            .map(|(place, _)| place)
            .collect();
        let own = batch.project(&own).map_err(|error| QueryError::Failed(error.to_string()))?;
        let bound = bind::Bound::new(&fields, &own)?;
        for (place, field) in fields.iter().enumerate() {
            if let Some(source) = bound.source(place) {
                self.column(&field.to_string(), source, placed)?;
            }
        }
        for (&row, &cell) in placed.rows.iter().zip(placed.cells) {
            let Some(others) = others.as_ref().filter(|others| others.is_valid(row as usize)) else {
                continue;
            };
            let mut failed = Ok(());
            each_entry(others.value(row as usize), |key, value| {
                if failed.is_ok() {
                    failed = self.one(&key, value.get(), cell, placed);
                }
            });
            failed?;
        }
        if let Some(roots) = placed.roots {
            for (intrinsic, coded) in TOLD.into_iter().zip(roots.coded(batch, placed.rows)?) {
                self.coded(&Field::Intrinsic(intrinsic).to_string(), &coded, placed)?;
            }
        }
        self.resources(batch, placed)
    }

    /// A column of an attribute.
    fn column(&mut self, label: &str, source: &Source<'_>, placed: &Placed<'_>) -> Result<(), QueryError> {
        match source {
            Source::Int(column) => {
                let column = column.as_primitive::<Int64Type>();
                let number = |values: &mut Values, row| values.int(column.value(row), placed.control);
                self.values(label, column, placed, number)
            }
            Source::Double(column) => {
                let column = column.as_primitive::<Float64Type>();
                let number = |values: &mut Values, row| values.double(column.value(row), placed.control);
                self.values(label, column, placed, number)
            }
            Source::Text(column) => {
                let column = column.as_string::<i32>();
                let number = |values: &mut Values, row| values.text(column.value(row), placed.control);
                self.values(label, column, placed, number)
            }
            _ => self.coded(label, &Coded::of_any(source, placed.rows), placed),
        }
    }

    /// A column whose rows have values of their own.
    fn values(
        &mut self,
        label: &str,
        column: &dyn Array,
        placed: &Placed<'_>,
        number: impl Fn(&mut Values, usize) -> Result<Option<u32>, QueryError>,
    ) -> Result<(), QueryError> {
        if column.null_count() == column.len() {
            return Ok(());
        }
        let values = self.of(label, placed)?;
        let nulls = column.nulls();
        for (&row, &cell) in placed.rows.iter().zip(placed.cells) {
            let row = row as usize;
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                let number = number(values, row)?;
                values.count(number, cell, placed.control)?;
            }
        }
        Ok(())
    }

    /// A column whose rows have numbers of values.
    fn coded(&mut self, label: &str, coded: &Coded<'_>, placed: &Placed<'_>) -> Result<(), QueryError> {
        if coded.codes.iter().all(|code| *code == 0) {
            return Ok(());
        }
        let values = self.of(label, placed)?;
        let mut numbers: Vec<Option<Option<u32>>> = vec![None; coded.values.len()];
        for (&code, &cell) in coded.codes.iter().zip(placed.cells).filter(|(code, _)| **code != 0) {
            let known = &mut numbers[code as usize];
            let number = match *known {
                Some(number) => number,
                None => {
                    let number = values.number(text(&coded.values[code as usize]), placed.control)?;
                    *known = Some(number);
                    number
                }
            };
            values.count(number, cell, placed.control)?;
        }
        Ok(())
    }

    /// A value without a column, as it is written.
    fn one(&mut self, key: &str, written: &str, cell: usize, placed: &Placed<'_>) -> Result<(), QueryError> {
        if !self.texts.contains_key(key) {
            let label = Field::Attribute { scope: Scope::Span, key: key.to_owned() }.to_string();
            self.texts.insert(key.to_owned(), Texts { label, known: HashMap::new() });
        }
        let lost = || QueryError::Failed("a key is lost".to_owned());
        let texts = self.texts.get_mut(key).ok_or_else(lost)?;
        if let Some(&number) = texts.known.get(written) {
            let values = self.all.get_mut(&texts.label).ok_or_else(lost)?;
            values.count(Some(number), cell, placed.control)?;
            return Ok(());
        }
        let value = Value::parse(written).map_or(Datum::Nil, datum);
        if value == Datum::Nil {
            return Ok(());
        }
        let label = texts.label.clone();
        let values = self.of(&label, placed)?;
        let number = values.number(text(&value), placed.control)?;
        values.count(number, cell, placed.control)?;
        if let Some(number) = number {
            placed.control.take_memory(written.len() + 32)?;
            let texts = self.texts.get_mut(key).ok_or_else(lost)?;
            texts.known.insert(written.into(), number);
        }
        Ok(())
    }

    /// The attributes of each resource, which is read once for all of its spans.
    fn resources(&mut self, batch: &RecordBatch, placed: &Placed<'_>) -> Result<(), QueryError> {
        let Some(column) =
            batch.column_by_name("resource").and_then(|column| column.as_dictionary_opt::<Int32Type>())
        else {
            return Ok(());
        };
        let Some(texts) = column.values().as_string_opt::<i32>() else { return Ok(()) };
        let mut by_code: HashMap<i32, Vec<usize>> = HashMap::new();
        for (&row, &cell) in placed.rows.iter().zip(placed.cells) {
            by_code.entry(column.keys().value(row as usize)).or_default().push(cell);
        }
        for (code, cells) in by_code {
            let Some(code) = usize::try_from(code).ok().filter(|code| *code < texts.len()) else { continue };
            let members = parse_map(texts.value(code)).unwrap_or_default();
            let attributes = members.into_iter().find_map(|(member, value)| match value {
                Value::Map(attributes) if member == "attributes" => Some(attributes),
                _ => None,
            });
            for (key, value) in attributes.unwrap_or_default() {
                let value = datum(value);
                if value == Datum::Nil {
                    continue;
                }
                let label = Field::Attribute { scope: Scope::Resource, key }.to_string();
                let values = self.of(&label, placed)?;
                let number = values.number(text(&value), placed.control)?;
                cells.iter().try_for_each(|&cell| values.count(number, cell, placed.control))?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: Self, control: &Control) -> Result<(), QueryError> {
        for (label, theirs) in other.all {
            let Some(ours) = self.all.get_mut(&label) else {
                self.all.insert(label, theirs);
                continue;
            };
            ours.merge(theirs, control)?;
        }
        Ok(())
    }

    fn finish(self, grid: Grid, top: usize) -> Vec<Series> {
        let mut out = Vec::new();
        let samples =
            |counts: &[u64]| grid.times().zip(counts).map(|(time, &count)| (time, counted(count))).collect();
        for (label, values) in self.all {
            let mut too_many = values.too_many;
            for (side, name) in SIDES.into_iter().enumerate() {
                let total = values.total(side);
                if total.iter().all(|count| *count == 0) {
                    continue;
                }
                let labels = |kind: String, value: Json| {
                    vec![(KIND_OF_SERIES.to_owned(), kind.into()), (label.clone(), value)]
                };
                out.push(Series {
                    labels: labels(format!("{name}_total"), Json::Null),
                    samples: samples(&total),
                    exemplars: Vec::new(),
                });
                let ranked = values.ranked(side);
                too_many |= ranked.len() > top;
                for (_, text, number) in ranked.into_iter().take(top) {
                    out.push(Series {
                        labels: labels(name.to_owned(), serde_json::from_str(text).unwrap_or_default()),
                        samples: samples(&values.of(number, side)),
                        exemplars: Vec::new(),
                    });
                }
            }
            if too_many {
                let error = ("__meta_error".to_owned(), "__too_many_values__".into());
                out.push(Series { labels: vec![error, (label.clone(), Json::Null)], ..Series::default() });
            }
        }
        out
    }
}

/// A value as JSON.
pub(super) fn text(value: &Datum<'_>) -> String {
    let mut text = String::new();
    stats::write(value, &mut text);
    text
}

//! `compare`: how often each attribute has each value, in a selection of spans and in all others.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, TimestampNanosecondType};
use arrow_array::{Array as _, RecordBatch};
use hashbrown::HashMap;
use serde_json::Value as Json;

use super::series::Grid;
use crate::query::engine::{Columns, Control, Order, QueryError, SpanColumn, Table};
use crate::query::exec::bind::{self, datum};
use crate::query::exec::coded::Coded;
use crate::query::exec::filter::Condition;
use crate::query::exec::render::Rows;
use crate::query::exec::{Plan, Queries, parallel, stats};
use crate::query::over_time::Series;
use crate::query::traceql::{Datum, Field, Filter, Intrinsic, Scope};
use crate::value::{Value, each_entry, parse_map};

/// Values of an attribute that are told apart at most; of an attribute with more the ones that came first count, and it is said.
const MOST_VALUES: usize = 10_000;
/// What every span has, beside its attributes.
const OF_EVERY_SPAN: [Intrinsic; 4] =
    [Intrinsic::Name, Intrinsic::Kind, Intrinsic::Status, Intrinsic::StatusMessage];
const KIND_OF_SERIES: &str = "__meta_type";
const SIDES: [&str; 2] = ["baseline", "selection"];

/// What is compared: the spans, which of them are selected, and how many values are shown.
pub(super) struct Compared<'a> {
    pub(super) spans: &'a Filter,
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
    let selection = Condition::new(compared.selection)?;
    let condition = Condition::new(compared.spans)?;
    let mut columns = bind::columns(condition.fields())?;
    columns.extend(bind::columns(selection.fields())?);
    columns.extend(bind::columns(&OF_EVERY_SPAN.map(Field::Intrinsic))?);
    columns.extend([SpanColumn::Attributes, SpanColumn::Fixed("resource"), SpanColumn::Fixed("start")]);
    columns.sort_unstable();
    columns.dedup();
    let plan =
        Plan { table: Table::Spans, condition, time: grid.range(), must: compared.spans.musts(), columns };
    let parts = queries.engine.parts(&plan.scan(Columns::Some(plan.columns.clone()), Order::Any))?;
    let (found, scanned) = parallel::fold(&parts, control, |counts: &mut Counts, batch| {
        let rows = plan.rows(batch)?;
        let starts = Rows::new(batch).column("start")?.as_primitive::<TimestampNanosecondType>();
        let mut selected = rows.clone();
        selected.retain(|&row| {
            let start = starts.value(row as usize);
            compared.between.is_none_or(|(after, to)| after < start && start <= to)
        });
        selection.keep(&bind::Bound::new(selection.fields(), batch)?, &mut selected);
        let mut selected = selected.into_iter().peekable();
        let place = |&row: &u32| {
            let side = usize::from(selected.next_if_eq(&row).is_some());
            (side, grid.interval(starts.value(row as usize)))
        };
        let places: Vec<(usize, usize)> = rows.iter().map(place).collect();
        counts.add(batch, &Placed { rows: &rows, places: &places, grid, control })
    })?;
    let mut all = Counts::default();
    for counts in found {
        all.merge(counts, grid, control)?;
    }
    Ok((all.finish(grid, compared.top), scanned))
}

/// The rows of a batch that count, and of each the side and the interval.
struct Placed<'a> {
    rows: &'a [u32],
    places: &'a [(usize, usize)],
    grid: Grid,
    control: &'a Control,
}

/// How often, by side and interval.
struct Cells([Vec<u64>; 2]);

impl Cells {
    fn new(grid: Grid, control: &Control) -> Result<Self, QueryError> {
        let intervals = grid.times().count();
        control.take_memory(2 * intervals * size_of::<u64>())?;
        Ok(Self([vec![0; intervals], vec![0; intervals]]))
    }

    fn merge(&mut self, other: &Self) {
        for (cells, others) in self.0.iter_mut().zip(&other.0) {
            cells.iter_mut().zip(others).for_each(|(cell, other)| *cell += other);
        }
    }
}

/// The values of an attribute.
struct Values {
    known: HashMap<String, usize>,
    slots: Vec<(Json, Cells)>,
    totals: Cells,
    /// Whether there are more than are told apart.
    too_many: bool,
}

impl Values {
    fn new(grid: Grid, control: &Control) -> Result<Self, QueryError> {
        Ok(Self {
            known: HashMap::new(),
            slots: Vec::new(),
            totals: Cells::new(grid, control)?,
            too_many: false,
        })
    }

    /// The place of a value; none if there are too many before it.
    fn slot(&mut self, text: String, grid: Grid, control: &Control) -> Result<Option<usize>, QueryError> {
        if let Some(&slot) = self.known.get(&text) {
            return Ok(Some(slot));
        }
        if self.slots.len() >= MOST_VALUES {
            self.too_many = true;
            return Ok(None);
        }
        control.take_memory(3 * text.len() + 64)?;
        let shown = serde_json::from_str(&text).unwrap_or_default();
        self.known.insert(text, self.slots.len());
        self.slots.push((shown, Cells::new(grid, control)?));
        Ok(Some(self.slots.len() - 1))
    }

    fn count(&mut self, slot: Option<usize>, (side, interval): (usize, usize)) {
        self.totals.0[side][interval] += 1;
        if let Some((_, cells)) = slot.and_then(|slot| self.slots.get_mut(slot)) {
            cells.0[side][interval] += 1;
        }
    }
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
    /// The places of those that are told apart.
    known: HashMap<Box<str>, usize>,
}

impl Counts {
    fn of(&mut self, label: &str, placed: &Placed<'_>) -> Result<&mut Values, QueryError> {
        if !self.all.contains_key(label) {
            self.all.insert(label.to_owned(), Values::new(placed.grid, placed.control)?);
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
                self.coded(&field.to_string(), &Coded::of_any(source, placed.rows), placed)?;
            }
        }
        for (&row, &place) in placed.rows.iter().zip(placed.places) {
            let Some(others) = others.as_ref().filter(|others| others.is_valid(row as usize)) else {
                continue;
            };
            let mut failed = Ok(());
            each_entry(others.value(row as usize), |key, value| {
                if failed.is_ok() {
                    failed = self.one(&key, value.get(), place, placed);
                }
            });
            failed?;
        }
        self.resources(batch, placed)
    }

    /// A column whose rows have numbers of values.
    fn coded(&mut self, label: &str, coded: &Coded<'_>, placed: &Placed<'_>) -> Result<(), QueryError> {
        if coded.codes.iter().all(|code| *code == 0) {
            return Ok(());
        }
        let values = self.of(label, placed)?;
        let mut slots: Vec<Option<Option<usize>>> = vec![None; coded.values.len()];
        for (&code, &place) in coded.codes.iter().zip(placed.places).filter(|(code, _)| **code != 0) {
            let known = &mut slots[code as usize];
            let slot = match *known {
                Some(slot) => slot,
                None => {
                    let slot =
                        values.slot(text(&coded.values[code as usize]), placed.grid, placed.control)?;
                    *known = Some(slot);
                    slot
                }
            };
            values.count(slot, place);
        }
        Ok(())
    }

    /// A value without a column, as it is written.
    fn one(
        &mut self,
        key: &str,
        written: &str,
        place: (usize, usize),
        placed: &Placed<'_>,
    ) -> Result<(), QueryError> {
        if !self.texts.contains_key(key) {
            let label = Field::Attribute { scope: Scope::Span, key: key.to_owned() }.to_string();
            self.texts.insert(key.to_owned(), Texts { label, known: HashMap::new() });
        }
        let lost = || QueryError::Failed("a key is lost".to_owned());
        let texts = self.texts.get_mut(key).ok_or_else(lost)?;
        if let Some(&slot) = texts.known.get(written) {
            let values = self.all.get_mut(&texts.label).ok_or_else(lost)?;
            values.count(Some(slot), place);
            return Ok(());
        }
        let value = Value::parse(written).map_or(Datum::Nil, datum);
        if value == Datum::Nil {
            return Ok(());
        }
        let label = texts.label.clone();
        let values = self.of(&label, placed)?;
        let slot = values.slot(text(&value), placed.grid, placed.control)?;
        values.count(slot, place);
        if let Some(slot) = slot {
            placed.control.take_memory(written.len() + 32)?;
            let texts = self.texts.get_mut(key).ok_or_else(lost)?;
            texts.known.insert(written.into(), slot);
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
        let mut by_code: HashMap<i32, Vec<(usize, usize)>> = HashMap::new();
        for (&row, &place) in placed.rows.iter().zip(placed.places) {
            by_code.entry(column.keys().value(row as usize)).or_default().push(place);
        }
        for (code, places) in by_code {
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
                let slot = values.slot(text(&value), placed.grid, placed.control)?;
                places.iter().for_each(|&place| values.count(slot, place));
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: Self, grid: Grid, control: &Control) -> Result<(), QueryError> {
        for (label, theirs) in other.all {
            let Some(ours) = self.all.get_mut(&label) else {
                self.all.insert(label, theirs);
                continue;
            };
            ours.totals.merge(&theirs.totals);
            ours.too_many |= theirs.too_many;
            for (text, slot) in theirs.known {
                if let Some(place) = ours.slot(text, grid, control)? {
                    ours.slots[place].1.merge(&theirs.slots[slot].1);
                }
            }
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
                let total = &values.totals.0[side];
                if total.iter().all(|count| *count == 0) {
                    continue;
                }
                let labels = |kind: String, value: Json| {
                    vec![(KIND_OF_SERIES.to_owned(), kind.into()), (label.clone(), value)]
                };
                out.push(Series {
                    labels: labels(format!("{name}_total"), Json::Null),
                    samples: samples(total),
                    exemplars: Vec::new(),
                });
                let mut ranked: Vec<(u64, &Json, &[u64])> = values
                    .slots
                    .iter()
                    .map(|(value, cells)| (cells.0[side].iter().sum(), value, cells.0[side].as_slice()))
                    .filter(|(count, ..)| *count > 0)
                    .collect();
                ranked.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.to_string().cmp(&b.1.to_string())));
                too_many |= ranked.len() > top;
                for (_, value, counts) in ranked.into_iter().take(top) {
                    out.push(Series {
                        labels: labels(name.to_owned(), value.clone()),
                        samples: samples(counts),
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
fn text(value: &Datum<'_>) -> String {
    let mut text = String::new();
    stats::write(value, &mut text);
    text
}

#[expect(clippy::cast_precision_loss, reason = "an answer has doubles")]
const fn counted(count: u64) -> f64 {
    count as f64
}

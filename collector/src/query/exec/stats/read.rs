//! Groups, and how rows come into them.

use std::cell::OnceCell;

use agentvitals::semconv::attr;
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array as _, RecordBatch};
use hashbrown::HashMap;

use super::Ask;
use crate::query::engine::{Control, QueryError};
use crate::query::exec::coded::Coded;
use crate::query::exec::figures::{Figures, nanodollars};
use crate::query::exec::{Plan, bind};
use crate::query::traceql::{Datum, Field, Intrinsic, Scope};

/// Bytes of a group besides its key and its durations.
const GROUP_BYTES: usize = 256;
/// Bytes of a spender besides its name.
const SPENDER_BYTES: usize = 64;
/// Combinations of values that are numbered by a table at most; more of them by a map.
const MAX_TABLE: usize = 1 << 16;
/// OTLP's number of the status error.
const ERROR: i8 = 2;
/// Operations that are model calls: only there tokens and cost are counted, since agents repeat the sums of their calls.
const MODEL_CALLS: [&str; 4] = ["chat", "text_completion", "generate_content", "embeddings"];

/// What is grouped by (a JSON array), and the start of the step.
pub(super) type Key = (String, Option<i64>);

/// Figures by group.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) places: HashMap<Key, usize>,
    pub(super) figures: Vec<Figures>,
}

impl Groups {
    /// The place of a group, a new one if need be.
    fn place(&mut self, key: &Key, control: &Control) -> Result<usize, QueryError> {
        if let Some(&place) = self.places.get(key) {
            return Ok(place);
        }
        control.take_memory(GROUP_BYTES + 2 * key.0.len())?;
        let place = self.figures.len();
        self.figures.push(Figures::default());
        self.places.insert(key.clone(), place);
        Ok(place)
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        if self.places.is_empty() {
            *self = other;
            return;
        }
        for (key, place) in other.places {
            let figures = std::mem::take(&mut other.figures[place]);
            if let Some(&known) = self.places.get(&key) {
                self.figures[known].merge(&figures);
            } else {
                self.places.insert(key, self.figures.len());
                self.figures.push(figures);
            }
        }
    }
}

/// Reads what is asked for out of batches, each column once.
pub(super) struct Reader<'a> {
    plan: &'a Plan,
    /// What is read of each span: the first ones as [`OfAll`] has them, then what is grouped by.
    fields: Vec<Field>,
    ways: Vec<Way>,
    /// Whose model calls are put together: a field.
    spenders: Option<usize>,
    control: &'a Control,
}

/// What one thread has read so far.
#[derive(Default)]
pub(super) struct Read {
    /// The groups of each way.
    pub(super) ways: Vec<Groups>,
    /// What each spender's model calls used.
    pub(super) spenders: HashMap<Box<str>, Spent>,
}

impl Read {
    pub(super) fn merge(&mut self, other: Self) {
        self.ways.resize_with(other.ways.len().max(self.ways.len()), Groups::default);
        for (groups, more) in self.ways.iter_mut().zip(other.ways) {
            groups.merge(more);
        }
        if self.spenders.is_empty() {
            self.spenders = other.spenders;
            return;
        }
        for (name, more) in other.spenders {
            self.spenders.entry(name).or_default().merge(&more);
        }
    }
}

/// A way to group.
struct Way {
    /// By these fields.
    by: Vec<usize>,
    step: Option<i64>,
    errors: bool,
    only: Option<&'static str>,
}

/// What is read of all spans, in this order.
#[derive(Clone, Copy)]
#[repr(usize)]
enum OfAll {
    Duration,
    Status,
    Operation,
    Input,
    Output,
    Cost,
}

/// The fields of a batch, by number where rows share values: each found out once, for whatever ways need it.
type Codes<'a> = Vec<OnceCell<Coded<'a>>>;

impl<'a> Reader<'a> {
    pub(super) fn new(plan: &'a Plan, asks: &[Ask], spenders: Option<&Field>, control: &'a Control) -> Self {
        let span = |key: &str| Field::Attribute { scope: Scope::Span, key: key.to_owned() };
        let mut fields = vec![
            Field::Intrinsic(Intrinsic::Duration),
            Field::Intrinsic(Intrinsic::Status),
            span(attr::OPERATION_NAME),
            span(attr::USAGE_INPUT_TOKENS),
            span(attr::USAGE_OUTPUT_TOKENS),
            span(attr::USAGE_COST_AMOUNT),
        ];
        let mut place = |field: &Field| {
            fields.iter().position(|known| known == field).unwrap_or_else(|| {
                fields.push(field.clone());
                fields.len() - 1
            })
        };
        let ways = asks.iter().map(|ask| {
            let by = ask.by.iter().map(&mut place).collect();
            Way { by, step: ask.step, errors: ask.errors, only: ask.only }
        });
        let ways = ways.collect();
        let spenders = spenders.map(place);
        Self { plan, fields, ways, spenders, control }
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(super) fn read(&self, read: &mut Read, batch: &RecordBatch) -> Result<(), QueryError> {
        read.ways.resize_with(self.ways.len(), Groups::default);
        let rows = self.plan.rows(batch)?;
        if rows.is_empty() {
            return Ok(());
        }
        let bound = bind::Bound::new(&self.fields, batch)?;
        let codes: Codes<'_> = self.fields.iter().map(|_| OnceCell::new()).collect();
        let failed = Failed::new(&bound, &rows);
        let calls = self.model_calls(&bound, &codes, &rows);
        for (way, groups) in self.ways.iter().zip(&mut read.ways) {
            if way.errors {
                // Few rows: what is grouped by is numbered for them alone.
                let codes: Codes<'_> = self.fields.iter().map(|_| OnceCell::new()).collect();
                let places = self.places_of(way, groups, &bound, &codes, batch, &failed.rows)?;
                self.add(groups, &bound, &failed.rows, &places)?;
                places.iter().for_each(|&place| groups.figures[place].errors += 1);
                seen(groups, batch, &failed.rows, &places);
                continue;
            }
            if let Some(operation) = way.only {
                let rows = self.rows_of(operation, &bound, &codes, &rows);
                let codes: Codes<'_> = self.fields.iter().map(|_| OnceCell::new()).collect();
                let places = self.places_of(way, groups, &bound, &codes, batch, &rows)?;
                self.add(groups, &bound, &rows, &places)?;
                let failed = Failed::new(&bound, &rows);
                failed.places.iter().for_each(|&at| groups.figures[places[at]].errors += 1);
                continue;
            }
            let places = self.places_of(way, groups, &bound, &codes, batch, &rows)?;
            self.add(groups, &bound, &rows, &places)?;
            failed.places.iter().for_each(|&at| groups.figures[places[at]].errors += 1);
            for call in &calls {
                groups.figures[places[call.at]].add_call(call.input, call.output, call.cost);
            }
        }
        if let Some(field) = self.spenders {
            self.spend(&mut read.spenders, &bound, field, (&rows, &calls))?;
        }
        Ok(())
    }

    /// The rows of an operation.
    fn rows_of<'b>(
        &self,
        operation: &str,
        bound: &'b bind::Bound<'_>,
        codes: &Codes<'b>,
        rows: &[u32],
    ) -> Vec<u32> {
        let Some(operations) = self.operations(bound, codes, rows) else { return Vec::new() };
        let is = |value: &Datum<'_>| matches!(value, Datum::Text(text) if text == operation);
        let wanted: Vec<bool> = operations.values.iter().map(is).collect();
        if !wanted.contains(&true) {
            return Vec::new();
        }
        let all = rows.iter().zip(&operations.codes);
        all.filter(|(_, code)| wanted[**code as usize]).map(|(&row, _)| row).collect()
    }

    fn operations<'b, 'c>(
        &self,
        bound: &'b bind::Bound<'_>,
        codes: &'c Codes<'b>,
        rows: &[u32],
    ) -> Option<&'c Coded<'b>> {
        let source = bound.source(OfAll::Operation as usize)?;
        Some(codes[OfAll::Operation as usize].get_or_init(|| Coded::of_any(source, rows)))
    }

    /// Puts model calls together by spender, of which there may be many: a map is asked once for each in a batch.
    fn spend(
        &self,
        spenders: &mut HashMap<Box<str>, Spent>,
        bound: &bind::Bound<'_>,
        field: usize,
        (rows, calls): (&[u32], &[Call]),
    ) -> Result<(), QueryError> {
        let rows: Vec<u32> = calls.iter().map(|call| rows[call.at]).collect();
        let Some(source) = bound.source(field) else { return Ok(()) };
        let names = Coded::of_any(source, &rows);
        let statuses = bound.statuses(OfAll::Status as usize);
        let mut spent: Vec<Spent> = names.values.iter().map(|_| Spent::default()).collect();
        for ((call, &code), &row) in calls.iter().zip(&names.codes).zip(&rows) {
            let failed = statuses.is_some_and(|statuses| statuses.value(row as usize) == ERROR);
            spent[code as usize].add(call, failed);
        }
        for (name, more) in names.values.iter().zip(spent).filter(|(_, spent)| spent.requests > 0) {
            let name = match name {
                Datum::Text(text) => text,
                _ => "",
            };
            match spenders.get_mut(name) {
                Some(known) => known.merge(&more),
                None => {
                    self.control.take_memory(SPENDER_BYTES + name.len())?;
                    spenders.insert(name.into(), more);
                }
            }
        }
        Ok(())
    }

    fn add(
        &self,
        groups: &mut Groups,
        bound: &bind::Bound<'_>,
        rows: &[u32],
        places: &[usize],
    ) -> Result<(), QueryError> {
        let mut more = 0;
        match bound.ints(OfAll::Duration as usize) {
            Some(durations) => {
                let durations = durations.values();
                for (&row, &place) in rows.iter().zip(places) {
                    more += groups.figures[place].add(durations[row as usize]);
                }
            }
            None => places.iter().for_each(|&place| more += groups.figures[place].add(0)),
        }
        self.control.take_memory(more)
    }

    /// The place of each row's group: the values of what is grouped by are numbered, then their combinations, and
    /// only for each of these that is different a group is looked for.
    fn places_of<'b>(
        &self,
        way: &Way,
        groups: &mut Groups,
        bound: &'b bind::Bound<'_>,
        codes: &Codes<'b>,
        batch: &RecordBatch,
        rows: &[u32],
    ) -> Result<Vec<usize>, QueryError> {
        let coded = |&field: &usize| {
            let source = bound.source(field)?;
            Some(codes.get(field)?.get_or_init(|| Coded::of_any(source, rows)))
        };
        let parts: Vec<&Coded<'_>> = way.by.iter().filter_map(coded).collect();
        let steps = way.step.map(|step| steps(batch, step, rows));
        let mut together = Combined::new(rows.len());
        for part in &parts {
            together.with(&part.codes, part.values.len());
        }
        if let Some((codes, starts)) = &steps {
            together.with(codes, starts.len());
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::with_capacity(together.firsts.len());
        for &first in &together.firsts {
            let mut by = String::from("[");
            for (number, part) in parts.iter().enumerate() {
                if number > 0 {
                    by.push(',');
                }
                super::write(&part.values[part.codes[first] as usize], &mut by);
            }
            by.push(']');
            let step = steps.as_ref().map(|(codes, starts)| starts[codes[first] as usize]);
            found.push(groups.place(&(by, step), self.control)?);
        }
        Ok(together.numbers.into_iter().map(|number| found[number as usize]).collect())
    }

    /// The model calls among the rows: only there tokens and cost are counted.
    #[expect(clippy::cast_precision_loss, reason = "a cost that is written as an integer")]
    fn model_calls<'b>(&self, bound: &'b bind::Bound<'_>, codes: &Codes<'b>, rows: &[u32]) -> Vec<Call> {
        let Some(operations) = self.operations(bound, codes, rows) else { return Vec::new() };
        let counted: Vec<bool> = operations
            .values
            .iter()
            .map(|operation| matches!(operation, Datum::Text(text) if MODEL_CALLS.contains(&&**text)))
            .collect();
        if !counted.contains(&true) {
            return Vec::new();
        }
        let tokens = |field: OfAll| {
            let column = bound.ints(field as usize);
            move |row: usize| match column {
                Some(column) if column.is_null(row) => 0,
                Some(column) => u64::try_from(column.value(row)).unwrap_or(0),
                None => match bound.value(field as usize, row) {
                    Datum::Int(number) => u64::try_from(number).unwrap_or(0),
                    _ => 0,
                },
            }
        };
        let (input, output) = (tokens(OfAll::Input), tokens(OfAll::Output));
        let costs = bound.doubles(OfAll::Cost as usize);
        let cost = |row: usize| match costs {
            Some(column) => column.is_valid(row).then(|| column.value(row)),
            None => match bound.value(OfAll::Cost as usize, row) {
                Datum::Float(cost) => Some(cost),
                Datum::Int(cost) => Some(cost as f64),
                _ => None,
            },
        };
        let all = rows.iter().zip(&operations.codes).enumerate();
        all.filter(|(_, (_, code))| counted[**code as usize])
            .map(|(at, (&row, _))| {
                let row = row as usize;
                let cost = cost(row).map(|cost| (cost, nanodollars(cost)));
                Call { at, input: input(row), output: output(row), cost }
            })
            .collect()
    }
}

/// What model calls of one spender used.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::query::exec) struct Spent {
    pub(in crate::query::exec) requests: u64,
    pub(in crate::query::exec) tokens: u64,
    pub(in crate::query::exec) cost_nano: u64,
    /// Calls without a cost that have not failed: what is refused is not billed.
    pub(in crate::query::exec) unpriced: u64,
}

impl Spent {
    fn add(&mut self, call: &Call, failed: bool) {
        self.requests += 1;
        self.tokens = self.tokens.saturating_add(call.input).saturating_add(call.output);
        match call.cost {
            Some((_, nano)) => self.cost_nano = self.cost_nano.saturating_add(nano),
            None => self.unpriced += u64::from(!failed),
        }
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.cost_nano = self.cost_nano.saturating_add(other.cost_nano);
        self.unpriced += other.unpriced;
    }
}

/// What a model call used.
struct Call {
    /// Which of the rows it is.
    at: usize,
    input: u64,
    output: u64,
    /// In US dollars, and in billionths of them.
    cost: Option<(f64, u64)>,
}

/// The rows that failed, and which of all they are.
struct Failed {
    rows: Vec<u32>,
    places: Vec<usize>,
}

impl Failed {
    fn new(bound: &bind::Bound<'_>, rows: &[u32]) -> Self {
        let Some(statuses) = bound.statuses(OfAll::Status as usize) else {
            return Self { rows: Vec::new(), places: Vec::new() };
        };
        let statuses = statuses.values();
        let all = rows.iter().enumerate().filter(|(_, row)| statuses[**row as usize] == ERROR);
        let (places, rows) = all.map(|(place, &row)| (place, row)).unzip();
        Self { rows, places }
    }
}

/// When spans of each group started first and last, and in which traces they are.
fn seen(groups: &mut Groups, batch: &RecordBatch, rows: &[u32], places: &[usize]) {
    let starts =
        batch.column_by_name("start").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let Some(starts) = starts else { return };
    let traces = batch.column_by_name("trace_id").and_then(|column| column.as_fixed_size_binary_opt());
    for (&row, &place) in rows.iter().zip(places) {
        let row = row as usize;
        let trace = traces.and_then(|traces| traces.value(row).try_into().ok());
        groups.figures[place].seen_in(starts.value(row), trace);
    }
}

/// The number of each row's step, and the starts of the steps by number.
fn steps(batch: &RecordBatch, step: i64, rows: &[u32]) -> (Vec<u32>, Vec<i64>) {
    let column =
        batch.column_by_name("start").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let Some(column) = column else { return (vec![0; rows.len()], vec![0]) };
    let (times, mut numbers, mut starts) = (column.values(), HashMap::new(), Vec::new());
    // Rows are sorted by time in most batches, so most have the step of the row before.
    let mut last = (0, None);
    let codes = rows
        .iter()
        .map(|&row| {
            let time = times[row as usize];
            if last.1.is_some_and(|start: i64| (0..step).contains(&time.wrapping_sub(start))) {
                return last.0;
            }
            let start = time.div_euclid(step).saturating_mul(step);
            let number = *numbers.entry(start).or_insert_with(|| {
                starts.push(start);
                u32::try_from(starts.len() - 1).unwrap_or(0)
            });
            last = (number, Some(start));
            number
        })
        .collect();
    (codes, starts)
}

/// Combinations of values by number.
struct Combined {
    /// The number of each row's combination.
    numbers: Vec<u32>,
    /// The place of the first row that has a combination, by its number.
    firsts: Vec<usize>,
}

impl Combined {
    fn new(rows: usize) -> Self {
        Self { numbers: vec![0; rows], firsts: vec![0] }
    }

    /// Combines with one value more of each row, of so many that there are.
    fn with(&mut self, codes: &[u32], values: usize) {
        let size = self.firsts.len() * values;
        let (mut table, mut map) = (vec![u32::MAX; if size <= MAX_TABLE { size } else { 0 }], HashMap::new());
        let mut firsts = Vec::new();
        for (row, (number, &code)) in self.numbers.iter_mut().zip(codes).enumerate() {
            let pair = *number as usize * values + code as usize;
            let known = match table.get_mut(pair) {
                Some(known) => known,
                None => map.entry(pair).or_insert(u32::MAX),
            };
            if *known == u32::MAX {
                *known = u32::try_from(firsts.len()).unwrap_or(0);
                firsts.push(row);
            }
            *number = *known;
        }
        self.firsts = firsts;
    }
}

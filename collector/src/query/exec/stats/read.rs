//! Groups, and how rows come into them.

use std::cell::OnceCell;

use agentvitals::semconv::attr;
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array as _, RecordBatch};
use hashbrown::{DefaultHashBuilder, HashMap};

use super::Wanted;
use super::combine::{Combined, steps};
use super::spenders::{Spenders, Spent};
use crate::query::engine::{Control, QueryError};
use crate::query::exec::coded::Coded;
use crate::query::exec::figures::{Figures, nanodollars};
use crate::query::exec::memo::Partial;
use crate::query::exec::{Plan, bind};
use crate::query::traceql::{Datum, Field, Intrinsic, Scope};

/// Bytes of a group besides its key and its durations.
const GROUP_BYTES: usize = 256;
/// OTLP's number of the status error.
const ERROR: i8 = 2;
/// Operations that are model calls: only there tokens and cost are counted, since agents repeat the sums of their calls.
const MODEL_CALLS: [&str; 4] = ["chat", "text_completion", "generate_content", "embeddings"];

/// What is grouped by (a JSON array), and the start of the step.
pub(super) type Key = (String, Option<i64>);

/// Figures by group.
#[derive(Default, Clone)]
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

    /// Adds the groups of others; returns how many bytes those take that are new.
    pub(super) fn merge(&mut self, other: &Self) -> usize {
        let mut more = 0;
        for (key, &place) in &other.places {
            let figures = &other.figures[place];
            if let Some(&known) = self.places.get(key) {
                self.figures[known].merge(figures);
            } else {
                more += GROUP_BYTES + 2 * key.0.len() + figures.bytes();
                self.places.insert(key.clone(), self.figures.len());
                self.figures.push(figures.clone());
            }
        }
        more
    }
}

/// Reads what is asked for out of batches, each column once.
pub(super) struct Reader<'a> {
    plan: &'a Plan,
    /// What is read of each span: the first ones as [`OfAll`] has them, then what is grouped by.
    fields: Vec<Field>,
    ways: Vec<Way>,
    /// By which fields model calls are put together, each on its own.
    spenders: Vec<usize>,
    hasher: &'a DefaultHashBuilder,
    control: &'a Control,
}

/// What one thread has read so far.
#[derive(Default)]
pub(super) struct Read {
    /// The groups of each way.
    pub(super) ways: Vec<Groups>,
    /// What the model calls of each spender used, for each field that tells one.
    pub(super) spenders: Vec<Spenders>,
}

impl Partial for Read {
    fn absorb(&mut self, other: &Self, control: &Control) -> Result<(), QueryError> {
        self.ways.resize_with(other.ways.len().max(self.ways.len()), Groups::default);
        let mut more: usize =
            self.ways.iter_mut().zip(&other.ways).map(|(groups, more)| groups.merge(more)).sum();
        self.spenders.resize_with(other.spenders.len().max(self.spenders.len()), Spenders::default);
        for (spenders, others) in self.spenders.iter_mut().zip(&other.spenders) {
            more += spenders.absorb(others)?;
        }
        control.take_memory(more)
    }

    fn seal(&mut self) {
        self.spenders.iter_mut().for_each(Spenders::seal);
    }

    fn bytes(&self) -> usize {
        let groups = self.ways.iter().map(|groups| {
            let figures = groups.figures.iter().map(|figures| GROUP_BYTES + figures.bytes());
            figures.sum::<usize>() + groups.places.keys().map(|(by, _)| 2 * by.len()).sum::<usize>()
        });
        groups.sum::<usize>() + self.spenders.iter().map(Spenders::bytes).sum::<usize>()
    }
}

/// A way to group.
struct Way {
    /// By these fields.
    by: Vec<usize>,
    step: Option<i64>,
    errors: bool,
    /// The field that tells who or what performed an operation.
    performers: Vec<(&'static str, usize)>,
}

/// Who or what performed the operations of a batch, by number.
struct Performers<'b, 'c> {
    /// Of each row.
    codes: Vec<u32>,
    /// What the numbers of each operation are about, by the operation's.
    columns: Vec<Option<&'c Coded<'b>>>,
    /// The numbers of operations.
    operations: &'c Coded<'b>,
}

impl Performers<'_, '_> {
    fn count(&self) -> usize {
        self.columns.iter().flatten().map(|column| column.values.len()).max().unwrap_or(1)
    }

    fn value(&self, row: usize) -> Option<&Datum<'_>> {
        let column = self.columns[self.operations.codes[row] as usize]?;
        Some(&column.values[column.codes[row] as usize])
    }
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
    pub(super) fn new(
        plan: &'a Plan,
        Wanted { asks, spenders }: &Wanted<'_>,
        hasher: &'a DefaultHashBuilder,
        control: &'a Control,
    ) -> Self {
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
            let performers = ask.performers.iter().map(|(operation, field)| (*operation, place(field)));
            Way { performers: performers.collect(), by, step: ask.step, errors: ask.errors }
        });
        let ways = ways.collect();
        let spenders = spenders.iter().map(place).collect();
        Self { plan, fields, ways, spenders, hasher, control }
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
            let places = self.places_of(way, groups, &bound, &codes, batch, &rows)?;
            self.add(groups, &bound, &rows, &places)?;
            failed.places.iter().for_each(|&at| groups.figures[places[at]].errors += 1);
            for call in &calls {
                groups.figures[places[call.at]].add_call(call.input, call.output, call.cost, call.failed);
            }
        }
        read.spenders.resize_with(self.spenders.len(), Spenders::default);
        for (field, spenders) in self.spenders.iter().zip(&mut read.spenders) {
            self.spend(spenders, &bound, *field, (&rows, &calls))?;
        }
        Ok(())
    }

    /// What it would have read where a reader read this that has the same ways to group and spenders, and more of both than it
    /// needs: traces, and other spenders after its own.
    pub(super) fn implied(&self, read: &Read) -> Read {
        let mut ways = read.ways.clone();
        for figures in ways.iter_mut().flat_map(|groups| &mut groups.figures) {
            figures.forget_traces();
        }
        let spenders = read.spenders.iter().take(self.spenders.len()).cloned().collect();
        Read { ways, spenders }
    }

    fn performers<'b, 'c>(
        &self,
        way: &Way,
        bound: &'b bind::Bound<'_>,
        codes: &'c Codes<'b>,
        rows: &[u32],
    ) -> Option<Performers<'b, 'c>> {
        if way.performers.is_empty() {
            return None;
        }
        let operations = self.operations(bound, codes, rows)?;
        let column = |operation: &Datum<'_>| {
            let Datum::Text(operation) = operation else { return None };
            let (_, field) = way.performers.iter().find(|(known, _)| known == operation)?;
            let source = bound.source(*field)?;
            Some(codes.get(*field)?.get_or_init(|| Coded::of_any(source, rows)))
        };
        let columns: Vec<Option<&Coded<'_>>> = operations.values.iter().map(column).collect();
        let rows = operations.codes.iter().enumerate();
        let codes =
            rows.map(|(row, &of)| columns[of as usize].map_or(0, |column| column.codes[row])).collect();
        Some(Performers { codes, columns, operations })
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
        spenders: &mut Spenders,
        bound: &bind::Bound<'_>,
        field: usize,
        (rows, calls): (&[u32], &[Call]),
    ) -> Result<(), QueryError> {
        let rows: Vec<u32> = calls.iter().map(|call| rows[call.at]).collect();
        let Some(source) = bound.source(field) else { return Ok(()) };
        let names = Coded::of_any(source, &rows);
        let mut spent: Vec<Spent> = names.values.iter().map(|_| Spent::default()).collect();
        for (call, &code) in calls.iter().zip(&names.codes) {
            spent[code as usize].add(call);
        }
        for (name, more) in names.values.iter().zip(spent).filter(|(_, spent)| spent.requests > 0) {
            let name = match name {
                Datum::Text(text) => text,
                _ => "",
            };
            self.control.take_memory(spenders.add(name, &more, self.hasher)?)?;
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
        let performers = self.performers(way, bound, codes, rows);
        let mut together = Combined::new(rows.len());
        for part in &parts {
            together.with(&part.codes, part.values.len());
        }
        if let Some(performers) = &performers {
            together.with(&performers.codes, performers.count());
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
            if let Some(performers) = &performers {
                by.push(',');
                super::write(performers.value(first).unwrap_or(&Datum::Nil), &mut by);
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
        let statuses = bound.statuses(OfAll::Status as usize);
        let is_call = |code: &u32| counted[*code as usize];
        let mut calls = Vec::with_capacity(operations.codes.iter().filter(|code| is_call(code)).count());
        let all = rows.iter().zip(&operations.codes).enumerate();
        calls.extend(all.filter(|(_, (_, code))| is_call(code)).map(|(at, (&row, _))| {
            let row = row as usize;
            let cost = cost(row).map(|cost| (cost, nanodollars(cost)));
            let failed = statuses.is_some_and(|statuses| statuses.value(row) == ERROR);
            Call { at, input: input(row), output: output(row), cost, failed }
        }));
        calls
    }
}

/// What a model call used.
pub(super) struct Call {
    /// Which of the rows it is.
    at: usize,
    pub(super) input: u64,
    pub(super) output: u64,
    /// In US dollars, and in billionths of them.
    pub(super) cost: Option<(f64, u64)>,
    pub(super) failed: bool,
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

//! Figures by group.

use agentvitals::semconv::attr;
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array as _, RecordBatch};
use hashbrown::HashMap;
use serde_json::Value as Json;

use super::coded::Coded;
use super::figures::Figures;
use super::{Plan, Queries, bind, parallel};
use crate::query::engine::{Columns, Control, Order, QueryError, SpanColumn};
use crate::query::request::{Group, StatsAnswer, StatsRequest};
use crate::query::traceql::{Datum, Field, Intrinsic, Scope};

/// Bytes of a group besides its key and its durations.
const GROUP_BYTES: usize = 256;
/// Combinations of values that are numbered by a table at most; more of them by a map.
const MAX_TABLE: usize = 1 << 16;
/// OTLP's number of the status error.
const ERROR: i8 = 2;
/// Operations that are model calls: only there tokens and cost are counted, since agents repeat the sums of their calls.
const MODEL_CALLS: [&str; 4] = ["chat", "text_completion", "generate_content", "embeddings"];

/// What a question reads of each span, in the order of [`fields`].
struct Places {
    duration: usize,
    status: usize,
    operation: usize,
    input: usize,
    output: usize,
    cost: usize,
    by: usize,
}

pub(super) fn answer(
    queries: &Queries,
    request: &StatsRequest,
    control: &Control,
) -> Result<StatsAnswer, QueryError> {
    let limit = super::bounds(request.limit, request.step)?;
    let (merged, scanned) = read(queries, request, control)?;
    Ok(finish(&merged, request, limit, scanned))
}

/// The figures of one group.
pub(super) struct Grouped {
    /// The values of what is grouped by, in its order.
    pub(super) by: Vec<Json>,
    /// The start of the time step.
    pub(super) step: Option<i64>,
    pub(super) figures: Figures,
}

/// All groups, and how many spans were looked at.
pub(super) fn grouped(
    queries: &Queries,
    request: &StatsRequest,
    control: &Control,
) -> Result<(Vec<Grouped>, u64), QueryError> {
    let (Groups { places, figures }, scanned) = read(queries, request, control)?;
    let mut keys: Vec<Option<Key>> = figures.iter().map(|_| None).collect();
    for (key, place) in places {
        keys[place] = Some(key);
    }
    let groups = keys.into_iter().zip(figures).filter_map(|(key, figures)| {
        let (by, step) = key?;
        Some(Grouped { by: serde_json::from_str(&by).unwrap_or_default(), step, figures })
    });
    Ok((groups.collect(), scanned))
}

fn read(queries: &Queries, request: &StatsRequest, control: &Control) -> Result<(Groups, u64), QueryError> {
    let by = super::grouped_by(&request.by)?;
    let plan = Plan::new(&request.q, request.start, request.end)?;
    let span = |key: &str| Field::Attribute { scope: Scope::Span, key: key.to_owned() };
    let mut fields = vec![
        Field::Intrinsic(Intrinsic::Duration),
        Field::Intrinsic(Intrinsic::Status),
        span(attr::OPERATION_NAME),
        span(attr::USAGE_INPUT_TOKENS),
        span(attr::USAGE_OUTPUT_TOKENS),
        span(attr::USAGE_COST_AMOUNT),
    ];
    let places =
        Places { duration: 0, status: 1, operation: 2, input: 3, output: 4, cost: 5, by: fields.len() };
    fields.extend(by);
    let mut columns = bind::columns(&fields)?;
    columns.extend(plan.columns.iter().cloned());
    if request.step.is_some() {
        columns.push(SpanColumn::Fixed("start"));
    }
    columns.sort_unstable();
    columns.dedup();
    let parts = queries.engine.parts(&plan.scan(Columns::Some(columns), Order::Any))?;
    let reader = Reader { plan: &plan, fields: &fields, places, step: request.step, control };
    let (all, scanned) =
        parallel::fold(&parts, control, |groups: &mut Groups, batch| reader.read(groups, batch))?;
    let mut merged = Groups::default();
    for groups in all {
        merged.merge(groups);
    }
    Ok((merged, scanned))
}

fn finish(groups: &Groups, request: &StatsRequest, limit: usize, scanned: u64) -> StatsAnswer {
    #[expect(clippy::cast_precision_loss, reason = "seconds of a rate")]
    let seconds = request
        .step
        .or_else(|| request.end.zip(request.start).map(|(end, start)| end.saturating_sub(start)))
        .filter(|&length| length > 0)
        .map(|length| length as f64 / 1e9);
    // Groups by what they are grouped by, so that a limit keeps or leaves out all steps of one.
    let mut totals: HashMap<&str, u64> = HashMap::new();
    for ((by, _), &place) in &groups.places {
        *totals.entry(by.as_str()).or_default() += groups.figures[place].count;
    }
    let mut order: Vec<(&str, u64)> = totals.iter().map(|(by, count)| (*by, *count)).collect();
    order.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let left_out = order.len().saturating_sub(limit) as u64;
    let ranks: HashMap<&str, usize> =
        order.iter().take(limit).enumerate().map(|(rank, (by, _))| (*by, rank)).collect();
    let mut out: Vec<(usize, Group)> = groups
        .places
        .iter()
        .filter_map(|((by, step), &place)| {
            let rank = *ranks.get(by.as_str())?;
            let by = serde_json::from_str(by).unwrap_or_default();
            Some((rank, groups.figures[place].group(by, *step, seconds)))
        })
        .collect();
    out.sort_by_key(|(rank, group)| (*rank, group.step));
    StatsAnswer {
        groups: out.into_iter().map(|(_, group)| group).collect(),
        left_out,
        complete: true,
        scanned,
    }
}

/// What is grouped by (a JSON array), and the start of the step.
type Key = (String, Option<i64>);

/// Figures by group.
#[derive(Default)]
struct Groups {
    places: HashMap<Key, usize>,
    figures: Vec<Figures>,
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

    fn merge(&mut self, other: Self) {
        for (key, place) in other.places {
            let figures = &other.figures[place];
            if let Some(&known) = self.places.get(&key) {
                self.figures[known].merge(figures);
            } else {
                let mut merged = Figures::default();
                merged.merge(figures);
                self.places.insert(key, self.figures.len());
                self.figures.push(merged);
            }
        }
    }
}

struct Reader<'a> {
    plan: &'a Plan,
    fields: &'a [Field],
    places: Places,
    step: Option<i64>,
    control: &'a Control,
}

impl Reader<'_> {
    fn read(&self, groups: &mut Groups, batch: &RecordBatch) -> Result<(), QueryError> {
        let rows = self.plan.rows(batch)?;
        if rows.is_empty() {
            return Ok(());
        }
        let bound = bind::Bound::new(self.fields, batch)?;
        let places = self.places_of(groups, &bound, batch, &rows)?;
        let mut more = 0;
        match bound.ints(self.places.duration) {
            Some(durations) => {
                let durations = durations.values();
                for (&row, &place) in rows.iter().zip(&places) {
                    more += groups.figures[place].add(durations[row as usize]);
                }
            }
            None => places.iter().for_each(|&place| more += groups.figures[place].add(0)),
        }
        self.control.take_memory(more)?;
        if let Some(statuses) = bound.statuses(self.places.status) {
            let statuses = statuses.values();
            for (&row, &place) in rows.iter().zip(&places) {
                groups.figures[place].errors += u64::from(statuses[row as usize] == ERROR);
            }
        }
        self.model_calls(groups, &bound, &rows, &places);
        Ok(())
    }

    /// The place of each row's group: the values of what is grouped by are numbered, then their combinations, and
    /// only for each of these that is different a group is looked for.
    fn places_of(
        &self,
        groups: &mut Groups,
        bound: &bind::Bound<'_>,
        batch: &RecordBatch,
        rows: &[u32],
    ) -> Result<Vec<usize>, QueryError> {
        let mut parts = Vec::new();
        for field in self.places.by..self.fields.len() {
            if let Some(source) = bound.source(field) {
                parts.push(Coded::of(source, rows).unwrap_or_else(|| Coded::of_each(source, rows)));
            }
        }
        let steps = self.step.map(|step| steps(batch, step, rows));
        let mut together = Combined::new(rows.len());
        for part in &parts {
            together.with(&part.codes, part.values.len());
        }
        if let Some((codes, starts)) = &steps {
            together.with(codes, starts.len());
        }
        let mut found = Vec::with_capacity(together.firsts.len());
        for &first in &together.firsts {
            let mut by = String::from("[");
            for (number, part) in parts.iter().enumerate() {
                if number > 0 {
                    by.push(',');
                }
                write(&part.values[part.codes[first] as usize], &mut by);
            }
            by.push(']');
            let step = steps.as_ref().map(|(codes, starts)| starts[codes[first] as usize]);
            found.push(groups.place(&(by, step), self.control)?);
        }
        Ok(together.numbers.into_iter().map(|number| found[number as usize]).collect())
    }

    #[expect(clippy::cast_precision_loss, reason = "a cost that is written as an integer")]
    fn model_calls(&self, groups: &mut Groups, bound: &bind::Bound<'_>, rows: &[u32], places: &[usize]) {
        let Some(source) = bound.source(self.places.operation) else { return };
        let operations = Coded::of(source, rows).unwrap_or_else(|| Coded::of_each(source, rows));
        let counted: Vec<bool> = operations
            .values
            .iter()
            .map(|operation| matches!(operation, Datum::Text(text) if MODEL_CALLS.contains(&&**text)))
            .collect();
        let calls = || {
            let all = rows.iter().zip(places).zip(&operations.codes);
            let calls = all.filter(|(_, code)| counted[**code as usize]);
            calls.map(|((&row, &place), _)| (row as usize, place))
        };
        let tokens = |field, add: &mut dyn FnMut(usize, u64)| match bound.ints(field) {
            Some(column) => {
                for (row, place) in calls().filter(|(row, _)| column.is_valid(*row)) {
                    add(place, u64::try_from(column.value(row)).unwrap_or(0));
                }
            }
            None => {
                for (row, place) in calls() {
                    if let Datum::Int(number) = bound.value(field, row) {
                        add(place, u64::try_from(number).unwrap_or(0));
                    }
                }
            }
        };
        tokens(self.places.input, &mut |place, number| {
            let sum = &mut groups.figures[place].input_tokens;
            *sum = sum.saturating_add(number);
        });
        tokens(self.places.output, &mut |place, number| {
            let sum = &mut groups.figures[place].output_tokens;
            *sum = sum.saturating_add(number);
        });
        for (row, place) in calls() {
            let cost = match bound.value(self.places.cost, row) {
                Datum::Float(cost) => cost,
                Datum::Int(cost) => cost as f64,
                _ => continue,
            };
            let figures = &mut groups.figures[place];
            figures.cost = Some(figures.cost.unwrap_or(0.0) + cost);
            figures.add_cost(cost);
        }
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

/// A value as JSON.
pub(super) fn write(datum: &Datum<'_>, out: &mut String) {
    match datum {
        Datum::Nil => out.push_str("null"),
        Datum::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Datum::Int(number) => crate::value::write_int(*number, out),
        Datum::Float(number) => {
            let number =
                serde_json::Number::from_f64(*number).map_or_else(|| number.to_string().into(), Json::Number);
            out.push_str(&number.to_string());
        }
        Datum::Text(text) => crate::value::write_string(text, out),
        Datum::Status(number) => {
            let name = ["unset", "ok", "error"].get(usize::try_from(*number).unwrap_or(0));
            crate::value::write_string(name.unwrap_or(&"unset"), out);
        }
        Datum::Kind(number) => {
            let names = ["unspecified", "internal", "server", "client", "producer", "consumer"];
            crate::value::write_string(
                names.get(usize::try_from(*number).unwrap_or(0)).unwrap_or(&"unspecified"),
                out,
            );
        }
        Datum::List(values) | Datum::Each(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(value, out);
            }
            out.push(']');
        }
    }
}

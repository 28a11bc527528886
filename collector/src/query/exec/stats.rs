//! Figures by group.

use agentvitals::semconv::attr;
use arrow_array::RecordBatch;
use hashbrown::HashMap;
use serde_json::Value as Json;

use super::{Plan, Queries, bind, parallel};
use crate::query::engine::{Columns, Control, Order, QueryError, SpanColumn};
use crate::query::request::{Durations, Group, StatsAnswer, StatsRequest};
use crate::query::traceql::{Datum, Field, Intrinsic, Scope};

/// Bytes of a group besides its key and its durations.
const GROUP_BYTES: usize = 256;
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
    Ok(finish(merged, request, limit, scanned))
}

fn finish(groups: Groups, request: &StatsRequest, limit: usize, scanned: u64) -> StatsAnswer {
    #[expect(clippy::cast_precision_loss, reason = "seconds of a rate")]
    let seconds = request
        .step
        .or_else(|| request.end.zip(request.start).map(|(end, start)| end.saturating_sub(start)))
        .filter(|&length| length > 0)
        .map(|length| length as f64 / 1e9);
    // Groups by what they are grouped by, so that a limit keeps or leaves out all steps of one.
    let mut totals: HashMap<String, u64> = HashMap::new();
    for ((by, _), figures) in &groups.of {
        *totals.entry_ref(by.as_str()).or_default() += figures.count;
    }
    let mut order: Vec<(&String, &u64)> = totals.iter().collect();
    order.sort_unstable_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let ranks: HashMap<String, usize> =
        order.iter().take(limit).enumerate().map(|(rank, (by, _))| ((*by).clone(), rank)).collect();
    let left_out = totals.len().saturating_sub(limit) as u64;
    let mut out: Vec<(usize, Group)> = groups
        .of
        .into_iter()
        .filter_map(|((by, step), figures)| Some((*ranks.get(&by)?, figures.group(&by, step, seconds))))
        .collect();
    out.sort_by_key(|(rank, group)| (*rank, group.step));
    StatsAnswer {
        groups: out.into_iter().map(|(_, group)| group).collect(),
        left_out,
        complete: true,
        scanned,
    }
}

/// Figures by what is grouped by (a JSON array) and by the start of the step.
#[derive(Default)]
struct Groups {
    of: HashMap<(String, Option<i64>), Figures>,
}

impl Groups {
    fn merge(&mut self, other: Self) {
        for (key, figures) in other.of {
            match self.of.entry(key) {
                hashbrown::hash_map::Entry::Occupied(mut entry) => entry.get_mut().merge(figures),
                hashbrown::hash_map::Entry::Vacant(entry) => {
                    entry.insert(figures);
                }
            }
        }
    }
}

#[derive(Default)]
struct Figures {
    count: u64,
    errors: u64,
    min: i64,
    max: i64,
    sum: f64,
    durations: HashMap<u16, u64>,
    input_tokens: u64,
    output_tokens: u64,
    cost: Option<f64>,
}

/// The bucket of a duration: 128 of them for each doubling, so that its middle is within 0.4 %.
pub(super) fn bucket(nanos: i64) -> u16 {
    let nanos = nanos.max(0).cast_unsigned();
    if nanos < 256 {
        return u16::try_from(nanos).unwrap_or(0);
    }
    let exponent = 63 - nanos.leading_zeros();
    let part = (nanos >> (exponent - 7)) & 127;
    u16::try_from(u64::from(exponent - 6) * 128 + part).unwrap_or(u16::MAX)
}

/// The middle of a bucket.
#[expect(clippy::cast_precision_loss, reason = "a bucket is wider than what is lost")]
pub(super) fn middle(bucket: u16) -> f64 {
    if bucket < 256 {
        return f64::from(bucket);
    }
    let (exponent, part) = (u32::from(bucket / 128) + 6, u64::from(bucket % 128));
    let low = (128 + part) << (exponent - 7);
    low as f64 + (1_u64 << (exponent - 7)) as f64 / 2.0
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "a sum of durations")]
    fn add(&mut self, duration: i64) {
        self.min = if self.count == 0 { duration } else { self.min.min(duration) };
        self.max = self.max.max(duration);
        self.count += 1;
        self.sum += duration as f64;
        *self.durations.entry(bucket(duration)).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.errors += other.errors;
        self.sum += other.sum;
        for (bucket, count) in other.durations {
            *self.durations.entry(bucket).or_default() += count;
        }
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cost = match (self.cost, other.cost) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks and bounds of quantiles"
    )]
    fn group(self, by: &str, step: Option<i64>, seconds: Option<f64>) -> Group {
        let mut buckets: Vec<(u16, u64)> = self.durations.into_iter().collect();
        buckets.sort_unstable();
        let quantile = |q: f64| {
            let rank = ((self.count as f64 * q).ceil() as u64).max(1);
            let mut seen = 0;
            let at = buckets.iter().find(|(_, count)| {
                seen += count;
                seen >= rank
            });
            // Never outside of what was measured.
            at.map_or(0.0, |(bucket, _)| middle(*bucket).clamp(self.min as f64, self.max as f64))
        };
        Group {
            by: serde_json::from_str(by).unwrap_or_default(),
            step,
            count: self.count,
            errors: self.errors,
            rate: seconds.map(|seconds| self.count as f64 / seconds),
            duration_ns: Durations {
                min: self.min,
                max: self.max,
                avg: self.sum / self.count.max(1) as f64,
                p50: quantile(0.5),
                p95: quantile(0.95),
                p99: quantile(0.99),
            },
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cost: self.cost,
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
        use arrow_array::cast::AsArray as _;
        let filter = bind::Bound::new(self.plan.compiled.fields(), batch)?;
        let bound = bind::Bound::new(self.fields, batch)?;
        let starts = batch.column_by_name("start");
        let starts = starts
            .and_then(|column| column.as_primitive_opt::<arrow_array::types::TimestampNanosecondType>());
        let mut key = (String::new(), None);
        for row in (0..batch.num_rows()).filter(|&row| self.plan.compiled.matches(&filter.row(row))) {
            key.0.clear();
            key.0.push('[');
            for field in self.places.by..self.fields.len() {
                if field > self.places.by {
                    key.0.push(',');
                }
                write(&bound.value(field, row), &mut key.0);
            }
            key.0.push(']');
            key.1 = self.step.zip(starts).map(|(step, starts)| starts.value(row).div_euclid(step) * step);
            let figures = if let Some(figures) = groups.of.get_mut(&key) {
                figures
            } else {
                self.control.take_memory(GROUP_BYTES + 2 * key.0.len())?;
                groups.of.entry(key.clone()).or_default()
            };
            self.add(figures, &bound, row);
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a cost that is written as an integer")]
    fn add(&self, figures: &mut Figures, bound: &bind::Bound<'_>, row: usize) {
        let int = |field| match bound.value(field, row) {
            Datum::Int(number) => number,
            _ => 0,
        };
        figures.add(int(self.places.duration));
        figures.errors += u64::from(bound.value(self.places.status, row) == Datum::Status(2));
        let model_call = match bound.value(self.places.operation, row) {
            Datum::Text(operation) => MODEL_CALLS.contains(&&*operation),
            _ => false,
        };
        if model_call {
            let tokens = |field| u64::try_from(int(field)).unwrap_or(0);
            figures.input_tokens = figures.input_tokens.saturating_add(tokens(self.places.input));
            figures.output_tokens = figures.output_tokens.saturating_add(tokens(self.places.output));
            let cost = match bound.value(self.places.cost, row) {
                Datum::Float(cost) => Some(cost),
                Datum::Int(cost) => Some(cost as f64),
                _ => None,
            };
            if let Some(cost) = cost {
                figures.cost = Some(figures.cost.unwrap_or(0.0) + cost);
            }
        }
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
        Datum::List(values) => {
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

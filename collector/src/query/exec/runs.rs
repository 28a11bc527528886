//! What only single spans tell: which tools follow each other in a run, and what goes with its failure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agentvitals::semconv::attr;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};

use super::report::{Kind, kind};
use super::{Plan, Queries, bind, render};
use crate::query::engine::{Columns, Control, Flow, Order, QueryError, SpanColumn};
use crate::query::report::{Recommendation, Report, ReportRequest, Sequence, Share};
use crate::query::traceql::{Datum, Field, Scope};

/// Spans of the newest runs that are looked at one by one.
const SPANS: usize = 4_000;
/// Sequences that are shown.
const SEQUENCES: usize = 30;
/// Traces that are named.
const TRACES: usize = 5;
/// OTLP's number of the status error.
const ERROR: i8 = 2;
/// What is read of a span besides what every span has.
const ATTRIBUTES: [&str; 6] = [
    attr::OPERATION_NAME,
    attr::TOOL_NAME,
    attr::REQUEST_MODEL,
    attr::TOOL_CALL_ARGUMENTS,
    attr::INPUT_MESSAGES,
    attr::USAGE_COST_AMOUNT,
];

/// What is looked at of a span.
#[derive(Debug, Clone, Default)]
pub(super) struct Step {
    trace: [u8; 16],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) start: i64,
    pub(super) duration: i64,
    pub(super) failed: bool,
    pub(super) kind: Option<Kind>,
    pub(super) tool: Box<str>,
    pub(super) model: Box<str>,
    pub(super) arguments: Box<str>,
    pub(super) prompt: Box<str>,
    pub(super) usd: f64,
}

/// The newest spans, in no order.
#[derive(Default)]
struct Newest {
    steps: Vec<Step>,
    /// What starts before this has no room.
    from: i64,
}

impl Newest {
    /// Takes the rows of a batch, the newest of which comes first. Nothing that follows has room once it says stop.
    fn read(&mut self, plan: &Plan, fields: &[Field], batch: &RecordBatch) -> Result<Flow, QueryError> {
        let (keys, bound) = (render::Keys::new(batch)?, bind::Bound::new(fields, batch)?);
        let parents =
            batch.column_by_name("parent_span_id").and_then(|column| column.as_fixed_size_binary_opt());
        let statuses = batch
            .column_by_name("status")
            .and_then(|column| column.as_primitive_opt::<arrow_array::types::Int8Type>());
        for row in plan.rows(batch)? {
            let row = row as usize;
            let start = keys.start(row);
            if start < self.from {
                return Ok(Flow::Stop);
            }
            let text = |field: usize| -> Box<str> {
                match bound.value(field, row) {
                    Datum::Text(text) => text.into(),
                    _ => Box::default(),
                }
            };
            let parent = parents.filter(|parents| parents.is_valid(row));
            self.steps.push(Step {
                trace: keys.trace_id(row),
                parent: parent.and_then(|parents| parents.value(row).try_into().ok()),
                start,
                duration: keys.duration(row),
                failed: statuses.is_some_and(|statuses| statuses.value(row) == ERROR),
                kind: kind(&text(0)),
                tool: text(1),
                model: text(2),
                arguments: text(3),
                prompt: text(4),
                usd: match bound.value(5, row) {
                    Datum::Float(usd) => usd,
                    _ => 0.0,
                },
            });
            if self.steps.len() >= 2 * SPANS {
                self.cut();
            }
        }
        Ok(Flow::Continue)
    }

    /// Leaves the newest ones.
    fn cut(&mut self) {
        if self.steps.len() > SPANS {
            self.steps.select_nth_unstable_by_key(SPANS - 1, |step| Reverse(step.start));
            self.steps.truncate(SPANS);
        }
        if self.steps.len() >= SPANS {
            self.from = self.steps.iter().map(|step| step.start).min().unwrap_or(i64::MIN);
        }
    }
}

/// The newest runs, span by span.
#[derive(Default)]
pub(super) struct Runs {
    count: u64,
    sequences: BTreeMap<(String, String), u64>,
    /// By tool: runs with it and those that failed; runs in which it failed and those of them that failed.
    tools: BTreeMap<String, ([u64; 2], [u64; 2])>,
    failed: u64,
    failures: BTreeMap<String, Vec<String>>,
    pub(super) found: Vec<Recommendation>,
}

impl Runs {
    pub(super) fn read(
        queries: &Queries,
        request: &ReportRequest,
        (start, end): (i64, i64),
        control: &Control,
    ) -> Result<Self, QueryError> {
        let plan = Plan::new(&request.q, Some(start), Some(end))?;
        let fields = ATTRIBUTES.map(|key| Field::Attribute { scope: Scope::Span, key: key.to_owned() });
        let mut columns = bind::columns(&fields)?;
        columns.extend(plan.columns.iter().cloned());
        let keys = ["trace_id", "span_id", "parent_span_id", "start", "duration_ns", "status"];
        columns.extend(keys.map(SpanColumn::Fixed));
        columns.sort_unstable();
        columns.dedup();
        let mut parts = queries.engine.parts(&plan.scan(Columns::Some(columns), Order::NewestFirst))?;
        parts.sort_by_key(|part| Reverse(part.times().1));
        let mut newest = Newest { from: i64::MIN, ..Newest::default() };
        for part in parts.iter().filter(|part| part.rows() > 0) {
            if part.times().1 < newest.from {
                break;
            }
            part.read(control, &mut |batch| {
                control.check()?;
                newest.read(&plan, &fields, batch)
            })?;
            newest.cut();
        }
        let mut traces: BTreeMap<[u8; 16], Vec<Step>> = BTreeMap::new();
        for step in newest.steps {
            traces.entry(step.trace).or_default().push(step);
        }
        let mut runs = Self::default();
        let mut advisor = super::advisor::Advisor::default();
        for (trace, mut steps) in traces {
            let trace = hex::encode(trace);
            steps.sort_by_key(|step| step.start);
            // The oldest traces are cut where the limit is: they are looked at no less, but are no whole runs.
            if let Some(root) = steps.iter().find(|step| step.parent.is_none()) {
                runs.enter(&trace, root.failed, &steps);
            }
            advisor.look(&trace, &steps);
        }
        runs.found = advisor.finish();
        Ok(runs)
    }

    fn enter(&mut self, trace: &str, run_failed: bool, steps: &[Step]) {
        self.count += 1;
        self.failed += u64::from(run_failed);
        let mut before: Option<&str> = None;
        let mut used: BTreeMap<&str, bool> = BTreeMap::new();
        for step in steps.iter().filter(|step| step.kind == Some(Kind::Tool)) {
            let tool = &*step.tool;
            *used.entry(tool).or_default() |= step.failed;
            if let Some(before) = before {
                *self.sequences.entry((before.to_owned(), tool.to_owned())).or_default() += 1;
            }
            before = Some(tool);
        }
        for (tool, failed) in used {
            let (with, when_failed) = self.tools.entry(tool.to_owned()).or_default();
            with[0] += 1;
            with[1] += u64::from(run_failed);
            if failed {
                when_failed[0] += 1;
                when_failed[1] += u64::from(run_failed);
                let failures = self.failures.entry(tool.to_owned()).or_default();
                if failures.len() < TRACES {
                    failures.push(trace.to_owned());
                }
            }
        }
    }

    pub(super) fn fill(&self, report: &mut Report) {
        report.runs_looked_at = self.count;
        let mut sequences: Vec<Sequence> = self
            .sequences
            .iter()
            .map(|((before, after), count)| Sequence {
                before: before.clone(),
                after: after.clone(),
                count: *count,
            })
            .collect();
        sequences.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.before.cmp(&b.before)));
        sequences.truncate(SEQUENCES);
        report.sequences = sequences;
        for ranked in &mut report.ranking {
            let Some((with, when_failed)) = self.tools.get(&ranked.tool) else { continue };
            let without = (self.count - with[0], self.failed - with[1]);
            ranked.with_and_without =
                Some((Share::of(with[0] - with[1], with[0]), Share::of(without.0 - without.1, without.0)));
            if when_failed[0] > 0 {
                ranked.run_fails_if_it_fails = Some(Share::of(when_failed[1], when_failed[0]));
            }
            ranked.recent_failures = self.failures.get(&ranked.tool).cloned().unwrap_or_default();
        }
    }
}

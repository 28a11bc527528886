//! Answers questions: from a filter to a scan, from batches to spans, counts and figures.

mod advisor;
mod bind;
mod coded;
mod dependencies;
mod errors;
mod figures;
mod filter;
mod logs;
mod memo;
pub(crate) mod metrics;
mod otlp;
mod over_time;
mod parallel;
mod render;
mod report;
mod rollup;
mod runs;
mod spans;
#[cfg(feature = "sql")]
mod sql;
mod stats;
mod steps;
mod system;
mod tags;
mod trace;
mod traces;

#[cfg(test)]
mod before_tests;
#[cfg(test)]
mod memo_tests;
#[cfg(test)]
mod signal_tests;
#[cfg(test)]
mod tests;

pub use self::stats::Prepared;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use super::engine::{
    Columns, Control, Engine, Flow, Must, Order, QueryError, Scan, SpanColumn, Table, TimeRange,
};
use super::over_time::{OverTimeAnswer, OverTimeRequest};
use super::report::{Report, ReportRequest};
use super::request::{
    CountAnswer, CountRequest, ExportRequest, SpansAnswer, SpansRequest, StatsAnswer, StatsRequest,
    TraceAnswer, TraceRequest,
};
use super::rollup::{AgentAnswer, AgentRequest, ConversationsAnswer, ConversationsRequest};
use super::search::{SearchAnswer, SearchRequest};
use super::signals::{
    LogsAnswer, LogsRequest, MetricAnswer, MetricNamesAnswer, MetricNamesRequest, MetricRequest,
};
use super::sql::{SqlAnswer, SqlRequest};
use super::system::{SystemAnswer, SystemRequest};
use super::tags::{Dependency, DistinctAnswer, DistinctRequest, TagNamesAnswer, TagNamesRequest};
use super::traceql::{Field, Intrinsic, Scope, parse_field, parse_filter};
use crate::clock;

const DEFAULT_GROUPS: usize = 100;
const MAX_GROUPS: usize = 10_000;
const MAX_BY: usize = 8;

/// Bounds of a question.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "the bounds of a question")]
pub struct Limits {
    /// How long it may take.
    pub timeout: Duration,
    /// Bytes that an answer may need while it is made.
    pub memory: usize,
    /// Spans of an answer at most.
    pub max_spans: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), memory: 256 << 20, max_spans: 10_000 }
    }
}

/// Answers questions about the spans of an engine. Each method blocks until it has the answer.
#[derive(Clone)]
pub struct Queries {
    engine: Arc<dyn Engine>,
    limits: Limits,
    memo: Arc<memo::Memo>,
}

impl std::fmt::Debug for Queries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queries").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A filter as it is put to an engine.
struct Plan {
    table: Table,
    condition: filter::Condition,
    time: TimeRange,
    must: Vec<Must>,
    columns: Vec<SpanColumn>,
}

impl Plan {
    fn new(query: &str, start: Option<i64>, end: Option<i64>) -> Result<Self, QueryError> {
        let time = time_range(start, end)?;
        let filter = parse_filter(query)?;
        let condition = filter::Condition::new(&filter)?;
        let columns = bind::columns(condition.fields())?;
        Ok(Self { table: Table::Spans, condition, time, must: filter.musts(), columns })
    }

    /// The same filter of another table, which has less to ask for.
    fn of(table: Table, query: &str, start: Option<i64>, end: Option<i64>) -> Result<Self, QueryError> {
        let plan = Self::new(query, start, end)?;
        plan.condition.fields().iter().try_for_each(|field| check(table, field))?;
        Ok(Self { table, ..plan })
    }

    /// The rows of a batch that fulfil the filter.
    fn rows(&self, batch: &RecordBatch) -> Result<Vec<u32>, QueryError> {
        let rows = u32::try_from(batch.num_rows())
            .map_err(|_| QueryError::Failed(format!("a batch has {} rows", batch.num_rows())))?;
        let mut rows: Vec<u32> = (0..rows).collect();
        self.condition.keep(&bind::Bound::new(self.condition.fields(), batch)?, &mut rows);
        Ok(rows)
    }

    fn scan(&self, columns: Columns, order: Order) -> Scan {
        Scan { table: self.table, time: self.time, must: self.must.clone(), columns, order }
    }
}

/// The time of a question; without an end it is all that follows.
fn time_range(start: Option<i64>, end: Option<i64>) -> Result<TimeRange, QueryError> {
    let (from, to) = (start.unwrap_or(i64::MIN), end.unwrap_or(i64::MAX));
    if from > to {
        return Err(QueryError::invalid(format!("the time range ends ({to}) before it starts ({from})")));
    }
    Ok(TimeRange { from, to })
}

/// How many are asked for.
fn bounded(name: &str, asked: Option<usize>, default: usize, max: usize) -> Result<usize, QueryError> {
    match asked.unwrap_or(default) {
        asked if asked == 0 || asked > max => {
            Err(QueryError::invalid(format!("{name} is {asked}, expected 1 to {max}")))
        }
        asked => Ok(asked),
    }
}

/// Whether a table has a field.
fn check(table: Table, field: &Field) -> Result<(), QueryError> {
    let known = match field {
        Field::Attribute { scope, .. } => {
            matches!(scope, Scope::Any | Scope::Span | Scope::Resource | Scope::Instrumentation)
        }
        Field::Intrinsic(Intrinsic::Name | Intrinsic::ScopeName | Intrinsic::ScopeVersion) => true,
        Field::Intrinsic(Intrinsic::TraceId | Intrinsic::SpanId) => table != Table::Metrics,
        Field::Intrinsic(_) => table == Table::Spans,
    };
    if known || table == Table::Spans {
        return Ok(());
    }
    Err(QueryError::invalid(format!(
        "{} have no `{field}`; they have attributes (`.key`), those of their resource and instrumentation, and name",
        table.name()
    )))
}

/// What is grouped by.
fn grouped_by(by: &[String]) -> Result<Vec<Field>, QueryError> {
    if by.len() > MAX_BY {
        return Err(QueryError::invalid(format!(
            "grouped by {} attributes, at most {MAX_BY} are taken",
            by.len()
        )));
    }
    by.iter().map(|text| parse_field(text)).collect()
}

/// How many groups, and how long a time step.
fn bounds(limit: Option<usize>, step: Option<i64>) -> Result<usize, QueryError> {
    let limit = bounded("limit", limit, DEFAULT_GROUPS, MAX_GROUPS)?;
    match step.filter(|&step| step <= 0) {
        Some(step) => Err(QueryError::invalid(format!("step is {step} ns, expected more than 0"))),
        None => Ok(limit),
    }
}

impl Queries {
    /// Answers from this engine, within these bounds.
    pub fn new(engine: Arc<dyn Engine>, limits: Limits) -> Self {
        Self { engine, limits, memo: Arc::default() }
    }

    /// The bounds of one question that begins now.
    pub fn control(&self) -> Control {
        Control::new(clock::now().checked_add(self.limits.timeout), self.limits.memory)
    }

    /// The same for what may take as long as it takes.
    pub const fn patient_control(&self) -> Control {
        Control::new(None, self.limits.memory)
    }

    /// The spans that match, in order.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn spans(&self, request: &SpansRequest, control: &Control) -> Result<SpansAnswer, QueryError> {
        spans::answer(self, request, control)
    }

    /// The latest traces that a query of TraceQL finds.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn search(&self, request: &SearchRequest, control: &Control) -> Result<SearchAnswer, QueryError> {
        traces::answer(self, request, control)
    }

    /// Numbers over time, by a query of TraceQL metrics.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn over_time(
        &self,
        request: &OverTimeRequest,
        control: &Control,
    ) -> Result<OverTimeAnswer, QueryError> {
        over_time::answer(self, request, control)
    }

    /// How many spans match.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn count(&self, request: &CountRequest, control: &Control) -> Result<CountAnswer, QueryError> {
        let plan = Plan::new(&request.q, request.start, request.end)?;
        let parts = self.engine.parts(&plan.scan(Columns::Some(plan.columns.clone()), Order::Any))?;
        let (counts, scanned) = parallel::fold(&parts, control, |count: &mut u64, batch| {
            *count += plan.rows(batch)?.len() as u64;
            Ok(())
        })?;
        Ok(CountAnswer { count: counts.into_iter().sum(), complete: true, scanned })
    }

    /// The spans of one trace, by start.
    ///
    /// # Errors
    /// When the id is none, or there is no answer within the bounds.
    pub fn trace(&self, request: &TraceRequest, control: &Control) -> Result<TraceAnswer, QueryError> {
        trace::answer(self, request, control)
    }

    /// The spans of some traces as OTLP, by trace in the order of the ids, in each by start; traces that are not there
    /// are left out, and so are spans that are not over.
    ///
    /// # Errors
    /// When an id is none, or there is no answer within the bounds.
    pub fn traces(&self, ids: &[String], control: &Control) -> Result<Vec<Vec<ResourceSpans>>, QueryError> {
        otlp::traces(self, ids, control)
    }

    /// Everything of a table that matches as requests of OTLP (encoded), the earliest first, about; calls `visit` with
    /// each until it wants no more. Returns how many rows were looked at.
    ///
    /// # Errors
    /// When the question is wrong, there is no answer within the bounds, or `visit` fails.
    pub fn export(
        &self,
        request: &ExportRequest,
        control: &Control,
        visit: &mut dyn FnMut(Vec<u8>) -> Result<Flow, QueryError>,
    ) -> Result<u64, QueryError> {
        otlp::export::each(self, request, control, visit)
    }

    /// The values that some fields have together.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn distinct(
        &self,
        request: &DistinctRequest,
        control: &Control,
    ) -> Result<DistinctAnswer, QueryError> {
        tags::distinct(self, request, control)
    }

    /// The attributes that there are, by scope.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn tag_names(
        &self,
        request: &TagNamesRequest,
        control: &Control,
    ) -> Result<TagNamesAnswer, QueryError> {
        tags::names(self, request, control)
    }

    /// How often services called each other, of the spans that started in a time range.
    ///
    /// # Errors
    /// When there is no answer within the bounds.
    pub fn dependencies(
        &self,
        start: i64,
        end: i64,
        control: &Control,
    ) -> Result<Vec<Dependency>, QueryError> {
        dependencies::answer(self, start, end, control)
    }

    /// Figures of the spans that match, by group.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn stats(&self, request: &StatsRequest, control: &Control) -> Result<StatsAnswer, QueryError> {
        stats::answer(self, request, control)
    }

    /// The rows of a query in SQL.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds; [`QueryError::Unsupported`] without the
    /// feature `sql`.
    pub fn sql(&self, request: &SqlRequest, control: &Control) -> Result<SqlAnswer, QueryError> {
        #[cfg(feature = "sql")]
        return sql::answer(self, request, control);
        #[cfg(not(feature = "sql"))]
        {
            let _ = (request, control);
            Err(QueryError::Unsupported { message: super::sql::WITHOUT.to_owned(), at: None })
        }
    }

    /// The log records that match, in order.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn logs(&self, request: &LogsRequest, control: &Control) -> Result<LogsAnswer, QueryError> {
        logs::answer(self, request, control)
    }

    /// Which metrics there are.
    ///
    /// # Errors
    /// When there is no answer within the bounds.
    pub fn metric_names(
        &self,
        request: &MetricNamesRequest,
        control: &Control,
    ) -> Result<MetricNamesAnswer, QueryError> {
        metrics::names(self, request, control)
    }

    /// A metric, put together over its series and processes, by group.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn metric(&self, request: &MetricRequest, control: &Control) -> Result<MetricAnswer, QueryError> {
        metrics::answer(self, request, control)
    }

    /// How the machine, the database connections and the cache of programs are.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn system(&self, request: &SystemRequest, control: &Control) -> Result<SystemAnswer, QueryError> {
        system::answer(self, request, control)
    }

    /// What conversations came to so far.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn conversations(
        &self,
        request: &ConversationsRequest,
        control: &Control,
    ) -> Result<ConversationsAnswer, QueryError> {
        rollup::conversations(self, request, control)
    }

    /// How agents, models and tools performed over a window, what it cost, and what could be better.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn report(&self, request: &ReportRequest, control: &Control) -> Result<Report, QueryError> {
        report::answer(self, request, control)
    }

    /// Reads ahead of time what reports of this window, brief and not, are made of, as far as it does not change: the next of
    /// them has little left to read. To be called again from time to time; what was `prepared` is not read again.
    ///
    /// # Errors
    /// When the question is wrong, something cannot be read, or it was cancelled. What was found out by then stays known.
    pub fn prepare_report(
        &self,
        request: &ReportRequest,
        prepared: &mut Prepared,
        control: &Control,
    ) -> Result<(), QueryError> {
        report::prepare(self, request, prepared, control)
    }

    /// What an agent did.
    ///
    /// # Errors
    /// When the question is wrong, or there is no answer within the bounds.
    pub fn agent(&self, request: &AgentRequest, control: &Control) -> Result<AgentAnswer, QueryError> {
        rollup::agent(self, request, control)
    }
}

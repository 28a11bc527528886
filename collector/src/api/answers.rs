//! Who answers the API's questions.

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use crate::query::engine::Flow;
use crate::query::over_time::{OverTimeAnswer, OverTimeRequest};
use crate::query::report::{Report, ReportRequest};
use crate::query::request::{
    CountAnswer, CountRequest, ExportRequest, SpansAnswer, SpansRequest, StatsAnswer, StatsRequest,
    TraceAnswer, TraceRequest,
};
use crate::query::rollup::{AgentAnswer, AgentRequest, ConversationsAnswer, ConversationsRequest};
use crate::query::search::{SearchAnswer, SearchRequest};
use crate::query::signals::{
    LogsAnswer, LogsRequest, MetricAnswer, MetricNamesAnswer, MetricNamesRequest, MetricRequest,
};
use crate::query::sql::{SqlAnswer, SqlRequest};
use crate::query::system::{SystemAnswer, SystemRequest};
use crate::query::tags::{Dependency, DistinctAnswer, DistinctRequest, TagNamesAnswer, TagNamesRequest};
use crate::query::{Control, QueryError};

/// Answers questions on the thread that asks, until the control says otherwise.
pub trait Answers: Send + Sync + 'static {
    /// The bounds of one question, which start to run now.
    fn control(&self) -> Control;

    /// The same for what may take as long as it takes.
    fn patient_control(&self) -> Control;

    /// Hands out everything that matches, as encoded requests of OTLP.
    ///
    /// # Errors
    /// See [`QueryError`]; and what `visit` fails with.
    fn export(
        &self,
        request: &ExportRequest,
        control: &Control,
        visit: &mut dyn FnMut(Vec<u8>) -> Result<Flow, QueryError>,
    ) -> Result<u64, QueryError>;

    /// Finds spans.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn spans(&self, request: &SpansRequest, control: &Control) -> Result<SpansAnswer, QueryError>;

    /// Finds traces.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn search(&self, request: &SearchRequest, control: &Control) -> Result<SearchAnswer, QueryError>;

    /// Numbers over time.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn over_time(&self, request: &OverTimeRequest, control: &Control) -> Result<OverTimeAnswer, QueryError>;

    /// Counts spans.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn count(&self, request: &CountRequest, control: &Control) -> Result<CountAnswer, QueryError>;

    /// Finds the spans of one trace.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn trace(&self, request: &TraceRequest, control: &Control) -> Result<TraceAnswer, QueryError>;

    /// Finds the spans of some traces, as OTLP.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn traces(&self, ids: &[String], control: &Control) -> Result<Vec<Vec<ResourceSpans>>, QueryError>;

    /// The values of fields.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn distinct(&self, request: &DistinctRequest, control: &Control) -> Result<DistinctAnswer, QueryError>;

    /// The attributes that there are.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn tag_names(&self, request: &TagNamesRequest, control: &Control) -> Result<TagNamesAnswer, QueryError>;

    /// Tells how often services called each other.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn dependencies(&self, start: i64, end: i64, control: &Control) -> Result<Vec<Dependency>, QueryError>;

    /// Figures of spans by group.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn stats(&self, request: &StatsRequest, control: &Control) -> Result<StatsAnswer, QueryError>;

    /// Finds rows, in SQL.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn sql(&self, request: &SqlRequest, control: &Control) -> Result<SqlAnswer, QueryError>;

    /// Finds log records.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn logs(&self, request: &LogsRequest, control: &Control) -> Result<LogsAnswer, QueryError>;

    /// Tells which metrics there are.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn metric_names(
        &self,
        request: &MetricNamesRequest,
        control: &Control,
    ) -> Result<MetricNamesAnswer, QueryError>;

    /// A metric by group.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn metric(&self, request: &MetricRequest, control: &Control) -> Result<MetricAnswer, QueryError>;

    /// Tells how the machine, the database connections and the cache of programs are.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn system(&self, request: &SystemRequest, control: &Control) -> Result<SystemAnswer, QueryError>;

    /// Tells what conversations came to.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn conversations(
        &self,
        request: &ConversationsRequest,
        control: &Control,
    ) -> Result<ConversationsAnswer, QueryError>;

    /// Reports how everything performed.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn report(&self, request: &ReportRequest, control: &Control) -> Result<Report, QueryError>;

    /// Tells what an agent did.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn agent(&self, request: &AgentRequest, control: &Control) -> Result<AgentAnswer, QueryError>;
}

impl Answers for crate::query::exec::Queries {
    fn control(&self) -> Control {
        self.control()
    }

    fn patient_control(&self) -> Control {
        self.patient_control()
    }

    fn export(
        &self,
        request: &ExportRequest,
        control: &Control,
        visit: &mut dyn FnMut(Vec<u8>) -> Result<Flow, QueryError>,
    ) -> Result<u64, QueryError> {
        self.export(request, control, visit)
    }

    fn spans(&self, request: &SpansRequest, control: &Control) -> Result<SpansAnswer, QueryError> {
        self.spans(request, control)
    }

    fn search(&self, request: &SearchRequest, control: &Control) -> Result<SearchAnswer, QueryError> {
        self.search(request, control)
    }

    fn over_time(&self, request: &OverTimeRequest, control: &Control) -> Result<OverTimeAnswer, QueryError> {
        self.over_time(request, control)
    }

    fn count(&self, request: &CountRequest, control: &Control) -> Result<CountAnswer, QueryError> {
        self.count(request, control)
    }

    fn trace(&self, request: &TraceRequest, control: &Control) -> Result<TraceAnswer, QueryError> {
        self.trace(request, control)
    }

    fn traces(&self, ids: &[String], control: &Control) -> Result<Vec<Vec<ResourceSpans>>, QueryError> {
        self.traces(ids, control)
    }

    fn distinct(&self, request: &DistinctRequest, control: &Control) -> Result<DistinctAnswer, QueryError> {
        self.distinct(request, control)
    }

    fn tag_names(&self, request: &TagNamesRequest, control: &Control) -> Result<TagNamesAnswer, QueryError> {
        self.tag_names(request, control)
    }

    fn dependencies(&self, start: i64, end: i64, control: &Control) -> Result<Vec<Dependency>, QueryError> {
        self.dependencies(start, end, control)
    }

    fn stats(&self, request: &StatsRequest, control: &Control) -> Result<StatsAnswer, QueryError> {
        self.stats(request, control)
    }

    fn sql(&self, request: &SqlRequest, control: &Control) -> Result<SqlAnswer, QueryError> {
        self.sql(request, control)
    }

    fn logs(&self, request: &LogsRequest, control: &Control) -> Result<LogsAnswer, QueryError> {
        self.logs(request, control)
    }

    fn metric_names(
        &self,
        request: &MetricNamesRequest,
        control: &Control,
    ) -> Result<MetricNamesAnswer, QueryError> {
        self.metric_names(request, control)
    }

    fn metric(&self, request: &MetricRequest, control: &Control) -> Result<MetricAnswer, QueryError> {
        self.metric(request, control)
    }

    fn system(&self, request: &SystemRequest, control: &Control) -> Result<SystemAnswer, QueryError> {
        self.system(request, control)
    }

    fn conversations(
        &self,
        request: &ConversationsRequest,
        control: &Control,
    ) -> Result<ConversationsAnswer, QueryError> {
        self.conversations(request, control)
    }

    fn report(&self, request: &ReportRequest, control: &Control) -> Result<Report, QueryError> {
        self.report(request, control)
    }

    fn agent(&self, request: &AgentRequest, control: &Control) -> Result<AgentAnswer, QueryError> {
        self.agent(request, control)
    }
}

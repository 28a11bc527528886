//! The demo's own collector: what the SDK sends to it is kept, and read back by the questions that a user asks.

use agentvitals::semconv::{attr, metric, operation};
use agentvitals::testing::ReceivedSpan;
use tempfile::TempDir;

use super::agent::RUN_SPAN;
use super::report::{Asked, Expected, MetricFigures, Point, Sent, SpanFigures, Summary};
use super::runs::Run;
use super::{Options, report};
use crate::Error;
use crate::query::QueryError;
use crate::query::exec::Queries;
use crate::query::request::{SortBy, Span, SpansRequest, StatsRequest, TraceRequest};
use crate::query::signals::MetricRequest;
use crate::server::{Addresses, Server, Settings};

/// Spans that are read at once.
const PAGE: usize = 5_000;
/// Failed runs that are shown.
const SLOWEST: usize = 5;
/// Groups of a metric at most.
const GROUPS: usize = 10_000;

/// A collector in this process.
#[derive(Debug)]
pub struct Embedded {
    server: Server,
    /// Where it keeps its data, unless the user named a directory; removed with this value.
    directory: Option<TempDir>,
    expected: Expected,
    /// When it was started: what is older in the directory is not of this demo.
    began: i64,
}

impl Embedded {
    pub(super) async fn start(options: &Options, runs: &[Run]) -> Result<Self, Error> {
        let failed = |error| Error::failed(format!("no temporary directory can be made: {error}"));
        let directory = match options.data_dir {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("agentvitals-demo-").tempdir().map_err(failed)?),
        };
        let data_dir = match (&options.data_dir, &directory) {
            (Some(path), _) => path.clone(),
            (None, Some(directory)) => directory.path().to_owned(),
            (None, None) => return Err(Error::failed("there is no data directory")),
        };
        let mut settings = Settings::new(data_dir);
        [settings.otlp_grpc, settings.otlp_http, settings.api] = options.addresses;
        let server = Server::start(settings).await?;
        Ok(Self { server, directory, expected: Expected::of(runs), began: crate::clock::unix_nanos() })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.server.addresses().otlp_grpc)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        self.server.addresses()
    }

    /// The addresses as one line of JSON, as `serve` prints them.
    ///
    /// # Errors
    /// When the path of the data directory is no text.
    pub fn ready_line(&self) -> Result<String, Error> {
        self.server.ready_line()
    }

    /// Ends it, and removes its data unless the user named the directory.
    ///
    /// # Errors
    /// When a part of it had failed, or its directory cannot be removed.
    pub async fn stop(self) -> Result<(), Error> {
        self.server.stop().await?;
        match self.directory.map(TempDir::close) {
            Some(Err(error)) => Err(Error::failed(format!("the temporary directory stays: {error}"))),
            _ => Ok(()),
        }
    }

    /// Counts what is kept, asks what a user would ask, and compares.
    pub(super) async fn summary(&self, sent: Sent) -> Summary {
        let (queries, began, expected) = (self.server.queries(), self.began, self.expected);
        let read = tokio::task::spawn_blocking(move || {
            let reader = Reader { queries, began };
            Ok::<_, QueryError>((reader.spans()?, reader.metrics()?, reader.asked()?))
        });
        match read.await {
            Ok(Ok((spans, metrics, asked))) => Summary::of_stored(&spans, &metrics, &expected, sent, asked),
            Ok(Err(error)) => report::unread(sent, &error.to_string()),
            Err(error) => report::unread(sent, &error.to_string()),
        }
    }
}

/// Asks about what came since the demo began.
struct Reader {
    queries: Queries,
    began: i64,
}

impl Reader {
    fn spans(&self) -> Result<SpanFigures, QueryError> {
        let mut figures = SpanFigures::default();
        let mut after = None;
        loop {
            let request = SpansRequest {
                start: Some(self.began),
                limit: Some(PAGE),
                order: SortBy::Oldest,
                after,
                ..SpansRequest::default()
            };
            let page = self.queries.spans(&request, &self.queries.control())?;
            page.spans.into_iter().for_each(|span| figures.add(&received(span)));
            after = page.next;
            if after.is_none() {
                return Ok(figures);
            }
        }
    }

    /// Each metric by what its figures are told apart by.
    fn metrics(&self) -> Result<MetricFigures, QueryError> {
        let mut figures = MetricFigures::default();
        for (name, by) in [
            (metric::OPERATION_DURATION, &[attr::REQUEST_MODEL, attr::ERROR_TYPE] as &[&str]),
            (metric::EXECUTE_TOOL_DURATION, &[attr::TOOL_NAME, attr::ERROR_TYPE]),
            (metric::INVOKE_AGENT_DURATION, &[attr::AGENT_NAME, attr::ERROR_TYPE]),
            (metric::TOKEN_USAGE, &[attr::TOKEN_TYPE]),
            (metric::TOKEN_DETAILS, &[attr::TOKEN_DETAIL]),
            (metric::TASKS, &[attr::OUTCOME]),
            (metric::COST, &[]),
            (metric::COST_UNPRICED, &[]),
        ] {
            let keys: Vec<&str> = by.iter().copied().chain([attr::METRIC_OVERFLOW]).collect();
            let request = MetricRequest {
                name: name.to_owned(),
                start: Some(self.began),
                by: keys.iter().map(|key| format!("span.{key}")).collect(),
                limit: Some(GROUPS),
                ..MetricRequest::default()
            };
            let answer = self.queries.metric(&request, &self.queries.control())?;
            for group in answer.groups {
                let attributes = keys.iter().zip(group.by).filter(|(_, value)| !value.is_null());
                let attributes = attributes.map(|(key, value)| ((*key).to_owned(), value)).collect();
                figures.add(Point {
                    name,
                    attributes: &attributes,
                    count: group.values.as_ref().map(|values| values.count),
                    sum: group.values.as_ref().map_or(group.increase, |values| values.sum),
                });
            }
        }
        Ok(figures)
    }

    fn asked(&self) -> Result<Asked, QueryError> {
        let of = |operation: &str| format!("{{ span.{} = \"{operation}\" }}", attr::OPERATION_NAME);
        let stats = |operation: &str, by: &str| {
            let request = StatsRequest {
                q: of(operation),
                start: Some(self.began),
                by: vec![format!("span.{by}")],
                ..StatsRequest::default()
            };
            self.queries.stats(&request, &self.queries.control()).map(|answer| answer.groups)
        };
        let slowest = |filter: String, limit: usize| {
            let request = SpansRequest {
                q: filter,
                start: Some(self.began),
                limit: Some(limit),
                order: SortBy::Slowest,
                ..SpansRequest::default()
            };
            self.queries.spans(&request, &self.queries.control()).map(|answer| answer.spans)
        };
        let failed =
            slowest(format!("{{ name = \"{RUN_SPAN}\" && span.{} = \"failure\" }}", attr::OUTCOME), SLOWEST)?;
        // Without a failed run, the slowest of all is the one to look at.
        let example = match failed.first() {
            Some(span) => Some(span.trace_id.clone()),
            None => {
                let all = slowest(format!("{{ name = \"{RUN_SPAN}\" }}"), 1)?;
                all.first().map(|span| span.trace_id.clone())
            }
        };
        let trace = match example {
            Some(trace_id) => self.queries.trace(&TraceRequest { trace_id }, &self.queries.control())?.spans,
            None => Vec::new(),
        };
        Ok(Asked {
            per_agent: stats(operation::INVOKE_AGENT, attr::AGENT_NAME)?,
            per_model: stats(operation::CHAT, attr::REQUEST_MODEL)?,
            slowest_failed: failed,
            trace,
        })
    }
}

/// What is counted of a span.
fn received(span: Span) -> ReceivedSpan {
    let mut received = ReceivedSpan::default();
    received.name = span.name;
    received.attributes = span.attributes.into_iter().collect();
    received
}

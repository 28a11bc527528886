//! Questions about spans, put to whatever keeps them: the embedded collector, Grafana Tempo, Jaeger, ClickHouse.
//!
//! A [`SpanQuery`] means the same everywhere, so that outgrowing one machine changes an address and nothing else:
//!
//! ```no_run
//! # async fn run() -> Result<(), agentvitals::Error> {
//! use std::time::Duration;
//! use agentvitals::query::{Client, SpanQuery, Status, attribute, duration, status};
//!
//! let query = SpanQuery::new()
//!     .filter(attribute("gen_ai.agent.name").eq("planner") & (status().eq(Status::Error) | duration().gt(Duration::from_secs(2))))
//!     .last(Duration::from_secs(3600))
//!     .limit(50);
//! let client = Client::collector("http://127.0.0.1:16686")?; // or tempo, jaeger, clickhouse
//! for span in client.spans(&query).await? {
//!     println!("{} {} {:?}", span.trace_id, span.name, span.duration);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A filter can be written in TraceQL as well, and is translated to what each backend is asked by:
//!
//! ```
//! use agentvitals::query::SpanQuery;
//!
//! let query = SpanQuery::new().filter(r#"{ .gen_ai.agent.name = "planner" && duration > 2s }"#.parse()?);
//! # Ok::<(), agentvitals::Error>(())
//! ```
//!
//! # What backends differ in
//!
//! | | collector | Tempo | Jaeger | ClickHouse |
//! |---|---|---|---|---|
//! | asked by | TraceQL | TraceQL, then whole traces | service and tags, then whole traces | SQL over `otel_traces` |
//! | types of values | kept | kept | kept; lists and maps are text | all are text: `eq(200)` also finds `"200"` |
//! | times | nanoseconds | nanoseconds | microseconds | nanoseconds |
//! | most | the server's limit | 1,000 traces that match in the time range | 1,500 traces of a service | none |
//!
//! Where there is more than a backend hands out, that is an error ([`Error::is_backend`](crate::Error::is_backend)), and never a
//! part of the answer.

mod clickhouse;
mod client;
mod collector;
mod filter;
mod jaeger;
mod matching;
mod otlp;
mod parse;
mod span;
mod tempo;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use client::Client;
pub use filter::{
    Comparison, Field, Filter, Value, attribute, duration, kind, name, resource_attribute, service,
    span_attribute, status, status_message,
};
pub use span::{FoundSpan, Kind, Status};

use crate::clock::Clock;

/// Spans of an answer unless told otherwise.
const DEFAULT_LIMIT: usize = 20;

/// Which spans are wanted: those that a filter lets through and that started in a time range, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanQuery {
    pub(crate) filter: Filter,
    pub(crate) start: Option<i64>,
    pub(crate) end: Option<i64>,
    pub(crate) limit: usize,
}

impl Default for SpanQuery {
    fn default() -> Self {
        Self::new()
    }
}

impl SpanQuery {
    /// All spans; an answer has the newest 20.
    pub const fn new() -> Self {
        Self { filter: Filter::All, start: None, end: None, limit: DEFAULT_LIMIT }
    }

    /// Only spans that fulfil this; a second filter is asked for too.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = self.filter & filter;
        self
    }

    /// Only spans that started at this time or later, in nanoseconds since 1970.
    #[must_use]
    pub const fn since(mut self, unix_nanos: i64) -> Self {
        self.start = Some(unix_nanos);
        self
    }

    /// Only spans that started before this time, in nanoseconds since 1970.
    #[must_use]
    pub const fn until(mut self, unix_nanos: i64) -> Self {
        self.end = Some(unix_nanos);
        self
    }

    /// Only spans that started within this time before now.
    #[must_use]
    pub fn last(self, time: Duration) -> Self {
        let time = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        self.since(now().saturating_sub(time))
    }

    /// At most so many spans, at least 1.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.max(1);
        self
    }

    /// The filter in TraceQL.
    pub fn traceql(&self) -> String {
        self.filter.to_string()
    }

    /// Of these spans those that are wanted, in order.
    fn select(&self, spans: Vec<FoundSpan>) -> Result<Vec<FoundSpan>, crate::Error> {
        let filter = matching::Ready::new(&self.filter)?;
        let mut found: Vec<FoundSpan> = spans
            .into_iter()
            .filter(|span| self.start.is_none_or(|start| span.start_unix_nano >= start))
            .filter(|span| self.end.is_none_or(|end| span.start_unix_nano < end))
            .filter(|span| filter.matches(span))
            .collect();
        found.sort_by(|a, b| {
            let ids = |span: &FoundSpan| (span.trace_id.clone(), span.span_id.clone());
            b.start_unix_nano.cmp(&a.start_unix_nano).then_with(|| ids(a).cmp(&ids(b)))
        });
        found.dedup_by(|a, b| a.trace_id == b.trace_id && a.span_id == b.span_id);
        found.truncate(self.limit);
        Ok(found)
    }
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    let since = Clock::system().wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

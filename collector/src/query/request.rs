//! What can be asked, and how answers look: the same for the API, the command line and the demo. Times are in
//! nanoseconds since 1970, ranges half-open by the span's start.

use serde::{Deserialize, Serialize};

use super::engine::Table;

/// The order of found spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SortBy {
    /// Latest start first.
    #[default]
    Newest,
    /// Earliest start first.
    Oldest,
    /// Longest duration first.
    Slowest,
}

/// Asks for spans.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct SpansRequest {
    /// A query of TraceQL that finds spans; empty for all spans. What is more than a span filter is answered by a look at whole
    /// traces.
    pub q: String,
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range.
    pub end: Option<i64>,
    /// At most so many (default 20, at most 10,000).
    pub limit: Option<usize>,
    /// In this order.
    pub order: SortBy,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// Those that are not over, as they were last heard of, in place of those that are.
    pub pending: bool,
}

/// Found spans.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct SpansAnswer {
    /// The spans, in the order asked for.
    pub spans: Vec<Span>,
    /// Give it as `after` for the next page; none when there is none.
    pub next: Option<String>,
    /// Whether everything that could match was looked at, up to the limit.
    pub complete: bool,
    /// How many spans were looked at.
    pub scanned: u64,
}

/// A span as it is shown.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Span {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits; none for a root.
    pub parent_span_id: Option<String>,
    /// The name.
    pub name: String,
    /// `unspecified`, `internal`, `server`, `client`, `producer` or `consumer`.
    pub kind: String,
    /// `unset`, `ok` or `error`.
    pub status: String,
    /// What the status says; empty if nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status_message: String,
    /// When it started.
    pub start_unix_nano: i64,
    /// How long it took.
    pub duration_ns: i64,
    /// The service's name.
    pub service: String,
    /// W3C trace state.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace_state: String,
    /// OTLP's flags of the span.
    #[serde(default)]
    pub flags: u32,
    /// Attributes of the resource.
    pub resource: serde_json::Map<String, serde_json::Value>,
    /// The scope: `name`, `version`, `attributes`.
    #[serde(default)]
    pub scope: serde_json::Map<String, serde_json::Value>,
    /// Attributes of the span.
    pub attributes: serde_json::Map<String, serde_json::Value>,
    /// Events: `time_unix_nano`, `name`, `attributes`.
    pub events: Vec<serde_json::Value>,
    /// Links: `trace_id`, `span_id`, `trace_state`, `attributes`.
    pub links: Vec<serde_json::Value>,
    /// What the sender dropped of attributes, events, links; left out if nothing.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub dropped: serde_json::Map<String, serde_json::Value>,
}

/// Asks how many spans match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct CountRequest {
    /// A span filter of TraceQL; empty for all spans.
    pub q: String,
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range.
    pub end: Option<i64>,
}

/// Asks for everything of a table that matches, as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct ExportRequest {
    /// Of which table (default spans).
    pub table: Table,
    /// A filter of TraceQL; empty for everything.
    pub q: String,
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range.
    pub end: Option<i64>,
}

/// How many spans match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct CountAnswer {
    /// How many.
    pub count: u64,
    /// Whether everything was looked at.
    pub complete: bool,
    /// How many spans were looked at.
    pub scanned: u64,
}

/// Asks for one trace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer's question")]
pub struct TraceRequest {
    /// 32 hex digits (shorter ones are filled with zeros from the left).
    pub trace_id: String,
}

/// The spans of one trace, by start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct TraceAnswer {
    /// 32 hex digits.
    pub trace_id: String,
    /// Its spans by start; none if there is no such trace.
    pub spans: Vec<Span>,
    /// Whether everything was looked at.
    pub complete: bool,
    /// How many spans were looked at.
    pub scanned: u64,
}

/// Asks for figures of the spans that match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct StatsRequest {
    /// A span filter of TraceQL; empty for all spans.
    pub q: String,
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range.
    pub end: Option<i64>,
    /// Groups by these: attributes and intrinsics as TraceQL writes them, `.gen_ai.agent.name`, `name`,
    /// `resource.service.name`; a plain attribute name is taken as `.name`.
    pub by: Vec<String>,
    /// The length of a time step in nanoseconds; none for one figure over all.
    pub step: Option<i64>,
    /// At most so many groups, those with most spans first (default 100, at most 10,000).
    pub limit: Option<usize>,
}

/// Figures by group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct StatsAnswer {
    /// The groups, most spans first, then by step.
    pub groups: Vec<Group>,
    /// How many groups there are more than `limit`.
    pub left_out: u64,
    /// Whether everything was looked at.
    pub complete: bool,
    /// How many spans were looked at.
    pub scanned: u64,
}

/// Figures of one group, in one time step if there are steps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Group {
    /// The values of what is grouped by, in its order; null where a span has none.
    pub by: Vec<serde_json::Value>,
    /// The start of the time step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<i64>,
    /// Spans.
    pub count: u64,
    /// Those with status error.
    pub errors: u64,
    /// Spans a second over the time range, or over the step; none without either.
    pub rate: Option<f64>,
    /// Durations in nanoseconds.
    pub duration_ns: Durations,
    /// Sum of `gen_ai.usage.input_tokens`, counted at model calls only.
    pub input_tokens: u64,
    /// Sum of `gen_ai.usage.output_tokens`, counted at model calls only.
    pub output_tokens: u64,
    /// Sum of the cost at model calls in US dollars; none if no span has one.
    pub cost: Option<f64>,
}

/// Durations of a group in nanoseconds; the quantiles are within 1 % of a real one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Durations {
    /// The shortest.
    pub min: i64,
    /// The longest.
    pub max: i64,
    /// The average.
    pub avg: f64,
    /// The median.
    pub p50: f64,
    /// 95 of 100 are at most this.
    pub p95: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
}

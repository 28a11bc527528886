//! What can be asked about traces, and how answers look. Times are in nanoseconds since 1970.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Asks for traces by a query of TraceQL: a span filter, sets of spans and how they are related, a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct SearchRequest {
    /// The query; empty for all traces.
    pub q: String,
    /// The start of the time range: traces count that were not over by then.
    pub start: Option<i64>,
    /// The end of the time range: traces count that had begun by then.
    pub end: Option<i64>,
    /// At most so many traces (default 20, at most 10,000).
    pub limit: Option<usize>,
    /// At most so many spans of each set (default 3, at most 10,000).
    pub spans_per_set: Option<usize>,
    /// Only spans that started in the time range count, in place of all spans of traces that overlap it.
    pub started_within: bool,
}

/// Found traces.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct SearchAnswer {
    /// The traces, the latest first.
    pub traces: Vec<FoundTrace>,
    /// Hints of the query that make no difference here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored_hints: Vec<String>,
    /// How many spans were looked at.
    pub scanned: u64,
}

/// A trace that was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct FoundTrace {
    /// 32 hex digits.
    pub trace_id: String,
    /// When its first span started.
    pub start_unix_nano: i64,
    /// From then to the end of its last span.
    pub duration_ns: i64,
    /// How many spans it has.
    pub spans: u64,
    /// The name of its root; none if the root has not arrived.
    pub root_name: Option<String>,
    /// The service of its root, likewise.
    pub root_service: Option<String>,
    /// How many spans it has of each service.
    pub services: BTreeMap<String, ServiceSpans>,
    /// The sets of spans that are the answer: one, or one for each value of `by(..)`.
    pub sets: Vec<FoundSet>,
}

/// The spans of a trace that are of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct ServiceSpans {
    /// How many there are.
    pub spans: u64,
    /// How many of them have the status error.
    pub errors: u64,
}

/// Spans of a trace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct FoundSet {
    /// How many there are.
    pub matched: u64,
    /// The first of them.
    pub spans: Vec<FoundSpan>,
    /// What the stages found out: `count()`, `avg(duration)`, `by(name)`; times are nanoseconds.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub told: serde_json::Map<String, serde_json::Value>,
    /// Which of these are times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<String>,
}

/// A span that was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct FoundSpan {
    /// 16 hex digits.
    pub span_id: String,
    /// When it started.
    pub start_unix_nano: i64,
    /// How long it took.
    pub duration_ns: i64,
    /// What the query names of it, by how the query writes it; a list of one, as of events, is its element.
    pub fields: serde_json::Map<String, serde_json::Value>,
}

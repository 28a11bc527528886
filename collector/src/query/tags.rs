//! What can be asked about the attributes and values that there are.

use std::collections::BTreeMap;

/// Asks which values some fields have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct DistinctRequest {
    /// Of the spans that fulfil this filter of TraceQL; empty for all spans.
    pub q: String,
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range.
    pub end: Option<i64>,
    /// The fields, at most two, as TraceQL writes them.
    pub fields: Vec<String>,
    /// At most so many; none for as many as there is room for.
    pub limit: Option<usize>,
}

/// Which values fields have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct DistinctAnswer {
    /// The values of the fields in their order, each combination once, sorted. Spans that lack the first field do not count;
    /// of a field that has several values in a span each is one.
    pub values: Vec<Vec<TagValue>>,
    /// How many spans were looked at.
    pub scanned: u64,
}

/// A value as text, and its type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct TagValue {
    /// `string`, `int`, `float`, `bool`, `keyword` (of a status or a kind), `duration`, `nil`.
    pub kind: &'static str,
    /// The value.
    pub value: String,
}

/// Asks which attributes there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct TagNamesRequest {
    /// Of the spans that fulfil this filter of TraceQL; empty for all spans.
    pub q: String,
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range.
    pub end: Option<i64>,
}

/// Which attributes there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct TagNamesAnswer {
    /// Their keys, sorted, by scope as TraceQL writes it: `span`, `resource`, `event`, `link`, `instrumentation`.
    pub scopes: BTreeMap<&'static str, Vec<String>>,
    /// How many spans were looked at.
    pub scanned: u64,
}

/// How often a service called another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Dependency {
    /// The service that called.
    pub parent: String,
    /// The service that was called.
    pub child: String,
    /// Spans of the child whose parent is a span of the parent.
    pub calls: u64,
}

//! What can be asked about numbers over time, and how answers look. Times are in nanoseconds since 1970.

/// Asks for numbers over time by a query of TraceQL metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct OverTimeRequest {
    /// The query: `{ status = error } | rate() by (resource.service.name)`.
    pub q: String,
    /// The start of the time.
    pub start: i64,
    /// The end of the time, which is in it.
    pub end: i64,
    /// The length of an interval; none for one over all of the time.
    pub step: Option<i64>,
    /// How many exemplars each series has at most; there are none of one interval over all of the time. The hint `exemplars` of
    /// the query goes before this.
    pub exemplars: usize,
}

/// Numbers over time.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct OverTimeAnswer {
    /// The series, by their labels.
    pub series: Vec<Series>,
    /// Hints of the query that make no difference here.
    pub ignored_hints: Vec<String>,
    /// How many spans were looked at.
    pub scanned: u64,
}

/// A series of numbers.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Series {
    /// The values of what it is grouped by, in its order; its name if it is not grouped.
    pub labels: Vec<(String, serde_json::Value)>,
    /// The end of each interval, which is in it, and the number; intervals without one are left out. Times are seconds.
    pub samples: Vec<(i64, f64)>,
    /// Some of the spans that it counts, the earliest first: the newest of each part of the time.
    pub exemplars: Vec<Exemplar>,
}

/// A span that a series counts.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Exemplar {
    /// When it started.
    pub time: i64,
    /// The trace that it is in, in hex.
    pub trace_id: String,
    /// What was looked at of it, times in seconds; the number of its interval where spans are counted.
    pub value: f64,
}

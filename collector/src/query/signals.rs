//! What can be asked about log records and metrics, and how answers look. Times are in nanoseconds since 1970, ranges
//! half-open.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Asks for log records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct LogsRequest {
    /// A filter in the language of span filters, of attributes, resource, scope, `name` (the event's), `trace:id` and
    /// `span:id`; empty for all.
    pub q: String,
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range.
    pub end: Option<i64>,
    /// At least as severe as this: `trace`, `debug`, `info`, `warn`, `error`, `fatal`, or OTLP's number (1 to 24).
    pub severity: Option<String>,
    /// The body contains this text.
    pub contains: Option<String>,
    /// At most so many (default 100, at most 10,000).
    pub limit: Option<usize>,
    /// The earliest first; else the latest first.
    pub oldest_first: bool,
    /// The `next` of the page before.
    pub after: Option<String>,
}

/// Found log records.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct LogsAnswer {
    /// The records, in the order asked for.
    pub logs: Vec<Log>,
    /// Give it as `after` for the next page; none when there is none.
    pub next: Option<String>,
    /// Whether everything that could match was looked at, up to the limit.
    pub complete: bool,
    /// How many records were looked at.
    pub scanned: u64,
}

/// A log record as it is shown.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Log {
    /// When it happened.
    pub time_unix_nano: i64,
    /// When it was seen.
    pub observed_unix_nano: i64,
    /// OTLP's number, 1 (trace) to 24 (fatal); 0 for none.
    pub severity: u8,
    /// As the sender calls it; empty for nothing.
    pub severity_text: String,
    /// The event's name; empty for none.
    pub name: String,
    /// What it says.
    pub body: Value,
    /// 32 hex digits, if it belongs to a trace.
    pub trace_id: Option<String>,
    /// 16 hex digits, if it belongs to a span.
    pub span_id: Option<String>,
    /// The service's name.
    pub service: String,
    /// OTLP's flags of the record.
    pub flags: u32,
    /// Attributes of the resource.
    pub resource: Map<String, Value>,
    /// The scope: `name`, `version`, `attributes`.
    pub scope: Map<String, Value>,
    /// Attributes of the record.
    pub attributes: Map<String, Value>,
    /// Attributes that the sender dropped.
    pub dropped_attributes: u32,
}

/// Asks which metrics there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct MetricNamesRequest {
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range.
    pub end: Option<i64>,
}

/// Which metrics there are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct MetricNamesAnswer {
    /// The metrics, by name.
    pub metrics: Vec<MetricName>,
    /// Whether everything was looked at.
    pub complete: bool,
    /// How many points were looked at.
    pub scanned: u64,
}

/// A metric.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct MetricName {
    /// Its name.
    pub name: String,
    /// `gauge`, `sum`, `histogram`, `exponential_histogram` or `summary`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its unit.
    pub unit: String,
    /// What it is.
    pub description: String,
    /// Its points.
    pub points: u64,
    /// The time of the newest one.
    pub last_unix_nano: i64,
}

/// Asks for a metric.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct MetricRequest {
    /// Its name.
    pub name: String,
    /// A filter in the language of span filters, of attributes, resource and scope; empty for all.
    pub q: String,
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range.
    pub end: Option<i64>,
    /// Groups by these, as for figures of spans.
    pub by: Vec<String>,
    /// The length of a time step in nanoseconds; none for one figure over all.
    pub step: Option<i64>,
    /// At most so many groups, those with most points first (default 100, at most 10,000).
    pub limit: Option<usize>,
}

/// A metric by group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct MetricAnswer {
    /// Its name.
    pub name: String,
    /// The groups, most points first, then by step.
    pub groups: Vec<MetricGroup>,
    /// How many groups there are more than `limit`.
    pub left_out: u64,
    /// Whether everything was looked at.
    pub complete: bool,
    /// How many points were looked at.
    pub scanned: u64,
}

/// What is known of a metric in one group, in one time step if there are steps. Histograms whose bounds differ cannot be
/// added up, and so are groups of their own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct MetricGroup {
    /// The values of what is grouped by, in its order; null where a point has none.
    pub by: Vec<Value>,
    /// The start of the time step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<i64>,
    /// `gauge`, `sum`, `histogram`, `exponential_histogram` or `summary`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its unit.
    pub unit: String,
    /// Points that were read; where metrics were downsampled, those that are left.
    pub points: u64,
    /// Series, that is processes and sets of attributes.
    pub series: u64,
    /// Of a sum that only grows, or of deltas: what was counted in the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increase: Option<f64>,
    /// The same a second, where the time has a length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Of a gauge, the newest value. Of a sum that goes up and down: the newest values of all series, added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<f64>,
    /// Of a gauge: the smallest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Of a gauge: the largest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Of a gauge: the average of the points. Where metrics were downsampled it is that of the points that are left: the
    /// smallest, the largest and the last of each step of each series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg: Option<f64>,
    /// Of a histogram: the values that were counted in the time. Of a summary: those of its newest points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Values>,
}

/// Values that were counted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Values {
    /// How many.
    pub count: u64,
    /// Their sum, where every sender told one.
    pub sum: Option<f64>,
    /// Their average, likewise.
    pub avg: Option<f64>,
    /// The smallest, where it is known.
    pub min: Option<f64>,
    /// The largest, where it is known.
    pub max: Option<f64>,
    /// The median, as near as the buckets tell.
    pub p50: Option<f64>,
    /// 95 of 100 are at most this, likewise.
    pub p95: Option<f64>,
    /// 99 of 100 are at most this, likewise.
    pub p99: Option<f64>,
    /// The buckets: lower end (excluded; null for none), upper end (included; null for none), count.
    pub buckets: Vec<(Option<f64>, Option<f64>, u64)>,
    /// The scale of an exponential histogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<i32>,
}

//! The narrow trait behind which spans are kept, so that the same questions can be put to more than one engine.
//!
//! An engine hands out spans as Arrow batches. A batch has the columns that were asked for, by the names and types
//! below; those that hold nothing in a part may be left out.
//!
//! | column | type | content |
//! |---|---|---|
//! | `trace_id`, `span_id`, `parent_span_id` | `FixedSizeBinary(16)`, `(8)`, `(8)` nullable | parent null: a root |
//! | `parent_offset` | `Int32`, nullable | how many rows after this one the parent is (less than 0: before), of all rows that the part gives to a scan in any order without `must`; 0: in another part, or more than one has its id; null: a root. Parts of old lack the column |
//! | `service`, `name`, `status_message`, `trace_state` | `Dictionary<Int32, Utf8>`, the last two nullable | |
//! | `kind`, `status` | `Int8` | the numbers of OTLP |
//! | `start` | `Timestamp(ns)`, no zone | |
//! | `duration_ns` | `Int64` | never negative |
//! | `flags`, `dropped_attributes`, `dropped_events`, `dropped_links` | `UInt32` | |
//! | `resource` | `Dictionary<Int32, Utf8>` | JSON `{"attributes":{..},"dropped_attributes_count":n,"schema_url":""}`, what is empty left out |
//! | `scope` | `Dictionary<Int32, Utf8>` | JSON `{"name","version","attributes","dropped_attributes_count","schema_url"}`, likewise |
//! | `a:<key>` | `Dictionary<Int32, Utf8>`, `Utf8`, `Int64`, `Float64` or `Boolean`, nullable | a span attribute with a column of its own; its type may differ between batches |
//! | `attributes` | `Utf8`, nullable | JSON object of the span attributes that are in no column `a:<key>` (values as in [`crate::value`]) |
//! | `events` | `Utf8`, nullable | JSON array of `{"time":ns,"name","attributes":{..},"dropped_attributes_count":n}` |
//! | `links` | `Utf8`, nullable | JSON array of `{"trace_id":hex,"span_id":hex,"trace_state","flags":n,"attributes":{..},"dropped_attributes_count":n}` |
//!
//! Log records have `trace_id` and `span_id` (nullable), `service`, `name` (the event's), `resource`, `scope`, `flags`,
//! `dropped_attributes` and attributes as above, and
//!
//! | column | type | content |
//! |---|---|---|
//! | `time`, `observed` | `Timestamp(ns)`, no zone | `time` is `observed` where the sender told none |
//! | `severity` | `Int8` | the number of OTLP, 0 to 24 |
//! | `severity_text` | `Dictionary<Int32, Utf8>`, nullable | |
//! | `body` | `Utf8`, nullable | a value as in [`crate::value`] |
//! | `batch` | `UInt64` | the same for all records of a request |
//!
//! Data points of metrics have `name`, `service`, `resource`, `scope`, `flags`, `batch` and attributes as above, and
//!
//! | column | type | content |
//! |---|---|---|
//! | `time`, `start_time` | `Timestamp(ns)`, no zone, `start_time` nullable | |
//! | `unit`, `description` | `Dictionary<Int32, Utf8>` | |
//! | `type` | `Dictionary<Int32, Utf8>` | `gauge`, `sum`, `histogram`, `exponential_histogram`, `summary` |
//! | `temporality` | `Dictionary<Int32, Utf8>` | `unspecified`, `delta`, `cumulative` |
//! | `monotonic` | `Boolean` | |
//! | `value`, `int_value` | `Float64`, `Int64`, nullable | the value of a gauge or sum; of an integer both |
//! | `count` | `UInt64`, nullable | of a histogram or summary |
//! | `sum`, `min`, `max` | `Float64`, nullable | likewise |
//! | `buckets` | `Utf8`, nullable | `{"bounds","counts"}`, `{"scale","zero_count","zero_threshold","positive":{"offset","counts"},"negative"}` or `{"quantiles":[[q,value]]}` |
//! | `exemplars` | `Utf8`, nullable | JSON array of `{"time","value","trace_id","span_id","attributes"}` |
//!
//! The value of attribute `k` in a row is `a:k` if that column is there and not null, else what `attributes` has
//! for it if that column is there. An engine that was asked for [`SpanColumn::Attribute`] leaves `attributes` out
//! of a batch where it cannot hold the key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::value::Value;

/// Times of a span's start, in nanoseconds since 1970; from the first, before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a half-open range")]
pub struct TimeRange {
    /// The first nanosecond of it.
    pub from: i64,
    /// The first nanosecond after it.
    pub to: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { from: i64::MIN, to: i64::MAX };

    /// Whether a time is in it.
    pub const fn contains(self, time: i64) -> bool {
        self.from <= time && time < self.to
    }
}

/// An equality that a span must have to be worth reading. It serves to leave out what cannot match: the spans
/// that come may still lack it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Must {
    /// One of these.
    AnyOf(Vec<Self>),
    /// The trace with this id.
    Trace([u8; 16]),
    /// The span with this id.
    Span([u8; 8]),
    /// A span without parent.
    Root,
    /// The service's name.
    Service(String),
    /// The span's name.
    Name(String),
    /// OTLP's number of the span's kind.
    Kind(i8),
    /// OTLP's number of the span's status.
    Status(i8),
    /// An attribute of the span; an array holds a value if one of its elements is it.
    Attribute(String, Value),
    /// An attribute of its resource.
    Resource(String, Value),
    /// An attribute of its scope.
    Scope(String, Value),
    /// An attribute of one of its events.
    Event(String, Value),
    /// The name of one of its events.
    EventName(String),
    /// An attribute of one of its links.
    Link(String, Value),
    /// The trace id of one of its links.
    LinkTrace([u8; 16]),
    /// A duration in nanoseconds of at least this.
    DurationAtLeast(i64),
    /// A duration in nanoseconds of at most this.
    DurationAtMost(i64),
}

/// A column that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SpanColumn {
    /// The column of this name in the table of the module, other than attributes.
    Fixed(&'static str),
    /// One attribute of the span: `a:<key>`, and `attributes` where it may hold the key.
    Attribute(String),
    /// Every attribute of the span: all `a:<key>` and `attributes`.
    Attributes,
}

/// The columns that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Columns {
    /// All that there are.
    All,
    /// These.
    Some(Vec<SpanColumn>),
}

/// The order in which parts are read, and rows come from a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth order of times")]
pub enum Order {
    /// As is quickest.
    #[default]
    Any,
    /// By start time, latest first.
    NewestFirst,
    /// By start time, earliest first.
    OldestFirst,
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the signals of OTLP that are kept")]
pub enum Table {
    /// Spans.
    #[default]
    Spans,
    /// Log records.
    Logs,
    /// Data points of metrics.
    Metrics,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Spans, Self::Logs, Self::Metrics];

    /// The name, as it is in paths and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }

    /// The column that rows are sorted by.
    pub const fn time_column(self) -> &'static str {
        match self {
            Self::Spans => "start",
            Self::Logs | Self::Metrics => "time",
        }
    }
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "made by the planner, read by engines")]
pub struct Scan {
    /// Of which table.
    pub table: Table,
    /// When the spans started.
    pub time: TimeRange,
    /// All of these must hold.
    pub must: Vec<Must>,
    /// What is needed of them.
    pub columns: Columns,
    /// In which order each part gives its rows.
    pub order: Order,
}

/// Goes on, or has seen enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Flow {
    /// More, please.
    Continue,
    /// No more of this part.
    Stop,
}

/// What is called with each batch of a part. The rows of a batch are in the scan's order, and so are the batches of
/// one part.
pub type Visit<'a> = dyn FnMut(&RecordBatch) -> Result<Flow, QueryError> + 'a;

/// Keys of attributes by scope: `span` (the record's own), `resource`, `instrumentation`, `event`, `link`.
pub type Names = BTreeMap<String, BTreeSet<String>>;

/// Spans that can be read on their own, by another thread if need be. It is a snapshot: what arrives later is not in it.
pub trait Part: Send + Sync {
    /// The earliest and the latest start in it, both included; for leaving it out, and for reading in order.
    fn times(&self) -> (i64, i64);

    /// How many spans are in it, whether they match or not.
    fn rows(&self) -> u64;

    /// About how many of them will be read.
    fn to_read(&self) -> u64 {
        self.rows()
    }

    /// A number that stands for what it has of the scan's time, if that will never be more or less: no other rows have it, in
    /// whatever part. What is found out about them by a filter that implies the scan's `must` can be kept by it.
    fn identity(&self) -> Option<u64> {
        None
    }

    /// Which attributes its spans have, if all of them are in the scan and it is known without a look at them.
    fn names(&self) -> Option<Arc<Names>> {
        None
    }

    /// The different texts of a column, one a row, if all of its spans are in the scan and they are known without a look at
    /// them.
    fn values(&self, _column: &SpanColumn) -> Option<RecordBatch> {
        None
    }

    /// Reads it. Returns how many spans were looked at.
    ///
    /// # Errors
    /// What the visitor returned, or that the part cannot be read.
    fn read(&self, control: &Control, visit: &mut Visit<'_>) -> Result<u64, QueryError>;
}

/// Keeps spans, and gives those that may match.
pub trait Engine: Send + Sync + 'static {
    /// The parts that may hold spans of the scan.
    ///
    /// # Errors
    /// When what is needed to tell cannot be read.
    fn parts(&self, scan: &Scan) -> Result<Vec<Box<dyn Part>>, QueryError>;

    /// What was last heard of spans that are not over, as far as the engine is told; they are in no other part.
    ///
    /// # Errors
    /// When what is needed to tell cannot be read.
    fn pending(&self, _scan: &Scan) -> Result<Vec<Box<dyn Part>>, QueryError> {
        Ok(Vec::new())
    }
}

/// Bounds of one question: it is asked between batches.
#[derive(Debug)]
pub struct Control {
    deadline: Option<Instant>,
    cancelled: AtomicBool,
    memory: AtomicUsize,
    memory_limit: usize,
}

impl Control {
    /// With a deadline and a number of bytes that the answer may need while it is made.
    pub const fn new(deadline: Option<Instant>, memory_limit: usize) -> Self {
        Self { deadline, cancelled: AtomicBool::new(false), memory: AtomicUsize::new(0), memory_limit }
    }

    /// Ends the question soon.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether it may go on.
    ///
    /// # Errors
    /// [`QueryError::Cancelled`], or [`QueryError::TimedOut`] once `now` is past the deadline.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(QueryError::Cancelled);
        }
        match self.deadline {
            Some(deadline) if crate::clock::now() >= deadline => Err(QueryError::TimedOut),
            _ => Ok(()),
        }
    }

    /// Notes that the answer needs so many bytes more.
    ///
    /// # Errors
    /// [`QueryError::TooMuchMemory`] when that is over the limit.
    pub fn take_memory(&self, bytes: usize) -> Result<(), QueryError> {
        let used = self.memory.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if used > self.memory_limit {
            Err(QueryError::TooMuchMemory { limit: self.memory_limit })
        } else {
            Ok(())
        }
    }

    /// Notes that so many bytes are free again.
    pub fn give_memory(&self, bytes: usize) {
        self.memory.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryError {
    /// The question is wrong. `at` is the byte of the query where, if it has such a place.
    Invalid {
        /// What is wrong and what was expected.
        message: String,
        /// Where in the query.
        at: Option<usize>,
    },
    /// The question is one of the language, but of a kind that this version does not answer.
    Unsupported {
        /// What is not answered.
        message: String,
        /// Where in the query.
        at: Option<usize>,
    },
    /// It took longer than it may.
    TimedOut,
    /// Whoever asked does not wait any more.
    Cancelled,
    /// It needs more memory than it may.
    TooMuchMemory {
        /// The limit in bytes.
        limit: usize,
    },
    /// Something cannot be read.
    Failed(String),
}

impl QueryError {
    /// A wrong question without a place.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), at: None }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { message, at: None }
            | Self::Unsupported { message, at: None }
            | Self::Failed(message) => f.write_str(message),
            Self::Invalid { message, at: Some(at) } | Self::Unsupported { message, at: Some(at) } => {
                write!(f, "{message} (at byte {at})")
            }
            Self::TimedOut => f.write_str(
                "the query took longer than it may; ask for a shorter time range or a rarer value",
            ),
            Self::Cancelled => f.write_str("the query was cancelled"),
            Self::TooMuchMemory { limit } => {
                write!(
                    f,
                    "the query needs more than {} MB; group by less, or ask for a shorter time range",
                    limit >> 20
                )
            }
        }
    }
}

impl std::error::Error for QueryError {}

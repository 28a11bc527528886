//! What the pipeline did: counters that never stop, and the report made of them.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// Why spans were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LossReason {
    /// The queue was full, of spans or of bytes.
    QueueFull,
    /// The destination could not be reached, or refused, until the export's deadline.
    ExportFailed,
    /// The destination took the request and rejected these spans of it (OTLP partial success).
    Rejected,
    /// A single span was larger than a request may be, even with its values cut.
    TooLarge,
    /// The exporter's thread panicked while it held them, e.g. in a redaction or cost hook.
    WorkerPanic,
    /// They were still waiting when the deadline of the shutdown passed, or ended after it.
    Shutdown,
}

impl LossReason {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::QueueFull,
        Self::ExportFailed,
        Self::Rejected,
        Self::TooLarge,
        Self::WorkerPanic,
        Self::Shutdown,
    ];

    /// The value of the attribute `agentvitals.reason` on the metric of lost spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::ExportFailed => "export_failed",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
            Self::WorkerPanic => "worker_panic",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for LossReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Counters of a pipeline. Each span that ended is, once the pipeline has been flushed or shut down, either
/// exported or lost for one reason: `ended == exported + lost`.
#[derive(Debug, Default)]
pub struct ExportStats {
    ended: AtomicU64,
    exported: AtomicU64,
    lost: [AtomicU64; LossReason::ALL.len()],
    truncated: AtomicU64,
    redaction_failures: AtomicU64,
    rollups_evicted: AtomicU64,
    metric_exports: AtomicU64,
    metric_export_failures: AtomicU64,
    panics: AtomicU64,
    up: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl ExportStats {
    /// Sampled spans that ended.
    pub fn spans_ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Spans that the destination took.
    pub fn spans_exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Spans that were lost for `reason`.
    pub fn spans_lost(&self, reason: LossReason) -> u64 {
        self.lost[reason as usize].load(Ordering::Relaxed)
    }

    /// Spans that were lost for any reason.
    pub fn spans_lost_total(&self) -> u64 {
        LossReason::ALL.into_iter().map(|reason| self.spans_lost(reason)).sum()
    }

    /// Attribute values and descriptions that were cut to their limit.
    pub fn values_truncated(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }

    /// Values that were replaced because a redaction hook panicked on them.
    pub fn redaction_failures(&self) -> u64 {
        self.redaction_failures.load(Ordering::Relaxed)
    }

    /// Open spans whose sums of tokens and cost were given up because too many were open.
    pub fn rollups_evicted(&self) -> u64 {
        self.rollups_evicted.load(Ordering::Relaxed)
    }

    /// Collections of metrics that the destination took.
    pub fn metric_exports(&self) -> u64 {
        self.metric_exports.load(Ordering::Relaxed)
    }

    /// Collections of metrics that the destination did not take. Cumulative ones lose nothing by it: the
    /// next export has the same sums.
    pub fn metric_export_failures(&self) -> u64 {
        self.metric_export_failures.load(Ordering::Relaxed)
    }

    /// Panics on the exporter's thread, from each of which it recovered.
    pub fn worker_panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Whether the exporter's thread works: false before it has started, from a panic until it has done its
    /// next piece of work, and after the shutdown.
    pub fn up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// The last thing that went wrong, if anything did.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().map_or(None, |error| error.clone())
    }

    /// The counters now, as one value.
    pub fn report(&self) -> Report {
        let lost = |reason| (reason, self.spans_lost(reason));
        Report {
            spans_ended: self.spans_ended(),
            spans_exported: self.spans_exported(),
            spans_lost: LossReason::ALL.into_iter().map(lost).filter(|(_, count)| *count > 0).collect(),
            values_truncated: self.values_truncated(),
            metric_exports: self.metric_exports(),
            metric_export_failures: self.metric_export_failures(),
            worker_panics: self.worker_panics(),
            last_error: self.last_error(),
        }
    }

    #[inline]
    pub(crate) fn add_ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_exported(&self, count: u64) {
        self.exported.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn add_lost(&self, reason: LossReason, count: u64) {
        self.lost[reason as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn add_truncated(&self, count: u64) {
        self.truncated.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn add_redaction_failure(&self) {
        self.redaction_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_rollup_evicted(&self) {
        self.rollups_evicted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_metric_export(&self, delivered: bool) {
        let counter = if delivered { &self.metric_exports } else { &self.metric_export_failures };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    pub(crate) fn set_last_error(&self, error: String) {
        if let Ok(mut last) = self.last_error.lock() {
            *last = Some(error);
        }
    }
}

/// Counts what becomes of one batch after the other, and knows how much of the current one is still open.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) stats: Arc<ExportStats>,
    open: Cell<u64>,
}

impl Tally {
    pub(crate) fn new(stats: Arc<ExportStats>) -> Self {
        Self { stats, open: Cell::new(0) }
    }

    /// Begins a batch.
    pub(crate) fn begin(&self, spans: u64) {
        self.open.set(spans);
    }

    pub(crate) fn exported(&self, count: u64) {
        self.stats.add_exported(self.settle(count));
    }

    pub(crate) fn lost(&self, reason: LossReason, count: u64) {
        self.stats.add_lost(reason, self.settle(count));
    }

    /// Counts what is open as lost, as after a panic.
    pub(crate) fn lost_rest(&self, reason: LossReason) {
        self.lost(reason, self.open.get());
    }

    /// No span is counted twice, whatever an exporter claims.
    fn settle(&self, count: u64) -> u64 {
        let count = count.min(self.open.get());
        self.open.set(self.open.get() - count);
        count
    }
}

/// What was sent and what was lost, in total since the pipeline started.
///
/// Prints as one line and serialises as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Sampled spans that ended.
    pub spans_ended: u64,
    /// Spans that the destination took.
    pub spans_exported: u64,
    /// Spans that were lost, by reason; reasons without a loss are left out.
    #[serde(serialize_with = "as_map")]
    pub spans_lost: Vec<(LossReason, u64)>,
    /// Values that were cut to their limit.
    pub values_truncated: u64,
    /// Collections of metrics that the destination took.
    pub metric_exports: u64,
    /// Collections of metrics that the destination did not take.
    pub metric_export_failures: u64,
    /// Panics on the exporter's thread.
    pub worker_panics: u64,
    /// The last thing that went wrong, if anything did.
    pub last_error: Option<String>,
}

impl Report {
    /// Spans that were lost for any reason.
    pub fn lost(&self) -> u64 {
        self.spans_lost.iter().map(|(_, count)| count).sum()
    }

    /// Spans that were lost for `reason`.
    pub fn lost_for(&self, reason: LossReason) -> u64 {
        self.spans_lost.iter().find(|(other, _)| *other == reason).map_or(0, |(_, count)| *count)
    }

    /// Whether every span that ended was delivered.
    pub fn is_complete(&self) -> bool {
        self.spans_ended == self.spans_exported
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} spans exported", self.spans_exported, self.spans_ended)?;
        if self.lost() > 0 {
            let reasons: Vec<String> =
                self.spans_lost.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            write!(f, ", {} lost ({})", self.lost(), reasons.join(", "))?;
        }
        write!(f, ", metrics exported {} times", self.metric_exports)?;
        if self.metric_export_failures > 0 {
            write!(f, " and failed {} times", self.metric_export_failures)?;
        }
        if let Some(error) = &self.last_error {
            write!(f, "; last error: {error}")?;
        }
        Ok(())
    }
}

fn as_map<S: Serializer>(lost: &[(LossReason, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(lost.len()))?;
    for (reason, count) in lost {
        map.serialize_entry(reason.as_str(), count)?;
    }
    map.end()
}

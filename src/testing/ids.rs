//! Ids that are the same in every run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::IdGenerator;

/// Numbers traces 1, 2, 3 and spans 1, 2, 3, in the order in which they start. Clones share the numbers.
///
/// ```
/// use agentvitals::testing::DeterministicIds;
/// use opentelemetry_sdk::trace::IdGenerator as _;
/// let ids = DeterministicIds::new();
/// assert_eq!(ids.new_span_id().to_string(), "0000000000000001");
/// assert_eq!(ids.new_span_id().to_string(), "0000000000000002");
/// ```
#[derive(Debug, Clone, Default)]
pub struct DeterministicIds {
    last: Arc<Last>,
}

#[derive(Debug, Default)]
struct Last {
    trace: AtomicU64,
    span: AtomicU64,
}

impl DeterministicIds {
    /// Starts both at 1: 0 is no valid id.
    pub fn new() -> Self {
        Self::default()
    }
}

impl IdGenerator for DeterministicIds {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from(u128::from(self.last.trace.fetch_add(1, Ordering::Relaxed) + 1))
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from(self.last.span.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

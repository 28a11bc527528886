//! The span processor: what the tracer hands ended spans to.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use super::handle::Handle;
use super::queue::SpanQueue;

/// Takes ended spans into the pipeline's queue. Add it to a `SdkTracerProvider` with `with_span_processor`.
///
/// `force_flush` blocks until all spans that ended before were exported or counted, at most 5 s. A `shutdown`
/// by the tracer provider flushes likewise; the pipeline itself is shut down with
/// [`Pipeline::shutdown`](super::Pipeline::shutdown), which says what was lost.
#[derive(Debug, Clone)]
pub struct PipelineProcessor {
    pub(super) queue: Arc<SpanQueue>,
    pub(super) handle: Handle,
}

impl PipelineProcessor {
    fn flush(&self, deadline: Duration) -> OTelSdkResult {
        match self.handle.flush_blocking(deadline) {
            Ok(_) => Ok(()),
            Err(error) if error.is_timeout() => Err(OTelSdkError::Timeout(deadline)),
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        }
    }
}

impl SpanProcessor for PipelineProcessor {
    #[inline]
    fn on_start(&self, _span: &mut Span, _cx: &Context) {}

    #[inline]
    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.queue.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.flush(Duration::from_secs(5))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.flush(timeout)
    }
}

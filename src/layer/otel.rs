//! The OpenTelemetry layer that stands beside this one, if there is one.

use std::sync::atomic::{AtomicU8, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::trace::TraceContextExt as _;
use tracing::span::Id;

use super::Shared;
use crate::names::Name;
use crate::semconv::attr;

/// Nothing is known of an OpenTelemetry layer beside this one.
const UNKNOWN: u8 = 0;
/// There is one.
const SEEN: u8 = 1;
/// It comes after this layer, as it should.
const RIGHT: u8 = 2;
/// It comes before this layer.
const WRONG: u8 = 3;

/// There is none.
const ALONE: u8 = 4;
/// After so many operations without data of an OpenTelemetry layer there is none: the first ones may have been filtered.
const MAX_LOOKS: u8 = 100;

/// What is known of the OpenTelemetry layer.
#[derive(Debug, Default)]
pub(super) struct Beside {
    order: AtomicU8,
    looks: AtomicU8,
}

impl Beside {
    #[inline]
    pub(super) fn is_unknown(&self) -> bool {
        self.order.load(Ordering::Relaxed) == UNKNOWN
    }

    #[inline]
    pub(super) fn is_unjudged(&self) -> bool {
        self.order.load(Ordering::Relaxed) == SEEN
    }
}

impl Shared {
    /// Whether this layer was found to stand behind an OpenTelemetry layer.
    pub(crate) fn is_behind_otel_layer(&self) -> bool {
        self.otel.order.load(Ordering::Relaxed) == WRONG
    }

    /// Puts the error that only this layer has seen on the OpenTelemetry span, if there is one within reach: the
    /// OpenTelemetry layer must have been added after this one.
    #[cold]
    pub(super) fn mark_span(&self, id: &Id, error_type: Name) {
        if let Some(context) = self.otel_context(id) {
            context.span().set_attribute(KeyValue::new(attr::ERROR_TYPE, error_type.as_str()));
        }
    }

    fn otel_context(&self, id: &Id) -> Option<opentelemetry::Context> {
        tracing_opentelemetry::get_otel_context(id, &self.dispatch()?)
    }

    /// Finds out whether there is an OpenTelemetry layer: when an operation is left, it has data of the span.
    #[cold]
    pub(super) fn look_for_otel_layer(&self, id: &Id) {
        if self.otel_context(id).is_some() {
            self.otel.order.store(SEEN, Ordering::Relaxed);
        } else if self.otel.looks.fetch_add(1, Ordering::Relaxed) >= MAX_LOOKS {
            self.otel.order.store(ALONE, Ordering::Relaxed);
        }
    }

    /// Finds out once in which order the layers stand: one that comes before this one has thrown its data of a span
    /// away when this one hears of the end.
    #[cold]
    pub(super) fn judge_otel_order(&self, id: &Id) {
        let order = if self.otel_context(id).is_some() { RIGHT } else { WRONG };
        self.otel.order.store(order, Ordering::Relaxed);
        if order == WRONG
            && let Some(worker) = self.worker.get()
        {
            // It tells the program.
            worker.unpark();
        }
    }

    /// Calls `f` with the subscriber of this layer as the current one.
    pub(crate) fn in_its_subscriber(&self, f: impl FnOnce()) {
        if let Some(dispatch) = self.dispatch() {
            tracing::dispatcher::with_default(&dispatch, f);
        }
    }
}

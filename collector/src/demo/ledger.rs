//! The agents' own account of their spans, taken beside the SDK and without it.
//!
//! An endpoint that is somebody else's cannot be asked what it got. What the demo then tells is what the agents
//! recorded, as it was before anything was exported.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use agentvitals::testing::ReceivedSpan;
use serde_json::Value;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// A layer that keeps the fields of all spans of the demo's agents. Clones share what they keep.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Vec<ReceivedSpan>>>);

impl Ledger {
    /// The spans that have ended, with the fields as they were recorded.
    pub(super) fn take(&self) -> Vec<ReceivedSpan> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A span while it is open.
struct Open(ReceivedSpan);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ledger {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        // Those of the HTTP client are none of the agents'.
        if attributes.metadata().target() != super::agent::TARGET {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let mut open = Open(ReceivedSpan::default());
        attributes.metadata().name().clone_into(&mut open.0.name);
        attributes.record(&mut open);
        span.extensions_mut().replace(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(open);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let open = context.span(&id).and_then(|span| span.extensions_mut().remove::<Open>());
        if let Some(Open(span)) = open {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
        }
    }
}

impl Open {
    fn set(&mut self, field: &Field, value: Value) {
        self.0.attributes.insert(field.name().to_owned(), value);
    }
}

impl Visit for Open {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, format!("{value:?}").into());
    }
}

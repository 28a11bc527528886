//! The agents' own account of their spans, taken beside the SDK and without it.
//!
//! An endpoint that is somebody else's cannot be asked what it got. What the demo then tells is what the agents
//! recorded, as it was before anything was exported.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use agentvitals::cost::{ModelCall, Prices, Pricing as _};
use agentvitals::semconv::{attr, operation};
use agentvitals::testing::ReceivedSpan;
use agentvitals::{Clock, Usage};
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

/// Puts the cost on model calls, as the SDK does on their way out.
pub(super) fn price(spans: &mut [ReceivedSpan]) {
    let (prices, now) = (Prices::default(), Clock::system().wall());
    for span in spans.iter_mut().filter(|span| span.str(attr::OPERATION_NAME) == Some(operation::CHAT)) {
        let tokens = |key| span.int(key).and_then(|count| u64::try_from(count).ok());
        let mut usage = Usage::default();
        usage.input_tokens = tokens(attr::USAGE_INPUT_TOKENS);
        usage.output_tokens = tokens(attr::USAGE_OUTPUT_TOKENS);
        usage.cache_read_tokens = tokens(attr::USAGE_CACHE_READ);
        usage.cache_write_tokens = tokens(attr::USAGE_CACHE_WRITE);
        usage.reasoning_tokens = tokens(attr::USAGE_REASONING);
        let call = ModelCall::new(usage, now)
            .provider(span.str(attr::PROVIDER_NAME))
            .request_model(span.str(attr::REQUEST_MODEL))
            .response_model(span.str(attr::RESPONSE_MODEL));
        if let Some(cost) = prices.price(&call).known() {
            span.attributes.insert(attr::USAGE_COST_AMOUNT.to_owned(), cost.usd().into());
        }
    }
}

/// A span while it is open.
struct Open(ReceivedSpan);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ledger {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
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

//! The cost of exported spans, from the same prices as the cost in the metrics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use opentelemetry::Value;
use opentelemetry_sdk::trace::SpanData;

use crate::cost::{ModelCall, Price, Pricing, UnknownReason};
use crate::export::{CostOf, CostOutcome};
use crate::operation::Usage;
use crate::semconv::attr;

/// Prices of the user's making: a panic in them is an unknown price, and harms no other measurement or span.
#[derive(Debug)]
pub(super) struct Guarded(pub(super) Arc<dyn Pricing>);

impl Pricing for Guarded {
    fn price(&self, call: &ModelCall<'_>) -> Price {
        catch_unwind(AssertUnwindSafe(|| self.0.price(call)))
            .unwrap_or(Price::Unknown(UnknownReason::ModelNotFound))
    }

    fn warm_up(&self) {
        // Only a head start: what fails here fails at the first call again.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.warm_up()));
    }
}

/// Prices spans.
#[derive(Debug)]
pub(super) struct SpanCost {
    pricing: Arc<dyn Pricing>,
}

impl SpanCost {
    pub(super) fn new(pricing: Arc<dyn Pricing>) -> Self {
        Self { pricing }
    }
}

impl CostOf for SpanCost {
    fn cost(&self, span: &SpanData) -> CostOutcome {
        let mut usage = Usage::default();
        let (mut provider, mut request_model, mut response_model) = (None, None, None);
        for attribute in &span.attributes {
            let text = |value: &'_ Value| match value {
                Value::String(text) => Some(text.as_str().to_owned()),
                _ => None,
            };
            let value = &attribute.value;
            match attribute.key.as_str() {
                attr::PROVIDER_NAME => provider = text(value),
                attr::REQUEST_MODEL => request_model = text(value),
                attr::RESPONSE_MODEL => response_model = text(value),
                attr::USAGE_INPUT_TOKENS => usage.input_tokens = count(value),
                attr::USAGE_OUTPUT_TOKENS => usage.output_tokens = count(value),
                attr::USAGE_CACHE_READ => usage.cache_read_tokens = count(value),
                attr::USAGE_CACHE_WRITE | attr::USAGE_CACHE_CREATION => {
                    usage.cache_write_tokens = count(value)
                }
                attr::USAGE_REASONING => usage.reasoning_tokens = count(value),
                _ => {}
            }
        }
        if usage.is_empty() {
            return CostOutcome::NoUsage;
        }
        let call = ModelCall::new(usage, span.end_time)
            .provider(provider.as_deref())
            .request_model(request_model.as_deref())
            .response_model(response_model.as_deref());
        match self.pricing.price(&call) {
            Price::Known(cost) => CostOutcome::Known(cost.get()),
            Price::Unknown(UnknownReason::NoUsage) => CostOutcome::NoUsage,
            Price::Unknown(_) => CostOutcome::Unknown,
        }
    }
}

/// A count as the layer reads it: integers, whole floats and numbers in texts.
fn count(value: &Value) -> Option<u64> {
    match value {
        Value::I64(count) => u64::try_from(*count).ok(),
        Value::F64(count) if count.is_finite() && *count >= 0.0 => Some(*count as u64),
        Value::String(text) => text.as_str().parse().ok(),
        _ => None,
    }
}

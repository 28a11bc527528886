//! Sums of tokens and cost of what happened below a span.
//!
//! Tokens and cost are counted at the model calls. Agents and workflows get the sums of the calls below them
//! under names of their own, so that adding up all spans never counts a token twice. Children end before
//! their parents, so the sums travel upwards as spans end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

use super::stats::ExportStats;
use crate::operation::OperationKind;
use crate::semconv::attr;

/// Open spans whose sums are kept.
const CAPACITY: usize = 16_384;

type SpanKey = (TraceId, SpanId);

/// What the model calls below a span used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sums {
    /// `None` if no call reported any: absent is not 0.
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) nano_usd: u64,
    /// Whether any call had a price.
    pub(crate) priced: bool,
    /// Whether any call had none.
    pub(crate) partial: bool,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.input_tokens = plus(self.input_tokens, other.input_tokens);
        self.output_tokens = plus(self.output_tokens, other.output_tokens);
        self.nano_usd = self.nano_usd.saturating_add(other.nano_usd);
        self.priced |= other.priced;
        self.partial |= other.partial;
    }

    fn write(&self, attributes: &mut Vec<KeyValue>) {
        let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        if let Some(count) = self.input_tokens {
            attributes.push(KeyValue::new(attr::AGGREGATED_INPUT_TOKENS, tokens(count)));
        }
        if let Some(count) = self.output_tokens {
            attributes.push(KeyValue::new(attr::AGGREGATED_OUTPUT_TOKENS, tokens(count)));
        }
        if self.priced {
            attributes.push(KeyValue::new(attr::AGGREGATED_COST_AMOUNT, usd(self.nano_usd)));
        }
        if self.partial {
            attributes.push(KeyValue::new(attr::COST_PARTIAL, true));
        }
    }
}

fn plus(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

/// Billionths of a dollar in dollars.
pub(crate) fn usd(nano: u64) -> f64 {
    nano as f64 / 1e9
}

/// The sums below the spans that are still open.
#[derive(Debug)]
pub(crate) struct Rollups {
    open: HashMap<SpanKey, Sums>,
    /// Keys in the order in which they came, for giving up the oldest. May hold keys that are gone.
    order: VecDeque<SpanKey>,
    stats: Arc<ExportStats>,
}

impl Rollups {
    pub(crate) fn new(stats: Arc<ExportStats>) -> Self {
        Self { open: HashMap::new(), order: VecDeque::new(), stats }
    }

    /// Takes a span that ended, with what it used itself if it is a model call, writes the sums of what was
    /// below it if it is an agent or a workflow, and hands them on to its parent.
    pub(crate) fn end(&mut self, span: &mut SpanData, kind: Option<OperationKind>, own: Option<Sums>) {
        let trace = span.span_context.trace_id();
        let below = self.open.remove(&(trace, span.span_context.span_id()));
        if let Some(sums) = &below
            && matches!(kind, Some(OperationKind::Agent | OperationKind::Workflow))
        {
            sums.write(&mut span.attributes);
        }
        let up = match (below, own) {
            (Some(mut below), Some(own)) => {
                below.add(&own);
                below
            }
            (Some(sums), None) | (None, Some(sums)) => sums,
            (None, None) => return,
        };
        let has_parent_here = span.parent_span_id != SpanId::INVALID && !span.parent_span_is_remote;
        if has_parent_here {
            self.open_entry((trace, span.parent_span_id)).add(&up);
        }
    }

    fn open_entry(&mut self, key: SpanKey) -> &mut Sums {
        if !self.open.contains_key(&key) {
            self.make_room();
            self.order.push_back(key);
        }
        self.open.entry(key).or_default()
    }

    fn make_room(&mut self) {
        while self.open.len() >= CAPACITY {
            let Some(oldest) = self.order.pop_front() else { break };
            if self.open.remove(&oldest).is_some() {
                self.stats.add_rollup_evicted();
            }
        }
        if self.order.len() >= 2 * CAPACITY {
            self.order.retain(|key| self.open.contains_key(key));
        }
    }
}

/// The tokens that a model call reports, with its cost.
pub(crate) fn own_sums(attributes: &[KeyValue], nano_usd: Option<u64>, partial: bool) -> Sums {
    let tokens = |key| attributes.iter().find(|a| a.key.as_str() == key).map(|a| count(&a.value));
    Sums {
        input_tokens: tokens(attr::USAGE_INPUT_TOKENS),
        output_tokens: tokens(attr::USAGE_OUTPUT_TOKENS),
        nano_usd: nano_usd.unwrap_or(0),
        priced: nano_usd.is_some(),
        partial,
    }
}

/// A count as libraries write it: mostly an integer, sometimes a float or a text.
fn count(value: &Value) -> u64 {
    match value {
        Value::I64(count) => u64::try_from(*count).unwrap_or(0),
        // Saturates, and takes negative values and NaN for 0.
        Value::F64(count) => *count as u64,
        Value::String(text) => text.as_str().trim().parse().unwrap_or(0),
        _ => 0,
    }
}

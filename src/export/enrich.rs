//! What becomes of a span between its end and its export: names, kinds and status by the conventions, cost,
//! sums. Runs on the exporter's thread, so it costs the traced program nothing, and sees every span, whoever
//! wrote it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::SpanData;

use super::SpanObserver;
use super::redact::Guard;
use super::rollup::{Rollups, Sums, own_sums, usd};
use super::stats::ExportStats;
use crate::errors::ErrorClass;
use crate::operation::OperationKind;
use crate::semconv::{attr, error_type, operation};

/// What a model call cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CostOutcome {
    /// The price is known: billionths of a US dollar.
    Known(u64),
    /// The call used tokens, but its price is unknown. Never 0: sums above it are marked as partial.
    Unknown,
    /// Nothing was used, or nothing is known of it.
    NoUsage,
}

/// Says what a model call cost.
pub trait CostOf: Send + Sync + fmt::Debug {
    /// The cost of the call that `span` is. Called once a model call, on the exporter's thread.
    fn cost(&self, span: &SpanData) -> CostOutcome;
}

/// See the module.
pub(crate) struct Enricher {
    guard: Guard,
    cost: Option<Arc<dyn CostOf>>,
    rollups: Rollups,
    observers: Vec<SpanObserver>,
}

impl fmt::Debug for Enricher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enricher")
            .field("guard", &self.guard)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl Enricher {
    pub(crate) fn new(guard: Guard, cost: Option<Arc<dyn CostOf>>, stats: Arc<ExportStats>) -> Self {
        Self { guard, cost, rollups: Rollups::new(stats), observers: Vec::new() }
    }

    /// Shows each span to these, when it is ready.
    pub(crate) fn with_observers(mut self, observers: Vec<SpanObserver>) -> Self {
        self.observers = observers;
        self
    }

    /// Makes a span ready for export.
    pub(crate) fn enrich(&mut self, span: &mut SpanData) {
        keep_last_of_duplicates(&mut span.attributes);
        let what = What::of(span);
        if what.is_operation() {
            normalise(&mut span.attributes);
            span.span_kind = kind(&what, &span.span_kind);
            settle_status(span);
        }
        let own = match what.kind {
            Some(kind) if kind.counts_usage() => Some(self.price(span)),
            _ => None,
        };
        self.rollups.end(span, what.kind, own);
        self.guard.redact(span);
        if what.is_operation() {
            // After redaction, so that the name holds no more than the attributes do.
            span.name = name(&what, span).into();
        } else {
            self.guard.redact_name(span);
        }
        self.guard.limit(span);
        for observer in &self.observers {
            observer(span);
        }
    }

    /// Writes the cost of a model call, unless it has one already, and returns what the call adds to the sums.
    fn price(&self, span: &mut SpanData) -> Sums {
        if let Some(amount) = find(&span.attributes, attr::USAGE_COST_AMOUNT) {
            let currency = text(&span.attributes, attr::USAGE_COST_CURRENCY);
            let in_usd = currency.is_none_or(|currency| currency.eq_ignore_ascii_case("USD"));
            let nano = match amount {
                Value::F64(amount) if in_usd && *amount >= 0.0 => Some((amount * 1e9).round() as u64),
                Value::I64(amount) if in_usd => {
                    u64::try_from(*amount).ok().map(|amount| amount.saturating_mul(1_000_000_000))
                }
                _ => None,
            };
            return own_sums(&span.attributes, nano, nano.is_none());
        }
        let outcome = self.cost.as_ref().map_or(CostOutcome::NoUsage, |cost| cost.cost(span));
        match outcome {
            CostOutcome::Known(nano) => {
                span.attributes.push(KeyValue::new(attr::USAGE_COST_AMOUNT, usd(nano)));
                span.attributes.push(KeyValue::new(attr::USAGE_COST_CURRENCY, "USD"));
                span.attributes.push(KeyValue::new(attr::USAGE_COST_SOURCE, "local"));
                own_sums(&span.attributes, Some(nano), false)
            }
            CostOutcome::Unknown => own_sums(&span.attributes, None, true),
            CostOutcome::NoUsage => own_sums(&span.attributes, None, false),
        }
    }
}

/// What a span is.
#[derive(Debug)]
struct What {
    /// `gen_ai.operation.name`, as it was written.
    operation: Option<StringValue>,
    kind: Option<OperationKind>,
    /// `mcp.method.name`.
    method: Option<StringValue>,
    /// Whether the span is a request of MCP rather than (only) the call of a tool.
    is_mcp: bool,
}

impl What {
    fn of(span: &SpanData) -> Self {
        let string = |key| match find(&span.attributes, key) {
            Some(Value::String(text)) if !text.as_str().is_empty() => Some(text.clone()),
            _ => None,
        };
        let operation = string(attr::OPERATION_NAME);
        let method = string(attr::MCP_METHOD_NAME);
        let on_the_wire = matches!(span.span_kind, SpanKind::Client | SpanKind::Server);
        // One span may be both the execution of a tool and the request that does it: its kind tells which.
        let is_mcp = method.is_some() && (operation.is_none() || on_the_wire);
        let kind = operation.as_ref().map(|name| OperationKind::from_name(name.as_str()));
        Self { operation, kind, method, is_mcp }
    }

    fn is_operation(&self) -> bool {
        self.operation.is_some() || self.method.is_some()
    }
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|attribute| &attribute.value)
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<Cow<'a, str>> {
    find(attributes, key).map(Value::as_str).filter(|text| !text.is_empty())
}

/// The name that the conventions give a span: `{operation} {target}`, the operation alone without a target.
fn name(what: &What, span: &SpanData) -> String {
    let attribute = |key| text(&span.attributes, key);
    let (first, target) = match (&what.method, &what.operation) {
        (Some(method), _) if what.is_mcp => {
            (method.as_str(), attribute(attr::TOOL_NAME).or_else(|| attribute(attr::PROMPT_NAME)))
        }
        (_, Some(operation)) => {
            let target = match what.kind {
                Some(OperationKind::Agent | OperationKind::Plan) => attribute(attr::AGENT_NAME),
                Some(OperationKind::Tool) => attribute(attr::TOOL_NAME),
                Some(OperationKind::Workflow) => attribute(attr::WORKFLOW_NAME),
                Some(OperationKind::Retrieval) => attribute(attr::DATA_SOURCE_ID),
                Some(OperationKind::Memory | OperationKind::FetchResponse) => None,
                _ if operation.as_str() == operation::CREATE_AGENT => attribute(attr::AGENT_NAME),
                _ => attribute(attr::REQUEST_MODEL),
            };
            (operation.as_str(), target)
        }
        _ => return span.name.to_string(),
    };
    match target {
        Some(target) => format!("{first} {target}"),
        None => first.to_owned(),
    }
}

/// The kind that the conventions give a span. `Internal` is what a span has that nobody gave one; any other
/// was chosen and stays.
fn kind(what: &What, current: &SpanKind) -> SpanKind {
    if *current != SpanKind::Internal {
        return current.clone();
    }
    let creates_agent =
        || what.operation.as_ref().is_some_and(|name| name.as_str() == operation::CREATE_AGENT);
    let remote = what.is_mcp
        || match what.kind {
            Some(
                OperationKind::Model
                | OperationKind::Embeddings
                | OperationKind::Retrieval
                | OperationKind::FetchResponse
                | OperationKind::Memory,
            ) => true,
            _ => creates_agent(),
        };
    if remote { SpanKind::Client } else { SpanKind::Internal }
}

/// Error if and only if the operation failed. The tracing bridge marks a span at any log line of level ERROR
/// inside it, also when the operation then succeeds; only an error that came with a description (one that was
/// returned) counts without an `error.type`. `Ok` is not for instrumentation to write.
fn settle_status(span: &mut SpanData) {
    let description = match &span.status {
        Status::Error { description } => description.clone(),
        _ => Cow::Borrowed(""),
    };
    let has_type = text(&span.attributes, attr::ERROR_TYPE).is_some();
    if !has_type && description.is_empty() {
        span.status = Status::Unset;
        return;
    }
    if !has_type {
        span.attributes.retain(|attribute| attribute.key.as_str() != attr::ERROR_TYPE);
        span.attributes.push(KeyValue::new(attr::ERROR_TYPE, error_type::OTHER));
    }
    let description =
        if description.is_empty() { exception_message(span).unwrap_or_default() } else { description };
    classify(span, &description);
    span.status = Status::Error { description };
}

/// Groups the many values of `error.type`, and says whether trying again may help.
fn classify(span: &mut SpanData, description: &str) {
    if find(&span.attributes, attr::ERROR_CLASS).is_some() {
        return;
    }
    let class = match text(&span.attributes, attr::ERROR_TYPE).map(|error_type| ErrorClass::of(&error_type)) {
        Some(class) if class != ErrorClass::Other => class,
        _ => ErrorClass::of(description),
    };
    span.attributes.push(KeyValue::new(attr::ERROR_CLASS, class.as_str()));
    span.attributes.push(KeyValue::new(attr::ERROR_RETRYABLE, class.is_retryable()));
}

fn exception_message(span: &SpanData) -> Option<Cow<'static, str>> {
    let exception = span.events.iter().rev().find(|event| event.name == "exception")?;
    text(&exception.attributes, "exception.message").map(|message| Cow::Owned(message.into_owned()))
}

/// The tracing bridge appends when a field is recorded again; what was recorded last holds, in the place of
/// the first.
fn keep_last_of_duplicates(attributes: &mut Vec<KeyValue>) {
    let duplicate = |(index, attribute): (usize, &KeyValue)| {
        attributes[..index].iter().any(|earlier| earlier.key == attribute.key)
    };
    // Spans have few attributes, and nearly all have no duplicates: look before allocating.
    if attributes.len() <= 32 && !attributes.iter().enumerate().any(duplicate) {
        return;
    }
    let mut places = HashMap::with_capacity(attributes.len());
    let mut kept: Vec<KeyValue> = Vec::with_capacity(attributes.len());
    for attribute in attributes.drain(..) {
        match places.get(&attribute.key) {
            Some(&place) => kept[place] = attribute,
            None => {
                places.insert(attribute.key.clone(), kept.len());
                kept.push(attribute);
            }
        }
    }
    *attributes = kept;
}

/// Brings what libraries write into the forms of the conventions.
fn normalise(attributes: &mut Vec<KeyValue>) {
    attributes.retain(|attribute| {
        let key = attribute.key.as_str();
        !matches!(key, "target" | "level" | "busy_ns" | "idle_ns") && !key.starts_with("thread.")
    });
    for attribute in attributes.iter_mut().filter(|a| a.key.as_str() == attr::RESPONSE_FINISH_REASONS) {
        if let Value::String(text) = &attribute.value {
            attribute.value = Value::Array(Array::String(reasons(text.as_str())));
        }
    }
    // The tracing bridge writes unsigned integers as texts, and most clients have their counts as `u32` or `u64`.
    for attribute in attributes.iter_mut().filter(|a| attr::is_integer(a.key.as_str())) {
        if let Value::String(text) = &attribute.value
            && let Ok(number) = text.as_str().parse()
        {
            attribute.value = Value::I64(number);
        }
    }
    let copy = |attributes: &mut Vec<KeyValue>, from: &'static str, to: &'static str| {
        if find(attributes, to).is_none()
            && let Some(value) = find(attributes, from).cloned()
        {
            attributes.push(KeyValue::new(to, value));
        }
    };
    copy(attributes, attr::SYSTEM, attr::PROVIDER_NAME);
    copy(attributes, attr::USAGE_CACHE_CREATION, attr::USAGE_CACHE_WRITE);
}

/// Finish reasons from a text: a JSON array of texts, else words between commas.
fn reasons(text: &str) -> Vec<StringValue> {
    if let Ok(reasons) = serde_json::from_str::<Vec<String>>(text) {
        return reasons.into_iter().map(StringValue::from).collect();
    }
    // `Debug` of a list of enums, as `?reasons` writes it, differs by brackets and quotes only.
    let text = text.trim().trim_start_matches('[').trim_end_matches(']');
    text.split(',')
        .map(|reason| reason.trim().trim_matches('"'))
        .filter(|reason| !reason.is_empty())
        .map(|reason| StringValue::from(reason.to_owned()))
        .collect()
}

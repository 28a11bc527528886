//! Recording what an operation did, with types.

use std::error::Error as StdError;
use std::time::Duration;

use tracing::Span;
use tracing::field::Value;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::errors::ErrorClass;
use crate::layer::AgentLayer;
use crate::names::Name;
use crate::operation::{Amount, Operation, Outcome, Usage, hash_of};
use crate::semconv::{attr, error_type};

/// What a model answered, apart from its tokens and its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    id: Option<String>,
    model: Option<String>,
    finish_reasons: Vec<String>,
}

impl Response {
    /// A response of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The provider's id of the response.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// The model that answered.
    #[must_use]
    pub fn model(self, model: impl Into<String>) -> Self {
        Self { model: Some(model.into()), ..self }
    }

    /// Why the model stopped; call it once for each choice.
    #[must_use]
    pub fn finish_reason(mut self, reason: impl Into<String>) -> Self {
        self.finish_reasons.push(reason.into());
        self
    }
}

/// Records what happens in an operation on its [`tracing::Span`].
///
/// Each method works on every span, whoever made it. A field that the span did not declare is set around `tracing`,
/// on the OpenTelemetry span and in the metrics; other layers, such as a console, do not see it, so debug builds say
/// once which field to declare. On a disabled span nothing happens.
///
/// ```
/// use agentvitals::{RecordOperation as _, Usage};
///
/// #[tracing::instrument(fields(gen_ai.operation.name = "chat", gen_ai.request.model = "gpt-4o"))]
/// async fn ask() {
///     tracing::Span::current().record_usage(Usage::new(12, 34));
/// }
/// ```
pub trait RecordOperation {
    /// Tokens of the model call. What is `None` is left as it is.
    fn record_usage(&self, usage: Usage);

    /// Id, model and finish reasons of the response.
    fn record_response(&self, response: &Response);

    /// A chunk of a streamed answer has come: the first one gives the time to the first chunk, each further one the
    /// time since the one before.
    fn record_chunk(&self);

    /// How the operation ended. [`Outcome::Error`], [`Outcome::Timeout`] and [`Outcome::Cancellation`] count as errors
    /// and set `error.type` if nothing more precise does.
    fn record_outcome(&self, outcome: Outcome);

    /// The operation failed with `error`: sets `error.type` (a class such as `rate_limit` where the message shows one,
    /// else the name of the type), and the message as the description of the status.
    fn record_error<E: StdError + ?Sized>(&self, error: &E);

    /// The operation failed: `error_type` is a low-cardinality class, e.g. the provider's error code.
    fn record_error_type(&self, error_type: &str);

    /// The thread of messages that the operation belongs to.
    fn record_conversation(&self, id: &str);

    /// What a tool was called with: its size always, the text only if content is captured.
    fn record_tool_input(&self, input: &str);

    /// What a tool answered: its size always, the text only if content is captured.
    fn record_tool_output(&self, output: &str);

    /// How the tool came to be chosen: how sure the choice was (0 to 1, anything else is left out), and how long the
    /// call is expected to take.
    fn record_tool_selection(&self, confidence: f64, expected: Duration);

    /// The messages that were sent to the model or agent, as JSON of the conventions' schema: only if content is
    /// captured.
    fn record_input_messages(&self, json: &str);

    /// The messages that came back, as JSON of the conventions' schema: only if content is captured.
    fn record_output_messages(&self, json: &str);

    /// The operation needed `retries` further attempts.
    fn record_retries(&self, retries: u32);

    /// The operation is over although its span may live on: it is measured now.
    fn finish_operation(&self);
}

impl RecordOperation for Span {
    fn record_usage(&self, usage: Usage) {
        let fields = [
            (attr::USAGE_INPUT_TOKENS, usage.input_tokens),
            (attr::USAGE_OUTPUT_TOKENS, usage.output_tokens),
            (attr::USAGE_CACHE_READ, usage.cache_read_tokens),
            (attr::USAGE_CACHE_WRITE, usage.cache_write_tokens),
            (attr::USAGE_REASONING, usage.reasoning_tokens),
        ];
        for (key, tokens) in fields {
            if let Some(tokens) = tokens {
                set_count(self, key, tokens);
            }
        }
        update(self, |operation| operation.set_usage(&usage));
    }

    fn record_response(&self, response: &Response) {
        if let Some(id) = response.id.as_deref() {
            set(self, attr::RESPONSE_ID, &id, id.to_owned());
        }
        if let Some(model) = response.model.as_deref() {
            set(self, attr::RESPONSE_MODEL, &model, model.to_owned());
            update(self, |operation| operation.response_model = Name::new(model));
        }
        if !response.finish_reasons.is_empty() {
            // Fields have no lists: on the way out the text becomes one.
            let reasons = serde_json::Value::from(response.finish_reasons.clone()).to_string();
            set(self, attr::RESPONSE_FINISH_REASONS, &reasons.as_str(), reasons.clone());
            update(self, |operation| operation.refused |= crate::layer::is_refusal(&reasons));
        }
    }

    fn record_chunk(&self) {
        let first = self
            .with_subscriber(|(id, dispatch)| {
                dispatch.downcast_ref::<AgentLayer>().and_then(|layer| layer.shared().chunk(id))
            })
            .flatten();
        if let Some(nanoseconds) = first {
            let seconds = nanoseconds as f64 / 1e9;
            set(self, attr::RESPONSE_TIME_TO_FIRST_CHUNK, &seconds, seconds);
            set(self, attr::REQUEST_STREAM, &true, true);
        }
    }

    fn record_outcome(&self, outcome: Outcome) {
        set(self, attr::OUTCOME, &outcome.as_str(), outcome.as_str());
        update(self, |operation| crate::layer::set_outcome(operation, Some(outcome)));
    }

    fn record_error<E: StdError + ?Sized>(&self, error: &E) {
        let message = error.to_string();
        self.record_error_type(error_type_of::<E>(&message));
        self.set_status(opentelemetry::trace::Status::error(message));
    }

    fn record_error_type(&self, error_type: &str) {
        let error_type = if error_type.is_empty() { error_type::OTHER } else { error_type };
        set(self, attr::ERROR_TYPE, &error_type, error_type.to_owned());
        update(self, |operation| operation.error_type = Name::new(error_type));
    }

    fn record_conversation(&self, id: &str) {
        set(self, attr::CONVERSATION_ID, &id, id.to_owned());
    }

    fn record_tool_input(&self, input: &str) {
        set_size(self, attr::TOOL_INPUT_BYTES, input, |operation, bytes| {
            operation.input_bytes = Amount::new(bytes);
            operation.arguments = hash_of(input);
        });
        set_content(self, attr::TOOL_CALL_ARGUMENTS, input);
    }

    fn record_tool_output(&self, output: &str) {
        set_size(self, attr::TOOL_OUTPUT_BYTES, output, |operation, bytes| {
            operation.output_bytes = Amount::new(bytes)
        });
        set_content(self, attr::TOOL_CALL_RESULT, output);
    }

    fn record_tool_selection(&self, confidence: f64, expected: Duration) {
        if (0.0..=1.0).contains(&confidence) {
            set(self, attr::TOOL_CONFIDENCE, &confidence, confidence);
        }
        let expected = expected.as_secs_f64();
        set(self, attr::TOOL_EXPECTED_DURATION, &expected, expected);
    }

    fn record_input_messages(&self, json: &str) {
        set_content(self, attr::INPUT_MESSAGES, json);
    }

    fn record_output_messages(&self, json: &str) {
        set_content(self, attr::OUTPUT_MESSAGES, json);
    }

    fn record_retries(&self, retries: u32) {
        if retries > 0 {
            set_count(self, attr::RETRY_COUNT, u64::from(retries));
            update(self, |operation| operation.retries = retries);
        }
    }

    fn finish_operation(&self) {
        self.with_subscriber(|(id, dispatch)| {
            if let Some(layer) = dispatch.downcast_ref::<AgentLayer>() {
                layer.shared().finish(id);
            }
        });
    }
}

/// Sets a field where the span declared it, else an attribute of the OpenTelemetry span.
fn set(span: &Span, key: &'static str, value: &dyn Value, attribute: impl Into<opentelemetry::Value>) {
    if span.is_disabled() {
        return;
    }
    if span.has_field(key) {
        span.record(key, value);
    } else {
        report_undeclared(span, key);
        span.set_attribute(key, attribute);
    }
}

/// Sets a count: signed, because the tracing bridge makes texts of unsigned integers.
fn set_count(span: &Span, key: &'static str, count: u64) {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    set(span, key, &count, count);
}

fn set_size(span: &Span, key: &'static str, text: &str, apply: impl FnOnce(&mut Operation, u64)) {
    let bytes = text.len() as u64;
    set_count(span, key, bytes);
    update(span, |operation| apply(operation, bytes));
}

/// Content is not even copied unless it may leave the process.
fn set_content(span: &Span, key: &'static str, text: &str) {
    let captured = span
        .with_subscriber(|(_, dispatch)| {
            dispatch.downcast_ref::<AgentLayer>().is_some_and(|layer| layer.shared().captures_content())
        })
        .unwrap_or(false);
    if captured {
        set(span, key, &text, text.to_owned());
    }
}

fn update(span: &Span, f: impl FnOnce(&mut Operation)) {
    span.with_subscriber(|(id, dispatch)| {
        if let Some(layer) = dispatch.downcast_ref::<AgentLayer>() {
            layer.shared().update(id, f);
        }
    });
}

/// The name of an error's type, without path and parameters, unless its message shows a class.
fn error_type_of<E: StdError + ?Sized>(message: &str) -> &'static str {
    match ErrorClass::of(message) {
        ErrorClass::Other => {
            let name = std::any::type_name::<E>();
            if name.starts_with("dyn ") || name.starts_with("alloc::boxed::Box<dyn") {
                return error_type::OTHER;
            }
            let without_parameters = name.split('<').next().unwrap_or(name);
            without_parameters.rsplit("::").next().unwrap_or(without_parameters)
        }
        class => class.as_str(),
    }
}

/// Says once for each callsite and field, in debug builds, which field to declare.
fn report_undeclared(span: &Span, key: &'static str) {
    if !cfg!(debug_assertions) {
        return;
    }
    static REPORTED: std::sync::Mutex<Vec<(tracing::callsite::Identifier, &str)>> =
        std::sync::Mutex::new(Vec::new());
    let Some(metadata) = span.metadata() else { return };
    let seen = (metadata.callsite(), key);
    {
        let mut reported = REPORTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if reported.contains(&seen) {
            return;
        }
        reported.push(seen);
    }
    tracing::warn!(
        target: "agentvitals",
        field = key,
        span = metadata.name(),
        "field is recorded but the span does not declare it: add `{key} = tracing::field::Empty` to its fields, \
         or use the agentvitals span macros"
    );
}

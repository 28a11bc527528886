//! Spans of agents: macros that declare every field that may be recorded later, and a trait to record them.
//!
//! `tracing` silently drops a value that is recorded for a field that the span did not declare. The macros here declare
//! them all. On a plain `#[instrument]` span the methods of [`RecordOperation`] find a way around.

mod future;
mod record;
mod stream;
mod track;

pub use self::future::{InOperation, OperationFuture};
pub use self::record::{RecordOperation, Response};
pub use self::stream::{OperationStream, StreamExt, TryOperationStream};
pub use self::track::{Tracked, track};

/// A span of an agent's run: `invoke_agent {name}`.
///
/// Further fields may follow the name, in the syntax of `tracing::info_span!`.
///
/// ```
/// use agentvitals::{Outcome, RecordOperation as _};
/// let span = agentvitals::agent_span!("planner", gen_ai.conversation.id = "c-17");
/// span.in_scope(|| { /* the agent's loop */ });
/// span.record_outcome(Outcome::Success);
/// ```
#[macro_export]
macro_rules! agent_span {
    ($name:expr $(, $($fields:tt)*)?) => {
        $crate::__private::tracing::info_span!(
            "invoke_agent",
            gen_ai.operation.name = "invoke_agent",
            gen_ai.agent.name = $name,
            gen_ai.agent.id = $crate::__private::Empty,
            gen_ai.agent.version = $crate::__private::Empty,
            gen_ai.agent.description = $crate::__private::Empty,
            gen_ai.conversation.id = $crate::__private::Empty,
            gen_ai.request.model = $crate::__private::Empty,
            gen_ai.system_instructions = $crate::__private::Empty,
            gen_ai.input.messages = $crate::__private::Empty,
            gen_ai.output.messages = $crate::__private::Empty,
            agentvitals.outcome = $crate::__private::Empty,
            agentvitals.finish_reason = $crate::__private::Empty,
            agentvitals.task.type = $crate::__private::Empty,
            error.type = $crate::__private::Empty,
            // Last, so that a comma may follow them.
            $($($fields)*)?
        )
    };
}

/// A span of a workflow's run: `invoke_workflow {name}`, for real runs of several agents or steps.
///
/// The name must be of low cardinality.
///
/// ```
/// let span = agentvitals::workflow_span!("refund", agentvitals.workflow.steps.total = 3);
/// span.record("agentvitals.workflow.steps.completed", 3);
/// ```
#[macro_export]
macro_rules! workflow_span {
    ($name:expr $(, $($fields:tt)*)?) => {
        $crate::__private::tracing::info_span!(
            "invoke_workflow",
            gen_ai.operation.name = "invoke_workflow",
            gen_ai.workflow.name = $name,
            gen_ai.conversation.id = $crate::__private::Empty,
            gen_ai.input.messages = $crate::__private::Empty,
            gen_ai.output.messages = $crate::__private::Empty,
            agentvitals.workflow.steps.completed = $crate::__private::Empty,
            agentvitals.workflow.steps.total = $crate::__private::Empty,
            agentvitals.outcome = $crate::__private::Empty,
            agentvitals.finish_reason = $crate::__private::Empty,
            error.type = $crate::__private::Empty,
            // Last, so that a comma may follow them.
            $($($fields)*)?
        )
    };
}

/// A span of a model call: `{operation} {model}`, kind client.
///
/// The arguments are the operation (`"chat"`, `"embeddings"`, ...), the provider by its name in the conventions
/// (`"openai"`, `"anthropic"`, `"gcp.gemini"`, ...) and the model that is asked for.
///
/// ```
/// use agentvitals::{RecordOperation as _, Response, Usage};
/// let span = agentvitals::model_span!("chat", "openai", "gpt-4o", gen_ai.request.temperature = 0.2);
/// span.record_response(&Response::new().id("r-1").model("gpt-4o-2024-08-06").finish_reason("stop"));
/// span.record_usage(Usage::new(1_200, 300).cache_read(1_024));
/// ```
#[macro_export]
macro_rules! model_span {
    ($operation:expr, $provider:expr, $model:expr $(, $($fields:tt)*)?) => {
        $crate::__private::tracing::info_span!(
            "model_call",
            gen_ai.operation.name = $operation,
            gen_ai.provider.name = $provider,
            gen_ai.request.model = $model,
            gen_ai.request.stream = $crate::__private::Empty,
            gen_ai.request.max_tokens = $crate::__private::Empty,
            gen_ai.request.temperature = $crate::__private::Empty,
            gen_ai.request.top_p = $crate::__private::Empty,
            gen_ai.conversation.id = $crate::__private::Empty,
            gen_ai.output.type = $crate::__private::Empty,
            gen_ai.response.id = $crate::__private::Empty,
            gen_ai.response.model = $crate::__private::Empty,
            gen_ai.response.finish_reasons = $crate::__private::Empty,
            gen_ai.response.time_to_first_chunk = $crate::__private::Empty,
            gen_ai.usage.input_tokens = $crate::__private::Empty,
            gen_ai.usage.output_tokens = $crate::__private::Empty,
            gen_ai.usage.cache_read.input_tokens = $crate::__private::Empty,
            gen_ai.usage.cache_write.input_tokens = $crate::__private::Empty,
            gen_ai.usage.reasoning.output_tokens = $crate::__private::Empty,
            gen_ai.system_instructions = $crate::__private::Empty,
            gen_ai.input.messages = $crate::__private::Empty,
            gen_ai.output.messages = $crate::__private::Empty,
            gen_ai.tool.definitions = $crate::__private::Empty,
            server.address = $crate::__private::Empty,
            server.port = $crate::__private::Empty,
            agentvitals.retry.count = $crate::__private::Empty,
            agentvitals.fallback.used = $crate::__private::Empty,
            agentvitals.fallback.from_model = $crate::__private::Empty,
            agentvitals.outcome = $crate::__private::Empty,
            error.type = $crate::__private::Empty,
            // Last, so that a comma may follow them.
            $($($fields)*)?
        )
    };
}

/// A span of a tool call: `execute_tool {name}`.
///
/// ```
/// use agentvitals::RecordOperation as _;
/// let span = agentvitals::tool_span!("get_weather", gen_ai.tool.call.id = "call_1");
/// span.record_tool_input(r#"{"city":"Paris"}"#);
/// span.record_tool_output("21 C");
/// ```
#[macro_export]
macro_rules! tool_span {
    ($name:expr $(, $($fields:tt)*)?) => {
        $crate::__private::tracing::info_span!(
            "execute_tool",
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = $name,
            gen_ai.tool.type = $crate::__private::Empty,
            gen_ai.tool.description = $crate::__private::Empty,
            gen_ai.tool.call.id = $crate::__private::Empty,
            gen_ai.tool.call.arguments = $crate::__private::Empty,
            gen_ai.tool.call.result = $crate::__private::Empty,
            gen_ai.conversation.id = $crate::__private::Empty,
            agentvitals.tool.input.size = $crate::__private::Empty,
            agentvitals.tool.output.size = $crate::__private::Empty,
            agentvitals.tool.confidence = $crate::__private::Empty,
            agentvitals.tool.expected_duration = $crate::__private::Empty,
            agentvitals.retry.count = $crate::__private::Empty,
            agentvitals.outcome = $crate::__private::Empty,
            error.type = $crate::__private::Empty,
            // Last, so that a comma may follow them.
            $($($fields)*)?
        )
    };
}

/// A span of an operation of your own: neither agent, model, tool nor workflow.
///
/// It is measured as `agentvitals.operation.duration` by its name, which must be of low cardinality. Identifiers go on
/// the span as further fields; only those on the allow-list of the configuration become metric attributes.
///
/// ```
/// let span = agentvitals::operation_span!("support_request", user.id = "u1", request.priority = "high");
/// ```
#[macro_export]
macro_rules! operation_span {
    ($name:expr $(, $($fields:tt)*)?) => {
        $crate::__private::tracing::info_span!(
            "operation",
            otel.name = $name,
            agentvitals.operation.name = $name,
            gen_ai.conversation.id = $crate::__private::Empty,
            agentvitals.outcome = $crate::__private::Empty,
            error.type = $crate::__private::Empty,
            // Last, so that a comma may follow them.
            $($($fields)*)?
        )
    };
}

//! The recorded agents, as an agent would be written: plain `#[instrument]`ed async functions whose fields
//! are those of the conventions. Nothing here knows how its spans become traces and metrics.

use std::fmt;
use std::sync::Arc;

use agentvitals::semconv::error_type;
use agentvitals::{Outcome, RecordOperation as _, Response, Usage};
use futures_util::future::join_all;
use tracing::field::Empty;
use tracing::{Span, instrument};

use super::client::{CallError, Client, Completion, Request};
use super::context::Context;
use super::runs::{Action, ModelCall, Run, Step, ToolCall};
use super::turns::Turns;
use super::{Speed, Streaming, provider};

/// The name of the span around a run. It is no GenAI operation: it stands for the program that has the agents.
pub(super) const RUN_SPAN: &str = "agent_run";
/// The target of the spans of this file.
pub(super) const TARGET: &str = module_path!();

/// What the agents of a replay share.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) runs: Arc<[Run]>,
    pub(super) client: Client,
    pub(super) speed: Speed,
    pub(super) streaming: Streaming,
}

/// Why a replay is not what was recorded. Recorded errors are none of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One agent's part in one run.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    replay: &'a Replay,
    number: usize,
    run: &'a Run,
    agent: usize,
}

impl Part<'_> {
    fn name(&self) -> &str {
        &self.run.agents[self.agent].name
    }

    /// The agent's own model, or the one that it calls first.
    fn model(&self) -> Option<&str> {
        let called = self.run.steps.iter().filter(|step| step.agent == self.agent);
        let mut called = called.filter_map(|step| match &step.action {
            Action::Model(call) => Some(call.model.as_str()),
            Action::Tool(_) => None,
        });
        self.run.agents[self.agent].model.as_deref().or_else(|| called.next())
    }
}

/// Replays a run: all of its agents at once, each of which waits for its turns.
#[instrument(name = "agent_run", skip_all, err, fields(
    gen_ai.conversation.id = replay.runs[number].id,
    agentvitals.outcome = Empty,
))]
pub(super) async fn replay_run(replay: &Replay, number: usize) -> Result<(), Broken> {
    let run = &replay.runs[number];
    record_outcome(run);
    let turns = Turns::new();
    let parts = (0..run.agents.len()).map(|agent| invoke_agent(Part { replay, number, run, agent }, &turns));
    let ends = join_all(parts).await;
    // Agents that gave up because another one did say so; the reason is with the other one.
    let mut errors: Vec<_> = ends.into_iter().filter_map(Result::err).collect();
    errors.sort_by_key(|error| *error == given_up());
    errors.into_iter().next().map_or(Ok(()), |Broken(what)| Err(Broken(format!("run {:?}: {what}", run.id))))
}

fn given_up() -> Broken {
    Broken("another agent of the run gave up".to_owned())
}

/// An unknown outcome is left out: it is neither a success nor a failure.
fn record_outcome(run: &Run) {
    if let Some(success) = run.success {
        Span::current().record_outcome(if success { Outcome::Success } else { Outcome::Failure });
    }
}

#[instrument(name = "invoke_agent", skip_all, err, fields(
    gen_ai.operation.name = "invoke_agent",
    gen_ai.agent.name = part.name(),
    gen_ai.conversation.id = part.run.id,
    gen_ai.provider.name = part.model().map(|model| provider::of(model, None)).as_deref(),
    gen_ai.request.model = part.model(),
    agentvitals.outcome = Empty,
))]
async fn invoke_agent(part: Part<'_>, turns: &Turns) -> Result<(), Broken> {
    // The task is the first agent's; a simulated customer neither solves nor fails it.
    if part.agent == 0 {
        record_outcome(part.run);
    }
    let mut context = Context::new(part.name());
    for (number, step) in part.run.steps.iter().enumerate().filter(|(_, step)| step.agent == part.agent) {
        let turn = turns.wait_for(number).await.map_err(|_| given_up())?;
        take_step(part, number, step, &mut context).await?;
        turn.finish();
    }
    Ok(())
}

/// Recorded errors are part of the run: the agent goes on, as it did when it was recorded.
async fn take_step(part: Part<'_>, number: usize, step: &Step, context: &mut Context) -> Result<(), Broken> {
    match &step.action {
        Action::Model(call) => {
            context.add_input(&call.new_input);
            match (chat(part, number, step, call, context).await, &call.error) {
                (Ok(answer), _) => context.add_answer(answer),
                (Err(ChatError::Unusable(_)), _) => {}
                (Err(ChatError::Call(CallError::Refused { kind, .. })), Some(error))
                    if kind == error.kind => {}
                (Err(error), _) => return Err(Broken(format!("step {number}: {error}"))),
            }
        }
        Action::Tool(call) => {
            // The result is what the agent reads either way; an error is a result, too.
            execute_tool(part, step, call).await.ok();
            context.add_result(call);
        }
    }
    Ok(())
}

/// Why a model call is of no use to the agent.
#[derive(Debug)]
enum ChatError {
    /// There is no answer.
    Call(CallError),
    /// The model answered, was paid for it, and the agent cannot use the answer.
    Unusable(String),
}

impl fmt::Display for ChatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Unusable(message) => f.write_str(message),
        }
    }
}

#[instrument(name = "chat", skip_all, err, fields(
    otel.kind = "client",
    gen_ai.operation.name = "chat",
    gen_ai.provider.name = &*provider::of(&call.model, call.provider.as_deref()),
    gen_ai.request.model = call.model,
    gen_ai.request.stream = Empty,
    gen_ai.agent.name = part.name(),
    gen_ai.conversation.id = part.run.id,
    gen_ai.response.id = Empty,
    gen_ai.response.model = Empty,
    gen_ai.response.finish_reasons = Empty,
    gen_ai.response.time_to_first_chunk = Empty,
    gen_ai.usage.input_tokens = Empty,
    gen_ai.usage.output_tokens = Empty,
    gen_ai.usage.cache_read.input_tokens = Empty,
    gen_ai.usage.cache_write.input_tokens = Empty,
    gen_ai.usage.reasoning.output_tokens = Empty,
    error.type = Empty,
))]
async fn chat(
    part: Part<'_>,
    number: usize,
    step: &Step,
    call: &ModelCall,
    context: &Context,
) -> Result<Completion, ChatError> {
    let span = Span::current();
    let stream = part.replay.streaming.applies_to(call);
    if stream {
        span.record("gen_ai.request.stream", true);
    }
    let request = Request {
        model: &call.model,
        messages: context.messages(),
        stream,
        recorded: (part.number, number),
        expected: part.replay.speed.scale(step.duration),
    };
    let answer = part.replay.client.complete(request, || span.record_chunk()).await.map_err(|error| {
        span.record_error_type(match &error {
            CallError::Refused { kind, .. } => kind,
            CallError::Broken(_) => error_type::CONNECTION,
        });
        ChatError::Call(error)
    })?;
    record_answer(&span, &answer);
    if let Some(error) = &call.error {
        span.record_error_type(&error.kind);
        return Err(ChatError::Unusable(error.message.clone()));
    }
    Ok(answer)
}

fn record_answer(span: &Span, answer: &Completion) {
    let mut response = Response::new();
    if let Some(id) = &answer.id {
        response = response.id(id);
    }
    if let Some(model) = &answer.model {
        response = response.model(model);
    }
    if let Some(reason) = &answer.finish_reason {
        response = response.finish_reason(reason);
    }
    span.record_response(&response);
    if let Some(told) = &answer.usage {
        let mut usage = Usage::default();
        usage.input_tokens = told.prompt_tokens;
        usage.output_tokens = told.completion_tokens;
        usage.cache_read_tokens = told.prompt_tokens_details.cached_tokens;
        usage.cache_write_tokens = told.prompt_tokens_details.cache_write_tokens;
        usage.reasoning_tokens = told.completion_tokens_details.reasoning_tokens;
        span.record_usage(usage);
    }
}

/// The recorded error of a tool; its message is the result.
#[derive(Debug)]
struct ToolError(String);

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// OpenTelemetry's integers have a sign; a `u64` field would arrive as text.
fn as_attribute(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[instrument(name = "execute_tool", skip_all, err, fields(
    gen_ai.operation.name = "execute_tool",
    gen_ai.tool.name = call.tool,
    gen_ai.tool.type = "function",
    gen_ai.tool.call.id = call.call_id.as_deref(),
    gen_ai.agent.name = part.name(),
    gen_ai.conversation.id = part.run.id,
    agentvitals.tool.input.size = as_attribute(call.arguments.len() as u64),
    agentvitals.tool.output.size = as_attribute(call.result_bytes),
    error.type = Empty,
))]
async fn execute_tool(part: Part<'_>, step: &Step, call: &ToolCall) -> Result<(), ToolError> {
    let wait = part.replay.speed.scale(step.duration);
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    match &call.error {
        None => Ok(()),
        Some(kind) => {
            Span::current().record_error_type(kind);
            Err(ToolError(kind.clone()))
        }
    }
}

//! Recorded agent runs: what the demo replays.
//!
//! A file of runs is JSON Lines, one run a line. [`read`] takes the whole file, checks every line of it and
//! hands back either all runs or what is wrong, so that nothing starts on half a file. Fields that the replay
//! does not need are left alone; what a recording does not have is `None` and is never made up.

mod raw;
mod read;
#[cfg(test)]
mod tests;

pub use read::{MAX_FILE_BYTES, MAX_LINE_BYTES, read, read_file};

use std::time::Duration;

/// One recorded run: its agents and what they did, in the order in which they did it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Run {
    /// Names the run; no two runs of a file share it.
    pub id: String,
    /// Who took part, the agent whose task it was first.
    pub agents: Vec<Agent>,
    /// Whether the task was solved; `None` when the recording does not say.
    pub success: Option<bool>,
    /// Model calls and tool calls in recorded order.
    pub steps: Vec<Step>,
}

/// An agent of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Agent {
    /// Names the agent within its run.
    pub name: String,
    /// The model that it usually calls, if it has one.
    pub model: Option<String>,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The agent that took the step, as an index into [`Run::agents`].
    pub agent: usize,
    /// How long it took; `None` when that was not recorded.
    pub duration: Option<Duration>,
    /// What was done.
    pub action: Action,
}

/// What an agent did in a step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// It asked a model.
    Model(ModelCall),
    /// It ran a tool.
    Tool(ToolCall),
}

/// A recorded model call with the answer that the model gave.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ModelCall {
    /// The model that was asked for, spelled as recorded.
    pub model: String,
    /// The model that answered.
    pub response_model: Option<String>,
    /// The provider's id of the answer.
    pub response_id: Option<String>,
    /// Who served the model, in the words of the recording.
    pub provider: Option<String>,
    /// Messages that joined the agent's context since its previous call.
    pub new_input: Vec<Message>,
    /// The text of the answer.
    pub output_text: Option<String>,
    /// The tools that the answer asks for.
    pub tool_calls: Vec<RequestedCall>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// What the call used.
    pub usage: Tokens,
    /// What went wrong with the call.
    pub error: Option<ModelError>,
}

impl ModelCall {
    /// Whether the model answered at all: a recorded error without usage and without content is a call that
    /// the provider refused, one with either is an answer that the agent could not use.
    pub fn was_answered(&self) -> bool {
        self.error.is_none()
            || !self.usage.is_empty()
            || self.output_text.is_some()
            || !self.tool_calls.is_empty()
    }
}

/// A message of an agent's context.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// `user`, `assistant`, `tool` or `system`.
    pub role: String,
    /// The text, or JSON for content of several parts.
    pub content: String,
}

/// A tool call that a model asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestedCall {
    /// The id by which the result is matched; some formats have none.
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// The arguments as JSON text.
    pub arguments: String,
}

/// Tokens of one call. `None` is "not recorded", which is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Tokens {
    /// Input tokens, cached ones included.
    pub prompt: Option<u64>,
    /// Output tokens, reasoning included.
    pub completion: Option<u64>,
    /// Input tokens that came from the provider's cache.
    pub cached: Option<u64>,
    /// Input tokens that were written to the provider's cache.
    pub cache_write: Option<u64>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<u64>,
}

impl Tokens {
    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What went wrong with a model call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelError {
    /// The class of the error, e.g. `format_error` or `rate_limit`.
    pub kind: String,
    /// What was said about it.
    pub message: String,
}

/// A recorded tool call with its result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolCall {
    /// The tool.
    pub tool: String,
    /// The id by which the model asked for it.
    pub call_id: Option<String>,
    /// The arguments as JSON text.
    pub arguments: String,
    /// What the tool answered.
    pub result: String,
    /// Bytes of the whole result, which may be more than what was kept of it.
    pub result_bytes: u64,
    /// The class of the error that the tool ended with.
    pub error: Option<String>,
}

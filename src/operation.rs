//! What an operation is: its kind, how it ended and what it used.

use std::hash::{DefaultHasher, Hasher as _};

use serde::{Deserialize, Serialize};

use crate::names::Name;
use crate::semconv::{error_type, operation, outcome};

/// What kind of operation a span is, by `gen_ai.operation.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OperationKind {
    /// `invoke_agent`: a run of an agent.
    Agent,
    /// `create_agent`, and any operation name that is in no convention.
    Other,
    /// `chat`, `generate_content`, `text_completion`: a call that a model answers with tokens.
    Model,
    /// `embeddings`.
    Embeddings,
    /// `retrieval`.
    Retrieval,
    /// `fetch_response`: no usage may be counted here.
    FetchResponse,
    /// `execute_tool`.
    Tool,
    /// `invoke_workflow`.
    Workflow,
    /// `plan`.
    Plan,
    /// The seven memory operations.
    Memory,
    /// An MCP request that is no tool call of an agent.
    Mcp,
    /// An operation of the user's own, named by `agentvitals.operation.name`.
    Custom,
}

impl OperationKind {
    /// The kind of a value of `gen_ai.operation.name`.
    ///
    /// ```
    /// use agentvitals::OperationKind;
    /// assert_eq!(OperationKind::from_name("chat"), OperationKind::Model);
    /// assert_eq!(OperationKind::from_name("my_own"), OperationKind::Other);
    /// ```
    pub fn from_name(name: &str) -> Self {
        match name {
            operation::CHAT | operation::GENERATE_CONTENT | operation::TEXT_COMPLETION => Self::Model,
            operation::EXECUTE_TOOL => Self::Tool,
            operation::INVOKE_AGENT => Self::Agent,
            operation::INVOKE_WORKFLOW => Self::Workflow,
            operation::EMBEDDINGS => Self::Embeddings,
            operation::RETRIEVAL => Self::Retrieval,
            operation::FETCH_RESPONSE => Self::FetchResponse,
            operation::PLAN => Self::Plan,
            operation::CREATE_MEMORY_STORE
            | operation::DELETE_MEMORY_STORE
            | operation::CREATE_MEMORY
            | operation::UPDATE_MEMORY
            | operation::UPSERT_MEMORY
            | operation::SEARCH_MEMORY
            | operation::DELETE_MEMORY => Self::Memory,
            _ => Self::Other,
        }
    }

    /// Whether tokens and cost are counted at operations of this kind (and nowhere else, so that no token is
    /// counted twice).
    pub fn counts_usage(self) -> bool {
        matches!(self, Self::Model | Self::Embeddings)
    }
}

/// How an operation ended, in the words of `agentvitals.outcome`.
///
/// [`Failure`](Self::Failure) and [`Error`](Self::Error) differ: an agent that ends in good order without
/// having solved its task has failed, without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The caller gave it up.
    Cancellation,
    /// An error ended it.
    Error,
    /// It ended in good order and did not reach its goal.
    Failure,
    /// There was nothing to do.
    Skip,
    /// It reached its goal.
    Success,
    /// A deadline passed.
    Timeout,
}

impl Outcome {
    /// The value of `agentvitals.outcome`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancellation => outcome::CANCELLATION,
            Self::Error => outcome::ERROR,
            Self::Failure => outcome::FAILURE,
            Self::Skip => outcome::SKIP,
            Self::Success => outcome::SUCCESS,
            Self::Timeout => outcome::TIMEOUT,
        }
    }

    /// Reads an outcome as people write it: `ok`, `success`, `failed`, `error`, `cancelled`, `timeout` and
    /// their like. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            outcome::SUCCESS | "ok" | "OK" | "Ok" | "succeeded" | "completed" => Self::Success,
            outcome::FAILURE | "fail" | "failed" => Self::Failure,
            outcome::ERROR | "Error" | "ERROR" | "err" => Self::Error,
            outcome::TIMEOUT | "timed_out" => Self::Timeout,
            outcome::CANCELLATION | "cancelled" | "canceled" | "aborted" => Self::Cancellation,
            outcome::SKIP | "skipped" => Self::Skip,
            _ => return None,
        })
    }

    /// The `error.type` that this outcome alone stands for, if it is one of the error outcomes.
    pub fn error_type(self) -> Option<&'static str> {
        match self {
            Self::Error => Some(error_type::OTHER),
            Self::Timeout => Some(error_type::TIMEOUT),
            Self::Cancellation => Some(error_type::CANCELLED),
            Self::Failure | Self::Skip | Self::Success => None,
        }
    }
}

/// Tokens of one model call. What the provider did not report is `None`, never 0.
///
/// `input_tokens` includes the cached tokens and `output_tokens` includes reasoning, as the conventions have
/// it; the other three are parts of them.
///
/// ```
/// use agentvitals::Usage;
/// let usage = Usage::new(1_200, 300).cache_read(1_024);
/// assert_eq!(usage.input_tokens, Some(1_200));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Usage {
    /// Input tokens, cached ones included.
    pub input_tokens: Option<u64>,
    /// Output tokens, reasoning included.
    pub output_tokens: Option<u64>,
    /// Input tokens that were read from the provider's cache.
    pub cache_read_tokens: Option<u64>,
    /// Input tokens that were written to the provider's cache.
    pub cache_write_tokens: Option<u64>,
    /// Output tokens that were spent on reasoning.
    pub reasoning_tokens: Option<u64>,
}

impl Usage {
    /// Usage of a call that reported input and output tokens.
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens: Some(input_tokens), output_tokens: Some(output_tokens), ..Self::default() }
    }

    /// Sets the input tokens that came from the provider's cache (a part of the input tokens).
    #[must_use]
    pub fn cache_read(self, tokens: u64) -> Self {
        Self { cache_read_tokens: Some(tokens), ..self }
    }

    /// Sets the input tokens that were written to the provider's cache (a part of the input tokens).
    #[must_use]
    pub fn cache_write(self, tokens: u64) -> Self {
        Self { cache_write_tokens: Some(tokens), ..self }
    }

    /// Sets the output tokens that were spent on reasoning (a part of the output tokens).
    #[must_use]
    pub fn reasoning(self, tokens: u64) -> Self {
        Self { reasoning_tokens: Some(tokens), ..self }
    }

    /// Usage as Anthropic's API reports it, whose input tokens leave the cached ones out.
    ///
    /// ```
    /// use agentvitals::Usage;
    /// let usage = Usage::exclusive(10, 5, 1_000, 200);
    /// assert_eq!(usage.input_tokens, Some(1_210));
    /// ```
    pub fn exclusive(input: u64, output: u64, cache_read: u64, cache_write: u64) -> Self {
        Self::new(input.saturating_add(cache_read).saturating_add(cache_write), output)
            .cache_read(cache_read)
            .cache_write(cache_write)
    }

    /// Whether nothing was reported.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A number that may be absent, in eight bytes: operations are copied on the hot path, and an `Option<u64>` is twice
/// as large.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Amount(u64);

impl Amount {
    /// Nothing was reported.
    pub const NONE: Self = Self(u64::MAX);

    /// A reported number.
    #[inline]
    pub fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number, if one was reported.
    #[inline]
    pub fn get(self) -> Option<u64> {
        (self != Self::NONE).then_some(self.0)
    }
}

/// The largest count that is believed: sums of larger ones would overflow.
pub(crate) const MAX_COUNT: u64 = 1 << 40;

impl Amount {
    /// The number as a count that can be summed up: what is beyond all reason counts as [`MAX_COUNT`].
    #[inline]
    pub(crate) fn count(self) -> Option<u64> {
        self.get().map(|count| count.min(MAX_COUNT))
    }
}

impl From<Option<u64>> for Amount {
    fn from(value: Option<u64>) -> Self {
        value.map_or(Self::NONE, Self)
    }
}

impl std::fmt::Debug for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

/// How many attributes of the user's own choice can be on metrics.
pub(crate) const MAX_EXTRA_ATTRIBUTES: usize = 4;

/// One operation, as far as metrics, cost and health need to know it.
///
/// High-cardinality values (conversations, users, call ids, messages) are not here: they are on the span only.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Operation {
    /// What kind of operation it is; `None` until its name is known.
    pub kind: Option<OperationKind>,
    /// `gen_ai.operation.name`.
    pub operation: Name,
    /// `gen_ai.provider.name`.
    pub provider: Name,
    /// `gen_ai.request.model`.
    pub request_model: Name,
    /// `gen_ai.response.model`.
    pub response_model: Name,
    /// `gen_ai.agent.name`: the agent that runs, or on whose behalf it runs.
    pub agent: Name,
    /// `gen_ai.tool.name`.
    pub tool: Name,
    /// `gen_ai.tool.type`.
    pub tool_type: Name,
    /// `gen_ai.workflow.name`.
    pub workflow: Name,
    /// `mcp.method.name`.
    pub mcp_method: Name,
    /// `agentvitals.operation.name`.
    pub custom: Name,
    /// `agentvitals.task.type`.
    pub task_type: Name,
    /// `error.type`, present if and only if the operation failed with an error.
    pub error_type: Name,
    /// `server.address`.
    pub server_address: Name,
    /// The attributes on the allow-list of the configuration, in its order.
    pub extra: [Name; MAX_EXTRA_ATTRIBUTES],
    /// `server.port`, 0 if absent.
    pub server_port: u16,
    /// Whether an MCP request is seen by its receiver.
    pub mcp_server: bool,
    /// How it ended, if somebody said so.
    pub outcome: Option<Outcome>,
    /// Input tokens, cached ones included.
    pub input_tokens: Amount,
    /// Output tokens, reasoning included.
    pub output_tokens: Amount,
    /// Input tokens read from the provider's cache.
    pub cache_read_tokens: Amount,
    /// Input tokens written to the provider's cache.
    pub cache_write_tokens: Amount,
    /// Output tokens spent on reasoning.
    pub reasoning_tokens: Amount,
    /// What the call cost, in nano-dollars, where the program knows it itself.
    pub cost_nano: Amount,
    /// Nanoseconds from the start to the return of the function.
    pub duration_ns: u64,
    /// When the function returned, on the SDK's clock.
    pub ended_ns: u64,
    /// Nanoseconds from the start to the first chunk.
    pub first_chunk_ns: Amount,
    /// Nanoseconds from the start to the newest chunk.
    pub last_chunk_ns: Amount,
    /// Model calls of an agent's run, without those of the agents it called.
    pub inference_calls: u32,
    /// Tool calls of an agent's run, without those of the agents it called.
    pub tool_calls: u32,
    /// Bytes of a tool's input.
    pub input_bytes: Amount,
    /// Bytes of a tool's output.
    pub output_bytes: Amount,
    /// Retries inside of a logical operation.
    pub retries: u32,
    /// Whether another model than the first one answered.
    pub fallback: bool,
    /// Steps that a workflow finished.
    pub steps_completed: Amount,
    /// A number that stands for a tool's arguments, the same for the same text; 0 if they are not known.
    pub arguments: u64,
    /// The model, or a filter before it, refused to answer.
    pub refused: bool,
    /// The id of its span in the registry, 0 without one.
    pub span: u64,
    /// Number of the agent run that this operation is or belongs to, 0 if none: unique in the process.
    pub run: u64,
}

impl Operation {
    /// An operation of which nothing is known yet.
    pub const EMPTY: Self = Self {
        kind: None,
        operation: Name::NONE,
        provider: Name::NONE,
        request_model: Name::NONE,
        response_model: Name::NONE,
        agent: Name::NONE,
        tool: Name::NONE,
        tool_type: Name::NONE,
        workflow: Name::NONE,
        mcp_method: Name::NONE,
        custom: Name::NONE,
        task_type: Name::NONE,
        error_type: Name::NONE,
        server_address: Name::NONE,
        extra: [Name::NONE; MAX_EXTRA_ATTRIBUTES],
        server_port: 0,
        mcp_server: false,
        outcome: None,
        input_tokens: Amount::NONE,
        output_tokens: Amount::NONE,
        cache_read_tokens: Amount::NONE,
        cache_write_tokens: Amount::NONE,
        reasoning_tokens: Amount::NONE,
        cost_nano: Amount::NONE,
        duration_ns: 0,
        ended_ns: 0,
        first_chunk_ns: Amount::NONE,
        last_chunk_ns: Amount::NONE,
        inference_calls: 0,
        tool_calls: 0,
        input_bytes: Amount::NONE,
        output_bytes: Amount::NONE,
        retries: 0,
        fallback: false,
        steps_completed: Amount::NONE,
        arguments: 0,
        refused: false,
        span: 0,
        run: 0,
    };

    /// The tokens that were reported, each at most 2^40: a larger number is a mistake that must not spoil the sums.
    pub fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.input_tokens.count(),
            output_tokens: self.output_tokens.count(),
            cache_read_tokens: self.cache_read_tokens.count(),
            cache_write_tokens: self.cache_write_tokens.count(),
            reasoning_tokens: self.reasoning_tokens.count(),
        }
    }

    /// Sets the tokens that `usage` reports and leaves the others as they are.
    pub fn set_usage(&mut self, usage: &Usage) {
        let set = |amount: &mut Amount, reported: Option<u64>| {
            if let Some(reported) = reported {
                *amount = Amount::new(reported);
            }
        };
        set(&mut self.input_tokens, usage.input_tokens);
        set(&mut self.output_tokens, usage.output_tokens);
        set(&mut self.cache_read_tokens, usage.cache_read_tokens);
        set(&mut self.cache_write_tokens, usage.cache_write_tokens);
        set(&mut self.reasoning_tokens, usage.reasoning_tokens);
    }

    /// Whether it failed with an error.
    pub fn failed(&self) -> bool {
        self.error_type.is_some()
    }

    /// How it ended: as recorded, else an error if it has an `error.type`, else a success.
    pub fn outcome(&self) -> Outcome {
        self.outcome.unwrap_or_else(|| match self.error_type.as_str_if_some() {
            None => Outcome::Success,
            Some(error_type::TIMEOUT) => Outcome::Timeout,
            Some(error_type::CANCELLED) => Outcome::Cancellation,
            Some(_) => Outcome::Error,
        })
    }

    /// The name by which operations of one kind are told apart: agent, tool, workflow, model or method.
    pub fn subject(&self) -> Name {
        match self.kind {
            Some(OperationKind::Agent | OperationKind::Plan) => self.agent,
            Some(OperationKind::Tool) => self.tool,
            Some(OperationKind::Workflow) => self.workflow,
            Some(OperationKind::Mcp) => self.mcp_method,
            Some(OperationKind::Custom) => self.custom,
            _ => self.request_model,
        }
    }
}

/// A number by which equal texts are known again: content itself is never kept. Not 0.
pub(crate) fn hash_of(text: &str) -> u64 {
    let mut hash = TextHash::default();
    hash.add(text);
    hash.finish()
}

/// [`hash_of`] for a text that comes in parts.
#[derive(Default)]
pub(crate) struct TextHash(DefaultHasher);

impl TextHash {
    fn add(&mut self, part: &str) {
        self.0.write(part.as_bytes());
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0.finish() | 1
    }
}

impl std::fmt::Write for TextHash {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        self.add(part);
        Ok(())
    }
}

/// Receives operations. Most calls come from a thread of the SDK, some from traced threads: they must not block, panic
/// or call back into `tracing`.
pub trait Observe: std::fmt::Debug + Send + Sync {
    /// An agent's run has started.
    fn started(&self, agent: Name);
    /// The name of a running agent has become known or has changed.
    fn renamed(&self, before: Name, now: Name);
    /// What was taken for an agent's run is none.
    fn stopped(&self, agent: Name);
    /// An operation's function has returned.
    fn finished(&self, operation: &Operation);
    /// A chunk after the first has come, `gap_ns` after the one before.
    fn chunk(&self, operation: &Operation, gap_ns: u64);
    /// All runs that had finished before the newest but one of these calls have been given with all their calls.
    fn settled(&self);
}

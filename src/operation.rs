//! What an operation is: its kind, how it ended and what it used.

use crate::semconv::{error_type, operation, outcome};

/// What kind of operation a span is, by `gen_ai.operation.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
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

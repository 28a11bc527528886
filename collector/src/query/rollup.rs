//! What is asked about conversations and agents, and how answers look.

use serde::{Deserialize, Serialize};

/// Asks for conversations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct ConversationsRequest {
    /// Only this one.
    pub id: Option<String>,
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range.
    pub end: Option<i64>,
    /// At most so many, those with most spans first (default 100, at most 10,000).
    pub limit: Option<usize>,
}

/// Conversations, those with most spans first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct ConversationsAnswer {
    /// The conversations.
    pub conversations: Vec<Conversation>,
    /// How many there are more than `limit`.
    pub left_out: u64,
    /// Whether everything was looked at.
    pub complete: bool,
    /// How many spans were looked at.
    pub scanned: u64,
}

/// What a conversation came to so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// Its spans.
    pub spans: u64,
    /// Runs of agents: what was asked of them.
    pub turns: u64,
    /// Model calls.
    pub model_calls: u64,
    /// Tool calls.
    pub tool_calls: u64,
    /// Spans that failed.
    pub errors: u64,
    /// Seconds that agents worked on it; those of model calls where no agent ran.
    pub processing_seconds: f64,
    /// Input tokens of its model calls.
    pub input_tokens: u64,
    /// Output tokens of its model calls.
    pub output_tokens: u64,
    /// What its model calls cost in US dollars; none if no price is known.
    pub cost: Option<f64>,
}

/// Asks for an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct AgentRequest {
    /// Its name or id.
    pub id: String,
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range.
    pub end: Option<i64>,
}

/// What an agent did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct AgentAnswer {
    /// As it was asked for.
    pub agent_id: String,
    /// How it is.
    pub health: AgentHealth,
    /// How well it works.
    pub performance: AgentPerformance,
    /// What it used.
    pub usage: AgentUsage,
    /// Whether everything was looked at.
    pub complete: bool,
    /// How many spans were looked at.
    pub scanned: u64,
}

/// How an agent is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct AgentHealth {
    /// 0 to 100; none while nobody evaluates it.
    pub score: Option<f64>,
    /// `unknown` while nobody evaluates it.
    pub status: String,
    /// What is wrong.
    pub issues: Vec<serde_json::Value>,
}

impl Default for AgentHealth {
    fn default() -> Self {
        Self { score: None, status: "unknown".to_owned(), issues: Vec::new() }
    }
}

/// How well an agent works.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct AgentPerformance {
    /// Seconds of a run on average; none without runs.
    pub avg: Option<f64>,
    /// 95 of 100 runs take at most so many seconds.
    pub p95: Option<f64>,
    /// Runs of 100 that did not fail; none without runs.
    pub success_rate: Option<f64>,
}

/// What an agent used.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct AgentUsage {
    /// Its runs.
    pub tasks: u64,
    /// Tokens of its model calls, in and out.
    pub tokens: u64,
    /// Its tool calls.
    pub tool_calls: u64,
    /// Its model calls.
    pub model_calls: u64,
    /// What they cost in US dollars; none if no price is known.
    pub cost: Option<f64>,
}

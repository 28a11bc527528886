//! Names of what health reads and says: how agents behave, how healthy everything is.

/// Attribute keys.
pub mod attr {
    /// `system`, `agent`, `model`, `tool`, `workflow` or `operation`: what a verdict is about.
    pub const SUBJECT_KIND: &str = "agentvitals.subject.kind";
    /// The name of what a verdict is about.
    pub const SUBJECT_NAME: &str = "agentvitals.subject.name";
    /// `healthy`, `degraded`, `unhealthy`, `unknown` or `maintenance`, on [`super::metric::STATUS`].
    pub const STATE: &str = "agentvitals.health.state";
}

/// Values of [`super::attr::REASON`] on [`metric::EMPTY_RESPONSES`].
pub mod reason {
    /// The model answered without a single token.
    pub const EMPTY: &str = "empty";
    /// The model, or a filter before it, refused to answer.
    pub const REFUSED: &str = "refused";
}

/// Metric names.
pub mod metric {
    /// Times that an agent's run called the same tool with the same arguments for the third time in eight tool calls.
    pub const LOOPS: &str = "agentvitals.loops";
    /// Model calls that ended without an error and without an answer, by [`super::super::attr::REASON`].
    pub const EMPTY_RESPONSES: &str = "agentvitals.empty_responses";
    /// Seconds since the oldest model or tool call started that is still going on.
    pub const OPEN_CALL_AGE: &str = "agentvitals.open_call.age";
    /// Health from 0 to 100.
    pub const SCORE: &str = "agentvitals.health.score";
    /// 1 for the status that something has, 0 for the others.
    pub const STATUS: &str = "agentvitals.health.status";
}

/// Units (UCUM).
pub mod unit {
    /// Loops.
    pub const LOOP: &str = "{loop}";
    /// Responses.
    pub const RESPONSE: &str = "{response}";
}

/// Values of [`super::attr::RESPONSE_FINISH_REASONS`].
pub mod finish_reason {
    /// What providers write when an answer was refused or filtered away.
    pub const REFUSALS: [&str; 4] = ["content_filter", "refusal", "SAFETY", "PROHIBITED_CONTENT"];
}

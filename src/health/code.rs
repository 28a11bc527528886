//! What can be wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Severity;

/// What is wrong with a subject. As text in `snake_case`, which is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// Nothing at all ends of something that is never quiet for so long.
    Silence,
    /// A call has been going on for several times as long as the longest usually takes.
    Stall,
    /// The agent calls the same tool with the same arguments again and again, more often than usual.
    Loop,
    /// The provider refuses more calls because of a limit than usual.
    RateLimit,
    /// More calls of a model fail than usual.
    ModelError,
    /// More calls of a tool fail than usual.
    ToolError,
    /// Models answer nothing, or refuse to, more often than usual.
    EmptyOutput,
    /// More prompts are larger than nine in ten usually are.
    ContextGrowth,
    /// More calls of a model are slower than nine in ten usually are.
    SlowModel,
    /// More calls of a tool are slower than nine in ten usually are.
    SlowTool,
    /// An agent makes calls at several times its usual rate, and not because it goes round in circles.
    Runaway,
    /// A call costs more than usual, and not because prompts have grown.
    Cost,
    /// Fewer runs of an agent reach their goal than usual.
    FailingRuns,
    /// A share that people set a target for misses it.
    TargetMissed,
    /// The telemetry itself loses spans or series.
    TelemetryLoss,
}

impl Code {
    /// What can be wrong with calls of models and tools.
    pub(super) const OF_CALLS: [Self; 10] = [
        Self::Stall,
        Self::Loop,
        Self::RateLimit,
        Self::ModelError,
        Self::ToolError,
        Self::EmptyOutput,
        Self::ContextGrowth,
        Self::SlowModel,
        Self::SlowTool,
        Self::Cost,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Stall => "stall",
            Self::Loop => "loop",
            Self::RateLimit => "rate_limit",
            Self::ModelError => "model_error",
            Self::ToolError => "tool_error",
            Self::EmptyOutput => "empty_output",
            Self::ContextGrowth => "context_growth",
            Self::SlowModel => "slow_model",
            Self::SlowTool => "slow_tool",
            Self::Runaway => "runaway",
            Self::Cost => "cost",
            Self::FailingRuns => "failing_runs",
            Self::TargetMissed => "target_missed",
            Self::TelemetryLoss => "telemetry_loss",
        }
    }

    /// How bad it is by itself.
    pub fn severity(self) -> Severity {
        match self {
            Self::Silence | Self::Stall | Self::ModelError | Self::ToolError | Self::FailingRuns => {
                Severity::Error
            }
            _ => Severity::Warning,
        }
    }

    /// What to do about it first.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Silence => {
                "check that the process runs, that work still reaches it, and that it can export"
            }
            Self::Stall => {
                "look at the open call in its trace; give such calls a deadline (60 s is usual) and retry once"
            }
            Self::Loop => {
                "stop the run after three equal calls, and tell the model that the result will not change"
            }
            Self::RateLimit => {
                "retry with exponential back-off and jitter, spread the load, or ask for a higher limit"
            }
            Self::ModelError => {
                "read the error class and the newest failed traces; fall back to another model meanwhile"
            }
            Self::ToolError => {
                "read the newest failed calls; take the tool out of the agent's list while it fails"
            }
            Self::EmptyOutput => {
                "look at the finish reasons; check the limit on output tokens and content filters"
            }
            Self::ContextGrowth => {
                "summarise or drop old messages and large tool results before the next call"
            }
            Self::SlowModel => {
                "compare time to first chunk and tokens a second; fall back to a faster model or region"
            }
            Self::SlowTool => "look at its slowest traces; give it a deadline, or cache what it answers",
            Self::Runaway => {
                "look at the newest runs: limit the calls of a run, and how many runs may be started at once"
            }
            Self::Cost => "compare model versions, cache reads and output length with the time before",
            Self::FailingRuns => {
                "compare failed with successful runs: tools, prompts and versions that changed"
            }
            Self::TargetMissed => {
                "look at what spends the budget: the slowest and the failed traces of the window"
            }
            Self::TelemetryLoss => {
                "look at the reasons in the export report; raise the limits or mend the destination"
            }
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

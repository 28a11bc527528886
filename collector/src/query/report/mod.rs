//! Reports: how agents, models, tools and workflows performed over a window, what it cost, what goes wrong together, and
//! what could be better.

mod advice;
mod compare;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use advice::recommend;
pub use compare::{Comparison, Difference, Judged, compare};

/// Asks for a report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct ReportRequest {
    /// A span filter of TraceQL; empty for all spans.
    pub q: String,
    /// The start of the window; a day before its end without one.
    pub start: Option<i64>,
    /// The end of the window; now without one.
    pub end: Option<i64>,
    /// Only figures: no traces, conversations and patterns of single runs.
    pub brief: bool,
}

/// A share, and between what it is in truth with 95 % confidence (Wilson).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Share {
    /// As observed.
    pub value: f64,
    /// At least.
    pub low: f64,
    /// At most.
    pub high: f64,
}

impl Share {
    /// So many of so many; all of what is possible if there are none.
    #[expect(clippy::cast_precision_loss, reason = "a share of counts")]
    pub fn of(events: u64, trials: u64) -> Self {
        if trials == 0 {
            return Self { value: 0.0, low: 0.0, high: 1.0 };
        }
        let (low, high) =
            agentvitals::statistics::wilson(events.min(trials), trials, agentvitals::statistics::Z_95);
        Self { value: events as f64 / trials as f64, low, high }
    }
}

/// How one agent, model, tool, workflow or operation performed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Spans.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// Their share.
    pub error_rate: Share,
    /// Failed ones by `error.type`.
    pub errors_by_type: BTreeMap<String, u64>,
    /// Seconds: the shortest, the mean, the longest, and quantiles within 1 %.
    pub min_s: f64,
    /// The mean.
    pub avg_s: f64,
    /// The longest.
    pub max_s: f64,
    /// The median.
    pub p50_s: f64,
    /// 95 of 100 are at most this.
    pub p95_s: f64,
    /// 99 of 100 are at most this.
    pub p99_s: f64,
    /// Input tokens, at model calls.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Cost of the calls that have one, billionths of a US dollar.
    pub cost_nano: u64,
    /// Model calls without a cost: the sum leaves them out.
    pub unpriced: u64,
    /// Whether the mean is above 3 s.
    pub slow: bool,
    /// Durations: the upper edge of each bucket in seconds, with how many are in it.
    pub durations: Vec<(f64, u64)>,
}

/// Errors that are alike.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Cluster {
    /// Whose: `tool search`, `model gpt-4o`, ...
    pub subject: String,
    /// `error.type`; empty where none is told.
    pub error_type: String,
    /// The status message, with numbers and ids replaced by `#`.
    pub message: String,
    /// How many.
    pub count: u64,
    /// Their share of all errors.
    pub share: f64,
    /// When the first of the window was, nanoseconds since 1970.
    pub first_seen: Option<i64>,
    /// When the last was.
    pub last_seen: Option<i64>,
    /// Traces with such an error, the newest first.
    pub trace_ids: Vec<String>,
}

/// What goes along with what.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Together {
    /// What was compared.
    pub what: String,
    /// Spearman's coefficient: from -1 to 1, 0 is none.
    pub coefficient: f64,
    /// Over how many pairs.
    pub n: u64,
    /// How often chance alone gives as much.
    pub p_value: f64,
}

/// A tool, ranked for selection.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Ranked {
    /// The tool.
    pub tool: String,
    /// The lower end of its success share's interval, times how fast it is beside the fastest (the root of the ratio of
    /// medians): from 0 to 1.
    pub score: f64,
    /// Its success share.
    pub success: Share,
    /// Whether less than 90 % surely succeed.
    pub failing: bool,
    /// The share of failed runs among the runs in which it failed, if runs were looked at.
    pub run_fails_if_it_fails: Option<Share>,
    /// The share of runs that did not fail, of those that used it and of those that did not.
    pub with_and_without: Option<(Share, Share)>,
    /// The newest traces in which it failed.
    pub recent_failures: Vec<String>,
}

/// One tool followed by another within a run, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Sequence {
    /// The tool before.
    pub before: String,
    /// The tool after.
    pub after: String,
    /// How often.
    pub count: u64,
}

/// Cost by a key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct CostLine {
    /// The model, agent or conversation; empty where none is told.
    pub name: String,
    /// Model calls.
    pub requests: u64,
    /// Input and output tokens.
    pub tokens: u64,
    /// Billionths of a US dollar.
    pub cost_nano: u64,
    /// Calls without a cost: the sum leaves them out.
    pub unpriced: u64,
}

/// What it cost: each list sums to the total.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Costs {
    /// All model calls.
    pub total: CostLine,
    /// By requested model.
    pub by_model: Vec<CostLine>,
    /// By agent.
    pub by_agent: Vec<CostLine>,
    /// By conversation, the dearest 50; the rest as `(others)`.
    pub by_conversation: Vec<CostLine>,
}

/// A step of the window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Step {
    /// Its start.
    pub start: i64,
    /// Operations of agents, models and tools.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// 95 of 100 model calls took at most so long, seconds; none without one.
    pub p95_s: Option<f64>,
    /// Billionths of a US dollar.
    pub cost_nano: u64,
}

/// Something to do, with what it rests on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Recommendation {
    /// What it is about: `cache`, `parallel`, `timeout`, `retries`, `context`, `prompt_cache`, `failing_tool`, `slow`.
    pub kind: String,
    /// Whom.
    pub subject: String,
    /// What to do.
    pub advice: String,
    /// The numbers that say so.
    pub evidence: String,
    /// What it would save in the window, seconds; 0 if that cannot be said.
    pub saves_s: f64,
    /// And in US dollars.
    pub saves_usd: f64,
    /// Traces that show it.
    pub trace_ids: Vec<String>,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Report {
    /// The start of the window, nanoseconds since 1970.
    pub start: i64,
    /// Its end.
    pub end: i64,
    /// The filter.
    pub q: String,
    /// All operations of agents, models, tools and workflows together.
    pub totals: Line,
    /// Agents, those with most runs first.
    pub agents: Vec<Line>,
    /// Models, as requested.
    pub models: Vec<Line>,
    /// Tools.
    pub tools: Vec<Line>,
    /// Workflows.
    pub workflows: Vec<Line>,
    /// Errors that are alike, the most first.
    pub errors: Vec<Cluster>,
    /// Tools ranked for selection, the best first.
    pub ranking: Vec<Ranked>,
    /// Which tool follows which.
    pub sequences: Vec<Sequence>,
    /// What it cost.
    pub costs: Costs,
    /// What goes along with what.
    pub correlations: Vec<Together>,
    /// The window in about 24 steps.
    pub trend: Vec<Step>,
    /// What could be better, what saves most first.
    pub recommendations: Vec<Recommendation>,
    /// How many runs were looked at one by one: the newest, at most 1,000; 0 if it is brief.
    pub runs_looked_at: u64,
    /// How many spans were looked at.
    pub scanned: u64,
}

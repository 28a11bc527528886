//! Faults as people write them down: a file of scenarios.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use agentvitals::health::Code;
use serde::Deserialize;

use super::super::runs::{Action, Run};
use crate::Error;
use crate::api::time::parse_duration;

/// The largest file of scenarios that is read.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// What goes wrong, from when to when, where, and how much.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Scenario {
    /// Names it in errors.
    pub name: String,
    /// When it begins, from the beginning of the hours that count.
    pub start: Duration,
    /// How long it lasts.
    pub duration: Duration,
    /// What goes wrong.
    pub kind: Fault,
    /// The model, tool or agent that it hits; without one it hits all.
    pub target: Option<String>,
    /// Which share of the calls (of runs, for silence) it hits, above 0, at most 1.
    pub rate: f64,
    /// How many times as much: as slow, as dear, as large, as often.
    pub factor: f64,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// Model calls fail with `server_error`.
    ModelError,
    /// Model calls are refused at once with `rate_limit`.
    RateLimit,
    /// Model calls take `factor` times as long (5).
    SlowModel,
    /// Tool calls take `factor` times as long (5).
    SlowTool,
    /// Tool calls fail with `tool_error`.
    ToolError,
    /// A tool call and the model call before it are made `factor` times more (10).
    Loop,
    /// Calls do not end before the fault does; then their caller gives them up.
    Stall,
    /// Model calls cost `factor` times as much (3).
    Cost,
    /// Model calls have `factor` times as many input tokens (3), and cost accordingly.
    ContextGrowth,
    /// Models answer without a token.
    EmptyOutput,
    /// Nothing is asked of the target any more: runs (of an agent) stop, calls (of a model or tool) are not made.
    Silence,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::ModelError,
        Self::RateLimit,
        Self::SlowModel,
        Self::SlowTool,
        Self::ToolError,
        Self::Loop,
        Self::Stall,
        Self::Cost,
        Self::ContextGrowth,
        Self::EmptyOutput,
        Self::Silence,
    ];

    /// The code under which health tells of it.
    pub fn code(self) -> Code {
        match self {
            Self::ModelError => Code::ModelError,
            Self::RateLimit => Code::RateLimit,
            Self::SlowModel => Code::SlowModel,
            Self::SlowTool => Code::SlowTool,
            Self::ToolError => Code::ToolError,
            Self::Loop => Code::Loop,
            Self::Stall => Code::Stall,
            Self::Cost => Code::Cost,
            Self::ContextGrowth => Code::ContextGrowth,
            Self::EmptyOutput => Code::EmptyOutput,
            Self::Silence => Code::Silence,
        }
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        self.code().as_str()
    }

    fn default_factor(self) -> f64 {
        match self {
            Self::SlowModel | Self::SlowTool => 5.0,
            Self::Loop => 10.0,
            _ => 3.0,
        }
    }

    pub(super) fn hits_models(self) -> bool {
        !matches!(self, Self::SlowTool | Self::ToolError | Self::Loop)
    }

    pub(super) fn hits_tools(self) -> bool {
        matches!(self, Self::SlowTool | Self::ToolError | Self::Loop | Self::Stall | Self::Silence)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    scenario: Vec<RawScenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    name: String,
    start: String,
    duration: String,
    kind: Fault,
    target: Option<String>,
    rate: Option<f64>,
    factor: Option<f64>,
}

/// Reads a file of scenarios for runs with these agents, models and tools.
///
/// # Errors
/// An [input error](Error::is_input) that names the file, the scenario, its field and value, and what is expected.
pub fn read_file(path: &Path, runs: &[Run], hours: f64) -> Result<Vec<Scenario>, Error> {
    let name = path.display().to_string();
    let unread = |error: std::io::Error| Error::input(format!("{name}: cannot be read: {error}"));
    let bytes = std::fs::metadata(path).map_err(unread)?.len();
    if bytes > MAX_BYTES {
        return Err(Error::input(format!("{name}: has {bytes} bytes, more than {MAX_BYTES}")));
    }
    let text = std::fs::read_to_string(path).map_err(unread)?;
    read(&text, runs, hours).map_err(|what| Error::input(format!("{name}: {what}")))
}

/// As [`read_file`], from text.
pub(super) fn read(text: &str, runs: &[Run], hours: f64) -> Result<Vec<Scenario>, String> {
    let file: RawFile = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let known = Known::of(runs);
    let mut names = BTreeSet::new();
    let mut scenarios = Vec::with_capacity(file.scenario.len());
    for raw in file.scenario {
        let place = raw.name.clone();
        if !names.insert(place.clone()) {
            return Err(format!("scenario {place:?} is there twice"));
        }
        scenarios.push(check(raw, &known, hours).map_err(|what| format!("scenario {place:?}: {what}"))?);
    }
    Ok(scenarios)
}

/// What runs consist of.
struct Known<'a> {
    agents: BTreeSet<&'a str>,
    models: BTreeSet<&'a str>,
    tools: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    fn of(runs: &'a [Run]) -> Self {
        let mut known = Self { agents: BTreeSet::new(), models: BTreeSet::new(), tools: BTreeSet::new() };
        for run in runs {
            known.agents.extend(run.agents.iter().map(|agent| agent.name.as_str()));
            for step in &run.steps {
                match &step.action {
                    Action::Model(call) => known.models.insert(&call.model),
                    Action::Tool(call) => known.tools.insert(&call.tool),
                };
            }
        }
        known
    }
}

fn check(raw: RawScenario, known: &Known<'_>, hours: f64) -> Result<Scenario, String> {
    let time = |field: &str, text: &str| {
        let nanos = parse_duration(text).map_err(|error| format!("{field}: {error}"))?;
        Ok::<_, String>(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    };
    let (start, duration) = (time("start", &raw.start)?, time("duration", &raw.duration)?);
    if duration.is_zero() {
        return Err(format!("duration: {:?} is no time at all", raw.duration));
    }
    if start.as_secs_f64() >= hours * 3_600.0 {
        return Err(format!("start: {:?} is not within the {hours} hours (--hours)", raw.start));
    }
    let rate = raw.rate.unwrap_or(1.0);
    if !(rate > 0.0 && rate <= 1.0) {
        return Err(format!("rate: {rate} is no share of calls, expected above 0 and at most 1"));
    }
    let factor = raw.factor.unwrap_or_else(|| raw.kind.default_factor());
    if !(factor > 0.0 && factor <= 1_000.0) {
        return Err(format!("factor: {factor} is not above 0 and at most 1000"));
    }
    if let Some(target) = raw.target.as_deref() {
        let (kind, text) = (raw.kind, raw.kind.as_str());
        let (model, tool) = (known.models.contains(target), known.tools.contains(target));
        let agent = known.agents.contains(target);
        if !(model || tool || agent) {
            let some: Vec<&str> =
                known.agents.iter().chain(&known.models).chain(&known.tools).copied().take(12).collect();
            return Err(format!(
                "target: {target:?} is no agent, model or tool of the runs; these are {}, ...",
                some.join(", ")
            ));
        }
        let fits = agent || (model && kind.hits_models()) || (tool && kind.hits_tools());
        if !fits {
            let what = if model { "a model" } else { "a tool" };
            return Err(format!("target: {target:?} is {what}, which {text} does not hit"));
        }
    }
    Ok(Scenario { name: raw.name, start, duration, kind: raw.kind, target: raw.target, rate, factor })
}

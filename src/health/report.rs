//! What health says: of each subject, of the whole, and what is wrong.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::score::{Profile, Term};
use super::{Code, Severity, Status};
use crate::views::Subject;

/// How everything is: made by [`Monitor::check`](super::Monitor::check) and `Telemetry::health`.
///
/// Prints as a table, serialises as JSON. Times are RFC 3339 in JSON, durations seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// The worst of agents, models and workflows; a tool makes it degraded at most.
    pub status: Status,
    /// The mean of the agents' scores (else of all others'), weighted by what they did; from 0 to 100.
    pub score: Option<f64>,
    /// How scores are made.
    pub profile: Profile,
    /// When it was made.
    #[serde(with = "rfc3339")]
    pub checked_at: SystemTime,
    /// The window that scores are of, seconds. A component with too few samples in it says which it took instead.
    pub window_s: f64,
    /// Agents, models, tools, workflows and operations, in this order.
    pub components: Vec<Component>,
    /// What is wrong, the worst first.
    pub issues: Vec<Issue>,
}

/// How one subject is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Component {
    /// Whom it is about.
    pub subject: Subject,
    /// How it is, after hysteresis.
    pub status: Status,
    /// From 0 to 100; `None` with too few samples.
    pub score: Option<f64>,
    /// What the score consists of.
    pub terms: Vec<Term>,
    /// The window that was taken, seconds.
    pub window_s: f64,
    /// Operations that ended in it.
    pub samples: u64,
    /// Those that failed; what its caller gave up is not among them.
    pub errors: u64,
    /// The share of them that failed, with its 95 % interval (Wilson).
    pub error_rate: Option<Estimate>,
    /// The mean of all durations, seconds.
    pub average_s: Option<f64>,
    /// Half of those without an error took at most so long, seconds.
    pub p50_s: Option<f64>,
    /// 95 % of those without an error took at most so long, seconds.
    pub p95_s: Option<f64>,
    /// What they cost, USD, as far as prices are known.
    pub cost_usd: f64,
    /// Input and output tokens.
    pub tokens: u64,
}

/// A share, and between what it is in truth with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Estimate {
    /// As observed.
    pub value: f64,
    /// At least.
    pub low: f64,
    /// At most.
    pub high: f64,
}

impl Estimate {
    pub(super) fn of_share(events: u64, trials: u64) -> Option<Self> {
        let (low, high) = (trials > 0)
            .then(|| crate::statistics::wilson(events.min(trials), trials, crate::statistics::Z_95))?;
        Some(Self { value: events as f64 / trials as f64, low, high })
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Issue {
    /// What.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// With whom.
    pub subject: Subject,
    /// In a sentence.
    pub summary: String,
    /// What it rests on.
    pub evidence: Evidence,
    /// Since when.
    #[serde(with = "rfc3339")]
    pub since: SystemTime,
    /// The error class that most calls failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_error: Option<Arc<str>>,
    /// Traces that show it, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace_ids: Vec<String>,
    /// What to do about it first.
    pub advice: String,
}

/// What an issue rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// What is seen.
    pub observed: f64,
    /// The target, or what is usual.
    pub limit: f64,
    /// The unit of both: `1` is a share from 0 to 1.
    pub unit: std::borrow::Cow<'static, str>,
    /// Over which time, seconds.
    pub window_s: f64,
    /// On how many operations it rests.
    pub samples: u64,
}

impl HealthReport {
    /// The component of a subject.
    pub fn component(&self, subject: &Subject) -> Option<&Component> {
        self.components.iter().find(|component| component.subject == *subject)
    }

    /// Puts traces to the issues: `find` says which show an issue.
    pub fn attach_traces(&mut self, find: impl Fn(&Issue) -> Vec<String>) {
        for issue in &mut self.issues {
            issue.trace_ids = find(issue);
        }
    }

    /// Whether something changed that people would want to know of: a status, an issue. Scores and counts change always.
    pub fn differs_from(&self, other: &Self) -> bool {
        let statuses = |report: &Self| -> Vec<(Subject, Status)> {
            report.components.iter().map(|one| (one.subject.clone(), one.status)).collect()
        };
        let issues = |report: &Self| -> Vec<(Code, Subject, Severity)> {
            report.issues.iter().map(|one| (one.code, one.subject.clone(), one.severity)).collect()
        };
        self.status != other.status || statuses(self) != statuses(other) || issues(self) != issues(other)
    }
}

/// A quantity with its unit, as people read it.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "1" => format!("{:.1} %", value * 100.0),
        "s" if value < 1.0 => format!("{:.0} ms", value * 1_000.0),
        "s" => format!("{value:.1} s"),
        "USD" => format!("${value:.4}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// A length of time, as people read it.
pub(super) fn length(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.summary)?;
        if let Some(error) = &self.top_error {
            write!(f, ", most with {error}")?;
        }
        for (place, trace) in self.trace_ids.iter().take(3).enumerate() {
            write!(f, "{}{trace}", if place == 0 { "; see " } else { ", " })?;
        }
        write!(f, " ({})", self.advice)
    }
}

impl fmt::Display for HealthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(score) = self.score {
            write!(f, ", score {score:.1}")?;
        }
        writeln!(f, " ({})", humane(self.checked_at))?;
        for issue in &self.issues {
            writeln!(f, "  {issue}")?;
        }
        let optional = |value: Option<f64>, unit: &str| {
            value.map_or_else(|| "-".to_owned(), |value| quantity(value, unit))
        };
        let name = |component: &Component| component.subject.to_string();
        let wide = self.components.iter().map(|one| name(one).chars().count()).max().unwrap_or(0).min(60);
        for one in &self.components {
            let score = one.score.map_or_else(|| "-".to_owned(), |score| format!("{score:.1}"));
            writeln!(
                f,
                "  {:wide$}  {:11} {score:>5}  {:>6} ended, {:>7} failed, p50 {:>8}, p95 {:>8}",
                name(one),
                one.status,
                one.samples,
                optional(one.error_rate.map(|rate| rate.value), "1"),
                optional(one.p50_s, "s"),
                optional(one.p95_s, "s"),
            )?;
        }
        Ok(())
    }
}

fn humane(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "-".to_owned(), |time| format!("{time:.0}"))
}

/// Times as RFC 3339.
pub(crate) mod rfc3339 {
    use std::time::SystemTime;

    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let time = Timestamp::try_from(*time).map_err(serde::ser::Error::custom)?;
        serializer.collect_str(&time)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: Timestamp = text
            .parse()
            .map_err(|error| serde::de::Error::custom(format!("{text:?} is no RFC 3339 time: {error}")))?;
        Ok(time.into())
    }
}

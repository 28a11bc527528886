//! What a rule, or health, says of a subject at one evaluation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cost::budget::{Scope, Standing};
use crate::health::{Evidence, Issue, Severity, Status};
use crate::probe::TargetHealth;
use crate::views::{Subject, SubjectKind};

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// It does.
    Active,
    /// It does not.
    Inactive,
    /// Too little is known: starts no alarm and ends none.
    Unknown,
}

/// Who makes conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Source {
    /// A rule: speaks of each subject at each evaluation. What it is silent about is unknown.
    Rule,
    /// Health: speaks of what is wrong only. What it is silent about is not so any more.
    Health,
}

/// What is said of a subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Condition {
    /// Who says it.
    pub source: Source,
    /// The rule's name; `health.` and the code for an issue.
    pub rule: Arc<str>,
    /// Conditions of one group and subject say the same with different severity: the most severe is shown alone.
    pub group: Arc<str>,
    /// Of whom.
    pub subject: Subject,
    /// How bad it is.
    pub severity: Severity,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What it rests on; `None` if nothing is known.
    pub evidence: Option<Evidence>,
    /// In a sentence.
    pub summary: String,
    /// What to do about it first.
    pub advice: String,
    /// Traces that show it.
    pub trace_ids: Vec<String>,
    /// The error class that most calls failed with.
    pub top_error: Option<Arc<str>>,
    /// For how long it must hold before it is told of.
    #[serde(with = "seconds")]
    pub hold: Duration,
    /// For how long it is told of after it has ceased to hold.
    #[serde(with = "seconds")]
    pub keep_firing: Duration,
    /// Further labels: part of what makes an alert the same.
    pub labels: BTreeMap<String, String>,
}

impl Condition {
    /// What health says: active at once, since its tests have seen enough.
    pub fn of_issue(issue: &Issue) -> Self {
        let rule: Arc<str> = format!("health.{}", issue.code).into();
        Self {
            source: Source::Health,
            group: Arc::clone(&rule),
            rule,
            subject: issue.subject.clone(),
            severity: issue.severity,
            verdict: Verdict::Active,
            evidence: Some(issue.evidence.clone()),
            summary: issue.summary.clone(),
            advice: issue.advice.clone(),
            trace_ids: issue.trace_ids.clone(),
            top_error: issue.top_error.clone(),
            hold: Duration::ZERO,
            keep_firing: Duration::from_secs(120),
            labels: BTreeMap::new(),
        }
    }
}

impl Condition {
    /// What a probe says: an unhealthy target is an error, a degraded one a warning. `None` otherwise.
    pub fn of_probe(target: &TargetHealth) -> Option<Self> {
        let severity = match target.status {
            Status::Unhealthy => Severity::Error,
            Status::Degraded => Severity::Warning,
            _ => return None,
        };
        let why = match (&target.failure, target.latency_s) {
            (Some(failure), _) => failure.to_string(),
            (None, Some(latency)) => format!("it takes {latency:.1} s"),
            (None, None) => "nothing is known".to_owned(),
        };
        let (failures, name) = (target.consecutive_failures, &target.name);
        Some(Self {
            source: Source::Health,
            rule: "probe".into(),
            group: "probe".into(),
            subject: Subject::system(),
            severity,
            verdict: Verdict::Active,
            evidence: Some(Evidence {
                observed: f64::from(failures),
                limit: 0.0,
                unit: "{failure}".into(),
                window_s: 0.0,
                samples: target.checks,
            }),
            summary: format!("{name} is {}: {why} ({failures} failed checks in a row)", target.status),
            advice: "look whether it runs and can be reached; take it out of the agents' list meanwhile"
                .to_owned(),
            trace_ids: Vec::new(),
            top_error: target.failure.as_ref().map(|failure| failure.class.as_ref().into()),
            hold: Duration::ZERO,
            keep_firing: Duration::ZERO,
            labels: BTreeMap::from([("target".to_owned(), name.to_string())]),
        })
    }
}

/// From which shares of a limit on somebody is told, and how bad that is.
const BUDGET: [(f64, Severity); 3] =
    [(1.0, Severity::Error), (0.8, Severity::Warning), (0.5, Severity::Info)];

impl Condition {
    /// What a budget says: from 50 % of its limit on for information, from 80 % on a warning, an error when all is spent.
    /// `None` below.
    pub fn of_budget(standing: &Standing) -> Option<Self> {
        let (limit, severity) = BUDGET.into_iter().find(|(share, _)| standing.share >= *share)?;
        let rule: Arc<str> = format!("budget.{}", standing.limit).into();
        let subject = match standing.scope {
            Scope::Agent => Subject::new(SubjectKind::Agent, standing.of.as_str()),
            _ => Subject::system(),
        };
        let mut labels = BTreeMap::new();
        if matches!(standing.scope, Scope::Run | Scope::Conversation) {
            labels.insert(standing.scope.as_str().to_owned(), standing.of.clone());
        }
        Some(Self {
            source: Source::Health,
            group: Arc::clone(&rule),
            rule,
            subject,
            severity,
            verdict: Verdict::Active,
            evidence: Some(Evidence {
                observed: standing.share,
                limit,
                unit: "1".into(),
                window_s: standing.window.seconds() as f64,
                samples: 1,
            }),
            summary: standing.to_string(),
            advice: "ask the guard before each call; raise the limit, or use a cheaper model".to_owned(),
            trace_ids: Vec::new(),
            top_error: None,
            hold: Duration::ZERO,
            keep_firing: Duration::ZERO,
            labels,
        })
    }
}

/// Durations as seconds.
pub(super) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(time.as_secs_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds)
            .map_err(|error| serde::de::Error::custom(format!("{seconds} is no number of seconds: {error}")))
    }
}

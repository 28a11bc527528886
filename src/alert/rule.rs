//! One rule.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::signal::Signal;
use crate::Error;
use crate::health::Severity;
use crate::views::{Subject, SubjectKind};

/// When a rule's condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Check {
    /// The signal is above this.
    Above(f64),
    /// The signal is at least this.
    AtLeast(f64),
    /// The signal is below this.
    Below(f64),
    /// The signal is more than so many times its baseline, and above `floor`: the baseline is an exponentially weighted mean
    /// of the values of the minutes before, half of it of the last hour, which a spike itself is kept out of.
    Spike {
        /// How many times the baseline.
        factor: f64,
        /// What is no spike, whatever the baseline: a share, seconds ..., as the signal.
        floor: f64,
    },
    /// The error budget of an objective is being spent so many times as fast as it may be, over the window and also over its
    /// twelfth, so that it ends soon after the trouble does (Google, Site Reliability Workbook, chapter 5).
    BurnRate {
        /// The share of operations that are to be good, e.g. 0.99.
        objective: f64,
        /// How many times as fast: 14.4 over 1 h spends 2 % of a 30-day budget.
        factor: f64,
    },
    /// The signal will pass the limit within the horizon, with the confidence of the forecast's 95 % interval.
    Forecast {
        /// The limit, from below.
        above: f64,
        /// How far ahead.
        #[serde(serialize_with = "super::condition::seconds::serialize")]
        horizon: Duration,
    },
}

/// A rule: about which signal of whom, when it holds, for how long, how bad that is.
///
/// ```
/// use agentvitals::alert::{Check, Rule, Signal};
/// use agentvitals::SubjectKind;
/// use agentvitals::health::Severity;
/// use std::time::Duration;
///
/// let rule = Rule::new("slow-agents", SubjectKind::Agent, Signal::P95, Check::Above(3.0))
///     .severity(Severity::Warning)
///     .hold(Duration::from_secs(120));
/// assert_eq!(rule.window, Duration::from_secs(300));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rule {
    /// Its name, which makes its alerts the same over restarts.
    pub name: Arc<str>,
    /// Which kind of subjects it is about.
    pub of: SubjectKind,
    /// Only those with one of these names, if there are any.
    pub names: Vec<Arc<str>>,
    /// What it looks at.
    pub signal: Signal,
    /// When it holds.
    pub check: Check,
    /// The window of the signal: 5 minutes.
    #[serde(serialize_with = "super::condition::seconds::serialize")]
    pub window: Duration,
    /// For how long it must hold (`for` in files): 0.
    #[serde(serialize_with = "super::condition::seconds::serialize")]
    pub hold: Duration,
    /// For how long it is told of after it has ceased to hold: 0.
    #[serde(serialize_with = "super::condition::seconds::serialize")]
    pub keep_firing: Duration,
    /// With fewer operations in the window nothing is known: 5; not for what is counted.
    pub min_samples: u64,
    /// How bad it is: warning.
    pub severity: Severity,
    /// Rules of one group say the same with different severity; without it the rule is its own group.
    pub group: Option<Arc<str>>,
    /// What to do about it.
    pub action: String,
    /// The summary; `{subject}`, `{value}` and `{limit}` are replaced. Empty: one is made.
    pub summary: String,
}

impl Rule {
    /// A rule with defaults.
    pub fn new(name: impl Into<Arc<str>>, of: SubjectKind, signal: Signal, check: Check) -> Self {
        Self {
            name: name.into(),
            of,
            names: Vec::new(),
            signal,
            check,
            window: Duration::from_secs(300),
            hold: Duration::ZERO,
            keep_firing: Duration::ZERO,
            min_samples: 5,
            severity: Severity::Warning,
            group: None,
            action: String::new(),
            summary: String::new(),
        }
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// For how long it must hold.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// The window of the signal.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Puts it in a group.
    #[must_use]
    pub fn group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = action.into();
        self
    }

    /// The summary.
    #[must_use]
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = summary.into();
        self
    }

    /// Whether it is about a subject.
    pub(super) fn is_about(&self, subject: &Subject) -> bool {
        subject.kind == self.of
            && subject.agent.is_none()
            && (self.names.is_empty() || self.names.contains(&subject.name))
    }

    /// The limit that values are compared with, and whether values above it are the bad ones.
    pub(super) fn limit(&self) -> (f64, bool) {
        match self.check {
            Check::Above(limit) | Check::AtLeast(limit) => (limit, true),
            Check::Below(limit) => (limit, false),
            Check::Spike { floor, .. } => (floor, true),
            Check::BurnRate { objective, factor } => ((1.0 - objective) * factor, true),
            Check::Forecast { above, .. } => (above, true),
        }
    }

    /// # Errors
    /// What cannot be, with its value and what is expected ([`Error::is_config`]).
    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::config(format!("rule {:?}: {what}", &*self.name)));
        if self.name.is_empty() || !self.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            return wrong("a name is letters, digits, '-', '_' and '.'".to_owned());
        }
        if self.signal.is_of_the_system() && self.of != SubjectKind::System {
            return wrong(format!("{} is of the system: of = \"system\"", self.signal.as_str()));
        }
        let (limit, _) = self.limit();
        if !limit.is_finite() || limit < 0.0 {
            return wrong(format!("a limit of {limit}: expected a number of at least 0"));
        }
        if self.signal.is_share() && !matches!(self.check, Check::BurnRate { .. }) && limit > 1.0 {
            return wrong(format!(
                "{} is a share from 0 to 1, and {limit} can never be passed: write \"{limit}%\" or {}",
                self.signal.as_str(),
                limit / 100.0
            ));
        }
        if self.window < Duration::from_secs(60) || self.window > Duration::from_secs(86_400) {
            return wrong(format!("a window of {:?}: expected 1m to 24h", self.window));
        }
        match self.check {
            Check::BurnRate { objective, factor } => {
                if !(objective > 0.0 && objective < 1.0) {
                    return wrong(format!(
                        "an objective of {objective}: expected above 0 and below 1, e.g. 0.99"
                    ));
                }
                if factor <= 0.0 || (1.0 - objective) * factor > 1.0 {
                    return wrong(format!(
                        "a burn rate of {factor}: more than all would have to fail; expected above 0 and at most {}",
                        1.0 / (1.0 - objective)
                    ));
                }
                if self.signal != Signal::ErrorRate {
                    return wrong("a burn rate is of error_rate".to_owned());
                }
            }
            Check::Spike { factor, .. } if factor <= 1.0 => {
                return wrong(format!("a spike of {factor} times its baseline: expected more than 1"));
            }
            Check::Forecast { horizon, .. }
                if horizon < Duration::from_secs(300) || horizon > Duration::from_secs(86_400) =>
            {
                return wrong(format!("a horizon of {horizon:?}: expected 5m to 24h"));
            }
            _ => {}
        }
        Ok(())
    }
}

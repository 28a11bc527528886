//! Alerts, and what is told of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::health::{Evidence, Severity};
use crate::views::Subject;

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Phase {
    /// It holds, but not long enough yet.
    Pending,
    /// It is told of.
    Firing,
    /// It is over.
    Resolved,
}

impl Phase {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// An alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Alert {
    /// The same for the same rule, subject and labels: 16 hexadecimal digits.
    pub id: String,
    /// The rule's name.
    pub rule: Arc<str>,
    /// Of whom.
    pub subject: Subject,
    /// How bad it is.
    pub severity: Severity,
    /// Where it stands.
    pub phase: Phase,
    /// Since when the condition holds.
    #[serde(with = "crate::health::rfc3339")]
    pub since: SystemTime,
    /// Since when it fires.
    #[serde(with = "optional_time", default, skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<SystemTime>,
    /// Since when it is over.
    #[serde(with = "optional_time", default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<SystemTime>,
    /// In a sentence.
    pub summary: String,
    /// What to do about it first.
    pub advice: String,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// The error class that most calls failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_error: Option<Arc<str>>,
    /// Traces that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace_ids: Vec<String>,
    /// Further labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Why nobody is told: a silence, maintenance, or a more severe alert that says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<String>,
    /// Who has taken it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8} {:8} {}", self.severity, self.phase.as_str(), self.summary)?;
        if let Some(error) = &self.top_error {
            write!(f, ", most with {error}")?;
        }
        match &self.muted {
            Some(why) => write!(f, " (muted: {why})"),
            None => Ok(()),
        }
    }
}

/// Why somebody is told of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NoticeKind {
    /// It fires.
    Firing,
    /// It has become more severe.
    Escalated,
    /// It still fires, and nobody has taken it on.
    Repeated,
    /// It is over. The notice's severity is [`Severity::Info`].
    Resolved,
}

impl NoticeKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Escalated => "escalated",
            Self::Repeated => "repeated",
            Self::Resolved => "resolved",
        }
    }
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Notice {
    /// Why.
    pub kind: NoticeKind,
    /// How bad the news is: the alert's severity, and info for its end.
    pub severity: Severity,
    /// In a sentence.
    pub message: String,
    /// The alert.
    pub alert: Alert,
}

impl Notice {
    pub(super) fn new(kind: NoticeKind, alert: Alert) -> Self {
        let (severity, message) = match kind {
            NoticeKind::Resolved => (Severity::Info, format!("over: {}", alert.summary)),
            NoticeKind::Repeated => (alert.severity, format!("still: {}", alert.summary)),
            _ => (alert.severity, alert.summary.clone()),
        };
        Self { kind, severity, message, alert }
    }
}

mod optional_time {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Time(#[serde(with = "crate::health::rfc3339")] SystemTime);

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Time).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<Time>::deserialize(deserializer)?.map(|Time(time)| time))
    }
}

//! Whom numbers are about.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What kind of thing a [`Subject`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SubjectKind {
    /// All agents together, and what they run on.
    System,
    /// An agent, by name.
    Agent,
    /// A model, as requested.
    Model,
    /// A tool, by name.
    Tool,
    /// A workflow, by name.
    Workflow,
    /// An operation of the program's own, by name.
    Operation,
}

impl SubjectKind {
    /// As it is written: `system`, `agent`, `model`, `tool`, `workflow`, `operation`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Agent => "agent",
            Self::Model => "model",
            Self::Tool => "tool",
            Self::Workflow => "workflow",
            Self::Operation => "operation",
        }
    }
}

impl fmt::Display for SubjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whom numbers are about: an agent, a model, a tool ..., the whole system; a model or a tool also as one agent uses it.
///
/// ```
/// use agentvitals::{Subject, SubjectKind};
/// let subject = Subject::new(SubjectKind::Tool, "search").used_by("planner");
/// assert_eq!(subject.to_string(), "tool search of planner");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Subject {
    /// What it is.
    pub kind: SubjectKind,
    /// Its name; empty for the system.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub name: Arc<str>,
    /// The agent that uses it, if only its use by this agent is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Arc<str>>,
}

impl Subject {
    /// A subject by kind and name.
    pub fn new(kind: SubjectKind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into(), agent: None }
    }

    /// All together.
    pub fn system() -> Self {
        Self::new(SubjectKind::System, "")
    }

    /// Only as this agent uses it.
    #[must_use]
    pub fn used_by(self, agent: impl Into<Arc<str>>) -> Self {
        Self { agent: Some(agent.into()), ..self }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match &self.agent {
            Some(agent) => write!(f, " of {agent}"),
            None => Ok(()),
        }
    }
}

//! What people have set themselves as targets.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::views::SubjectKind;

/// Targets: how much may fail, how long calls may take, how far the host may be loaded.
///
/// Without any setting they are those that the sources of the list of features aim at: p95 below 3 s is only used where it
/// is set, since models and agents differ by orders of magnitude; connection pools below 80 %, cache hits above 70 %, CPU
/// below 70 %, memory below 80 %.
///
/// ```
/// use agentvitals::health::Targets;
/// let targets = Targets::parse(r#"
///     error_rate = "5%"
///     [model]
///     p95 = 3.0
///     [tool]
///     error_rate = 0.02
///     p95 = 0.5
///     [host]
///     cpu = "70%"
/// "#)?;
/// assert_eq!(targets, Targets::parse(&targets.to_toml()?)?);
/// # Ok::<(), agentvitals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Targets {
    /// The share of calls that may fail, where a kind has none of its own.
    #[serde(deserialize_with = "share")]
    pub error_rate: f64,
    /// Of runs of agents.
    pub agent: OfKind,
    /// Of calls of models.
    pub model: OfKind,
    /// Of calls of tools.
    pub tool: OfKind,
    /// Of workflows.
    pub workflow: OfKind,
    /// Of what the process runs on.
    pub host: Host,
}

/// The targets of one kind of subject.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OfKind {
    /// The share that may fail.
    #[serde(deserialize_with = "optional_share", skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
    /// What 95 % of them may take at most, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
}

/// The targets of what a process runs on: shares from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Host {
    /// CPU in use, at most.
    #[serde(deserialize_with = "share")]
    pub cpu: f64,
    /// Memory in use, at most.
    #[serde(deserialize_with = "share")]
    pub memory: f64,
    /// Connections in use of those that a pool may have, at most.
    #[serde(deserialize_with = "share")]
    pub pool: f64,
    /// Cache hits among look-ups, at least.
    #[serde(deserialize_with = "share")]
    pub cache_hits: f64,
}

impl Default for Host {
    fn default() -> Self {
        Self { cpu: 0.70, memory: 0.80, pool: 0.80, cache_hits: 0.70 }
    }
}

impl Default for Targets {
    fn default() -> Self {
        Self {
            error_rate: 0.05,
            agent: OfKind::default(),
            model: OfKind::default(),
            tool: OfKind::default(),
            workflow: OfKind::default(),
            host: Host::default(),
        }
    }
}

impl Targets {
    /// Reads targets from TOML; what is not said stays as it is by default.
    ///
    /// # Errors
    /// An unknown key, or a value that is none ([`Error::is_config`]); says which and what is expected.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let targets: Self = toml::from_str(text)
            .map_err(|error| Error::config(format!("targets: {}", error.to_string().trim_end())))?;
        for (kind, of_kind) in [
            ("agent", &targets.agent),
            ("model", &targets.model),
            ("tool", &targets.tool),
            ("workflow", &targets.workflow),
        ] {
            if let Some(p95) = of_kind.p95.filter(|p95| !(*p95 > 0.0 && p95.is_finite())) {
                return Err(Error::config(format!("targets: {kind}.p95 = {p95}: expected seconds above 0")));
            }
        }
        Ok(targets)
    }

    /// As [`parse`](Self::parse) reads them.
    ///
    /// # Errors
    /// None that is known of; numbers that TOML cannot write would be one.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|error| Error::config(format!("targets: {error}")))
    }

    fn of_kind(&self, kind: SubjectKind) -> Option<&OfKind> {
        match kind {
            SubjectKind::Agent => Some(&self.agent),
            SubjectKind::Model => Some(&self.model),
            SubjectKind::Tool => Some(&self.tool),
            SubjectKind::Workflow => Some(&self.workflow),
            _ => None,
        }
    }

    /// The share of calls of a kind that may fail.
    pub fn error_rate(&self, kind: SubjectKind) -> f64 {
        self.of_kind(kind).and_then(|of_kind| of_kind.error_rate).unwrap_or(self.error_rate)
    }

    /// What 95 % of the calls of a kind may take at most, seconds, if that is set.
    pub fn p95(&self, kind: SubjectKind) -> Option<f64> {
        self.of_kind(kind)?.p95
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(f64),
    Text(String),
}

/// A share: 0.05 or "5%".
fn share<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let read = Text::deserialize(deserializer)?;
    let (share, said) = match &read {
        Text::Number(number) => (Some(*number), number.to_string()),
        Text::Text(text) => {
            let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            (percent.map(|percent| percent / 100.0), format!("{text:?}"))
        }
    };
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{said} is no share: expected a number from 0 to 1, or a percentage such as \"5%\""
        ))
    })
}

fn optional_share<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    share(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feature: G15
    #[test]
    fn targets_are_read_and_what_is_wrong_is_named() {
        let targets = Targets::parse("[model]\np95 = 3\n[host]\ncpu = \"50 %\"\n").unwrap();
        assert_eq!(targets.p95(SubjectKind::Model), Some(3.0));
        assert_eq!(targets.p95(SubjectKind::Tool), None);
        assert_eq!(targets.error_rate(SubjectKind::Model), 0.05);
        assert_eq!((targets.host.cpu, targets.host.pool), (0.5, 0.8));
        for (text, said) in [
            ("error_rate = 5", "5 is no share"),
            ("[tool]\nerror_rate = \"lots\"", "\"lots\" is no share"),
            ("[agent]\np95 = -1", "agent.p95 = -1"),
            ("[agent]\np59 = 1", "p59"),
        ] {
            let error = Targets::parse(text).unwrap_err();
            assert!(error.is_config() && error.to_string().contains(said), "{text}: {error}");
        }
    }
}

//! How bad something is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// How bad an issue or an alert is: `Info < Warning < Error < Critical`.
///
/// Read from and written as lower-case text. `medium` is taken for warning and `high` for error, as other systems have
/// it.
///
/// ```
/// use agentvitals::health::Severity;
/// assert!(Severity::Warning < Severity::Critical);
/// assert_eq!("high".parse::<Severity>()?, Severity::Error);
/// # Ok::<(), agentvitals::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing.
    #[serde(alias = "low", alias = "INFO")]
    Info,
    /// Worth a look in working hours.
    #[serde(alias = "medium", alias = "WARNING")]
    Warning,
    /// Users notice.
    #[serde(alias = "high", alias = "ERROR")]
    Error,
    /// Somebody has to act now.
    #[serde(alias = "CRITICAL")]
    Critical,
}

impl Severity {
    /// As it is written: `info`, `warning`, `error`, `critical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "info" | "low" => Self::Info,
            "warning" | "medium" => Self::Warning,
            "error" | "high" => Self::Error,
            "critical" => Self::Critical,
            _ => {
                return Err(Error::config(format!(
                    "severity {text:?} is not known: it is info, warning (medium), error (high) or critical"
                )));
            }
        })
    }
}

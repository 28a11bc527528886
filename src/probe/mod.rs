//! Probes: asks targets now and then whether they work, and keeps what they are.
//!
//! A target is anything that a [`Probe`] can check: an HTTP endpoint, an MCP server, a port, a closure. [`Prober`] checks each
//! in its interval, at most ten at a time, on a thread of its own, and tells how each is ([`TargetHealth`]). Nothing of it is
//! in the user's traces and metrics of operations.
//!
//! ```
//! use agentvitals::Clock;
//! use agentvitals::health::Status;
//! use agentvitals::probe::{Closure, ProbeConfig, Prober};
//!
//! let prober = Prober::start(Clock::system())?;
//! prober.add("vector-store", ProbeConfig::default(), Closure::new(|| Ok(())))?;
//! let health = prober.perform_health_check("vector-store")?;
//! assert_eq!(health.status, Status::Healthy);
//! # Ok::<(), agentvitals::Error>(())
//! ```

mod closure;
#[cfg(feature = "probes")]
mod http;
#[cfg(feature = "probes")]
mod mcp;
mod prober;
mod target;
#[cfg(feature = "probes")]
mod tcp;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::closure::Closure;
#[cfg(feature = "probes")]
pub use self::http::Http;
#[cfg(feature = "probes")]
pub use self::mcp::{Mcp, McpGeneration, McpReport};
pub use self::prober::{MAX_TARGETS, Prober};
pub use self::target::{Availability, Target, TargetHealth};
#[cfg(feature = "probes")]
pub use self::tcp::Tcp;
use crate::Error;

/// How a target is checked: the fields and defaults of the tool health check of the agent framework (S1) that the list of
/// features quotes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ProbeConfig {
    /// How often, seconds: 60.
    pub check_interval: f64,
    /// How long a check may take, seconds: 10.
    pub timeout: f64,
    /// So many failed checks in a row make a target unhealthy: 3.
    pub failure_threshold: u32,
    /// A check that takes longer makes it degraded, milliseconds: 5,000.
    pub degraded_threshold_ms: f64,
    /// Which statuses of HTTP are a success: 200.
    pub expected_status_codes: Vec<u16>,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            check_interval: 60.0,
            timeout: 10.0,
            failure_threshold: 3,
            degraded_threshold_ms: 5_000.0,
            expected_status_codes: vec![200],
        }
    }
}

impl ProbeConfig {
    /// How often.
    pub fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.check_interval.clamp(0.01, 86_400.0))
    }

    /// How long a check may take.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs_f64(self.timeout.clamp(0.001, 3_600.0))
    }

    /// # Errors
    /// A value that cannot be; names it and what is expected ([`Error::is_config`]).
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |field: &str, value: f64, expected: &str| {
            Err(Error::config(format!("probe: {field} = {value}: expected {expected}")))
        };
        if !(0.01..=86_400.0).contains(&self.check_interval) {
            return wrong("check_interval", self.check_interval, "0.01 to 86400 seconds");
        }
        if !(0.001..=3_600.0).contains(&self.timeout) {
            return wrong("timeout", self.timeout, "0.001 to 3600 seconds");
        }
        if self.failure_threshold == 0 {
            return wrong("failure_threshold", 0.0, "at least 1");
        }
        if !(self.degraded_threshold_ms > 0.0 && self.degraded_threshold_ms.is_finite()) {
            return wrong("degraded_threshold_ms", self.degraded_threshold_ms, "above 0");
        }
        if let Some(code) = self.expected_status_codes.iter().find(|code| !(100..600).contains(*code)) {
            return wrong("expected_status_codes", f64::from(*code), "codes from 100 to 599");
        }
        if self.expected_status_codes.is_empty() {
            return Err(Error::config("probe: expected_status_codes is empty: nothing would be a success"));
        }
        Ok(())
    }
}

/// Why a check failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// A class: `timeout`, `unreachable`, `status`, `protocol`, `tool_error`, `failed`.
    pub class: std::borrow::Cow<'static, str>,
    /// What happened.
    pub message: String,
}

impl Failure {
    /// A failure of a class.
    pub fn new(class: &'static str, message: impl Into<String>) -> Self {
        Self { class: class.into(), message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.message)
    }
}

/// What a check of a target does.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// Checks a target. It is given up after its deadline by whoever asks it.
pub trait Probe: Send + Sync + fmt::Debug + 'static {
    /// Checks once.
    fn check<'a>(&'a self, config: &'a ProbeConfig) -> Checking<'a>;
}

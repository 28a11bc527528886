//! Where receiving and the store meet: encoded OTLP goes in, and comes back as acknowledged or refused.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

/// What an OTLP request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "the stable signals of OTLP that the collector takes")]
pub enum Signal {
    /// An `ExportTraceServiceRequest`.
    Traces,
    /// An `ExportMetricsServiceRequest`.
    Metrics,
    /// An `ExportLogsServiceRequest`.
    Logs,
}

impl Signal {
    /// The name, as it is in paths (`/v1/traces`) and in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// What was made durable of a request; the rest is told in the reply as OTLP's partial success.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "the two figures and the text of OTLP's partial success")]
pub struct Accepted {
    /// Spans, data points or log records that are durable now, those that were there already included.
    pub accepted: u64,
    /// Those that are refused for good: the sender must not send them again.
    pub rejected: u64,
    /// Why, with the value at fault; empty when nothing was refused.
    pub reason: String,
}

/// Why nothing of a request was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no room now. The sender should try again after the delay.
    Overloaded {
        /// How long the sender should wait.
        retry_after: Duration,
    },
    /// The disk is full. The sender should try again later.
    DiskFull {
        /// What happened, for people.
        message: String,
        /// How long the sender should wait.
        retry_after: Duration,
    },
    /// The bytes are no request of this signal. Sending them again would not help.
    Malformed(String),
    /// The store is closing, or has failed: the sender should go elsewhere or try again.
    Unavailable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded { retry_after } => {
                write!(f, "too much is on its way to the disk; try again in {} ms", retry_after.as_millis())
            }
            Self::DiskFull { message, .. } | Self::Malformed(message) | Self::Unavailable(message) => {
                f.write_str(message)
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// The reply of [`Ingest::ingest`].
pub type Reply<'a> = Pin<Box<dyn Future<Output = Result<Accepted, Refusal>> + Send + 'a>>;

/// Takes encoded OTLP and makes it durable.
pub trait Ingest: Send + Sync + 'static {
    /// Takes one request as protobuf, decompressed. It resolves when what it accepted would survive a crash.
    fn ingest(&self, signal: Signal, request: Bytes) -> Reply<'_>;
}

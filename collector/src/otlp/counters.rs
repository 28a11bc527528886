//! What was taken and what was refused, by transport, signal and reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use crate::ingest::{Refusal, Signal};

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the transports of OTLP")]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
}

impl Transport {
    const ALL: [Self; 2] = [Self::Grpc, Self::Http];

    /// The name, as it is in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Too much is on its way.
    Overloaded,
    /// The disk is full.
    DiskFull,
    /// It is no request of its signal, or not compressed as it says.
    Malformed,
    /// The store is closing or has failed.
    Unavailable,
    /// It is larger than may be.
    TooLarge,
    /// It bears no token, or not the one.
    Unauthorized,
    /// Its encoding or compression is not known.
    Unsupported,
    /// It took too long to arrive.
    Timeout,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::Overloaded,
        Self::DiskFull,
        Self::Malformed,
        Self::Unavailable,
        Self::TooLarge,
        Self::Unauthorized,
        Self::Unsupported,
        Self::Timeout,
    ];

    /// The name, as it is in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::DiskFull => "disk_full",
            Self::Malformed => "malformed",
            Self::Unavailable => "unavailable",
            Self::TooLarge => "too_large",
            Self::Unauthorized => "unauthorized",
            Self::Unsupported => "unsupported",
            Self::Timeout => "timeout",
        }
    }

    /// Why a body was not read.
    pub(super) const fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::Unsupported,
            StatusCode::REQUEST_TIMEOUT => Self::Timeout,
            _ => Self::Malformed,
        }
    }
}

impl From<&Refusal> for Reason {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Overloaded { .. } => Self::Overloaded,
            Refusal::DiskFull { .. } => Self::DiskFull,
            Refusal::Malformed(_) => Self::Malformed,
            Refusal::Unavailable(_) => Self::Unavailable,
        }
    }
}

#[derive(Debug, Default)]
struct OfSignal {
    requests: AtomicU64,
    bytes: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

/// Counts requests; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Counters(Arc<[[OfSignal; 3]; 2]>);

/// What was counted of one signal over one transport.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counted {
    /// How they came.
    pub transport: Transport,
    /// What they carried.
    pub signal: Signal,
    /// Requests that were acknowledged.
    pub requests: u64,
    /// Their bytes, decompressed.
    pub bytes: u64,
    /// Requests that were refused, by reason; reasons without any left out.
    pub refused: Vec<(Reason, u64)>,
}

impl Counters {
    const fn signal(signal: Signal) -> usize {
        signal as usize
    }

    pub(super) fn taken(&self, transport: Transport, signal: Signal, bytes: usize) {
        let of = &self.0[transport as usize][Self::signal(signal)];
        of.requests.fetch_add(1, Ordering::Relaxed);
        of.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, transport: Transport, signal: Signal, reason: Reason) {
        let of = &self.0[transport as usize][Self::signal(signal)];
        of.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Vec<Counted> {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut out = Vec::new();
        for transport in Transport::ALL {
            for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
                let of = &self.0[transport as usize][Self::signal(signal)];
                let refused = Reason::ALL.map(|reason| (reason, get(&of.refused[reason as usize])));
                out.push(Counted {
                    transport,
                    signal,
                    requests: get(&of.requests),
                    bytes: get(&of.bytes),
                    refused: refused.into_iter().filter(|(_, count)| *count > 0).collect(),
                });
            }
        }
        out
    }
}

//! Attempts, and when to make the next.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use prost::bytes::Bytes;

use super::Transport;
use crate::export::limit::Limit;

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Why one attempt failed.
#[derive(Debug)]
pub(super) enum Attempt {
    /// Trying again may help, after the time that the receiver asked for if it did.
    Retry { after: Option<Duration>, message: String },
    /// The receiver takes smaller requests only.
    TooLarge(String),
    /// Trying again will not help.
    Refused(String),
}

/// Why a request was given up.
#[derive(Debug)]
pub(super) enum Failure {
    TooLarge(String),
    Refused(String),
    /// The deadline passed, or the next attempt would have come after it; holds what the last attempt said.
    Deadline(Option<String>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(message) | Self::Refused(message) => f.write_str(message),
            Self::Deadline(Some(message)) => write!(f, "{message} (until the deadline)"),
            Self::Deadline(None) => f.write_str("no answer before the deadline"),
        }
    }
}

/// Sends a request until it is taken, refused for good, or the limit passes.
///
/// `last` is what the receiver last said against this or an earlier request, `None` once it has taken one: a request
/// that gets no turn before the deadline fails for the reason for which the one before it did.
pub(super) async fn deliver(
    transport: &mut Transport,
    body: &Bytes,
    limit: &mut Limit,
    last: &mut Option<String>,
) -> Result<Bytes, Failure> {
    let mut delay = FIRST_DELAY;
    loop {
        if limit.remaining().is_zero() {
            return Err(Failure::Deadline(last.clone()));
        }
        let attempt = tokio::select! {
            biased;
            attempt = send(transport, body.clone()) => attempt,
            () = limit.passed() => return Err(Failure::Deadline(last.clone())),
        };
        let after = match attempt {
            Ok(response) => {
                *last = None;
                return Ok(response);
            }
            Err(Attempt::TooLarge(message)) => return Err(Failure::TooLarge(message)),
            Err(Attempt::Refused(message)) => return Err(Failure::Refused(message)),
            Err(Attempt::Retry { after, message }) => {
                *last = Some(message);
                after
            }
        };
        let wait = after.unwrap_or_else(|| with_jitter(delay));
        delay = (delay * 2).min(LONGEST_DELAY);
        if wait >= limit.remaining() {
            // No further attempt fits, and the deadline only ever comes closer: nothing to wait for.
            return Err(Failure::Deadline(last.clone()));
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = limit.passed() => return Err(Failure::Deadline(last.clone())),
        }
    }
}

async fn send(transport: &mut Transport, body: Bytes) -> Result<Bytes, Attempt> {
    match transport {
        #[cfg(feature = "otlp-grpc")]
        Transport::Grpc(grpc) => grpc.send(body).await,
        #[cfg(feature = "otlp-http")]
        Transport::Http(http) => http.send(body).await,
    }
}

/// Between half and the whole of `delay`, so that many clients do not come back all at once.
fn with_jitter(delay: Duration) -> Duration {
    // Each RandomState is keyed anew: enough randomness for this, without a dependency.
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let half = delay / 2;
    half + half.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

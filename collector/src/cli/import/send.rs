//! Requests to an OTLP endpoint, again while it asks for that.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use super::read::Batch;
use crate::Error;
use crate::cli::http::Http;
use crate::codec::RpcStatus;
use crate::ingest::Signal;

/// How often a request is sent at most.
const ATTEMPTS: u32 = 20;
/// How long to wait before the next attempt when the endpoint does not say.
const RETRY: Duration = Duration::from_millis(250);
/// The longest wait that an endpoint can ask for.
const MOST_WAIT: Duration = Duration::from_secs(60);

/// How many records of each kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) spans: u64,
    pub(super) logs: u64,
    pub(super) points: u64,
}

impl Counts {
    pub(super) const fn records(&self) -> u64 {
        self.spans + self.logs + self.points
    }

    fn add(&mut self, signal: Signal, count: u64) {
        let of = match signal {
            Signal::Traces => &mut self.spans,
            Signal::Logs => &mut self.logs,
            Signal::Metrics => &mut self.points,
        };
        *of = of.saturating_add(count);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [(self.spans, "spans"), (self.logs, "log records"), (self.points, "data points")];
        let mut told =
            kinds.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
        match told.next() {
            None => f.write_str("nothing"),
            Some(first) => f.write_str(&told.fold(first, |all, next| format!("{all}, {next}"))),
        }
    }
}

/// A connection, and what became of what was sent.
pub(super) struct Sending {
    http: Http,
    endpoint: String,
    /// What was acknowledged or rejected.
    pub(super) sent: Counts,
    /// What of it was rejected.
    pub(super) rejected: Counts,
    /// Why, for the first of it.
    pub(super) reason: Option<String>,
}

impl Sending {
    pub(super) fn new(http: Http, endpoint: &str) -> Self {
        let endpoint = endpoint.trim_end_matches('/');
        let scheme = if endpoint.contains("://") { "" } else { "http://" };
        let endpoint = format!("{scheme}{endpoint}");
        Self { http, endpoint, sent: Counts::default(), rejected: Counts::default(), reason: None }
    }

    pub(super) fn send(&mut self, batch: Batch) -> Result<(), Error> {
        let Batch { signal, records, body } = batch;
        let url = format!(
            "{}/v1/{}",
            self.endpoint,
            match signal {
                Signal::Traces => "traces",
                Signal::Logs => "logs",
                Signal::Metrics => "metrics",
            }
        );
        let body = Bytes::from(body);
        for _ in 0..ATTEMPTS {
            let answer = self.http.send(Method::POST, &url, "application/x-protobuf", body.clone())?;
            match answer.status {
                200 => {
                    self.sent.add(signal, records);
                    if let Some((rejected, reason)) = rejected(signal, &answer.body) {
                        self.rejected.add(signal, rejected);
                        self.reason.get_or_insert(reason);
                    }
                    return Ok(());
                }
                // What OTLP lets a sender send again.
                429 | 502 | 503 | 504 => self.http.wait(answer.retry_after.unwrap_or(RETRY).min(MOST_WAIT)),
                400 | 413 => {
                    // The request is lost as a whole; others may not be.
                    self.sent.add(signal, records);
                    self.rejected.add(signal, records);
                    self.reason.get_or_insert_with(|| refusal(answer.status, &answer.body));
                    return Ok(());
                }
                status => {
                    return Err(Error::failed(format!("{url} refuses: {}", refusal(status, &answer.body))));
                }
            }
        }
        Err(Error::failed(format!(
            "{url} asked {ATTEMPTS} times to send again; {} were taken before",
            self.sent
        )))
    }
}

fn refusal(status: u16, body: &Bytes) -> String {
    let message = RpcStatus::decode(body.clone()).map(|status| status.message).unwrap_or_default();
    if message.is_empty() { status.to_string() } else { format!("{status}: {message}") }
}

/// How many records of a request were rejected, and why.
fn rejected(signal: Signal, body: &Bytes) -> Option<(u64, String)> {
    let (rejected, reason) = match signal {
        Signal::Traces => {
            let partial = ExportTraceServiceResponse::decode(body.clone()).ok()?.partial_success?;
            (partial.rejected_spans, partial.error_message)
        }
        Signal::Logs => {
            let partial = ExportLogsServiceResponse::decode(body.clone()).ok()?.partial_success?;
            (partial.rejected_log_records, partial.error_message)
        }
        Signal::Metrics => {
            let partial = ExportMetricsServiceResponse::decode(body.clone()).ok()?.partial_success?;
            (partial.rejected_data_points, partial.error_message)
        }
    };
    let rejected = u64::try_from(rejected).ok().filter(|&rejected| rejected > 0)?;
    Some((rejected, reason))
}

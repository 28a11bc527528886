//! OTLP: messages, their size, their delivery.
//!
//! This is a client of our own on top of the OTLP messages, instead of the exporters of `opentelemetry-otlp`,
//! because of what those hide: how large a request is once encoded, which spans a receiver rejected, and
//! whether and when a retry makes sense. A request is encoded once, whatever number of attempts it takes.

mod encode;
#[cfg(feature = "otlp-grpc")]
mod grpc;
#[cfg(feature = "otlp-http")]
mod http;
mod retry;

use std::collections::VecDeque;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;

use self::encode::Request;
use self::retry::{Failure, deliver};
use super::limit::Limit;
use super::stats::{ExportStats, LossReason, Tally};
use crate::Error;
use crate::config::{Destination, Protocol, Signal};

/// One way to send an encoded request and get the encoded response.
#[derive(Debug)]
enum Transport {
    #[cfg(feature = "otlp-grpc")]
    Grpc(Box<grpc::Grpc>),
    #[cfg(feature = "otlp-http")]
    Http(Box<http::Http>),
}

impl Transport {
    /// Must be called inside the runtime that will drive it.
    fn new(destination: &Destination, signal: Signal) -> Result<Self, Error> {
        match destination.protocol {
            #[cfg(feature = "otlp-grpc")]
            Protocol::Grpc => Ok(Self::Grpc(Box::new(grpc::Grpc::new(destination, signal)?))),
            #[cfg(not(feature = "otlp-grpc"))]
            Protocol::Grpc => Err(Error::config(format!(
                "{signal:?} go to {:?} over gRPC, but this build lacks it; enable the feature otlp-grpc or choose \
                 http/protobuf",
                destination.url
            ))),
            #[cfg(feature = "otlp-http")]
            Protocol::HttpProtobuf => Ok(Self::Http(Box::new(http::Http::new(destination)?))),
            #[cfg(not(feature = "otlp-http"))]
            Protocol::HttpProtobuf => Err(Error::config(format!(
                "{signal:?} go to {:?} over HTTP, but this build lacks it; enable the feature otlp-http or choose grpc",
                destination.url
            ))),
        }
    }
}

/// Reads the file of a TLS setting, which must hold a PEM section whose title ends in `title`. TLS libraries
/// take a file without one for an empty list.
fn read_pem(variable: &str, path: &std::path::Path, title: &str) -> Result<Vec<u8>, Error> {
    let refuse = |why: &dyn std::fmt::Display| {
        Error::config(format!("{variable} is {}: {why}; expected a PEM file with a {title}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(&error))?;
    let end = format!("{title}-----");
    if !text.lines().any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&end)) {
        return Err(refuse(&"it has none"));
    }
    Ok(text.into_bytes())
}

/// Sends spans.
#[derive(Debug)]
pub(crate) struct TraceClient {
    transport: Transport,
    url: String,
    resource: ResourceAttributesWithSchema,
    max_bytes: usize,
    /// What the receiver last said against a request.
    last: Option<String>,
}

impl TraceClient {
    pub(crate) fn new(
        destination: &Destination,
        resource: &Resource,
        max_bytes: usize,
    ) -> Result<Self, Error> {
        Ok(Self {
            transport: Transport::new(destination, Signal::Traces)?,
            url: destination.url.clone(),
            resource: resource.into(),
            max_bytes,
            last: None,
        })
    }

    /// Delivers all spans before the limit and counts each as exported or lost.
    pub(crate) async fn export(&mut self, spans: Vec<SpanData>, limit: &mut Limit, tally: &Tally) {
        let (requests, too_large) = encode::traces(spans, &self.resource, self.max_bytes, &tally.stats);
        if too_large > 0 {
            tally.lost(LossReason::TooLarge, too_large);
            tally.stats.set_last_error(format!(
                "{too_large} spans were each larger than a request may be ({} bytes)",
                self.max_bytes
            ));
        }
        let mut requests = VecDeque::from(requests);
        while let Some(request) = requests.pop_front() {
            let count = request.items;
            match deliver(&mut self.transport, &request.body, limit, &mut self.last).await {
                Ok(response) => self.taken(&response, count, tally),
                Err(failure @ Failure::TooLarge(_)) if count > 1 => match encode::halve_traces(&request) {
                    // The receiver takes less than we thought.
                    Some((first, second)) => {
                        requests.push_front(second);
                        requests.push_front(first);
                    }
                    None => self.failed(&failure, &request, limit, tally),
                },
                Err(failure) => self.failed(&failure, &request, limit, tally),
            }
        }
    }

    fn taken(&self, response: &[u8], count: u64, tally: &Tally) {
        let partial =
            ExportTraceServiceResponse::decode(response).ok().and_then(|message| message.partial_success);
        let rejected =
            partial.as_ref().map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0));
        let rejected = rejected.min(count);
        tally.exported(count - rejected);
        if rejected > 0 {
            tally.lost(LossReason::Rejected, rejected);
        }
        if let Some(partial) = partial.filter(|partial| rejected > 0 || !partial.error_message.is_empty()) {
            tally
                .stats
                .set_last_error(format!("{} rejected {rejected} spans: {}", self.url, partial.error_message));
        }
    }

    fn failed(&self, failure: &Failure, request: &Request, limit: &Limit, tally: &Tally) {
        let reason = match failure {
            Failure::TooLarge(_) => LossReason::TooLarge,
            Failure::Refused(_) => LossReason::ExportFailed,
            Failure::Deadline(_) => limit.reason(),
        };
        tally.lost(reason, request.items);
        tally
            .stats
            .set_last_error(format!("{} spans were not exported to {}: {failure}", request.items, self.url));
    }
}

/// Sends metrics.
#[derive(Debug)]
pub(crate) struct MetricClient {
    transport: Transport,
    url: String,
    max_bytes: usize,
    /// What the receiver last said against a request.
    last: Option<String>,
}

impl MetricClient {
    pub(crate) fn new(destination: &Destination, max_bytes: usize) -> Result<Self, Error> {
        let transport = Transport::new(destination, Signal::Metrics)?;
        Ok(Self { transport, url: destination.url.clone(), max_bytes, last: None })
    }

    /// Delivers a collection before the limit, in as many requests as it needs.
    pub(crate) async fn export(
        &mut self,
        metrics: &ResourceMetrics,
        limit: &mut Limit,
        stats: &ExportStats,
    ) -> Result<(), String> {
        let mut result = Ok(());
        for request in encode::metrics(metrics, self.max_bytes) {
            match deliver(&mut self.transport, &request.body, limit, &mut self.last).await {
                Ok(response) => {
                    let partial = ExportMetricsServiceResponse::decode(&response[..]).ok();
                    if let Some(partial) = partial.and_then(|message| message.partial_success)
                        && (partial.rejected_data_points > 0 || !partial.error_message.is_empty())
                    {
                        let message = format!(
                            "{} rejected {} data points: {}",
                            self.url, partial.rejected_data_points, partial.error_message
                        );
                        if partial.rejected_data_points > 0 {
                            result = Err(message);
                        } else {
                            stats.set_last_error(message);
                        }
                    }
                }
                Err(failure) => result = Err(format!("{}: {failure}", self.url)),
            }
        }
        result
    }
}

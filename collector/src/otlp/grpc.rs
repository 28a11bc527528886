//! OTLP/gRPC. Requests stay the bytes that they are: the store decodes them, and writes them as they came.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Code, Request, Response, Status};

use super::budget::{NO_ROOM, RETRY, metered};
use super::{REQUEST_TIMEOUT, Reason, Shared, TOKEN_EXPECTED, Transport};
use crate::Error;
use crate::codec::{Delay, Detail, RETRY_INFO, Raw, RetryInfo, RpcStatus};
use crate::ingest::{Accepted, Refusal, Signal};
use crate::listen::Incoming;

/// Bytes that a sender may be ahead of what was read, of one request and of all of a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;

/// Serves until `ended`.
pub(super) async fn serve(
    listener: Incoming,
    shared: Shared,
    ended: impl Future<Output = ()>,
) -> Result<(), Error> {
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(256)
        .http2_max_header_list_size(16 << 10)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        // A request of some hundred kilobytes comes without waiting for room; what is not read yet stays bounded.
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(Traces(shared.clone()))
        .add_service(Metrics(shared.clone()))
        .add_service(Logs(shared))
        .serve_with_incoming_shutdown(listener, ended);
    server.await.map_err(|error| Error::failed(format!("OTLP/gRPC: {error}")))
}

/// A service by its name and the signal that it takes.
macro_rules! service {
    ($service:ident, $name:literal, $signal:expr) => {
        #[derive(Clone)]
        struct $service(Shared);

        impl NamedService for $service {
            const NAME: &'static str = $name;
        }

        impl tower::Service<http::Request<Body>> for $service {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = Answer;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Self::Future {
                let shared = self.0.clone();
                Box::pin(async move {
                    let known = request.uri().path() == concat!("/", $name, "/Export");
                    Ok(if known {
                        export(shared, $signal, request).await
                    } else {
                        let path = request.uri().path();
                        Status::unimplemented(format!("there is no method {path}")).into_http()
                    })
                })
            }
        }
    };
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

service!(Traces, "opentelemetry.proto.collector.trace.v1.TraceService", Signal::Traces);
service!(Metrics, "opentelemetry.proto.collector.metrics.v1.MetricsService", Signal::Metrics);
service!(Logs, "opentelemetry.proto.collector.logs.v1.LogsService", Signal::Logs);

async fn export(shared: Shared, signal: Signal, request: http::Request<Body>) -> http::Response<Body> {
    let refused = |reason: Reason| shared.counters.refused(Transport::Grpc, signal, reason);
    if !shared.token.admits(request.headers()) {
        refused(Reason::Unauthorized);
        return Status::unauthenticated(TOKEN_EXPECTED).into_http();
    }
    let counters = shared.counters.clone();
    let no_room = move || {
        counters.refused(Transport::Grpc, signal, Reason::Overloaded);
        overloaded(NO_ROOM, RETRY)
    };
    // Before the body is read, so that what is read is bounded.
    let Some(held) = shared.budget.begin() else { return no_room().into_http() };
    // What the request takes is taken until it is answered.
    let _held = held.clone();
    let request = request.map(|body| metered(body, held.clone(), no_room.clone()));
    let decompressed = move |length| if held.grow(length) { Ok(()) } else { Err(no_room()) };
    let mut grpc = Grpc::new(Raw::admitting(decompressed))
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(shared.max_request);
    let service = Export { shared: shared.clone(), signal };
    // A body that trickles in must not hold its permit for ever.
    let Ok(response) = tokio::time::timeout(REQUEST_TIMEOUT, grpc.unary(service, request)).await else {
        refused(Reason::Timeout);
        let message = format!("the request took longer than {} s", REQUEST_TIMEOUT.as_secs());
        return Status::deadline_exceeded(message).into_http();
    };
    // What the transport itself refuses never comes to the service: too large, not compressed as it says.
    if let Some(reason) =
        Status::from_header_map(response.headers()).and_then(|status| transport_reason(&status))
    {
        refused(reason);
    }
    response
}

/// The reason of a status that the service does not give.
fn transport_reason(status: &Status) -> Option<Reason> {
    match status.code() {
        // What there is no room for has been counted.
        Code::OutOfRange | Code::ResourceExhausted => Some(Reason::TooLarge),
        Code::Unimplemented => Some(Reason::Unsupported),
        Code::Internal | Code::Unknown | Code::Cancelled => Some(Reason::Malformed),
        _ => None,
    }
}

struct Export {
    shared: Shared,
    signal: Signal,
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (shared, signal) = (self.shared.clone(), self.signal);
        Box::pin(async move {
            let taken = shared.take(Transport::Grpc, signal, request.into_inner()).await;
            taken.map(|accepted| Response::new(reply(accepted))).map_err(|refusal| status(&refusal))
        })
    }
}

/// The reply to a request of which at least something was taken: `Export{Trace,Metrics,Logs}ServiceResponse`, which
/// have the same fields.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `Export{Trace,Metrics,Logs}PartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

pub(super) fn reply(accepted: Accepted) -> Bytes {
    ExportResponse { partial_success: partial(accepted) }.encode_to_vec().into()
}

pub(super) fn partial(accepted: Accepted) -> Option<PartialSuccess> {
    (accepted.rejected > 0 || !accepted.reason.is_empty()).then(|| PartialSuccess {
        rejected: i64::try_from(accepted.rejected).unwrap_or(i64::MAX),
        error_message: accepted.reason,
    })
}

fn status(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Overloaded { retry_after } | Refusal::DiskFull { retry_after, .. } => {
            overloaded(&refusal.to_string(), *retry_after)
        }
        Refusal::Malformed(message) => Status::invalid_argument(message),
        Refusal::Unavailable(message) => Status::unavailable(message),
    }
}

/// UNAVAILABLE with the delay after which a sender should try again (`google.rpc.RetryInfo`).
pub(super) fn overloaded(message: &str, retry_after: Duration) -> Status {
    let seconds = i64::try_from(retry_after.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(retry_after.subsec_nanos()).unwrap_or(0);
    let delay = Delay { seconds, nanos };
    let retry = RetryInfo { retry_delay: Some(delay) }.encode_to_vec();
    let detail = Detail { type_url: RETRY_INFO.to_owned(), value: retry };
    let status =
        RpcStatus { code: Code::Unavailable as i32, message: message.to_owned(), details: vec![detail] };
    Status::with_details(Code::Unavailable, message, status.encode_to_vec().into())
}

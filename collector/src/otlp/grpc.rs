//! OTLP/gRPC. Requests stay the bytes that they are: the store decodes them, and writes them as they came.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Code, Request, Response, Status};

use super::Shared;
use crate::Error;
use crate::ingest::{Accepted, Refusal, Signal};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Serves until `ended`.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Shared,
    ended: impl Future<Output = ()>,
) -> Result<(), Error> {
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(256)
        .http2_max_header_list_size(16 << 10)
        .http2_keepalive_interval(Some(std::time::Duration::from_secs(60)))
        .tcp_nodelay(true)
        .add_service(Traces(shared))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), ended);
    server.await.map_err(|error| Error::failed(format!("OTLP/gRPC: {error}")))
}

/// The service that takes spans.
#[derive(Clone)]
struct Traces(Shared);

impl NamedService for Traces {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl tower::Service<http::Request<Body>> for Traces {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move {
            if request.uri().path() != EXPORT {
                return Ok(
                    Status::unimplemented(format!("there is no method {}", request.uri().path())).into_http()
                );
            }
            // Before the body is read, so that what is read is bounded.
            let Ok(_permit) = shared.permits.clone().try_acquire_owned() else {
                return Ok(overloaded("too many requests are in flight", std::time::Duration::from_secs(1))
                    .into_http());
            };
            let mut grpc = Grpc::new(Raw)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd)
                .max_decoding_message_size(shared.max_request);
            Ok(grpc.unary(Export(shared), request).await)
        })
    }
}

struct Export(Shared);

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move {
            let accepted = shared.ingest.ingest(Signal::Traces, request.into_inner()).await;
            accepted.map(|accepted| Response::new(reply(accepted))).map_err(|refusal| status(&refusal))
        })
    }
}

/// The reply to a request of which at least something was taken.
pub(super) fn reply(accepted: Accepted) -> Bytes {
    ExportTraceServiceResponse { partial_success: partial(accepted) }.encode_to_vec().into()
}

pub(super) fn partial(accepted: Accepted) -> Option<ExportTracePartialSuccess> {
    (accepted.rejected > 0 || !accepted.reason.is_empty()).then(|| ExportTracePartialSuccess {
        rejected_spans: i64::try_from(accepted.rejected).unwrap_or(i64::MAX),
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
fn overloaded(message: &str, retry_after: std::time::Duration) -> Status {
    let seconds = i64::try_from(retry_after.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(retry_after.subsec_nanos()).unwrap_or(0);
    let delay = Delay { seconds, nanos };
    let retry = RetryInfo { retry_delay: Some(delay) }.encode_to_vec();
    let detail = Detail { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: retry };
    let status =
        RpcStatus { code: Code::Unavailable as i32, message: message.to_owned(), details: vec![detail] };
    Status::with_details(Code::Unavailable, message, status.encode_to_vec().into())
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Messages as bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}

//! The server behind an [`OtlpReceiver`](super::OtlpReceiver): one port, gRPC and HTTP told apart by the content
//! type.

use std::convert::Infallible;
use std::io::Read as _;
use std::net::TcpListener;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service as _;

use super::fault::{Fault, Signal};
use super::receiver::Shared;

const GRPC: &str = "application/grpc";
const PROTOBUF: &str = "application/x-protobuf";
const GRPC_TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const GRPC_METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Serves until `stopped`. What is still open then ends with the runtime, at once.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        // A connection that was closed before it was accepted is no reason to stop.
        let Ok((stream, _)) = accepted else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&shared)));
            // The client sees why a connection ended; a test asks the client.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, Infallible> {
    let is_grpc = media_type(request.headers()).starts_with(GRPC);
    let signal = match (is_grpc, request.uri().path()) {
        (true, GRPC_TRACES) | (false, "/v1/traces") => Signal::Traces,
        (true, GRPC_METRICS) | (false, "/v1/metrics") => Signal::Metrics,
        (true, path) => {
            return Ok(tonic::Status::unimplemented(format!("no method {path}")).into_http());
        }
        (false, path) => {
            let message = format!("no resource {path}, expected /v1/traces or /v1/metrics");
            return Ok(refusal(StatusCode::NOT_FOUND, tonic::Code::NotFound, message));
        }
    };
    let fault = shared.change(|received| {
        received.arrived(signal, request.headers());
        received.faults.take(signal)
    });
    // The body is read whole even if it is refused then: a client that is still sending would otherwise see a
    // broken connection instead of the answer.
    let (head, body) = request.into_parts();
    // gRPC prefixes its message with 5 bytes; a compressed body is smaller, its message is checked later.
    let limit = shared.max_message_bytes.saturating_add(5);
    let body = Limited::new(body, limit).collect().await.map(http_body_util::Collected::to_bytes);
    if let Some(fault) = fault {
        shared.change(|received| received.failed());
        return Ok(faulty(fault, is_grpc).await);
    }
    let Ok(body) = body else {
        shared.change(|received| received.failed());
        return Ok(too_large(shared.max_message_bytes, is_grpc));
    };
    if is_grpc {
        Ok(grpc(Request::from_parts(head, Full::new(body)), signal, shared).await)
    } else {
        Ok(plain(&head.method, &head.headers, &body, signal, &shared))
    }
}

async fn faulty(fault: Fault, is_grpc: bool) -> Response<Body> {
    let (status, code) = match fault {
        Fault::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, tonic::Code::Unavailable),
        Fault::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, tonic::Code::ResourceExhausted),
        Fault::InvalidArgument => (StatusCode::BAD_REQUEST, tonic::Code::InvalidArgument),
        Fault::Hang => std::future::pending().await,
    };
    let message = "the test asked for this fault".to_owned();
    if is_grpc { tonic::Status::new(code, message).into_http() } else { refusal(status, code, message) }
}

fn too_large(limit: usize, is_grpc: bool) -> Response<Body> {
    let message = format!("request larger than {limit} bytes");
    if is_grpc {
        tonic::Status::resource_exhausted(message).into_http()
    } else {
        refusal(StatusCode::PAYLOAD_TOO_LARGE, tonic::Code::ResourceExhausted, message)
    }
}

// === OTLP/gRPC ===

async fn grpc(request: Request<Full<Bytes>>, signal: Signal, shared: Arc<Shared>) -> Response<Body> {
    let limit = shared.max_message_bytes;
    let export = Export(Arc::clone(&shared));
    let answer = match signal {
        Signal::Traces => {
            TraceServiceServer::new(export)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(limit)
                .call(request)
                .await
        }
        Signal::Metrics => {
            MetricsServiceServer::new(export)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(limit)
                .call(request)
                .await
        }
    };
    let response = match answer {
        Ok(response) => response,
        Err(never) => match never {},
    };
    // Errors of decoding come in the headers of an answer without a body.
    if response.headers().get(tonic::Status::GRPC_STATUS).is_some_and(|status| status != "0") {
        shared.change(|received| received.failed());
    }
    response
}

#[derive(Debug)]
struct Export(Arc<Shared>);

#[tonic::async_trait]
impl TraceService for Export {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        Ok(tonic::Response::new(take_spans(&self.0, request.into_inner())))
    }
}

#[tonic::async_trait]
impl MetricsService for Export {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        Ok(tonic::Response::new(take_metrics(&self.0, request.into_inner())))
    }
}

fn take_spans(shared: &Shared, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse {
    let bytes = request.encoded_len();
    let refused = shared.change(|received| received.take_spans(request, bytes));
    let partial_success = (refused.count > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: i64::try_from(refused.count).unwrap_or(i64::MAX),
        error_message: refused.why,
    });
    ExportTraceServiceResponse { partial_success }
}

fn take_metrics(shared: &Shared, request: ExportMetricsServiceRequest) -> ExportMetricsServiceResponse {
    let bytes = request.encoded_len();
    let refused = shared.change(|received| received.take_metrics(request, bytes));
    let partial_success = (refused.count > 0).then(|| ExportMetricsPartialSuccess {
        rejected_data_points: i64::try_from(refused.count).unwrap_or(i64::MAX),
        error_message: refused.why,
    });
    ExportMetricsServiceResponse { partial_success }
}

// === OTLP/HTTP ===

fn plain(
    method: &Method,
    headers: &HeaderMap,
    body: &Bytes,
    signal: Signal,
    shared: &Shared,
) -> Response<Body> {
    let taken = check_head(method, headers)
        .and_then(|()| uncompressed(headers, body, shared.max_message_bytes))
        .and_then(|body| {
            let answer = match signal {
                Signal::Traces => take_spans(shared, decode(&body)?).encode_to_vec(),
                Signal::Metrics => take_metrics(shared, decode(&body)?).encode_to_vec(),
            };
            Ok(protobuf(StatusCode::OK, answer))
        });
    taken.unwrap_or_else(|refused| {
        shared.change(|received| received.failed());
        *refused
    })
}

/// Boxed: an answer is far larger than what goes on when all is well.
type Checked<T> = Result<T, Box<Response<Body>>>;

fn check_head(method: &Method, headers: &HeaderMap) -> Checked<()> {
    if method != Method::POST {
        let message = format!("method {method}, expected POST");
        return Err(invalid(StatusCode::METHOD_NOT_ALLOWED, message));
    }
    match media_type(headers) {
        PROTOBUF => Ok(()),
        other => {
            let message = format!("content type {other:?}, expected {PROTOBUF}");
            Err(invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }
}

fn uncompressed(headers: &HeaderMap, body: &Bytes, limit: usize) -> Checked<Bytes> {
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(body.clone()),
        Some(b"gzip") => {
            let mut bytes = Vec::new();
            // One byte more than is allowed tells that there is more.
            let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
            match flate2::read::MultiGzDecoder::new(&body[..]).take(most).read_to_end(&mut bytes) {
                Err(error) => Err(invalid(StatusCode::BAD_REQUEST, format!("the body is no gzip: {error}"))),
                Ok(_) if bytes.len() > limit => Err(Box::new(too_large(limit, false))),
                Ok(_) => Ok(Bytes::from(bytes)),
            }
        }
        Some(other) => {
            let message =
                format!("content encoding {:?}, expected gzip or none", String::from_utf8_lossy(other));
            Err(invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }
}

fn decode<M: Message + Default>(body: &Bytes) -> Checked<M> {
    M::decode(&body[..])
        .map_err(|error| invalid(StatusCode::BAD_REQUEST, format!("the body is no OTLP message: {error}")))
}

fn invalid(status: StatusCode, message: String) -> Box<Response<Body>> {
    Box::new(refusal(status, tonic::Code::InvalidArgument, message))
}

/// `google.rpc.Status`, the body of refusals by the OTLP specification.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

fn refusal(status: StatusCode, code: tonic::Code, message: String) -> Response<Body> {
    protobuf(status, RpcStatus { code: i32::from(code), message }.encode_to_vec())
}

fn protobuf(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(PROTOBUF));
    response
}

/// The content type without its parameters; empty if there is none.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

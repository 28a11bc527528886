//! An OTLP receiver over real sockets (gRPC and HTTP on one port) that answers by script, and spans to send.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests, of which each file uses a part"
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use agentvitals::export::{Pipeline, PipelineParts};
use agentvitals::{BatchConfig, Config, ExporterKind, Protocol};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use opentelemetry::trace::{SpanBuilder, Tracer as _, TracerProvider as _};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Status};

/// What the receiver does with the next request; when the script is over, it takes everything.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Take,
    /// gRPC status, or the HTTP status of the same number when spoken to by HTTP.
    Refuse(Code, &'static str),
    /// RESOURCE_EXHAUSTED with RetryInfo of so many milliseconds.
    RetryAfter(u64),
    Http(u16, Option<&'static str>),
    /// Takes it but rejects so many spans.
    Partial(i64),
    /// Never answers.
    Hang,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) requests: Vec<(ExportTraceServiceRequest, HeaderMap)>,
    pub(crate) metrics: Vec<ExportMetricsServiceRequest>,
    pub(crate) attempts: usize,
    script: VecDeque<Reply>,
}

impl Inbox {
    pub(crate) fn spans(&self) -> Vec<Span> {
        let scopes = self.requests.iter().flat_map(|(request, _)| &request.resource_spans);
        scopes.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.requests.iter().map(|(request, _)| request.encoded_len()).collect()
    }
}

#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<(Mutex<Inbox>, Condvar)>);

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut Inbox) -> T) -> T {
        let result = change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
        result
    }

    fn attempt(&self) -> Reply {
        self.change(|inbox| {
            inbox.attempts += 1;
            inbox.script.pop_front().unwrap_or(Reply::Take)
        })
    }
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    shared: Shared,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        Self::scripted([])
    }

    pub(crate) fn scripted(script: impl IntoIterator<Item = Reply>) -> Self {
        Self::listening(script, None)
    }

    pub(crate) fn tls(config: rustls::ServerConfig) -> Self {
        Self::listening([], Some(Arc::new(config).into()))
    }

    fn listening(script: impl IntoIterator<Item = Reply>, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Shared::default();
        shared.change(|inbox| inbox.script.extend(script));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, address) = std::sync::mpsc::channel::<SocketAddr>();
        let state = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, tls, state) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        let address = address.recv_timeout(Duration::from_secs(10)).unwrap();
        Self { url: format!("{scheme}://{address}"), shared, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn inbox<T>(&self, look: impl FnOnce(&Inbox) -> T) -> T {
        look(&self.shared.0.0.lock().unwrap())
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.inbox(Inbox::spans)
    }

    /// Waits until the inbox is as wanted.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&Inbox) -> bool) {
        let (inbox, changed) = &*self.shared.0;
        let inbox = inbox.lock().unwrap();
        let (inbox, timeout) =
            changed.wait_timeout_while(inbox, Duration::from_secs(20), |inbox| !wanted(inbox)).unwrap();
        assert!(!timeout.timed_out(), "no {what}: {} attempts", inbox.attempts);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn serve(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>, state: Shared) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (state, tls) = (state.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => speak(stream, state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        speak(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Shared) {
    let grpc = TraceServiceServer::new(state.clone())
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .max_decoding_message_size(4 << 20);
    let grpc = TowerToHyperService::new(grpc);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (grpc, state) = (grpc.clone(), state.clone());
        async move {
            let is_grpc = request.headers().get("content-type").is_some_and(|t| t == "application/grpc");
            if is_grpc && request.uri().path().contains("Trace") {
                use hyper::service::Service as _;
                return grpc.call(request).await;
            }
            Ok::<_, Infallible>(plain(request, state).await.map(tonic::body::Body::new))
        }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// HTTP/protobuf, and metrics over gRPC by hand, since they need no script.
async fn plain(request: Request<Incoming>, state: Shared) -> Response<Full<prost::bytes::Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = parts.uri.path();
    if path.contains("Metrics") {
        let message = ExportMetricsServiceRequest::decode(&body[5..]).unwrap();
        state.change(|inbox| inbox.metrics.push(message));
        let mut response = Response::new(Full::new(prost::bytes::Bytes::from_static(&[0, 0, 0, 0, 0])));
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        response.headers_mut().insert("grpc-status", "0".parse().unwrap());
        return response;
    }
    let body = if parts.headers.get("content-encoding").is_some_and(|e| e == "gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
        plain.into()
    } else {
        body
    };
    if path == "/v1/metrics" {
        state.change(|inbox| inbox.metrics.push(ExportMetricsServiceRequest::decode(&body[..]).unwrap()));
        return Response::new(Full::new(ExportMetricsServiceResponse::default().encode_to_vec().into()));
    }
    assert_eq!(path, "/v1/traces");
    let mut response = Response::new(Full::default());
    match state.attempt() {
        Reply::Http(status, retry_after) => {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert("retry-after", seconds.parse().unwrap());
            }
        }
        Reply::Take => {
            let message = ExportTraceServiceRequest::decode(&body[..]).unwrap();
            state.change(|inbox| inbox.requests.push((message, parts.headers)));
        }
        other => panic!("no HTTP reply for {other:?}"),
    }
    response
}

#[tonic::async_trait]
impl TraceService for Shared {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        let mut response = ExportTraceServiceResponse::default();
        match self.attempt() {
            Reply::Take => {}
            Reply::Refuse(code, message) => return Err(Status::new(code, message)),
            Reply::RetryAfter(millis) => {
                let details = retry_info(millis);
                return Err(Status::with_details(Code::ResourceExhausted, "slow down", details.into()));
            }
            Reply::Partial(rejected_spans) => {
                let error_message = "bad spans".to_owned();
                response.partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
            }
            Reply::Hang => std::future::pending().await,
            Reply::Http(..) => panic!("no gRPC reply"),
        }
        self.change(|inbox| inbox.requests.push((request.into_inner(), headers)));
        Ok(tonic::Response::new(response))
    }
}

/// google.rpc.Status { details: [Any { RetryInfo { retry_delay } }] }, by hand.
fn retry_info(millis: u64) -> Vec<u8> {
    fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
        [&[tag << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }
    let mut nanos = vec![2 << 3];
    prost::encoding::encode_varint(millis * 1_000_000, &mut nanos);
    let any = [field(1, b"type.googleapis.com/google.rpc.RetryInfo"), field(2, &field(1, &nanos))].concat();
    field(3, &any)
}

/// OTLP over gRPC to `url`, metrics off, batches that go when told to only.
pub(crate) fn config(url: &str) -> Config {
    Config::default()
        .with_endpoint(url)
        .with_protocol(Protocol::Grpc)
        .with_exporters(ExporterKind::Otlp, ExporterKind::None)
        .with_batch(BatchConfig::default().with_schedule_delay(Duration::from_secs(3600)))
}

pub(crate) fn start(config: &Config, parts: PipelineParts) -> (Pipeline, SdkTracerProvider, SdkTracer) {
    let resource = Resource::builder_empty().with_service_name("test").build();
    let pipeline = Pipeline::start(config, resource.clone(), parts).unwrap();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(pipeline.processor())
        .with_resource(resource)
        .build();
    let tracer = provider.tracer("test");
    (pipeline, provider, tracer)
}

/// Ends so many root spans.
pub(crate) fn end_spans(tracer: &SdkTracer, count: usize) {
    for number in 0..count {
        drop(tracer.build(SpanBuilder::from_name(format!("span {number}"))));
    }
}

/// An address on which nobody listens.
pub(crate) fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Waits until `done`, for things that have no event to wait for.
pub(crate) fn eventually(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

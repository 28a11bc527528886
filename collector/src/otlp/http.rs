//! OTLP/HTTP, with protobuf and JSON bodies.

use std::future::Future;
use std::io::Read;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderMap, Request, StatusCode, header};
use prost::Message as _;

use super::budget::{Held, RETRY};
use super::grpc::{partial, reply};
use super::{REQUEST_TIMEOUT, Reason, Shared, TOKEN_EXPECTED, Transport};
use crate::Error;
use crate::codec::RpcStatus;
use crate::ingest::{Accepted, Refusal, Signal};
use crate::listen::Incoming;

/// Bytes that are decompressed at once.
const PIECE: u64 = 64 << 10;

/// Serves until `ended`.
pub(super) async fn serve(
    listener: Incoming,
    shared: Shared,
    ended: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let of = |signal| post(move |shared, request| take(signal, shared, request));
    let router = Router::new()
        .route("/v1/traces", of(Signal::Traces))
        .route("/v1/metrics", of(Signal::Metrics))
        .route("/v1/logs", of(Signal::Logs))
        .fallback(unknown)
        .with_state(shared);
    let served = axum::serve(listener, router).with_graceful_shutdown(ended);
    served.await.map_err(|error| Error::failed(format!("OTLP/HTTP: {error}")))
}

async fn unknown(request: Request<Body>) -> Response {
    let message = format!(
        "there is nothing at {}; OTLP goes to /v1/traces, /v1/metrics and /v1/logs",
        request.uri().path()
    );
    answer(Form::Json, StatusCode::NOT_FOUND, &message)
}

/// How a request is written, and so its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

impl Form {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        match value.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }
}

async fn take(signal: Signal, State(shared): State<Shared>, request: Request<Body>) -> Response {
    let count = |reason: Reason| shared.counters.refused(Transport::Http, signal, reason);
    let form = Form::of(request.headers());
    if !shared.token.admits(request.headers()) {
        count(Reason::Unauthorized);
        let mut response = answer(form.unwrap_or(Form::Json), StatusCode::UNAUTHORIZED, TOKEN_EXPECTED);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        return response;
    }
    let Some(form) = form else {
        count(Reason::Unsupported);
        let message = "content-type must be application/x-protobuf or application/json";
        return answer(Form::Json, StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    };
    // Before the body is read, so that what is read is bounded.
    let overloaded = || {
        count(Reason::Overloaded);
        refused(form, &Refusal::Overloaded { retry_after: RETRY })
    };
    let Some(held) = shared.budget.begin() else { return overloaded() };
    let request = match body(signal, form, request, &shared, &held).await {
        Ok(request) => request,
        Err(Wrong::NoRoom) => return overloaded(),
        Err(Wrong::Request(status, message)) => {
            count(Reason::of(status));
            return answer(form, status, &message);
        }
    };
    match shared.take(Transport::Http, signal, request).await {
        Ok(accepted) => taken(signal, form, accepted),
        Err(refusal) => refused(form, &refusal),
    }
}

/// Why a body is not taken.
enum Wrong {
    /// Too much is in flight.
    NoRoom,
    /// The request is at fault.
    Request(StatusCode, String),
}

/// The request as protobuf.
async fn body(
    signal: Signal,
    form: Form,
    request: Request<Body>,
    shared: &Shared,
    held: &Held,
) -> Result<Bytes, Wrong> {
    let limit = shared.max_request;
    let encoding =
        request.headers().get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    let read = tokio::time::timeout(REQUEST_TIMEOUT, read(request.into_body(), limit, held)).await;
    let body = read.unwrap_or_else(|_| {
        let message = format!("the body took longer than {} s", REQUEST_TIMEOUT.as_secs());
        Err(Wrong::Request(StatusCode::REQUEST_TIMEOUT, message))
    })?;
    // Closed it never is; without a permit nothing is converted.
    let converting = match form {
        Form::Protobuf => None,
        Form::Json => shared.converting.clone().acquire_owned().await.ok(),
    };
    let held = held.clone();
    let work = move || {
        let _converting = converting;
        let body = match encoding.as_deref() {
            None | Some(b"" | b"identity") => body,
            Some(b"gzip" | b"x-gzip") => {
                inflate(flate2::read::MultiGzDecoder::new(body.as_ref()), limit, &held)?
            }
            Some(b"deflate") => inflate(flate2::read::ZlibDecoder::new(body.as_ref()), limit, &held)?,
            Some(b"zstd") => inflate(zstd(&body)?, limit, &held)?,
            Some(other) => {
                let message = format!(
                    "content-encoding {:?} is not known; gzip, deflate, zstd and identity are",
                    String::from_utf8_lossy(other)
                );
                return Err(Wrong::Request(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
            }
        };
        match form {
            Form::Protobuf => Ok(body),
            Form::Json => crate::otlpjson::decode(signal, &body)
                .map_err(|message| Wrong::Request(StatusCode::BAD_REQUEST, message)),
        }
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        let message = format!("the body cannot be read: {error}");
        Err(Wrong::Request(StatusCode::INTERNAL_SERVER_ERROR, message))
    })
}

/// The body, if it is not too large. Of one that is some more is read and thrown away: a sender that is still writing
/// would not see the answer.
async fn read(body: Body, limit: usize, held: &Held) -> Result<Bytes, Wrong> {
    let (mut stream, mut out, mut length) = (body.into_data_stream(), BytesMut::new(), 0_usize);
    while let Some(data) = stream.next().await {
        let data = data.map_err(|error| {
            Wrong::Request(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))
        })?;
        length = length.saturating_add(data.len());
        if length <= limit {
            if !held.grow(length) {
                return Err(Wrong::NoRoom);
            }
            out.extend_from_slice(&data);
        } else if length > limit.saturating_mul(4) {
            break;
        }
    }
    if length > limit {
        let message =
            format!("the body is larger than the {limit} bytes that are taken at most; send smaller batches");
        return Err(Wrong::Request(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(out.freeze())
}

fn zstd(body: &Bytes) -> Result<impl Read + '_, Wrong> {
    zstd::stream::read::Decoder::new(body.as_ref()).map_err(|error| not_compressed(&error))
}

/// Decompresses, and stops where it would be too much.
fn inflate(from: impl Read, limit: usize, held: &Held) -> Result<Bytes, Wrong> {
    let (mut from, mut out) = (from.take(limit as u64 + 1), Vec::new());
    // A piece at a time: room is taken for it before the next one.
    while from.by_ref().take(PIECE).read_to_end(&mut out).map_err(|error| not_compressed(&error))? > 0 {
        if !held.grow(out.len()) {
            return Err(Wrong::NoRoom);
        }
    }
    if out.len() > limit {
        let message =
            format!("the body is larger than {limit} bytes when it is decompressed; send smaller batches");
        return Err(Wrong::Request(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(out.into())
}

fn not_compressed(error: &std::io::Error) -> Wrong {
    let message = format!("the body is not compressed as its content-encoding says: {error}");
    Wrong::Request(StatusCode::BAD_REQUEST, message)
}

fn taken(signal: Signal, form: Form, accepted: Accepted) -> Response {
    let body = match form {
        Form::Protobuf => reply(accepted),
        Form::Json => {
            let partial = partial(accepted);
            let rejected = match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Metrics => "rejectedDataPoints",
                Signal::Logs => "rejectedLogRecords",
            };
            let partial = partial.map(|partial| {
                serde_json::json!({ rejected: partial.rejected.to_string(), "errorMessage": partial.error_message })
            });
            let body = partial.map_or_else(
                || serde_json::json!({}),
                |partial| serde_json::json!({ "partialSuccess": partial }),
            );
            body.to_string().into()
        }
    };
    respond(form, StatusCode::OK, None, body)
}

fn refused(form: Form, refusal: &Refusal) -> Response {
    let (status, retry) = match refusal {
        Refusal::Overloaded { retry_after } => (StatusCode::TOO_MANY_REQUESTS, Some(*retry_after)),
        Refusal::DiskFull { retry_after, .. } => (StatusCode::SERVICE_UNAVAILABLE, Some(*retry_after)),
        Refusal::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, None),
        Refusal::Malformed(_) => (StatusCode::BAD_REQUEST, None),
    };
    respond(form, status, retry, error_body(form, status, &refusal.to_string()))
}

fn answer(form: Form, status: StatusCode, message: &str) -> Response {
    respond(form, status, None, error_body(form, status, message))
}

/// `google.rpc.Status`, as OTLP wants errors.
fn error_body(form: Form, status: StatusCode, message: &str) -> Bytes {
    let code = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => tonic::Code::Unavailable,
        StatusCode::NOT_FOUND => tonic::Code::NotFound,
        StatusCode::INTERNAL_SERVER_ERROR => tonic::Code::Internal,
        StatusCode::UNAUTHORIZED => tonic::Code::Unauthenticated,
        _ => tonic::Code::InvalidArgument,
    } as i32;
    match form {
        Form::Protobuf => {
            RpcStatus { code, message: message.to_owned(), details: Vec::new() }.encode_to_vec().into()
        }
        Form::Json => serde_json::json!({ "code": code, "message": message }).to_string().into(),
    }
}

fn respond(form: Form, status: StatusCode, retry: Option<Duration>, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(form.content_type()));
    if let Some(retry) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, retry.as_secs().max(1).into());
    }
    response
}

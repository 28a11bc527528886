//! The frames of gRPC, on the address of all other APIs.
//!
//! They are few, and are written here: a server of gRPC beside that of HTTP would want an address of its own.

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;

use super::error::{ApiError, GrpcError};
use crate::query::QueryError;

/// The type of the answers of gRPC.
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// A message begins with whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The body of a request.
pub(super) type Sent = Result<Bytes, BytesRejection>;

pub(super) fn invalid(message: impl Into<String>) -> GrpcError {
    GrpcError(ApiError::invalid(message))
}

/// The body of a request that arrived.
pub(super) fn received(body: Sent) -> Result<Bytes, GrpcError> {
    body.map_err(|error| invalid(error.body_text()))
}

/// The only message of a request.
fn message(body: &[u8]) -> Result<&[u8], GrpcError> {
    let (prefix, message) =
        body.split_at_checked(PREFIX).ok_or_else(|| invalid("the request has no message of gRPC"))?;
    if prefix[0] != 0 {
        let message = "the message is compressed; send it as it is".to_owned();
        return Err(GrpcError(ApiError::Query(QueryError::Unsupported { message, at: None })));
    }
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if message.len() != length {
        let told = format!("the message has {} bytes, its prefix says {length}", message.len());
        return Err(invalid(told));
    }
    Ok(message)
}

pub(super) fn read<M: Message + Default>(body: &Bytes) -> Result<M, GrpcError> {
    M::decode(message(body)?).map_err(|error| invalid(format!("the message cannot be read: {error}")))
}

/// That a service has no such method.
pub(super) fn no_method(service: &str, method: &str) -> GrpcError {
    let message = format!("{service} has no method {method}");
    GrpcError(ApiError::Query(QueryError::Unsupported { message, at: None }))
}

/// Messages, and that all went well.
pub(super) fn reply(messages: Vec<Vec<u8>>) -> Response {
    let data = messages.into_iter().map(|message| {
        let mut frame = Vec::with_capacity(PREFIX + message.len());
        frame.push(0);
        frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        frame.extend_from_slice(&message);
        Frame::data(Bytes::from(frame))
    });
    let mut status = HeaderMap::new();
    status.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = data.chain([Frame::trailers(status)]).map(Ok::<_, std::convert::Infallible>);
    let frames: Vec<_> = frames.collect();
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    ([(header::CONTENT_TYPE, GRPC)], body).into_response()
}

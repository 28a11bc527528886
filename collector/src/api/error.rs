//! Errors as HTTP answers: the only place that knows which status stands for which error.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::query::QueryError;

/// Seconds after which a client that found the API busy should ask again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The engine gave none.
    Query(QueryError),
    /// There is no such path.
    NoSuchPath(String),
    /// There is such a path, but not with this method.
    Method(String),
    /// There is no such trace.
    NoSuchTrace(String),
    /// No trace was found.
    NothingFound,
    /// There is no span of such an agent.
    NoSuchAgent(String),
    /// The token is missing or is not the one.
    Unauthorized,
    /// As many questions as may be are being answered.
    Busy(usize),
    /// The request's body is longer than this many bytes, or did not arrive.
    Body(StatusCode, String),
    /// The program is at fault.
    Internal(String),
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl ApiError {
    /// The request is wrong in a way that has no place in the query.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Query(QueryError::invalid(message))
    }

    fn parts(self) -> (StatusCode, &'static str, String, Option<usize>) {
        match self {
            Self::Query(QueryError::Invalid { message, at }) => {
                (StatusCode::BAD_REQUEST, "invalid", message, at)
            }
            // Not a wrong request: another version may answer it.
            Self::Query(QueryError::Unsupported { message, at }) => {
                (StatusCode::NOT_IMPLEMENTED, "unsupported", message, at)
            }
            Self::Query(error) => {
                let (status, code) = match error {
                    QueryError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timed_out"),
                    QueryError::TooMuchMemory { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "too_much_memory"),
                    // What nginx answers to those who do not wait; there is no number for it in a standard.
                    QueryError::Cancelled => {
                        (StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT), "cancelled")
                    }
                    _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
                };
                (status, code, error.to_string(), None)
            }
            Self::NoSuchPath(path) => {
                let message = format!("there is no {path}; GET /api/v1/openapi.json tells what there is");
                (StatusCode::NOT_FOUND, "not_found", message, None)
            }
            Self::Method(path) => {
                let message =
                    format!("{path} does not know this method; GET /api/v1/openapi.json tells which");
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, None)
            }
            Self::NoSuchTrace(id) => {
                (StatusCode::NOT_FOUND, "not_found", format!("there is no trace {id}"), None)
            }
            Self::NothingFound => (StatusCode::NOT_FOUND, "not_found", "No traces found".to_owned(), None),
            Self::NoSuchAgent(id) => {
                (StatusCode::NOT_FOUND, "not_found", format!("there is no span of an agent {id:?}"), None)
            }
            Self::Unauthorized => {
                let message = "expected the header `Authorization: Bearer <token>` with this server's token";
                (StatusCode::UNAUTHORIZED, "unauthorized", message.to_owned(), None)
            }
            Self::Busy(most) => {
                let message = format!("{most} questions are being answered, which is the most; ask again");
                (StatusCode::TOO_MANY_REQUESTS, "busy", message, None)
            }
            Self::Body(status, message) => (status, "body", message, None),
            Self::Internal(message) => (StatusCode::INTERNAL_SERVER_ERROR, "failed", message, None),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, message, at) = self.parts();
        let body = json!({"error": {"code": code, "message": message, "at": at}}).to_string();
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

/// What is wrong in one text.
fn told(message: String, at: Option<usize>) -> String {
    match at {
        Some(at) => format!("{message} (at byte {at})"),
        None => message,
    }
}

/// The same errors as Tempo's API has them: plain text.
pub(super) struct TempoError(pub(super) ApiError);

impl IntoResponse for TempoError {
    fn into_response(self) -> Response {
        let (status, _, message, at) = self.0.parts();
        (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], told(message, at)).into_response()
    }
}

/// The same errors as the first version of Jaeger's API has them.
pub(super) struct JaegerError(pub(super) ApiError);

impl IntoResponse for JaegerError {
    fn into_response(self) -> Response {
        let (status, _, message, at) = self.0.parts();
        let error = json!({"code": status.as_u16(), "msg": told(message, at)});
        let body = json!({"data": null, "total": 0, "limit": 0, "offset": 0, "errors": [error]}).to_string();
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// The same errors as the third version of it has them.
pub(super) struct JaegerThirdError(pub(super) ApiError);

impl IntoResponse for JaegerThirdError {
    fn into_response(self) -> Response {
        let (status, _, message, at) = self.0.parts();
        let body = json!({"error": {"httpCode": status.as_u16(), "message": told(message, at)}}).to_string();
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// The same errors as gRPC has them: in headers, with a code of its own.
pub(super) struct GrpcError(pub(super) ApiError);

impl From<ApiError> for GrpcError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for GrpcError {
    fn into_response(self) -> Response {
        let (status, _, message, at) = self.0.parts();
        // The numbers are those of gRPC's status codes.
        let code = match status.as_u16() {
            400 | 413 => 3,
            401 => 16,
            404 => 5,
            405 | 501 => 12,
            422 | 429 => 8,
            499 => 1,
            504 => 4,
            _ => 13,
        };
        let message: String = told(message, at)
            .bytes()
            .map(|byte| match byte {
                b'%' | 0..=0x1f | 0x7f.. => format!("%{byte:02X}"),
                plain => char::from(plain).to_string(),
            })
            .collect();
        let mut response = [(header::CONTENT_TYPE, "application/grpc")].into_response();
        response.headers_mut().insert("grpc-status", HeaderValue::from(code));
        if let Ok(message) = HeaderValue::try_from(message) {
            response.headers_mut().insert("grpc-message", message);
        }
        response
    }
}

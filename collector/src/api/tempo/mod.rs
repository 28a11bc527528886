//! The HTTP API of Grafana Tempo 3.0, as far as its data source asks it: searches, traces, names and values of attributes, numbers
//! over time.
//! Answers are JSON, or protobuf for those who accept it; errors are plain text, as Tempo's are.

mod grpc;
mod messages;
mod metrics;
mod search;
mod tags;
mod traces;

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use self::messages::Shown;
use super::ApiState;
use super::error::{ApiError, TempoError};
use super::routes::{Parameters, json_text};
use super::time::parse_duration;

pub(super) use self::traces::{batches, found, protobuf};

/// The paths, but that of a trace: at the root that is Jaeger's as well.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/api/search", get(search::search))
        .route("/api/v2/traces/{trace_id}", get(traces::second))
        .route("/api/search/tags", get(tags::names))
        .route("/api/v2/search/tags", get(tags::scoped_names))
        .route("/api/search/tag/{tag}/values", get(tags::values))
        .route("/api/v2/search/tag/{tag}/values", get(tags::typed_values))
        .route("/api/metrics/query_range", get(metrics::range))
        .route("/api/metrics/query", get(metrics::instant))
        .route("/api/echo", get(|| async { "echo" }))
        .route("/status/buildinfo", get(build))
        .route("/api/status/buildinfo", get(build))
        .merge(grpc::routes())
}

/// All of them, for those who ask at `/tempo`.
pub(super) fn nested() -> Router<ApiState> {
    routes().route("/api/traces/{trace_id}", get(traces::first)).route("/ready", get(super::routes::ready))
}

async fn build() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    let text = json!({"version": version, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""});
    json_text(text.to_string())
}

/// Whether protobuf is wanted.
fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter();
    accept.filter_map(|value| value.to_str().ok()).any(|value| value.contains("application/protobuf"))
}

/// A message in the form that is wanted.
fn reply(headers: &HeaderMap, message: &impl Shown) -> Response {
    if wants_protobuf(headers) {
        return ([(header::CONTENT_TYPE, "application/protobuf")], message.encode_to_vec()).into_response();
    }
    json_text(message.json().to_string())
}

/// The parameters of a request.
struct Asked(Vec<(String, String)>);

impl Asked {
    fn new(parameters: Parameters) -> Result<Self, TempoError> {
        let parameters = parameters.map_err(|error| invalid(error.body_text()))?;
        Ok(Self(parameters.0))
    }

    /// The first of this name that is not empty.
    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, text)| known == name && !text.is_empty()).map(|(_, text)| text.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<usize>, TempoError> {
        let read = |text: &str| {
            text.parse::<u32>().map_err(|_| invalid(format!("invalid {name}: {text:?}, expected a number")))
        };
        let number = self.text(name).map(read).transpose()?;
        Ok(number.and_then(|number| usize::try_from(number).ok()))
    }

    /// How many names or values; 0 is as many as there are.
    fn limit(&self) -> Result<Option<usize>, TempoError> {
        Ok(self.number("limit")?.filter(|limit| *limit > 0))
    }

    /// The time range, as far as it is told, in nanoseconds.
    fn range(&self) -> Result<(Option<i64>, Option<i64>), TempoError> {
        let time = |name| self.text(name).map(|text| time(name, text)).transpose();
        // Tempo's clients send 0 for none.
        let (start, end) = (time("start")?.filter(|at| *at != 0), time("end")?.filter(|at| *at != 0));
        match (start, end) {
            (Some(start), Some(end)) if end <= start => Err(invalid(format!(
                "http parameter start must be before end. received start={start} end={end} (in nanoseconds)"
            ))),
            range => Ok(range),
        }
    }

    fn duration(&self, name: &str) -> Result<Option<i64>, TempoError> {
        let read = |text| parse_duration(text).map_err(|what| invalid(format!("invalid {name}: {what}")));
        self.text(name).map(read).transpose()
    }
}

fn invalid(message: impl Into<String>) -> TempoError {
    TempoError(ApiError::invalid(message))
}

/// A time as Tempo takes it: seconds (up to ten digits, or with a fraction), nanoseconds, or RFC 3339.
fn time(name: &str, text: &str) -> Result<i64, TempoError> {
    const SECOND: f64 = 1e9;
    let wrong = || {
        invalid(format!("invalid {name}: {text:?}, expected seconds or nanoseconds since 1970 or RFC 3339"))
    };
    if let Ok(number) = text.parse::<i64>() {
        return if text.len() <= 10 {
            number.checked_mul(1_000_000_000).ok_or_else(wrong)
        } else {
            Ok(number)
        };
    }
    #[expect(clippy::cast_possible_truncation, reason = "a time that is out of range is cut off")]
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => Ok((seconds * SECOND) as i64),
        _ => super::time::from_rfc3339(text).ok_or_else(wrong),
    }
}

//! The third version of the API, over HTTP: OTLP in JSON.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::{Value as Json, json};

use super::search::{Search, duration, limit};
use super::{operations_of, parameter, service_names};
use crate::api::error::{ApiError, JaegerThirdError};
use crate::api::routes::{Parameters, answer, json_text};
use crate::api::time::from_rfc3339;
use crate::api::{ApiState, tempo};
use crate::protojson::{Style, resource_spans};

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/api/v3/services", get(services))
        .route("/api/v3/operations", get(operations))
        .route("/api/v3/traces", get(traces))
        .route("/api/v3/traces/{trace_id}", get(trace))
}

fn invalid(message: impl Into<String>) -> JaegerThirdError {
    JaegerThirdError(ApiError::invalid(message))
}

fn pairs(parameters: Parameters) -> Result<Vec<(String, String)>, JaegerThirdError> {
    super::pairs(parameters).map_err(|error| JaegerThirdError(error.0))
}

async fn services(State(state): State<ApiState>) -> Result<Response, JaegerThirdError> {
    let names = answer(state, (), |answers, (), control| service_names(answers, control)).await;
    Ok(json_text(json!({"services": names.map_err(JaegerThirdError)?}).to_string()))
}

async fn operations(
    State(state): State<ApiState>,
    parameters: Parameters,
) -> Result<Response, JaegerThirdError> {
    let pairs = pairs(parameters)?;
    let asked = (parameter(&pairs, "service").to_owned(), parameter(&pairs, "span_kind").to_owned());
    let found = answer(state, asked, |answers, (service, kind), control| {
        operations_of(answers, service, kind, control)
    });
    let found = found.await.map_err(JaegerThirdError)?;
    let shown: Vec<Json> = found.iter().map(|(name, kind)| json!({"name": name, "spanKind": kind})).collect();
    Ok(json_text(json!({"operations": shown}).to_string()))
}

fn reply(spans: &[ResourceSpans]) -> Result<Response, JaegerThirdError> {
    if spans.is_empty() {
        return Err(JaegerThirdError(ApiError::NothingFound));
    }
    let spans: Vec<Json> = spans.iter().map(|spans| resource_spans(spans, Style::Otlp)).collect();
    Ok(json_text(json!({"result": {"resourceSpans": spans}}).to_string()))
}

async fn trace(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Response, JaegerThirdError> {
    reply(&tempo::found(state, id).await.map_err(|error| JaegerThirdError(error.0))?)
}

async fn traces(State(state): State<ApiState>, parameters: Parameters) -> Result<Response, JaegerThirdError> {
    let search = search(&pairs(parameters)?).map_err(invalid)?;
    let request = search.request(crate::clock::unix_nanos());
    let found = answer(state, (search, request), |answers, (search, request), control| {
        let traces = search.find(answers, request, control)?;
        Ok(traces.into_iter().flatten().collect::<Vec<_>>())
    });
    reply(&found.await.map_err(JaegerThirdError)?)
}

fn search(pairs: &[(String, String)]) -> Result<Search, String> {
    let asked = |name: &str| match parameter(pairs, name) {
        "" => None,
        text => Some(text),
    };
    let time = |name: &str| -> Result<i64, String> {
        let text = asked(name).ok_or_else(|| format!("malformed parameter {name}: it is required"))?;
        from_rfc3339(text).ok_or_else(|| format!("malformed parameter {name}: {text:?}, expected RFC 3339"))
    };
    let tags = asked("query.attributes").map(serde_json::from_str).transpose();
    let tags = tags.map_err(|error| {
        format!("malformed parameter query.attributes: {error}, expected an object of texts")
    })?;
    Ok(Search {
        service: parameter(pairs, "query.service_name").to_owned(),
        operation: parameter(pairs, "query.operation_name").to_owned(),
        tags: tags.unwrap_or_default(),
        start: Some(time("query.start_time_min")?),
        end: Some(time("query.start_time_max")?),
        at_least: asked("query.duration_min").map(|text| duration("query.duration_min", text)).transpose()?,
        at_most: asked("query.duration_max").map(|text| duration("query.duration_max", text)).transpose()?,
        limit: asked("query.num_traces").map(|text| limit("query.num_traces", text)).transpose()?,
    })
}

//! Traces by their ids.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::Value as Json;

use super::messages::{Shown, Trace, TraceByIdResponse};
use super::reply;
use crate::api::ApiState;
use crate::api::error::{ApiError, TempoError};
use crate::api::routes::answer;

/// A trace for those who ask at the root, where Jaeger's API has the same path: protobuf is Tempo's, and in JSON the two
/// have members of different names.
pub(in crate::api) fn protobuf(headers: &HeaderMap, resource_spans: &[ResourceSpans]) -> Option<Response> {
    let trace = || Trace { resource_spans: resource_spans.to_vec() };
    super::wants_protobuf(headers).then(|| reply(headers, &trace()))
}

/// What the first version of the API calls the spans of a trace.
pub(in crate::api) fn batches(resource_spans: Vec<ResourceSpans>) -> Json {
    Trace { resource_spans }.json().get_mut("batches").map(Json::take).unwrap_or_default()
}

pub(in crate::api) async fn found(state: ApiState, id: String) -> Result<Vec<ResourceSpans>, TempoError> {
    let found = answer(state, id, |answers, id, control| {
        answers.traces(std::slice::from_ref(id), control).map(|traces| traces.into_iter().flatten().collect())
    });
    found.await.map_err(TempoError)
}

pub(super) async fn first(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, TempoError> {
    let resource_spans = found(state, id.clone()).await?;
    if resource_spans.is_empty() {
        return Ok(TempoError(ApiError::NoSuchTrace(id)).into_response());
    }
    Ok(reply(&headers, &Trace { resource_spans }))
}

/// A trace that is not there is an empty one.
pub(super) async fn second(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, TempoError> {
    let resource_spans = found(state, id).await?;
    Ok(reply(&headers, &TraceByIdResponse { trace: Some(Trace { resource_spans }) }))
}

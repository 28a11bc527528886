//! The query API of Jaeger: the first version, which its web page and Grafana ask, and the third, which is OTLP, over HTTP
//! and gRPC.

mod grpc;
mod model;
mod search;
mod third;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::{Value as Json, json};

use self::search::Search;
use super::error::{ApiError, JaegerError};
use super::routes::{Parameters, answer, json_text};
use super::{Answers, ApiState, tempo};
use crate::query::tags::DistinctRequest;
use crate::query::{Control, QueryError};

/// How far dependencies look back unless it is told: nanoseconds.
const LOOKBACK: i64 = 86_400_000_000_000;

/// The paths, but that of a trace: at the root that is Tempo's as well.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/api/services", get(services))
        .route("/api/operations", get(operations))
        .route("/api/services/{service}/operations", get(operation_names))
        .route("/api/traces", get(traces))
        .route("/api/dependencies", get(dependencies))
        .merge(third::routes())
        .merge(grpc::routes())
}

/// All of them, for those who ask at `/jaeger`.
pub(super) fn nested() -> Router<ApiState> {
    routes().route("/api/traces/{trace_id}", get(trace))
}

fn invalid(message: impl Into<String>) -> JaegerError {
    JaegerError(ApiError::invalid(message))
}

fn pairs(parameters: Parameters) -> Result<Vec<(String, String)>, JaegerError> {
    let Query(pairs) = parameters.map_err(|error| invalid(error.body_text()))?;
    Ok(pairs)
}

fn parameter<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    pairs.iter().find(|(known, _)| known == name).map_or("", |(_, text)| text)
}

fn data(data: &Json, total: usize) -> Response {
    json_text(json!({"data": data, "total": total, "limit": 0, "offset": 0, "errors": null}).to_string())
}

/// The names of all services.
fn service_names(answers: &dyn Answers, control: &Control) -> Result<Vec<String>, QueryError> {
    let fields = vec!["resource.service.name".to_owned()];
    let found = answers.distinct(&DistinctRequest { fields, ..DistinctRequest::default() }, control)?;
    Ok(found.values.into_iter().flatten().map(|name| name.value).collect())
}

/// The names and kinds of a service's spans.
fn operations_of(
    answers: &dyn Answers,
    service: &str,
    kind: &str,
    control: &Control,
) -> Result<Vec<(String, String)>, QueryError> {
    let service = crate::query::traceql::Literal::String(service.to_owned());
    let request = DistinctRequest {
        q: format!("{{ resource.service.name = {service} }}"),
        fields: vec!["name".to_owned(), "kind".to_owned()],
        ..DistinctRequest::default()
    };
    let found = answers.distinct(&request, control)?;
    let all = found.values.into_iter().filter_map(|values| {
        let [name, of] = <[_; 2]>::try_from(values).ok()?;
        // Jaeger has no name for a kind that is not told.
        let of = if of.value == "unspecified" { String::new() } else { of.value };
        (kind.is_empty() || kind == of).then_some((name.value, of))
    });
    Ok(all.collect())
}

async fn services(State(state): State<ApiState>) -> Result<Response, JaegerError> {
    let names = answer(state, (), |answers, (), control| service_names(answers, control)).await;
    let names = names.map_err(JaegerError)?;
    Ok(data(&json!(names), names.len()))
}

async fn operations(State(state): State<ApiState>, parameters: Parameters) -> Result<Response, JaegerError> {
    let pairs = pairs(parameters)?;
    let asked = (parameter(&pairs, "service").to_owned(), parameter(&pairs, "spanKind").to_owned());
    if asked.0.is_empty() {
        return Err(invalid("parameter 'service' is required"));
    }
    let found = answer(state, asked, |answers, (service, kind), control| {
        operations_of(answers, service, kind, control)
    });
    let found = found.await.map_err(JaegerError)?;
    let shown: Vec<Json> = found.iter().map(|(name, kind)| json!({"name": name, "spanKind": kind})).collect();
    Ok(data(&json!(shown), shown.len()))
}

async fn operation_names(
    State(state): State<ApiState>,
    Path(service): Path<String>,
) -> Result<Response, JaegerError> {
    let found =
        answer(state, service, |answers, service, control| operations_of(answers, service, "", control));
    let mut names: Vec<String> =
        found.await.map_err(JaegerError)?.into_iter().map(|(name, _)| name).collect();
    names.dedup();
    Ok(data(&json!(names), names.len()))
}

async fn traces(State(state): State<ApiState>, parameters: Parameters) -> Result<Response, JaegerError> {
    let pairs = pairs(parameters)?;
    let ids: Vec<String> =
        pairs.iter().filter(|(name, _)| name == "traceID").map(|(_, id)| id.clone()).collect();
    let body = if ids.is_empty() {
        let search = Search::of(&pairs).map_err(invalid)?;
        let request = search.request(crate::clock::unix_nanos());
        answer(state, (search, request), |answers, (search, request), control| {
            let traces = search.find(answers, request, control)?;
            Ok(traces.iter().map(|spans| model::trace(spans)).collect())
        })
        .await
    } else {
        answer(state, ids, |answers, ids, control| shown(answers, ids, control)).await
    };
    let traces = body.map_err(JaegerError)?;
    let total = traces.len();
    Ok(data(&traces.into(), total))
}

fn shown(answers: &dyn Answers, ids: &[String], control: &Control) -> Result<Vec<Json>, QueryError> {
    Ok(answers.traces(ids, control)?.iter().map(|spans| model::trace(spans)).collect())
}

/// The spans of a trace that is there.
async fn spans_of(state: ApiState, id: String) -> Result<Vec<ResourceSpans>, JaegerError> {
    let spans = tempo::found(state, id.clone()).await.map_err(|error| JaegerError(error.0))?;
    if spans.is_empty() { Err(JaegerError(ApiError::NoSuchTrace(id))) } else { Ok(spans) }
}

async fn trace(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Response, JaegerError> {
    let spans = spans_of(state, id).await?;
    Ok(data(&json!([model::trace(&spans)]), 1))
}

/// A trace at the root, where both Jaeger's and Tempo's API have it: whoever takes protobuf is Tempo's, and JSON has what
/// either looks for.
pub(super) async fn trace_of_either(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, JaegerError> {
    let spans = spans_of(state, id).await?;
    if let Some(response) = tempo::protobuf(&headers, &spans) {
        return Ok(response);
    }
    let mut body =
        json!({"data": [model::trace(&spans)], "total": 1, "limit": 0, "offset": 0, "errors": null});
    body["batches"] = tempo::batches(spans);
    Ok(json_text(body.to_string()))
}

async fn dependencies(
    State(state): State<ApiState>,
    parameters: Parameters,
) -> Result<Response, JaegerError> {
    let pairs = pairs(parameters)?;
    let millis = |name: &str| match parameter(&pairs, name) {
        "" => Ok(None),
        text => {
            text.parse::<i64>().ok().and_then(|millis| millis.checked_mul(1_000_000)).map(Some).ok_or_else(
                || invalid(format!("unable to parse param '{name}': {text:?}, expected milliseconds")),
            )
        }
    };
    let end = millis("endTs")?.unwrap_or_else(crate::clock::unix_nanos);
    let start = end.saturating_sub(millis("lookback")?.unwrap_or(LOOKBACK));
    let found = answer(state, (start, end), |answers, (start, end), control| {
        answers.dependencies(*start, *end, control)
    });
    let found = found.await.map_err(JaegerError)?;
    let shown: Vec<Json> = found
        .iter()
        .map(|of| json!({"parent": of.parent, "child": of.child, "callCount": of.calls}))
        .collect();
    Ok(data(&json!(shown), shown.len()))
}

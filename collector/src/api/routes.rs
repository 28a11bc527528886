//! Paths, and what happens at each.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::error::ApiError;
use super::time::rfc3339;
use super::{Answers, ApiState, Readiness, metrics, question};
use crate::query::report::ReportRequest;
use crate::query::request::{CountRequest, SpansRequest, StatsRequest, TraceAnswer, TraceRequest};
use crate::query::rollup::{AgentAnswer, AgentRequest, ConversationsRequest};
use crate::query::search::SearchRequest;
use crate::query::signals::{LogsRequest, MetricNamesRequest, MetricRequest};
use crate::query::system::{CacheFigures, DatabaseFigures, SystemAnswer, SystemFigures, SystemRequest};
use crate::query::{Control, QueryError};

/// The longest question that is read.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// The description of the API.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

pub(super) type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;
pub(super) type Json = Result<Bytes, BytesRejection>;

/// A path that takes a question by its parameters or as JSON.
macro_rules! question {
    ($request:ty, $ask:expr) => {
        get(|State(state): State<ApiState>, parameters: Parameters| async move {
            ask::<$request, _>(state, by_parameters(parameters)?, $ask).await
        })
        .post(|State(state): State<ApiState>, body: Json| async move {
            ask::<$request, _>(state, by_json(body)?, $ask).await
        })
    };
}

/// All paths of the API.
pub fn router(state: ApiState) -> Router {
    let guarded = Router::new()
        .route("/api/v1/spans", question!(SpansRequest, |a, q, c| a.spans(q, c)))
        .route("/api/v1/search", question!(SearchRequest, |a, q, c| a.search(q, c)))
        .route("/api/v1/count", question!(CountRequest, |a, q, c| a.count(q, c)))
        .route("/api/v1/stats", question!(StatsRequest, |a, q, c| a.stats(q, c)))
        .route("/api/v1/logs", question!(LogsRequest, |a, q, c| a.logs(q, c)))
        .route("/api/v1/metrics", get(system))
        .route("/api/v1/metrics/names", question!(MetricNamesRequest, |a, q, c| a.metric_names(q, c)))
        .route("/api/v1/metrics/query", question!(MetricRequest, |a, q, c| a.metric(q, c)))
        .route("/api/v1/sql", get(super::sql::by_parameters).post(super::sql::by_json))
        .route("/api/v1/export", get(super::export::export))
        .route("/api/v1/report", question!(ReportRequest, |a, q, c| a.report(q, c)))
        .route("/api/v1/conversations", question!(ConversationsRequest, |a, q, c| a.conversations(q, c)))
        .route("/api/agents/{id}", get(agent))
        .route("/api/v1/traces/{trace_id}", get(trace))
        .route("/api/v1/services/{service}", delete(delete_service))
        .merge(super::health::routes())
        .merge(super::tempo::routes())
        .merge(super::jaeger::routes())
        .route("/api/traces/{trace_id}", get(super::jaeger::trace_of_either))
        .nest("/tempo", super::tempo::nested())
        .nest("/jaeger", super::jaeger::nested())
        .route("/api/v1/status", get(status))
        .route("/api/v1/openapi.json", get(|| async { json_text(OPENAPI) }))
        .route("/metrics", get(own_metrics))
        .fallback(|uri: Uri| async move { ApiError::NoSuchPath(uri.path().to_owned()) })
        .method_not_allowed_fallback(|uri: Uri| async move { ApiError::Method(uri.path().to_owned()) })
        .layer(middleware::from_fn_with_state(state.clone(), authorize));
    // Whoever watches over the process has no token.
    let open = Router::new()
        .route("/health", get(health))
        .route("/health/live", get(|| async { json_text(r#"{"status":"live"}"#) }))
        .route("/health/ready", get(health))
        .route("/ready", get(ready));
    open.merge(guarded).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(state)
}

pub(super) fn json_text(text: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.into()).into_response()
}

async fn authorize(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    if !state.token.admits(request.headers()) {
        return ApiError::Unauthorized.into_response();
    }
    next.run(request).await
}

pub(super) fn by_parameters<Q: DeserializeOwned>(parameters: Parameters) -> Result<Q, ApiError> {
    let Query(parameters) = parameters.map_err(|error| ApiError::invalid(error.body_text()))?;
    question::from_parameters(parameters)
}

pub(super) fn by_json<Q: DeserializeOwned>(body: Json) -> Result<Q, ApiError> {
    let body = body.map_err(|error| {
        let message = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => format!("the body is longer than {MAX_BODY_BYTES} bytes"),
            _ => error.body_text(),
        };
        ApiError::Body(error.status(), message)
    })?;
    question::from_json(&body)
}

/// Ends a question when whoever asked is gone: the server drops what waits for the answer.
pub(super) struct CancelOnDrop(pub(super) Arc<Control>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

pub(super) async fn answer<Q: Send + 'static, A: Send + 'static>(
    state: ApiState,
    request: Q,
    ask: impl FnOnce(&dyn Answers, &Q, &Control) -> Result<A, QueryError> + Send + 'static,
) -> Result<A, ApiError> {
    let permit = Arc::clone(&state.running).try_acquire_owned().map_err(|_| ApiError::Busy(state.most))?;
    let control = Arc::new(state.answers.control());
    let guard = CancelOnDrop(Arc::clone(&control));
    let answered = tokio::task::spawn_blocking(move || {
        // It counts as running until it has really ended, even if nobody waits any more.
        let _permit = permit;
        ask(&*state.answers, &request, &control)
    });
    let answer = answered.await.map_err(|error| ApiError::Internal(format!("the query broke: {error}")))?;
    drop(guard);
    Ok(answer?)
}

async fn ask<Q: Send + 'static, A: Serialize + Send + 'static>(
    state: ApiState,
    request: Q,
    ask: fn(&dyn Answers, &Q, &Control) -> Result<A, QueryError>,
) -> Result<Response, ApiError> {
    // Writing a long answer takes its time too.
    let body = answer(state, request, move |answers, request, control| {
        let answer = ask(answers, request, control)?;
        serde_json::to_vec(&answer).map_err(|error| QueryError::Failed(error.to_string()))
    });
    Ok(json_text(body.await?))
}

async fn trace(State(state): State<ApiState>, Path(trace_id): Path<String>) -> Result<Response, ApiError> {
    if trace_id.len() > 32 || !trace_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::invalid(format!("{trace_id:?} is no trace id: expected up to 32 hex digits")));
    }
    let request = TraceRequest { trace_id: trace_id.clone() };
    let found = answer(state, request, |answers, request, control| {
        let answer: TraceAnswer = answers.trace(request, control)?;
        let text = serde_json::to_vec(&answer).map_err(|error| QueryError::Failed(error.to_string()))?;
        Ok((!answer.spans.is_empty()).then_some(text))
    });
    found.await?.map(json_text).ok_or(ApiError::NoSuchTrace(trace_id))
}

/// An agent by its name; the time range is that of its parameters.
async fn agent(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let Query(mut parameters) = parameters.map_err(|error| ApiError::invalid(error.body_text()))?;
    parameters.push(("id".to_owned(), id));
    let request: AgentRequest = question::from_parameters(parameters)?;
    let watch = state.watch.clone();
    let found = answer(state, request, move |answers, request, control| {
        let mut answer: AgentAnswer = answers.agent(request, control)?;
        if let Some(watch) = watch {
            answer.health = super::health::of_agent(&watch.report(), &request.id);
        }
        let text = serde_json::to_vec(&answer).map_err(|error| QueryError::Failed(error.to_string()))?;
        let known = answer.usage != crate::query::rollup::AgentUsage::default();
        Ok(known.then_some(text).ok_or(answer.agent_id))
    });
    found.await?.map(json_text).map_err(ApiError::NoSuchAgent)
}

/// How the machine, the database connections and the cache of programs are.
async fn system(State(state): State<ApiState>, parameters: Parameters) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct Body {
        timestamp: String,
        system: SystemFigures,
        database: DatabaseFigures,
        cache: CacheFigures,
    }
    let request: SystemRequest = by_parameters(parameters)?;
    let body = answer(state, request, |answers, request, control| {
        let SystemAnswer { time_unix_nano, system, database, cache } = answers.system(request, control)?;
        let body = Body { timestamp: rfc3339(time_unix_nano), system, database, cache };
        serde_json::to_vec(&body).map_err(|error| QueryError::Failed(error.to_string()))
    });
    Ok(json_text(body.await?))
}

/// Removes what a service sent.
async fn delete_service(
    State(state): State<ApiState>,
    Path(service): Path<String>,
) -> Result<Response, ApiError> {
    let path = || ApiError::NoSuchPath(format!("/api/v1/services/{service}"));
    let deletion = state.deletion.clone().ok_or_else(path)?;
    let deleted = tokio::task::spawn_blocking(move || deletion(&service)).await;
    let deleted = deleted.map_err(|error| ApiError::Internal(format!("the deletion broke: {error}")))?;
    let deleted = deleted.map_err(|error| ApiError::Internal(format!("not all was deleted: {error}")))?;
    let text = serde_json::to_string(&deleted).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(json_text(text))
}

async fn status(State(state): State<ApiState>) -> Response {
    json_text(json!({"version": env!("CARGO_PKG_VERSION"), "data": (state.data)()}).to_string())
}

async fn own_metrics(State(state): State<ApiState>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&(state.metrics)())).into_response()
}

/// Whether it is ready, in the word of Tempo.
pub(super) async fn ready(State(state): State<ApiState>) -> Response {
    match (state.readiness)() {
        Readiness::Ready => "ready\n".into_response(),
        Readiness::NotReady(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn health(State(state): State<ApiState>) -> Response {
    match (state.readiness)() {
        Readiness::Ready => json_text(r#"{"status":"ready"}"#),
        Readiness::NotReady(reason) => {
            let mut response = json_text(json!({"status": "not_ready", "reason": reason}).to_string());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
    }
}

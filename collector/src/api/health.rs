//! Health and alerts, and what people do about them.

use std::sync::Arc;
use std::time::Duration;

use agentvitals::health::HealthReport;
use agentvitals::{Subject, SubjectKind};
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::ApiState;
use super::error::ApiError;
use super::routes::{Json, Parameters, by_json, by_parameters, json_text};
use super::time::parse_duration;
use crate::health::{SilenceRequest, Watch};
use crate::query::rollup::AgentHealth;

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/api/v1/health", get(report))
        .route("/api/v1/health/summary", get(summary))
        .route("/api/v1/health/maintenance", post(maintenance))
        .route("/api/v1/alerts", get(alerts))
        .route("/api/v1/alerts/silence", post(silence))
        .route("/api/v1/alerts/unsilence", post(unsilence))
        .route("/api/v1/alerts/acknowledge", post(acknowledge))
}

fn watch(state: &ApiState) -> Result<Arc<Watch>, ApiError> {
    state.watch.clone().ok_or_else(|| ApiError::NoSuchPath("/api/v1/health".to_owned()))
}

/// Runs what may wait for a file or a lock, and writes its answer.
async fn blocking<A: Serialize>(
    state: &ApiState,
    ask: impl FnOnce(&Watch) -> Result<A, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let watch = watch(state)?;
    let text = tokio::task::spawn_blocking(move || {
        let answer = ask(&watch)?;
        serde_json::to_string(&answer).map_err(|error| ApiError::Internal(error.to_string()))
    });
    let text = text.await.map_err(|error| ApiError::Internal(format!("health broke: {error}")))?;
    Ok(json_text(text?))
}

fn time(text: &str) -> Result<Duration, ApiError> {
    let nanos = parse_duration(text).map_err(|error| ApiError::invalid(format!("for: {error}")))?;
    match u64::try_from(nanos) {
        Ok(nanos) if nanos > 0 => Ok(Duration::from_nanos(nanos)),
        _ => Err(ApiError::invalid(format!("for: {text:?} is no time at all; expected one like 2h"))),
    }
}

/// Takes no parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn report(State(state): State<ApiState>, parameters: Parameters) -> Result<Response, ApiError> {
    let Nothing {} = by_parameters(parameters)?;
    blocking(&state, |watch| Ok(HealthReport::clone(&watch.report()))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SummaryRequest {
    time_window_minutes: Option<u32>,
}

async fn summary(State(state): State<ApiState>, parameters: Parameters) -> Result<Response, ApiError> {
    let request: SummaryRequest = by_parameters(parameters)?;
    let window = Duration::from_secs(60 * u64::from(request.time_window_minutes.unwrap_or(60)));
    blocking(&state, move |watch| Ok(watch.summary(window))).await
}

async fn alerts(State(state): State<ApiState>, parameters: Parameters) -> Result<Response, ApiError> {
    let Nothing {} = by_parameters(parameters)?;
    blocking(&state, |watch| Ok(watch.alerts())).await
}

async fn silence(State(state): State<ApiState>, body: Json) -> Result<Response, ApiError> {
    let request: SilenceRequest = by_json(body)?;
    let time = time(&request.r#for)?;
    blocking(&state, move |watch| {
        let id = watch.silence(&request, time).map_err(|error| ApiError::invalid(error.to_string()))?;
        Ok(json!({ "id": id }))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnsilenceRequest {
    id: u64,
}

async fn unsilence(State(state): State<ApiState>, body: Json) -> Result<Response, ApiError> {
    let request: UnsilenceRequest = by_json(body)?;
    blocking(&state, move |watch| Ok(json!({ "ended": watch.unsilence(request.id) }))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcknowledgeRequest {
    id: String,
    by: String,
}

async fn acknowledge(State(state): State<ApiState>, body: Json) -> Result<Response, ApiError> {
    let request: AcknowledgeRequest = by_json(body)?;
    blocking(&state, move |watch| Ok(json!({ "acknowledged": watch.acknowledge(&request.id, &request.by) })))
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaintenanceRequest {
    #[serde(default = "system")]
    kind: SubjectKind,
    #[serde(default)]
    name: String,
    r#for: String,
}

fn system() -> SubjectKind {
    SubjectKind::System
}

async fn maintenance(State(state): State<ApiState>, body: Json) -> Result<Response, ApiError> {
    let request: MaintenanceRequest = by_json(body)?;
    let time = time(&request.r#for)?;
    if request.kind != SubjectKind::System && request.name.is_empty() {
        return Err(ApiError::invalid(format!("name is missing: which {} is worked on?", request.kind)));
    }
    blocking(&state, move |watch| {
        watch.maintain(Subject::new(request.kind, request.name), time);
        Ok(json!({ "maintenance": true }))
    })
    .await
}

/// How an agent is, as its own page shows it.
pub(super) fn of_agent(report: &HealthReport, name: &str) -> AgentHealth {
    let subject = Subject::new(SubjectKind::Agent, name);
    let Some(component) = report.component(&subject) else { return AgentHealth::default() };
    let concerns = |issue: &&agentvitals::health::Issue| {
        issue.subject == subject || issue.subject.agent.as_deref() == Some(name)
    };
    AgentHealth {
        score: component.score,
        status: component.status.to_string(),
        issues: report
            .issues
            .iter()
            .filter(concerns)
            .map(|issue| serde_json::to_value(issue).unwrap_or_default())
            .collect(),
    }
}

//! Numbers over time.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::messages::{
    Exemplar, InstantSeries, QueryInstantResponse, QueryRangeResponse, Sample, SearchMetrics, TimeSeries,
};
use super::search::any;
use super::{Asked, invalid, reply};
use crate::api::ApiState;
use crate::api::error::TempoError;
use crate::api::routes::{Parameters, answer};
use crate::api::time::parse_duration;
use crate::query::over_time::{self, OverTimeAnswer, OverTimeRequest, Series};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;

async fn found(
    state: ApiState,
    asked: &Asked,
    step: impl Fn(i64, i64) -> Result<Option<i64>, TempoError>,
) -> Result<OverTimeAnswer, TempoError> {
    let q = asked.text("q").or_else(|| asked.text("query")).unwrap_or_default().to_owned();
    let now = crate::clock::unix_nanos();
    let since = asked.duration("since")?.unwrap_or(HOUR);
    let (start, end) = asked.range()?;
    let end = end.unwrap_or(now);
    let start = start.unwrap_or_else(|| end.min(now).saturating_sub(since));
    // Unlike Tempo, which gives 100 unless told otherwise: they cost a column more that is read.
    let exemplars = asked.number("exemplars")?.unwrap_or(0);
    let request = OverTimeRequest { q, start, end, step: step(start, end)?, exemplars };
    let found = answer(state, request, |answers, request, control| answers.over_time(request, control));
    found.await.map_err(TempoError)
}

pub(super) async fn range(
    State(state): State<ApiState>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, TempoError> {
    Ok(reply(&headers, &over_range(state, &Asked::new(parameters)?).await?))
}

pub(super) async fn over_range(state: ApiState, asked: &Asked) -> Result<QueryRangeResponse, TempoError> {
    let step = |start, end| match asked.text("step") {
        None => Ok(Some(usual_step(start, end))),
        Some(text) => step(text).map(Some),
    };
    let found = found(state, asked, step).await?;
    let series = found.series.iter().map(|series| TimeSeries {
        labels: labels(series),
        samples: series
            .samples
            .iter()
            .map(|&(time, value)| Sample { value, timestamp_ms: time / 1_000_000 })
            .collect(),
        exemplars: series.exemplars.iter().map(exemplar).collect(),
    });
    let series = series.collect();
    let metrics = Some(metrics(found.scanned));
    Ok(QueryRangeResponse { series, metrics, message: message(&found) })
}

pub(super) async fn instant(
    State(state): State<ApiState>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, TempoError> {
    Ok(reply(&headers, &over_all(state, &Asked::new(parameters)?).await?))
}

pub(super) async fn over_all(state: ApiState, asked: &Asked) -> Result<QueryInstantResponse, TempoError> {
    let found = found(state, asked, |_, _| Ok(None)).await?;
    let series = found.series.iter().filter_map(|series| {
        let &(_, value) = series.samples.first()?;
        Some(InstantSeries { labels: labels(series), value })
    });
    let series = series.collect();
    let metrics = Some(metrics(found.scanned));
    Ok(QueryInstantResponse { series, metrics, message: message(&found) })
}

/// What there is to say of an answer: hints that it did not need.
fn message(found: &OverTimeAnswer) -> String {
    match found.ignored_hints.as_slice() {
        [] => String::new(),
        hints => format!("these hints make no difference here: {}", hints.join(", ")),
    }
}

fn exemplar(of: &over_time::Exemplar) -> Exemplar {
    let trace = any(&of.trace_id.as_str().into(), false);
    let label = KeyValue { key: "trace:id".to_owned(), value: Some(trace), ..KeyValue::default() };
    Exemplar { labels: vec![label], value: of.value, timestamp_ms: of.time / 1_000_000 }
}

fn labels(series: &Series) -> Vec<KeyValue> {
    let label = |(key, value): &(String, serde_json::Value)| KeyValue {
        key: key.clone(),
        value: Some(any(value, false)),
        ..KeyValue::default()
    };
    series.labels.iter().map(label).collect()
}

const fn metrics(scanned: u64) -> SearchMetrics {
    SearchMetrics { inspected_traces: 0, completed_jobs: 1, total_jobs: 1, inspected_spans: scanned }
}

/// A step: seconds, or a duration with a unit.
fn step(text: &str) -> Result<i64, TempoError> {
    #[expect(clippy::cast_possible_truncation, reason = "a step that is out of range is cut off")]
    let nanos = match text.parse::<f64>() {
        Ok(seconds) => (seconds * 1e9) as i64,
        Err(_) => parse_duration(text).map_err(|what| invalid(format!("invalid step: {what}")))?,
    };
    if nanos > 0 { Ok(nanos) } else { Err(invalid("step must be greater than 0")) }
}

/// The step that Tempo takes unless it is told: about 240 of them, in round numbers.
fn usual_step(start: i64, end: i64) -> i64 {
    let time = end.saturating_sub(start);
    let part = time / 240;
    let units: &[i64] = if time < 60 * SECOND {
        &[50_000_000]
    } else {
        &[HOUR, 300 * SECOND, 60 * SECOND, 15 * SECOND, 5 * SECOND, SECOND]
    };
    let smallest = units.last().copied().unwrap_or(SECOND);
    units.iter().find(|unit| part > **unit).map_or(smallest, |unit| part / unit * unit)
}

//! Tempo's API: a search for traces, and then these.

use serde::Deserialize;

use super::SpanQuery;
use super::client::Client;
use super::otlp::{self, ResourceSpans};
use super::span::FoundSpan;
use crate::Error;

/// Traces that a search hands out at most.
const MOST: usize = 1_000;
const SECOND: i64 = 1_000_000_000;

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    traces: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(rename = "traceID")]
    trace_id: String,
}

#[derive(Deserialize)]
struct Answer {
    trace: Option<Trace>,
    #[serde(default)]
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    #[serde(default, alias = "batches")]
    resource_spans: Vec<ResourceSpans>,
}

/// Which traces have spans that match Tempo tells; which spans these are, and which are the newest, is told from the traces.
pub(super) async fn spans(client: &Client, query: &SpanQuery) -> Result<Vec<FoundSpan>, Error> {
    let mut parameters = vec![("q", query.traceql()), ("limit", MOST.to_string()), ("spss", "1".to_owned())];
    // Without both Tempo looks at what is recent only.
    let start = query.start.unwrap_or(0).max(0) / SECOND;
    // Whole seconds, so that no span is left out.
    let end = query.end.map_or_else(|| super::now() / SECOND + 3_600, |end| end.div_euclid(SECOND) + 1);
    parameters.extend([("start", start.to_string()), ("end", end.max(start + 1).to_string())]);
    let search: Option<Search> = client.get("/api/search", &parameters).await?;
    let search = search.ok_or_else(|| {
        Error::backend(format!("{} has no /api/search; is it Tempo's address?", client.url))
    })?;
    if search.traces.len() >= MOST {
        return Err(Error::backend(format!(
            "{MOST} traces or more match, and {} may hold back some; ask for a shorter time range or more narrowly",
            client.url
        )));
    }
    let mut all = Vec::new();
    for found in search.traces {
        all.extend(trace(client, &format!("{:0>32}", found.trace_id)).await?);
    }
    query.select(all)
}

pub(super) async fn trace(client: &Client, id: &str) -> Result<Vec<FoundSpan>, Error> {
    let answer: Option<Answer> = client.get(&format!("/api/v2/traces/{id}"), &[]).await?;
    let Some(answer) = answer else { return Ok(Vec::new()) };
    if answer.status.as_deref() == Some("PARTIAL") {
        return Err(Error::backend(format!("{} has only a part of the trace {id}", client.url)));
    }
    let trace = answer.trace.map_or_else(Vec::new, |trace| trace.resource_spans);
    otlp::found(trace).map_err(|why| client.unreadable(&why))
}

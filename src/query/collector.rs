//! The API of `agentvitals serve`.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::SpanQuery;
use super::client::Client;
use super::span::{self, FoundSpan, Kind, Status};
use crate::Error;

#[derive(Deserialize)]
struct Answer {
    spans: Vec<Span>,
    /// Where the next page begins.
    #[serde(default)]
    next: Option<String>,
    #[serde(default)]
    complete: Option<bool>,
}

#[derive(Deserialize)]
struct Span {
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    name: String,
    kind: String,
    status: String,
    #[serde(default)]
    status_message: String,
    start_unix_nano: i64,
    duration_ns: i64,
    service: String,
    #[serde(default)]
    resource: BTreeMap<String, Json>,
    #[serde(default)]
    attributes: BTreeMap<String, Json>,
}

impl Span {
    fn found(self) -> FoundSpan {
        // What the server calls a service without a name.
        let named = self.resource.contains_key(crate::semconv::resource::SERVICE_NAME);
        FoundSpan {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent_span_id: self.parent_span_id,
            service: if named { self.service } else { String::new() },
            name: self.name,
            kind: Kind::named(&self.kind),
            start_unix_nano: self.start_unix_nano,
            duration: span::nanos(self.duration_ns),
            status: Status::named(&self.status),
            status_message: self.status_message,
            attributes: self.attributes,
            resource: self.resource,
        }
    }
}

/// Spans of a page at most.
const PAGE: usize = 10_000;

/// The server answers in pages.
pub(super) async fn spans(client: &Client, query: &SpanQuery) -> Result<Vec<FoundSpan>, Error> {
    let (mut found, mut after): (Vec<FoundSpan>, Option<String>) = (Vec::new(), None);
    loop {
        let limit = (query.limit - found.len()).min(PAGE);
        let asked = json!({"q": query.traceql(), "start": query.start, "end": query.end, "limit": limit,
            "order": "newest", "after": after});
        let body = client.ask(Method::POST, "/api/v1/spans", asked.to_string()).await?;
        let body = body.ok_or_else(|| {
            Error::backend(format!("{} has no /api/v1/spans; is it `agentvitals serve`?", client.url))
        })?;
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| client.unreadable(&error.to_string()))?;
        if answer.complete == Some(false) {
            return Err(Error::backend(format!(
                "{} could not look at all spans within its time; ask for a shorter time range",
                client.url
            )));
        }
        found.extend(answer.spans.into_iter().map(Span::found));
        after = answer.next;
        if after.is_none() || found.len() >= query.limit {
            return Ok(found);
        }
    }
}

pub(super) async fn trace(client: &Client, id: &str) -> Result<Vec<FoundSpan>, Error> {
    let answer: Option<Answer> = client.get(&format!("/api/v1/traces/{id}"), &[]).await?;
    Ok(answer.map_or_else(Vec::new, |answer| answer.spans.into_iter().map(Span::found).collect()))
}

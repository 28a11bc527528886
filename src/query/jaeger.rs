//! Jaeger's API: searches by service and tags, whose answers are whole traces.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::SpanQuery;
use super::client::Client;
use super::filter::{Comparison, Field, Filter, Value};
use super::span::{self, FoundSpan, Kind, Status};
use crate::Error;
use crate::semconv::resource::SERVICE_NAME;

/// Traces that a search hands out at most.
const MOST: usize = 1_500;
/// What Jaeger calls the service of those that name none.
const NO_SERVICE: &str = "OTLPResourceNoServiceName";

#[derive(Deserialize)]
struct Answer<T> {
    data: Option<Vec<T>>,
    #[serde(default)]
    errors: Option<Vec<Refusal>>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    msg: String,
}

#[derive(Deserialize)]
struct Trace {
    spans: Vec<JaegerSpan>,
    #[serde(default)]
    processes: BTreeMap<String, Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
    #[serde(default)]
    tags: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JaegerSpan {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: String,
    #[serde(default)]
    references: Vec<Reference>,
    start_time: i64,
    duration: i64,
    #[serde(default)]
    tags: Option<Vec<Tag>>,
    #[serde(rename = "processID")]
    process_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: String,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    #[serde(rename = "type", default)]
    kind: String,
    value: Json,
}

pub(super) async fn spans(client: &Client, query: &SpanQuery) -> Result<Vec<FoundSpan>, Error> {
    let mut known = Known::default();
    known.read(&query.filter);
    let services = match known.service.take() {
        Some(service) => vec![service],
        None => ask::<String>(client, "/api/services", &[]).await?,
    };
    let mut all = Vec::new();
    for service in services {
        let mut parameters = vec![("service", service.clone()), ("limit", MOST.to_string())];
        // Microseconds, so that no span is left out.
        let end = query.end.unwrap_or_else(|| super::now().saturating_add(3_600_000_000_000));
        parameters.push(("start", query.start.unwrap_or(0).max(0).div_euclid(1_000).to_string()));
        parameters.push(("end", (end.div_euclid(1_000) + 1).to_string()));
        parameters.extend(known.operation.clone().map(|operation| ("operation", operation)));
        if !known.tags.is_empty() {
            parameters.push(("tags", Json::Object(known.tags.clone()).to_string()));
        }
        let traces: Vec<Trace> = ask(client, "/api/traces", &parameters).await?;
        if traces.len() >= MOST {
            return Err(Error::backend(format!(
                "{MOST} traces of {service} or more match, and {} may hold back some; ask for a shorter time range or more narrowly",
                client.url
            )));
        }
        for trace in traces {
            all.extend(found(trace).map_err(|why| client.unreadable(&why))?);
        }
    }
    query.select(all)
}

pub(super) async fn trace(client: &Client, id: &str) -> Result<Vec<FoundSpan>, Error> {
    let traces: Vec<Trace> = ask(client, &format!("/api/traces/{id}"), &[]).await?;
    let spans = traces.into_iter().map(found).collect::<Result<Vec<_>, _>>();
    Ok(spans.map_err(|why| client.unreadable(&why))?.into_iter().flatten().collect())
}

async fn ask<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
    parameters: &[(&str, String)],
) -> Result<Vec<T>, Error> {
    let answer: Option<Answer<T>> = client.get(path, parameters).await?;
    // A trace that is not there is 404, and there is nothing else of this kind.
    let Some(answer) = answer else { return Ok(Vec::new()) };
    match answer.errors.as_deref() {
        Some([refusal, ..]) if refusal.code != 404 => {
            Err(Error::backend(format!("{} answers {}: {}", client.url, refusal.code, refusal.msg)))
        }
        _ => Ok(answer.data.unwrap_or_default()),
    }
}

/// What of a filter Jaeger can be asked for: what every span must have.
#[derive(Default)]
struct Known {
    service: Option<String>,
    operation: Option<String>,
    tags: Map<String, Json>,
}

impl Known {
    fn read(&mut self, filter: &Filter) {
        let (field, value) = match filter {
            Filter::And(a, b) => {
                self.read(a);
                return self.read(b);
            }
            Filter::Compare(field, Comparison::Eq, value) => (field, value),
            _ => return,
        };
        match (field, value) {
            (Field::ResourceAttribute(key), Value::Text(text)) if key == SERVICE_NAME => {
                self.service = Some(text.clone());
            }
            (Field::Name, Value::Text(text)) => self.operation = Some(text.clone()),
            (Field::Status, Value::Status(Status::Error)) => {
                self.tags.insert("error".to_owned(), "true".into());
            }
            // Numbers are other texts there than here, and are looked at in the traces that come.
            (
                Field::Attribute(key) | Field::SpanAttribute(key) | Field::ResourceAttribute(key),
                Value::Text(text),
            ) => {
                self.tags.insert(key.clone(), text.as_str().into());
            }
            _ => {}
        }
    }
}

fn found(trace: Trace) -> Result<Vec<FoundSpan>, String> {
    let processes: BTreeMap<String, (String, BTreeMap<String, Json>)> = trace
        .processes
        .into_iter()
        .map(|(id, process)| {
            let mut resource: BTreeMap<String, Json> = tags(process.tags).collect();
            let service =
                if process.service_name == NO_SERVICE { String::new() } else { process.service_name };
            if !service.is_empty() {
                resource.insert(SERVICE_NAME.to_owned(), service.clone().into());
            }
            (id, (service, resource))
        })
        .collect();
    let of = |span: JaegerSpan| {
        let process = processes.get(&span.process_id);
        let (service, resource) = process
            .cloned()
            .ok_or_else(|| format!("a span has the process {:?}, which is not there", span.process_id))?;
        Ok(one(span, service, resource))
    };
    trace.spans.into_iter().map(of).collect()
}

fn one(span: JaegerSpan, service: String, resource: BTreeMap<String, Json>) -> FoundSpan {
    let trace_id = format!("{:0>32}", span.trace_id);
    let parent = |kind: &str| {
        let mut references = span.references.iter();
        references.find(|of| of.ref_type == kind && format!("{:0>32}", of.trace_id) == trace_id)
    };
    let parent =
        parent("CHILD_OF").or_else(|| parent("FOLLOWS_FROM")).map(|of| format!("{:0>16}", of.span_id));
    let (mut kind, mut status, mut status_message) = (Kind::Unspecified, Status::Unset, String::new());
    let mut attributes = BTreeMap::new();
    for (key, value) in tags(span.tags) {
        // What Jaeger has as tags of fields that OTLP has.
        match (key.as_str(), value) {
            ("span.kind", Json::String(name)) => kind = Kind::named(&name),
            ("otel.status_code", Json::String(name)) => status = Status::named(&name),
            ("otel.status_description", Json::String(message)) => status_message = message,
            ("error", Json::Bool(true)) => status = Status::Error,
            ("w3c.tracestate" | "otel.scope.name" | "otel.scope.version", _) => {}
            (_, value) => {
                attributes.insert(key, value);
            }
        }
    }
    FoundSpan {
        span_id: format!("{:0>16}", span.span_id),
        parent_span_id: parent,
        service,
        name: span.operation_name,
        kind,
        start_unix_nano: span.start_time.saturating_mul(1_000),
        duration: span::nanos(span.duration.saturating_mul(1_000)),
        status,
        status_message,
        attributes,
        resource,
        trace_id,
    }
}

fn tags(tags: Option<Vec<Tag>>) -> impl Iterator<Item = (String, Json)> {
    tags.into_iter().flatten().map(|tag| {
        let value = match (tag.kind.as_str(), tag.value) {
            // Whole numbers that not every reader of JSON takes are texts.
            ("int64", Json::String(text)) => text.parse::<i64>().map_or(Json::String(text), Json::from),
            // A number with a point may be written without it.
            ("float64", Json::Number(number)) => number.as_f64().map_or(Json::Number(number), Json::from),
            (_, value) => value,
        };
        (tag.key, value)
    })
}

//! Rows as OTLP, with the types that values came with.

pub(super) mod export;
mod logs;
mod metrics;

use hashbrown::HashMap;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

use super::Queries;
use super::render::{Rows, Spans};
use super::trace::{self, TraceId};
use crate::anyvalue::key_value;
use crate::query::engine::{Control, QueryError};
use crate::value::{Value, parse_map};

/// The spans of some traces, by trace in the order of the ids, in each by start; those that are not over are left out.
pub(super) fn traces(
    queries: &Queries,
    ids: &[String],
    control: &Control,
) -> Result<Vec<Vec<ResourceSpans>>, QueryError> {
    let ids = ids.iter().map(|id| trace::id(id)).collect::<Result<Vec<TraceId>, _>>()?;
    let mut all: HashMap<TraceId, Vec<Found>> = HashMap::new();
    trace::each(queries, &ids, control, |spans, row| {
        let found = Found::new(spans, row);
        control.take_memory(found.span.encoded_len() * 3 + size_of::<Found>())?;
        all.entry(spans.keys().trace_id(row)).or_default().push(found);
        Ok(())
    })?;
    Ok(ids.iter().filter_map(|id| all.remove(id)).map(grouped).collect())
}

/// A span, and the texts of its resource and scope.
struct Found {
    span: Span,
    resource: String,
    scope: String,
}

impl Found {
    fn new(spans: &Spans<'_>, row: usize) -> Self {
        let rows = spans.rows();
        Self {
            span: span(spans, row),
            resource: rows.text("resource", row).to_owned(),
            scope: rows.text("scope", row).to_owned(),
        }
    }
}

fn grouped(mut spans: Vec<Found>) -> Vec<ResourceSpans> {
    spans.sort_by(|a, b| {
        let order = |found: &Found| found.span.start_time_unix_nano;
        order(a).cmp(&order(b)).then_with(|| a.span.span_id.cmp(&b.span.span_id))
    });
    resource_spans(by_origin(spans.into_iter().map(|found| (found.resource, found.scope, found.span))))
}

/// What came from one resource: its text, and for each of its scopes the text and the records.
type Origin<T> = (String, Vec<(String, Vec<T>)>);

/// Records by resource and scope, in the order in which these come first.
fn by_origin<T>(records: impl Iterator<Item = (String, String, T)>) -> Vec<Origin<T>> {
    let mut out: Vec<Origin<T>> = Vec::new();
    let (mut resources, mut scopes): (HashMap<String, usize>, HashMap<(usize, String), usize>) =
        (HashMap::new(), HashMap::new());
    for (resource, scope, record) in records {
        let at = *resources.entry(resource).or_insert_with_key(|text| {
            out.push((text.clone(), Vec::new()));
            out.len() - 1
        });
        let groups = &mut out[at].1;
        let place = *scopes.entry((at, scope)).or_insert_with_key(|(_, text)| {
            groups.push((text.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(record);
    }
    out
}

fn resource_spans(origins: Vec<Origin<Span>>) -> Vec<ResourceSpans> {
    let scoped = |(text, spans): (String, Vec<Span>)| {
        let (scope, schema_url) = scope(&text);
        ScopeSpans { scope: Some(scope), spans, schema_url }
    };
    let of = |(text, scopes): Origin<Span>| {
        let (resource, schema_url) = resource(&text);
        let scope_spans = scopes.into_iter().map(scoped).collect();
        ResourceSpans { resource: Some(resource), scope_spans, schema_url }
    };
    origins.into_iter().map(of).collect()
}

/// The members of an object's text by name.
struct Members(Vec<(String, Value)>);

impl Members {
    fn of(text: &str) -> Self {
        Self(parse_map(text).unwrap_or_default())
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn text(&mut self, name: &str) -> String {
        match self.take(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        }
    }

    fn count(&mut self, name: &str) -> u32 {
        match self.take(name) {
            Some(Value::Int(number)) => u32::try_from(number).unwrap_or(0),
            _ => 0,
        }
    }

    fn bytes(&mut self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).unwrap_or_default()
    }

    fn attributes(&mut self) -> Vec<KeyValue> {
        match self.take("attributes") {
            Some(Value::Map(entries)) => entries.into_iter().map(key_value).collect(),
            _ => Vec::new(),
        }
    }
}

fn resource(text: &str) -> (Resource, String) {
    let mut members = Members::of(text);
    let schema_url = members.text("schema_url");
    let resource = Resource {
        dropped_attributes_count: members.count("dropped_attributes_count"),
        attributes: members.attributes(),
        ..Resource::default()
    };
    (resource, schema_url)
}

fn scope(text: &str) -> (InstrumentationScope, String) {
    let mut members = Members::of(text);
    let schema_url = members.text("schema_url");
    let scope = InstrumentationScope {
        name: members.text("name"),
        version: members.text("version"),
        dropped_attributes_count: members.count("dropped_attributes_count"),
        attributes: members.attributes(),
    };
    (scope, schema_url)
}

fn span(spans: &Spans<'_>, row: usize) -> Span {
    let (rows, keys) = (spans.rows(), spans.keys());
    let nanos = |nanos: i64| u64::try_from(nanos).unwrap_or(0);
    let small = |name: &str| i32::try_from(rows.small(name, row)).unwrap_or(0);
    let start = keys.start(row);
    Span {
        trace_id: keys.trace_id(row).to_vec(),
        span_id: keys.span_id(row).to_vec(),
        trace_state: rows.text("trace_state", row).to_owned(),
        parent_span_id: rows.bytes("parent_span_id", row),
        flags: rows.count("flags", row),
        name: rows.text("name", row).to_owned(),
        kind: small("kind"),
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(start.saturating_add(keys.duration(row))),
        attributes: rows.values(row).into_iter().map(key_value).collect(),
        dropped_attributes_count: rows.count("dropped_attributes", row),
        events: list(rows, "events", row, event),
        dropped_events_count: rows.count("dropped_events", row),
        links: list(rows, "links", row, link),
        dropped_links_count: rows.count("dropped_links", row),
        status: Some(Status { message: rows.text("status_message", row).to_owned(), code: small("status") }),
    }
}

fn list<T>(rows: &Rows<'_>, name: &str, row: usize, of: fn(Members) -> T) -> Vec<T> {
    let Some(Value::Array(items)) = Value::parse(rows.text(name, row)) else { return Vec::new() };
    let members = |item| match item {
        Value::Map(members) => Some(of(Members(members))),
        _ => None,
    };
    items.into_iter().filter_map(members).collect()
}

fn event(mut members: Members) -> Event {
    let time = match members.take("time") {
        Some(Value::Int(time)) => u64::try_from(time).unwrap_or(0),
        _ => 0,
    };
    Event {
        time_unix_nano: time,
        name: members.text("name"),
        dropped_attributes_count: members.count("dropped_attributes_count"),
        attributes: members.attributes(),
    }
}

fn link(mut members: Members) -> Link {
    Link {
        trace_id: members.bytes("trace_id"),
        span_id: members.bytes("span_id"),
        trace_state: members.text("trace_state"),
        flags: members.count("flags"),
        dropped_attributes_count: members.count("dropped_attributes_count"),
        attributes: members.attributes(),
    }
}

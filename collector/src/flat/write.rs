//! Spans as rows.

use std::sync::Arc;

use arrow_array::builder::{StringBuilder, TimestampNanosecondBuilder, UInt32Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::ArrowError;
use hashbrown::HashMap;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::{KINDS, STATUSES, UTC, schema};
use crate::anyvalue::{map, of_any};
use crate::value::Value;

/// The rows of some spans.
///
/// # Errors
/// Never, but for a table that does not fit together.
pub(crate) fn batch(all: &[ResourceSpans]) -> Result<RecordBatch, ArrowError> {
    let mut rows = Rows::default();
    for of in all {
        let resource = of.resource.clone().unwrap_or_default();
        for scoped in &of.scope_spans {
            for span in &scoped.spans {
                rows.span(span);
                rows.origin(&resource, &of.schema_url, scoped);
            }
        }
    }
    rows.batch()
}

#[derive(Default)]
struct Rows {
    texts: HashMap<&'static str, StringBuilder>,
    counts: HashMap<&'static str, UInt32Builder>,
    times: HashMap<&'static str, TimestampNanosecondBuilder>,
}

impl Rows {
    /// A text; nothing if it is empty.
    fn text(&mut self, name: &'static str, text: &str) {
        self.texts.entry(name).or_default().append_option((!text.is_empty()).then_some(text));
    }

    fn count(&mut self, name: &'static str, count: u32) {
        self.counts.entry(name).or_default().append_value(count);
    }

    fn time(&mut self, name: &'static str, nanos: u64) {
        self.times.entry(name).or_default().append_value(i64::try_from(nanos).unwrap_or(i64::MAX));
    }

    fn span(&mut self, span: &Span) {
        let status = span.status.clone().unwrap_or_default();
        self.text("trace_id", &hex::encode(&span.trace_id));
        self.text("span_id", &hex::encode(&span.span_id));
        self.text("parent_span_id", &hex::encode(&span.parent_span_id));
        self.text("trace_state", &span.trace_state);
        self.count("flags", span.flags);
        self.text("name", &span.name);
        self.text("kind", named(&KINDS, span.kind));
        self.time("start_time", span.start_time_unix_nano);
        self.time("end_time", span.end_time_unix_nano);
        self.text("status", named(&STATUSES, status.code));
        self.text("status_message", &status.message);
        self.text("attributes", &map(&span.attributes).to_text());
        self.count("dropped_attributes", span.dropped_attributes_count);
        self.text("events", &list(&span.events, event));
        self.count("dropped_events", span.dropped_events_count);
        self.text("links", &list(&span.links, link));
        self.count("dropped_links", span.dropped_links_count);
    }

    fn origin(&mut self, resource: &Resource, schema_url: &str, scoped: &ScopeSpans) {
        let service = resource.attributes.iter().find(|pair| pair.key == "service.name");
        let service = service.and_then(|pair| pair.value.as_ref()).map(of_any);
        let scope = scoped.scope.clone().unwrap_or_default();
        self.text(
            "service",
            match &service {
                Some(Value::String(name)) => name,
                _ => "",
            },
        );
        self.text("resource", &map(&resource.attributes).to_text());
        self.count("resource_dropped_attributes", resource.dropped_attributes_count);
        self.text("resource_schema_url", schema_url);
        self.text("scope_name", &scope.name);
        self.text("scope_version", &scope.version);
        self.text("scope", &map(&scope.attributes).to_text());
        self.count("scope_dropped_attributes", scope.dropped_attributes_count);
        self.text("scope_schema_url", &scoped.schema_url);
    }

    fn batch(mut self) -> Result<RecordBatch, ArrowError> {
        let schema = schema();
        let column = |field: &Arc<arrow_schema::Field>| -> ArrayRef {
            let name = field.name().as_str();
            if let Some(texts) = self.texts.get_mut(name) {
                return Arc::new(texts.finish());
            }
            if let Some(times) = self.times.get_mut(name) {
                return Arc::new(times.finish().with_timezone(UTC));
            }
            match self.counts.get_mut(name) {
                Some(counts) => Arc::new(counts.finish()),
                None => arrow_array::new_empty_array(field.data_type()),
            }
        };
        let columns = schema.fields().iter().map(column).collect();
        RecordBatch::try_new(schema, columns)
    }
}

fn named(names: &[&'static str], number: i32) -> &'static str {
    usize::try_from(number).ok().and_then(|number| names.get(number)).unwrap_or(&names[0])
}

fn list<T>(items: &[T], of: fn(&T) -> Value) -> String {
    if items.is_empty() { String::new() } else { Value::Array(items.iter().map(of).collect()).to_text() }
}

fn event(event: &Event) -> Value {
    Value::Map(vec![
        ("time".to_owned(), Value::Int(i64::try_from(event.time_unix_nano).unwrap_or(i64::MAX))),
        ("name".to_owned(), Value::String(event.name.clone())),
        ("attributes".to_owned(), map(&event.attributes)),
        ("dropped_attributes_count".to_owned(), Value::Int(event.dropped_attributes_count.into())),
    ])
}

fn link(link: &Link) -> Value {
    Value::Map(vec![
        ("trace_id".to_owned(), Value::String(hex::encode(&link.trace_id))),
        ("span_id".to_owned(), Value::String(hex::encode(&link.span_id))),
        ("trace_state".to_owned(), Value::String(link.trace_state.clone())),
        ("flags".to_owned(), Value::Int(link.flags.into())),
        ("attributes".to_owned(), map(&link.attributes)),
        ("dropped_attributes_count".to_owned(), Value::Int(link.dropped_attributes_count.into())),
    ])
}

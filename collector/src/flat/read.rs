//! Rows as spans.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{TimestampNanosecondType, UInt32Type};
use arrow_array::{Array as _, RecordBatch};
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::{KINDS, STATUSES, schema};
use crate::anyvalue::key_value;
use crate::value::Value;

/// The spans of some rows; those of one resource and scope that stand together are together.
///
/// # Errors
/// When a column is missing or of another type, or a cell is not what it should be; with its row in the batch.
pub(crate) fn spans(batch: &RecordBatch) -> Result<Vec<ResourceSpans>, String> {
    for field in schema().fields() {
        match batch.column_by_name(field.name()) {
            None => {
                return Err(format!(
                    "there is no column {}; expected a file of `agentvitals export`",
                    field.name()
                ));
            }
            Some(column) if column.data_type() != field.data_type() => {
                let (name, kind, wanted) = (field.name(), column.data_type(), field.data_type());
                return Err(format!("the column {name} is {kind}, expected {wanted}"));
            }
            Some(_) => {}
        }
    }
    let rows = Rows(batch);
    let mut out: Vec<ResourceSpans> = Vec::new();
    let mut before: Option<[&str; 5]> = None;
    let mut counts_before = [0; 2];
    for row in 0..batch.num_rows() {
        let origin = ["resource", "resource_schema_url", "scope_name", "scope_version", "scope"];
        let origin = origin.map(|name| rows.text(name, row));
        let counts =
            ["resource_dropped_attributes", "scope_dropped_attributes"].map(|name| rows.count(name, row));
        let wrong = |what: String| format!("row {row}: {what}");
        let span = rows.span(row).map_err(wrong)?;
        let same_schema = out.last().and_then(|of| of.scope_spans.last());
        let same_schema = same_schema.is_some_and(|of| of.schema_url == rows.text("scope_schema_url", row));
        if before != Some(origin) || counts_before != counts || !same_schema {
            out.push(rows.origin(row).map_err(wrong)?);
            (before, counts_before) = (Some(origin), counts);
        }
        if let Some(scoped) = out.last_mut().and_then(|of| of.scope_spans.last_mut()) {
            scoped.spans.push(span);
        }
    }
    Ok(out)
}

struct Rows<'a>(&'a RecordBatch);

impl<'a> Rows<'a> {
    fn text(&self, name: &str, row: usize) -> &'a str {
        let column = self.0.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        column.filter(|column| column.is_valid(row)).map_or("", |column| column.value(row))
    }

    fn count(&self, name: &str, row: usize) -> u32 {
        let column = self.0.column_by_name(name).and_then(|column| column.as_primitive_opt::<UInt32Type>());
        column.filter(|column| column.is_valid(row)).map_or(0, |column| column.value(row))
    }

    fn nanos(&self, name: &str, row: usize) -> u64 {
        let column = self
            .0
            .column_by_name(name)
            .and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
        let time = column.filter(|column| column.is_valid(row)).map_or(0, |column| column.value(row));
        u64::try_from(time).unwrap_or(0)
    }

    fn bytes(&self, name: &str, row: usize) -> Result<Vec<u8>, String> {
        let text = self.text(name, row);
        hex::decode(text).map_err(|_| format!("{name} is {text:?}, expected hex digits"))
    }

    fn named(&self, names: &[&str], name: &str, row: usize) -> Result<i32, String> {
        let text = self.text(name, row);
        let at = names.iter().position(|known| *known == text || text.is_empty());
        let at = at.and_then(|at| i32::try_from(at).ok());
        at.ok_or_else(|| format!("{name} is {text:?}, expected one of {}", names.join(", ")))
    }

    fn attributes(&self, name: &str, row: usize) -> Result<Vec<KeyValue>, String> {
        match self.text(name, row) {
            "" => Ok(Vec::new()),
            text => match Value::parse(text) {
                Some(Value::Map(entries)) => Ok(entries.into_iter().map(key_value).collect()),
                _ => Err(format!("{name} is no JSON object")),
            },
        }
    }

    fn list<T>(&self, name: &str, row: usize, of: fn(Vec<(String, Value)>) -> T) -> Result<Vec<T>, String> {
        let wrong = || format!("{name} is no JSON array of objects");
        let items = match self.text(name, row) {
            "" => return Ok(Vec::new()),
            text => match Value::parse(text) {
                Some(Value::Array(items)) => items,
                _ => return Err(wrong()),
            },
        };
        let members = |item| match item {
            Value::Map(members) => Ok(of(members)),
            _ => Err(wrong()),
        };
        items.into_iter().map(members).collect()
    }

    fn origin(&self, row: usize) -> Result<ResourceSpans, String> {
        let scope = InstrumentationScope {
            name: self.text("scope_name", row).to_owned(),
            version: self.text("scope_version", row).to_owned(),
            attributes: self.attributes("scope", row)?,
            dropped_attributes_count: self.count("scope_dropped_attributes", row),
        };
        let resource = Resource {
            attributes: self.attributes("resource", row)?,
            dropped_attributes_count: self.count("resource_dropped_attributes", row),
            ..Resource::default()
        };
        let schema_url = self.text("scope_schema_url", row).to_owned();
        Ok(ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans: Vec::new(), schema_url }],
            schema_url: self.text("resource_schema_url", row).to_owned(),
        })
    }

    fn span(&self, row: usize) -> Result<Span, String> {
        let status = Status {
            code: self.named(&STATUSES, "status", row)?,
            message: self.text("status_message", row).to_owned(),
        };
        Ok(Span {
            trace_id: self.bytes("trace_id", row)?,
            span_id: self.bytes("span_id", row)?,
            trace_state: self.text("trace_state", row).to_owned(),
            parent_span_id: self.bytes("parent_span_id", row)?,
            flags: self.count("flags", row),
            name: self.text("name", row).to_owned(),
            kind: self.named(&KINDS, "kind", row)?,
            start_time_unix_nano: self.nanos("start_time", row),
            end_time_unix_nano: self.nanos("end_time", row),
            attributes: self.attributes("attributes", row)?,
            dropped_attributes_count: self.count("dropped_attributes", row),
            events: self.list("events", row, event)?,
            dropped_events_count: self.count("dropped_events", row),
            links: self.list("links", row, link)?,
            dropped_links_count: self.count("dropped_links", row),
            status: Some(status),
        })
    }
}

fn event(members: Vec<(String, Value)>) -> Event {
    let mut event = Event::default();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("time", Value::Int(time)) => event.time_unix_nano = u64::try_from(time).unwrap_or(0),
            ("name", Value::String(name)) => event.name = name,
            ("attributes", Value::Map(entries)) => {
                event.attributes = entries.into_iter().map(key_value).collect()
            }
            ("dropped_attributes_count", value) => event.dropped_attributes_count = small(&value),
            _ => {}
        }
    }
    event
}

fn link(members: Vec<(String, Value)>) -> Link {
    let mut link = Link::default();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("trace_id", Value::String(id)) => link.trace_id = hex::decode(id).unwrap_or_default(),
            ("span_id", Value::String(id)) => link.span_id = hex::decode(id).unwrap_or_default(),
            ("trace_state", Value::String(state)) => link.trace_state = state,
            ("flags", value) => link.flags = small(&value),
            ("attributes", Value::Map(entries)) => {
                link.attributes = entries.into_iter().map(key_value).collect()
            }
            ("dropped_attributes_count", value) => link.dropped_attributes_count = small(&value),
            _ => {}
        }
    }
    link
}

fn small(value: &Value) -> u32 {
    match value {
        Value::Int(number) => u32::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}

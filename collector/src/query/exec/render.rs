//! Rows as spans that can be shown.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int8Type, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use serde_json::{Map, Value as Json};

use crate::query::engine::QueryError;
use crate::query::request::Span;
use crate::value::{Value, parse_map};

const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const STATUSES: [&str; 3] = ["unset", "ok", "error"];

/// The rows of a batch with all columns.
pub(super) struct Spans<'a> {
    batch: &'a RecordBatch,
    traces: &'a ArrayRef,
    ids: &'a ArrayRef,
    starts: &'a ArrayRef,
    durations: &'a ArrayRef,
}

impl<'a> Spans<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, QueryError> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .ok_or_else(|| QueryError::Failed(format!("a batch lacks the column {name}")))
        };
        Ok(Self {
            batch,
            traces: column("trace_id")?,
            ids: column("span_id")?,
            starts: column("start")?,
            durations: column("duration_ns")?,
        })
    }

    pub(super) fn trace_id(&self, row: usize) -> [u8; 16] {
        self.traces.as_fixed_size_binary().value(row).try_into().unwrap_or_default()
    }

    pub(super) fn span_id(&self, row: usize) -> [u8; 8] {
        self.ids.as_fixed_size_binary().value(row).try_into().unwrap_or_default()
    }

    pub(super) fn start(&self, row: usize) -> i64 {
        self.starts.as_primitive::<TimestampNanosecondType>().value(row)
    }

    pub(super) fn duration(&self, row: usize) -> i64 {
        self.durations.as_primitive::<Int64Type>().value(row)
    }

    fn text(&self, name: &str, row: usize) -> &str {
        let Some(column) = self.batch.column_by_name(name).filter(|column| !column.is_null(row)) else {
            return "";
        };
        if let Some(texts) = column.as_string_opt::<i32>() {
            return texts.value(row);
        }
        let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() else { return "" };
        let code = usize::try_from(dictionary.keys().value(row)).unwrap_or(0);
        dictionary.values().as_string_opt::<i32>().map_or("", |texts| texts.value(code))
    }

    fn small(&self, name: &str, row: usize) -> usize {
        let column = self.batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int8Type>());
        column.map_or(0, |column| usize::try_from(column.value(row)).unwrap_or(0))
    }

    fn count(&self, name: &str, row: usize) -> u32 {
        let column =
            self.batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<UInt32Type>());
        column.map_or(0, |column| column.value(row))
    }

    fn attributes(&self, row: usize) -> Map<String, Json> {
        let mut out = Map::new();
        for (field, column) in self.batch.schema_ref().fields().iter().zip(self.batch.columns()) {
            let Some(key) = field.name().strip_prefix("a:").filter(|_| !column.is_null(row)) else {
                continue;
            };
            let value = match column.data_type() {
                DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row)).to_json(),
                DataType::Float64 => Value::Double(column.as_primitive::<Float64Type>().value(row)).to_json(),
                DataType::Boolean => column.as_boolean().value(row).into(),
                _ => self.text(field.name(), row).into(),
            };
            out.insert(key.to_owned(), value);
        }
        out.extend(json_map(parse_map(self.text("attributes", row)).unwrap_or_default()));
        out
    }

    fn list(&self, name: &str, row: usize) -> Vec<Json> {
        match Value::parse(self.text(name, row)) {
            Some(Value::Array(items)) => items.into_iter().map(item).collect(),
            _ => Vec::new(),
        }
    }

    /// The span of a row.
    pub(super) fn span(&self, row: usize) -> Result<Span, QueryError> {
        let named = |names: &[&str], number: usize| names.get(number).copied().unwrap_or(names[0]).to_owned();
        let object = |name: &str| parse_map(self.text(name, row)).unwrap_or_default();
        let resource = object("resource").into_iter().find_map(|(member, value)| match value {
            Value::Map(attributes) if member == "attributes" => Some(json_map(attributes).collect()),
            _ => None,
        });
        let parent = self.batch.column_by_name("parent_span_id").filter(|column| !column.is_null(row));
        let mut dropped = Map::new();
        for (name, shown) in
            [("dropped_attributes", "attributes"), ("dropped_events", "events"), ("dropped_links", "links")]
        {
            if self.count(name, row) > 0 {
                dropped.insert(shown.to_owned(), self.count(name, row).into());
            }
        }
        Ok(Span {
            trace_id: hex::encode(self.trace_id(row)),
            span_id: hex::encode(self.span_id(row)),
            parent_span_id: parent.map(|column| hex::encode(column.as_fixed_size_binary().value(row))),
            name: self.text("name", row).to_owned(),
            kind: named(&KINDS, self.small("kind", row)),
            status: named(&STATUSES, self.small("status", row)),
            status_message: self.text("status_message", row).to_owned(),
            start_unix_nano: self.start(row),
            duration_ns: self.duration(row),
            service: self.text("service", row).to_owned(),
            trace_state: self.text("trace_state", row).to_owned(),
            flags: self.count("flags", row),
            resource: resource.unwrap_or_default(),
            scope: json_map(object("scope")).collect(),
            attributes: self.attributes(row),
            events: self.list("events", row),
            links: self.list("links", row),
            dropped,
        })
    }
}

fn json_map(entries: Vec<(String, Value)>) -> impl Iterator<Item = (String, Json)> {
    entries.into_iter().map(|(key, value)| (key, value.to_json()))
}

/// An event or a link as it is shown.
fn item(item: Value) -> Json {
    let Value::Map(members) = item else { return Json::Null };
    let mut out = Map::new();
    out.insert("attributes".to_owned(), Json::Object(Map::new()));
    for (member, value) in members {
        let member = if member == "time" { "time_unix_nano".to_owned() } else { member };
        out.insert(member, value.to_json());
    }
    Json::Object(out)
}

/// Bytes that a span takes in an answer, about.
pub(super) fn size(span: &Span) -> usize {
    fn of(value: &Json) -> usize {
        32 + match value {
            Json::String(text) => text.len(),
            Json::Array(items) => items.iter().map(of).sum(),
            Json::Object(members) => members.iter().map(|(key, value)| key.len() + of(value)).sum(),
            _ => 0,
        }
    }
    let maps = [&span.resource, &span.scope, &span.attributes];
    let members = maps.into_iter().flatten().map(|(key, value)| key.len() + 32 + of(value)).sum::<usize>();
    size_of::<Span>()
        + 120
        + span.name.len()
        + members
        + span.events.iter().chain(&span.links).map(of).sum::<usize>()
}

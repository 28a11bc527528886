//! Rows as spans that can be shown.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int8Type, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use serde_json::{Map, Value as Json};

use crate::query::engine::QueryError;
use crate::query::request::Span;
use crate::value::{Value, parse_map};

pub(super) const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
pub(super) const STATUSES: [&str; 3] = ["unset", "ok", "error"];

/// The rows of a batch, of any table.
pub(super) struct Rows<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Rows<'a> {
    pub(super) const fn new(batch: &'a RecordBatch) -> Self {
        Self { batch }
    }

    /// The column of this name.
    pub(super) fn column(&self, name: &str) -> Result<&'a ArrayRef, QueryError> {
        self.batch
            .column_by_name(name)
            .ok_or_else(|| QueryError::Failed(format!("a batch lacks the column {name}")))
    }

    /// The text of a column in a row; empty if it has none.
    pub(super) fn text(&self, name: &str, row: usize) -> &'a str {
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

    /// A small number, 0 if there is none.
    pub(super) fn small(&self, name: &str, row: usize) -> usize {
        let column = self.batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int8Type>());
        column.map_or(0, |column| usize::try_from(column.value(row)).unwrap_or(0))
    }

    /// A count, 0 if there is none.
    pub(super) fn count(&self, name: &str, row: usize) -> u32 {
        let column =
            self.batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<UInt32Type>());
        column.map_or(0, |column| column.value(row))
    }

    /// An id in hex, none if there is none.
    pub(super) fn id(&self, name: &str, row: usize) -> Option<String> {
        let column = self.batch.column_by_name(name).filter(|column| !column.is_null(row))?;
        Some(hex::encode(column.as_fixed_size_binary().value(row)))
    }

    /// An id as bytes, none of them if there is none.
    pub(super) fn bytes(&self, name: &str, row: usize) -> Vec<u8> {
        let column = self.batch.column_by_name(name).filter(|column| !column.is_null(row));
        column.map_or_else(Vec::new, |column| column.as_fixed_size_binary().value(row).to_vec())
    }

    /// The attributes, as they came.
    pub(super) fn values(&self, row: usize) -> Vec<(String, Value)> {
        let mut out = Vec::new();
        for (field, column) in self.batch.schema_ref().fields().iter().zip(self.batch.columns()) {
            let Some(key) = field.name().strip_prefix("a:").filter(|_| !column.is_null(row)) else {
                continue;
            };
            let value = match column.data_type() {
                DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row)),
                DataType::Float64 => Value::Double(column.as_primitive::<Float64Type>().value(row)),
                DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
                _ => Value::String(self.text(field.name(), row).to_owned()),
            };
            out.push((key.to_owned(), value));
        }
        out.extend(parse_map(self.text("attributes", row)).unwrap_or_default());
        out
    }

    /// The attributes as they are shown.
    pub(super) fn attributes(&self, row: usize) -> Map<String, Json> {
        json_map(self.values(row)).collect()
    }

    /// The attributes of the resource.
    pub(super) fn resource(&self, row: usize) -> Map<String, Json> {
        let members = parse_map(self.text("resource", row)).unwrap_or_default();
        let attributes = members.into_iter().find_map(|(member, value)| match value {
            Value::Map(attributes) if member == "attributes" => Some(json_map(attributes).collect()),
            _ => None,
        });
        attributes.unwrap_or_default()
    }

    /// The scope.
    pub(super) fn scope(&self, row: usize) -> Map<String, Json> {
        json_map(parse_map(self.text("scope", row)).unwrap_or_default()).collect()
    }

    fn list(&self, name: &str, row: usize) -> Vec<Json> {
        match Value::parse(self.text(name, row)) {
            Some(Value::Array(items)) => items.into_iter().map(item).collect(),
            _ => Vec::new(),
        }
    }
}

/// What tells the spans of a batch from each other.
pub(super) struct Keys<'a> {
    traces: &'a ArrayRef,
    ids: &'a ArrayRef,
    starts: &'a ArrayRef,
    durations: &'a ArrayRef,
}

impl<'a> Keys<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, QueryError> {
        let rows = Rows::new(batch);
        Ok(Self {
            traces: rows.column("trace_id")?,
            ids: rows.column("span_id")?,
            starts: rows.column("start")?,
            durations: rows.column("duration_ns")?,
        })
    }

    /// The trace ids, 16 bytes each.
    pub(super) fn trace_ids(&self) -> &[u8] {
        self.traces.as_fixed_size_binary().value_data()
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
}

/// The rows of a batch with all columns of spans.
pub(super) struct Spans<'a> {
    rows: Rows<'a>,
    keys: Keys<'a>,
}

impl<'a> Spans<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, QueryError> {
        Ok(Self { rows: Rows::new(batch), keys: Keys::new(batch)? })
    }

    pub(super) const fn keys(&self) -> &Keys<'a> {
        &self.keys
    }

    pub(super) const fn rows(&self) -> &Rows<'a> {
        &self.rows
    }

    /// The span of a row.
    pub(super) fn span(&self, row: usize) -> Result<Span, QueryError> {
        let named = |names: &[&str], number: usize| names.get(number).copied().unwrap_or(names[0]).to_owned();
        let rows = &self.rows;
        let mut dropped = Map::new();
        for (name, shown) in
            [("dropped_attributes", "attributes"), ("dropped_events", "events"), ("dropped_links", "links")]
        {
            if rows.count(name, row) > 0 {
                dropped.insert(shown.to_owned(), rows.count(name, row).into());
            }
        }
        Ok(Span {
            trace_id: hex::encode(self.keys.trace_id(row)),
            span_id: hex::encode(self.keys.span_id(row)),
            parent_span_id: rows.id("parent_span_id", row),
            name: rows.text("name", row).to_owned(),
            kind: named(&KINDS, rows.small("kind", row)),
            status: named(&STATUSES, rows.small("status", row)),
            status_message: rows.text("status_message", row).to_owned(),
            start_unix_nano: self.keys.start(row),
            duration_ns: self.keys.duration(row),
            service: rows.text("service", row).to_owned(),
            trace_state: rows.text("trace_state", row).to_owned(),
            flags: rows.count("flags", row),
            resource: rows.resource(row),
            scope: rows.scope(row),
            attributes: rows.attributes(row),
            events: rows.list("events", row),
            links: rows.list("links", row),
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
    let maps = [&span.resource, &span.scope, &span.attributes];
    size_of::<Span>()
        + 120
        + span.name.len()
        + maps.into_iter().map(map_size).sum::<usize>()
        + span.events.iter().chain(&span.links).map(json_size).sum::<usize>()
}

/// Bytes of an object, about.
pub(super) fn map_size(members: &Map<String, Json>) -> usize {
    members.iter().map(|(key, value)| key.len() + 32 + json_size(value)).sum()
}

/// Bytes of a value, about.
pub(super) fn json_size(value: &Json) -> usize {
    32 + match value {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(json_size).sum(),
        Json::Object(members) => map_size(members),
        _ => 0,
    }
}

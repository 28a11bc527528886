//! Fields as columns of a batch: found once a batch, read once a row.

use std::borrow::Cow;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int8Type, Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::DataType;

use crate::query::engine::{QueryError, SpanColumn};
use crate::query::traceql::{Datum, Field, Intrinsic, Scope};
use crate::value::{Value, parse_map, write_string};

/// The columns that fields need.
pub(super) fn columns(fields: &[Field]) -> Result<Vec<SpanColumn>, QueryError> {
    let mut out = Vec::new();
    for field in fields {
        match field {
            Field::Attribute { scope, key } => match scope {
                Scope::Any => out.extend([SpanColumn::Attribute(key.clone()), SpanColumn::Fixed("resource")]),
                Scope::Span => out.push(SpanColumn::Attribute(key.clone())),
                Scope::Resource => out.push(SpanColumn::Fixed("resource")),
                Scope::Instrumentation => out.push(SpanColumn::Fixed("scope")),
                Scope::Event => out.push(SpanColumn::Fixed("events")),
                Scope::Link => out.push(SpanColumn::Fixed("links")),
                Scope::Parent | Scope::ParentSpan | Scope::ParentResource => return Err(of_a_trace(field)),
            },
            Field::Intrinsic(intrinsic) => {
                out.extend(intrinsic_columns(*intrinsic).ok_or_else(|| of_a_trace(field))?)
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    Ok(out)
}

fn of_a_trace(field: &Field) -> QueryError {
    let message =
        format!("`{field}` needs other spans of the trace, which a filter of single spans does not see");
    QueryError::Unsupported { message, at: None }
}

fn intrinsic_columns(intrinsic: Intrinsic) -> Option<Vec<SpanColumn>> {
    Some(match intrinsic {
        Intrinsic::Name => vec![SpanColumn::Fixed("name")],
        Intrinsic::Duration => vec![SpanColumn::Fixed("duration_ns")],
        Intrinsic::Status => vec![SpanColumn::Fixed("status")],
        Intrinsic::StatusMessage => vec![SpanColumn::Fixed("status_message")],
        Intrinsic::Kind => vec![SpanColumn::Fixed("kind")],
        Intrinsic::TraceId => vec![SpanColumn::Fixed("trace_id")],
        Intrinsic::SpanId => vec![SpanColumn::Fixed("span_id")],
        Intrinsic::ParentId => vec![SpanColumn::Fixed("parent_span_id")],
        Intrinsic::EventName => vec![SpanColumn::Fixed("events")],
        Intrinsic::EventTimeSinceStart => vec![SpanColumn::Fixed("events"), SpanColumn::Fixed("start")],
        Intrinsic::LinkTraceId | Intrinsic::LinkSpanId => vec![SpanColumn::Fixed("links")],
        Intrinsic::ScopeName | Intrinsic::ScopeVersion => vec![SpanColumn::Fixed("scope")],
        _ => return None,
    })
}

/// Where the values of a field come from.
pub(super) enum Source<'a> {
    Nothing,
    /// A text for each code of a dictionary.
    Texts(&'a ArrayRef, &'a StringArray),
    /// A value for each code of a dictionary.
    Codes(&'a ArrayRef, Vec<Datum<'a>>),
    Text(&'a ArrayRef),
    Int(&'a ArrayRef),
    Double(&'a ArrayRef),
    Bool(&'a ArrayRef),
    Status(&'a ArrayRef),
    Kind(&'a ArrayRef),
    Id(&'a ArrayRef),
    /// A key of the column `attributes`, and how it is written there.
    Residual(&'a ArrayRef, String, String),
    /// What each of a list of objects has.
    List(&'a ArrayRef, Member),
    /// The time of each event after the start.
    SinceStart(&'a ArrayRef, &'a ArrayRef),
    /// The first that is not nil.
    First(Vec<Self>),
}

/// A part of an event or link.
pub(super) enum Member {
    Own(&'static str),
    Attribute(String),
}

/// Fields of one batch.
pub(super) struct Bound<'a> {
    sources: Vec<Source<'a>>,
}

impl<'a> Bound<'a> {
    pub(super) fn new(fields: &[Field], batch: &'a RecordBatch) -> Result<Self, QueryError> {
        let sources = fields.iter().map(|field| source(field, batch)).collect::<Result<_, _>>()?;
        Ok(Self { sources })
    }

    /// Where the values of a field come from.
    pub(super) fn source(&self, field: usize) -> Option<&Source<'a>> {
        self.sources.get(field)
    }

    /// The column of a field that has integers only.
    pub(super) fn ints(&self, field: usize) -> Option<&'a Int64Array> {
        match self.sources.get(field)? {
            Source::Int(column) => column.as_primitive_opt::<Int64Type>(),
            _ => None,
        }
    }

    /// The column of a field that has floating-point numbers only.
    pub(super) fn doubles(&self, field: usize) -> Option<&'a Float64Array> {
        match self.sources.get(field)? {
            Source::Double(column) => column.as_primitive_opt::<Float64Type>(),
            _ => None,
        }
    }

    /// The column of a field of which a row has a value just if it is not null there.
    pub(super) fn column(&self, field: usize) -> Option<&'a ArrayRef> {
        match self.sources.get(field)? {
            Source::Int(column)
            | Source::Double(column)
            | Source::Bool(column)
            | Source::Text(column)
            | Source::Id(column) => Some(column),
            _ => None,
        }
    }

    /// The column of a field that has statuses.
    pub(super) fn statuses(&self, field: usize) -> Option<&'a Int8Array> {
        match self.sources.get(field)? {
            Source::Status(column) => column.as_primitive_opt::<Int8Type>(),
            _ => None,
        }
    }

    /// The value of a field in a row.
    pub(super) fn value(&self, field: usize, row: usize) -> Datum<'_> {
        self.sources.get(field).map_or(Datum::Nil, |source| source.value(row))
    }
}

fn source<'a>(field: &Field, batch: &'a RecordBatch) -> Result<Source<'a>, QueryError> {
    let column = |name: &str| batch.column_by_name(name);
    let simple =
        |name: &str, make: fn(&'a ArrayRef) -> Source<'a>| column(name).map_or(Source::Nothing, make);
    Ok(match field {
        Field::Attribute { scope, key } => match scope {
            Scope::Any => {
                Source::First(vec![span_attribute(key, batch)?, object_attribute("resource", key, batch)])
            }
            Scope::Span => span_attribute(key, batch)?,
            Scope::Resource => object_attribute("resource", key, batch),
            Scope::Instrumentation => object_attribute("scope", key, batch),
            Scope::Event => simple_list(column("events"), Member::Attribute(key.clone())),
            Scope::Link => simple_list(column("links"), Member::Attribute(key.clone())),
            Scope::Parent | Scope::ParentSpan | Scope::ParentResource => return Err(of_a_trace(field)),
        },
        Field::Intrinsic(intrinsic) => match intrinsic {
            Intrinsic::Name => texts(column("name")),
            Intrinsic::StatusMessage => texts(column("status_message")),
            Intrinsic::Duration => simple("duration_ns", Source::Int),
            Intrinsic::Status => simple("status", Source::Status),
            Intrinsic::Kind => simple("kind", Source::Kind),
            Intrinsic::TraceId => simple("trace_id", Source::Id),
            Intrinsic::SpanId => simple("span_id", Source::Id),
            Intrinsic::ParentId => simple("parent_span_id", Source::Id),
            Intrinsic::EventName => simple_list(column("events"), Member::Own("name")),
            Intrinsic::LinkTraceId => simple_list(column("links"), Member::Own("trace_id")),
            Intrinsic::LinkSpanId => simple_list(column("links"), Member::Own("span_id")),
            Intrinsic::EventTimeSinceStart => match (column("events"), column("start")) {
                (Some(events), Some(start)) => Source::SinceStart(events, start),
                _ => Source::Nothing,
            },
            Intrinsic::ScopeName => object_member("scope", "name", batch),
            Intrinsic::ScopeVersion => object_member("scope", "version", batch),
            _ => return Err(of_a_trace(field)),
        },
    })
}

fn simple_list(column: Option<&ArrayRef>, member: Member) -> Source<'_> {
    column.map_or(Source::Nothing, |column| Source::List(column, member))
}

/// A column of texts, with or without a dictionary.
fn texts(column: Option<&ArrayRef>) -> Source<'_> {
    match column {
        None => Source::Nothing,
        Some(column) if column.data_type() == &DataType::Utf8 => Source::Text(column),
        Some(column) => dictionary(column).map_or(Source::Nothing, |texts| Source::Texts(column, texts)),
    }
}

/// The texts of a dictionary.
fn dictionary(column: &ArrayRef) -> Option<&StringArray> {
    column.as_dictionary_opt::<Int32Type>()?.values().as_string_opt::<i32>()
}

fn codes<'a>(column: &'a ArrayRef, value: impl Fn(&'a str) -> Datum<'a>) -> Source<'a> {
    let Some(texts) = dictionary(column) else { return Source::Nothing };
    let values =
        (0..texts.len()).map(|code| if texts.is_null(code) { Datum::Nil } else { value(texts.value(code)) });
    Source::Codes(column, values.collect())
}

fn span_attribute<'a>(key: &str, batch: &'a RecordBatch) -> Result<Source<'a>, QueryError> {
    let mut sources = Vec::new();
    if let Some(column) = batch.column_by_name(&format!("a:{key}")) {
        sources.push(match column.data_type() {
            DataType::Utf8 | DataType::Dictionary(..) => texts(Some(column)),
            DataType::Int64 => Source::Int(column),
            DataType::Float64 => Source::Double(column),
            DataType::Boolean => Source::Bool(column),
            other => return Err(QueryError::Failed(format!("the column a:{key} has the type {other}"))),
        });
    }
    if let Some(column) = batch.column_by_name("attributes") {
        let mut written = String::new();
        write_string(key, &mut written);
        written.push(':');
        sources.push(Source::Residual(column, key.to_owned(), written));
    }
    Ok(match sources.len() {
        1 => sources.remove(0),
        _ => Source::First(sources),
    })
}

/// An attribute of a resource or scope: read once for each that is different.
fn object_attribute<'a>(name: &str, key: &str, batch: &'a RecordBatch) -> Source<'a> {
    let Some(column) = batch.column_by_name(name) else { return Source::Nothing };
    codes(column, |text| {
        let members = parse_map(text).unwrap_or_default();
        let attributes = members.into_iter().find_map(|(member, value)| match value {
            Value::Map(attributes) if member == "attributes" => Some(attributes),
            _ => None,
        });
        found(attributes.unwrap_or_default(), key)
    })
}

fn object_member<'a>(name: &str, member: &str, batch: &'a RecordBatch) -> Source<'a> {
    let Some(column) = batch.column_by_name(name) else { return Source::Nothing };
    codes(column, |text| found(parse_map(text).unwrap_or_default(), member))
}

fn found(entries: Vec<(String, Value)>, key: &str) -> Datum<'static> {
    entries.into_iter().find(|(known, _)| known == key).map_or(Datum::Nil, |(_, value)| datum(value))
}

/// A value as the language has it; what it has not is shown as text.
pub(super) fn datum(value: Value) -> Datum<'static> {
    match value {
        Value::Empty => Datum::Nil,
        Value::Bool(value) => Datum::Bool(value),
        Value::Int(value) => Datum::Int(value),
        Value::Double(value) => Datum::Float(value),
        Value::String(text) => Datum::Text(Cow::Owned(text)),
        // Without elements there is nothing that a filter could find, as in Tempo.
        Value::Array(values) if values.is_empty() => Datum::Nil,
        Value::Array(values) => Datum::List(values.into_iter().map(datum).collect()),
        other @ (Value::Bytes(_) | Value::Map(_)) => Datum::Text(Cow::Owned(other.to_json().to_string())),
    }
}

impl Source<'_> {
    pub(super) fn value(&self, row: usize) -> Datum<'_> {
        let present = |column: &ArrayRef| !column.is_null(row);
        match self {
            Self::Texts(column, texts) if present(column) => {
                let code = column.as_dictionary::<Int32Type>().keys().value(row);
                let code =
                    usize::try_from(code).ok().filter(|&code| code < texts.len() && texts.is_valid(code));
                code.map_or(Datum::Nil, |code| Datum::Text(Cow::Borrowed(texts.value(code))))
            }
            Self::Codes(column, values) if present(column) => {
                let code = column.as_dictionary::<Int32Type>().keys().value(row);
                usize::try_from(code).ok().and_then(|code| values.get(code)).map_or(Datum::Nil, borrowed)
            }
            Self::Text(column) if present(column) => {
                Datum::Text(Cow::Borrowed(column.as_string::<i32>().value(row)))
            }
            Self::Int(column) if present(column) => Datum::Int(column.as_primitive::<Int64Type>().value(row)),
            Self::Double(column) if present(column) => {
                Datum::Float(column.as_primitive::<Float64Type>().value(row))
            }
            Self::Bool(column) if present(column) => Datum::Bool(column.as_boolean().value(row)),
            Self::Status(column) if present(column) => {
                Datum::Status(column.as_primitive::<Int8Type>().value(row))
            }
            Self::Kind(column) if present(column) => {
                Datum::Kind(column.as_primitive::<Int8Type>().value(row))
            }
            Self::Id(column) if present(column) => {
                Datum::Text(Cow::Owned(hex::encode(column.as_fixed_size_binary().value(row))))
            }
            Self::Residual(column, key, written) if present(column) => {
                let text = column.as_string::<i32>().value(row);
                // Most rows lack it, and this is quicker than parsing.
                if text.contains(written.as_str()) {
                    found(parse_map(text).unwrap_or_default(), key)
                } else {
                    Datum::Nil
                }
            }
            Self::List(column, member) if present(column) => {
                list(column.as_string::<i32>().value(row), member)
            }
            Self::SinceStart(events, start) if present(events) => {
                let start = start.as_primitive::<TimestampNanosecondType>().value(row);
                match list(events.as_string::<i32>().value(row), &Member::Own("time")) {
                    Datum::Each(times) => {
                        Datum::Each(times.into_iter().map(|time| since(&time, start)).collect())
                    }
                    other => other,
                }
            }
            Self::First(sources) => sources
                .iter()
                .map(|source| source.value(row))
                .find(|datum| *datum != Datum::Nil)
                .unwrap_or(Datum::Nil),
            _ => Datum::Nil,
        }
    }
}

fn since(time: &Datum<'_>, start: i64) -> Datum<'static> {
    match time {
        Datum::Int(time) => Datum::Int(time.saturating_sub(start)),
        _ => Datum::Nil,
    }
}

/// The same value without a copy of its text.
pub(super) fn borrowed<'a>(datum: &'a Datum<'_>) -> Datum<'a> {
    match datum {
        Datum::Text(text) => Datum::Text(Cow::Borrowed(text)),
        Datum::List(values) => Datum::List(values.iter().map(borrowed).collect()),
        Datum::Each(values) => Datum::Each(values.iter().map(borrowed).collect()),
        Datum::Nil => Datum::Nil,
        Datum::Bool(value) => Datum::Bool(*value),
        Datum::Int(value) => Datum::Int(*value),
        Datum::Float(value) => Datum::Float(*value),
        Datum::Status(value) => Datum::Status(*value),
        Datum::Kind(value) => Datum::Kind(*value),
    }
}

fn list(text: &str, member: &Member) -> Datum<'static> {
    let Some(Value::Array(items)) = Value::parse(text) else { return Datum::Nil };
    let mut out = Vec::new();
    for item in items {
        let Value::Map(members) = item else { continue };
        let value = match member {
            Member::Own(name) => found(members, name),
            Member::Attribute(key) => {
                let attributes = members.into_iter().find_map(|(name, value)| match value {
                    Value::Map(attributes) if name == "attributes" => Some(attributes),
                    _ => None,
                });
                found(attributes.unwrap_or_default(), key)
            }
        };
        if value != Datum::Nil {
            out.push(value);
        }
    }
    if out.is_empty() { Datum::Nil } else { Datum::Each(out) }
}

//! The tables as SQL has them: which columns there are, and how they come from those of the store.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int8Type, Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{
    Array as _, ArrayRef, RecordBatch, RecordBatchOptions, TimestampNanosecondArray, new_null_array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::compute::{cast, take};

use super::json;
use crate::query::engine::{Columns, QueryError, SpanColumn, Table};
use crate::query::exec::render::{KINDS, Rows, STATUSES};
use crate::value::{Value, parse_map, write_string};

/// The zone of all times.
const UTC: &str = "+00:00";

/// Where a column of SQL comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    /// Texts.
    Text(&'static str),
    /// Ids, in hex.
    Hex(&'static str),
    /// Times.
    Time(&'static str),
    /// The start and the duration of a span.
    End,
    /// The duration of a span in milliseconds.
    Millis,
    /// Whole numbers of any width.
    Whole(&'static str),
    /// Numbers.
    Number(&'static str),
    /// Truths.
    Truth(&'static str),
    /// Names for small numbers.
    Named(&'static str, &'static [&'static str]),
    /// All attributes, as an object.
    Attributes,
    /// A member of the objects of a column: texts as they are, anything else as JSON.
    Member(&'static str, &'static str),
    /// A value as text.
    Body,
    /// One attribute as text, of the row or of its resource.
    Attribute(Base, String),
}

/// Columns of objects whose members are read on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Base {
    /// `attributes`
    Attributes,
    /// `resource`
    Resource,
}

impl Base {
    /// By the name of the column.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "attributes" => Some(Self::Attributes),
            "resource" => Some(Self::Resource),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Attributes => "attributes",
            Self::Resource => "resource",
        }
    }
}

/// A column of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) from: From,
}

impl Column {
    /// An attribute as a column of its own.
    pub(super) fn attribute(base: Base, key: &str) -> Self {
        Self { name: format!("{}->>'{key}'", base.name()), from: From::Attribute(base, key.to_owned()) }
    }

    fn data_type(&self) -> DataType {
        match self.from {
            From::Time(_) | From::End => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
            From::Millis | From::Number(_) => DataType::Float64,
            From::Whole(_) => DataType::Int64,
            From::Truth(_) => DataType::Boolean,
            _ => DataType::Utf8View,
        }
    }

    /// What is needed of the store.
    fn needs(&self, out: &mut Vec<SpanColumn>) {
        match &self.from {
            From::Text(name)
            | From::Hex(name)
            | From::Time(name)
            | From::Whole(name)
            | From::Number(name)
            | From::Truth(name)
            | From::Named(name, _)
            | From::Member(name, _) => out.push(SpanColumn::Fixed(name)),
            From::End => out.extend([SpanColumn::Fixed("start"), SpanColumn::Fixed("duration_ns")]),
            From::Millis => out.push(SpanColumn::Fixed("duration_ns")),
            From::Body => out.push(SpanColumn::Fixed("body")),
            From::Attributes => out.push(SpanColumn::Attributes),
            From::Attribute(Base::Attributes, key) => out.push(SpanColumn::Attribute(key.clone())),
            From::Attribute(Base::Resource, _) => out.push(SpanColumn::Fixed("resource")),
        }
    }
}

/// The columns of a table, in their order.
pub(super) fn of(table: Table) -> Vec<Column> {
    let own: &[(&str, From)] = match table {
        Table::Spans => &[
            ("trace_id", From::Hex("trace_id")),
            ("span_id", From::Hex("span_id")),
            ("parent_span_id", From::Hex("parent_span_id")),
            ("service", From::Text("service")),
            ("name", From::Text("name")),
            ("kind", From::Named("kind", &KINDS)),
            ("start_time", From::Time("start")),
            ("end_time", From::End),
            ("duration_ms", From::Millis),
            ("duration_ns", From::Whole("duration_ns")),
            ("status", From::Named("status", &STATUSES)),
            ("status_message", From::Text("status_message")),
            ("events", From::Text("events")),
            ("links", From::Text("links")),
            ("trace_state", From::Text("trace_state")),
        ],
        Table::Logs => &[
            ("time", From::Time("time")),
            ("observed_time", From::Time("observed")),
            ("service", From::Text("service")),
            ("severity_number", From::Whole("severity")),
            ("severity_text", From::Text("severity_text")),
            ("body", From::Body),
            ("event_name", From::Text("name")),
            ("trace_id", From::Hex("trace_id")),
            ("span_id", From::Hex("span_id")),
        ],
        Table::Metrics => &[
            ("time", From::Time("time")),
            ("start_time", From::Time("start_time")),
            ("service", From::Text("service")),
            ("name", From::Text("name")),
            ("unit", From::Text("unit")),
            ("description", From::Text("description")),
            ("type", From::Text("type")),
            ("temporality", From::Text("temporality")),
            ("monotonic", From::Truth("monotonic")),
            ("value", From::Number("value")),
            ("count", From::Whole("count")),
            ("sum", From::Number("sum")),
            ("min", From::Number("min")),
            ("max", From::Number("max")),
            ("buckets", From::Text("buckets")),
            ("exemplars", From::Text("exemplars")),
        ],
    };
    let shared = [
        ("attributes", From::Attributes),
        ("resource", From::Member("resource", "attributes")),
        ("scope_name", From::Member("scope", "name")),
        ("scope_version", From::Member("scope", "version")),
        ("flags", From::Whole("flags")),
    ];
    let all = own.iter().cloned().chain(shared);
    all.map(|(name, from)| Column { name: name.to_owned(), from }).collect()
}

/// What SQL is told of columns.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter().map(|column| Field::new(&column.name, column.data_type(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// What the store is asked for; the time if there is nothing else, so that rows can be counted.
pub(super) fn needed(table: Table, columns: &[Column]) -> Columns {
    let mut out = Vec::new();
    columns.iter().for_each(|column| column.needs(&mut out));
    if out.is_empty() {
        out.push(SpanColumn::Fixed(table.time_column()));
    }
    out.sort_unstable();
    out.dedup();
    Columns::Some(out)
}

/// The columns of a batch of the store.
pub(super) fn batch(
    columns: &[Column],
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, QueryError> {
    let arrays = columns.iter().map(|column| array(column, batch)).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> QueryError {
    QueryError::Failed(error.to_string())
}

fn array(column: &Column, batch: &RecordBatch) -> Result<ArrayRef, QueryError> {
    let rows = batch.num_rows();
    let named = |name: &str| batch.column_by_name(name);
    let made: Option<ArrayRef> = match &column.from {
        From::Text(name) => named(name).map(as_texts).transpose()?,
        From::Time(name) | From::Whole(name) | From::Number(name) | From::Truth(name) => {
            named(name).map(|found| cast(found, &column.data_type())).transpose().map_err(failed)?
        }
        From::Hex(name) => named(name).map(|ids| {
            let ids = ids.as_fixed_size_binary();
            texts(ids.iter().map(|id| id.map(hex::encode)))
        }),
        From::End => match (named("start"), named("duration_ns")) {
            (Some(start), Some(duration)) => Some(ends(start, duration)),
            _ => None,
        },
        From::Millis => named("duration_ns").map(|nanos| {
            let nanos = nanos.as_primitive::<Int64Type>();
            Arc::new(nanos.unary::<_, Float64Type>(|nanos| nanos as f64 / 1e6)) as ArrayRef
        }),
        From::Named(name, names) => named(name).map(|numbers| {
            let name = |number: i8| usize::try_from(number).ok().and_then(|number| names.get(number));
            texts(numbers.as_primitive::<Int8Type>().iter().map(|number| number.and_then(name)))
        }),
        From::Member(name, member) => named(name).map(|objects| members(objects, member)),
        From::Body => named("body").map(|bodies| {
            let bodies = bodies.as_string::<i32>();
            texts(bodies.iter().map(|body| json::shown(Value::parse(body?)?)))
        }),
        From::Attributes => Some(texts((0..rows).map(|row| Some(attributes(batch, row))))),
        From::Attribute(base, key) => Some(attribute(*base, key, batch)?),
    };
    Ok(made.unwrap_or_else(|| new_null_array(&column.data_type(), rows)))
}

fn texts<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    let mut out = StringViewBuilder::with_capacity(values.size_hint().0);
    values.for_each(|value| out.append_option(value));
    Arc::new(out.finish())
}

/// When spans ended.
fn ends(starts: &ArrayRef, durations: &ArrayRef) -> ArrayRef {
    let (starts, durations) =
        (starts.as_primitive::<TimestampNanosecondType>(), durations.as_primitive::<Int64Type>());
    let end = |(start, duration): (Option<i64>, Option<i64>)| Some(start?.saturating_add(duration?));
    let ends: TimestampNanosecondArray = starts.iter().zip(durations.iter()).map(end).collect();
    Arc::new(ends.with_timezone(UTC))
}

/// Of each object of a dictionary one member; each object is read once.
fn members(objects: &ArrayRef, member: &str) -> ArrayRef {
    by_code(objects, |text| {
        let found = parse_map(text)?.into_iter().find(|(name, _)| name == member)?.1;
        match found {
            Value::Map(_) => Some(found.to_text()),
            other => json::shown(other),
        }
    })
}

/// A text for each text of a dictionary.
fn by_code(column: &ArrayRef, text: impl Fn(&str) -> Option<String>) -> ArrayRef {
    let Some((keys, values)) = column
        .as_dictionary_opt::<Int32Type>()
        .and_then(|dictionary| Some((dictionary.keys(), dictionary.values().as_string_opt::<i32>()?)))
    else {
        return new_null_array(&DataType::Utf8View, column.len());
    };
    let told: Vec<Option<String>> = values.iter().map(|value| text(value?)).collect();
    let told = texts(told.iter().map(Option::as_deref));
    match take(&told, keys, None) {
        Ok(texts) => texts,
        Err(_) => new_null_array(&DataType::Utf8View, column.len()),
    }
}

/// All attributes of a row as an object: those of columns of their own, and the others.
fn attributes(batch: &RecordBatch, row: usize) -> String {
    Value::Map(Rows::new(batch).values(row)).to_text()
}

/// One attribute as text.
fn attribute(base: Base, key: &str, batch: &RecordBatch) -> Result<ArrayRef, QueryError> {
    if base == Base::Resource {
        let objects = batch.column_by_name("resource");
        let nothing = || new_null_array(&DataType::Utf8View, batch.num_rows());
        return Ok(objects.map_or_else(nothing, |objects| by_code(objects, |text| of_resource(text, key))));
    }
    let own = batch.column_by_name(&format!("a:{key}")).map(as_texts).transpose()?;
    let Some(others) = batch.column_by_name("attributes") else {
        return Ok(own.unwrap_or_else(|| new_null_array(&DataType::Utf8View, batch.num_rows())));
    };
    let (own, others) = (own.as_ref().map(|own| own.as_string_view()), others.as_string::<i32>());
    let mut written = String::new();
    write_string(key, &mut written);
    written.push(':');
    let of_others = |row: usize| {
        // Most rows lack it, and this is quicker than parsing.
        let text = others.is_valid(row).then(|| others.value(row)).filter(|text| text.contains(&written))?;
        json::shown(parse_map(text)?.into_iter().find(|(known, _)| known == key)?.1)
    };
    Ok(texts((0..batch.num_rows()).map(|row| match own.filter(|own| own.is_valid(row)) {
        Some(own) => Some(Cow::Borrowed(own.value(row))),
        None => of_others(row).map(Cow::Owned),
    })))
}

/// A column of any type as texts.
fn as_texts(column: &ArrayRef) -> Result<ArrayRef, QueryError> {
    if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        return Ok(texts(numbers.iter().map(|number| json::shown(Value::Double(number?)))));
    }
    match column.as_dictionary_opt::<Int32Type>() {
        // Of each text of the dictionary once; a row takes no more than a copy of 16 bytes.
        Some(dictionary) => {
            let values = cast(dictionary.values(), &DataType::Utf8View).map_err(failed)?;
            take(&values, dictionary.keys(), None).map_err(failed)
        }
        None => cast(column, &DataType::Utf8View).map_err(failed),
    }
}

fn of_resource(text: &str, key: &str) -> Option<String> {
    let members = parse_map(text)?;
    let attributes = members.into_iter().find_map(|(member, value)| match value {
        Value::Map(attributes) if member == "attributes" => Some(attributes),
        _ => None,
    })?;
    json::shown(attributes.into_iter().find(|(known, _)| known == key)?.1)
}

//! ClickHouse, with the table that the OpenTelemetry Collector's exporter writes (`otel_traces`): all values of attributes are
//! texts there, lists and maps as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::Method;
use serde::Deserialize;
use serde_json::Value as Json;

use super::SpanQuery;
use super::client::Client;
use super::filter::{Comparison, Field, Filter, Value};
use super::matching::Ready;
use super::span::{self, FoundSpan, Kind, Status};
use crate::Error;
use crate::semconv::resource::SERVICE_NAME;

const COLUMNS: &str = "TraceId, SpanId, ParentSpanId, SpanName, SpanKind, ServiceName, ResourceAttributes, SpanAttributes, \
                       toUnixTimestamp64Nano(Timestamp) AS Start, Duration, StatusCode, StatusMessage";
/// Large integers as texts, so that none is rounded.
const FORMAT: &str = "FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 1";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    trace_id: String,
    span_id: String,
    parent_span_id: String,
    span_name: String,
    span_kind: String,
    service_name: String,
    resource_attributes: BTreeMap<String, String>,
    span_attributes: BTreeMap<String, String>,
    start: String,
    duration: String,
    status_code: String,
    status_message: String,
}

pub(super) async fn spans(client: &Client, table: &str, query: &SpanQuery) -> Result<Vec<FoundSpan>, Error> {
    // Before it is sent: a regular expression that is none, is none everywhere.
    Ready::new(&query.filter)?;
    ask(client, &statement(table, query)).await
}

/// What a query is in SQL.
pub(super) fn statement(table: &str, query: &SpanQuery) -> String {
    let mut conditions = Vec::new();
    // Of the whole range of a time one would not fit.
    let time = |nanos: i64| format!("fromUnixTimestamp64Nano(toInt64({nanos}))");
    conditions.extend(query.start.map(|start| format!("Timestamp >= {}", time(start.max(0)))));
    conditions.extend(query.end.map(|end| format!("Timestamp < {}", time(end.max(0)))));
    if query.filter != Filter::All {
        conditions.push(condition(&query.filter));
    }
    let condition = if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") };
    format!(
        "SELECT {COLUMNS} FROM {table} WHERE {condition} ORDER BY Timestamp DESC, TraceId, SpanId LIMIT {} {FORMAT}",
        query.limit
    )
}

pub(super) async fn trace(client: &Client, table: &str, id: &str) -> Result<Vec<FoundSpan>, Error> {
    // An id of 64 bits is kept as it came.
    let short = id.trim_start_matches('0');
    let statement = format!(
        "SELECT {COLUMNS} FROM {table} WHERE TraceId IN ({}, {}) {FORMAT}",
        text(id),
        text(&format!("{short:0>16}"))
    );
    ask(client, &statement).await
}

async fn ask(client: &Client, statement: &str) -> Result<Vec<FoundSpan>, Error> {
    let body = client.ask(Method::POST, "/", statement.to_owned()).await?;
    let body = body
        .ok_or_else(|| Error::backend(format!("{} answers 404; is it ClickHouse's address?", client.url)))?;
    let rows = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let row = |line| -> Result<FoundSpan, Error> {
        let row: Row = serde_json::from_slice(line).map_err(|error| {
            // An error after the first rows comes as a row.
            let told: String = String::from_utf8_lossy(line).chars().take(300).collect();
            client.unreadable(&format!("{error}: {told}"))
        })?;
        row.found().map_err(|why| client.unreadable(&why))
    };
    rows.map(row).collect()
}

impl Row {
    fn found(self) -> Result<FoundSpan, String> {
        let texts = |map: BTreeMap<String, String>| {
            map.into_iter().map(|(key, value)| (key, Json::String(value))).collect()
        };
        let number =
            |text: &str| text.parse::<i64>().map_err(|_| format!("{text:?} is no number of nanoseconds"));
        Ok(FoundSpan {
            trace_id: format!("{:0>32}", self.trace_id),
            span_id: format!("{:0>16}", self.span_id),
            parent_span_id: Some(self.parent_span_id).filter(|id| !id.is_empty()),
            service: self.service_name,
            name: self.span_name,
            kind: Kind::named(&self.span_kind),
            start_unix_nano: number(&self.start)?,
            duration: span::nanos(number(&self.duration)?),
            status: Status::named(&self.status_code),
            status_message: self.status_message,
            attributes: texts(self.span_attributes),
            resource: texts(self.resource_attributes),
        })
    }
}

/// A filter as a condition in SQL.
fn condition(filter: &Filter) -> String {
    match filter {
        Filter::All => "1".to_owned(),
        Filter::And(a, b) => format!("({} AND {})", condition(a), condition(b)),
        Filter::Or(a, b) => format!("({} OR {})", condition(a), condition(b)),
        Filter::Compare(field, how, value) => compared(field, *how, value),
        Filter::Matches { field, regex, negated } => {
            let test = format!(
                "{}match(x, {})",
                if *negated { "NOT " } else { "" },
                text(&format!("^(?s:{regex})$"))
            );
            match field {
                Field::Name | Field::StatusMessage => {
                    test.replace("match(x,", &format!("match({},", column(field)))
                }
                Field::Kind | Field::Status | Field::Duration => "0".to_owned(),
                attribute => elements(attribute, &test, *negated),
            }
        }
        Filter::Exists(field, there) => match present(field) {
            // What every span has.
            None => if *there { "1" } else { "0" }.to_owned(),
            // A list without elements is nothing that a filter could find.
            Some(present) => {
                let not = if *there { "" } else { "NOT " };
                format!("{not}({present} AND {} != '[]')", column(field))
            }
        },
    }
}

fn compared(field: &Field, how: Comparison, value: &Value) -> String {
    let sign = how.sign();
    match (field, value) {
        (Field::Name | Field::StatusMessage, Value::Text(of)) => {
            format!("{} {sign} {}", column(field), text(of))
        }
        (Field::Duration, Value::Duration(time)) => format!("Duration {sign} {}", time.as_nanos()),
        // As numbers, for they have an order; old exporters write `STATUS_CODE_ERROR`.
        (Field::Status, Value::Status(status)) => {
            let ranked =
                "transform(lower(replaceOne(StatusCode, 'STATUS_CODE_', '')), ['ok', 'error'], [1, 2], 0)";
            format!("{ranked} {sign} {}", *status as u8)
        }
        (Field::Kind, Value::Kind(kind)) => {
            let ranked = "transform(lower(replaceOne(SpanKind, 'SPAN_KIND_', '')), \
                          ['internal', 'server', 'client', 'producer', 'consumer'], [1, 2, 3, 4, 5], 0)";
            format!("{ranked} {sign} {}", *kind as u8)
        }
        (Field::Attribute(_) | Field::SpanAttribute(_) | Field::ResourceAttribute(_), value) => {
            let all = how == Comparison::Ne;
            match value {
                Value::Text(of) => elements(field, &format!("x {sign} {}", text(of)), all),
                Value::Bool(of) => {
                    let rank = |of: &str| format!("transform({of}, ['false', 'true'], [0, 1], NULL)");
                    elements(field, &format!("ifNull({} {sign} {}, 0)", rank("x"), u8::from(*of)), all)
                }
                Value::Int(of) => {
                    // Exact where both are whole.
                    let whole = format!("toInt64OrNull(x) {sign} {of}");
                    elements(
                        field,
                        &format!("ifNull(ifNull({whole}, toFloat64OrNull(x) {sign} {of}), 0)"),
                        all,
                    )
                }
                Value::Float(of) => {
                    elements(field, &format!("ifNull(toFloat64OrNull(x) {sign} {}, 0)", float(*of)), all)
                }
                // Other types do not compare.
                _ => "0".to_owned(),
            }
        }
        _ => "0".to_owned(),
    }
}

/// Whether a test of `x` holds for an attribute: of a list for one element or, with `all`, for every one.
fn elements(field: &Field, test: &str, all: bool) -> String {
    let value = column(field);
    // An empty list has nothing that compares.
    let list = format!("startsWith({value}, '[') AND isValidJSON({value})");
    let of = format!("if({list}, JSONExtract({value}, 'Array(String)'), [{value}])");
    let array = if all { "arrayAll" } else { "arrayExists" };
    let present = present(field).unwrap_or_else(|| "1".to_owned());
    let mut out = String::new();
    write!(out, "({present} AND notEmpty({of}) AND {array}(x -> {test}, {of}))").ok();
    out
}

/// The text of a field.
fn column(field: &Field) -> String {
    match field {
        Field::Attribute(key) => {
            let key = text(key);
            format!(
                "if(mapContains(SpanAttributes, {key}), SpanAttributes[{key}], ResourceAttributes[{key}])"
            )
        }
        Field::SpanAttribute(key) => format!("SpanAttributes[{}]", text(key)),
        // A column of its own, which the table is sorted by.
        Field::ResourceAttribute(key) if key == SERVICE_NAME => "ServiceName".to_owned(),
        Field::ResourceAttribute(key) => format!("ResourceAttributes[{}]", text(key)),
        Field::Name => "SpanName".to_owned(),
        Field::StatusMessage => "StatusMessage".to_owned(),
        Field::Kind => "SpanKind".to_owned(),
        Field::Status => "StatusCode".to_owned(),
        Field::Duration => "Duration".to_owned(),
    }
}

/// Whether an attribute is there; none for what every span has.
fn present(field: &Field) -> Option<String> {
    match field {
        Field::Attribute(key) => {
            let key = text(key);
            Some(format!("(mapContains(SpanAttributes, {key}) OR mapContains(ResourceAttributes, {key}))"))
        }
        Field::SpanAttribute(key) => Some(format!("mapContains(SpanAttributes, {})", text(key))),
        Field::ResourceAttribute(key) => Some(format!("mapContains(ResourceAttributes, {})", text(key))),
        _ => None,
    }
}

/// A text in quotes.
fn text(of: &str) -> String {
    let mut out = String::with_capacity(of.len() + 2);
    out.push('\'');
    for c in of.chars() {
        match c {
            '\'' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

fn float(number: f64) -> String {
    if number.is_nan() {
        "nan".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "inf" } else { "-inf" }.to_owned()
    } else {
        format!("{number:?}")
    }
}

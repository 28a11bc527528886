//! Log records as they came.

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array as _, RecordBatch};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use super::{Origin, by_origin, resource, scope};
use crate::anyvalue::{any_value, key_value};
use crate::query::exec::render::Rows;
use crate::value::Value;

/// The records of some rows.
pub(super) fn logs(batch: &RecordBatch, rows: &[u32]) -> Vec<ResourceLogs> {
    let of = Rows::new(batch);
    let record = |&row: &u32| {
        let row = row as usize;
        (of.text("resource", row).to_owned(), of.text("scope", row).to_owned(), record(&of, batch, row))
    };
    by_origin(rows.iter().map(record)).into_iter().map(of_resource).collect()
}

fn of_resource((text, scopes): Origin<LogRecord>) -> ResourceLogs {
    let (resource, schema_url) = resource(&text);
    let scoped = |(text, log_records): (String, Vec<LogRecord>)| {
        let (scope, schema_url) = scope(&text);
        ScopeLogs { scope: Some(scope), log_records, schema_url }
    };
    ResourceLogs {
        resource: Some(resource),
        scope_logs: scopes.into_iter().map(scoped).collect(),
        schema_url,
    }
}

fn record(rows: &Rows<'_>, batch: &RecordBatch, row: usize) -> LogRecord {
    let body = Some(rows.text("body", row)).filter(|text| !text.is_empty());
    LogRecord {
        time_unix_nano: nanos(batch, "time", row),
        observed_time_unix_nano: nanos(batch, "observed", row),
        severity_number: i32::try_from(rows.small("severity", row)).unwrap_or(0),
        severity_text: rows.text("severity_text", row).to_owned(),
        body: body.and_then(Value::parse).map(any_value),
        attributes: rows.values(row).into_iter().map(key_value).collect(),
        dropped_attributes_count: rows.count("dropped_attributes", row),
        flags: rows.count("flags", row),
        trace_id: rows.bytes("trace_id", row),
        span_id: rows.bytes("span_id", row),
        event_name: rows.text("name", row).to_owned(),
    }
}

/// A time, 0 where there is none.
pub(super) fn nanos(batch: &RecordBatch, name: &str, row: usize) -> u64 {
    let column =
        batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let time = column.filter(|column| column.is_valid(row)).map(|column| column.value(row));
    time.and_then(|time| u64::try_from(time).ok()).unwrap_or(0)
}

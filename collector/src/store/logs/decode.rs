//! An OTLP request as a chunk of log records.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use xxhash_rust::xxh3::xxh3_64;

use super::LogRow;
use crate::store::spans::chunk::{Chunk, NONE};
use crate::store::spans::fields::{self, Decoded, FULL, Shared, add_attributes, any_text, id};
use crate::value::MAX_DEPTH;

/// Decodes a request that was received at a time (nanoseconds since 1970), which is that of records that tell none. The
/// same bytes and time give the same records.
///
/// # Errors
/// When the bytes are no such request.
pub(in crate::store) fn decode(request: Bytes, received: i64) -> Result<Decoded<LogRow>, String> {
    let batch = xxh3_64(&request);
    let request = ExportLogsServiceRequest::decode(request)
        .map_err(|error| format!("the body is no ExportLogsServiceRequest: {error}"))?;
    let mut decoded = Decoded::default();
    let mut text = String::new();
    for logs in request.resource_logs {
        let resource = logs.resource.unwrap_or_default();
        for scoped in logs.scope_logs {
            let scope = scoped.scope.unwrap_or_default();
            let shared = Shared::of(
                &mut decoded.chunk,
                (&resource, &logs.schema_url),
                (&scope, &scoped.schema_url),
                &mut text,
            );
            for record in scoped.log_records {
                let added = add(&mut decoded.chunk, shared, &record, (received, batch), &mut text);
                if let Err(reason) = added {
                    decoded.reject("log record", &record.event_name, &reason);
                }
            }
        }
    }
    Ok(decoded)
}

fn time(nanos: u64, what: &str) -> Result<Option<i64>, String> {
    let time = fields::time(nanos, what)?;
    Ok((time != 0).then_some(time))
}

/// Appends a log record, or says why it is none.
fn add(
    chunk: &mut Chunk<LogRow>,
    shared: Option<Shared>,
    record: &LogRecord,
    (received, batch): (i64, u64),
    text: &mut String,
) -> Result<(), String> {
    let shared = shared.ok_or(FULL)?;
    let observed = time(record.observed_time_unix_nano, "observed_time_unix_nano")?.unwrap_or(received);
    let time = time(record.time_unix_nano, "time_unix_nano")?.unwrap_or(observed);
    text.clear();
    let body = record.body.as_ref().and_then(|body| body.value.as_ref());
    if !any_text(body, text, 0) {
        return Err(format!("its body is nested deeper than {MAX_DEPTH}"));
    }
    let body = match body {
        Some(_) => chunk.pool.push(text).ok_or(FULL)?,
        None => NONE,
    };
    let name = chunk.pool.intern(&record.event_name).ok_or(FULL)?;
    let severity_text = match record.severity_text.as_str() {
        "" => NONE,
        severity => chunk.pool.intern(severity).ok_or(FULL)?,
    };
    let (first_attribute, attributes) = add_attributes(chunk, &record.attributes, text)?;
    chunk.rows.push(LogRow {
        // OTLP: a record with an invalid id belongs to no trace.
        trace_id: id(&record.trace_id, "trace_id").unwrap_or_default(),
        span_id: id(&record.span_id, "span_id").unwrap_or_default(),
        time,
        observed,
        batch,
        service: shared.service,
        name,
        severity_text,
        body,
        resource: shared.resource,
        scope: shared.scope,
        first_attribute,
        attributes,
        flags: record.flags,
        dropped: record.dropped_attributes_count,
        severity: i8::try_from(record.severity_number).unwrap_or(0),
    });
    Ok(())
}

//! OTLP/JSON as protobuf.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde::de::DeserializeOwned;

use crate::ingest::Signal;

/// How deep objects and arrays may be nested. A value of an attribute that is nested as deep as protobuf allows is not
/// deeper than this.
const MAX_DEPTH: usize = 120;

/// Objects of a request at most. An empty one takes three bytes here and some hundred in memory.
const MAX_OBJECTS: usize = 250_000;

/// The protobuf of a JSON request.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn decode(signal: Signal, body: &[u8]) -> Result<Bytes, String> {
    check_bounds(body)?;
    match signal {
        Signal::Traces => of::<ExportTraceServiceRequest>(body, "ExportTraceServiceRequest"),
        Signal::Metrics => of::<ExportMetricsServiceRequest>(body, "ExportMetricsServiceRequest"),
        Signal::Logs => of::<ExportLogsServiceRequest>(body, "ExportLogsServiceRequest"),
    }
}

fn of<M: DeserializeOwned + Message>(body: &[u8], name: &str) -> Result<Bytes, String> {
    let request: M = serde_json::from_slice(body)
        .map_err(|error| format!("the body is no {name} in OTLP/JSON: {error}"))?;
    Ok(request.encode_to_vec().into())
}

/// Before anything recurses.
fn check_bounds(body: &[u8]) -> Result<(), String> {
    let (mut depth, mut objects, mut in_text, mut escaped) = (0_usize, 0_usize, false, false);
    for (at, &byte) in body.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                objects += usize::from(byte == b'{');
                if depth > MAX_DEPTH {
                    return Err(format!("the body is nested deeper than {MAX_DEPTH} (at byte {at})"));
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if objects > MAX_OBJECTS {
        return Err(format!(
            "the body has {objects} objects, at most {MAX_OBJECTS} are taken; send smaller batches"
        ));
    }
    Ok(())
}

//! Files of telemetry as requests of OTLP.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::jaeger;
use crate::Error;
use crate::cli::End;
use crate::ingest::Signal;
use crate::{flat, otlpjson};

/// Spans of a request at most.
const MOST_SPANS: usize = 1_000;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Otlp,
    Jaeger,
    Parquet,
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch {
    pub(super) signal: Signal,
    pub(super) records: u64,
    pub(super) body: Vec<u8>,
}

/// Calls with each request that a file comes to.
pub(super) fn each(
    path: &Path,
    format: Option<Format>,
    visit: &mut dyn FnMut(Batch) -> Result<(), End>,
) -> Result<(), End> {
    let wrong = |what: String| Error::input(format!("{}: {what}", path.display()));
    if path == Path::new("-") {
        if format == Some(Format::Parquet) {
            return Err(Error::input("a Parquet file is read from its end; name it").into());
        }
        return documents(std::io::stdin().lock(), format, visit, &wrong);
    }
    let mut file = BufReader::new(File::open(path).map_err(|error| wrong(error.to_string()))?);
    let is_parquet = file.fill_buf().map_err(|error| wrong(error.to_string()))?.starts_with(b"PAR1");
    match format {
        Some(Format::Parquet) => {}
        None if is_parquet => {}
        _ => return documents(file, format, visit, &wrong),
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.into_inner());
    let reader = reader.and_then(|reader| reader.with_batch_size(MOST_SPANS).build());
    let mut row = 0;
    for batch in reader.map_err(|error| wrong(error.to_string()))? {
        let batch = batch.map_err(|error| wrong(error.to_string()))?;
        let spans = flat::spans(&batch).map_err(|what| wrong(format!("rows from {row} on: {what}")))?;
        row += batch.num_rows();
        in_pieces(spans, visit)?;
    }
    Ok(())
}

/// A document of JSON, as far as it tells what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sign<'a> {
    #[serde(borrow)]
    resource_spans: Option<&'a RawValue>,
    #[serde(borrow)]
    resource_logs: Option<&'a RawValue>,
    #[serde(borrow)]
    resource_metrics: Option<&'a RawValue>,
    /// What Tempo calls the same.
    #[serde(borrow)]
    batches: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, rename = "traceID")]
    trace_id: Option<&'a RawValue>,
}

/// Documents one behind the other, on lines of their own or not.
fn documents(
    from: impl Read,
    format: Option<Format>,
    visit: &mut dyn FnMut(Batch) -> Result<(), End>,
    wrong: &dyn Fn(String) -> Error,
) -> Result<(), End> {
    let documents = serde_json::Deserializer::from_reader(BufReader::new(from)).into_iter::<Box<RawValue>>();
    for (number, document) in documents.enumerate() {
        let place = |what: String| wrong(format!("document {}: {what}", number + 1));
        let document = document.map_err(|error| place(format!("it is no JSON: {error}")))?;
        let expected = || {
            place(
                "it is none that is known; expected an object with resourceSpans, resourceLogs or resourceMetrics (OTLP), or with data (Jaeger)"
                    .to_owned(),
            )
        };
        let sign: Sign<'_> = serde_json::from_str(document.get()).map_err(|_| expected())?;
        let is = |wanted| format.is_none_or(|format| format == wanted);
        if is(Format::Otlp) {
            let tempo = sign.batches.map(|batches| format!("{{\"resourceSpans\":{batches}}}"));
            let of = [
                (Signal::Traces, sign.resource_spans.is_some() || tempo.is_some()),
                (Signal::Logs, sign.resource_logs.is_some()),
                (Signal::Metrics, sign.resource_metrics.is_some()),
            ];
            let mut found = false;
            for (signal, _) in of.into_iter().filter(|(_, is)| *is) {
                found = true;
                let text = tempo
                    .as_deref()
                    .filter(|_| sign.resource_spans.is_none())
                    .unwrap_or_else(|| document.get());
                let message = otlpjson::decode(signal, text.as_bytes()).map_err(&place)?;
                otlp(signal, &message, visit, &place)?;
            }
            if found {
                continue;
            }
        }
        match sign.data {
            Some(data) if is(Format::Jaeger) => {
                let traces: Vec<jaeger::Trace> =
                    serde_json::from_str(data.get()).map_err(|error| place(format!("data: {error}")))?;
                for trace in traces {
                    in_pieces(jaeger::spans(trace).map_err(&place)?, visit)?;
                }
            }
            // A trace without the frame around it.
            None if is(Format::Jaeger) && sign.trace_id.is_some() => {
                let trace = serde_json::from_str(document.get()).map_err(|error| place(error.to_string()))?;
                in_pieces(jaeger::spans(trace).map_err(&place)?, visit)?;
            }
            _ => return Err(expected().into()),
        }
    }
    Ok(())
}

fn otlp(
    signal: Signal,
    message: &[u8],
    visit: &mut dyn FnMut(Batch) -> Result<(), End>,
    wrong: &dyn Fn(String) -> Error,
) -> Result<(), End> {
    let wrong = |error: prost::DecodeError| wrong(error.to_string());
    let records = match signal {
        Signal::Traces => {
            return in_pieces(
                ExportTraceServiceRequest::decode(message).map_err(wrong)?.resource_spans,
                visit,
            );
        }
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(message).map_err(wrong)?;
            let scopes = request.resource_logs.iter().flat_map(|of| &of.scope_logs);
            scopes.map(|of| of.log_records.len()).sum::<usize>()
        }
        Signal::Metrics => {
            let request = ExportMetricsServiceRequest::decode(message).map_err(wrong)?;
            let scopes = request.resource_metrics.iter().flat_map(|of| &of.scope_metrics);
            scopes.flat_map(|of| &of.metrics).map(points).sum::<usize>()
        }
    };
    visit(Batch { signal, records: records as u64, body: message.to_vec() })
}

fn points(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(of)) => of.data_points.len(),
        Some(Data::Sum(of)) => of.data_points.len(),
        Some(Data::Histogram(of)) => of.data_points.len(),
        Some(Data::ExponentialHistogram(of)) => of.data_points.len(),
        Some(Data::Summary(of)) => of.data_points.len(),
        None => 0,
    }
}

/// Requests of so many spans at most, each with the resource and scope of its spans.
pub(super) fn in_pieces(
    all: Vec<ResourceSpans>,
    visit: &mut dyn FnMut(Batch) -> Result<(), End>,
) -> Result<(), End> {
    let (mut request, mut spans) = (ExportTraceServiceRequest::default(), 0);
    let mut send = |request: &mut ExportTraceServiceRequest, spans: &mut usize| {
        let (request, spans) = (std::mem::take(request), std::mem::take(spans));
        if spans == 0 {
            return Ok(());
        }
        visit(Batch { signal: Signal::Traces, records: spans as u64, body: request.encode_to_vec() })
    };
    for ResourceSpans { resource, scope_spans, schema_url } in all {
        for ScopeSpans { scope, spans: mut rest, schema_url: of_scope } in scope_spans {
            while !rest.is_empty() {
                let after = rest.split_off(rest.len().min(MOST_SPANS - spans));
                spans += rest.len();
                let piece = ScopeSpans { scope: scope.clone(), spans: rest, schema_url: of_scope.clone() };
                match request.resource_spans.last_mut() {
                    Some(last) if last.resource == resource && last.schema_url == schema_url => {
                        last.scope_spans.push(piece);
                    }
                    _ => request.resource_spans.push(ResourceSpans {
                        resource: resource.clone(),
                        scope_spans: vec![piece],
                        schema_url: schema_url.clone(),
                    }),
                }
                if spans == MOST_SPANS {
                    send(&mut request, &mut spans)?;
                }
                rest = after;
            }
        }
    }
    send(&mut request, &mut spans)
}

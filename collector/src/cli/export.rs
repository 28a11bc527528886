//! `agentvitals export`.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use prost::Message as _;
use tempfile::NamedTempFile;

use super::client::{Common, Range, refused};
use super::{End, OK, Terminal};
use crate::ingest::Signal;
use crate::{Error, flat, otlpjson};

/// The longest line of OTLP/JSON that is taken.
const MAX_LINE: usize = 256 << 20;

/// Writes what a server keeps to a file: lines of OTLP/JSON, or Parquet.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals export --output spans.jsonl\n  agentvitals export '{ .gen_ai.agent.name = \"planner\" }' --since -24h --format parquet --output planner.parquet\n  agentvitals export --table logs --output logs.jsonl\n\nLines of OTLP/JSON are what the OpenTelemetry Collector's file exporter writes; `agentvitals import` reads both."
)]
pub(super) struct ExportArguments {
    /// Only what matches this TraceQL span filter
    #[arg(default_value = "")]
    filter: String,
    /// spans, logs or metrics
    #[arg(long, value_name = "TABLE", default_value = "spans")]
    table: String,
    /// otlp (a request in OTLP/JSON a line) or parquet (spans only)
    #[arg(long, value_name = "FORMAT", default_value = "otlp")]
    format: String,
    /// Into this file; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    common: Common,
}

pub(super) fn export(arguments: &ExportArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    if !["spans", "logs", "metrics"].contains(&arguments.table.as_str()) {
        return Err(
            Error::input(format!("--table {:?}: expected spans, logs or metrics", arguments.table)).into()
        );
    }
    let (parquet, path) = (arguments.format == "parquet", arguments.output.as_path());
    match arguments.format.as_str() {
        "parquet" if arguments.table != "spans" => {
            return Err(Error::input("--format parquet is of spans; logs and metrics go out as otlp").into());
        }
        "parquet" if path == Path::new("-") => {
            return Err(Error::input("a Parquet file needs a name: --output FILE").into());
        }
        "parquet" | "otlp" => {}
        other => return Err(Error::input(format!("--format {other:?}: expected otlp or parquet")).into()),
    }
    if path == Path::new("-") {
        read(arguments, &mut |line| Ok(terminal.out.write_all(line)?))?;
        return Ok(OK);
    }
    let wrong = |error: &dyn std::fmt::Display| Error::failed(format!("{}: {error}", path.display()));
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut file = NamedTempFile::new_in(dir).map_err(|error| wrong(&error))?;
    if parquet {
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(zstd).build();
        let writer = ArrowWriter::try_new(&mut file, flat::schema(), Some(properties));
        let mut writer = writer.map_err(|error| wrong(&error))?;
        read(arguments, &mut |line| {
            let spans = spans(line)?;
            let rows = flat::batch(&spans.resource_spans).map_err(|error| wrong(&error))?;
            writer.write(&rows).map_err(|error| wrong(&error))?;
            Ok(())
        })?;
        writer.close().map_err(|error| wrong(&error))?;
    } else {
        let mut file = std::io::BufWriter::new(&mut file);
        read(arguments, &mut |line| Ok(file.write_all(line).map_err(|error| wrong(&error))?))?;
        file.flush().map_err(|error| wrong(&error))?;
    }
    // It has its name once it is whole.
    file.persist(path).map_err(|error| wrong(&error.error))?;
    writeln!(terminal.err, "written to {}", path.display())?;
    Ok(OK)
}

fn spans(line: &[u8]) -> Result<ExportTraceServiceRequest, Error> {
    let wrong = |error: String| Error::failed(format!("the server answers what cannot be read: {error}"));
    let message = otlpjson::decode(Signal::Traces, line).map_err(wrong)?;
    ExportTraceServiceRequest::decode(message).map_err(|error| wrong(error.to_string()))
}

/// Calls with each line, its end included.
fn read(arguments: &ExportArguments, each: &mut dyn FnMut(&[u8]) -> Result<(), End>) -> Result<(), End> {
    let (start, end) = arguments.range.read()?;
    let mut parameters = vec![format!("table={}", arguments.table)];
    if !arguments.filter.is_empty() {
        parameters.push(format!("q={}", encoded(&arguments.filter)));
    }
    parameters.extend(start.map(|start| format!("start={start}")));
    parameters.extend(end.map(|end| format!("end={end}")));
    let url = arguments.common.url(&format!("export?{}", parameters.join("&")));
    let mut rest: Vec<u8> = Vec::new();
    let refusal = arguments.common.http()?.stream(&url, &mut |piece: Bytes| {
        let mut piece = &piece[..];
        while let Some(at) = piece.iter().position(|&byte| byte == b'\n') {
            let (line, after) = piece.split_at(at + 1);
            rest.extend_from_slice(line);
            each(&rest)?;
            rest.clear();
            piece = after;
        }
        rest.extend_from_slice(piece);
        if rest.len() > MAX_LINE {
            return Err(
                Error::failed(format!("the server sends a line of more than {} MB", MAX_LINE >> 20)).into()
            );
        }
        Ok(())
    })?;
    match refusal {
        None => Ok(()),
        Some(answer) if answer.status == 404 => {
            Err(Error::failed(format!("{url} is not there; is it a server of another version?")).into())
        }
        Some(answer) => Err(refused(answer.status, &answer.body, &arguments.filter).into()),
    }
}

/// A text for an address.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

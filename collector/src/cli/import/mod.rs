//! `agentvitals import`: files of telemetry to an OTLP endpoint.

mod jaeger;
mod read;
mod send;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde_json::json;

use self::read::Format;
use self::send::Sending;
use super::http::Http;
use super::{End, FAILED, OK, Terminal, printable};
use crate::Error;

/// Sends files to an OTLP endpoint: lines or documents of OTLP/JSON, Jaeger's JSON, Parquet of `agentvitals export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals import spans.jsonl\n  agentvitals import traces-from-jaeger.json planner.parquet\n  agentvitals export --api old:16686 | agentvitals import -\n\nSpans that are there already count once; logs and metrics that are sent again in other requests do not.\n\nExit codes: 0 all was taken; 1 some was refused, or nothing takes OTLP there; 2 a file is none of these."
)]
pub(super) struct ImportArguments {
    /// The files; - is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// auto, otlp, jaeger or parquet
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    format: String,
    /// Where OTLP over HTTP goes
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4318")]
    endpoint: String,
    /// A file with the endpoint's token; without one the variable AGENTVITALS_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file with the certificate that an endpoint under TLS is known by
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn import(arguments: &ImportArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let format = match arguments.format.as_str() {
        "auto" => None,
        "otlp" => Some(Format::Otlp),
        "jaeger" => Some(Format::Jaeger),
        "parquet" => Some(Format::Parquet),
        other => {
            return Err(
                Error::input(format!("--format {other:?}: expected auto, otlp, jaeger or parquet")).into()
            );
        }
    };
    let http = Http::new(arguments.token_file.as_deref(), arguments.tls_ca.as_deref())?;
    let mut sending = Sending::new(http, &arguments.endpoint);
    for path in &arguments.files {
        let mut told = 0;
        read::each(path, format, &mut |batch| {
            sending.send(batch)?;
            // Progress for people who wait, and no more lines than they can read.
            if sending.sent.records() >= told + 100_000 {
                told = sending.sent.records();
                writeln!(terminal.err, "{told} records sent")?;
            }
            Ok(())
        })?;
    }
    let (sent, rejected) = (&sending.sent, &sending.rejected);
    if arguments.json {
        let of = |count: &send::Counts| json!({"spans": count.spans, "logs": count.logs, "metric_points": count.points});
        writeln!(
            terminal.out,
            "{}",
            json!({"sent": of(sent), "rejected": of(rejected), "reason": sending.reason})
        )?;
    } else {
        writeln!(terminal.out, "sent {sent}; rejected {rejected}")?;
        if let Some(reason) = &sending.reason {
            writeln!(terminal.out, "the first reason: {}", printable(reason))?;
        }
    }
    Ok(if rejected.records() == 0 { OK } else { FAILED })
}

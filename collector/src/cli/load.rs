//! `agentvitals load`.

use std::path::PathBuf;
use std::sync::Arc;

use super::{End, FAILED, OK, Terminal, printable};
use crate::Error;
use crate::api::time::parse_duration;
use crate::load::{self, Compression, Direct, Options, Protocol, Report};
use crate::store::{self, Store};
use crate::token::Token;

/// Sends GenAI traces to an OTLP endpoint, and tells what was acknowledged and how fast.
///
/// Traces are runs of agents with model calls and tools, eight spans each. All ids follow from the seed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals load --spans 1M\n  agentvitals load --rate 50000 --duration 30s --json\n  agentvitals load --endpoint http://127.0.0.1:4318 --protocol http --compression zstd\n\nExit codes: 0 all was acknowledged; 1 some was not, or nothing takes OTLP there; 2 wrong arguments."
)]
pub(super) struct Arguments {
    /// Where OTLP goes
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4317")]
    endpoint: String,
    /// Not over a network, but into the store of this directory, which no server may have open
    #[arg(long, value_name = "DIR", conflicts_with_all = ["endpoint", "protocol", "compression", "token_file"])]
    data_dir: Option<PathBuf>,
    /// How requests are sent
    #[arg(long, value_enum, default_value_t)]
    protocol: Protocol,
    /// How requests are compressed
    #[arg(long, value_enum, default_value_t)]
    compression: Compression,
    /// So many spans, such as 100000, 500k or 10M [default: 100k, or until the end of --duration]
    #[arg(long, value_name = "N", value_parser = number)]
    spans: Option<u64>,
    /// For so long, such as 30s
    #[arg(long, value_name = "DURATION")]
    duration: Option<String>,
    /// Spans a second; 0 is as many as are acknowledged
    #[arg(long, value_name = "N", default_value = "0", value_parser = number)]
    rate: u64,
    /// Spans of a request
    #[arg(long, value_name = "N", default_value = "512", value_parser = number)]
    batch: u64,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 2)]
    connections: usize,
    /// Requests on their way over each connection
    #[arg(long, value_name = "N", default_value_t = 2)]
    in_flight: usize,
    /// What all ids follow from [default: a new one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Appends a line for each acknowledged request: the number of its first trace, and how many traces
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// A file with the endpoint's token; without one the variable AGENTVITALS_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

/// A number, with k or M for thousands and millions.
fn number(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    number.ok_or_else(|| "expected a number such as 100000, 500k or 10M".to_owned())
}

fn options(arguments: Arguments) -> Result<Options, Error> {
    let duration = arguments.duration.as_deref().map(parse_duration).transpose();
    let duration = duration.map_err(|what| Error::input(format!("--duration: {what}")))?;
    let duration = duration.map(|nanos| std::time::Duration::from_nanos(nanos.unsigned_abs()));
    let mut options = Options::new(arguments.endpoint);
    options.spans = arguments.spans.or_else(|| options.spans.filter(|_| duration.is_none()));
    options.duration = duration;
    if let Some(path) = &arguments.data_dir {
        options.direct = Some(Direct(Arc::new(Store::open(path, store::Options::default())?)));
    }
    options.protocol = arguments.protocol;
    options.compression = arguments.compression;
    options.rate = arguments.rate;
    options.batch = arguments.batch;
    options.connections = arguments.connections;
    options.in_flight = arguments.in_flight;
    options.seed = arguments.seed.unwrap_or_else(|| crate::clock::unix_nanos().cast_unsigned());
    options.ids = arguments.ids;
    options.token = Token::find(arguments.token_file.as_deref())?;
    Ok(options)
}

pub(super) fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let json = arguments.json;
    let options = options(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let err = &mut *terminal.err;
    let stop = async {
        tokio::signal::ctrl_c().await.ok();
    };
    let report = runtime.block_on(load::run(options, stop, |report| {
        // The result does not depend on anybody watching.
        writeln!(err, "{} spans acknowledged, {:.0} a second", report.acknowledged, report.spans_per_second)
            .ok();
    }))?;
    if json {
        let text = serde_json::to_string(&report).map_err(|error| Error::failed(error.to_string()))?;
        writeln!(terminal.out, "{text}")?;
    } else {
        write(&report, terminal)?;
    }
    Ok(if report.refused == 0 { OK } else { FAILED })
}

fn write(report: &Report, terminal: &mut Terminal<'_>) -> Result<(), End> {
    let latency = report.latency_ms;
    writeln!(
        terminal.out,
        "{} of {} spans acknowledged in {:.2} s: {:.0} a second, {:.1} MB",
        report.acknowledged,
        report.sent,
        report.seconds,
        report.spans_per_second,
        report.bytes as f64 / 1e6
    )?;
    writeln!(
        terminal.out,
        "{} requests waited p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
        report.requests, latency.p50, latency.p90, latency.p99, latency.max
    )?;
    for (why, spans) in &report.refused_by {
        writeln!(terminal.out, "{spans} spans refused: {}", printable(why))?;
    }
    for (why, count) in &report.retried_by {
        writeln!(terminal.out, "{count} times sent again after {}", printable(why))?;
    }
    writeln!(terminal.out, "seed {}", report.seed)?;
    Ok(())
}

//! `agentvitals serve`: receives OTLP and keeps it, until it is told to end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::{End, OK, Terminal, printable};
use crate::Error;
use crate::api::{self, ApiState, Readiness, Sample};
use crate::otlp::{Config, Counters, Receiver};
use crate::query::Table;
use crate::query::exec::{Limits, Queries};
use crate::store::{Options, Store};
use crate::token::Token;

/// Receives spans over OTLP, keeps them, and answers questions about them.
///
/// What is acknowledged is on the disk, and survives a crash. Once it listens it prints one line of JSON with its
/// addresses; SIGTERM and Ctrl-C end it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals serve\n  agentvitals serve --data-dir ./spans --otlp-grpc 127.0.0.1:0"
)]
pub(super) struct Arguments {
    /// Where spans are kept [default: the platform's folder for the data of this program]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The address for OTLP/gRPC; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4317")]
    otlp_grpc: SocketAddr,
    /// The address for OTLP/HTTP; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4318")]
    otlp_http: SocketAddr,
    /// The address for questions, health and metrics; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:16686")]
    api: SocketAddr,
    /// A file with the token that requests and questions must bear; without one the variable AGENTVITALS_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What is printed once it listens.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    otlp_grpc: SocketAddr,
    otlp_http: SocketAddr,
    api: SocketAddr,
    data_dir: PathBuf,
}

pub(super) fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let data_dir = match arguments.data_dir {
        Some(data_dir) => data_dir,
        None => default_dir()?,
    };
    let token = Token::find(arguments.token_file.as_deref())?;
    for (option, address) in
        [("--otlp-grpc", arguments.otlp_grpc), ("--otlp-http", arguments.otlp_http), ("--api", arguments.api)]
    {
        if !address.ip().is_loopback() && !token.is_set() {
            writeln!(
                terminal.err,
                "note: {option} {address} is open to other machines, and no token is set; set one with --token-file FILE"
            )?;
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Arc::new(Store::open(&data_dir, Options::default())?);
    for report in store.reports() {
        writeln!(terminal.err, "note: {}", printable(report))?;
    }
    let served = runtime.block_on(async {
        // Before anything is told, so that whoever reads it may end the process at once.
        let mut terminated = signal(SignalKind::terminate())?;
        let mut config = Config::new(arguments.otlp_grpc, arguments.otlp_http);
        config.token = token.clone();
        let receiver = Receiver::bind(config, Arc::clone(&store) as _).await?;
        let (otlp_grpc, otlp_http) = (receiver.grpc_addr(), receiver.http_addr());
        let questions = api::bind(arguments.api).await?;
        let api = questions.local_addr()?;
        let ready = Ready {
            ready: true,
            otlp_grpc,
            otlp_http,
            api,
            data_dir: data_dir.canonicalize().unwrap_or(data_dir),
        };
        let line = serde_json::to_string(&ready).map_err(|error| Error::failed(error.to_string()))?;
        writeln!(terminal.out, "{line}")?;
        terminal.out.flush()?;
        let (end, ending) = tokio::sync::watch::channel(false);
        let ended = |mut ending: tokio::sync::watch::Receiver<bool>| async move {
            ending.wait_for(|&ending| ending).await.ok();
        };
        let state = state(&store, receiver.counters()).token(token);
        let answering = tokio::spawn(api::run(questions, state, ended(ending.clone())));
        let receiving = tokio::spawn(receiver.run(ended(ending)));
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        end.send(true).ok();
        for task in [receiving, answering] {
            task.await.map_err(|error| Error::failed(format!("the server ended early: {error}")))??;
        }
        Ok::<_, End>(())
    });
    store.close();
    served.map(|()| OK)
}

/// What the API shows of a store.
fn state(store: &Arc<Store>, received: Counters) -> ApiState {
    let queries = Queries::new(Arc::clone(store) as _, Limits::default());
    let (metrics, readiness) = (Arc::clone(store), Arc::clone(store));
    ApiState::new(Arc::new(queries))
        .metrics(move || {
            let mut samples = samples(&metrics);
            samples.extend(receiver_samples(&received));
            samples
        })
        .readiness(move || readiness.figures().trouble.map_or(Readiness::Ready, Readiness::NotReady))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has doubles")]
fn samples(store: &Store) -> Vec<Sample> {
    let figures = store.figures();
    let gauge = |name, help, value: u64| Sample::gauge(name, help, value as f64);
    let counter = |name, help, value: u64| Sample::counter(name, help, value as f64);
    let mut samples = vec![counter(
        "agentvitals_store_requests_overloaded_total",
        "Requests that were refused as overload.",
        figures.overloaded,
    )];
    for table in Table::ALL {
        let figures = figures.table(table);
        let of_table = [
            gauge("agentvitals_store_rows", "Spans, log records and data points.", figures.rows),
            gauge("agentvitals_store_rows_in_memory", "Those in memory and in the log.", figures.in_memory),
            gauge("agentvitals_store_segments", "Segments.", figures.segments),
            gauge("agentvitals_store_segment_bytes", "Bytes of the segments.", figures.segment_bytes),
            counter("agentvitals_store_rows_accepted_total", "Rows that were taken.", figures.accepted),
            counter(
                "agentvitals_store_rows_rejected_total",
                "Records that were refused as being none.",
                figures.rejected,
            ),
            counter(
                "agentvitals_store_rows_repeated_total",
                "Rows that came again and were kept once.",
                figures.repeated,
            ),
        ];
        samples.extend(of_table.map(|sample| sample.label("table", table.name())));
    }
    if let Some(bytes) = figures.disk_bytes {
        samples.push(gauge("agentvitals_store_disk_bytes", "Bytes of the data directory.", bytes));
    }
    samples
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has doubles")]
fn receiver_samples(received: &Counters) -> Vec<Sample> {
    let mut samples = Vec::new();
    for counted in received.read() {
        let labelled = |sample: Sample| {
            sample.label("transport", counted.transport.name()).label("signal", counted.signal.name())
        };
        samples.push(labelled(Sample::counter(
            "agentvitals_receiver_requests_total",
            "Requests that were acknowledged.",
            counted.requests as f64,
        )));
        samples.push(labelled(Sample::counter(
            "agentvitals_receiver_bytes_total",
            "Their bytes, decompressed.",
            counted.bytes as f64,
        )));
        for (reason, count) in counted.refused {
            let refused = Sample::counter(
                "agentvitals_receiver_refused_total",
                "Requests that were refused, by reason.",
                count as f64,
            );
            samples.push(labelled(refused).label("reason", reason.name()));
        }
    }
    samples
}

fn default_dir() -> Result<PathBuf, Error> {
    let directories = directories::ProjectDirs::from("", "", "agentvitals");
    let told = "this system tells no folder for data; give one with --data-dir DIR";
    directories.map(|directories| directories.data_dir().to_owned()).ok_or_else(|| Error::input(told))
}

//! `agentvitals serve`: receives OTLP and keeps it, until it is told to end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::{End, OK, Terminal, printable};
use crate::Error;
use crate::otlp::{Config, Receiver};
use crate::store::{Options, Store};

/// Receives spans over OTLP and keeps them.
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
}

/// What is printed once it listens.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    otlp_grpc: SocketAddr,
    otlp_http: SocketAddr,
    data_dir: PathBuf,
}

pub(super) fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let data_dir = match arguments.data_dir {
        Some(data_dir) => data_dir,
        None => default_dir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Arc::new(Store::open(&data_dir, Options::default())?);
    for report in store.reports() {
        writeln!(terminal.err, "note: {}", printable(report))?;
    }
    let served = runtime.block_on(async {
        // Before anything is told, so that whoever reads it may end the process at once.
        let mut terminated = signal(SignalKind::terminate())?;
        let receiver =
            Receiver::bind(Config::new(arguments.otlp_grpc, arguments.otlp_http), Arc::clone(&store) as _)
                .await?;
        let (otlp_grpc, otlp_http) = (receiver.grpc_addr(), receiver.http_addr());
        let ready = Ready {
            ready: true,
            otlp_grpc,
            otlp_http,
            data_dir: data_dir.canonicalize().unwrap_or(data_dir),
        };
        let line = serde_json::to_string(&ready).map_err(|error| Error::failed(error.to_string()))?;
        writeln!(terminal.out, "{line}")?;
        terminal.out.flush()?;
        let end = async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        receiver.run(end).await?;
        Ok::<_, End>(())
    });
    store.close();
    served.map(|()| OK)
}

fn default_dir() -> Result<PathBuf, Error> {
    let directories = directories::ProjectDirs::from("", "", "agentvitals");
    let told = "this system tells no folder for data; give one with --data-dir DIR";
    directories.map(|directories| directories.data_dir().to_owned()).ok_or_else(|| Error::input(told))
}

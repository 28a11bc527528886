//! The demo: recorded agents run again, against a model server on loopback, and what reaches the other end of
//! the telemetry is counted and compared.
//!
//! [`runs`] reads the recordings, [`ModelServer`] answers for the models, the agents are plain `#[instrument]`ed
//! functions, and [`Summary`] is what comes of it.

mod agent;
mod builtin;
mod client;
mod context;
mod embedded;
pub mod inject;
mod ledger;
mod model_server;
mod pace;
mod pipeline;
mod provider;
mod report;
pub mod runs;
mod sse;
mod streaming;
mod turns;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;

use crate::Error;
use agent::Replay;
use client::Client;
use pipeline::Pipeline;
use runs::Run;

pub use embedded::Embedded;
pub use model_server::{ModelServer, RUN_HEADER, STEP_HEADER};
pub use pace::Speed;
pub use report::{Sent, Style, Summary};
pub use streaming::Streaming;

/// Reasons why a replay is not what was recorded that are told; one is enough to not trust the result.
const MAX_TOLD: usize = 5;
/// How often the progress of a replay is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// What to replay, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// A file of runs; without it the built-in ones.
    pub runs: Option<PathBuf>,
    /// Where to export to; without it to a collector of the demo's own.
    pub endpoint: Option<String>,
    /// Where the demo's collector keeps its data; without it in a directory that is removed at the end.
    pub data_dir: Option<PathBuf>,
    /// Where the demo's collector takes OTLP/gRPC and OTLP/HTTP, and answers questions; port 0 picks a free one.
    pub addresses: [SocketAddr; 3],
    /// What recorded durations are divided by.
    pub speed: Speed,
    /// Runs that go on at the same time, at least 1.
    pub concurrency: usize,
    /// Which answers are streamed.
    pub streaming: Streaming,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            runs: None,
            endpoint: None,
            data_dir: None,
            addresses: [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); 3],
            speed: Speed::DEFAULT,
            concurrency: Self::DEFAULT_CONCURRENCY,
            streaming: Streaming::default(),
        }
    }
}

impl Options {
    /// Runs that go on at the same time unless told otherwise.
    pub const DEFAULT_CONCURRENCY: usize = 8;
    /// The most runs that may go on at the same time: each has a connection of its own.
    pub const MAX_CONCURRENCY: usize = 1024;
}

/// The runs of a file, or those that are built in.
///
/// # Errors
/// An [input error](Error::is_input) that names the lines at fault.
pub fn runs_of(file: Option<&Path>) -> Result<Vec<Run>, Error> {
    match file {
        Some(path) => runs::read_file(path),
        None => builtin::runs(),
    }
}

/// Replays runs and counts what arrives. `progress` is told how many of how many runs are over.
///
/// # Errors
/// An [input error](Error::is_input) when the runs or the endpoint are at fault, before anything is started;
/// any other error when the replay could not be made. A replay whose figures do not agree is no error: see
/// [`Summary::verified`].
pub async fn run(options: &Options, progress: impl FnMut(usize, usize)) -> Result<Summary, Error> {
    let (summary, collector) = run_and_keep(options, progress).await?;
    if let Some(collector) = collector {
        collector.stop().await?;
    }
    Ok(summary)
}

/// Like [`run`], and the demo's collector goes on, if there is one: to be asked, and then to be
/// [stopped](Embedded::stop).
///
/// # Errors
/// As [`run`].
pub async fn run_and_keep(
    options: &Options,
    progress: impl FnMut(usize, usize),
) -> Result<(Summary, Option<Embedded>), Error> {
    if !(1..=Options::MAX_CONCURRENCY).contains(&options.concurrency) {
        let what =
            format!("{} runs at a time, expected 1 to {}", options.concurrency, Options::MAX_CONCURRENCY);
        return Err(Error::input(what));
    }
    let runs: Arc<[Run]> = runs_of(options.runs.as_deref())?.into();
    let pipeline = Pipeline::start(options, &runs).await?;
    let server = ModelServer::start(Arc::clone(&runs), options.speed).await?;
    let client = Client::new(&server.base_url())?;
    let replay = Replay { runs, client, speed: options.speed, streaming: options.streaming };
    let broken = replay_all(replay, options.concurrency, pipeline.dispatch(), progress).await;
    server.stop().await;
    let (mut summary, collector) = pipeline.finish().await;
    let more = broken.len().saturating_sub(MAX_TOLD);
    for what in broken.into_iter().take(MAX_TOLD) {
        summary.distrust(what);
    }
    if more > 0 {
        summary.distrust(format!("and {more} more runs that could not be replayed"));
    }
    Ok((summary, collector))
}

/// Replays all runs, at most so many at a time, and returns why some could not be.
async fn replay_all(
    replay: Replay,
    concurrency: usize,
    dispatch: &Dispatch,
    mut progress: impl FnMut(usize, usize),
) -> Vec<String> {
    let total = replay.runs.len();
    let replay = Arc::new(replay);
    let (mut tasks, mut started, mut over, mut broken) = (JoinSet::new(), 0, 0, Vec::new());
    let mut tick =
        tokio::time::interval_at(tokio::time::Instant::now() + PROGRESS_INTERVAL, PROGRESS_INTERVAL);
    while over < total {
        while started < total && tasks.len() < concurrency {
            let (replay, number) = (Arc::clone(&replay), started);
            let run = async move { agent::replay_run(&replay, number).await };
            tasks.spawn(run.with_subscriber(dispatch.clone()));
            started += 1;
        }
        tokio::select! {
            Some(end) = tasks.join_next() => {
                over += 1;
                match end {
                    Ok(Ok(())) => {}
                    Ok(Err(what)) => broken.push(what.to_string()),
                    Err(error) => broken.push(format!("a run ended with a panic: {error}")),
                }
            }
            _ = tick.tick() => progress(over, total),
        }
    }
    broken
}

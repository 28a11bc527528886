//! How other threads talk to the exporter's thread.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::stats::{ExportStats, Report};
use crate::Error;

/// Requests that may wait for the exporter's thread. Each is somebody waiting for an answer.
pub(crate) const COMMANDS: usize = 1024;

/// What the caller waits beyond the deadline for the answer that the deadline has passed. Only a thread that
/// is stuck in a hook of the user's needs it.
const GRACE: Duration = Duration::from_millis(500);

pub(crate) type Answer = Result<Report, Error>;

/// What is asked of the exporter's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Everything that has ended is exported, and the metrics.
    Flush,
    /// The metrics are collected and shown to the observers.
    Collect,
    /// As a flush, and then the end.
    Shutdown,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) ask: Ask,
    pub(crate) deadline: Duration,
    pub(crate) answer: SyncSender<Answer>,
}

/// A way to flush and shut down a pipeline, cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    stats: Arc<ExportStats>,
}

impl Handle {
    pub(super) fn new(commands: mpsc::Sender<Command>, stats: Arc<ExportStats>) -> Self {
        Self { commands, stats }
    }

    /// See [`Pipeline::flush`](super::Pipeline::flush).
    pub fn flush(&self, deadline: Duration) -> impl Future<Output = Result<Report, Error>> + Send + use<> {
        self.awaited(Ask::Flush, deadline)
    }

    /// See [`Pipeline::flush_blocking`](super::Pipeline::flush_blocking).
    ///
    /// # Errors
    /// The deadline passed first, or the flush was interrupted by a panic of a hook.
    pub fn flush_blocking(&self, deadline: Duration) -> Result<Report, Error> {
        self.blocking(Ask::Flush, deadline)
    }

    /// See [`Pipeline::shutdown`](super::Pipeline::shutdown).
    pub fn shutdown(&self, deadline: Duration) -> impl Future<Output = Result<Report, Error>> + Send + use<> {
        self.awaited(Ask::Shutdown, deadline)
    }

    /// See [`Pipeline::shutdown_blocking`](super::Pipeline::shutdown_blocking).
    ///
    /// # Errors
    /// The exporter's thread is stuck in a hook of the user's and did not answer.
    pub fn shutdown_blocking(&self, deadline: Duration) -> Result<Report, Error> {
        self.blocking(Ask::Shutdown, deadline)
    }

    /// See [`Pipeline::collect_blocking`](super::Pipeline::collect_blocking).
    ///
    /// # Errors
    /// The deadline passed first, or a hook or observer panicked.
    pub fn collect_blocking(&self, deadline: Duration) -> Result<(), Error> {
        self.blocking(Ask::Collect, deadline).map(drop)
    }

    fn blocking(&self, ask: Ask, deadline: Duration) -> Answer {
        let (answer, answered) = sync_channel(1);
        match self.commands.try_send(Command { ask, deadline, answer }) {
            Ok(()) => {}
            // Shut down already: all is counted, and the counters are the answer.
            Err(TrySendError::Closed(_)) => return Ok(self.stats.report()),
            Err(TrySendError::Full(_)) => {
                return Err(Error::export(format!("{COMMANDS} flushes wait already; flush less often")));
            }
        }
        match answered.recv_timeout(deadline.saturating_add(GRACE)) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Ok(self.stats.report()),
            Err(RecvTimeoutError::Timeout) => Err(Error::timeout(format!(
                "the exporter's thread did not answer within {deadline:?}; is a redaction, cost or metric hook \
                 blocking? So far: {}",
                self.stats.report()
            ))),
        }
    }

    /// The same on a thread of its own, which needs neither the caller's runtime nor its timers: the future
    /// completes in time wherever it is polled, and what it asked for happens also if it is dropped.
    fn awaited(&self, ask: Ask, deadline: Duration) -> impl Future<Output = Answer> + Send + use<> {
        let (done, result) = oneshot::channel();
        let handle = self.clone();
        let spawned = std::thread::Builder::new().name("agentvitals-flush".to_owned()).spawn(move || {
            let _ = done.send(handle.blocking(ask, deadline));
        });
        let stats = Arc::clone(&self.stats);
        async move {
            if let Err(error) = spawned {
                return Err(Error::export(format!("no thread to wait for the flush: {error}")));
            }
            result.await.unwrap_or_else(|_| Ok(stats.report()))
        }
    }
}

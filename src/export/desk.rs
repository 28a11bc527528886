//! Where flushes and shutdowns wait for their answer, on the exporter's thread.

use std::future::pending;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::handle::{Answer, Ask, Command};
use super::limit::LimitHandle;
use super::queue::SpanQueue;
use super::stats::{ExportStats, LossReason};
use crate::Error;

#[derive(Debug)]
struct Waiting {
    /// All chunks below this number must be done.
    target: u64,
    until: Instant,
    deadline: Duration,
    ask: Ask,
    /// All its spans are done, its metrics are being collected.
    ready: bool,
    answer: SyncSender<Answer>,
}

/// The deadlines of a shutdown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    /// All chunks below this number ended before the shutdown was asked for.
    pub(super) target: u64,
    /// Until then spans are exported; the rest of the time belongs to the metrics.
    pub(super) spans_until: Instant,
    pub(super) until: Instant,
}

#[derive(Debug)]
pub(super) struct Desk {
    commands: mpsc::Receiver<Command>,
    /// Whether all senders are gone.
    closed: bool,
    waiting: Vec<Waiting>,
    stop: Option<Stop>,
    drop_timeout: Duration,
    queue: Arc<SpanQueue>,
    stats: Arc<ExportStats>,
}

impl Desk {
    pub(super) fn new(
        commands: mpsc::Receiver<Command>,
        queue: Arc<SpanQueue>,
        stats: Arc<ExportStats>,
        drop_timeout: Duration,
    ) -> Self {
        Self { commands, closed: false, waiting: Vec::new(), stop: None, drop_timeout, queue, stats }
    }

    pub(super) fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// Waits for the next command or the next deadline, and deals with it.
    pub(super) async fn serve(&mut self) {
        let soonest = self
            .waiting
            .iter()
            .filter(|waiting| waiting.ask != Ask::Shutdown)
            .map(|waiting| waiting.until)
            .min();
        let expiry = async {
            match soonest {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        let command = async { if self.closed { pending().await } else { self.commands.recv().await } };
        tokio::select! {
            biased;
            command = command => match command {
                Some(command) => self.accept(command),
                None => {
                    // Nobody can ask for anything any more, so nobody will ask for a shutdown.
                    self.closed = true;
                    self.begin_stop(self.drop_timeout);
                }
            },
            () = expiry => self.expire(),
        }
    }

    /// Deals with what has come already, without waiting.
    pub(super) fn look(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.accept(command);
        }
        self.expire();
    }

    fn accept(&mut self, command: Command) {
        let Command { ask, deadline, answer } = command;
        // What ended before the caller asked is in the queue by now, and sealed by this. A collection waits for no span.
        let target = if ask == Ask::Collect { 0 } else { self.queue.seal() };
        let until = Instant::now() + deadline;
        self.waiting.push(Waiting { target, until, deadline, ask, ready: false, answer });
        if ask == Ask::Shutdown {
            self.begin_stop(deadline);
        }
    }

    fn begin_stop(&mut self, deadline: Duration) {
        let until = Instant::now() + deadline;
        if self.stop.is_none_or(|stop| until < stop.until) {
            let for_metrics = (deadline / 4).min(Duration::from_secs(1));
            let target = self.stop.map_or_else(|| self.queue.seal(), |stop| stop.target);
            self.stop = Some(Stop { target, spans_until: until - for_metrics, until });
        }
    }

    /// Answers the flushes whose deadline has passed. Their spans stay queued; a shutdown answers at its end.
    fn expire(&mut self) {
        let now = Instant::now();
        let stats = &self.stats;
        self.waiting.retain(|waiting| {
            if waiting.ask == Ask::Shutdown || waiting.until > now {
                return true;
            }
            let what = if waiting.ask == Ask::Collect {
                "no metrics were collected"
            } else {
                "not all was exported"
            };
            let message = format!("{what} within {:?}; so far: {}", waiting.deadline, stats.report());
            let _ = waiting.answer.try_send(Err(Error::timeout(message)));
            false
        });
    }

    /// Brings the end of the work at hand forward if a shutdown needs it.
    pub(super) fn hurry(&self, limit: &LimitHandle, spans: bool) {
        if let Some(stop) = self.stop {
            limit.bring_forward(if spans { stop.spans_until } else { stop.until }, LossReason::Shutdown);
        }
    }

    /// Marks the flushes whose spans are done and says whether there are any.
    pub(super) fn mark_ready(&mut self) -> bool {
        let oldest = self.queue.oldest();
        let mut any = false;
        let flushes = self.waiting.iter_mut().filter(|waiting| waiting.ask == Ask::Flush);
        for waiting in flushes.filter(|waiting| waiting.target <= oldest) {
            waiting.ready = true;
            any = true;
        }
        any
    }

    /// Whether somebody waits for a collection of metrics.
    pub(super) fn wants_collection(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.ask == Ask::Collect)
    }

    /// Answers those who waited for a collection of metrics.
    pub(super) fn answer_collections(&mut self, result: Result<(), &str>) {
        let stats = &self.stats;
        self.waiting.retain(|waiting| {
            if waiting.ask != Ask::Collect {
                return true;
            }
            let answer = result.map(|()| stats.report()).map_err(Error::export);
            let _ = waiting.answer.try_send(answer);
            false
        });
    }

    /// The latest deadline of the flushes that are ready.
    pub(super) fn ready_until(&self) -> Option<Instant> {
        self.waiting.iter().filter(|waiting| waiting.ready).map(|waiting| waiting.until).max()
    }

    /// Answers the flushes that are ready, and at the end everybody.
    pub(super) fn answer(&mut self, everybody: bool, panicked: bool) {
        let stats = &self.stats;
        self.waiting.retain(|waiting| {
            if !waiting.ready && !everybody {
                return true;
            }
            let answer = if panicked {
                Err(Error::export(format!("a hook panicked during the flush; so far: {}", stats.report())))
            } else {
                Ok(stats.report())
            };
            let _ = waiting.answer.try_send(answer);
            false
        });
    }
}

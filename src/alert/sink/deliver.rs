//! The thread that delivers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{AlertSink, DeliveryError};
use crate::Error;
use crate::alert::notice::Notice;

/// Notices that wait for one sink at most.
const WAITING: usize = 1_024;
/// Notices that are delivered at once at most.
const BATCH: usize = 64;
/// The first wait before another try, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A delivery that does not succeed in so long is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(900);

/// What became of a sink's notices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SinkStats {
    /// Notices that arrived.
    pub delivered: u64,
    /// Tries that failed and were made again.
    pub retries: u64,
    /// Notices that were given up: refused for good, or not taken within 15 minutes.
    pub failed: u64,
    /// Notices that found no room while others waited.
    pub dropped: u64,
    /// What failed last.
    pub last_error: Option<String>,
}

#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    retries: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// Notices that are on their way.
    open: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Counters {
    fn note(&self, error: &DeliveryError) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    fn read(&self) -> SinkStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SinkStats {
            delivered: count(&self.delivered),
            retries: count(&self.retries),
            failed: count(&self.failed),
            dropped: count(&self.dropped),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Sinks at work, on the thread `agentvitals-alert`. Sending never blocks. Dropped, it delivers what waits for at most a
/// second.
#[derive(Debug)]
pub struct Delivery {
    sinks: Vec<(String, Sender<Notice>, Arc<Counters>)>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Delivery {
    /// Starts to deliver.
    ///
    /// # Errors
    /// No thread is to be had ([`Error::is_install`]).
    pub fn start(sinks: Vec<Box<dyn AlertSink>>) -> Result<Self, Error> {
        let (stop, stopped) = watch::channel(false);
        let mut handles = Vec::with_capacity(sinks.len());
        let mut workers = Vec::with_capacity(sinks.len());
        for sink in sinks {
            let (send, receive) = channel(WAITING);
            let counters = Arc::new(Counters::default());
            handles.push((sink.name().to_owned(), send, Arc::clone(&counters)));
            workers.push(Worker { sink, receive, counters, stopped: stopped.clone() });
        }
        let failed =
            |error: std::io::Error| Error::install(format!("cannot start the thread of alerts: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("agentvitals-alert".into())
            .spawn(move || {
                let local = tokio::task::LocalSet::new();
                for worker in workers {
                    local.spawn_local(worker.run());
                }
                runtime.block_on(local);
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { sinks: handles, stop, thread: Some(thread) })
    }

    /// Sends notices to every sink.
    pub fn send(&self, notices: &[Notice]) {
        for notice in notices {
            for (_, sink, counters) in &self.sinks {
                counters.open.fetch_add(1, Ordering::Relaxed);
                if sink.try_send(notice.clone()).is_err() {
                    counters.open.fetch_sub(1, Ordering::Relaxed);
                    counters.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// What became of the notices of each sink, by its name.
    pub fn stats(&self) -> BTreeMap<String, SinkStats> {
        self.sinks.iter().map(|(name, _, counters)| (name.clone(), counters.read())).collect()
    }

    /// Whether nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.sinks.iter().all(|(.., counters)| counters.open.load(Ordering::Relaxed) == 0)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        self.sinks.clear();
        if let Some(thread) = self.thread.take() {
            // It only fails if a sink panicked, and then there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

struct Worker {
    sink: Box<dyn AlertSink>,
    receive: Receiver<Notice>,
    counters: Arc<Counters>,
    stopped: watch::Receiver<bool>,
}

impl Worker {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            let repeat = self.sink.repeats_after().unwrap_or(Duration::from_secs(86_400));
            match tokio::time::timeout(repeat, self.receive.recv_many(&mut batch, BATCH)).await {
                Ok(0) => return,
                Ok(_) => self.deliver(&batch).await,
                Err(_) => {
                    if let Err(error) = self.sink.deliver(&[]).await {
                        self.counters.note(&error);
                        self.counters.retries.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    async fn deliver(&mut self, batch: &[Notice]) {
        let (count, started) = (batch.len() as u64, Instant::now());
        let mut wait = FIRST_WAIT;
        loop {
            let stopping = *self.stopped.borrow();
            let limit = if stopping { Duration::from_secs(1) } else { LONGEST_WAIT };
            let result = tokio::time::timeout(limit, self.sink.deliver(batch)).await;
            let error = match result {
                Ok(Ok(())) => {
                    self.counters.delivered.fetch_add(count, Ordering::Relaxed);
                    break;
                }
                Ok(Err(error)) => error,
                Err(_) => DeliveryError::temporary(format!("no answer within {limit:?}")),
            };
            self.counters.note(&error);
            if error.is_permanent() || stopping || started.elapsed() >= GIVE_UP_AFTER {
                self.counters.failed.fetch_add(count, Ordering::Relaxed);
                break;
            }
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
            // Up to a quarter more, so that many processes do not come back at the same moment.
            let pause = error.retry_after.unwrap_or_else(|| wait.mul_f64(1.0 + 0.25 * fastrand::f64()));
            let mut stopped = self.stopped.clone();
            tokio::select! {
                () = tokio::time::sleep(pause.min(LONGEST_WAIT)) => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        self.counters.open.fetch_sub(count, Ordering::Relaxed);
    }
}

//! The exporter's thread: takes batches, makes them ready, sends them, collects metrics, answers flushes.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep_until};
use tracing::Dispatch;
use tracing::dispatcher::{DefaultGuard, set_default};

use super::desk::Desk;
use super::enrich::Enricher;
use super::limit::limit;
use super::queue::{Chunk, SpanQueue};
use super::reader::PipelineReader;
use super::sink::{MetricSink, SpanSink};
use super::stats::{ExportStats, LossReason, Tally};
use super::{BeforeCollect, Observer};

pub(super) struct Worker {
    pub(super) queue: Arc<SpanQueue>,
    pub(super) stats: Arc<ExportStats>,
    pub(super) tally: Tally,
    pub(super) desk: Desk,
    pub(super) enricher: Enricher,
    pub(super) spans: SpanSink,
    pub(super) metrics: MetricSink,
    pub(super) collection: Collection,
    pub(super) schedule_delay: Duration,
    pub(super) export_timeout: Duration,
    pub(super) metric_interval: Duration,
    pub(super) metric_timeout: Duration,
    pub(super) progress: Progress,
}

/// Where the worker is, so that a panic can be accounted for.
#[derive(Debug, Default)]
pub(super) struct Progress {
    collecting: bool,
    /// No span comes in any more.
    closed: bool,
    /// A collection panicked while the pipeline was shutting down; it is not tried again.
    give_up_metrics: bool,
    next_spans: Option<Instant>,
    next_metrics: Option<Instant>,
}

impl Worker {
    /// Works until the shutdown, through panics.
    pub(super) fn run(mut self, runtime: Runtime) {
        self.stats.set_up(true);
        loop {
            match catch_unwind(AssertUnwindSafe(|| runtime.block_on(self.work()))) {
                Ok(()) => break,
                Err(panic) => self.recover(&*panic),
            }
        }
        self.spans.shutdown(Duration::from_secs(1));
        self.metrics.shutdown(Duration::from_secs(1));
        self.stats.set_up(false);
        // Last, so that who was waiting finds everything done.
        self.desk.answer(true, false);
        // Not a plain drop: that would wait for a name look-up that hangs.
        runtime.shutdown_background();
    }

    fn recover(&mut self, panic: &(dyn Any + Send)) {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        self.stats.set_up(false);
        self.stats.add_panic();
        self.stats.set_last_error(format!("the exporter's thread panicked and was started again: {message}"));
        self.tally.lost_rest(LossReason::WorkerPanic);
        if std::mem::take(&mut self.progress.collecting) {
            self.stats.add_metric_export(false);
            self.progress.give_up_metrics = self.desk.stop().is_some();
            self.desk.answer(false, true);
            self.desk.answer_collections(Err(PANICKED));
        }
    }

    async fn work(&mut self) {
        loop {
            self.drain().await;
            if self.desk.stop().is_some() {
                return self.finish().await;
            }
            if self.desk.mark_ready() {
                let until = self.desk.ready_until();
                self.collect(until).await;
                self.desk.answer(false, false);
                continue;
            }
            let now = Instant::now();
            let next_spans = *self.progress.next_spans.get_or_insert(now + self.schedule_delay);
            let next_metrics = *self.progress.next_metrics.get_or_insert(now + self.metric_interval);
            tokio::select! {
                () = self.desk.serve() => {}
                () = self.queue.woken() => {}
                () = sleep_until(next_spans) => {
                    self.progress.next_spans = None;
                    self.queue.seal();
                }
                () = sleep_until(next_metrics) => self.collect(None).await,
            }
        }
    }

    /// Exports all batches that are full or sealed.
    async fn drain(&mut self) {
        loop {
            self.desk.look();
            self.collection.serve(&mut self.desk);
            if let Some(stop) = self.desk.stop() {
                // Spans that end while others are being exported must not keep the shutdown from its end.
                let asked_for_is_done = !self.progress.closed && stop.target <= self.queue.oldest();
                if asked_for_is_done || stop.spans_until <= Instant::now() {
                    return;
                }
            }
            // Under a constant load there is always a next batch, and metrics must go out as well. Who waits still for a
            // collection waits for one that is exported: see `Collection::is_free`.
            let due = self.progress.next_metrics.is_some_and(|at| at <= Instant::now());
            if due || self.desk.wants_collection() {
                self.collect(None).await;
            }
            let Some(chunk) = self.queue.take() else { return };
            self.export(chunk).await;
            if self.desk.stop().is_none() && self.desk.mark_ready() {
                return;
            }
        }
    }

    async fn export(&mut self, chunk: Chunk) {
        let mut spans = self.queue.unpack(chunk);
        self.tally.begin(spans.len() as u64);
        for span in &mut spans {
            self.enricher.enrich(span);
        }
        let (handle, limit) = limit(Instant::now() + self.export_timeout, LossReason::ExportFailed);
        {
            let export = self.spans.export(spans, limit, &self.tally);
            tokio::pin!(export);
            loop {
                self.desk.hurry(&handle, true);
                tokio::select! {
                    biased;
                    () = &mut export => break,
                    () = self.desk.serve() => self.collection.serve(&mut self.desk),
                }
            }
        }
        self.stats.set_up(true);
    }

    /// Collects metrics, shows them to the observers and exports them, at the latest until `until`.
    async fn collect(&mut self, until: Option<Instant>) {
        let now = Instant::now();
        self.progress.next_metrics = Some(now + self.metric_interval);
        if self.metrics.is_nowhere() && self.collection.observers.is_empty() {
            self.desk.answer_collections(Ok(()));
            return;
        }
        self.progress.collecting = true;
        let metrics = match self.collection.collect() {
            Ok(metrics) => metrics,
            Err(error) => {
                // Without a meter provider there is nothing to collect, which is no failure of the export.
                self.progress.collecting = false;
                let error = format!("metrics could not be collected: {error}");
                self.desk.answer_collections(Err(&error));
                if self.collection.reader.is_registered() {
                    self.stats.add_metric_export(false);
                    self.stats.set_last_error(error);
                }
                return;
            }
        };
        self.desk.answer_collections(Ok(()));
        let end = until.map_or(now + self.metric_timeout, |until| until.min(now + self.metric_timeout));
        let (handle, limit) = limit(end, LossReason::ExportFailed);
        {
            let export = self.metrics.export(&metrics, limit, &self.stats);
            tokio::pin!(export);
            loop {
                self.desk.hurry(&handle, false);
                tokio::select! {
                    biased;
                    () = &mut export => break,
                    () = self.desk.serve() => self.collection.serve(&mut self.desk),
                }
            }
        }
        self.progress.collecting = false;
        self.stats.set_up(true);
    }

    /// The last things: what ended while the rest was exported, the metrics, and the count of what is left.
    async fn finish(&mut self) {
        self.queue.close();
        self.progress.closed = true;
        self.drain().await;
        self.stats.add_lost(LossReason::Shutdown, self.queue.discard());
        if !self.progress.give_up_metrics {
            let until = self.desk.stop().map(|stop| stop.until);
            self.collect(until).await;
        }
    }
}

const PANICKED: &str = "a hook or observer panicked while metrics were collected";

/// How metrics are collected.
pub(super) struct Collection {
    pub(super) reader: PipelineReader,
    pub(super) before_collect: Vec<BeforeCollect>,
    pub(super) observers: Vec<Observer>,
    /// Whether a collection may go without an export. Not if it takes away what the next would have exported.
    pub(super) is_free: bool,
}

impl Collection {
    /// Collects metrics and shows them to the observers.
    fn collect(&self) -> Result<ResourceMetrics, OTelSdkError> {
        for hook in &self.before_collect {
            hook();
        }
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics)?;
        for observer in &self.observers {
            observer(&metrics);
        }
        Ok(metrics)
    }

    /// Serves those who wait for a collection at once, also while an export goes on that may take long.
    fn serve(&self, desk: &mut Desk) {
        if !self.is_free || !desk.wants_collection() {
            return;
        }
        // A panic must not take the batch with it that is being exported.
        let result = match catch_unwind(AssertUnwindSafe(|| self.collect())) {
            Ok(result) => {
                result.map(drop).map_err(|error| format!("metrics could not be collected: {error}"))
            }
            Err(_) => Err(PANICKED.to_owned()),
        };
        desk.answer_collections(result.as_ref().copied().map_err(String::as_str));
    }
}

thread_local! {
    static SILENCE: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// Builds the runtime of the exporter's thread, on which no span or event of the libraries that export is
/// seen by any subscriber.
///
/// While the thread works, its subscriber is `Dispatch::none()`. Not `NoSubscriber` as a subscriber of its
/// own, which would be asked for its interest in every callsite of the program and turn "always" into
/// "sometimes" for all of them; and not for the thread's whole life, since as long as any thread has a
/// subscriber of its own, all threads take the slower path to theirs.
pub(crate) fn silent_runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .thread_name("agentvitals-blocking")
        .on_thread_park(|| SILENCE.with(|guard| drop(guard.take())))
        .on_thread_unpark(silence)
        .build()
}

/// Begins the silence on this thread; the runtime's hooks keep it from there.
pub(crate) fn silence() {
    SILENCE.with(|guard| {
        let mut guard = guard.borrow_mut();
        if guard.is_none() {
            *guard = Some(set_default(&Dispatch::none()));
        }
    });
}

//! From ended spans and recorded metrics to a destination, on a thread and a runtime of its own.
//!
//! The traced thread moves a span into a bounded queue and goes on. One thread, `agentvitals-export`, takes
//! batches out of it, makes them ready (names, status, cost, redaction, limits), encodes and sends them, and
//! collects metrics. It needs no runtime of the program's, so a flush works on a current-thread runtime, in
//! `#[tokio::test]`, and without any runtime; and it ends in time whatever the destination does. Every span
//! that ended is either exported or counted as lost, with a reason: see [`Report`].

mod console;
mod desk;
mod enrich;
mod handle;
mod limit;
#[cfg(feature = "otlp")]
mod otlp;
mod processor;
mod queue;
mod reader;
mod redact;
mod rollup;
mod sink;
mod stats;
mod worker;

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::reader::MetricReader as _;
use opentelemetry_sdk::metrics::{InstrumentKind, Temporality};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::sync::mpsc;

pub use enrich::{CostOf, CostOutcome};
pub use handle::Handle;
pub use processor::PipelineProcessor;
pub use reader::PipelineReader;
pub use redact::{REDACTION_FAILED, Redactor, SPAN_NAME};
pub use stats::{ExportStats, LossReason, Report};

use self::console::{Console, Output};
use self::desk::Desk;
use self::enrich::Enricher;
use self::queue::SpanQueue;
use self::redact::Guard;
use self::sink::{CustomMetrics, CustomSpans, MetricSink, SpanSink};
use self::stats::Tally;
use self::worker::{Collection, Progress, Worker};
pub(crate) use self::worker::{silence, silent_runtime};
use crate::Error;
#[cfg(feature = "otlp")]
use crate::config::Signal;
use crate::config::{Config, ExporterKind};

/// Runs before each collection of metrics, on the exporter's thread.
pub type BeforeCollect = Arc<dyn Fn() + Send + Sync>;
/// Sees each collection of metrics before it is exported, on the exporter's thread.
pub type Observer = Arc<dyn Fn(&ResourceMetrics) + Send + Sync>;
/// Sees each span as it is about to be exported, on the exporter's thread.
pub type SpanObserver = Arc<dyn Fn(&SpanData) + Send + Sync>;

/// How long the start waits for the exporter's thread to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What a pipeline is made of besides its [`Config`].
#[derive(Default)]
#[must_use]
pub struct PipelineParts {
    stats: Option<Arc<ExportStats>>,
    spans: Option<CustomSpans>,
    metrics: Option<CustomMetrics>,
    cost: Option<Arc<dyn CostOf>>,
    redactors: Vec<Redactor>,
    before_collect: Vec<BeforeCollect>,
    observers: Vec<Observer>,
    span_observers: Vec<SpanObserver>,
    console: Option<Output>,
}

impl PipelineParts {
    /// Nothing besides the configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts into these counters, e.g. because metrics already show them.
    pub fn with_stats(mut self, stats: Arc<ExportStats>) -> Self {
        self.stats = Some(stats);
        self
    }

    /// Sends spans to this exporter instead of the configured one. It is called on the exporter's thread,
    /// inside its runtime, with enriched and redacted batches, and is expected to do its own retries.
    pub fn with_span_exporter(mut self, exporter: impl SpanExporter + 'static) -> Self {
        self.spans = Some(CustomSpans::new(exporter));
        self
    }

    /// Sends metrics to this exporter instead of the configured one.
    pub fn with_metric_exporter(mut self, exporter: impl PushMetricExporter) -> Self {
        self.metrics = Some(CustomMetrics::new(exporter));
        self
    }

    /// Sets what says the cost of model calls.
    pub fn with_cost(mut self, cost: Arc<dyn CostOf>) -> Self {
        self.cost = Some(cost);
        self
    }

    /// Adds a redaction hook; they run in the order in which they were added.
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.redactors.push(redactor);
        self
    }

    /// Adds a hook that runs before each collection of metrics.
    pub fn with_before_collect(mut self, hook: BeforeCollect) -> Self {
        self.before_collect.push(hook);
        self
    }

    /// Adds an observer of each collection of metrics.
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observers.push(observer);
        self
    }

    /// Adds an observer of each span, as it is about to be exported.
    pub fn with_span_observer(mut self, observer: SpanObserver) -> Self {
        self.span_observers.push(observer);
        self
    }

    /// Sets where the exporter `console` writes, instead of standard output.
    pub fn with_console(mut self, output: impl Write + Send + 'static) -> Self {
        self.console = Some(Arc::new(Mutex::new(output)));
        self
    }
}

impl fmt::Debug for PipelineParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineParts")
            .field("spans", &self.spans)
            .field("metrics", &self.metrics)
            .field("cost", &self.cost)
            .field("redactors", &self.redactors.len())
            .field("before_collect", &self.before_collect.len())
            .field("observers", &self.observers.len())
            .field("span_observers", &self.span_observers.len())
            .finish_non_exhaustive()
    }
}

/// A running export pipeline. Dropping it shuts it down, at most
/// [`BatchConfig::drop_timeout`](crate::BatchConfig::drop_timeout) long.
#[derive(Debug)]
pub struct Pipeline {
    processor: PipelineProcessor,
    reader: PipelineReader,
    stats: Arc<ExportStats>,
    drop_timeout: Duration,
}

impl Pipeline {
    /// Starts the exporter's thread.
    ///
    /// # Errors
    /// A setting that cannot be honoured, e.g. a certificate that cannot be read, or no thread to be had.
    /// That a destination does not answer is no error here: it may come up later.
    pub fn start(config: &Config, resource: Resource, parts: PipelineParts) -> Result<Self, Error> {
        config.validate()?;
        let stats = parts.stats.clone().unwrap_or_default();
        let spans_go = parts.spans.is_some() || config.traces_exporter != ExporterKind::None;
        let queue = Arc::new(SpanQueue::new(&config.batch, spans_go, Arc::clone(&stats)));
        let (commands, receiver) = mpsc::channel(handle::COMMANDS);
        let desk = Desk::new(receiver, Arc::clone(&queue), Arc::clone(&stats), config.batch.drop_timeout);
        let reader = PipelineReader::new(config.temporality);
        let pipeline = Self {
            processor: PipelineProcessor {
                queue: Arc::clone(&queue),
                handle: Handle::new(commands, Arc::clone(&stats)),
            },
            reader: reader.clone(),
            stats: Arc::clone(&stats),
            drop_timeout: config.batch.drop_timeout,
        };
        let (ready, started) = sync_channel(1);
        let config = config.clone();
        let body = move || {
            silence();
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            // What has to be built inside the runtime is: clients built elsewhere panic without a reactor.
            let built = catch_unwind(AssertUnwindSafe(|| {
                build(&config, &resource, parts, queue, stats, desk, reader)
            }))
            .unwrap_or_else(|_| Err(Error::export("building the exporters panicked")));
            match built {
                Ok((worker, runtime)) => {
                    let _ = ready.send(Ok(()));
                    worker.run(runtime);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        };
        thread::Builder::new()
            .name("agentvitals-export".to_owned())
            .spawn(body)
            .map_err(|error| Error::export(format!("no thread for the exporter: {error}")))?;
        started
            .recv_timeout(START_TIMEOUT)
            .map_err(|_| Error::timeout("the exporter's thread did not start"))??;
        Ok(pipeline)
    }

    /// What to add to the tracer provider.
    pub fn processor(&self) -> PipelineProcessor {
        self.processor.clone()
    }

    /// What to add to the meter provider. Add it to one only.
    pub fn reader(&self) -> PipelineReader {
        self.reader.clone()
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<ExportStats> {
        &self.stats
    }

    /// A handle that can flush and shut down, cheap to clone.
    pub fn handle(&self) -> Handle {
        self.processor.handle.clone()
    }

    /// Exports everything that ended before the call, and the metrics. Begins when it is called, whether the
    /// future is awaited or not, and completes within the deadline on any runtime or none.
    ///
    /// # Errors
    /// The deadline passed first; the spans stay queued and are tried further. What could not be delivered
    /// for another reason is no error, but counted in the report.
    pub fn flush(&self, deadline: Duration) -> impl Future<Output = Result<Report, Error>> + Send + use<> {
        self.processor.handle.flush(deadline)
    }

    /// [`flush`](Self::flush) for callers that do not await.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn flush_blocking(&self, deadline: Duration) -> Result<Report, Error> {
        self.processor.handle.flush_blocking(deadline)
    }

    /// Collects the metrics, so that the observers see what has been measured up to now, without exporting them. Spans
    /// are left alone, and an export that goes on is not waited for.
    ///
    /// With the temporality `delta` (or `lowmemory`) what is collected is gone from the next collection. There the
    /// metrics are exported too, after the answer, and an export that goes on *is* waited for.
    ///
    /// After a shutdown nothing is collected: the observers have seen the last.
    ///
    /// # Errors
    /// The deadline passed first, a hook or observer panicked, or no meter provider has the reader.
    pub fn collect_blocking(&self, deadline: Duration) -> Result<(), Error> {
        self.processor.handle.collect_blocking(deadline)
    }

    /// What collects, for a thread of its own that is ended before the pipeline: [`collect_blocking`](Self::collect_blocking)
    /// without its answer.
    pub(crate) fn collector(&self, deadline: Duration) -> impl Fn() + Send + 'static {
        let handle = self.processor.handle.clone();
        move || {
            // Without a new collection the last one is still true, only older.
            let _ = handle.collect_blocking(deadline);
        }
    }

    /// Exports everything within the deadline, counts the rest as lost and ends the exporter's thread.
    /// Spans that end later are counted as lost. A second shutdown does nothing and reports the same.
    ///
    /// # Errors
    /// Only if a hook of the user's blocks the exporter's thread. Losses are no error, but in the report.
    pub fn shutdown(&self, deadline: Duration) -> impl Future<Output = Result<Report, Error>> + Send + use<> {
        self.processor.handle.shutdown(deadline)
    }

    /// [`shutdown`](Self::shutdown) for callers that do not await.
    ///
    /// # Errors
    /// As [`shutdown`](Self::shutdown).
    pub fn shutdown_blocking(&self, deadline: Duration) -> Result<Report, Error> {
        self.processor.handle.shutdown_blocking(deadline)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.processor.handle.shutdown_blocking(self.drop_timeout);
    }
}

fn build(
    config: &Config,
    resource: &Resource,
    mut parts: PipelineParts,
    queue: Arc<SpanQueue>,
    stats: Arc<ExportStats>,
    desk: Desk,
    reader: PipelineReader,
) -> Result<(Worker, tokio::runtime::Runtime), Error> {
    let runtime =
        silent_runtime().map_err(|error| Error::export(format!("no runtime for the exporter: {error}")))?;
    let (spans, metrics) = {
        let _inside = runtime.enter();
        sinks(config, resource, &mut parts)?
    };
    let collection = Collection {
        // Whoever collects a difference since the last collection has to export it.
        is_free: metrics.is_nowhere()
            || reader.temporality(InstrumentKind::Histogram) == Temporality::Cumulative,
        reader,
        before_collect: parts.before_collect,
        observers: parts.observers,
    };
    let guard = Guard::new(config.content, config.limits.clone(), parts.redactors, Arc::clone(&stats));
    let worker = Worker {
        queue,
        enricher: Enricher::new(guard, parts.cost, Arc::clone(&stats)).with_observers(parts.span_observers),
        tally: Tally::new(Arc::clone(&stats)),
        stats,
        desk,
        spans,
        metrics,
        collection,
        schedule_delay: config.batch.schedule_delay,
        export_timeout: config.batch.export_timeout,
        metric_interval: config.metric_interval,
        metric_timeout: config.metric_timeout,
        progress: Progress::default(),
    };
    Ok((worker, runtime))
}

fn sinks(
    config: &Config,
    resource: &Resource,
    parts: &mut PipelineParts,
) -> Result<(SpanSink, MetricSink), Error> {
    let output = parts.console.take().unwrap_or_else(|| Arc::new(Mutex::new(std::io::stdout())));
    let spans = match (parts.spans.take(), config.traces_exporter) {
        (Some(mut custom), _) => {
            custom.set_resource(resource);
            SpanSink::Custom(custom)
        }
        (None, ExporterKind::Console) => SpanSink::Console(Console::new(Arc::clone(&output))),
        (None, ExporterKind::None) => SpanSink::Nowhere,
        #[cfg(feature = "otlp")]
        (None, ExporterKind::Otlp) => {
            let destination = config.destination(Signal::Traces)?;
            let client = otlp::TraceClient::new(&destination, resource, config.batch.max_request_bytes)?;
            SpanSink::Otlp(Box::new(client))
        }
        #[cfg(not(feature = "otlp"))]
        (None, ExporterKind::Otlp) => return Err(no_otlp("OTEL_TRACES_EXPORTER")),
    };
    let metrics = match (parts.metrics.take(), config.metrics_exporter) {
        (Some(custom), _) => MetricSink::Custom(custom),
        (None, ExporterKind::Console) => MetricSink::Console(Console::new(output)),
        (None, ExporterKind::None) => MetricSink::Nowhere,
        #[cfg(feature = "otlp")]
        (None, ExporterKind::Otlp) => {
            let destination = config.destination(Signal::Metrics)?;
            MetricSink::Otlp(Box::new(otlp::MetricClient::new(&destination, config.batch.max_request_bytes)?))
        }
        #[cfg(not(feature = "otlp"))]
        (None, ExporterKind::Otlp) => return Err(no_otlp("OTEL_METRICS_EXPORTER")),
    };
    Ok((spans, metrics))
}

#[cfg(not(feature = "otlp"))]
fn no_otlp(variable: &str) -> Error {
    Error::config(format!(
        "{variable} is \"otlp\", but this build has no OTLP; enable the feature otlp-grpc or otlp-http, or choose \
         console or none"
    ))
}

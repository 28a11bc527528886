//! The whole: what a program holds while it is observed.
//!
//! The only module that knows all others. From the top of the ladder to its foot: [`Builder::install`] sets a global
//! subscriber, [`Builder::build`] sets nothing global, [`Telemetry::layer`] is traces and metrics for a registry of your
//! own, [`Telemetry::agent_layer`] is the metrics alone, beside an OpenTelemetry layer that is there already.

mod alerting;
mod builder;
mod health;
mod measured;
mod observables;
mod parts;
mod pricing;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use serde::Serialize;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Layered;
use tracing_subscriber::registry::LookupSpan;

pub use self::alerting::Notices;
pub use self::builder::{Builder, DEFAULT_MAX_OPEN_OPERATIONS};
pub use self::health::{Changes, DEFAULT_HEALTH_INTERVAL, OperationHealth, SystemHealth};
use self::health::{Examiner, Watcher};
pub use self::measured::Measured;
use crate::cost::{CostReport, Ledger};
use crate::export::{Pipeline, Report};
use crate::instruments::Instruments;
use crate::layer::{AgentLayer, Shared};
use crate::operation::Observe as _;
use crate::views::{Performance, Totals, Views};
use crate::{Clock, Config, Error, OperationKind, names};

/// The name and version under which our spans and metrics are recorded.
pub(crate) const SCOPE: &str = "agentvitals";

/// How long somebody who asks for numbers waits for the newest.
const COLLECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Traces and metrics in one layer: what [`Telemetry::layer`] gives.
pub type VitalsLayer<S> = Layered<OpenTelemetryLayer<S, SdkTracer>, AgentLayer, S>;

/// Starts to configure: reads the `OTEL_*` variables when it is built.
///
/// ```no_run
/// # fn main() -> Result<(), agentvitals::Error> {
/// let vitals = agentvitals::builder().service_name("support-bot").install()?;
/// // ... the program ...
/// vitals.shutdown_blocking(std::time::Duration::from_secs(5))?;
/// # Ok(())
/// # }
/// ```
pub fn builder() -> Builder {
    Builder::default()
}

/// Running telemetry. Dropping it shuts it down, for at most
/// [`BatchConfig::drop_timeout`](crate::BatchConfig::drop_timeout), so keep it as long as the program runs.
#[derive(Debug)]
#[must_use = "telemetry stops when this is dropped"]
pub struct Telemetry {
    config: Config,
    clock: Clock,
    started_ns: u64,
    shared: Arc<Shared>,
    instruments: Arc<Instruments>,
    ledger: Arc<Ledger>,
    totals: Arc<Totals>,
    views: Arc<Views>,
    examiner: Arc<Examiner>,
    // Before the pipeline, which its thread collects from.
    _watcher: Watcher,
    tracer_provider: SdkTracerProvider,
    meter_provider: SdkMeterProvider,
    _worker: Worker,
    // Last, so that it is dropped last: what the others still send on their way out goes through it.
    pipeline: Pipeline,
}

/// Said in [`Status::warnings`] and, once, in the program's log.
const BEHIND_OTEL_LAYER: &str = "agent_layer() was added after the OpenTelemetry layer, so errors that it sees do not reach the \
                                 spans: add it before";

/// The thread that measures finished operations.
#[derive(Debug)]
struct Worker {
    thread: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Worker {
    fn start(shared: &Arc<Shared>, warm_up: impl FnOnce() + Send + 'static) -> Result<Self, Error> {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (stopped, measured) = (stop.clone(), shared.clone());
        let thread = std::thread::Builder::new()
            .name("agentvitals-measure".into())
            .spawn(move || {
                warm_up();
                let mut warned = false;
                while !stopped.load(std::sync::atomic::Ordering::Acquire) {
                    std::thread::park();
                    measured.settle();
                    if !warned && measured.is_behind_otel_layer() {
                        warned = true;
                        measured.in_its_subscriber(
                            || tracing::warn!(target: "agentvitals", "{BEHIND_OTEL_LAYER}"),
                        );
                    }
                }
            })
            .map_err(|error| Error::install(format!("cannot start the measuring thread: {error}")))?;
        shared.set_worker(thread.thread().clone());
        Ok(Self { thread: Mutex::new(Some(thread)), stop })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Release);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            thread.thread().unpark();
            // It only fails if the thread panicked, and then there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

/// Whether telemetry works, and what it could not do: see [`Telemetry::status`].
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Whether a subscriber has taken the layer in. If it is `false` although the program runs, nothing is measured:
    /// the layer was not added, or it was wrapped in `Option`, `Vec` or `reload`.
    pub attached: bool,
    /// Whether the exporter's thread works.
    pub up: bool,
    /// How long telemetry has been running.
    pub uptime: Duration,
    /// Agents that run or did within the last five minutes.
    pub agents_seen: usize,
    /// Operations that have been seen since the start.
    pub operations: u64,
    /// Operations that were not measured because too many were going on.
    pub operations_refused: u64,
    /// Model and tool calls that no agent is known to have made. If there are more than the program makes outside of
    /// agents, work was spawned without its span: see [`propagation::spawn`](crate::propagation::spawn).
    pub operations_orphaned: u64,
    /// Names that were replaced by `other` because the process has too many.
    pub names_refused: u64,
    /// Measurements that went to an overflow series, by instrument.
    pub series_overflow: std::collections::BTreeMap<&'static str, u64>,
    /// What was exported and what was lost.
    pub export: Report,
    /// What is set up in a way that cannot work, and how to mend it.
    pub warnings: Vec<String>,
}

impl Telemetry {
    /// Traces, metrics and cost, for a registry of your own: one layer for one registry.
    ///
    /// Filters may be put on it (`.with_filter(..)`): what they hide is not measured. Do not wrap it in `Option` or
    /// `Vec`: they do not pass on what the layer needs to know ([`Status::attached`] tells).
    ///
    /// ```
    /// use tracing_subscriber::layer::SubscriberExt as _;
    /// # let telemetry = agentvitals::builder().without_export().build()?;
    /// let subscriber = tracing_subscriber::registry().with(telemetry.layer());
    /// # Ok::<(), agentvitals::Error>(())
    /// ```
    pub fn layer<S>(&self) -> VitalsLayer<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        // The agent layer comes first: behind the OpenTelemetry layer it could not mark a span any more. Source
        // location, threads and busy times cost a third of a span and half of its bytes, and say little about agents.
        let spans = tracing_opentelemetry::layer()
            .with_tracer(self.tracer())
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            // Whether an operation failed is for the agent layer to say: an event with an error may be a log line.
            .with_error_events_to_status(false)
            .with_context_activation(self.config.context_activation);
        self.agent_layer().and_then(spans)
    }

    /// Metrics and cost alone, for a registry that has a `tracing_opentelemetry` layer already. Add it before that
    /// layer: only then can errors that it sees be put on the spans.
    ///
    /// ```
    /// use tracing_subscriber::layer::SubscriberExt as _;
    /// # let telemetry = agentvitals::builder().without_export().build()?;
    /// let subscriber = tracing_subscriber::registry()
    ///     .with(telemetry.agent_layer())
    ///     .with(tracing_opentelemetry::layer());
    /// # Ok::<(), agentvitals::Error>(())
    /// ```
    pub fn agent_layer(&self) -> AgentLayer {
        AgentLayer::new(self.shared.clone())
    }

    /// The tracer behind [`layer`](Self::layer).
    pub fn tracer(&self) -> SdkTracer {
        self.tracer_provider.tracer(SCOPE)
    }

    /// The tracer provider, for spans that do not come from `tracing`. Nothing global is set.
    pub fn tracer_provider(&self) -> &SdkTracerProvider {
        &self.tracer_provider
    }

    /// The meter provider: instruments made from it are exported with ours.
    pub fn meter_provider(&self) -> &SdkMeterProvider {
        &self.meter_provider
    }

    /// A meter for metrics of your own: they are exported, and later evaluated, together with ours.
    pub fn meter(&self, name: &'static str) -> Meter {
        self.meter_provider.meter(name)
    }

    /// The configuration that is in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Measures something that has no span: see [`Measured`].
    pub fn record(&self, measured: &Measured) {
        let mut operation = measured.operation();
        operation.ended_ns = self.clock.now_ns();
        if operation.kind == Some(OperationKind::Agent) {
            self.instruments.started(operation.agent);
        }
        self.instruments.finished(&operation);
    }

    /// What model calls have cost so far, by provider, model and agent. Waits until finished calls are priced.
    pub fn cost(&self) -> CostReport {
        self.measure();
        self.ledger.report()
    }

    /// How long the runs of an agent took since the start, and how many failed; `None` if none has ended.
    ///
    /// Collects first, so that every run counts that has ended by now, and reads the aggregates that are exported: what
    /// this says and what a backend shows is the same. Works without any export. Waits at most a second or two if the
    /// exporter's thread is busy, and then says what the last collection held. Runs that went to the overflow series
    /// ([`Status::series_overflow`]) belong to no agent.
    pub fn performance_since_start(&self, agent: &str) -> Option<Performance> {
        self.performance_of(OperationKind::Agent, agent)
    }

    /// [`performance_since_start`](Self::performance_since_start) of tools, workflows, models (as requested), operations of
    /// your own; of the other kinds by the name of the operation. MCP requests have none.
    pub fn performance_of(&self, kind: OperationKind, name: &str) -> Option<Performance> {
        // Without a new collection the last one is still true, only older; after a shutdown it is the final one.
        let _ = self.pipeline.collect_blocking(COLLECT_TIMEOUT);
        self.totals.performance(kind, names::cut(name))
    }

    /// What the collected aggregates say, by window: what health reads. [`collect`](Self::collect) makes it the newest.
    pub fn views(&self) -> &Arc<Views> {
        &self.views
    }

    /// Collects the metrics now, without exporting them, so that [`views`](Self::views) know of everything that has ended.
    ///
    /// # Errors
    /// The exporter's thread is busy, or telemetry was shut down ([`Error::is_timeout`]): the views then say what the last
    /// collection held.
    pub fn collect(&self) -> Result<(), Error> {
        self.pipeline.collect_blocking(COLLECT_TIMEOUT)
    }

    /// Agent runs that are going on, by agent.
    pub fn active_tasks(&self) -> std::collections::BTreeMap<&'static str, i64> {
        self.measure();
        self.instruments.active().into_iter().map(|(agent, count)| (agent.as_str(), count)).collect()
    }

    /// Agents and tools whose newest call failed.
    pub fn open_failures(&self) -> Vec<(OperationKind, &'static str)> {
        self.measure();
        self.instruments.open_failures().into_iter().map(|(kind, name)| (kind, name.as_str())).collect()
    }

    /// Whether telemetry works.
    pub fn status(&self) -> Status {
        self.measure();
        let (operations, operations_refused) = self.shared.counts();
        let attached = self.shared.is_attached();
        let mut warnings = self.config.warnings.clone();
        if !attached && operations > 0 {
            warnings.push(
                "the layer is wrapped in Option, Vec or reload, which keep from it what it needs: add it directly".into(),
            );
        }
        if self.shared.is_behind_otel_layer() {
            warnings.push(BEHIND_OTEL_LAYER.into());
        }
        Status {
            attached,
            up: self.pipeline.stats().up(),
            uptime: Duration::from_nanos(self.clock.now_ns().saturating_sub(self.started_ns)),
            agents_seen: self.instruments.agents_seen(),
            operations,
            operations_refused,
            operations_orphaned: self.instruments.orphans(),
            names_refused: names::refused(),
            series_overflow: self.instruments.overflows(),
            export: self.pipeline.stats().report(),
            warnings,
        }
    }

    /// Measures everything that is over.
    fn measure(&self) {
        self.shared.sweep();
        self.shared.settle();
    }

    /// Measures the operations whose spans have closed, on this thread, instead of soon on the SDK's own. Who reads numbers
    /// from telemetry need not call it; a simulation on a manual clock may, to be the same each time.
    pub fn settle(&self) {
        self.shared.settle();
    }

    /// Sends everything that has ended so far, spans and metrics, and tells what was sent and what was lost.
    ///
    /// Works on every runtime and on none.
    ///
    /// # Errors
    /// The deadline passed before all was sent ([`Error::is_timeout`]), or the destination refused
    /// ([`Error::is_export`]).
    pub fn flush(&self, deadline: Duration) -> impl Future<Output = Result<Report, Error>> + Send + use<> {
        self.pipeline.flush(deadline)
    }

    /// [`flush`](Self::flush) for code that is not asynchronous.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn flush_blocking(&self, deadline: Duration) -> Result<Report, Error> {
        self.pipeline.flush_blocking(deadline)
    }

    /// Sends what has ended and stops, within [`BatchConfig::drop_timeout`](crate::BatchConfig::drop_timeout). What
    /// cannot be sent by then is counted as lost in the report.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn shutdown(&self) -> impl Future<Output = Result<Report, Error>> + Send + use<> {
        self.shutdown_within(self.config.batch.drop_timeout)
    }

    /// [`shutdown`](Self::shutdown) with a deadline of your own.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn shutdown_within(
        &self,
        deadline: Duration,
    ) -> impl Future<Output = Result<Report, Error>> + Send + use<> {
        self.pipeline.shutdown(deadline)
    }

    /// [`shutdown_within`](Self::shutdown_within) for code that is not asynchronous.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn shutdown_blocking(&self, deadline: Duration) -> Result<Report, Error> {
        self.pipeline.shutdown_blocking(deadline)
    }

    /// Sends one span of its own through the whole pipeline and tells whether it arrived: a proof at the start of a
    /// program that telemetry is set up right.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); also if the sampler drops the span.
    pub async fn self_test(&self, deadline: Duration) -> Result<Report, Error> {
        use opentelemetry::trace::{Span as _, Tracer as _};

        let mut span = self.tracer().start("agentvitals.self_test");
        if !span.is_recording() {
            return Err(Error::config("the sampler drops every span, so none can prove that export works"));
        }
        span.end();
        let report = self.flush(deadline).await?;
        match &report.last_error {
            Some(error) if !report.is_complete() => Err(Error::export(error.clone())),
            _ => Ok(report),
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        // Before the providers go: without them the last metrics could not be collected. After a shutdown this does
        // nothing; what is lost now is in nobody's report any more.
        let _ = self.pipeline.shutdown_blocking(self.config.batch.drop_timeout);
    }
}

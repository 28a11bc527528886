//! The telemetry of a demo: the SDK between the agents and an OTLP endpoint, and what can be read back of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentvitals::opentelemetry_sdk::metrics::data::ResourceMetrics;
use agentvitals::opentelemetry_sdk::metrics::exporter::PushMetricExporter as _;
use agentvitals::testing::{MetricCapture, ReceivedPoint};
use agentvitals::{Config, Protocol, SamplerConfig, Telemetry};
use futures_util::FutureExt as _;
use tracing::Dispatch;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;

use super::Options;
use super::embedded::Embedded;
use super::ledger::Ledger;
use super::report::{Sent, Summary};
use super::runs::Run;
use crate::Error;

/// How long the last export may take. A receiver on loopback takes milliseconds.
const EXPORT_DEADLINE: Duration = Duration::from_secs(10);
/// How long a span waits for others. The run of a demo is short, and its end should not have everything to send.
const BATCH_DELAY: Duration = Duration::from_millis(200);
/// Spans that may be on their way or be kept, whatever the runs need.
const SPANS: std::ops::RangeInclusive<usize> = 16_384..=4_000_000;
/// Bytes of spans that may be on their way.
const QUEUE_BYTES: usize = 1 << 30;

/// The running telemetry.
pub(super) struct Pipeline {
    vitals: Telemetry,
    dispatch: Dispatch,
    source: Source,
}

/// Where the figures come from.
enum Source {
    /// What the demo's own collector keeps.
    Collector(Box<Embedded>),
    /// An endpoint that cannot be asked: what the agents recorded, and what was collected for export.
    Agents { ledger: Ledger, collected: Arc<Collected> },
}

impl Pipeline {
    /// Starts telemetry to an endpoint, or to a collector of its own.
    pub(super) async fn start(options: &Options, runs: &[Run]) -> Result<Self, Error> {
        let expected = runs.iter().map(|run| 1 + run.agents.len() + run.steps.len()).sum::<usize>();
        let spans = expected.clamp(*SPANS.start(), *SPANS.end());
        match &options.endpoint {
            Some(endpoint) => Self::to_endpoint(endpoint, spans),
            None => Self::to_collector(options, runs, spans).await,
        }
    }

    async fn to_collector(options: &Options, runs: &[Run], spans: usize) -> Result<Self, Error> {
        let embedded = Embedded::start(options, runs).await?;
        // Not from the environment: it may say where the user's own telemetry goes, this is the demo's.
        let config = Config::default().with_endpoint(embedded.endpoint()).with_protocol(Protocol::Grpc);
        let vitals = start(config, spans, |builder| builder)?;
        let subscriber = tracing_subscriber::registry().with(filter_fn(is_ours)).with(vitals.layer());
        let source = Source::Collector(Box::new(embedded));
        Ok(Self { vitals, dispatch: Dispatch::new(subscriber), source })
    }

    fn to_endpoint(endpoint: &str, spans: usize) -> Result<Self, Error> {
        if !endpoint.contains("://") {
            let what = format!("--endpoint {endpoint:?} is no URL, expected one like http://127.0.0.1:4317");
            return Err(Error::input(what));
        }
        let config = Config::from_env().map_err(|error| Error::input(error.to_string()))?;
        if config.disabled {
            return Err(Error::input("OTEL_SDK_DISABLED is set: nothing would be sent to the endpoint"));
        }
        // The demo is about everything arriving; what a sampler drops would look like a loss.
        let config = config.with_endpoint(endpoint).with_sampler(SamplerConfig::always_on());
        let collected = Arc::new(Collected::default());
        let observer = {
            let collected = Arc::clone(&collected);
            Arc::new(move |metrics: &ResourceMetrics| collected.add(metrics))
        };
        let vitals = start(config, spans, |builder| builder.observe_metrics(observer))?;
        let ledger = Ledger::default();
        let subscriber =
            tracing_subscriber::registry().with(filter_fn(is_ours)).with(vitals.layer()).with(ledger.clone());
        Ok(Self { vitals, dispatch: Dispatch::new(subscriber), source: Source::Agents { ledger, collected } })
    }

    /// What the agents' spans go to.
    pub(super) fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Sends what is left and counts. The collector still runs, if there is one.
    pub(super) async fn finish(self) -> (Summary, Option<Embedded>) {
        let Self { vitals, dispatch, source } = self;
        let shutdown = vitals.shutdown_within(EXPORT_DEADLINE).await;
        let status = vitals.status();
        let report = status.export;
        // What is neither exported nor counted as lost by now is lost, too.
        let lost = report.lost().max(report.spans_ended.saturating_sub(report.spans_exported));
        let sent = Sent::new(report.spans_exported, lost);
        let elsewhere = matches!(source, Source::Agents { .. });
        let mut embedded = None;
        let mut summary = match source {
            Source::Collector(collector) => {
                let summary = collector.summary(sent).await;
                embedded = Some(*collector);
                summary
            }
            Source::Agents { ledger, collected } => {
                let mut spans = ledger.take();
                super::ledger::price(&mut spans);
                Summary::of_agents(&spans, &collected.take(), sent)
            }
        };
        drop(dispatch);
        let failure = shutdown
            .err()
            .map(|error| error.to_string())
            .or_else(|| report.last_error.filter(|_| lost > 0 || report.metric_exports == 0));
        match failure {
            // Many backends take spans alone.
            Some(failure) if elsewhere && lost == 0 => summary.warn(failure),
            Some(failure) => summary.distrust(failure),
            None => {}
        }
        for warning in status.warnings {
            summary.warn(warning);
        }
        (summary, embedded)
    }
}

fn start(
    config: Config,
    spans: usize,
    more: impl FnOnce(agentvitals::Builder) -> agentvitals::Builder,
) -> Result<Telemetry, Error> {
    let batch = config.batch.clone().with_queue_spans(spans).with_queue_bytes(QUEUE_BYTES);
    let config =
        config.with_service_name("agentvitals-demo").with_batch(batch.with_schedule_delay(BATCH_DELAY));
    more(agentvitals::builder().config(config)).build().map_err(|error| {
        if error.is_config() { Error::input(error.to_string()) } else { Error::failed(error.to_string()) }
    })
}

/// Whether a span or event is the agents' own: those of the HTTP stack below them are not the demo's subject.
fn is_ours(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.target() == super::agent::TARGET
}

/// The metrics as they were collected for export.
#[derive(Debug, Default)]
struct Collected(Mutex<Vec<ReceivedPoint>>);

impl Collected {
    /// A cumulative collection replaces the one before; deltas (the environment may ask for them) add up.
    fn add(&self, metrics: &ResourceMetrics) {
        let capture = MetricCapture::new();
        // Nothing in it waits.
        capture.export(metrics).now_or_never();
        let mut points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        points.retain(|point| point.temporality == "delta");
        points.extend(capture.metrics());
    }

    fn take(&self) -> Vec<ReceivedPoint> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

//! Where batches go: OTLP, standard output, or an exporter of the user's.
//!
//! One destination a signal so far; several would be a list of these, each with a queue of its own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::console::Console;
use super::limit::Limit;
use super::stats::{ExportStats, LossReason, Tally};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// `SpanExporter` in a form that can be boxed.
trait DynSpanExporter: Send + fmt::Debug {
    fn export(&self, batch: Vec<SpanData>) -> BoxFuture<'_, OTelSdkResult>;
    fn set_resource(&mut self, resource: &Resource);
    fn shutdown(&self, timeout: Duration);
}

impl<T: SpanExporter> DynSpanExporter for T {
    fn export(&self, batch: Vec<SpanData>) -> BoxFuture<'_, OTelSdkResult> {
        Box::pin(SpanExporter::export(self, batch))
    }

    fn set_resource(&mut self, resource: &Resource) {
        SpanExporter::set_resource(self, resource);
    }

    fn shutdown(&self, timeout: Duration) {
        let _ = SpanExporter::shutdown_with_timeout(self, timeout);
    }
}

trait DynMetricExporter: Send {
    fn export<'a>(&'a self, metrics: &'a ResourceMetrics) -> BoxFuture<'a, OTelSdkResult>;
    fn shutdown(&self, timeout: Duration);
}

impl<T: PushMetricExporter> DynMetricExporter for T {
    fn export<'a>(&'a self, metrics: &'a ResourceMetrics) -> BoxFuture<'a, OTelSdkResult> {
        Box::pin(PushMetricExporter::export(self, metrics))
    }

    fn shutdown(&self, timeout: Duration) {
        let _ = PushMetricExporter::shutdown_with_timeout(self, timeout);
    }
}

/// A span exporter of the user's own.
pub(crate) struct CustomSpans(Box<dyn DynSpanExporter>);

impl CustomSpans {
    pub(crate) fn new(exporter: impl SpanExporter + 'static) -> Self {
        Self(Box::new(exporter))
    }

    pub(crate) fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

impl fmt::Debug for CustomSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A metric exporter of the user's own.
pub(crate) struct CustomMetrics(Box<dyn DynMetricExporter>);

impl CustomMetrics {
    pub(crate) fn new(exporter: impl PushMetricExporter) -> Self {
        Self(Box::new(exporter))
    }
}

impl fmt::Debug for CustomMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomMetrics")
    }
}

#[derive(Debug)]
pub(crate) enum SpanSink {
    #[cfg(feature = "otlp")]
    Otlp(Box<super::otlp::TraceClient>),
    Console(Console),
    Custom(CustomSpans),
    Nowhere,
}

impl SpanSink {
    /// Delivers a batch before the limit, and counts every span of it as exported or lost.
    pub(crate) async fn export(&mut self, spans: Vec<SpanData>, mut limit: Limit, tally: &Tally) {
        let count = spans.len() as u64;
        match self {
            #[cfg(feature = "otlp")]
            Self::Otlp(client) => client.export(spans, &mut limit, tally).await,
            Self::Console(console) => {
                settle(console.spans(&spans).map_err(|error| error.to_string()), count, tally)
            }
            Self::Custom(exporter) => {
                tokio::select! {
                    biased;
                    result = exporter.0.export(spans) => {
                        settle(result.map_err(|error| error.to_string()), count, tally);
                    }
                    () = limit.passed() => {
                        tally.lost(limit.reason(), count);
                        tally.stats.set_last_error("the span exporter did not finish before its deadline".to_owned());
                    }
                }
            }
            Self::Nowhere => {}
        }
    }

    pub(crate) fn shutdown(&self, timeout: Duration) {
        if let Self::Custom(exporter) = self {
            exporter.0.shutdown(timeout);
        }
    }
}

fn settle(result: Result<(), String>, count: u64, tally: &Tally) {
    match result {
        Ok(()) => tally.exported(count),
        Err(error) => {
            tally.lost(LossReason::ExportFailed, count);
            tally.stats.set_last_error(format!("spans were not exported: {error}"));
        }
    }
}

#[derive(Debug)]
pub(crate) enum MetricSink {
    #[cfg(feature = "otlp")]
    Otlp(Box<super::otlp::MetricClient>),
    Console(Console),
    Custom(CustomMetrics),
    Nowhere,
}

impl MetricSink {
    /// Delivers a collection before the limit and counts it.
    pub(crate) async fn export(&mut self, metrics: &ResourceMetrics, mut limit: Limit, stats: &ExportStats) {
        let result = match self {
            #[cfg(feature = "otlp")]
            Self::Otlp(client) => client.export(metrics, &mut limit, stats).await,
            Self::Console(console) => console.metrics(metrics).map_err(|error| error.to_string()),
            Self::Custom(exporter) => tokio::select! {
                biased;
                result = exporter.0.export(metrics) => result.map_err(|error| error.to_string()),
                () = limit.passed() => Err("the metric exporter did not finish before its deadline".to_owned()),
            },
            Self::Nowhere => return,
        };
        stats.add_metric_export(result.is_ok());
        if let Err(error) = result {
            stats.set_last_error(format!("metrics were not exported: {error}"));
        }
    }

    pub(crate) fn is_nowhere(&self) -> bool {
        matches!(self, Self::Nowhere)
    }

    pub(crate) fn shutdown(&self, timeout: Duration) {
        if let Self::Custom(exporter) = self {
            exporter.0.shutdown(timeout);
        }
    }
}

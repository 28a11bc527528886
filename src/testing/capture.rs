//! Capture in memory, without a network.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::point::ReceivedPoint;
use super::receiver::OtlpReceiver;
use super::span::{Attributes, ReceivedSpan};
use super::store::Received;

/// A span exporter that keeps what it gets. Clones share what they keep: give one to the tracer provider, keep
/// the other.
///
/// ```
/// use agentvitals::testing::Capture;
/// use opentelemetry::trace::{Tracer as _, TracerProvider as _};
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let capture = Capture::new();
/// let provider = SdkTracerProvider::builder().with_simple_exporter(capture.clone()).build();
/// provider.tracer("test").in_span("work", |_| ());
/// assert_eq!(capture.spans()[0].name, "work");
/// ```
#[derive(Debug, Clone)]
pub struct Capture {
    captured: Arc<Mutex<Captured>>,
}

#[derive(Debug, Default)]
struct Captured {
    spans: Vec<ReceivedSpan>,
    resource: Arc<Attributes>,
    max_spans: usize,
    refused: usize,
}

impl Default for Capture {
    fn default() -> Self {
        Self::new()
    }
}

impl Capture {
    /// Keeps at most [`OtlpReceiver::DEFAULT_MAX_SPANS`].
    pub fn new() -> Self {
        Self::with_max_spans(OtlpReceiver::DEFAULT_MAX_SPANS)
    }

    /// Keeps at most so many spans; further ones are counted by [`Self::refused_spans`].
    pub fn with_max_spans(max_spans: usize) -> Self {
        Self { captured: Arc::new(Mutex::new(Captured { max_spans, ..Captured::default() })) }
    }

    /// The spans, in the order in which they ended.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.lock().spans.clone()
    }

    /// Spans that came and were not kept.
    pub fn refused_spans(&self) -> usize {
        self.lock().refused
    }

    /// Forgets the spans.
    pub fn clear(&self) {
        let mut captured = self.lock();
        captured.spans.clear();
        captured.refused = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpanExporter for Capture {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut captured = self.lock();
        for data in &batch {
            if captured.spans.len() >= captured.max_spans {
                captured.refused += 1;
                continue;
            }
            let resource = Arc::clone(&captured.resource);
            captured.spans.push(ReceivedSpan { resource, ..ReceivedSpan::from(data) });
        }
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.lock().resource = super::convert::resource(Some(resource.into()));
    }
}

/// A metrics exporter that keeps the newest point of every series. Clones share what they keep.
///
/// ```
/// use agentvitals::testing::MetricCapture;
/// use opentelemetry::metrics::MeterProvider as _;
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
///
/// let capture = MetricCapture::new();
/// let provider = SdkMeterProvider::builder().with_periodic_exporter(capture.clone()).build();
/// provider.meter("test").u64_counter("calls").build().add(2, &[]);
/// provider.force_flush()?;
/// assert_eq!(capture.metric("calls")[0].int_value(), Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MetricCapture {
    captured: Arc<Mutex<Received>>,
    temporality: Temporality,
}

impl Default for MetricCapture {
    fn default() -> Self {
        Self::new()
    }
}

impl MetricCapture {
    /// Cumulative points, of at most [`OtlpReceiver::DEFAULT_MAX_SERIES`] series.
    pub fn new() -> Self {
        Self::with_temporality(Temporality::Cumulative)
    }

    /// Asks the SDK for points of this temporality. Of deltas, too, only the newest is kept.
    pub fn with_temporality(temporality: Temporality) -> Self {
        let received = Received::new(0, OtlpReceiver::DEFAULT_MAX_SERIES);
        Self { captured: Arc::new(Mutex::new(received)), temporality }
    }

    /// The newest point of every series, sorted by name, then attributes.
    pub fn metrics(&self) -> Vec<ReceivedPoint> {
        self.lock().points().cloned().collect()
    }

    /// The newest point of every series of one metric; empty if it was never collected.
    pub fn metric(&self, name: &str) -> Vec<ReceivedPoint> {
        self.lock().metric(name).cloned().collect()
    }

    /// Forgets the points.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PushMetricExporter for MetricCapture {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let points = ReceivedPoint::from_metrics(metrics);
        let mut captured = self.lock();
        for point in points {
            captured.keep_counted(point);
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}

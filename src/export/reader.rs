//! The one metric reader.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, Pipeline, Temporality};

use crate::config::TemporalityPreference;

/// The reader through which the pipeline collects metrics. Add it to a `SdkMeterProvider` with `with_reader`.
///
/// There must be one only: each further reader doubles what every measurement costs.
#[derive(Clone)]
pub struct PipelineReader {
    reader: Arc<ManualReader>,
    registered: Arc<AtomicBool>,
}

impl PipelineReader {
    pub(super) fn new(preference: TemporalityPreference) -> Self {
        let temporality = match preference {
            TemporalityPreference::Cumulative => Temporality::Cumulative,
            TemporalityPreference::Delta => Temporality::Delta,
            TemporalityPreference::LowMemory => Temporality::LowMemory,
        };
        Self {
            reader: Arc::new(ManualReader::builder().with_temporality(temporality).build()),
            registered: Arc::default(),
        }
    }

    /// Whether a meter provider has taken it.
    pub(super) fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Acquire)
    }
}

impl fmt::Debug for PipelineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PipelineReader")
    }
}

impl MetricReader for PipelineReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.reader.register_pipeline(pipeline);
        self.registered.store(true, Ordering::Release);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.reader.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.reader.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.reader.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.reader.temporality(kind)
    }
}

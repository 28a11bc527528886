//! agentvitals: OpenTelemetry traces, metrics, cost and health of AI agents, from plain `tracing` spans.

mod clock;
mod config;
pub mod cost;
mod error;
pub mod export;
mod operation;
pub mod propagation;
pub mod sampling;
pub mod semconv;
#[cfg(feature = "testing")]
pub mod testing;

pub use clock::{Clock, ManualClock};
pub use config::{
    BatchConfig, Compression, Config, ContentCapture, Destination, ExporterKind, Headers, Histograms, Limits,
    OtlpSettings, Propagators, Protocol, Rule, SamplerConfig, SamplerRoot, Signal, TemporalityPreference,
};
pub use error::Error;
pub use operation::{OperationKind, Outcome, Usage};

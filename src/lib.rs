//! agentvitals: OpenTelemetry traces, metrics, cost and health of AI agents, from plain `tracing` spans.

mod clock;
mod config;
pub mod cost;
mod error;
mod errors;
pub mod export;
mod instruments;
mod layer;
mod names;
mod operation;
pub mod propagation;
pub mod sampling;
pub mod semconv;
mod span;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

pub use clock::{Clock, ManualClock};
pub use config::{
    BatchConfig, Compression, Config, ContentCapture, Destination, ExporterKind, Headers, Histograms, Limits,
    OtlpSettings, Propagators, Protocol, Rule, SamplerConfig, SamplerRoot, Signal, TemporalityPreference,
};
pub use error::Error;
pub use errors::ErrorClass;
pub use layer::AgentLayer;
pub use names::Name;
pub use operation::{Observe, Operation, OperationKind, Outcome, Usage};
pub use span::{
    InOperation, OperationFuture, OperationStream, RecordOperation, Response, StreamExt, Tracked,
    TryOperationStream, track,
};
pub use telemetry::{
    Builder, DEFAULT_MAX_OPEN_OPERATIONS, Measured, Status, Telemetry, VitalsLayer, builder,
};

// The crates that agentvitals was built against: with another version of one of them, spans go nowhere.
pub use {opentelemetry, opentelemetry_sdk, tracing, tracing_opentelemetry, tracing_subscriber};

/// What the macros use.
#[doc(hidden)]
pub mod __private {
    pub use tracing;
    pub use tracing::field::Empty;
}

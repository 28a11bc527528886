//! agentvitals: OpenTelemetry traces, metrics, cost and health of AI agents, from plain `tracing` spans.

pub mod cost;
mod clock;
mod config;
mod error;
mod export;
mod operation;
pub mod propagation;
pub mod sampling;
pub mod semconv;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::Error;
pub use operation::{Outcome, OperationKind, Usage};

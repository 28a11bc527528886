//! The zero-setup counterpart of the agentvitals SDK: receives OTLP, keeps it, answers questions about it; and the
//! commands of the `agentvitals` binary, as a library so that tests can drive them.

mod anyvalue;
pub mod api;
pub mod cli;
mod clock;
mod codec;
pub mod demo;
mod error;
mod flat;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
pub mod ingest;
pub mod listen;
pub mod load;
pub mod otlp;
mod otlpjson;
mod protojson;
pub mod query;
pub mod report;
pub mod server;
mod show;
pub mod store;
pub mod token;
pub mod value;

pub use error::Error;

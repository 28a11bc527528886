//! OpenTelemetry traces, metrics and cost of AI agents, from plain `tracing` spans.
//!
//! ```no_run
//! use tracing::instrument;
//!
//! #[instrument(fields(gen_ai.operation.name = "invoke_agent", gen_ai.agent.name = "planner"), err)]
//! async fn plan(task: &str) -> Result<String, std::io::Error> {
//!     Ok(format!("a plan for {task}"))
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let vitals = agentvitals::builder().service_name("support-bot").install()?; // reads OTEL_*; one line is enough
//! plan("book a table").await?;
//! println!("{}", vitals.shutdown().await?); // what was sent, and what was lost and why
//! # Ok(())
//! # }
//! ```
//!
//! * [`builder`] is the top of the ladder: [`Builder::install`], [`Builder::build`], [`Telemetry::layer`],
//!   [`Telemetry::agent_layer`].
//! * [`agent_span!`], [`model_span!`], [`tool_span!`], [`workflow_span!`] and [`operation_span!`] declare every field that may
//!   be recorded later; [`RecordOperation`] records with types, on these and on any other span.
//! * [`InOperation`] and [`StreamExt`] make operations of futures and streams, and know when they were given up.
//! * [`Config`] has every setting, its default and its variable; [`semconv`] every name, unit and bucket.
//! * [`health`] says how agents, models and tools are ([`Telemetry::health`]); [`alert`] tells somebody; [`probe`] asks targets; [`forecast`]
//!   looks ahead; [`cost::budget`] says when to stop.
//! * `query` (feature `query`) asks for spans: the collector, Tempo, Jaeger and ClickHouse alike.
//! * [`cost`] has prices and sums; [`propagation`] carries a trace to other processes; [`testing`] (feature `testing`) has
//!   what tests of telemetry need.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `otlp-grpc` | yes | export over OTLP/gRPC |
//! | `otlp-http` | yes | export over OTLP/HTTP with protobuf |
//! | `prices` | yes | the built-in, dated price list (3 MB) |
//! | `webhooks` | no | sinks of alerts that speak HTTP: webhooks, Slack's form, Alertmanager |
//! | `probes` | no | probes of HTTP endpoints, MCP servers and ports |
//! | `query` | no | questions about spans to a collector, Tempo, Jaeger or ClickHouse |
//! | `testing` | no | receiver, captures, span trees, deterministic ids |
//!
//! The OpenTelemetry crates that agentvitals was built against are re-exported: use these, since spans that are made with
//! another version of them go nowhere.

pub mod alert;
mod clock;
mod config;
pub mod cost;
mod error;
mod errors;
pub mod export;
pub mod forecast;
pub mod health;
#[cfg(feature = "http-client")]
mod http_client;
mod instruments;
mod layer;
mod names;
mod operation;
pub mod probe;
pub mod propagation;
#[cfg(feature = "query")]
pub mod query;
pub mod sampling;
pub mod semconv;
mod span;
pub mod statistics;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod views;

pub use clock::{Clock, ManualClock};
pub use config::{
    BatchConfig, Compression, Config, ContentCapture, Destination, ExporterKind, Headers, Histograms, Limits,
    OtlpSettings, Preset, Propagators, Protocol, Rule, SamplerConfig, SamplerRoot, Signal,
    TemporalityPreference,
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
    Builder, Changes, DEFAULT_HEALTH_INTERVAL, DEFAULT_MAX_OPEN_OPERATIONS, Measured, Notices,
    OperationHealth, Status, SystemHealth, Telemetry, VitalsLayer, builder,
};
pub use views::{Performance, Subject, SubjectKind};

// The crates that agentvitals was built against: with another version of one of them, spans go nowhere.
pub use {opentelemetry, opentelemetry_sdk, tracing, tracing_opentelemetry, tracing_subscriber};

/// The examples of the README are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// What the macros use.
#[doc(hidden)]
pub mod __private {
    pub use tracing;
    pub use tracing::field::Empty;
}

//! The HTTP API under `/api/v1`, health, and the metrics of the collector itself.
//!
//! `/api/v1/health`, `/api/v1/alerts`; `GET` and `POST` `/api/v1/spans`, `/count`, `/stats` and `/sql`, `GET /api/v1/export`, `GET /api/v1/traces/{trace_id}`, `/api/v1/status`,
//! `/api/v1/openapi.json` (the description of all this), `/metrics`, `/health`, `/health/live`, `/health/ready`.
//!
//! Beside it are the query APIs of Tempo (`tempo/`) and Jaeger (`jaeger/`): other names for the same questions.
//!
//! Questions run on blocking threads, only so many at once; a client that goes away ends its question.

mod answers;
mod error;
mod export;
mod grpc;
mod health;
mod jaeger;
mod metrics;
mod question;
mod routes;
mod serve;
mod sql;
mod state;
mod tempo;
#[cfg(test)]
mod tests;
pub(crate) mod time;

pub use answers::Answers;
pub use metrics::{Sample, SampleKind};
pub use routes::router;
pub use serve::{bind, run};
pub use state::{ApiState, Readiness};

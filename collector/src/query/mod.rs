//! Questions to the spans: the language, the plan, and the answers. It knows the store only as an [`Engine`].

pub mod engine;
pub mod exec;
mod go_duration;
pub(crate) mod metrics;
pub mod over_time;
pub mod report;
pub mod request;
pub mod rollup;
pub mod search;
pub mod signals;
pub mod sql;
pub mod system;
pub mod tags;
pub mod traceql;

pub use engine::{
    Columns, Control, Engine, Must, Order, Part, QueryError, Scan, SpanColumn, Table, TimeRange,
};
pub(crate) use go_duration::go_duration;

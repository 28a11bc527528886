//! Keeps what was acknowledged: a write-ahead log, a buffer in memory, Parquet segments, an index of every attribute.

mod amount;
mod batch;
pub(crate) mod disk;
mod downsample;
#[cfg(test)]
mod downsample_tests;
mod engine;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod hostile_tests;
mod ingest;
mod known;
#[cfg(test)]
mod known_tests;
mod logs;
mod maintain;
#[cfg(test)]
mod maintain_tests;
mod open;
mod pending;
#[cfg(test)]
mod pending_tests;
mod points;
mod recent;
mod segment;
mod spans;
mod state;
#[cfg(test)]
pub(crate) mod tests;
#[allow(dead_code, unused_imports, reason = "the tests of the log look at more of it than the store does")]
pub(crate) mod wal;

pub use ingest::Store;
pub use maintain::Deleted;
pub use open::{Figures, LogFigures, Options, TableFigures};

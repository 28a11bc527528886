//! Keeps what was acknowledged: a write-ahead log, a buffer in memory, Parquet segments, an index of every attribute.

#[allow(dead_code, reason = "the engine is to use it")]
pub(crate) mod disk;
#[allow(dead_code, unused_imports, reason = "the engine is to use it")]
pub(crate) mod wal;

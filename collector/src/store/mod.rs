//! Keeps what was acknowledged: a write-ahead log, a buffer in memory, Parquet segments, an index of every attribute.

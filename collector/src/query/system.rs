//! What is asked about the machine, the database and the cache of programs, and how the answer looks.

use serde::{Deserialize, Serialize};

/// Asks how the machine, the database connections and the cache of programs are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct SystemRequest {
    /// Only of this service.
    pub service: Option<String>,
    /// The start of the time range.
    pub start: Option<i64>,
    /// The end of the time range: what was the newest then.
    pub end: Option<i64>,
}

/// How they are, by the newest points. What no point tells is none: it is not 0.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct SystemAnswer {
    /// The time of the newest point; the time of the question if there is no point.
    pub time_unix_nano: i64,
    /// The machine.
    pub system: SystemFigures,
    /// Pools of database connections, added up.
    pub database: DatabaseFigures,
    /// Caches, added up.
    pub cache: CacheFigures,
}

/// The machine, as its processes or something on it tell. A megabyte has 1,048,576 bytes; all are rounded to two decimals.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct SystemFigures {
    /// Percent of all processors that the processes use; where none tells, that everything on the machine uses.
    pub cpu_percent: Option<f64>,
    /// Megabytes of memory that the processes have; where none tells, that are used on the machine.
    pub memory_mb: Option<f64>,
    /// Percent of the machine's memory that are used.
    pub memory_percent: Option<f64>,
    /// Megabytes of memory that can still be had.
    pub memory_available_mb: Option<f64>,
    /// Megabytes that the processes read since they started; where none tells, that the machine read.
    pub disk_read_mb: Option<f64>,
    /// Megabytes that they wrote, likewise.
    pub disk_write_mb: Option<f64>,
}

/// Pools of database connections.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct DatabaseFigures {
    /// Open connections: those that are idle and those that are used.
    pub pool_size: Option<i64>,
    /// Those that are idle.
    pub pool_available: Option<i64>,
    /// Those that are used.
    pub pool_active: Option<i64>,
    /// The fewest that are kept.
    pub pool_min: Option<i64>,
    /// The most that are opened.
    pub pool_max: Option<i64>,
    /// Percent of the open connections that are used, to two decimals; none of no connection.
    pub utilization_percent: Option<f64>,
}

/// Caches, since their processes started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct CacheFigures {
    /// Whether one is used: by `agentvitals.cache.enabled`, else whether any of the following was received.
    pub enabled: Option<bool>,
    /// Reads that found something.
    pub hits: Option<i64>,
    /// Reads that found nothing.
    pub misses: Option<i64>,
    /// Writes.
    pub sets: Option<i64>,
    /// Deletions.
    pub deletes: Option<i64>,
    /// Uses that failed.
    pub errors: Option<i64>,
    /// Hits and misses.
    pub total_reads: Option<i64>,
    /// Percent of the reads that were hits, to two decimals; none of no read.
    pub hit_rate: Option<f64>,
}

//! What can be asked in SQL, and how answers look.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

/// How a program comes by SQL if it has none.
pub const WITHOUT: &str = "this server was built without SQL; build it with `--features sql` to have it";

/// Asks in SQL (PostgreSQL's dialect) over the tables `spans`, `logs` and `metrics`; it only reads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct SqlRequest {
    /// The query.
    pub q: String,
    /// At most so many rows (default 10,000, at most 1,000,000).
    pub limit: Option<usize>,
}

/// The rows of an answer.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct SqlAnswer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Whether there are more rows than were asked for.
    pub more: bool,
    /// How many rows of the tables were looked at.
    pub scanned: u64,
}

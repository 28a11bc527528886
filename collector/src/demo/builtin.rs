//! The runs that are replayed when no file is given.

use super::runs::{self, Run};
use crate::Error;

/// Hand-made runs in the schema of recorded ones, with one of everything that recordings have: two agents in a
/// run, cached tokens, a model without a known price, errors of models and of tools, a call without usage, a
/// run of which nobody says how it ended.
const RUNS: &str = include_str!("builtin.jsonl");

/// Reads the built-in runs.
pub(super) fn runs() -> Result<Vec<Run>, Error> {
    runs::read(RUNS.as_bytes(), "the built-in runs")
}

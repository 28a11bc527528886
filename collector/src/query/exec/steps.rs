//! Parts that are read in two steps: first what tells whether the second is needed.

use hashbrown::HashMap;

use super::Queries;
use crate::query::engine::{Columns, Order, Part, QueryError, Scan, SpanColumn, Table, TimeRange};

/// Parts with the columns of one step.
type ByIdentity = HashMap<u64, Box<dyn Part>>;

/// All parts of a time, with the columns of two steps.
pub(super) struct InSteps {
    /// Those that stay the same.
    steps: [ByIdentity; 2],
    /// Every part, with the columns of both: those that change have to be read at one time.
    all: Vec<Box<dyn Part>>,
}

impl InSteps {
    pub(super) fn new(
        queries: &Queries,
        time: TimeRange,
        [first, second]: [Vec<SpanColumn>; 2],
    ) -> Result<Self, QueryError> {
        let scan = |mut columns: Vec<SpanColumn>| {
            columns.sort_unstable();
            columns.dedup();
            let columns = Columns::Some(columns);
            let scan = Scan { table: Table::Spans, time, must: Vec::new(), columns, order: Order::Any };
            queries.engine.parts(&scan)
        };
        let both = first.iter().chain(&second).cloned().collect();
        let steps = [by_identity(scan(first)?), by_identity(scan(second)?)];
        Ok(Self { steps, all: scan(both)? })
    }

    pub(super) fn all(&self) -> &[Box<dyn Part>] {
        &self.all
    }

    /// What is read of one of all parts in each step: the same rows.
    pub(super) fn steps<'a>(&'a self, part: &'a dyn Part) -> [&'a dyn Part; 2] {
        let of = |steps: &'a ByIdentity| Some(&**steps.get(&part.identity()?)?);
        match [of(&self.steps[0]), of(&self.steps[1])] {
            [Some(first), Some(second)] => [first, second],
            _ => [part, part],
        }
    }
}

fn by_identity(parts: Vec<Box<dyn Part>>) -> ByIdentity {
    parts.into_iter().filter_map(|part| Some((part.identity()?, part))).collect()
}

//! Which services call which.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};
use hashbrown::HashMap;

use super::render::{Keys, Rows};
use super::{Queries, parallel};
use crate::query::engine::{Columns, Control, Order, QueryError, Scan, SpanColumn, Table};
use crate::query::tags::Dependency;

/// Bytes that is kept of a span.
const SPAN_BYTES: usize = 64;

type Id = ([u8; 16], [u8; 8]);

/// The spans that a thread has seen.
#[derive(Default)]
struct Seen {
    services: Vec<Box<str>>,
    /// The service of each span.
    spans: HashMap<Id, u32>,
    /// The parent of each span that has one, and the span's service.
    children: Vec<(Id, u32)>,
}

pub(super) fn answer(
    queries: &Queries,
    start: i64,
    end: i64,
    control: &Control,
) -> Result<Vec<Dependency>, QueryError> {
    let fixed = ["trace_id", "span_id", "parent_span_id", "service", "start", "duration_ns"];
    let scan = Scan {
        table: Table::Spans,
        time: super::time_range(Some(start), Some(end))?,
        must: Vec::new(),
        columns: Columns::Some(fixed.map(SpanColumn::Fixed).to_vec()),
        order: Order::Any,
    };
    let parts = queries.engine.parts(&scan)?;
    let (seen, _) = parallel::fold(&parts, control, |seen: &mut Seen, batch| {
        control.take_memory(batch.num_rows() * SPAN_BYTES)?;
        seen.add(batch)
    })?;
    let mut calls: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for of in &seen {
        for (parent, child) in &of.children {
            let caller = seen.iter().find_map(|of| Some(&*of.services[*of.spans.get(parent)? as usize]));
            let child = &*of.services[*child as usize];
            if let Some(caller) = caller.filter(|caller| *caller != child) {
                *calls.entry((caller, child)).or_default() += 1;
            }
        }
    }
    let shown = calls.into_iter().map(|((parent, child), calls)| Dependency {
        parent: parent.to_owned(),
        child: child.to_owned(),
        calls,
    });
    Ok(shown.collect())
}

impl Seen {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        let (keys, rows) = (Keys::new(batch)?, Rows::new(batch));
        let parents = rows.column("parent_span_id")?;
        for row in 0..batch.num_rows() {
            let service = rows.text("service", row);
            let place = self.services.iter().position(|known| &**known == service).unwrap_or_else(|| {
                self.services.push(service.into());
                self.services.len() - 1
            });
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            let trace = keys.trace_id(row);
            self.spans.insert((trace, keys.span_id(row)), place);
            if parents.is_valid(row) {
                let parent = parents.as_fixed_size_binary().value(row).try_into().unwrap_or_default();
                self.children.push(((trace, parent), place));
            }
        }
        Ok(())
    }
}

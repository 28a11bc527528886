//! The names and services of the roots of traces, which are read before the spans that are grouped by them.

use std::borrow::Cow;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::compare::text;
use crate::query::engine::{Columns, Control, Order, QueryError, SpanColumn, Table, TimeRange};
use crate::query::exec::coded::Coded;
use crate::query::exec::filter::Condition;
use crate::query::exec::render::{Keys, Rows};
use crate::query::exec::traces::{self, TraceId};
use crate::query::exec::{Plan, Queries, bind, parallel};
use crate::query::traceql::{Datum, Field, Intrinsic, parse_filter};

/// What is told of a root, as the fields that other spans of the trace have.
pub(super) const TOLD: [Intrinsic; 2] = [Intrinsic::RootName, Intrinsic::RootServiceName];
/// Which of these a field is.
pub(super) fn place(field: &Field) -> Option<usize> {
    TOLD.iter().position(|told| *field == Field::Intrinsic(*told))
}

/// Bytes of a trace in the map, about.
const ROOT_BYTES: usize = 80;
/// Different names and services of roots at most: there is a number for each in every batch.
const MOST_TEXTS: usize = 1 << 16;

/// A root: the first of the spans of its trace that have no parent.
#[derive(Debug, Clone, Copy)]
struct Root {
    first: (i64, [u8; 8]),
    /// The numbers of what is told of it, if it has that.
    told: [Option<u32>; 2],
}

/// Of traces of which the root is there.
#[derive(Default)]
pub(super) struct Roots {
    of: HashMap<TraceId, Root>,
    numbers: HashMap<String, u32>,
    /// What is told, by number.
    texts: Vec<String>,
    /// Bytes of these.
    bytes: usize,
}

impl Roots {
    /// Those of all traces of a time; nothing if there are more than `most` to a thread, or more than there is memory for.
    pub(super) fn read(
        queries: &Queries,
        time: TimeRange,
        most: usize,
        control: &Control,
        scanned: &mut u64,
    ) -> Result<Option<Self>, QueryError> {
        let filter = parse_filter("{ span:parentID = nil }")?;
        let fields = [Field::Intrinsic(Intrinsic::Name), traces::service()];
        let mut columns = bind::columns(&fields)?;
        columns
            .extend(["trace_id", "span_id", "parent_span_id", "start", "duration_ns"].map(SpanColumn::Fixed));
        columns.sort_unstable();
        columns.dedup();
        let condition = Condition::new(&filter)?;
        let plan = Plan {
            table: Table::Spans,
            condition,
            time: traces::around(time),
            must: filter.musts(),
            columns,
        };
        let parts = queries.engine.parts(&plan.scan(Columns::Some(plan.columns.clone()), Order::Any))?;
        // The rest is for what is counted.
        let room = queries.limits.memory / 4;
        let read = parallel::fold(&parts, control, |roots: &mut Self, batch| {
            roots.add(batch, &plan.rows(batch)?, &fields)?;
            let is_over = roots.of.len() > most || roots.texts.len() > MOST_TEXTS || roots.size() > room;
            if is_over { Err(QueryError::TooMuchMemory { limit: room }) } else { Ok(()) }
        });
        let (all, read) = match read {
            Ok(read) => read,
            Err(QueryError::TooMuchMemory { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        *scanned += read;
        let mut roots = Self::default();
        for mut more in all {
            if more.of.len() > roots.of.len() {
                std::mem::swap(&mut roots, &mut more);
            }
            roots.merge(more);
        }
        control.take_memory(roots.size())?;
        Ok(Some(roots))
    }

    /// About how many bytes it takes.
    fn size(&self) -> usize {
        self.of.len() * ROOT_BYTES + self.bytes
    }

    fn add(&mut self, batch: &RecordBatch, rows: &[u32], fields: &[Field]) -> Result<(), QueryError> {
        let (keys, bound) = (Keys::new(batch)?, bind::Bound::new(fields, batch)?);
        let mut coded = Vec::with_capacity(fields.len());
        for place in 0..fields.len() {
            let Some(source) = bound.source(place) else { continue };
            let Coded { codes, values } = Coded::of_any(source, rows);
            let number = |value: &Datum<'_>| match value {
                Datum::Nil => None,
                Datum::Text(text) => Some(self.number(text.clone().into_owned())),
                other => Some(self.number(text(other))),
            };
            let numbers: Vec<Option<u32>> = values.iter().map(number).collect();
            coded.push((codes, numbers));
        }
        for (at, row) in rows.iter().map(|row| *row as usize).enumerate() {
            let told =
                |place: usize| coded.get(place).and_then(|(codes, numbers)| numbers[codes[at] as usize]);
            let root = Root { first: (keys.start(row), keys.span_id(row)), told: [told(0), told(1)] };
            self.note(keys.trace_id(row), root);
        }
        Ok(())
    }

    fn number(&mut self, text: String) -> u32 {
        let next = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        match self.numbers.entry(text) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.bytes += 2 * (new.key().len() + size_of::<String>());
                self.texts.push(new.key().clone());
                *new.insert(next)
            }
        }
    }

    fn note(&mut self, id: TraceId, root: Root) {
        let known = self.of.entry(id).or_insert(root);
        if root.first < known.first {
            *known = root;
        }
    }

    fn merge(&mut self, other: Self) {
        let numbers: Vec<u32> = other.texts.into_iter().map(|text| self.number(text)).collect();
        for (id, root) in other.of {
            let told = root.told.map(|told| told.map(|number| numbers[number as usize]));
            self.note(id, Root { told, ..root });
        }
    }

    /// What is told of the roots of the traces of some rows, as fields have it.
    pub(super) fn coded(&self, batch: &RecordBatch, rows: &[u32]) -> Result<[Coded<'_>; 2], QueryError> {
        let ids = Rows::new(batch).column("trace_id")?.as_fixed_size_binary();
        let none = || Coded { codes: Vec::with_capacity(rows.len()), values: vec![Datum::Nil] };
        let mut coded = [none(), none()];
        // The codes of texts that some of the rows have.
        let mut known = [vec![0; self.texts.len()], vec![0; self.texts.len()]];
        for row in rows {
            let id = ids.value(*row as usize).try_into().unwrap_or_default();
            for ((Coded { codes, values }, known), told) in
                coded.iter_mut().zip(&mut known).zip(self.told(&id))
            {
                let Some(number) = told.map(|number| number as usize) else {
                    codes.push(0);
                    continue;
                };
                if known[number] == 0 {
                    known[number] = u32::try_from(values.len()).unwrap_or(0);
                    values.push(Datum::Text(Cow::Borrowed(&self.texts[number])));
                }
                codes.push(known[number]);
            }
        }
        Ok(coded)
    }

    /// What is told of the root of a trace, by number.
    fn told(&self, id: &TraceId) -> [Option<u32>; 2] {
        self.of.get(id).map_or([None; 2], |root| root.told)
    }
}

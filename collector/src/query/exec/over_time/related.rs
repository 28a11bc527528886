//! Numbers over spans that are told by what is above them: part by part, since a part tells where in it the parent of a span is;
//! only the traces of spans whose ancestors are elsewhere are looked at as a whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use hashbrown::HashSet;

use super::read::Columned;
use super::series::Groups;
use crate::query::engine::{Flow, Part, QueryError, SpanColumn};
use crate::query::exec::filter::Condition;
use crate::query::exec::steps::InSteps;
use crate::query::exec::traces::TraceId;
use crate::query::exec::traces::ancestry::{Known, Rows, Set};
use crate::query::exec::{Queries, bind, parallel, render};
use crate::query::traceql::Filter;

/// Spans by their ids.
pub(super) type Spans = HashSet<(TraceId, [u8; 8])>;

/// Bytes of a span that may count.
const OPEN_BYTES: usize = 2 * size_of::<(TraceId, [u8; 8])>();

/// What the parts tell.
pub(super) struct Told {
    pub(super) groups: Groups,
    /// Spans that may count: other parts have to be asked.
    pub(super) open: Spans,
    pub(super) scanned: u64,
}

pub(super) struct Related<'a> {
    columned: &'a Columned<'a>,
    set: Set,
    conditions: Vec<Condition>,
    /// Whether whole traces have to be looked at: a part does not tell where parents are, or is too large for the memory.
    given_up: AtomicBool,
    open: Mutex<Spans>,
}

impl<'a> Related<'a> {
    pub(super) fn new(
        columned: &'a Columned<'a>,
        (set, filters): (Set, Vec<Filter>),
    ) -> Result<Self, QueryError> {
        let conditions = filters.iter().map(Condition::new).collect::<Result<Vec<_>, _>>()?;
        let (given_up, open) = (AtomicBool::new(false), Mutex::default());
        Ok(Self { columned, set, conditions, given_up, open })
    }

    /// Nothing if some part does not tell where parents are, or if parts are too large for the memory.
    pub(super) fn read(self, queries: &Queries) -> Result<Option<Told>, QueryError> {
        let ids = ["trace_id", "span_id"].map(SpanColumn::Fixed);
        // Ids take as long to read as all else, and most parts need none.
        let parts = InSteps::new(queries, self.columned.grid.range(), [self.columns()?, ids.to_vec()])?;
        let each = |groups: &mut Groups, part: &dyn Part| {
            let [figures, ids] = parts.steps(part);
            self.part(groups, figures, ids)
        };
        let (found, scanned) = parallel::by_part(parts.all(), each)?;
        if self.given_up.load(Ordering::Relaxed) {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            self.columned.control.give_memory(open.len() * OPEN_BYTES);
            return Ok(None);
        }
        let mut groups = Groups::default();
        for found in found {
            groups.merge(found, self.columned.grid, self.columned.control)?;
        }
        let open = self.open.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Told { groups, open, scanned }))
    }

    fn columns(&self) -> Result<Vec<SpanColumn>, QueryError> {
        let mut columns = self.columned.columns()?;
        for condition in &self.conditions {
            columns.extend(bind::columns(condition.fields())?);
        }
        columns.push(SpanColumn::Fixed("parent_offset"));
        columns.sort_unstable();
        columns.dedup();
        Ok(columns)
    }

    /// Adds what a part tells; `ids` is the same part with the ids of its spans.
    fn part(&self, groups: &mut Groups, part: &dyn Part, ids: &dyn Part) -> Result<u64, QueryError> {
        let control = self.columned.control;
        if self.given_up.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let (mut batches, mut bytes) = (Vec::new(), 0);
        let read = part.read(control, &mut |batch| {
            control.check()?;
            let size = batch.get_array_memory_size();
            if !self.has_room(size) {
                return Ok(Flow::Stop);
            }
            bytes += size;
            batches.push(batch.clone());
            Ok(Flow::Continue)
        })?;
        if self.given_up.load(Ordering::Relaxed) {
            control.give_memory(bytes);
            return Ok(read);
        }
        if let Some(rows) = self.rows(&batches)? {
            let known = self.set.known(&rows);
            let mut first = 0;
            for batch in &batches {
                let known = &known[first..first + batch.num_rows()];
                first += batch.num_rows();
                let rows: Vec<u32> = rows_of(known, Known::Yes).collect();
                self.columned.add(groups, batch, &rows)?;
            }
            self.note(ids, &known)?;
        } else {
            self.given_up.store(true, Ordering::Relaxed);
        }
        drop(batches);
        control.give_memory(bytes);
        Ok(read)
    }

    /// Nothing if the part does not tell where parents are.
    fn rows(&self, batches: &[RecordBatch]) -> Result<Option<Rows>, QueryError> {
        let mut rows = Rows::new(self.conditions.len());
        for batch in batches {
            if !rows.add(batch, &self.conditions)? {
                return Ok(None);
            }
        }
        rows.end();
        Ok(Some(rows))
    }

    /// Takes memory, or gives up.
    fn has_room(&self, bytes: usize) -> bool {
        let taken = self.columned.control.take_memory(bytes).is_ok();
        if !taken {
            self.columned.control.give_memory(bytes);
            self.given_up.store(true, Ordering::Relaxed);
        }
        taken
    }

    /// Notes the spans of which other parts have to be asked.
    fn note(&self, ids: &dyn Part, known: &[Known]) -> Result<(), QueryError> {
        if !known.contains(&Known::Perhaps) {
            return Ok(());
        }
        let mut first = 0;
        ids.read(self.columned.control, &mut |batch| {
            let of = render::Rows::new(batch);
            let traces = of.column("trace_id")?.as_fixed_size_binary();
            let spans = of.column("span_id")?.as_fixed_size_binary();
            let known = known.get(first..first + batch.num_rows()).unwrap_or_default();
            first += batch.num_rows();
            let id = |row: u32| {
                let row = row as usize;
                Some((traces.value(row).try_into().ok()?, spans.value(row).try_into().ok()?))
            };
            let open: Vec<(TraceId, [u8; 8])> = rows_of(known, Known::Perhaps).filter_map(id).collect();
            if !self.has_room(open.len() * OPEN_BYTES) {
                return Ok(Flow::Stop);
            }
            self.open.lock().unwrap_or_else(PoisonError::into_inner).extend(open);
            Ok(Flow::Continue)
        })?;
        Ok(())
    }
}

fn rows_of(known: &[Known], wanted: Known) -> impl Iterator<Item = u32> {
    (0_u32..).zip(known).filter(move |(_, known)| **known == wanted).map(|(row, _)| row)
}

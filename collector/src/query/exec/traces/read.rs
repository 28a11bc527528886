//! Which traces may be in an answer.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use hashbrown::{HashMap, HashSet};

use super::gather::trace_size;
use super::plan::{Leaf, Program};
use super::tree::{Row, Trace};
use crate::query::engine::{
    Columns, Control, Flow, Must, Order, QueryError, Scan, SpanColumn, Table, TimeRange,
};
use crate::query::exec::{Queries, bind, parallel};
use crate::query::traceql::Field;

/// One in so many is a small part.
const FEW: u64 = 8;
/// Bytes of a trace that may be in the answer: in a map, and where it waits to be looked up.
pub(super) const CANDIDATE_BYTES: usize = 96;

pub(in crate::query::exec) type TraceId = [u8; 16];

/// What is known of a trace before all of its spans are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// The filters that some span of it fulfils, as far as single spans tell.
    pub(super) fulfilled: u64,
    /// When the first span of it that counts started: the trace did not begin later.
    pub(super) earliest: i64,
}

/// Traces that may be in the answer.
pub(super) type Candidates = HashMap<TraceId, Seen>;

pub(super) fn note(all: &mut Candidates, id: TraceId, seen: Seen) {
    let known = all.entry(id).or_insert(seen);
    known.fulfilled |= seen.fulfilled;
    known.earliest = known.earliest.min(seen.earliest);
}

/// Reads for a program.
pub(super) struct Reader<'a> {
    pub(super) queries: &'a Queries,
    pub(super) program: &'a Program,
    pub(super) control: &'a Control,
    /// The filters that every span fulfils.
    always: u64,
    /// The filter that candidates are looked for by; by all of them if none.
    by: Option<usize>,
    /// Whether candidates can be looked for by how spans are related, and few are not known without.
    pub(super) related: bool,
    /// Whether fields that tell nothing are only read of spans that may be left.
    pub(super) only_left: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(queries: &'a Queries, program: &'a Program, control: &'a Control) -> Self {
        let leaves = program.leaves.iter().enumerate();
        let all = leaves.filter(|(_, leaf)| leaf.condition.is_of_all());
        let always = all.fold(0, |mask, (place, _)| mask | 1 << place);
        Self { queries, program, control, always, by: None, related: false, only_left: false }
    }

    /// Looks for candidates by the filter alone that some span of every trace in the answer fulfils and that leaves the least to
    /// read, if that is much less than by all filters; else by how spans are related, if that tells more.
    pub(super) fn choose(&mut self, time: TimeRange) -> Result<(), QueryError> {
        let to_read = |reader: &Self| -> Result<u64, QueryError> {
            let parts = self.queries.engine.parts(&reader.candidate_scan(time)?)?;
            Ok(parts.iter().map(|part| part.to_read()).sum())
        };
        let mut least = to_read(self)? / 2;
        let told = |leaf: &usize| self.always >> leaf & 1 == 0 && !self.program.leaves[*leaf].must.is_empty();
        let mut by = None;
        for leaf in self.program.required().filter(told) {
            let rows = to_read(&Self { by: Some(leaf), ..*self })?;
            if rows < least {
                (least, by) = (rows, Some(leaf));
            }
        }
        self.by = by;
        // This is told by all of the spans.
        self.related = self.program.witness.is_some() && by.is_none() && !self.reads_few(time)?;
        Ok(())
    }

    /// Whether candidates are looked for among a small part of the spans.
    pub(super) fn reads_few(&self, time: TimeRange) -> Result<bool, QueryError> {
        let candidates = self.candidate_scan(time)?;
        let all = Scan { must: Vec::new(), ..candidates.clone() };
        let rows = |scan: &Scan| -> Result<u64, QueryError> {
            Ok(self.queries.engine.parts(scan)?.iter().map(|part| part.to_read()).sum())
        };
        Ok(rows(&candidates)?.saturating_mul(FEW) < rows(&all)?)
    }

    /// The same by a look at some of the spans, where the index does not tell: worth it where all candidates are read.
    pub(super) fn choose_by_look(&mut self, time: TimeRange) -> Result<(), QueryError> {
        self.choose(time)?;
        let told: Vec<usize> = self.program.required().filter(|leaf| self.always >> leaf & 1 == 0).collect();
        if self.by.is_some() || self.related || told.is_empty() {
            return Ok(());
        }
        let parts = self.queries.engine.parts(&self.candidate_scan(time)?)?;
        let mut kept = vec![0_u64; self.program.leaves.len()];
        let mut any = 0;
        if let Some(part) = parts.get(parts.len() / 2) {
            part.read(self.control, &mut |batch| {
                let rows: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
                for mask in self.fulfilled(batch, &rows)? {
                    any += u64::from(mask != 0);
                    kept.iter_mut().enumerate().for_each(|(leaf, kept)| *kept += mask >> leaf & 1);
                }
                Ok(Flow::Continue)
            })?;
        }
        self.by = told.into_iter().min_by_key(|leaf| kept[*leaf]).filter(|leaf| kept[*leaf] < any / 2);
        Ok(())
    }

    /// The columns of these filters, and these.
    pub(super) fn columns(
        leaves: &[Leaf],
        fixed: &[&'static str],
        fields: &[Field],
    ) -> Result<Vec<SpanColumn>, QueryError> {
        let mut columns: Vec<SpanColumn> = fixed.iter().map(|name| SpanColumn::Fixed(name)).collect();
        columns.extend(bind::columns(fields)?);
        for leaf in leaves {
            columns.extend(bind::columns(leaf.condition.fields())?);
        }
        columns.sort_unstable();
        columns.dedup();
        Ok(columns)
    }

    /// Of each row of a batch the filters that it fulfils; only these rows are looked at.
    pub(super) fn fulfilled(&self, batch: &RecordBatch, rows: &[u32]) -> Result<Vec<u64>, QueryError> {
        let mut masks = vec![self.always; batch.num_rows()];
        for (place, leaf) in self.program.leaves.iter().enumerate() {
            if self.always >> place & 1 == 0 {
                keep(leaf, batch, rows, |row| masks[row] |= 1 << place)?;
            }
        }
        Ok(masks)
    }

    /// What rows have to have to be of use; nothing if every trace may be in the answer.
    fn must(&self) -> Vec<Must> {
        if let Some(leaf) = self.by {
            return self.program.leaves[leaf].must.clone();
        }
        if self.program.may_match(self.always) {
            return Vec::new();
        }
        let told = self.program.leaves.iter().enumerate();
        let mut told = told.filter(|(place, _)| self.always >> place & 1 == 0).map(|(_, leaf)| &leaf.must);
        match (told.next(), told.next()) {
            (Some(must), None) => must.clone(),
            (Some(first), Some(second)) => {
                let each: Option<Vec<Must>> =
                    [first, second].into_iter().chain(told).map(|must| must.first().cloned()).collect();
                each.map(|each| vec![Must::AnyOf(each)]).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    fn candidate_scan(&self, time: TimeRange) -> Result<Scan, QueryError> {
        let leaves = self.by.map_or(&self.program.leaves[..], |leaf| &self.program.leaves[leaf..=leaf]);
        let columns = Columns::Some(Self::columns(leaves, &["trace_id", "start"], &[])?);
        Ok(Scan { table: Table::Spans, time, must: self.must(), columns, order: Order::Any })
    }

    /// Adds the traces of a batch.
    fn add(&self, seen: &mut Candidates, batch: &RecordBatch) -> Result<(), QueryError> {
        let traces = column(batch, "trace_id")?.as_fixed_size_binary();
        let starts = column(batch, "start")?;
        let starts = starts.as_primitive::<TimestampNanosecondType>();
        let rows: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
        let before = seen.len();
        let mut noted = |row: usize, fulfilled: u64| {
            let id: TraceId = traces.value(row).try_into().unwrap_or_default();
            note(seen, id, Seen { fulfilled, earliest: starts.value(row) });
        };
        if let Some(leaf) = self.by {
            // Of the other filters it is not known what they let through.
            keep(&self.program.leaves[leaf], batch, &rows, |row| noted(row, u64::MAX))?;
        } else {
            let every = self.program.may_match(self.always);
            let masks = self.fulfilled(batch, &rows)?;
            let of_use = masks.iter().enumerate().filter(|(_, mask)| every || **mask != self.always);
            of_use.for_each(|(row, mask)| noted(row, *mask));
        }
        self.control.take_memory((seen.len() - before) * CANDIDATE_BYTES)
    }

    /// The time in windows, the newest first: there are about `first` spans in the first of them, in each further one `wider` times
    /// as many as in all before it, and all others in the last, so many as there may be.
    pub(super) fn windows(
        &self,
        time: TimeRange,
        first: u64,
        wider: u64,
        most: usize,
    ) -> Result<Vec<TimeRange>, QueryError> {
        let parts = self.queries.engine.parts(&self.candidate_scan(time)?)?;
        let parts: Vec<((i64, i64), u64)> = parts.iter().map(|part| (part.times(), part.to_read())).collect();
        let (mut windows, mut to, mut wanted) = (Vec::new(), time.to, first);
        while windows.len() + 1 < most {
            let from = newest(&parts, wanted);
            if from <= time.from {
                break;
            }
            if from < to {
                windows.push(TimeRange { from, to });
                to = from;
            }
            wanted = wanted.saturating_mul(wider);
        }
        windows.push(TimeRange { from: time.from, to });
        Ok(windows)
    }

    /// Adds the candidates of a time.
    pub(super) fn add_all(
        &self,
        seen: &mut Candidates,
        time: TimeRange,
        scanned: &mut u64,
    ) -> Result<(), QueryError> {
        let parts = self.queries.engine.parts(&self.candidate_scan(time)?)?;
        let each = |seen: &mut Candidates, batch: &RecordBatch| self.add(seen, batch);
        let (all, read) = parallel::fold(&parts, self.control, each)?;
        *scanned += read;
        self.note_all(seen, all);
        Ok(())
    }

    /// Adds what several threads found.
    fn note_all(&self, seen: &mut Candidates, all: Vec<Candidates>) {
        let taken = seen.len() + all.iter().map(Candidates::len).sum::<usize>();
        for mut more in all {
            if more.len() > seen.len() {
                std::mem::swap(seen, &mut more);
            }
            more.into_iter().for_each(|(id, more)| note(seen, id, more));
        }
        // Some were found by several threads.
        self.control.give_memory((taken - seen.len()) * CANDIDATE_BYTES);
    }

    /// The candidates of a time by how their spans are related, all at once: of a part of the time it is not told which spans from
    /// before it are above others. Nothing if filters tell as much.
    pub(super) fn related(
        &self,
        time: TimeRange,
        scanned: &mut u64,
    ) -> Result<Option<Candidates>, QueryError> {
        let Some(witness) = self.program.witness.as_ref().filter(|_| self.related) else { return Ok(None) };
        let (all, read) = self.witnessed(witness, time)?;
        *scanned += read;
        let mut seen = Candidates::new();
        self.note_all(&mut seen, all);
        Ok(Some(seen))
    }

    /// Does without what was seen.
    pub(super) fn forget(&self, seen: &mut Candidates) {
        self.control.give_memory(seen.len() * CANDIDATE_BYTES);
        *seen = Candidates::new();
    }

    /// All candidates of a time.
    pub(super) fn all(&self, time: TimeRange, scanned: &mut u64) -> Result<Vec<TraceId>, QueryError> {
        let mut seen = self.related(time, scanned)?.unwrap_or_default();
        if !self.related {
            self.add_all(&mut seen, time, scanned)?;
        }
        let mut found = self.waiting(&seen, &HashSet::new());
        found.sort_unstable();
        let found: Vec<TraceId> = found.into_iter().map(|(_, id)| id).collect();
        self.control.take_memory(found.len() * size_of::<TraceId>())?;
        self.forget(&mut seen);
        Ok(found)
    }

    /// The candidates that may be in the answer and are not done with, and when they began at the latest.
    pub(super) fn waiting(&self, seen: &Candidates, done: &HashSet<TraceId>) -> Vec<(i64, TraceId)> {
        let waiting = seen.iter().filter(|(id, seen)| self.may_match(seen) && !done.contains(*id));
        waiting.map(|(id, seen)| (seen.earliest, *id)).collect()
    }

    fn may_match(&self, seen: &Seen) -> bool {
        self.program.may_match(seen.fulfilled | self.always)
    }

    /// A trace of these spans, with these fields, the first of the program's, and which filters they fulfil.
    pub(super) fn trace(&self, id: TraceId, rows: Vec<Row>, fields: &[Field]) -> Result<Trace, QueryError> {
        let mut trace = Trace::new(id, rows);
        let before = trace_size(&trace);
        super::fill::fill(self.program, fields, &mut trace);
        // What is given back later is all of it.
        self.control.take_memory(trace_size(&trace).saturating_sub(before))?;
        Ok(trace)
    }
}

/// Calls with each of these rows of a batch that fulfils a filter.
fn keep(
    leaf: &Leaf,
    batch: &RecordBatch,
    rows: &[u32],
    mut kept: impl FnMut(usize),
) -> Result<(), QueryError> {
    let mut rows = rows.to_vec();
    leaf.condition.keep(&bind::Bound::new(leaf.condition.fields(), batch)?, &mut rows);
    rows.iter().for_each(|&row| kept(row as usize));
    Ok(())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a arrow_array::ArrayRef, QueryError> {
    batch.column_by_name(name).ok_or_else(|| QueryError::Failed(format!("a batch lacks the column {name}")))
}

/// Since when about so many of the rows are, if those of each part are spread evenly over its time; the least of times if there
/// are not so many.
fn newest(parts: &[((i64, i64), u64)], wanted: u64) -> i64 {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an estimate")]
    let since = |from: i64| -> u64 {
        let of = |&((first, last), rows): &((i64, i64), u64)| {
            let (all, since) =
                (last.abs_diff(first).saturating_add(1), last.abs_diff(from.max(first)).saturating_add(1));
            if from > last { 0 } else { (rows as f64 * (since as f64 / all as f64)) as u64 }
        };
        parts.iter().map(of).sum()
    };
    let (mut low, mut high) = (i64::MIN, parts.iter().map(|(times, _)| times.1).max().unwrap_or(i64::MIN));
    if since(low) <= wanted {
        return i64::MIN;
    }
    while low < high {
        // The upper of two middles, so that the search ends.
        let middle = low.wrapping_add((high.wrapping_sub(low).cast_unsigned() / 2 + 1).cast_signed());
        if since(middle) >= wanted { low = middle } else { high = middle - 1 }
    }
    low
}

//! Which traces may be in an answer, and their spans.

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array as _, RecordBatch};
use hashbrown::{HashMap, HashSet};

use super::plan::Program;
use super::spansets::owned;
use super::tree::{Row, Trace};
use crate::query::engine::{
    Columns, Control, Flow, Must, Order, QueryError, Scan, SpanColumn, Table, TimeRange,
};
use crate::query::exec::render::Keys;
use crate::query::exec::{Queries, bind, parallel};
use crate::query::traceql::{Datum, Field};

/// Up to so many traces are looked up in the index; for more, all spans of the time are read.
const MOST_LOOKED_UP: usize = 512;
/// Bytes of a trace that may be in the answer.
const CANDIDATE_BYTES: usize = 48;

pub(super) type TraceId = [u8; 16];

/// Traces of the newest spans that may be in the answer.
pub(super) struct Newest {
    /// Those with the newest spans first.
    pub(super) ids: Vec<TraceId>,
    /// No trace that began after this is missing.
    pub(super) whole_after: i64,
}

/// What is known of a trace before all of its spans are read.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The filters that some span of it fulfils, as far as single spans tell.
    fulfilled: u64,
    /// When a span of it started, the latest that counts.
    newest: i64,
}

/// Traces that may be in the answer.
type Candidates = HashMap<TraceId, Seen>;

fn note(all: &mut Candidates, id: TraceId, seen: Seen) {
    let known = all.entry(id).or_insert(seen);
    known.fulfilled |= seen.fulfilled;
    known.newest = known.newest.max(seen.newest);
}

/// Reads for a program.
pub(super) struct Reader<'a> {
    queries: &'a Queries,
    program: &'a Program,
    control: &'a Control,
    /// The filters that every span fulfils.
    always: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(queries: &'a Queries, program: &'a Program, control: &'a Control) -> Self {
        let leaves = program.leaves.iter().enumerate();
        let all = leaves.filter(|(_, leaf)| leaf.condition.is_of_all());
        let always = all.fold(0, |mask, (place, _)| mask | 1 << place);
        Self { queries, program, control, always }
    }

    /// The columns of the filters, and these.
    fn columns(&self, fixed: &[&'static str], fields: &[Field]) -> Result<Vec<SpanColumn>, QueryError> {
        let mut columns: Vec<SpanColumn> = fixed.iter().map(|name| SpanColumn::Fixed(name)).collect();
        columns.extend(bind::columns(fields)?);
        for leaf in &self.program.leaves {
            columns.extend(bind::columns(leaf.condition.fields())?);
        }
        columns.sort_unstable();
        columns.dedup();
        Ok(columns)
    }

    /// Of each row of a batch the filters that it fulfils; only these rows are looked at.
    fn fulfilled(&self, batch: &RecordBatch, rows: &[u32]) -> Result<Vec<u64>, QueryError> {
        let mut masks = vec![self.always; batch.num_rows()];
        for (place, leaf) in self.program.leaves.iter().enumerate() {
            if self.always >> place & 1 == 1 {
                continue;
            }
            let mut kept = rows.to_vec();
            leaf.condition.keep(&bind::Bound::new(leaf.condition.fields(), batch)?, &mut kept);
            kept.iter().for_each(|&row| masks[row as usize] |= 1 << place);
        }
        Ok(masks)
    }

    /// What rows have to have to be of use; nothing if every trace may be in the answer.
    fn must(&self) -> Vec<Must> {
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

    fn candidate_scan(&self, time: TimeRange, order: Order) -> Result<Scan, QueryError> {
        let columns = Columns::Some(self.columns(&["trace_id", "start"], &[])?);
        Ok(Scan { table: Table::Spans, time, must: self.must(), columns, order })
    }

    /// Adds the traces of a batch.
    fn add(&self, seen: &mut Candidates, batch: &RecordBatch) -> Result<(), QueryError> {
        let traces = column(batch, "trace_id")?.as_fixed_size_binary();
        let starts = column(batch, "start")?;
        let starts = starts.as_primitive::<TimestampNanosecondType>();
        let rows: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
        let masks = self.fulfilled(batch, &rows)?;
        let every = self.program.may_match(self.always);
        let before = seen.len();
        for (row, &mask) in masks.iter().enumerate() {
            if mask == self.always && !every {
                continue;
            }
            let id: TraceId = traces.value(row).try_into().unwrap_or_default();
            note(seen, id, Seen { fulfilled: mask, newest: starts.value(row) });
        }
        self.control.take_memory((seen.len() - before) * CANDIDATE_BYTES)
    }

    /// The candidates of the newest spans. Ends when there are as many as wanted, or when it has read more than it should.
    pub(super) fn newest(
        &self,
        time: TimeRange,
        wanted: usize,
        most_rows: u64,
        scanned: &mut u64,
    ) -> Result<Newest, QueryError> {
        let mut parts = self.queries.engine.parts(&self.candidate_scan(time, Order::NewestFirst)?)?;
        parts.sort_by_key(|part| std::cmp::Reverse(part.times().1));
        let (mut seen, mut whole_after, mut rows) = (Candidates::new(), i64::MIN, 0);
        let mut parts = parts.iter().peekable();
        while let Some(part) = parts.next() {
            let next = parts.peek().map_or(i64::MIN, |part| part.times().1);
            let mut stopped = false;
            let mut last = i64::MIN;
            *scanned += part.read(self.control, &mut |batch| {
                self.control.check()?;
                self.add(&mut seen, batch)?;
                rows += batch.num_rows() as u64;
                last = last_start(batch)?;
                let found = seen.values().filter(|seen| self.may_match(seen));
                stopped = found.count() >= wanted || rows > most_rows;
                Ok(if stopped { Flow::Stop } else { Flow::Continue })
            })?;
            // A trace that began later than all that was not read has no span there.
            whole_after = if stopped { last.max(next) } else { next };
            if stopped {
                break;
            }
        }
        Ok(Newest { ids: self.in_order(seen), whole_after })
    }

    /// All candidates of a time, those with the newest spans first.
    pub(super) fn all(&self, time: TimeRange, scanned: &mut u64) -> Result<Vec<TraceId>, QueryError> {
        let parts = self.queries.engine.parts(&self.candidate_scan(time, Order::Any)?)?;
        let each = |seen: &mut Candidates, batch: &RecordBatch| self.add(seen, batch);
        let (all, read) = parallel::fold(&parts, self.control, each)?;
        *scanned += read;
        let mut all = all.into_iter();
        let mut seen = all.next().unwrap_or_default();
        all.flatten().for_each(|(id, more)| note(&mut seen, id, more));
        Ok(self.in_order(seen))
    }

    fn may_match(&self, seen: &Seen) -> bool {
        self.program.may_match(seen.fulfilled | self.always)
    }

    fn in_order(&self, seen: Candidates) -> Vec<TraceId> {
        let mut found: Vec<(TraceId, Seen)> =
            seen.into_iter().filter(|(_, seen)| self.may_match(seen)).collect();
        found.sort_unstable_by(|a, b| b.1.newest.cmp(&a.1.newest).then(a.0.cmp(&b.0)));
        found.into_iter().map(|(id, _)| id).collect()
    }

    /// The spans of these traces, with these fields, the first of the program's, and which filters they fulfil; of many traces,
    /// those of a time only.
    pub(super) fn traces(
        &self,
        ids: &[TraceId],
        fields: &[Field],
        time: TimeRange,
        scanned: &mut u64,
    ) -> Result<Vec<Trace>, QueryError> {
        let mut rows = self.rows(ids, fields, time, scanned)?;
        let traces = ids.iter().filter_map(|id| Some(Trace::new(*id, rows.remove(id)?)));
        let mut traces: Vec<Trace> = traces.collect();
        for trace in &mut traces {
            let before = trace_size(trace);
            super::fill::fill(self.program, fields, trace);
            // What is given back later is all of it.
            self.control.take_memory(trace_size(trace).saturating_sub(before))?;
        }
        Ok(traces)
    }

    /// The spans of some traces, with these fields as far as single spans have them.
    fn rows(
        &self,
        ids: &[TraceId],
        fields: &[Field],
        time: TimeRange,
        scanned: &mut u64,
    ) -> Result<HashMap<TraceId, Vec<Row>>, QueryError> {
        let wanted: HashSet<TraceId> = ids.iter().copied().collect();
        let own: Vec<Field> = fields.iter().filter(|field| field.is_of_one_span()).cloned().collect();
        let places: Vec<Option<usize>> =
            fields.iter().map(|field| own.iter().position(|known| known == field)).collect();
        let fixed = ["trace_id", "span_id", "parent_span_id", "start", "duration_ns"];
        let looked_up = ids.len() <= MOST_LOOKED_UP;
        let must = if looked_up {
            vec![Must::AnyOf(ids.iter().copied().map(Must::Trace).collect())]
        } else {
            Vec::new()
        };
        let time = if looked_up { TimeRange::ALL } else { time };
        let columns = Columns::Some(self.columns(&fixed, &own)?);
        let scan = Scan { table: Table::Spans, time, must, columns, order: Order::Any };
        let parts = self.queries.engine.parts(&scan)?;
        let each = |all: &mut HashMap<TraceId, Vec<Row>>, batch: &RecordBatch| {
            self.read(all, batch, &wanted, &own, &places)
        };
        let (all, read) = parallel::fold(&parts, self.control, each)?;
        *scanned += read;
        let mut all = all.into_iter();
        let mut rows = all.next().unwrap_or_default();
        for (id, more) in all.flatten() {
            rows.entry(id).or_default().extend(more);
        }
        Ok(rows)
    }

    fn read(
        &self,
        all: &mut HashMap<TraceId, Vec<Row>>,
        batch: &RecordBatch,
        wanted: &HashSet<TraceId>,
        own: &[Field],
        places: &[Option<usize>],
    ) -> Result<(), QueryError> {
        let keys = Keys::new(batch)?;
        let count = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        let rows: Vec<u32> =
            (0..count).filter(|&row| wanted.contains(&keys.trace_id(row as usize))).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let masks = self.fulfilled(batch, &rows)?;
        let bound = bind::Bound::new(own, batch)?;
        let parents = batch.column_by_name("parent_span_id");
        let mut bytes = 0;
        for row in rows.iter().map(|&row| row as usize) {
            let values =
                places.iter().map(|place| place.map_or(Datum::Nil, |place| owned(bound.value(place, row))));
            let values: Box<[Datum<'static>]> = values.collect();
            let parent = parents
                .filter(|parents| !parents.is_null(row))
                .and_then(|parents| parents.as_fixed_size_binary().value(row).try_into().ok());
            bytes += size_of::<Row>() + values.iter().map(size).sum::<usize>();
            all.entry(keys.trace_id(row)).or_default().push(Row {
                id: keys.span_id(row),
                parent,
                start: keys.start(row),
                duration: keys.duration(row),
                fulfils: masks[row],
                values,
            });
        }
        self.control.take_memory(bytes)
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a arrow_array::ArrayRef, QueryError> {
    batch.column_by_name(name).ok_or_else(|| QueryError::Failed(format!("a batch lacks the column {name}")))
}

fn last_start(batch: &RecordBatch) -> Result<i64, QueryError> {
    let starts = column(batch, "start")?.as_primitive::<TimestampNanosecondType>();
    Ok(starts.values().last().copied().unwrap_or(i64::MIN))
}

/// Bytes of a value, about.
fn size(value: &Datum<'_>) -> usize {
    size_of::<Datum<'_>>()
        + match value {
            Datum::Text(text) => text.len(),
            Datum::List(values) | Datum::Each(values) => values.iter().map(size).sum(),
            _ => 0,
        }
}

/// Bytes of a trace, about.
pub(super) fn trace_size(trace: &Trace) -> usize {
    let rows = trace.rows.iter();
    rows.map(|row| size_of::<Row>() + row.values.iter().map(size).sum::<usize>()).sum()
}

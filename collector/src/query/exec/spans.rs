//! Spans in order, a page at a time.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashbrown::{HashMap, HashSet};

use super::{Plan, Queries, render};
use crate::query::engine::{
    Columns, Control, Flow, Must, Order, QueryError, Scan, SpanColumn, Table, TimeRange,
};
use crate::query::request::{SortBy, Span, SpansAnswer, SpansRequest};
use crate::query::traceql::{Body, Pipeline, parse};

/// Spans of a page unless said otherwise.
const DEFAULT_LIMIT: usize = 20;
/// Pages up to this size are read in two steps: which spans, and then all of these. Of more, the index would have to be
/// asked for too many traces.
const MOST_LATE: usize = 256;

/// What tells a span from others.
const KEYS: [&str; 4] = ["trace_id", "span_id", "start", "duration_ns"];

/// Where a span is in the order of an answer: what comes first is smaller. Ids make it the only one.
type Key = (i64, [u8; 16], [u8; 8], i64);

pub(super) fn answer(
    queries: &Queries,
    request: &SpansRequest,
    control: &Control,
) -> Result<SpansAnswer, QueryError> {
    let limit = super::bounded("limit", request.limit, DEFAULT_LIMIT, queries.limits.max_spans)?;
    let after = request.after.as_deref().map(cursor).transpose()?;
    let plan = match Plan::new(&request.q, request.start, request.end) {
        // More than a filter of single spans: whole traces are looked at.
        Err(error @ QueryError::Unsupported { .. }) => match parse(&request.q)?.body {
            Body::Spans(pipeline) if !request.pending => {
                return of_traces(queries, request, &pipeline, limit, after, control);
            }
            Body::Spans(_) => return Err(error),
            Body::Metrics(_) => return Err(super::traces::comes_to_numbers()),
        },
        plan => plan?,
    };
    let order = match request.order {
        SortBy::Newest => Order::NewestFirst,
        SortBy::Oldest => Order::OldestFirst,
        SortBy::Slowest => Order::Any,
    };
    let late = limit <= MOST_LATE && !request.pending;
    let columns = if late { Columns::Some(key_columns(&plan)) } else { Columns::All };
    let scan = plan.scan(columns, order);
    let mut parts =
        if request.pending { queries.engine.pending(&scan) } else { queries.engine.parts(&scan) }?;
    match order {
        Order::NewestFirst => parts.sort_by_key(|part| Reverse(part.times().1)),
        Order::OldestFirst => parts.sort_by_key(|part| part.times().0),
        Order::Any => {}
    }
    let mut page = Page { best: BTreeMap::new(), limit: limit + 1 };
    let (mut scanned, mut complete) = (0, true);
    for part in parts {
        let first = match order {
            Order::NewestFirst => part.times().1.saturating_neg(),
            Order::OldestFirst => part.times().0,
            Order::Any => i64::MIN,
        };
        // The parts that follow begin later still.
        if page.is_past(first) {
            break;
        }
        let read = part.read(control, &mut |batch| {
            control.check()?;
            let keys = render::Keys::new(batch)?;
            for row in plan.rows(batch)? {
                let row = row as usize;
                let rank = rank(request.order, keys.start(row), keys.duration(row));
                if page.is_past(rank) {
                    if order == Order::Any {
                        continue;
                    }
                    return Ok(Flow::Stop);
                }
                let key = (rank, keys.trace_id(row), keys.span_id(row), keys.start(row));
                let fits = after.is_none_or(|after| key > after) && page.has_room_for(&key);
                if fits {
                    let span = if late { None } else { Some(render::Spans::new(batch)?.span(row)?) };
                    page.add(key, span, control)?;
                }
            }
            Ok(Flow::Continue)
        });
        match read {
            Ok(read) => scanned += read,
            // What was found is of use.
            Err(QueryError::TimedOut) => {
                complete = false;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let mut found: Vec<(Key, Option<Span>)> = page.best.into_iter().collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(key, _)| encode(key));
    if late {
        fetch(queries, &mut found, control)?;
    }
    if request.pending {
        leave_out_ended(queries, &mut found, control)?;
    }
    // One that expired since it was found is not there any more.
    let spans = found.into_iter().filter_map(|(_, span)| span).collect();
    Ok(SpansAnswer { spans, next, complete, scanned })
}

/// What comes first in an order has the smaller rank.
const fn rank(order: SortBy, start: i64, duration: i64) -> i64 {
    match order {
        SortBy::Newest => start.saturating_neg(),
        SortBy::Oldest => start,
        SortBy::Slowest => duration.saturating_neg(),
    }
}

/// The spans that a pipeline leaves of whole traces.
fn of_traces(
    queries: &Queries,
    request: &SpansRequest,
    pipeline: &Pipeline,
    limit: usize,
    after: Option<Key>,
    control: &Control,
) -> Result<SpansAnswer, QueryError> {
    let time = super::time_range(request.start, request.end)?;
    let mut page = Page { best: BTreeMap::new(), limit: limit + 1 };
    let scanned = super::traces::each(queries, pipeline, &[], None, time, control, |found, _| {
        let rank = rank(request.order, found.start, found.duration);
        let key = (rank, found.trace, found.span.get().to_be_bytes(), found.start);
        if after.is_none_or(|after| key > after) && page.has_room_for(&key) {
            page.add(key, None, control)?;
        }
        Ok(())
    })?;
    let mut found: Vec<(Key, Option<Span>)> = page.best.into_iter().collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(key, _)| encode(key));
    for some in found.chunks_mut(MOST_LATE) {
        fetch(queries, some, control)?;
    }
    let spans = found.into_iter().filter_map(|(_, span)| span).collect();
    Ok(SpansAnswer { spans, next, complete: true, scanned })
}

/// What is needed to tell whether a span is in the answer, and where.
fn key_columns(plan: &Plan) -> Vec<SpanColumn> {
    let keys = KEYS.map(SpanColumn::Fixed);
    let mut columns: Vec<SpanColumn> = plan.columns.iter().cloned().chain(keys).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// Reads all columns of the spans that were found: of few rows, in the blocks that the index names for their traces.
fn fetch(queries: &Queries, found: &mut [(Key, Option<Span>)], control: &Control) -> Result<(), QueryError> {
    let starts = found.iter().map(|(key, _)| key.3);
    let Some((from, last)) = starts.map(|start| (start, start)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    else {
        return Ok(());
    };
    let mut traces: Vec<[u8; 16]> = found.iter().map(|(key, _)| key.1).collect();
    traces.sort_unstable();
    traces.dedup();
    let places: HashMap<([u8; 16], [u8; 8], i64), usize> =
        found.iter().enumerate().map(|(place, (key, _))| ((key.1, key.2, key.3), place)).collect();
    let scan = Scan {
        table: Table::Spans,
        time: TimeRange { from, to: last.saturating_add(1) },
        must: vec![Must::AnyOf(traces.into_iter().map(Must::Trace).collect())],
        columns: Columns::All,
        order: Order::Any,
    };
    for part in queries.engine.parts(&scan)? {
        part.read(control, &mut |batch| {
            control.check()?;
            let spans = render::Spans::new(batch)?;
            for row in 0..batch.num_rows() {
                let keys = spans.keys();
                let key = (keys.trace_id(row), keys.span_id(row), keys.start(row));
                if let Some(&place) = places.get(&key) {
                    let span = spans.span(row)?;
                    control.take_memory(render::size(&span))?;
                    found[place].1 = Some(span);
                }
            }
            Ok(Flow::Continue)
        })?;
    }
    Ok(())
}

/// Leaves out what is over after all: what was heard of a span may have come after the span.
fn leave_out_ended(
    queries: &Queries,
    found: &mut Vec<(Key, Option<Span>)>,
    control: &Control,
) -> Result<(), QueryError> {
    let mut ended: HashSet<([u8; 16], [u8; 8])> = HashSet::new();
    for traces in found.chunks(MOST_LATE) {
        let must = vec![Must::AnyOf(traces.iter().map(|(key, _)| Must::Trace(key.1)).collect())];
        let columns = Columns::Some(KEYS.map(SpanColumn::Fixed).to_vec());
        let scan = Scan { table: Table::Spans, time: TimeRange::ALL, must, columns, order: Order::Any };
        for part in queries.engine.parts(&scan)? {
            part.read(control, &mut |batch| {
                let keys = render::Keys::new(batch)?;
                ended.extend((0..batch.num_rows()).map(|row| (keys.trace_id(row), keys.span_id(row))));
                Ok(Flow::Continue)
            })?;
        }
    }
    found.retain(|(key, _)| !ended.contains(&(key.1, key.2)));
    Ok(())
}

/// The first spans of what was seen so far.
struct Page {
    best: BTreeMap<Key, Option<Span>>,
    limit: usize,
}

impl Page {
    /// Whether nothing of this rank, or of a later one, has room.
    fn is_past(&self, rank: i64) -> bool {
        self.best.len() >= self.limit && self.best.last_key_value().is_some_and(|(last, _)| rank > last.0)
    }

    fn has_room_for(&self, key: &Key) -> bool {
        self.best.len() < self.limit || self.best.last_key_value().is_some_and(|(last, _)| key < last)
    }

    fn add(&mut self, key: Key, span: Option<Span>, control: &Control) -> Result<(), QueryError> {
        let size = |span: &Option<Span>| size_of::<Key>() + span.as_ref().map_or(0, render::size);
        control.take_memory(size(&span))?;
        self.best.insert(key, span);
        if self.best.len() > self.limit
            && let Some((_, last)) = self.best.pop_last()
        {
            control.give_memory(size(&last));
        }
        Ok(())
    }
}

fn encode(key: &Key) -> String {
    let mut bytes = Vec::with_capacity(40);
    bytes.extend_from_slice(&key.0.to_be_bytes());
    bytes.extend_from_slice(&key.1);
    bytes.extend_from_slice(&key.2);
    bytes.extend_from_slice(&key.3.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn cursor(text: &str) -> Result<Key, QueryError> {
    let decoded = || {
        let bytes: [u8; 40] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (rank, rest) = bytes.split_first_chunk::<8>()?;
        let (trace, rest) = rest.split_first_chunk::<16>()?;
        let (span, start) = rest.split_first_chunk::<8>()?;
        Some((i64::from_be_bytes(*rank), *trace, *span, i64::from_be_bytes(start.try_into().ok()?)))
    };
    decoded().ok_or_else(|| {
        QueryError::invalid(format!("after is {text:?}, expected the `next` of the page before"))
    })
}

//! The spans of traces that are known by their ids.

use hashbrown::HashSet;

use super::{Queries, render};
use crate::query::engine::{Columns, Control, Flow, Must, Order, Part, QueryError, Scan, Table, TimeRange};
use crate::query::request::{Span, TraceAnswer, TraceRequest};

/// Traces that are read at once.
const MOST_AT_ONCE: usize = 256;

pub(super) type TraceId = [u8; 16];

/// A trace's id: up to 32 hex digits, shorter ones filled with zeros from the left.
pub(super) fn id(text: &str) -> Result<TraceId, QueryError> {
    let text = text.trim();
    let id = u128::from_str_radix(text, 16)
        .ok()
        .filter(|id| *id != 0 && text.len() <= 32 && !text.starts_with('+'));
    let id = id.ok_or_else(|| {
        QueryError::invalid(format!("{text:?} is no trace id, expected up to 32 hex digits"))
    })?;
    Ok(id.to_be_bytes())
}

/// Calls with every span of these traces that is over; returns how many spans were looked at.
pub(super) fn each(
    queries: &Queries,
    ids: &[TraceId],
    control: &Control,
    mut visit: impl FnMut(&render::Spans<'_>, usize) -> Result<(), QueryError>,
) -> Result<u64, QueryError> {
    let mut scanned = 0;
    for ids in ids.chunks(MOST_AT_ONCE) {
        scanned += read(queries.engine.parts(&scan(ids))?, ids, control, &mut visit)?;
    }
    Ok(scanned)
}

fn scan(ids: &[TraceId]) -> Scan {
    let must = match ids {
        [id] => Must::Trace(*id),
        ids => Must::AnyOf(ids.iter().copied().map(Must::Trace).collect()),
    };
    Scan {
        table: Table::Spans,
        time: TimeRange::ALL,
        must: vec![must],
        columns: Columns::All,
        order: Order::Any,
    }
}

fn read(
    parts: Vec<Box<dyn Part>>,
    ids: &[TraceId],
    control: &Control,
    visit: &mut impl FnMut(&render::Spans<'_>, usize) -> Result<(), QueryError>,
) -> Result<u64, QueryError> {
    let wanted: HashSet<TraceId> = ids.iter().copied().collect();
    let mut scanned = 0;
    for part in parts {
        scanned += part.read(control, &mut |batch| {
            control.check()?;
            let spans = render::Spans::new(batch)?;
            for row in (0..batch.num_rows()).filter(|&row| wanted.contains(&spans.keys().trace_id(row))) {
                visit(&spans, row)?;
            }
            Ok(Flow::Continue)
        })?;
    }
    Ok(scanned)
}

pub(super) fn answer(
    queries: &Queries,
    request: &TraceRequest,
    control: &Control,
) -> Result<TraceAnswer, QueryError> {
    let id = id(&request.trace_id)?;
    let mut scanned = 0;
    let mut found = |parts| -> Result<Vec<Span>, QueryError> {
        let mut all = Vec::new();
        scanned += read(parts, &[id], control, &mut |spans, row| {
            let span = spans.span(row)?;
            control.take_memory(render::size(&span))?;
            all.push(span);
            Ok(())
        })?;
        Ok(all)
    };
    let pending = found(queries.engine.pending(&scan(&[id]))?)?;
    let mut spans = found(queries.engine.parts(&scan(&[id]))?)?;
    let ended = spans.len();
    for span in pending {
        if spans[..ended].iter().all(|ended| ended.span_id != span.span_id) {
            spans.push(span);
        }
    }
    spans.sort_by(|a, b| (a.start_unix_nano, &a.span_id).cmp(&(b.start_unix_nano, &b.span_id)));
    Ok(TraceAnswer { trace_id: hex::encode(id), spans, complete: true, scanned })
}

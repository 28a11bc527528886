//! Spans in order, a page at a time.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Plan, Queries, render};
use crate::query::engine::{Columns, Control, Flow, Order, QueryError};
use crate::query::request::{SortBy, Span, SpansAnswer, SpansRequest};

/// Spans of a page unless said otherwise.
const DEFAULT_LIMIT: usize = 20;

/// Where a span is in the order of an answer: what comes first is smaller. Ids make it the only one.
type Key = (i64, [u8; 16], [u8; 8], i64);

pub(super) fn answer(
    queries: &Queries,
    request: &SpansRequest,
    control: &Control,
) -> Result<SpansAnswer, QueryError> {
    let max = queries.limits.max_spans;
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 || limit > max {
        return Err(QueryError::invalid(format!("limit is {limit}, expected 1 to {max}")));
    }
    let plan = Plan::new(&request.q, request.start, request.end)?;
    let after = request.after.as_deref().map(cursor).transpose()?;
    let order = match request.order {
        SortBy::Newest => Order::NewestFirst,
        SortBy::Oldest => Order::OldestFirst,
        SortBy::Slowest => Order::Any,
    };
    let mut parts = queries.engine.parts(&plan.scan(Columns::All, order))?;
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
            let spans = render::Spans::new(batch)?;
            for row in plan.rows(batch)? {
                let row = row as usize;
                let rank = match order {
                    Order::NewestFirst => spans.start(row).saturating_neg(),
                    Order::OldestFirst => spans.start(row),
                    Order::Any => spans.duration(row).saturating_neg(),
                };
                if page.is_past(rank) {
                    if order == Order::Any {
                        continue;
                    }
                    return Ok(Flow::Stop);
                }
                let key = (rank, spans.trace_id(row), spans.span_id(row), spans.start(row));
                let fits = after.is_none_or(|after| key > after) && page.has_room_for(&key);
                if fits {
                    page.add(key, spans.span(row)?, control)?;
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
    let mut found: Vec<(Key, Span)> = page.best.into_iter().collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(key, _)| encode(key));
    Ok(SpansAnswer { spans: found.into_iter().map(|(_, span)| span).collect(), next, complete, scanned })
}

/// The first spans of what was seen so far.
struct Page {
    best: BTreeMap<Key, Span>,
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

    fn add(&mut self, key: Key, span: Span, control: &Control) -> Result<(), QueryError> {
        control.take_memory(render::size(&span))?;
        self.best.insert(key, span);
        if self.best.len() > self.limit
            && let Some((_, last)) = self.best.pop_last()
        {
            control.give_memory(render::size(&last));
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

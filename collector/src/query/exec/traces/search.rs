//! The latest traces that a query finds.

use std::cmp::Reverse;

use serde_json::{Map, Value as Json};

use super::plan::Program;
use super::read::{Reader, TraceId, trace_size};
use super::spansets::{Spans, evaluate};
use super::tree::Trace;
use crate::query::engine::{Control, QueryError, TimeRange};
use crate::query::exec::{Queries, stats};
use crate::query::search::{FoundSet, FoundSpan, FoundTrace, SearchAnswer, SearchRequest};
use crate::query::traceql::{Body, Datum, Pipeline, parse};

const DEFAULT_LIMIT: usize = 20;
const DEFAULT_SPANS: usize = 3;
/// How far beyond the time range spans are looked at, so that a trace over its edge is seen whole: nanoseconds.
const BEYOND: i64 = 3_600_000_000_000;
/// How many more traces are tried at first than are wanted.
const TRIED: usize = 4;
/// Spans that are read one after the other, the latest first, before all of the time are read at once.
const MOST_ROWS: u64 = 1 << 18;
/// Traces that are held at a time.
const CHUNK: usize = 1 << 14;

pub(in crate::query::exec) fn answer(
    queries: &Queries,
    request: &SearchRequest,
    control: &Control,
) -> Result<SearchAnswer, QueryError> {
    let max = queries.limits.max_spans;
    let bounded = |name: &str, asked: Option<usize>, default| match asked.unwrap_or(default) {
        asked if asked == 0 || asked > max => {
            Err(QueryError::invalid(format!("{name} is {asked}, expected 1 to {max}")))
        }
        asked => Ok(asked),
    };
    let limit = bounded("limit", request.limit, DEFAULT_LIMIT)?;
    let spans = bounded("spans_per_set", request.spans_per_set, DEFAULT_SPANS)?;
    let query = parse(&request.q)?;
    let Body::Spans(pipeline) = &query.body else {
        let message =
            "numbers over time are TraceQL, but a search finds traces; this version does not answer them";
        return Err(QueryError::Unsupported { message: message.to_owned(), at: None });
    };
    let time = TimeRange { from: request.start.unwrap_or(i64::MIN), to: request.end.unwrap_or(i64::MAX) };
    if time.from > time.to {
        let (from, to) = (time.from, time.to);
        return Err(QueryError::invalid(format!("the time range ends ({to}) before it starts ({from})")));
    }
    let mut search = Search::new(queries, pipeline, time, control)?;
    let found = search.latest(limit)?;
    let traces = found.iter().map(|(trace, sets)| search.shown(trace, sets, spans)).collect();
    let ignored_hints = query.hints.into_iter().map(|hint| hint.name).collect();
    Ok(SearchAnswer { traces, ignored_hints, scanned: search.scanned })
}

type Found = (Trace, Vec<Spans>);

struct Search<'a> {
    queries: &'a Queries,
    program: Program,
    time: TimeRange,
    control: &'a Control,
    scanned: u64,
}

impl<'a> Search<'a> {
    fn new(
        queries: &'a Queries,
        pipeline: &Pipeline,
        time: TimeRange,
        control: &'a Control,
    ) -> Result<Self, QueryError> {
        Ok(Self { queries, program: Program::new(pipeline)?, time, control, scanned: 0 })
    }

    fn wide(&self) -> TimeRange {
        let TimeRange { from, to } = self.time;
        TimeRange { from: from.saturating_sub(BEYOND), to: to.saturating_add(BEYOND) }
    }

    /// The latest traces that are found: if the latest spans are enough, of these.
    fn latest(&mut self, limit: usize) -> Result<Vec<Found>, QueryError> {
        let wide = self.wide();
        let mut scanned = 0;
        let reader = Reader::new(self.queries, &self.program, self.control);
        let (ids, frontier) = reader.newest(wide, TRIED * limit, MOST_ROWS, &mut scanned)?;
        let mut found = self.found(&ids, limit, &mut scanned)?;
        let complete = found.iter().filter(|(trace, _)| trace.start() > frontier).count();
        if frontier > i64::MIN && complete < limit {
            let ids = reader.all(wide, &mut scanned)?;
            found = self.found(&ids, limit, &mut scanned)?;
        }
        self.scanned += scanned;
        Ok(found)
    }

    /// Of these traces the latest that are in the answer.
    fn found(&self, ids: &[TraceId], limit: usize, scanned: &mut u64) -> Result<Vec<Found>, QueryError> {
        let reader = Reader::new(self.queries, &self.program, self.control);
        let mut found: Vec<Found> = Vec::new();
        for ids in ids.chunks(CHUNK) {
            for trace in reader.traces(ids, self.wide(), scanned)? {
                self.control.check()?;
                self.control.give_memory(trace_size(&trace));
                // It had begun by the end of the time, and was not over before.
                let overlaps = trace.start() < self.time.to
                    && trace.start().saturating_add(trace.duration()) >= self.time.from;
                let sets = if overlaps { evaluate(&self.program, &trace)? } else { Vec::new() };
                if !sets.is_empty() {
                    found.push((trace, sets));
                }
            }
            found.sort_by_key(|(trace, _)| (Reverse(trace.start()), trace.id));
            found.truncate(limit);
        }
        Ok(found)
    }

    fn shown(&self, trace: &Trace, sets: &[Spans], spans: usize) -> FoundTrace {
        let shown_of = |set: &Spans| FoundSet {
            matched: set.places.len() as u64,
            spans: set.places.iter().take(spans).map(|at| self.span(trace, *at)).collect(),
            told: set.told.iter().map(|(name, told)| (name.clone(), json(&told.value))).collect(),
        };
        FoundTrace {
            trace_id: hex::encode(trace.id),
            start_unix_nano: trace.start(),
            duration_ns: trace.duration(),
            spans: trace.rows.len() as u64,
            sets: sets.iter().map(shown_of).collect(),
        }
    }

    fn span(&self, trace: &Trace, at: u32) -> FoundSpan {
        let row = trace.row(at);
        let fields: Map<String, Json> = self
            .program
            .shown
            .iter()
            .filter_map(|field| {
                let value = row.values.get(self.program.place(field)?)?;
                (*value != Datum::Nil).then(|| (field.to_string(), json(value)))
            })
            .collect();
        FoundSpan {
            span_id: hex::encode(row.id),
            start_unix_nano: row.start,
            duration_ns: row.duration,
            fields,
        }
    }
}

fn json(value: &Datum<'_>) -> Json {
    let mut text = String::new();
    stats::write(value, &mut text);
    serde_json::from_str(&text).unwrap_or_default()
}

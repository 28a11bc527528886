//! The latest traces that a query finds.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use serde_json::{Map, Value as Json};

use super::gather::{Together, trace_size};
use super::plan::{Program, service};
use super::read::{Reader, TraceId};
use super::spansets::{Spans, evaluate};
use super::tree::{Row, SpanId, Trace};
use crate::query::engine::{Control, QueryError, TimeRange};
use crate::query::exec::bind::borrowed;
use crate::query::exec::{Queries, bounded, parallel, stats, time_range};
use crate::query::search::{FoundSet, FoundSpan, FoundTrace, SearchAnswer, SearchRequest, ServiceSpans};
use crate::query::traceql::{Body, Datum, Field, Intrinsic, Pipeline, parse};

const DEFAULT_LIMIT: usize = 20;
const DEFAULT_SPANS: usize = 3;
/// How far beyond the time range spans are looked at, so that a trace over its edge is seen whole: nanoseconds.
const BEYOND: i64 = 3_600_000_000_000;
/// OTLP's number of the status error.
const ERROR: i8 = 2;
/// Traces that are read at first, to learn how large they are; and those of which all is read at once, since that is quicker than
/// to read them twice.
pub(super) const FIRST: usize = 512;

pub(in crate::query::exec) fn answer(
    queries: &Queries,
    request: &SearchRequest,
    control: &Control,
) -> Result<SearchAnswer, QueryError> {
    let max = queries.limits.max_spans;
    let limit = bounded("limit", request.limit, DEFAULT_LIMIT, max)?;
    let spans = bounded("spans_per_set", request.spans_per_set, DEFAULT_SPANS, max)?;
    let time = time_range(request.start, request.end)?;
    let query = parse(&request.q)?;
    let Body::Spans(pipeline) = &query.body else { return Err(comes_to_numbers()) };
    let program = Program::new(pipeline)?.with_summary();
    let reader = Reader::new(queries, &program, control);
    let memory = queries.limits.memory;
    let counted = if request.started_within { time } else { TimeRange::ALL };
    let mut search = Search { program: &program, reader, time, counted, limit, memory, control, scanned: 0 };
    let found = search.latest()?;
    let traces = found.iter().map(|(trace, sets)| search.shown(trace, sets, spans)).collect();
    let ignored_hints = query.hints.into_iter().map(|hint| hint.name).collect();
    Ok(SearchAnswer { traces, ignored_hints, scanned: search.scanned })
}

/// The query finds no spans.
pub(in crate::query::exec) fn comes_to_numbers() -> QueryError {
    let message = "the query comes to numbers over time, not to spans; `/api/metrics/query_range` and `/api/metrics/query` answer it";
    QueryError::Unsupported { message: message.to_owned(), at: None }
}

/// A span that a pipeline leaves.
#[derive(Debug, Clone, Copy)]
pub(in crate::query::exec) struct Left {
    pub(in crate::query::exec) trace: TraceId,
    pub(in crate::query::exec) span: SpanId,
    pub(in crate::query::exec) start: i64,
    pub(in crate::query::exec) duration: i64,
}

/// Calls with each span that a pipeline leaves of those that started in a time, and with its fields; if some traces are given, it
/// looks at these only. Returns how many spans were looked at.
pub(in crate::query::exec) fn each(
    queries: &Queries,
    pipeline: &Pipeline,
    fields: &[Field],
    only: Option<HashSet<TraceId>>,
    time: TimeRange,
    control: &Control,
    mut visit: impl FnMut(Left, &[Datum<'static>]) -> Result<(), QueryError>,
) -> Result<u64, QueryError> {
    let program = Program::of(pipeline, fields)?;
    let reader = Reader::new(queries, &program, control);
    let memory = queries.limits.memory;
    let mut search = Search {
        program: &program,
        reader,
        time,
        // What a span is related to may be outside of the time.
        counted: TimeRange::ALL,
        limit: usize::MAX,
        memory,
        control,
        scanned: 0,
    };
    let places: Vec<Option<usize>> = fields.iter().map(|field| program.place(field)).collect();
    let wide = search.wide();
    search.reader.only_left = true;
    let ids: Vec<TraceId> = if let Some(only) = only {
        only.into_iter().collect()
    } else {
        search.reader.choose_by_look(wide)?;
        search.reader.all(wide, &mut search.scanned)?
    };
    // Nothing is kept of those that were looked at, so that most of the room is theirs.
    let room = |bytes: usize, traces: usize| (memory / 4 * 3 / (bytes / traces.max(1)).max(1)).max(1);
    let mut fit = FIRST;
    if ids.len() > FIRST {
        fit = room(search.reader.weight(&ids, &program.fields, wide)?, ids.len());
    }
    let mut rest = &ids[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(fit));
        let looked = search.look(now, &program.fields)?;
        for (trace, sets) in &looked.found {
            for at in sets.iter().flat_map(|set| &set.places) {
                let row = trace.row(*at);
                if !time.contains(row.start) {
                    continue;
                }
                let value = |place: &Option<usize>| place.and_then(|place| row.values.get(place)).cloned();
                let values: Vec<Datum<'static>> =
                    places.iter().map(|place| value(place).unwrap_or(Datum::Nil)).collect();
                let Row { id: span, start, duration, .. } = *row;
                visit(Left { trace: trace.id, span, start, duration }, &values)?;
            }
        }
        search.give_back(&looked.found);
        (rest, fit) = (later, room(looked.bytes, now.len()));
    }
    Ok(search.scanned)
}

/// Whether the index leaves only a small part of the spans that have to be looked at to know which traces may be in the answer.
pub(in crate::query::exec) fn are_few(
    queries: &Queries,
    pipeline: &Pipeline,
    time: TimeRange,
    control: &Control,
) -> Result<bool, QueryError> {
    let program = Program::of(pipeline, &[])?;
    let mut reader = Reader::new(queries, &program, control);
    reader.choose(around(time))?;
    reader.reads_few(around(time))
}

/// When spans started that belong to traces of a time.
pub(in crate::query::exec) const fn around(time: TimeRange) -> TimeRange {
    TimeRange { from: time.from.saturating_sub(BEYOND), to: time.to.saturating_add(BEYOND) }
}

pub(super) type Found = (Trace, Vec<Spans>);

/// What was found of some traces.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) found: Vec<Found>,
    /// When each of them began, found or not.
    pub(super) starts: Vec<i64>,
    /// What they took in memory, all together.
    pub(super) bytes: usize,
}

pub(super) struct Search<'a> {
    pub(super) program: &'a Program,
    pub(super) reader: Reader<'a>,
    pub(super) time: TimeRange,
    /// When spans started that count.
    counted: TimeRange,
    pub(super) limit: usize,
    /// Bytes that the answer may need while it is made.
    memory: usize,
    control: &'a Control,
    pub(super) scanned: u64,
}

impl Search<'_> {
    pub(super) fn wide(&self) -> TimeRange {
        around(self.time)
    }

    pub(super) fn give_back(&self, found: &[Found]) {
        found.iter().for_each(|(trace, _)| self.control.give_memory(trace_size(trace)));
    }

    /// How many traces there is room for, by what some took. Each reading of many goes through all spans of the time.
    pub(super) fn fit(&self, bytes: usize, traces: usize) -> usize {
        (self.memory / 2 / (bytes / traces.max(1)).max(1)).max(1)
    }

    /// Those of these traces that are in the answer.
    pub(super) fn look(&mut self, ids: &[TraceId], fields: &[Field]) -> Result<Looked, QueryError> {
        let together = self.reader.rows(ids, fields, self.wide(), &mut self.scanned)?;
        let parts = parallel::in_parts(together, 1, |together| self.judge(together, ids, fields))?;
        let mut looked = Looked::default();
        for part in parts {
            looked.found.extend(part.found);
            looked.starts.extend(part.starts);
            looked.bytes += part.bytes;
        }
        Ok(looked)
    }

    fn judge(
        &self,
        together: Vec<Together>,
        ids: &[TraceId],
        fields: &[Field],
    ) -> Result<Looked, QueryError> {
        let mut looked = Looked::default();
        for (number, rows) in together.into_iter().flat_map(Together::traces) {
            self.control.check()?;
            let trace = self.reader.trace(ids[number], rows, fields)?;
            looked.bytes += trace_size(&trace);
            looked.starts.push(trace.start());
            // It had begun by the end of the time, and was not over before.
            let overlaps = trace.start() < self.time.to
                && trace.start().saturating_add(trace.duration()) >= self.time.from;
            let sets = if overlaps { evaluate(self.program, &trace, self.counted)? } else { Vec::new() };
            if sets.is_empty() {
                self.control.give_memory(trace_size(&trace));
            } else {
                looked.found.push((trace, sets));
            }
        }
        Ok(looked)
    }

    fn shown(&self, trace: &Trace, sets: &[Spans], spans: usize) -> FoundTrace {
        let shown_of = |set: &Spans| FoundSet {
            matched: set.places.len() as u64,
            spans: set.places.iter().take(spans).map(|at| self.span(trace, *at)).collect(),
            told: set.told.iter().map(|(name, told)| (name.clone(), json(&told.value))).collect(),
            times: set
                .told
                .iter()
                .filter(|(_, told)| told.is_duration)
                .map(|(name, _)| name.clone())
                .collect(),
        };
        let root = trace.root();
        FoundTrace {
            trace_id: hex::encode(trace.id),
            start_unix_nano: trace.start(),
            duration_ns: trace.duration(),
            spans: trace.rows.len() as u64,
            root_name: root.map(|root| self.text(root, &Field::Intrinsic(Intrinsic::Name))),
            root_service: root.map(|root| self.text(root, &service())),
            services: self.services(trace),
            sets: sets.iter().map(shown_of).collect(),
        }
    }

    fn services(&self, trace: &Trace) -> BTreeMap<String, ServiceSpans> {
        let status = self.program.place(&Field::Intrinsic(Intrinsic::Status));
        let mut all: BTreeMap<String, ServiceSpans> = BTreeMap::new();
        for row in &trace.rows {
            let of = all.entry(self.text(row, &service())).or_default();
            let failed = status.and_then(|status| row.values.get(status)) == Some(&Datum::Status(ERROR));
            of.spans += 1;
            of.errors += u64::from(failed);
        }
        all
    }

    /// A text that a span has; empty if it has none.
    fn text(&self, row: &Row, field: &Field) -> String {
        match self.program.place(field).and_then(|place| row.values.get(place)) {
            Some(Datum::Text(text)) => text.clone().into_owned(),
            _ => String::new(),
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
                (*value != Datum::Nil).then(|| (field.to_string(), json(&borrowed(value).alone())))
            })
            .collect();
        FoundSpan {
            span_id: format!("{:016x}", row.id),
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

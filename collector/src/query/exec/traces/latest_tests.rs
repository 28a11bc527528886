//! The latest traces, where hundreds of them are under way at any time, against what was sent.

use std::cmp::Reverse;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::query::exec::tests::{BASE, attribute, stored_of};
use crate::query::exec::{Limits, Queries};
use crate::query::search::{SearchAnswer, SearchRequest};

const TRACES: usize = 1_500;
const MS: i64 = 1_000_000;

/// A span as it was sent.
#[derive(Clone, Copy)]
struct Sent {
    /// The number of its trace, an attribute of the first span.
    number: i64,
    start: i64,
    end: i64,
    failed: bool,
    /// Its parent's place in the trace; the first has none.
    parent: usize,
}

type Trace = Vec<Sent>;

/// A trace begins each millisecond and lasts up to 300; some spans began a little before the first of their trace.
fn traces(seed: u64) -> Vec<Trace> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut trace = |number: usize| -> Trace {
        let number = i64::try_from(number).unwrap();
        let began = BASE + number * MS;
        let length = random.i64(1..300);
        (0..random.usize(1..8))
            .map(|place| {
                let start = if place == 0 { began } else { began + random.i64(-5..length) * MS };
                let (failed, parent) = (random.u8(..5) == 0, random.usize(..place.max(1)));
                Sent { number, start, end: start + random.i64(0..50) * MS, failed, parent }
            })
            .collect()
    };
    (0..TRACES).map(&mut trace).collect()
}

fn span(number: usize, place: usize, of: &Sent) -> Span {
    let id = |place: usize| (number * 8 + place + 1).to_be_bytes().to_vec();
    Span {
        trace_id: (u128::try_from(number).unwrap() + 1).to_be_bytes().to_vec(),
        span_id: id(place),
        parent_span_id: if place == 0 { Vec::new() } else { id(of.parent) },
        name: if place == 0 { "root" } else { "work" }.to_owned(),
        start_time_unix_nano: of.start.cast_unsigned(),
        end_time_unix_nano: of.end.cast_unsigned(),
        attributes: (place == 0).then(|| attribute("number", Any::IntValue(of.number))).into_iter().collect(),
        status: of.failed.then(|| Status { code: 2, ..Status::default() }),
        ..Span::default()
    }
}

/// The store of them; spans come in the order of their ends.
fn stored(traces: &[Trace]) -> (tempfile::TempDir, Queries) {
    let all = traces.iter().enumerate();
    let spans =
        all.flat_map(|(number, of)| of.iter().enumerate().map(move |(place, of)| span(number, place, of)));
    let mut spans: Vec<Span> = spans.collect();
    spans.sort_by_key(|span| span.end_time_unix_nano);
    let (dir, store) = stored_of(&spans);
    (dir, Queries::new(Arc::new(store), Limits::default()))
}

fn numbers(answer: &SearchAnswer) -> Vec<usize> {
    answer.traces.iter().map(|trace| usize::from_str_radix(&trace.trace_id, 16).unwrap() - 1).collect()
}

#[test]
fn the_latest_are_found_where_many_traces_are_under_way() {
    type Is = fn(&Trace) -> bool;
    let cases: &[(&str, Is)] = &[
        ("{}", |_| true),
        ("{} | count() > 4", |of| of.len() > 4),
        ("{ name = `root` } >> { status = error }", |of| of[1..].iter().any(|span| span.failed)),
        ("{ status = error } > { name = `work` }", |of| of[1..].iter().any(|span| of[span.parent].failed)),
        ("{ name = `root` } !> { name = `work` && status = error }", |of| {
            of[1..].iter().any(|span| span.failed && span.parent != 0)
        }),
        ("{ status = error } | count() > 3", |of| of.iter().filter(|span| span.failed).count() > 3),
        ("{ name = `work` } >> { name = `root` }", |_| false),
        ("{ name = `root` } | max(duration) > 10h", |_| false),
        ("{ name = `work` } | 45ms <= max(duration)", |of| {
            of[1..].iter().any(|span| span.end - span.start >= 45 * MS)
        }),
        ("{ name = `work` } | min(duration) < 2ms", |of| {
            of[1..].iter().any(|span| span.end - span.start < 2 * MS)
        }),
        ("{ name = `work` } | min(duration) = 48ms", |of| {
            of[1..].iter().map(|span| span.end - span.start).min() == Some(48 * MS)
        }),
        ("{ name = `work` } | by(status) | avg(duration) >= 47ms", |of| {
            [false, true].iter().any(|failed| {
                let of = of[1..].iter().filter(|span| span.failed == *failed);
                let (count, sum) = of.fold((0, 0), |(n, sum), span| (n + 1, sum + span.end - span.start));
                count > 0 && sum >= count * 47 * MS
            })
        }),
        ("{ .number = 77 } >> { status = error }", |of| {
            of[0].number == 77 && of[1..].iter().any(|span| span.failed)
        }),
        ("{ status = error } < { .number = 1234 && name = `root` }", |of| {
            of[0].number == 1234 && of[1..].iter().any(|span| span.failed && span.parent == 0)
        }),
        ("{ rootName = `root` && status = error }", |of| of.iter().any(|span| span.failed)),
        ("{ rootName = `work` }", |_| false),
        ("{ duration >= 49ms } && { status = error }", |of| {
            of.iter().any(|span| span.end - span.start >= 49 * MS) && of.iter().any(|span| span.failed)
        }),
    ];
    for seed in 0..3 {
        let sent = traces(seed);
        let (_dir, queries) = stored(&sent);
        for (q, is) in cases {
            for (from, to) in [(None, None), (Some(BASE + 400 * MS), Some(BASE + 700 * MS))] {
                let begins = |of: &Trace| of.iter().map(|span| span.start).min().unwrap();
                let ends = |of: &Trace| of.iter().map(|span| span.end).max().unwrap();
                let overlaps = |of: &Trace| {
                    to.is_none_or(|to| begins(of) < to) && from.is_none_or(|from| ends(of) >= from)
                };
                let mut wanted: Vec<usize> =
                    (0..TRACES).filter(|&number| is(&sent[number]) && overlaps(&sent[number])).collect();
                wanted.sort_by_key(|&number| (Reverse(begins(&sent[number])), number));
                for limit in [1, 5, 40, 10_000] {
                    let (q, limit) = ((*q).to_owned(), Some(limit));
                    let request =
                        SearchRequest { q, limit, start: from, end: to, ..SearchRequest::default() };
                    let answer = queries.search(&request, &queries.control()).unwrap();
                    let wanted: Vec<usize> = wanted.iter().copied().take(limit.unwrap_or(0)).collect();
                    assert_eq!(numbers(&answer), wanted, "{request:?}, seed {seed}");
                    assert!(answer.traces.iter().all(|trace| trace.root_name.as_deref() == Some("root")));
                }
            }
        }
    }
}

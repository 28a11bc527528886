//! Numbers over related spans part by part, against those that a look at whole traces gives.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::query::engine::{Control, Part, Visit};
use crate::query::exec::tests::{BASE, Through, attribute, stored_of};
use crate::query::exec::{Limits, Queries};
use crate::query::over_time::{OverTimeAnswer, OverTimeRequest};
use crate::store::Store;

const MS: i64 = 1_000_000;

/// Questions to a store of which no part tells where parents are, as those of old.
pub(in crate::query::exec) fn old(store: Arc<Store>) -> Queries {
    let read = |part: &dyn Part, control: &Control, visit: &mut Visit<'_>| {
        part.read(control, &mut |batch| {
            let kept =
                (0..batch.num_columns()).filter(|at| batch.schema().field(*at).name() != "parent_offset");
            visit(&batch.project(&kept.collect::<Vec<_>>()).unwrap())
        })
    };
    Queries::new(Arc::new(Through { store, read }), Limits::default())
}

/// Traces that overlap; parents may be later spans, make rings, be the span itself or be missing, and there may be several roots.
pub(in crate::query::exec) fn spans(seed: u64, traces: u64, entangled: bool) -> Vec<Span> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut all = Vec::new();
    for trace in 0..traces {
        let (count, began) = (random.u64(1..12), BASE + i64::try_from(trace).unwrap() * 2 * MS);
        for place in 0..count {
            let id = |place: u64| (trace * 16 + place + 1).to_be_bytes().to_vec();
            let parent = match random.u8(..20) {
                0 if entangled => Some(random.u64(..count)),
                1 if entangled => Some(15),
                2 if entangled => None,
                _ => place.checked_sub(1).map(|before| random.u64(..=before)),
            };
            let long = if entangled { 400 } else { 0 };
            let start = began + random.i64(0..=long) * MS;
            let number = random.i64(0..9);
            all.push(Span {
                trace_id: u128::from(trace + 1).to_be_bytes().to_vec(),
                span_id: id(place),
                parent_span_id: parent.map(id).unwrap_or_default(),
                name: ["a", "b", "c"][random.usize(..3)].to_owned(),
                start_time_unix_nano: start.cast_unsigned(),
                end_time_unix_nano: (start + random.i64(0..30) * MS).cast_unsigned(),
                attributes: vec![attribute("number", Any::IntValue(number))],
                status: (random.u8(..4) == 0).then(|| Status { code: 2, ..Status::default() }),
                ..Span::default()
            });
        }
    }
    if entangled {
        all.sort_by_key(|span| span.end_time_unix_nano);
    }
    all
}

fn ask(queries: &Queries, q: &str, (from, to): (i64, i64), exemplars: usize) -> OverTimeAnswer {
    let (start, end, step) = (BASE + from * MS, BASE + to * MS, Some(250 * MS));
    let request = OverTimeRequest { q: q.to_owned(), start, end, step, exemplars };
    queries.over_time(&request, &queries.control()).unwrap_or_else(|error| panic!("{q}: {error}"))
}

const RELATED: [&str; 12] = [
    "{ name = `a` } >> { status = error }",
    "{ name = `a` } > { status = error }",
    "{ name = `a` } !>> { status = error }",
    "{ name = `a` && status = error } !> { .number > 4 }",
    "{ name = `a` } > { name = `b` } > { name = `c` }",
    "{ name = `a` } >> { name = `b` } >> { name = `c` }",
    "({ name = `a` } >> { name = `b` }) || { .number = 3 }",
    "{ status = error } !>> ({ name = `b` } > { name = `c` })",
    "({ status = error } !>> { name = `b` }) >> { name = `c` }",
    "{} >> { name = `c` }",
    "{ nestedSetParent < 0 } >> { status = error }",
    "{ .nothing = 1 } !> { nestedSetParent < 0 }",
];

#[test]
fn parts_tell_what_whole_traces_tell() {
    for seed in 0..3 {
        let (_dir, store) = stored_of(&spans(seed, 900, true));
        let store = Arc::new(store);
        let quick = Queries::new(store.clone(), Limits::default());
        let whole = old(store);
        for q in RELATED {
            for end in [
                "count_over_time() by (name)",
                "sum_over_time(.number) by (status, .number)",
                "rate() by (rootName)",
            ] {
                for range in [(-1, 4_000), (503, 1_117)] {
                    let q = format!("{q} | {end}");
                    let (quick, whole) = (ask(&quick, &q, range, 0), ask(&whole, &q, range, 0));
                    assert_eq!(quick.series, whole.series, "{q}, {range:?}, seed {seed}");
                    assert!(
                        !quick.series.is_empty() || q.contains("nothing"),
                        "{q} finds nothing: seed {seed}"
                    );
                }
            }
        }
    }
}

#[test]
fn traces_that_a_part_has_as_a_whole_are_read_once_and_without_their_ids() {
    let mut spans = spans(7, 4_000, false);
    spans[100].attributes.push(attribute("rare", Any::BoolValue(true)));
    let (_dir, store) = stored_of(&spans);
    let queries = Queries::new(Arc::new(store), Limits::default());
    let rows = spans.len() as u64;
    for q in RELATED {
        let answer = ask(&queries, &format!("{q} | rate()"), (-1, 10_000), 0);
        // But for those that came with two requests, which are looked up; else all are read twice.
        assert!((rows..rows + rows / 2).contains(&answer.scanned), "{q}: {} of {rows}", answer.scanned);
    }
    // Where the index tells that few traces have a filter's spans, only these are looked at.
    let answer = ask(&queries, "{ .rare = true } >> { name = `c` } | count_over_time()", (-1, 10_000), 0);
    assert!(answer.scanned < rows / 4, "{} of {rows}", answer.scanned);
    // Exemplars are of spans that count.
    let q = "{ name = `a` } >> { status = error } | count_over_time()";
    let answer = ask(&queries, q, (-1, 4_000), 10);
    let shown = &answer.series[0].exemplars;
    assert!(!shown.is_empty() && shown.len() <= 10);
    for exemplar in shown {
        let trace: u128 = u128::from_str_radix(&exemplar.trace_id, 16).unwrap();
        let of = spans.iter().filter(|span| span.trace_id == trace.to_be_bytes());
        assert!(of.clone().any(|span| span.name == "a") && of.clone().any(|span| span.status.is_some()));
    }
}

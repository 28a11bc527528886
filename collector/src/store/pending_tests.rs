//! Spans that are not over are there until they are, and are counted once.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use tempfile::tempdir;

use super::Store;
use super::tests::{all, attribute, request, send, settle, small, span};
use crate::query::exec::{Limits, Queries};
use crate::query::request::{SpansRequest, TraceRequest};

fn open(path: &Path) -> Arc<Store> {
    Arc::new(Store::open(path, small()).unwrap())
}

/// What is heard of a span after so many nanoseconds.
fn pending(number: u64, after: u64) -> Bytes {
    let mut span = span(number);
    span.end_time_unix_nano = span.start_time_unix_nano + after;
    span.attributes.push(attribute("agentvitals.span.pending", Any::BoolValue(true)));
    request(vec![span])
}

/// The `number` of each that is not over, and how long it had gone on.
fn running(store: &Arc<Store>) -> Vec<(i64, i64)> {
    let queries = Queries::new(Arc::clone(store) as _, Limits::default());
    let asked = SpansRequest { pending: true, ..SpansRequest::default() };
    let found = queries.spans(&asked, &queries.control()).unwrap().spans;
    let mut found: Vec<_> =
        found.iter().map(|span| (span.attributes["number"].as_i64().unwrap(), span.duration_ns)).collect();
    found.sort_unstable();
    found
}

fn in_trace(store: &Arc<Store>, number: u64) -> Vec<bool> {
    let queries = Queries::new(Arc::clone(store) as _, Limits::default());
    let asked = TraceRequest { trace_id: format!("{:x}", number / 3 + 1) };
    let found = queries.trace(&asked, &queries.control()).unwrap().spans;
    found.iter().map(|span| span.attributes.contains_key("agentvitals.span.pending")).collect()
}

/// Behaviour: P22
#[test]
fn a_span_that_is_not_over_is_seen_and_counts_when_it_is() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(send(&store, pending(3, 10)).unwrap().accepted, 1);
    send(&store, pending(7, 10)).unwrap();
    // What is older comes later at times.
    send(&store, pending(3, 30)).unwrap();
    send(&store, pending(3, 20)).unwrap();
    send(&store, request(vec![span(4)])).unwrap();
    assert_eq!(running(&store), [(3, 30), (7, 10)]);
    assert_eq!(all(&store), [4].into(), "only what is over counts");
    assert_eq!(in_trace(&store, 3), [true, false]);
    send(&store, request(vec![span(3)])).unwrap();
    assert_eq!((running(&store), in_trace(&store, 3)), (vec![(7, 10)], vec![false, false]));
    // It was on its way while the span ended.
    send(&store, pending(3, 40)).unwrap();
    assert_eq!((running(&store), in_trace(&store, 3)), (vec![(7, 10)], vec![false, false]));
    assert_eq!(all(&store), [3, 4].into());
}

/// Behaviour: P22
#[test]
fn what_is_not_over_outlives_generations_of_the_log_and_the_process() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    send(&store, pending(3, 10)).unwrap();
    send(&store, pending(100_000, 10)).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(running(&store), [(3, 10), (100_000, 10)]);
    for round in 0..3 {
        let first = 10_000 * (round + 1);
        send(&store, request((first..first + 6_000).map(span).collect())).unwrap();
        send(&store, pending(200_000 + round, 10)).unwrap();
        settle(&store);
    }
    send(&store, request(vec![span(3)])).unwrap();
    let expected = [(100_000, 10), (200_000, 10), (200_001, 10), (200_002, 10)];
    assert_eq!(running(&store), expected);
    drop(store);
    let store = open(dir.path());
    assert_eq!(running(&store), expected);
    send(&store, request([100_000, 200_000, 200_001, 200_002].map(span).to_vec())).unwrap();
    store.rotate();
    settle(&store);
    drop(store);
    let store = open(dir.path());
    assert_eq!((running(&store), all(&store).len()), (vec![], 3 * 6_000 + 5));
}

#[test]
fn of_too_many_the_oldest_are_forgotten_and_told() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let many = |first: u64| {
        let spans = (first..first + 1_000).map(|number| {
            let mut span = span(number);
            span.attributes.push(attribute("agentvitals.span.pending", Any::BoolValue(true)));
            span
        });
        request(spans.collect())
    };
    for first in (0..12_000).step_by(1_000) {
        send(&store, many(first)).unwrap();
    }
    let figures = store.figures();
    assert_eq!(figures.pending + figures.pending_dropped, 12_000);
    assert!(figures.pending <= 10_000 && figures.pending >= 9_000, "{}", figures.pending);
    assert!(!running(&store).iter().any(|(number, _)| *number < 1_000));
    // The log is not kept for what is heard of the same spans again and again.
    for _ in 0..20 {
        send(&store, many(11_000)).unwrap();
    }
    settle(&store);
    assert_eq!(all(&store).len(), 0);
}

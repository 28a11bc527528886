//! The store as a whole: what is taken is found, with its types, whatever happens in between.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tempfile::tempdir;

use super::{Options, Store};
use crate::ingest::{Accepted, Ingest as _, Refusal, Signal};
use crate::query::engine::Flow;
use crate::query::{Columns, Control, Engine as _, Must, Order, Scan, SpanColumn, Table, TimeRange};
use crate::value::Value;

pub(super) fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(value: &str) -> Any {
    Any::StringValue(value.to_owned())
}

/// A span that can be told by its number.
pub(super) fn span(number: u64) -> Span {
    Span {
        trace_id: (u128::from(number / 3) + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: format!("chat model-{}", number % 7),
        kind: 3,
        start_time_unix_nano: 1_790_000_000_000_000_000 + number * 1_000,
        end_time_unix_nano: 1_790_000_000_000_000_000 + number * 1_000 + 500 + number % 50,
        attributes: vec![
            attribute("gen_ai.agent.name", text(&format!("agent-{}", number % 5))),
            attribute("call", text(&format!("call-{number}"))),
            attribute("number", Any::IntValue(i64::try_from(number).unwrap())),
            attribute("share", Any::DoubleValue(0.5)),
        ],
        ..Span::default()
    }
}

pub(super) fn request(spans: Vec<Span>) -> Bytes {
    let resource =
        Resource { attributes: vec![attribute("service.name", text("bot"))], ..Resource::default() };
    let scope = InstrumentationScope { name: "tests".to_owned(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

pub(super) fn send(store: &Store, request: Bytes) -> Result<Accepted, Refusal> {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(store.ingest(Signal::Traces, request))
}

pub(super) fn small() -> Options {
    Options { segment_rows: 5_000, keep_free: 0, ..Options::default() }
}

fn open(path: &Path) -> Store {
    Store::open(path, small()).unwrap()
}

/// The values of `number` in the order that they come.
fn numbers(store: &Store, must: Vec<Must>, time: TimeRange, order: Order) -> Vec<i64> {
    let columns = Columns::Some(vec![SpanColumn::Attribute("number".to_owned())]);
    let scan = Scan { table: Table::Spans, time, must, columns, order };
    let control = Control::new(None, usize::MAX);
    let mut parts = store.parts(&scan).unwrap();
    match order {
        Order::NewestFirst => parts.sort_by_key(|part| std::cmp::Reverse(part.times().1)),
        _ => parts.sort_by_key(|part| part.times().0),
    }
    let mut found = Vec::new();
    for part in parts {
        part.read(&control, &mut |batch| {
            let column = batch.column_by_name("a:number").unwrap();
            found.extend(column.as_primitive::<arrow_array::types::Int64Type>().values());
            Ok(Flow::Continue)
        })
        .unwrap();
    }
    found
}

pub(super) fn all(store: &Store) -> BTreeSet<i64> {
    let found = numbers(store, Vec::new(), TimeRange::ALL, Order::Any);
    let set: BTreeSet<i64> = found.iter().copied().collect();
    assert_eq!(set.len(), found.len(), "a span is there twice");
    set
}

/// Waits until nothing is left to be written: the state tells, no clock.
pub(crate) fn settle(store: &Store) {
    let log = super::open::log_dir(&store.shared.dir);
    let mut contents = store.shared.state.lock();
    while !contents.frozen.is_empty()
        || contents.waiting().0 >= small().segment_rows
        || super::wal::generations(&log).unwrap().len() > 1
    {
        contents = store.shared.state.wait(contents, std::time::Duration::from_millis(20));
    }
}

#[test]
fn what_is_acknowledged_is_found_at_once_in_segments_and_after_a_restart() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    for first in (0..12_000).step_by(1_000) {
        let accepted = send(&store, request((first..first + 1_000).map(span).collect())).unwrap();
        assert_eq!((accepted.accepted, accepted.rejected), (1_000, 0));
        assert_eq!(all(&store).len() as u64, first + 1_000);
    }
    settle(&store);
    assert!(store.figures().spans.segments >= 1, "{:?}", store.figures());
    for file in std::fs::read_dir(dir.path().join("spans")).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
    drop(store);
    let store = open(dir.path());
    settle(&store);
    assert_eq!(all(&store), (0..12_000).collect());
    assert_eq!(store.reports(), &[] as &[String]);
    let names: Vec<_> =
        std::fs::read_dir(dir.path().join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn a_value_that_is_rare_is_found_by_reading_little() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    send(&store, request((0..12_000).map(span).collect())).unwrap();
    settle(&store);
    send(&store, request((12_000..13_000).map(span).collect())).unwrap();
    let must = |key: &str, value| vec![Must::Attribute(key.to_owned(), value)];
    for (wanted, must) in [
        (7_777, must("call", Value::String("call-7777".to_owned()))),
        (7_777, must("number", Value::Int(7_777))),
        (7_777, must("number", Value::Double(7_777.0))),
        (12_345, must("call", Value::String("call-12345".to_owned()))),
    ] {
        let found = numbers(&store, must, TimeRange::ALL, Order::Any);
        assert!(found.contains(&wanted) && found.len() <= 2 * 2_048, "{wanted}: {}", found.len());
    }
    let none =
        numbers(&store, must("call", Value::String("no such call".to_owned())), TimeRange::ALL, Order::Any);
    assert!(none.len() <= 2_048, "{}", none.len());
    let trace = numbers(&store, vec![Must::Trace(3_001_u128.to_be_bytes())], TimeRange::ALL, Order::Any);
    assert!([9_000, 9_001, 9_002].iter().all(|number| trace.contains(number)), "{trace:?}");
}

#[test]
fn times_are_exact_and_parts_are_in_order() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    // Sent in another order than they started.
    for first in [8_000, 0, 4_000] {
        send(&store, request((first..first + 4_000).rev().map(span).collect())).unwrap();
    }
    settle(&store);
    let base = 1_790_000_000_000_000_000;
    let time = TimeRange { from: base + 3_333_000, to: base + 9_999_000 };
    let found = numbers(&store, Vec::new(), time, Order::Any);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), (3_333..9_999).collect());
    for part in store
        .parts(&Scan {
            table: Table::Spans,
            time,
            must: Vec::new(),
            columns: Columns::All,
            order: Order::NewestFirst,
        })
        .unwrap()
    {
        let mut before = i64::MAX;
        part.read(&Control::new(None, usize::MAX), &mut |batch| {
            let starts = batch.column_by_name("start").unwrap();
            for &start in starts.as_primitive::<arrow_array::types::TimestampNanosecondType>().values() {
                assert!(start <= before && time.contains(start));
                before = start;
            }
            Ok(Flow::Continue)
        })
        .unwrap();
    }
}

/// Behaviour: P4
#[test]
fn a_batch_that_comes_again_counts_once() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let batch = request((0..6_000).map(span).collect());
    assert_eq!(send(&store, batch.clone()).unwrap().accepted, 6_000);
    assert_eq!(send(&store, batch.clone()).unwrap().accepted, 6_000);
    settle(&store);
    drop(store);
    let store = open(dir.path());
    assert_eq!(send(&store, batch).unwrap().accepted, 6_000);
    assert_eq!(all(&store), (0..6_000).collect());
    assert_eq!(store.figures().spans.repeated, 6_000);
}

#[test]
fn what_is_no_span_is_refused_with_the_reason_and_the_others_are_taken() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let wrong = Span { trace_id: vec![1, 2, 3], name: "short".to_owned(), ..span(1) };
    let accepted = send(&store, request(vec![span(0), wrong, span(2)])).unwrap();
    assert_eq!((accepted.accepted, accepted.rejected), (2, 1));
    assert_eq!(accepted.reason, "span \"short\": its trace_id has 3 bytes, expected 16");
    let error = send(&store, Bytes::from_static(b"\xff\xff no protobuf")).unwrap_err();
    assert!(
        matches!(&error, Refusal::Malformed(message) if message.contains("ExportTraceServiceRequest")),
        "{error:?}"
    );
    drop(store);
    assert_eq!(all(&open(dir.path())), [0, 2].into());
}

#[test]
fn values_keep_their_types_in_memory_and_on_disk() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let odd = |number| {
        let mut odd = span(number);
        odd.attributes[1] = attribute("call", Any::BytesValue(vec![0, 255]));
        odd.events.push(Event { time_unix_nano: 7, name: "retry \"x\"".to_owned(), ..Event::default() });
        odd
    };
    for first in [0, 6_000] {
        send(
            &store,
            request((first..first + 6_000).map(|n| if n % 6_000 == 9 { odd(n) } else { span(n) }).collect()),
        )
        .unwrap();
    }
    settle(&store);
    send(&store, request(vec![odd(20_000)])).unwrap();
    let mut seen = 0;
    let must = vec![Must::EventName("retry \"x\"".to_owned())];
    let scan =
        Scan { table: Table::Spans, time: TimeRange::ALL, must, columns: Columns::All, order: Order::Any };
    for part in store.parts(&scan).unwrap() {
        part.read(&Control::new(None, usize::MAX), &mut |batch| {
            let Some(events) = batch.column_by_name("events") else { return Ok(Flow::Continue) };
            let residual = batch.column_by_name("attributes").unwrap().as_string::<i32>();
            for (row, events) in events.as_string::<i32>().iter().enumerate() {
                if let Some(events) = events {
                    assert_eq!(events, r#"[{"time":7,"name":"retry \"x\""}]"#);
                    let residual = crate::value::parse_map(residual.value(row)).unwrap();
                    assert_eq!(residual, [("call".to_owned(), Value::Bytes(vec![0, 255]))]);
                    seen += 1;
                }
            }
            Ok(Flow::Continue)
        })
        .unwrap();
    }
    assert_eq!(seen, 3);
}

#[test]
fn an_index_that_is_damaged_is_made_again() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    send(&store, request((0..6_000).map(span).collect())).unwrap();
    settle(&store);
    drop(store);
    let spans = dir.path().join("spans");
    let index = std::fs::read_dir(&spans).unwrap().map(|entry| entry.unwrap().path());
    let index =
        index.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "idx")).unwrap();
    let whole = std::fs::read(&index).unwrap();
    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    for bytes in [damaged, whole[..whole.len() / 2].to_vec(), Vec::new()] {
        std::fs::write(&index, bytes).unwrap();
        drop(open(dir.path()));
        assert_eq!(std::fs::read(&index).unwrap(), whole, "the same spans have the same index");
    }
}

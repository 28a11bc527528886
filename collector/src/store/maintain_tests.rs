//! Segments that are removed, put together, or written anew: what must stay stays, with its types, over restarts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    number_data_point::Value as Number,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use tempfile::tempdir;

use super::recent::Recent;
use super::{Deleted, Options, Store};
use crate::ingest::{Ingest as _, Signal};
use crate::query::exec::{Limits, Queries};
use crate::query::request::{SortBy, SpansAnswer, SpansRequest};
use crate::query::signals::{LogsAnswer, LogsRequest, MetricAnswer, MetricRequest};

pub(super) const BASE: u64 = 1_700_000_000_000_000_000;
pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(super) fn resource(service: &str) -> Option<Resource> {
    let attributes = vec![attribute("service.name", Any::StringValue(service.to_owned()))];
    Some(Resource { attributes, ..Resource::default() })
}

/// Attributes of every type, and some whose type differs from record to record.
fn attributes(number: u64) -> Vec<KeyValue> {
    let list = ArrayValue { values: vec![AnyValue { value: Some(Any::IntValue(number as i64)) }] };
    let odd = match number % 4 {
        0 => Any::IntValue(number as i64),
        1 => Any::StringValue(format!("t{number}")),
        2 => Any::DoubleValue(f64::NAN),
        _ => Any::BytesValue(vec![1, 2, number as u8]),
    };
    let mut all = vec![
        attribute("n", Any::IntValue(number as i64)),
        attribute("share", Any::DoubleValue(number as f64 / 8.0)),
        attribute("yes", Any::BoolValue(number.is_multiple_of(2))),
        attribute("list", Any::ArrayValue(list)),
        attribute("odd", odd),
    ];
    if number == 17 {
        all.push(attribute("rare", Any::StringValue("only here".to_owned())));
    }
    all
}

fn spans(service: &str, numbers: std::ops::Range<u64>) -> Bytes {
    let span = |number: u64| Span {
        trace_id: u128::from(number / 3 + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        parent_span_id: if number.is_multiple_of(3) {
            Vec::new()
        } else {
            (number / 3 * 3 + 1).to_be_bytes().to_vec()
        },
        trace_state: "a=b".to_owned(),
        name: format!("call {}", number % 5),
        kind: (number % 6) as i32,
        start_time_unix_nano: BASE + number * SECOND,
        end_time_unix_nano: BASE + number * SECOND + number * 500,
        attributes: attributes(number),
        events: vec![Event { name: "e".to_owned(), attributes: attributes(number), ..Event::default() }],
        links: vec![Link { trace_id: vec![7; 16], span_id: vec![8; 8], ..Link::default() }],
        status: number.is_multiple_of(7).then(|| Status { code: 2, message: "no".to_owned() }),
        flags: 0x101,
        dropped_links_count: (number % 2) as u32,
        ..Span::default()
    };
    let scope = InstrumentationScope {
        name: "s".to_owned(),
        version: "1".to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans =
        vec![ScopeSpans { scope: Some(scope), spans: numbers.map(span).collect(), ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: resource(service), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

fn logs(service: &str, numbers: std::ops::Range<u64>) -> Bytes {
    let record = |number: u64| LogRecord {
        time_unix_nano: BASE + number * SECOND,
        observed_time_unix_nano: BASE + number * SECOND + 7,
        severity_number: (number % 24) as i32,
        severity_text: "X".to_owned(),
        body: Some(AnyValue { value: Some(Any::StringValue(format!("line {number}"))) }),
        attributes: attributes(number),
        trace_id: u128::from(number / 3 + 1).to_be_bytes().to_vec(),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: numbers.map(record).collect(), ..ScopeLogs::default() }];
    let resource_logs =
        vec![ResourceLogs { resource: resource(service), scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()
}

fn metrics(service: &str, numbers: std::ops::Range<u64>) -> Bytes {
    let number = |number: u64| NumberDataPoint {
        start_time_unix_nano: BASE,
        time_unix_nano: BASE + number * SECOND,
        value: Some(if number.is_multiple_of(2) { Number::AsInt(1 << 60) } else { Number::AsDouble(0.5) }),
        attributes: attributes(number),
        exemplars: vec![Exemplar { trace_id: vec![7; 16], ..Exemplar::default() }],
        ..NumberDataPoint::default()
    };
    let histogram = |number: u64| HistogramDataPoint {
        time_unix_nano: BASE + number * SECOND,
        count: 3,
        sum: Some(2.5),
        min: Some(0.5),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![1.0],
        ..HistogramDataPoint::default()
    };
    let sum = Sum {
        data_points: numbers.clone().map(number).collect(),
        aggregation_temporality: 1,
        is_monotonic: true,
    };
    let histogram = Histogram { data_points: numbers.map(histogram).collect(), aggregation_temporality: 1 };
    let metric = |name: &str, data| Metric { name: name.to_owned(), data: Some(data), ..Metric::default() };
    let metrics = vec![metric("sum", Data::Sum(sum)), metric("histogram", Data::Histogram(histogram))];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: resource(service), scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec().into()
}

/// A store that is looked after only when the test says so.
pub(super) fn open(path: &Path, change: impl FnOnce(&mut Options)) -> Arc<Store> {
    let mut options =
        Options { keep_free: 0, maintain_every: Duration::from_secs(3_600), ..Options::default() };
    change(&mut options);
    Arc::new(Store::open(path, options).unwrap())
}

fn send(store: &Store, service: &str, numbers: std::ops::Range<u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (signal, request) in [
        (Signal::Traces, spans(service, numbers.clone())),
        (Signal::Logs, logs(service, numbers.clone())),
        (Signal::Metrics, metrics(service, numbers)),
    ] {
        let accepted = runtime.block_on(store.ingest(signal, request)).unwrap();
        assert_eq!(accepted.rejected, 0, "{}", accepted.reason);
    }
}

/// All that can be asked for.
fn all(store: &Arc<Store>) -> (SpansAnswer, LogsAnswer, Vec<MetricAnswer>) {
    let queries = Queries::new(Arc::clone(store) as _, Limits::default());
    let control = queries.control();
    let request = SpansRequest { limit: Some(10_000), order: SortBy::Oldest, ..SpansRequest::default() };
    let mut spans = queries.spans(&request, &control).unwrap();
    let request = LogsRequest { limit: Some(10_000), oldest_first: true, ..LogsRequest::default() };
    let mut logs = queries.logs(&request, &control).unwrap();
    (spans.scanned, logs.scanned) = (0, 0);
    let metric = |name: &str| {
        let by = ["n", "share", "yes", "odd", "resource.service.name"].map(str::to_owned).to_vec();
        let request =
            MetricRequest { name: name.to_owned(), by, limit: Some(10_000), ..MetricRequest::default() };
        let mut answer = queries.metric(&request, &control).unwrap();
        answer.scanned = 0;
        answer
    };
    (spans, logs, vec![metric("sum"), metric("histogram")])
}

/// Waits until the log has nothing that is not in segments.
pub(super) fn settle(store: &Store) {
    let log = super::open::log_dir(&store.shared.dir);
    let mut contents = store.shared.state.lock();
    while !contents.frozen.is_empty() || super::wal::generations(&log).unwrap().len() > 1 {
        contents = store.shared.state.wait(contents, Duration::from_millis(20));
    }
}

pub(super) fn files(dir: &Path, table: &str) -> usize {
    let all = std::fs::read_dir(dir.join(table)).unwrap();
    all.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|kind| kind == "parquet"))
        .count()
}

/// Each opening makes a segment of what came before it.
fn many_segments(dir: &Path) -> Arc<Store> {
    for part in 0..6 {
        let store = open(dir, |_| {});
        send(&store, if part % 2 == 0 { "even" } else { "odd" }, part * 50..part * 50 + 50);
    }
    let store = open(dir, |_| {});
    settle(&store);
    store
}

#[test]
fn small_segments_become_one_and_nothing_in_them_changes() {
    let dir = tempdir().unwrap();
    let store = many_segments(dir.path());
    let before = all(&store);
    assert_eq!((before.0.spans.len(), before.1.logs.len(), before.2[0].groups.len()), (300, 300, 300));
    assert_eq!(files(dir.path(), "spans"), 6);
    store.shared.compact().unwrap();
    assert_eq!(all(&store), before);
    assert_eq!((store.figures().compacted, store.figures().spans.segments), (18, 1));
    for table in ["spans", "logs", "metrics"] {
        assert_eq!(files(dir.path(), table), 1, "{table}");
    }
    store.shared.compact().unwrap();
    assert_eq!(store.figures().compacted, 18, "one is not put together with itself");
    drop(store);
    let store = open(dir.path(), |_| {});
    assert_eq!(all(&store), before);
    // What was there before is known again.
    send(&store, "even", 0..50);
    assert_eq!(all(&store), before);
}

#[test]
fn many_spans_leave_room_to_remember_the_requests_of_logs_and_metrics() {
    let dir = tempdir().unwrap();
    let store = many_segments(dir.path());
    store.shared.compact().unwrap();
    let contents = store.shared.state.lock();
    // All spans and a few more.
    let mut recent = Recent::new(320);
    super::open::remember(&contents.segments, &mut recent).unwrap();
    for segment in contents.segments.iter().flatten() {
        super::segment::identities(segment, None, |identity| {
            assert!(!recent.insert(identity, 0), "what is in {:?} is not known again", segment.path);
        })
        .unwrap();
    }
}

#[test]
fn an_index_without_its_segment_is_removed() {
    let dir = tempdir().unwrap();
    let store = many_segments(dir.path());
    let before = all(&store);
    drop(store);
    // A crash came after the first of two files was removed, or written.
    let index = dir.path().join("logs/0000000001-0000000004.idx");
    std::fs::write(&index, "x").unwrap();
    let store = open(dir.path(), |_| {});
    assert!(!index.exists());
    assert_eq!(all(&store), before);
    assert_eq!(std::fs::read_dir(dir.path().join("logs")).unwrap().count(), 12);
}

#[test]
fn a_crash_between_the_new_segment_and_the_end_of_the_old_ones_leaves_each_row_once() {
    let dir = tempdir().unwrap();
    let store = many_segments(dir.path());
    let before = all(&store);
    let saved = tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        for entry in std::fs::read_dir(from.join("spans")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, to.join("spans").join(path.file_name().unwrap())).unwrap();
        }
    };
    std::fs::create_dir(saved.path().join("spans")).unwrap();
    copy(dir.path(), saved.path());
    store.shared.compact().unwrap();
    drop(store);
    // The old ones are there again, beside the one that they became.
    copy(saved.path(), dir.path());
    assert_eq!(files(dir.path(), "spans"), 7);
    let store = open(dir.path(), |_| {});
    assert_eq!(all(&store), before);
    assert_eq!(files(dir.path(), "spans"), 1);
}

#[test]
fn what_is_too_old_or_too_much_goes_a_segment_at_a_time_and_questions_that_read_it_end_well() {
    let dir = tempdir().unwrap();
    drop(many_segments(dir.path()));
    let now = crate::clock::unix_nanos();
    let age = Duration::from_nanos((now - (BASE + 160 * SECOND) as i64).unsigned_abs());
    let store = open(dir.path(), |options| options.keep_for = Some(age));
    // A question that began before holds what it reads.
    let held = store.shared.state.lock().snapshot::<super::spans::chunk::Row>();
    store.shared.expire().unwrap();
    assert_eq!(files(dir.path(), "spans"), 6, "they are being read");
    drop(held);
    assert_eq!(files(dir.path(), "spans"), 3);
    // Rows 150 to 299 are left.
    assert_eq!(all(&store).0.spans.len(), 150);
    assert_eq!(store.figures().expired, 9);
    let bytes = store.figures().spans.segment_bytes
        + store.figures().logs.segment_bytes
        + store.figures().metrics.segment_bytes;
    drop(store);
    let store = open(dir.path(), |options| options.keep_bytes = Some(bytes / 2));
    store.shared.expire().unwrap();
    let left = all(&store).0.spans;
    assert!((50..=100).contains(&left.len()), "{}", left.len());
    assert_eq!(left.last().unwrap().attributes["n"], 299);
}

#[test]
fn the_data_of_a_service_goes_and_that_of_others_stays() {
    let dir = tempdir().unwrap();
    let store = many_segments(dir.path());
    // Some of it is in memory and in the log.
    send(&store, "even", 300..320);
    send(&store, "odd", 320..340);
    let before = all(&store);
    let deleted = store.delete_service("even").unwrap();
    assert_eq!(deleted, Deleted { spans: 170, logs: 170, metrics: 340 });
    let expect = |store: &Arc<Store>| {
        let after = all(store);
        let odd: Vec<_> = before.0.spans.iter().filter(|span| span.service == "odd").cloned().collect();
        assert_eq!(after.0.spans, odd);
        let odd: Vec<_> = before.1.logs.iter().filter(|log| log.service == "odd").cloned().collect();
        assert_eq!(after.1.logs, odd);
        assert_eq!(after.2[1].groups[0].values.as_ref().unwrap().count, 3 * 170);
    };
    expect(&store);
    assert_eq!(store.delete_service("even").unwrap(), Deleted::default());
    assert_eq!(store.delete_service("nobody").unwrap(), Deleted::default());
    drop(store);
    let store = open(dir.path(), |_| {});
    expect(&store);
    assert!(store.reports().is_empty());
    // No byte of it is left in the files.
    for table in ["spans", "logs", "metrics", "wal"] {
        for entry in std::fs::read_dir(dir.path().join(table)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(9).any(|window| window == b"only here"), "{}", path.display());
        }
    }
    // What is sent again afterwards is taken.
    send(&store, "even", 0..50);
    assert_eq!(all(&store).0.spans.len(), 170 + 50);
}

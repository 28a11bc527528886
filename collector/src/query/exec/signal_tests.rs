//! Log records and metrics over a real store: what was sent is found, also after a restart and in segments.

use std::path::Path;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exponential_histogram_data_point::Buckets,
    number_data_point::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use tempfile::tempdir;

use super::*;
use crate::ingest::{Accepted, Ingest as _, Signal};
use crate::store::{Options, Store};

pub(super) const BASE: u64 = 1_790_000_000_000_000_000;
pub(super) const SECOND: u64 = 1_000_000_000;

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Any::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn resource(instance: &str) -> Option<Resource> {
    let attributes = vec![attribute("service.name", "bot"), attribute("service.instance.id", instance)];
    Some(Resource { attributes, ..Resource::default() })
}

/// A store whose generations are complete after this many rows.
pub(super) fn open(path: &Path, segment_rows: usize) -> Arc<Store> {
    let options = Options { segment_rows, keep_free: 0, ..Options::default() };
    Arc::new(Store::open(path, options).unwrap())
}

pub(super) fn send(store: &Store, signal: Signal, request: Vec<u8>) -> Accepted {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.ingest(signal, request.into())).unwrap()
}

pub(super) fn queries(store: &Arc<Store>) -> Queries {
    Queries::new(Arc::clone(store) as _, Limits::default())
}

fn logs_request(records: Vec<LogRecord>) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records: records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: resource("a"), scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn record(number: u64) -> LogRecord {
    LogRecord {
        time_unix_nano: BASE + number / 2 * SECOND,
        observed_time_unix_nano: BASE + number,
        severity_number: if number.is_multiple_of(5) { 17 } else { 9 },
        severity_text: "INFO".to_owned(),
        event_name: "turn".to_owned(),
        body: Some(AnyValue { value: Some(Any::StringValue(format!("turn \"{number}\" of the agent"))) }),
        attributes: vec![attribute("session", &format!("s-{}", number % 3))],
        trace_id: u128::from(number / 10 + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        ..LogRecord::default()
    }
}

fn found(queries: &Queries, request: &LogsRequest) -> LogsAnswer {
    queries.logs(request, &queries.control()).unwrap()
}

/// Feature: L5
#[test]
fn log_records_are_found_by_what_they_have_in_memory_in_segments_and_after_a_restart() {
    let dir = tempdir().unwrap();
    for segment_rows in [10_000, 100, 100] {
        let store = open(dir.path(), segment_rows);
        for first in (0..1_000).step_by(100) {
            let request = logs_request((first..first + 100).map(record).collect());
            let accepted = send(&store, Signal::Logs, request);
            assert_eq!((accepted.accepted, accepted.rejected), (100, 0));
        }
        let queries = queries(&store);
        let count = |request: LogsRequest| {
            let request = LogsRequest { limit: Some(5_000), ..request };
            found(&queries, &request).logs.len()
        };
        let by = |q: &str| count(LogsRequest { q: q.to_owned(), ..LogsRequest::default() });
        // The same requests came again and again, and are kept once.
        assert_eq!(by(""), 1_000);
        assert_eq!(by("{ .session = \"s-1\" && resource.service.name = \"bot\" && name = \"turn\" }"), 333);
        assert_eq!(by("{ trace:id = \"00000000000000000000000000000007\" }"), 10);
        assert_eq!(by("{ .session = \"s-9\" }"), 0);
        assert_eq!(count(LogsRequest { severity: Some("Error".to_owned()), ..LogsRequest::default() }), 200);
        assert_eq!(
            count(LogsRequest { contains: Some("\"77\" of".to_owned()), ..LogsRequest::default() }),
            1
        );
        let (start, end) = (Some((BASE + SECOND) as i64), Some((BASE + 3 * SECOND) as i64));
        assert_eq!(count(LogsRequest { start, end, ..LogsRequest::default() }), 4);
        let refused = LogsRequest { q: "{ duration > 1s }".to_owned(), ..LogsRequest::default() };
        let refused = queries.logs(&refused, &queries.control()).unwrap_err().to_string();
        assert!(refused.contains("logs have no `duration`"), "{refused}");
    }
    let store = open(dir.path(), 100);
    assert!(store.figures().logs.segments > 0);
    let one = found(
        &queries(&store),
        &LogsRequest { limit: Some(1), oldest_first: true, ..LogsRequest::default() },
    );
    let log = &one.logs[0];
    assert_eq!((log.time_unix_nano, log.observed_unix_nano), (BASE as i64, log.observed_unix_nano));
    assert_eq!((log.severity_text.as_str(), log.service.as_str()), ("INFO", "bot"));
    assert_eq!(log.resource["service.instance.id"], "a");
}

#[test]
fn pages_of_log_records_have_each_once_though_many_have_one_time() {
    let dir = tempdir().unwrap();
    let store = open(dir.path(), 10_000);
    let same =
        |number: u64| LogRecord { time_unix_nano: BASE + number % 4, attributes: Vec::new(), ..record(0) };
    send(&store, Signal::Logs, logs_request((0..40).map(same).chain((0..7).map(record)).collect()));
    let queries = queries(&store);
    for oldest_first in [false, true] {
        let (mut after, mut seen, mut pages) = (None, Vec::new(), 0);
        loop {
            let request = LogsRequest { limit: Some(6), after, oldest_first, ..LogsRequest::default() };
            let answer = found(&queries, &request);
            seen.extend(answer.logs.iter().map(|log| log.time_unix_nano));
            (after, pages) = (answer.next, pages + 1);
            if after.is_none() {
                break;
            }
        }
        assert_eq!((seen.len(), pages), (47, 8));
        assert!(if oldest_first { seen.is_sorted() } else { seen.iter().rev().is_sorted() });
    }
}

#[test]
fn a_record_without_a_time_has_that_of_its_receipt_also_after_a_restart() {
    let dir = tempdir().unwrap();
    let timeless = LogRecord { time_unix_nano: 0, observed_time_unix_nano: 0, ..record(1) };
    let mut times = Vec::new();
    for _ in 0..2 {
        let store = open(dir.path(), 10_000);
        if times.is_empty() {
            send(&store, Signal::Logs, logs_request(vec![timeless.clone()]));
        }
        times.push(found(&queries(&store), &LogsRequest::default()).logs[0].time_unix_nano);
    }
    assert!(times[0] > BASE as i64 / 2);
    assert_eq!(times[0], times[1]);
}

pub(super) fn metrics_request(instance: &str, metrics: Vec<Metric>) -> Vec<u8> {
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: resource(instance), scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

pub(super) fn metric(name: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: "s".to_owned(), data: Some(data), ..Metric::default() }
}

pub(super) fn number(time: u64, value: Value, agent: &str) -> NumberDataPoint {
    NumberDataPoint {
        start_time_unix_nano: BASE,
        time_unix_nano: BASE + time * SECOND,
        value: Some(value),
        attributes: vec![attribute("agent", agent)],
        ..NumberDataPoint::default()
    }
}

fn exponential(time: u64, scale: i32, counts: Vec<u64>) -> Data {
    let count = counts.iter().sum();
    let point = ExponentialHistogramDataPoint {
        start_time_unix_nano: BASE,
        time_unix_nano: BASE + time * SECOND,
        count,
        sum: Some(count as f64),
        scale,
        positive: Some(Buckets { offset: 0, bucket_counts: counts }),
        ..ExponentialHistogramDataPoint::default()
    };
    Data::ExponentialHistogram(ExponentialHistogram { data_points: vec![point], aggregation_temporality: 2 })
}

pub(super) fn asked(
    queries: &Queries,
    name: &str,
    with: impl FnOnce(&mut MetricRequest),
) -> Vec<crate::query::signals::MetricGroup> {
    let mut request = MetricRequest { name: name.to_owned(), ..MetricRequest::default() };
    with(&mut request);
    queries.metric(&request, &queries.control()).unwrap().groups
}

/// What two processes send: a counter, a gauge, histograms of both kinds.
fn send_all(store: &Store) {
    for (instance, factor) in [("a", 1), ("b", 10)] {
        for time in [10, 20, 30] {
            let sum = Sum {
                data_points: vec![
                    number(time, Value::AsInt((time * factor) as i64), "x"),
                    number(time, Value::AsInt(1), "y"),
                ],
                aggregation_temporality: 2,
                is_monotonic: true,
            };
            let gauge =
                Gauge { data_points: vec![number(time, Value::AsDouble((time * factor) as f64 / 4.0), "x")] };
            let explicit = HistogramDataPoint {
                start_time_unix_nano: BASE + (time - 10) * SECOND,
                time_unix_nano: BASE + time * SECOND,
                count: 4 * factor,
                sum: Some(6.5),
                explicit_bounds: vec![1.0, 2.0],
                bucket_counts: vec![factor, 2 * factor, factor],
                min: Some(0.5),
                max: Some(3.0),
                ..HistogramDataPoint::default()
            };
            let explicit = Histogram { data_points: vec![explicit], aggregation_temporality: 1 };
            let scale = if factor == 1 { 1 } else { 0 };
            let metrics = vec![
                metric("calls", Data::Sum(sum)),
                metric("load", Data::Gauge(gauge)),
                metric("waits", Data::Histogram(explicit)),
                metric("durations", exponential(time, scale, vec![time, 0, factor])),
            ];
            let accepted = send(store, Signal::Metrics, metrics_request(instance, metrics));
            assert_eq!((accepted.accepted, accepted.rejected), (5, 0));
        }
    }
}

/// Feature: N7
/// Feature: I9
#[test]
fn metrics_of_many_processes_are_put_together_without_loss() {
    let dir = tempdir().unwrap();
    for segment_rows in [10_000, 5] {
        let store = open(dir.path(), segment_rows);
        send_all(&store);
        let queries = queries(&store);
        let names = queries.metric_names(&MetricNamesRequest::default(), &queries.control()).unwrap().metrics;
        let names: Vec<(&str, &str, u64)> =
            names.iter().map(|metric| (metric.name.as_str(), metric.kind.as_str(), metric.points)).collect();
        assert_eq!(
            names,
            [
                ("calls", "sum", 12),
                ("durations", "exponential_histogram", 6),
                ("load", "gauge", 6),
                ("waits", "histogram", 6)
            ]
        );
        let calls = asked(&queries, "calls", |_| {});
        assert_eq!((calls.len(), calls[0].increase, calls[0].series), (1, Some(30.0 + 300.0 + 2.0), 4));
        let by_agent = asked(&queries, "calls", |request| request.by = vec!["agent".to_owned()]);
        assert_eq!(by_agent.iter().map(|group| group.increase).collect::<Vec<_>>(), [Some(330.0), Some(2.0)]);
        // From 15 s on: compared with the points of 10 s, which are before the time.
        let later = asked(&queries, "calls", |request| {
            request.start = Some((BASE + 15 * SECOND) as i64);
            request.end = Some((BASE + 35 * SECOND) as i64);
            request.q = "{ .agent = \"x\" }".to_owned();
        });
        assert_eq!((later[0].increase, later[0].rate), (Some(20.0 + 200.0), Some(11.0)));
        let stepped = asked(&queries, "calls", |request| request.step = Some(10 * SECOND as i64));
        assert_eq!(stepped.iter().map(|group| group.increase.unwrap()).sum::<f64>(), 332.0);
        assert_eq!(stepped.len(), 3);
        let load = &asked(&queries, "load", |_| {})[0];
        assert_eq!((load.min, load.max, load.avg), (Some(2.5), Some(75.0), Some(27.5)));
        let waits = asked(&queries, "waits", |_| {})[0].values.clone().unwrap();
        assert_eq!((waits.count, waits.sum, waits.min, waits.max), (132, Some(39.0), Some(0.5), Some(3.0)));
        assert_eq!(waits.buckets, [(None, Some(1.0), 33), (Some(1.0), Some(2.0), 66), (Some(2.0), None, 33)]);
        assert_eq!(waits.p50, Some(1.5));
        let durations = asked(&queries, "durations", |_| {})[0].values.clone().unwrap();
        // Cumulative: the last points count, at the coarser scale.
        assert_eq!((durations.count, durations.scale), (30 + 1 + 30 + 10, Some(0)));
        assert_eq!(
            durations.buckets,
            [(Some(1.0), Some(2.0), 60), (Some(2.0), Some(4.0), 1), (Some(4.0), Some(8.0), 10)]
        );
    }
}

#[test]
fn points_that_cannot_be_are_refused_with_the_reason_and_the_others_kept() {
    let dir = tempdir().unwrap();
    let store = open(dir.path(), 10_000);
    let odd = HistogramDataPoint {
        time_unix_nano: BASE,
        explicit_bounds: vec![1.0],
        bucket_counts: vec![1, 2, 3],
        ..HistogramDataPoint::default()
    };
    let good = HistogramDataPoint {
        time_unix_nano: BASE,
        count: 3,
        explicit_bounds: vec![1.0, f64::INFINITY],
        bucket_counts: vec![1, 2, 0],
        ..HistogramDataPoint::default()
    };
    let histogram = Histogram { data_points: vec![odd, good], aggregation_temporality: 1 };
    let timeless = Gauge { data_points: vec![NumberDataPoint::default()] };
    let metrics = vec![metric("h", Data::Histogram(histogram)), metric("g", Data::Gauge(timeless))];
    let accepted = send(&store, Signal::Metrics, metrics_request("a", metrics));
    assert_eq!((accepted.accepted, accepted.rejected), (1, 2));
    assert!(accepted.reason.contains("\"h\": it has 3 bucket counts for 1 bounds"), "{}", accepted.reason);
    let values = asked(&queries(&store), "h", |_| {})[0].values.clone().unwrap();
    assert_eq!(values.buckets, [(None, Some(1.0), 1), (Some(1.0), None, 2), (None, None, 0)]);
}

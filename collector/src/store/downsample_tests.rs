//! Metrics that were downsampled: the same answers at the step, over restarts, deletions, crashes and repetitions.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, number_data_point::Value,
};
use prost::Message as _;
use tempfile::tempdir;

use super::Store;
use super::maintain_tests::{BASE, SECOND, attribute, files, open, resource, settle};
use crate::ingest::{Ingest as _, Signal};
use crate::query::engine::Flow;
use crate::query::exec::{Limits, Queries};
use crate::query::signals::{MetricGroup, MetricRequest};
use crate::query::{Columns, Control, Engine as _, Must, Order, Scan, Table, TimeRange};

/// A minute: 6 points of each series.
const STEP: u64 = 60 * SECOND;
const NAMES: [&str; 6] = ["calls", "tokens", "open", "load", "waits", "sizes"];

fn number(time: u64, start: u64, value: Value) -> NumberDataPoint {
    NumberDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: time,
        value: Some(value),
        attributes: vec![attribute("agent", Any::StringValue("a".to_owned()))],
        exemplars: vec![Exemplar { trace_id: vec![7; 16], time_unix_nano: time, ..Exemplar::default() }],
        ..NumberDataPoint::default()
    }
}

fn histogram(time: u64, index: u64) -> HistogramDataPoint {
    HistogramDataPoint {
        start_time_unix_nano: time - 10 * SECOND,
        time_unix_nano: time,
        count: 3,
        sum: Some(2.5),
        min: Some(0.25 * (index % 5) as f64),
        max: Some(index as f64),
        bucket_counts: vec![1, index % 3, 2 - index % 3],
        explicit_bounds: vec![1.0, 2.0],
        ..HistogramDataPoint::default()
    }
}

fn exponential(time: u64, index: u64) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        start_time_unix_nano: time - 10 * SECOND,
        time_unix_nano: time,
        count: 4,
        sum: Some(index as f64),
        scale: 3 - (index % 2) as i32,
        zero_count: 1,
        positive: Some(Buckets { offset: index as i32 % 7, bucket_counts: vec![1, 0, 1] }),
        negative: Some(Buckets { offset: -2, bucket_counts: vec![1] }),
        ..ExponentialHistogramDataPoint::default()
    }
}

/// One request: what a process of a service sends every ten seconds. It restarts after 20 requests and does not say so,
/// and ten seconds later it has counted more than before.
fn request(service: &str, index: u64) -> Bytes {
    let (time, run, since) = (BASE + index * 10 * SECOND, index / 20, index % 20);
    let calls = if since == 0 { 5 } else { run * 1_000 + since * since };
    let int = |value: u64| Value::AsInt(value as i64);
    let sum = |point, temporality, monotonic| {
        let (data_points, aggregation_temporality) = (vec![point], temporality);
        Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: monotonic })
    };
    let gauge = number(time, time - 10 * SECOND, Value::AsDouble((index * 37 % 11) as f64 / 4.0));
    let metric = |name: &str, data| Metric { name: name.to_owned(), data: Some(data), ..Metric::default() };
    let metrics = vec![
        metric("calls", sum(number(time, BASE, int(calls)), 2, true)),
        metric("tokens", sum(number(time, time - 10 * SECOND, int(1 << 40 | index)), 1, true)),
        metric("open", sum(number(time, BASE, int(index * 7 % 5)), 2, false)),
        metric("load", Data::Gauge(Gauge { data_points: vec![gauge] })),
        metric(
            "waits",
            Data::Histogram(Histogram {
                data_points: vec![histogram(time, index)],
                aggregation_temporality: 1,
            }),
        ),
        metric(
            "sizes",
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential(time, index)],
                aggregation_temporality: 1,
            }),
        ),
    ];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: resource(service), scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec().into()
}

fn send(store: &Store, service: &str, indices: std::ops::Range<u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for index in indices {
        let accepted = runtime.block_on(store.ingest(Signal::Metrics, request(service, index))).unwrap();
        assert_eq!((accepted.accepted, accepted.rejected), (6, 0));
    }
}

/// Each part comes into a segment of its own; what came last stays in the log.
fn sent(dir: &Path, parts: &[(u64, u64)]) -> Arc<Store> {
    for part in parts {
        let store = downsampling(dir);
        for service in ["one", "two"] {
            send(&store, service, part.0..part.1);
        }
    }
    let store = downsampling(dir);
    settle(&store);
    store
}

fn downsampling(dir: &Path) -> Arc<Store> {
    open(dir, |options| {
        options.downsample_metrics_after = Some(Duration::from_secs(3_600));
        options.downsample_metrics_step = Duration::from_nanos(STEP);
    })
}

/// What is told of all metrics by step, but for how many points that took and what is the average of these.
fn told(store: &Arc<Store>, step: u64) -> Vec<(String, Vec<MetricGroup>)> {
    let queries = Queries::new(Arc::clone(store) as _, Limits::default());
    let of = |name: &str| {
        let request = MetricRequest {
            name: name.to_owned(),
            by: vec!["resource.service.name".to_owned()],
            step: Some(step as i64),
            limit: Some(10_000),
            ..MetricRequest::default()
        };
        let mut groups = queries.metric(&request, &queries.control()).unwrap().groups;
        groups.iter_mut().for_each(|group| (group.points, group.avg) = (0, None));
        groups.sort_by_key(|group| (group.by[0].to_string(), group.step));
        (name.to_owned(), groups)
    };
    NAMES.map(of).to_vec()
}

fn all(store: &Arc<Store>) -> [Vec<(String, Vec<MetricGroup>)>; 3] {
    [STEP, 3 * STEP, 60 * STEP].map(|step| told(store, step))
}

fn rows(store: &Store) -> u64 {
    store.figures().metrics.rows
}

/// Feature: I9
#[test]
fn old_metrics_become_fewer_points_that_give_the_same_answers_at_the_step_also_after_a_restart() {
    let dir = tempdir().unwrap();
    let store = sent(dir.path(), &[(0, 70), (70, 133), (133, 200)]);
    let before = all(&store);
    assert_eq!((before[0][0].1.len(), rows(&store), files(dir.path(), "metrics")), (68, 2_400, 3));
    store.shared.downsample().unwrap();
    let figures = store.figures();
    assert_eq!((figures.downsampled, figures.downsampled_points), (3, 2_400 - rows(&store)));
    assert!(rows(&store) < 850, "{}", rows(&store));
    assert_eq!(files(dir.path(), "metrics"), 1);
    assert_eq!(all(&store), before);
    // Once is enough.
    store.shared.downsample().unwrap();
    assert_eq!((store.figures().downsampled, all(&store)), (3, before.clone()));
    drop(store);
    let store = downsampling(dir.path());
    assert_eq!(all(&store), before);
    store.shared.downsample().unwrap();
    assert_eq!(store.figures().downsampled, 0, "the file tells that it was");
    // A request that no row is left of is a repetition all the same.
    send(&store, "one", 0..200);
    assert_eq!(all(&store), before);
    assert_eq!((store.figures().metrics.repeated, store.figures().metrics.accepted), (6 * 200, 0));
    drop(store);
    // So it is when the program remembers nothing, but for what the log has of what came again.
    let store = open(dir.path(), |options| options.remembered = 10);
    settle(&store);
    send(&store, "one", 0..200);
    send(&store, "two", 0..200);
    assert_eq!(all(&store), before);
    assert_eq!((store.figures().metrics.repeated, store.figures().metrics.accepted), (12 * 200, 0));
}

#[test]
fn a_sum_of_deltas_counts_from_where_the_first_of_them_did_and_has_the_exemplars_of_the_last() {
    let dir = tempdir().unwrap();
    let store = sent(dir.path(), &[(0, 100)]);
    store.shared.downsample().unwrap();
    let scan = Scan {
        table: Table::Metrics,
        time: TimeRange::ALL,
        must: vec![Must::Service("one".to_owned()), Must::Name("tokens".to_owned())],
        columns: Columns::All,
        order: Order::OldestFirst,
    };
    let mut seen: Vec<(i64, i64, i64, String)> = Vec::new();
    for part in store.parts(&scan).unwrap() {
        let mut visit = |batch: &RecordBatch| {
            let text = |name: &str, row| {
                let column = cast(batch.column_by_name(name).unwrap());
                column.as_string::<i32>().value(row).to_owned()
            };
            for row in 0..batch.num_rows() {
                let int = |name: &str| {
                    let column = batch.column_by_name(name).unwrap();
                    match column.as_primitive_opt::<TimestampNanosecondType>() {
                        Some(times) => times.value(row),
                        None => column.as_primitive::<Int64Type>().value(row),
                    }
                };
                if text("name", row) == "tokens" && text("service", row) == "one" {
                    seen.push((int("start_time"), int("time"), int("int_value"), text("exemplars", row)));
                }
            }
            Ok(Flow::Continue)
        };
        part.read(&Control::new(None, usize::MAX), &mut visit).unwrap();
    }
    // Of a step each, one behind the other without a gap.
    assert_eq!(seen.len(), 17);
    assert_eq!((seen[0].0, seen[16].1), ((BASE - 10 * SECOND) as i64, (BASE + 990 * SECOND) as i64));
    assert!(seen.windows(2).all(|pair| pair[0].1 == pair[1].0), "{seen:?}");
    assert_eq!(seen.iter().map(|row| row.2).sum::<i64>(), (0..100).map(|index| 1 << 40 | index).sum::<i64>());
    for row in &seen {
        assert!(row.3.contains(&format!("\"time\":{}", row.1)), "{row:?}");
    }
}

/// A column of texts, with a dictionary or without.
fn cast(column: &ArrayRef) -> ArrayRef {
    let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() else { return Arc::clone(column) };
    let values = dictionary.values().as_string::<i32>();
    let texts = dictionary.keys().iter().map(|key| key.map(|key| values.value(key as usize)));
    Arc::new(texts.collect::<StringArray>())
}

#[test]
fn what_is_not_old_stays_as_it_came_and_neighbours_of_other_segments_are_minded() {
    let dir = tempdir().unwrap();
    // The same time in both: one has the requests that the other lacks.
    let store = downsampling(dir.path());
    for index in (0..200).filter(|index| index % 3 != 0) {
        send(&store, "one", index..index + 1);
    }
    drop(store);
    let store = downsampling(dir.path());
    for index in (0..200).filter(|index| index % 3 == 0) {
        send(&store, "one", index..index + 1);
    }
    settle(&store);
    let before = all(&store);
    store.shared.downsample().unwrap();
    assert_eq!(store.figures().downsampled, 1, "the other is in memory");
    assert_eq!(all(&store), before);
    drop(store);
    let store = downsampling(dir.path());
    settle(&store);
    store.shared.downsample().unwrap();
    assert_eq!(store.figures().downsampled, 1);
    assert_eq!(all(&store), before);
    let rows_left = rows(&store);
    let dir = tempdir().unwrap();
    let young = open(dir.path(), |options| {
        options.downsample_metrics_after = Some(Duration::from_secs(100 * 365 * 86_400));
    });
    send(&young, "one", 0..10);
    young.shared.downsample().unwrap();
    assert_eq!((young.figures().downsampled, rows(&young)), (0, 60));
    assert!(rows_left < 900, "{rows_left}");
}

#[test]
fn after_a_crash_between_the_new_file_and_the_end_of_the_old_ones_each_point_is_there_once() {
    for parts in [vec![(0, 100)], vec![(0, 100), (100, 200)]] {
        let (dir, saved) = (tempdir().unwrap(), tempdir().unwrap());
        let store = sent(dir.path(), &parts);
        let before = all(&store);
        let copy = |from: &Path, to: &Path| {
            std::fs::create_dir_all(to.join("metrics")).unwrap();
            for entry in std::fs::read_dir(from.join("metrics")).unwrap() {
                let path = entry.unwrap().path();
                std::fs::copy(&path, to.join("metrics").join(path.file_name().unwrap())).unwrap();
            }
        };
        copy(dir.path(), saved.path());
        store.shared.downsample().unwrap();
        let left = rows(&store);
        drop(store);
        copy(saved.path(), dir.path());
        assert_eq!(files(dir.path(), "metrics"), parts.len() + 1);
        let store = downsampling(dir.path());
        assert_eq!((files(dir.path(), "metrics"), rows(&store)), (1, left));
        assert_eq!(all(&store), before);
    }
}

#[test]
fn downsampled_segments_are_put_together_with_their_like_and_lose_a_service_that_is_deleted() {
    let dir = tempdir().unwrap();
    let store = sent(dir.path(), &[(0, 50)]);
    for first in [50, 100, 150] {
        store.shared.downsample().unwrap();
        send(&store, "one", first..first + 50);
        send(&store, "two", first..first + 50);
        store.rotate();
        while store.figures().metrics.in_memory > 0 {
            std::thread::yield_now();
        }
        settle(&store);
    }
    let before = all(&store);
    assert_eq!(files(dir.path(), "metrics"), 4);
    store.shared.compact().unwrap();
    assert_eq!(files(dir.path(), "metrics"), 4, "the last one is as it came");
    store.shared.downsample().unwrap();
    store.shared.compact().unwrap();
    assert_eq!((files(dir.path(), "metrics"), store.figures().downsampled), (1, 4));
    assert_eq!(all(&store), before);
    drop(store);
    let store = downsampling(dir.path());
    send(&store, "two", 0..200);
    assert_eq!(
        (all(&store), store.figures().metrics.repeated),
        (before.clone(), store.figures().metrics.repeated)
    );
    let deleted = store.delete_service("one").unwrap();
    assert!(deleted.metrics > 0);
    let of_two = before.map(|answers| {
        let only = |(name, mut groups): (String, Vec<MetricGroup>)| {
            groups.retain(|group| group.by[0] == "two");
            (name, groups)
        };
        answers.into_iter().map(only).collect::<Vec<_>>()
    });
    assert_eq!(all(&store), of_two);
    store.shared.downsample().unwrap();
    drop(store);
    let store = downsampling(dir.path());
    assert_eq!(all(&store), of_two);
    // What is sent again afterwards is taken.
    send(&store, "one", 0..200);
    let calls: Vec<_> = told(&store, 60 * STEP)[0].1.iter().map(|group| group.increase).collect();
    assert!(calls.len() >= 2 && calls[0] == calls[calls.len() / 2], "{calls:?}");
}

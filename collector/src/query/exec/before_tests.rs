//! Metrics of a time range are what they are among all points, and the past is read only as far as that needs.

use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Histogram, HistogramDataPoint, NumberDataPoint, Sum, number_data_point::Value,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::tempdir;

use super::signal_tests::{BASE, SECOND, metric, metrics_request, number, open, queries, send};
use super::*;
use crate::ingest::Signal;
use crate::query::signals::MetricGroup;
use crate::store::Store;

/// A point of the series of an agent: seconds, value, and the start of its process.
type Sent = (u64, u64, Option<u64>);

fn points(agent: usize, sent: &[Sent]) -> Vec<NumberDataPoint> {
    let point = |(time, value, start): &Sent| NumberDataPoint {
        start_time_unix_nano: start.map_or(0, |start| BASE + start * SECOND),
        ..number(*time, Value::AsInt(*value as i64), &format!("agent-{agent}"))
    };
    sent.iter().map(point).collect()
}

fn sum(points: Vec<NumberDataPoint>) -> Data {
    Data::Sum(Sum { data_points: points, aggregation_temporality: 2, is_monotonic: true })
}

/// The same as a histogram whose bucket grows.
fn histogram(points: &[NumberDataPoint]) -> Data {
    let point = |point: &NumberDataPoint| {
        let Some(Value::AsInt(value)) = point.value else { panic!("{point:?}") };
        HistogramDataPoint {
            start_time_unix_nano: point.start_time_unix_nano,
            time_unix_nano: point.time_unix_nano,
            attributes: point.attributes.clone(),
            count: value as u64,
            sum: Some(value as f64),
            bucket_counts: vec![value as u64, 0],
            explicit_bounds: vec![1.0],
            ..HistogramDataPoint::default()
        }
    };
    Data::Histogram(Histogram { data_points: points.iter().map(point).collect(), aggregation_temporality: 2 })
}

/// The points of a series over hours or days, with restarts that are told or not.
fn series() -> impl Strategy<Value = Vec<Sent>> {
    let step = (1..4_000_u64, prop_oneof![Just(1_u64), Just(1), Just(40)], 0..50_u64, 0..8_u8);
    (any::<bool>(), prop::collection::vec(step, 1..40)).prop_map(|(starts, steps)| {
        let (mut time, mut value, mut start) = (1, 0, starts.then_some(1));
        let point = |(gap, factor, more, what): (u64, u64, u64, u8)| {
            time += gap * factor;
            value += more;
            if what == 0 {
                value = more;
                start = start.map(|_| time - gap.min(time - 1).min(1));
            } else if what == 1 {
                value = more / 2;
            }
            (time, value, start)
        };
        steps.into_iter().map(point).collect()
    })
}

fn stepped(queries: &Queries, name: &str, start: Option<u64>, end: Option<u64>) -> Vec<MetricGroup> {
    let at = |seconds: u64| (BASE + seconds * SECOND) as i64;
    let request = MetricRequest {
        name: name.to_owned(),
        by: vec!["agent".to_owned()],
        step: Some(SECOND as i64),
        start: start.map(at),
        end: end.map(at),
        limit: Some(10_000),
        ..MetricRequest::default()
    };
    let mut groups = queries.metric(&request, &queries.control()).unwrap().groups;
    groups.sort_by_key(|group| (group.by[0].to_string(), group.step));
    groups
}

#[test]
fn a_time_range_tells_what_it_is_among_all_points() {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(10));
    let given =
        (prop::collection::vec(series(), 1..24), prop::collection::vec(0..200_000_u64, 6), 1..4_usize);
    runner
        .run(&given, |(all, starts, parts)| {
            let dir = tempdir().unwrap();
            let store = open(dir.path(), 50);
            // Parts of the time come in requests of their own, so that they are in segments and in memory.
            for part in 0..parts {
                let of_part = |agent: usize, sent: &Vec<Sent>| {
                    let size = sent.len().div_ceil(parts);
                    points(agent, sent.chunks(size).nth(part).unwrap_or_default())
                };
                let now: Vec<NumberDataPoint> =
                    all.iter().enumerate().flat_map(|(agent, sent)| of_part(agent, sent)).collect();
                let metrics = vec![metric("spread", histogram(&now)), metric("calls", sum(now))];
                send(&store, Signal::Metrics, metrics_request("a", metrics));
            }
            let queries = queries(&store);
            for name in ["calls", "spread"] {
                let whole = stepped(&queries, name, None, None);
                for &start in &starts {
                    for end in [None, Some(start + 10_000)] {
                        let at = |seconds: u64| (BASE + seconds * SECOND) as i64;
                        let mut expected = whole.clone();
                        expected.retain(|group| {
                            let step = group.step.unwrap();
                            step >= at(start) && end.is_none_or(|end| step < at(end))
                        });
                        prop_assert_eq!(
                            stepped(&queries, name, Some(start), end),
                            expected,
                            "from {}",
                            start
                        );
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

fn looked_at(store: &Arc<Store>, from: u64) -> (Option<f64>, u64) {
    let queries = queries(store);
    let start = Some((BASE + from * SECOND) as i64);
    let request = MetricRequest { name: "calls".to_owned(), start, ..MetricRequest::default() };
    let answer = queries.metric(&request, &queries.control()).unwrap();
    (answer.groups[0].increase, answer.scanned)
}

#[test]
fn of_the_past_is_read_what_the_first_points_are_compared_with() {
    let dir = tempdir().unwrap();
    let store = open(dir.path(), 4_096);
    // Two weeks, a point a minute, in segments.
    let last = 20_000_u64;
    for first in (0..last).step_by(2_000) {
        let sent: Vec<Sent> =
            (first..first + 2_000).map(|minute| (minute * 60 + 60, minute, Some(0))).collect();
        let mut request = vec![metric("calls", sum(points(0, &sent)))];
        if first + 2_000 == last {
            // One that counts from within the time, and one whose earlier point is far away.
            let fresh = vec![(last * 60, 7, Some(last * 60 - 10))];
            request.push(metric("calls", sum(points(1, &fresh))));
            request.push(metric("calls", sum(points(2, &[(last * 60, 9, None)]))));
            // And one that is new, though its process is not.
            request.push(metric("calls", sum(points(3, &[(last * 60, 3, Some(0))]))));
        } else if first == 0 {
            request.push(metric("calls", sum(points(2, &[(60, 4, None)]))));
        }
        send(&store, Signal::Metrics, metrics_request("a", request));
    }
    let (increase, scanned) = looked_at(&store, last * 60 - 600);
    assert_eq!(increase, Some(11.0 + 7.0 + 5.0 + 3.0));
    assert!(scanned < last / 2, "{scanned}");
    let recent = (last * 60 - 60 * 60, last * 60 - 30);
    let queries = queries(&store);
    let request = MetricRequest {
        name: "calls".to_owned(),
        start: Some((BASE + recent.0 * SECOND) as i64),
        end: Some((BASE + recent.1 * SECOND) as i64),
        ..MetricRequest::default()
    };
    let answer = queries.metric(&request, &queries.control()).unwrap();
    assert_eq!((answer.groups[0].increase, answer.groups[0].points), (Some(60.0), 60));
    assert!(answer.scanned < 5_000, "{}", answer.scanned);
}

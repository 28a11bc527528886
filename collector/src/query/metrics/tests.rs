use proptest::prelude::*;

use super::exponential::Buckets;
use super::*;

/// As an SDK records: each value into the bucket `ceil(log_base(value)) - 1` of a scale.
fn recorded(values: &[f64], scale: i32) -> Distribution {
    let index = |value: f64| (value.log2() * f64::from(scale).exp2()).ceil() as i32 - 1;
    let places: Vec<i32> = values.iter().map(|value| index(*value)).collect();
    let first = places.iter().copied().min().unwrap_or(0);
    let last = places.iter().copied().max().unwrap_or(0);
    let mut counts = vec![0; usize::try_from(last - first).unwrap() + 1];
    for place in &places {
        counts[usize::try_from(place - first).unwrap()] += 1;
    }
    let histogram = Exponential::new(scale, (0, 0.0), Buckets::new(first, counts), Buckets::default());
    Distribution {
        count: values.len() as u64,
        sum: Some(values.iter().sum()),
        min: values.iter().copied().reduce(f64::min),
        max: values.iter().copied().reduce(f64::max),
        shape: Shape::Exponential(histogram),
    }
}

proptest! {
    /// Feature: N7
    #[test]
    fn histograms_of_many_processes_are_what_one_process_would_have(
        parts in prop::collection::vec((prop::collection::vec(0.001_f64..1_000.0, 1..40), 0..6_i32), 1..6),
    ) {
        let scale = parts.iter().map(|(_, scale)| *scale).min().unwrap();
        let all: Vec<f64> = parts.iter().flat_map(|(values, _)| values.clone()).collect();
        let mut merged: Option<Distribution> = None;
        for (values, scale) in &parts {
            let part = recorded(values, *scale);
            match &mut merged {
                Some(merged) => prop_assert!(merged.merge(&part)),
                None => merged = Some(part),
            }
        }
        let (merged, whole) = (merged.unwrap(), recorded(&all, scale));
        prop_assert_eq!((merged.count, merged.min, merged.max), (whole.count, whole.min, whole.max));
        prop_assert!((merged.sum.unwrap() - whole.sum.unwrap()).abs() < 1e-6);
        prop_assert_eq!(&merged.shape, &whole.shape);
    }

    #[test]
    fn what_is_added_and_taken_away_again_is_what_was_added(
        first in prop::collection::vec(0.001_f64..1_000.0, 1..40),
        then in prop::collection::vec(0.001_f64..1_000.0, 1..40),
        scale in 0..6_i32,
    ) {
        let before = recorded(&first, scale);
        let mut now = before.clone();
        now.merge(&recorded(&then, scale));
        let since = now.since(&before).unwrap();
        prop_assert_eq!(since.count, then.len() as u64);
        prop_assert_eq!(since.shape, recorded(&then, scale).shape);
        prop_assert!(before.since(&now).is_none());
    }

    #[test]
    fn a_quantile_is_in_the_bucket_of_the_real_one(
        mut values in prop::collection::vec(0.001_f64..1_000.0, 1..200),
        share in 0.01_f64..1.0,
    ) {
        let scale = 5;
        let estimate = recorded(&values, scale).quantile(share).unwrap();
        values.sort_by(f64::total_cmp);
        let rank = (share * values.len() as f64).ceil() as usize;
        let real = values[rank.clamp(1, values.len()) - 1];
        let base = f64::from(-scale).exp2().exp2();
        prop_assert!(estimate <= real * base * 1.000_001 && estimate * base * 1.000_001 >= real, "{estimate} for {real}");
    }
}

#[test]
fn explicit_buckets_are_added_where_their_bounds_are_the_same() {
    let make = |bounds: &[f64], counts: &[u64]| Distribution {
        count: counts.iter().sum(),
        sum: Some(1.0),
        min: None,
        max: None,
        shape: Shape::Explicit { bounds: bounds.to_vec(), counts: counts.to_vec() },
    };
    let mut one = make(&[1.0, 2.0], &[1, 2, 3]);
    assert!(one.merge(&make(&[1.0, 2.0], &[10, 0, 1])));
    assert_eq!(one.shape, Shape::Explicit { bounds: vec![1.0, 2.0], counts: vec![11, 2, 4] });
    assert_eq!((one.count, one.sum), (17, Some(2.0)));
    assert!(!one.merge(&make(&[1.0, 3.0], &[10, 0, 1])), "other bounds");
    assert_eq!(one.count, 17);
    // 8.5 of 17 lie below: 8.5 of the 11 between 0 and 1.
    assert!((one.quantile(0.5).unwrap() - 8.5 / 11.0).abs() < 1e-9);
    // The last bucket has no end, and no maximum is known.
    assert_eq!(one.quantile(1.0), Some(2.0));
    assert_eq!(make(&[1.0], &[0, 0]).quantile(0.5), None);
}

#[test]
fn zeros_of_different_width_are_brought_to_the_wider_one() {
    let make = |threshold, zero, counts: Vec<u64>| {
        Exponential::new(0, (zero, threshold), Buckets::new(-3, counts), Buckets::default())
    };
    // (1/8, 1/4], (1/4, 1/2], (1/2, 1]
    let mut fine = make(0.0, 1, vec![5, 6, 7]);
    fine.merge(&make(0.25, 10, vec![0, 1, 1]));
    assert_eq!(fine, make(0.25, 16, vec![0, 7, 8]));
}

fn number(series: u64, time: i64, value: f64, started: bool) -> Point {
    Point {
        series,
        group: 0,
        kind: Kind::Sum,
        temporality: Temporality::Cumulative,
        monotonic: true,
        time,
        start: started.then_some(0),
        reading: Reading::Number(value),
    }
}

fn total(points: Vec<Point>) -> f64 {
    let readings = increases(points).into_iter().map(|increase| match increase.reading {
        Reading::Number(value) => value,
        Reading::Values(_) => 0.0,
    });
    readings.sum()
}

#[test]
fn cumulative_series_count_what_came_between_points() {
    assert_eq!(total(vec![number(1, 20, 7.0, true), number(1, 10, 5.0, true)]), 7.0);
    assert_eq!(
        total(vec![number(1, 10, 5.0, false), number(1, 20, 7.0, false)]),
        2.0,
        "since when is unknown"
    );
    assert_eq!(total(vec![number(1, 10, 5.0, true), number(1, 20, 2.0, true)]), 7.0, "it started again");
    assert_eq!(total(vec![number(1, 10, 5.0, true), number(2, 20, 2.0, true)]), 7.0, "two processes");
    let delta = |time, value| Point { temporality: Temporality::Delta, ..number(1, time, value, true) };
    assert_eq!(total(vec![delta(1, 5.0), delta(2, 7.0)]), 12.0);
}

#[test]
fn buckets_that_no_double_is_in_take_no_room() {
    let mut wide = Exponential::new(-10, (0, 0.0), Buckets::new(i32::MAX, [1]), Buckets::new(i32::MIN, [2]));
    wide.merge(&Exponential::new(-30, (0, 0.0), Buckets::new(i32::MIN, [1]), Buckets::default()));
    wide.merge(&Exponential::new(20, (0, 0.0), Buckets::new(i32::MIN, [1]), Buckets::default()));
    wide.merge(&Exponential::new(i32::MAX, (0, 0.0), Buckets::new(5, [1]), Buckets::default()));
    assert_eq!(wide.buckets().iter().map(|(_, _, count)| count).sum::<u64>(), 6);
}

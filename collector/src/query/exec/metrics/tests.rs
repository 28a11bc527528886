//! Answers of random series: with points that were downsampled, and without reading the past.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::query::metrics::{Buckets, Distribution, Exponential, Fate, Shape, Temporality, thin};

const SECOND: i64 = 1_000_000_000;
const STEP: i64 = 60 * SECOND;

/// Random numbers that a seed repeats (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

fn empty(kind: Kind, random: &mut Random) -> Reading {
    let shape = match kind {
        Kind::Gauge | Kind::Sum => return Reading::Number(0.0),
        Kind::Histogram => {
            let bounds = if random.one_in(6) { vec![1.0] } else { vec![1.0, 4.0] };
            Shape::Explicit { counts: vec![0; bounds.len() + 1], bounds }
        }
        Kind::ExponentialHistogram => {
            let scale = random.below(4) as i32;
            let zero = (0, if random.one_in(8) { 0.25 } else { 0.0 });
            Shape::Exponential(Exponential::new(scale, zero, Buckets::default(), Buckets::default()))
        }
        Kind::Summary => Shape::Unknown,
    };
    let sum = (!random.one_in(8)).then_some(0.0);
    Reading::Values(Distribution { count: 0, sum, min: None, max: None, shape })
}

/// Adds what happened until the next point.
fn record(reading: &mut Reading, kind: Kind, random: &mut Random) {
    for _ in 0..random.below(4) {
        let value = random.below(9) as f64;
        let known = match reading {
            Reading::Number(known) => {
                *known = if kind == Kind::Gauge { value } else { *known + value };
                continue;
            }
            Reading::Values(known) => known,
        };
        known.count += 1;
        known.sum = known.sum.map(|sum| sum + value);
        known.min = Some(known.min.map_or(value, |min| min.min(value)));
        known.max = Some(known.max.map_or(value, |max| max.max(value)));
        match &mut known.shape {
            Shape::Unknown => {}
            Shape::Explicit { bounds, counts } => counts[bounds.partition_point(|bound| *bound < value)] += 1,
            Shape::Exponential(histogram) => {
                let scale = histogram.scale() - i32::from(random.one_in(20));
                let zero = (u64::from(value == 0.0), histogram.zero().1);
                let index = (value.log2() * f64::from(scale).exp2()).ceil().max(-50.0) as i32 - 1;
                let buckets = Buckets::new(index, [u64::from(value > 0.0)]);
                histogram.merge(&Exponential::new(scale, zero, buckets, Buckets::default()));
            }
        }
    }
}

/// The points of one series, in order; of several once its process tells that it started anew.
fn series(number: u64, random: &mut Random) -> Vec<Point> {
    use Kind::{ExponentialHistogram, Gauge, Histogram, Sum, Summary};
    use Temporality::{Cumulative, Delta, None};
    let (kind, temporality, monotonic) = [
        (Gauge, None, false),
        (Sum, Cumulative, true),
        (Sum, Cumulative, false),
        (Sum, Delta, true),
        (Histogram, Cumulative, true),
        (Histogram, Delta, true),
        (Histogram, None, true),
        (ExponentialHistogram, Cumulative, true),
        (ExponentialHistogram, Delta, true),
        (Summary, Cumulative, true),
    ][random.below(10) as usize];
    let (mut time, mut process) = (random.below(200) as i64 * SECOND, 0);
    let mut start = (!random.one_in(3)).then_some(time);
    let mut reading = empty(kind, random);
    let mut points = Vec::new();
    for _ in 0..random.below(60) {
        let longest = if random.one_in(12) { 300 } else { 20 };
        time += (1 + random.below(longest)) as i64 * SECOND;
        if temporality == Delta || random.one_in(12) {
            reading = empty(kind, random);
            if temporality != Delta && start.is_some() && random.one_in(2) {
                (start, process) = (Some(time - 1), process + 1);
            }
        }
        record(&mut reading, kind, random);
        let group = number as usize % 2;
        let series = number * 100 + process;
        let reading = reading.clone();
        points.push(Point { series, group, kind, temporality, monotonic, time, start, reading });
    }
    points
}

/// The points that are left of some, next to others.
fn left(points: Vec<Point>, others: &[Point]) -> Vec<Point> {
    let mut times: HashMap<u64, Vec<i64>> = HashMap::new();
    for point in others {
        times.entry(point.series).or_default().push(point.time);
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    let points: Vec<Option<Point>> = points.into_iter().map(Some).collect();
    let fates = thin(&points, STEP, &times);
    let left = points.into_iter().flatten().zip(fates).filter_map(|(point, fate)| match fate {
        Fate::Stays => Some(point),
        Fate::Sum(reading) => Some(Point { reading, ..point }),
        Fate::Goes | Fate::Added(_) => None,
    });
    left.collect()
}

/// All that is told of points and stays the same.
fn told(points: &[Point], time: TimeRange, step: Option<i64>) -> BTreeMap<Key, MetricGroup> {
    let groups = grouped(points.to_vec(), time, step);
    let told = groups.into_iter().map(|(key, figures)| {
        let group = figures.group(key.2, MetricGroup::default(), None);
        (key, MetricGroup { points: 0, avg: None, ..group })
    });
    told.collect()
}

fn near(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
        (a, b) => a == b,
    }
}

/// The same but for how doubles round when they are added in another order.
fn same(mut a: MetricGroup, mut b: MetricGroup) -> bool {
    let increases = near(a.increase, b.increase) && near(a.last, b.last);
    let sums = |group: &MetricGroup| group.values.as_ref().map(|values| (values.sum, values.avg));
    let (before, after) = (sums(&a).unwrap_or_default(), sums(&b).unwrap_or_default());
    for group in [&mut a, &mut b] {
        (group.increase, group.last) = (None, None);
        if let Some(values) = &mut group.values {
            (values.sum, values.avg) = (None, None);
        }
    }
    increases && near(before.0, after.0) && near(before.1, after.1) && a == b
}

fn check_same(before: &[Point], after: &[Point]) -> Result<(), TestCaseError> {
    for (step, time) in [
        (Some(STEP), TimeRange::ALL),
        (Some(3 * STEP), TimeRange::ALL),
        (None, TimeRange { from: 5 * STEP, to: 9 * STEP }),
        (None, TimeRange::ALL),
    ] {
        let (before, after) = (told(before, time, step), told(after, time, step));
        prop_assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for ((key, before), after) in before.into_iter().zip(after.into_values()) {
            prop_assert!(same(before.clone(), after.clone()), "{:?}: {:?}\n{:?}", key, before, after);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Feature: I9
    #[test]
    fn fewer_points_give_the_same_answers_at_their_step_and_at_multiples_of_it(seed in any::<u64>()) {
        let mut random = Random(seed);
        let all: Vec<Point> = (1..8).flat_map(|number| series(number, &mut random)).collect();
        let alone = left(all.clone(), &[]);
        check_same(&all, &alone)?;
        check_same(&all, &left(alone, &[]))?;
        // In two segments: one after the other, or with points of both in any order.
        let (in_order, cut) = (random.one_in(2), random.below(900) as i64 * SECOND);
        let (one, other): (Vec<Point>, Vec<Point>) =
            all.iter().cloned().partition(|point| if in_order { point.time < cut } else { random.one_in(2) });
        let one = left(one, &other);
        check_same(&all, &[&one[..], &other[..]].concat())?;
        let other = left(other, &one);
        check_same(&all, &[&one[..], &other[..]].concat())?;
    }
}

fn number(time: i64, value: f64) -> Point {
    Point {
        series: 1,
        group: 0,
        kind: Kind::Sum,
        temporality: Temporality::Cumulative,
        monotonic: true,
        time: time * SECOND,
        start: Some(0),
        reading: Reading::Number(value),
    }
}

/// Feature: I9
#[test]
fn of_a_counter_the_last_point_of_a_step_stays_and_both_sides_of_a_restart() {
    let times = |points: Vec<Point>| -> Vec<i64> {
        left(points, &[]).iter().map(|point| point.time / SECOND).collect()
    };
    let steady = (0..18).map(|n| number(n * 10, n as f64)).collect();
    assert_eq!(times(steady), [0, 50, 110, 170]);
    // It restarts at 30 s, and has more than before at the end of the step.
    let restarted = [0.0, 5.0, 7.0, 1.0, 8.0, 9.0, 10.0, 11.0].into_iter();
    let restarted: Vec<Point> =
        restarted.enumerate().map(|(n, value)| number(n as i64 * 10, value)).collect();
    assert_eq!(times(restarted), [0, 20, 30, 50, 70]);
    let gauge = |time, value| Point { kind: Kind::Gauge, ..number(time, value) };
    let load = [3.0, f64::NAN, 1.0, 2.0, 9.0, 4.0].into_iter().enumerate();
    assert_eq!(times(load.map(|(n, value)| gauge(n as i64 * 10, value)).collect()), [20, 40, 50]);
    let delta = |time, value| Point { temporality: Temporality::Delta, ..number(time, value) };
    let sums = left((0..9).map(|n| delta(n * 10, 1.5)).collect(), &[]);
    assert_eq!(
        sums.iter().map(|sum| sum.reading.clone()).collect::<Vec<_>>(),
        [Reading::Number(9.0), Reading::Number(4.5)]
    );
}

//! Fewer points that give the same answers at a time step, and at all that are made of such steps.
//!
//! What [`increases`](super::increases) makes of the points that are left is, added up over a step, what it made of all:
//!
//! - of a state that goes up and down, the last point of a step; of a gauge the smallest and the largest too;
//! - deltas of a step are added up into one, where they can be;
//! - of a cumulative series, a point goes when what is counted from the point before it that stays to the point after it
//!   is the same with and without it. So the last of each step stays, and both sides of a restart. The first one stays
//!   always: what it is compared with is not here.

use hashbrown::HashMap;

use super::series::since;
use super::{Counting, Distribution, Kind, Point, Reading, Shape};

/// What becomes of a point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fate {
    /// It stays as it is.
    Stays,
    /// It goes.
    Goes,
    /// It goes, and what it counted is in the point of this place.
    Added(usize),
    /// It stays, with what others counted.
    Sum(Reading),
}

/// What becomes of each point. `others` has, by series, the times of points that are not among these, in order: between
/// such a point and its neighbours nothing goes, since it is compared with them.
pub(crate) fn thin(points: &[Option<Point>], step: i64, others: &HashMap<u64, Vec<i64>>) -> Vec<Fate> {
    let mut fates = vec![Fate::Stays; points.len()];
    // A point without a value is in no answer, and tells that a series ended.
    let mut order: Vec<(usize, &Point)> =
        points.iter().enumerate().filter_map(|(place, point)| Some((place, point.as_ref()?))).collect();
    let key = |point: &Point| (point.series, point.counting());
    order.sort_by_key(|(_, point)| (key(point), point.time));
    for series in order.chunk_by(|a, b| key(a.1) == key(b.1)) {
        match series[0].1.counting() {
            Counting::Cumulative => {
                let others = others.get(&series[0].1.series).map_or(&[][..], Vec::as_slice);
                cumulative(series, step, others, &mut fates);
            }
            counting => {
                for of_step in series.chunk_by(|a, b| step_of(a.1, step) == step_of(b.1, step)) {
                    if counting == Counting::Delta {
                        deltas(of_step, &mut fates);
                    } else {
                        states(of_step, &mut fates);
                    }
                }
            }
        }
    }
    fates
}

const fn step_of(point: &Point, step: i64) -> i64 {
    point.time.div_euclid(step)
}

fn cumulative(series: &[(usize, &Point)], step: i64, others: &[i64], fates: &mut [Fate]) {
    let mut before = series[0].1;
    for pair in series[1..].windows(2) {
        let [(place, point), (_, next)] = *pair else { continue };
        let first = others.partition_point(|time| *time < before.time);
        let alone = others.get(first).is_none_or(|time| *time > next.time);
        let one_step = step_of(point, step) == step_of(next, step);
        if one_step && alone && is_between(&before.reading, &point.reading, &next.reading) {
            fates[place] = Fate::Goes;
        } else {
            before = point;
        }
    }
}

/// Whether as much is counted from the first to the last without the one between them.
fn is_between(before: &Reading, point: &Reading, next: &Reading) -> bool {
    match (before, point, next) {
        // It goes up all the way, or it restarted after the first, which the last still shows.
        (Reading::Number(before), Reading::Number(point), Reading::Number(next)) => {
            point <= next && (before <= point || (point < before && next < before))
        }
        _ => match (since(next, before), since(point, before), since(next, point)) {
            (Reading::Values(whole), Reading::Values(mut parts), Reading::Values(rest)) => {
                parts.merge(&rest)
                    && whole.count == parts.count
                    && whole.shape == parts.shape
                    && (whole.min, whole.max) == (parts.min, parts.max)
                    && is_same_sum(whole.sum, parts.sum)
            }
            _ => false,
        },
    }
}

/// But for how doubles round. Of a process that restarted and has counted as often as before, only the sum tells.
fn is_same_sum(whole: Option<f64>, parts: Option<f64>) -> bool {
    match (whole, parts) {
        (Some(whole), Some(parts)) => (whole - parts).abs() <= 1e-9 * whole.abs().max(parts.abs()),
        (whole, parts) => whole == parts,
    }
}

fn states(of_step: &[(usize, &Point)], fates: &mut [Fate]) {
    // Of what is spread differently, the last one of each is told.
    let mut last: HashMap<String, usize> = HashMap::new();
    let mut smallest: Option<(f64, usize)> = None;
    let mut largest: Option<(f64, usize)> = None;
    for &(place, point) in of_step {
        fates[place] = Fate::Goes;
        let shape = match &point.reading {
            Reading::Number(_) => String::new(),
            Reading::Values(values) => values.shape.key(),
        };
        last.insert(shape, place);
        if let (Reading::Number(value), Kind::Gauge) = (&point.reading, point.kind)
            && !value.is_nan()
        {
            if smallest.is_none_or(|(least, _)| *value < least) {
                smallest = Some((*value, place));
            }
            if largest.is_none_or(|(most, _)| *value > most) {
                largest = Some((*value, place));
            }
        }
    }
    let stay = last.into_values().chain(smallest.map(|least| least.1)).chain(largest.map(|most| most.1));
    stay.for_each(|place| fates[place] = Fate::Stays);
}

fn deltas(of_step: &[(usize, &Point)], fates: &mut [Fate]) {
    let mut sums: Vec<(Reading, Vec<usize>)> = Vec::new();
    for &(place, point) in of_step {
        match sums.iter_mut().find_map(|(sum, places)| add(sum, &point.reading).then_some(places)) {
            Some(places) => places.push(place),
            None => sums.push((point.reading.clone(), vec![place])),
        }
    }
    for (sum, places) in sums {
        if let [added @ .., last] = places.as_slice()
            && !added.is_empty()
        {
            added.iter().for_each(|place| fates[*place] = Fate::Added(*last));
            fates[*last] = Fate::Sum(sum);
        }
    }
}

/// Adds what another point counted; false, and nothing is added, where that would be less than both.
fn add(sum: &mut Reading, other: &Reading) -> bool {
    match (sum, other) {
        (Reading::Number(sum), Reading::Number(other)) => {
            *sum += other;
            true
        }
        (Reading::Values(sum), Reading::Values(other)) => fit(sum, other) && sum.merge(other),
        _ => false,
    }
}

/// Whether the sum is the same in whichever order it is made with more of them.
fn fit(sum: &Distribution, other: &Distribution) -> bool {
    match (&sum.shape, &other.shape) {
        // What counts as zero is widened at the scale that both have by then.
        (Shape::Exponential(sum), Shape::Exponential(other)) => sum.zero().1 == other.zero().1,
        _ => true,
    }
}

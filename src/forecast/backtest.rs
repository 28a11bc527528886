//! What a method would have said in the past, compared with what came (rolling origin).
//!
//! From origins in the later part of the history each method projects what follows, knowing only what came before. Its errors
//! choose the method and, by how they grow with the distance, make the interval: no distribution is assumed.

use super::accuracy::Errors;
use super::grid::Grid;
use super::methods::{Method, Projection};
use crate::statistics::{student_reach, z_of};

/// Origins that are tried: more make no better choice, only more work.
const MOST_ORIGINS: usize = 64;
/// Distances that are compared from each origin.
const MOST_STEPS: usize = 16;
/// With fewer origins the two sides of the interval are not told apart.
const FEWEST_FOR_TWO_SIDES: usize = 50;
/// With fewer degrees of freedom an interval would say nothing at all.
const LEAST_FREEDOM: f64 = 2.0;
/// The share of a squared error that is taken to grow with the distance, however little it was seen to do so.
const LEAST_GROWTH: f64 = 0.1;

/// From where, and how far ahead, methods are tried.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) origins: Vec<usize>,
    /// Distances in steps, ascending.
    pub(super) steps: Vec<usize>,
    /// The naive forecast's error one step ahead, as the scale of errors.
    scale: f64,
}

impl Plan {
    /// For a forecast of `horizon` steps. `first` is the first origin that has history enough.
    pub(super) fn new(grid: &Grid, horizon: f64, first: usize) -> Self {
        let last = grid.len() - 1;
        let first = first.min(last - 1);
        // At least half of the origins reach as far as the farthest distance.
        let reach = (horizon.ceil() as usize).clamp(1, (last - first).div_ceil(2));
        Self {
            origins: spread(first, last - 1, MOST_ORIGINS),
            steps: spread(1, reach, MOST_STEPS),
            scale: grid.naive_error(),
        }
    }
}

/// At most `most` numbers from `first` to `last`, both among them, in about equal distances.
fn spread(first: usize, last: usize, most: usize) -> Vec<usize> {
    let count = (last - first + 1).min(most);
    if count == 1 {
        return vec![last];
    }
    (0..count).map(|index| first + ((last - first) * index + (count - 1) / 2) / (count - 1)).collect()
}

/// How a method did.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) errors: Errors,
    spread: Spread,
}

/// Tries a method whose open parameters were set by what came before the first origin.
pub(super) fn try_out(method: &Method, grid: &Grid, plan: &Plan) -> Tried {
    let tuned = method.tuned(grid, plan.origins.first().map_or(0, |first| first + 1));
    let mut errors = Errors::default();
    let mut residuals: Vec<Vec<f64>> = vec![Vec::with_capacity(plan.origins.len()); plan.steps.len()];
    let mut see = |index: usize, projection: &Projection<'_>| {
        for (step, residuals) in plan.steps.iter().zip(&mut residuals) {
            let Some(value) = grid.get(plan.origins[index] + step) else { continue };
            let forecast = projection.at(*step as f64);
            errors.add(forecast, value, plan.scale);
            residuals.push(value - forecast);
        }
    };
    tuned.project(grid, &plan.origins, &mut see);
    let spread = Spread::of(&plan.steps, &residuals, plan.origins.len(), method.has_slope());
    Tried { errors, spread }
}

/// The errors of a method by distance: their scale, and their form without it.
#[derive(Debug)]
struct Spread {
    /// By distance, ascending.
    scales: Vec<Scale>,
    /// Errors as multiples of the scale at their distance, in ascending order.
    standard: Vec<f64>,
    origins: usize,
    /// How squared errors grow beyond the last distance that was compared: by this power of it. A wrong slope's error grows
    /// with the distance, a walk's with its root.
    growth: f64,
}

/// The errors at one distance.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    steps: f64,
    /// The root of their mean square; it never falls with the distance.
    error: f64,
    /// How many independent ones they are worth.
    worth: f64,
}

impl Spread {
    fn of(steps: &[usize], residuals: &[Vec<f64>], origins: usize, has_slope: bool) -> Self {
        let compared = || steps.iter().zip(residuals).filter(|(_, residuals)| !residuals.is_empty());
        let mean_squares = compared().map(|(step, residuals)| {
            let squares: f64 = residuals.iter().map(|error| error * error).sum();
            (*step as f64, squares / residuals.len() as f64, residuals.len() as f64)
        });
        let scales: Vec<Scale> = never_falling(mean_squares)
            .into_iter()
            .zip(compared())
            .map(|((steps, error), (_, residuals))| Scale { steps, error, worth: worth(residuals) })
            .collect();
        let mut standard: Vec<f64> = compared()
            .zip(&scales)
            .filter(|(_, scale)| scale.error > 0.0)
            .flat_map(|((_, residuals), scale)| residuals.iter().map(|error| error / scale.error))
            .collect();
        standard.sort_unstable_by(f64::total_cmp);
        Self { scales, standard, origins, growth: if has_slope { 2.0 } else { 1.0 } }
    }
}

/// How many independent values these are worth, which follow each other and may be alike (see [`super::slope`]): errors from
/// neighbouring origins share most of what they did not know.
fn worth(residuals: &[f64]) -> f64 {
    let n = residuals.len() as f64;
    let squares: f64 = residuals.iter().map(|error| error * error).sum();
    let neighbours: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
    if squares == 0.0 {
        return n;
    }
    let alike = (neighbours / squares).clamp(0.0, 0.99);
    n * (1.0 - alike) / (1.0 + alike)
}

/// How far an interval reaches to both sides, by distance.
#[derive(Debug)]
pub(super) struct Reach {
    /// Distance and the error that is reckoned with there.
    errors: Vec<(f64, f64)>,
    /// How many of these below and above the forecast.
    below: f64,
    above: f64,
    growth: f64,
}

impl Tried {
    /// The interval that is to hold this share of the values to come.
    pub(super) fn reach(&self, level: f64) -> Reach {
        let Spread { scales, standard, origins, growth } = &self.spread;
        let tail = (1.0 - level) / 2.0;
        let (below, above) = if *origins < FEWEST_FOR_TWO_SIDES {
            let mut both: Vec<f64> = standard.iter().map(|error| error.abs()).collect();
            both.sort_unstable_by(f64::total_cmp);
            let reach = quantile(&both, level);
            (reach, reach)
        } else {
            ((-quantile(standard, tail)).max(0.0), quantile(standard, 1.0 - tail).max(0.0))
        };
        let mut errors: Vec<(f64, f64)> =
            scales.iter().map(|scale| (scale.steps, scale.error * caution(scale.worth, level))).collect();
        // Farther away is never surer, also where its errors seem to be worth more.
        for at in 1..errors.len() {
            errors[at].1 = errors[at].1.max(errors[at - 1].1);
        }
        Reach { errors, below, above, growth: *growth }
    }
}

/// By how much more than the errors of the past an interval has to hold: few of them do not show the rare ones. This is
/// the step from the normal distribution to that of Student.
fn caution(worth: f64, level: f64) -> f64 {
    student_reach(level, (worth - 1.0).max(LEAST_FREEDOM)) / z_of(level)
}

impl Reach {
    /// How far below and above the forecast, `steps` ahead.
    pub(super) fn at(&self, steps: f64) -> (f64, f64) {
        let after = self.errors.partition_point(|(step, _)| *step < steps);
        let before = after.checked_sub(1).and_then(|at| self.errors.get(at));
        let error = match (before, self.errors.get(after)) {
            (Some((s1, e1)), Some((s2, e2))) => e1 + (e2 - e1) * (steps - s1) / (s2 - s1),
            // Closer than the next step there is still the noise of one value.
            (None, Some((_, error))) => *error,
            (Some((step, error)), None) => self.beyond(*step, *error, steps),
            (None, None) => 0.0,
        };
        (self.below * error, self.above * error)
    }

    /// The error farther away than was compared: the noise of one value stays, what was added to it by the distance goes on
    /// growing.
    fn beyond(&self, step: f64, error: f64, steps: f64) -> f64 {
        let total = error * error;
        let noise = match self.errors.first() {
            Some((first, noise)) if *first < step => noise * noise,
            // Nothing is known of its growth: all of it may grow.
            _ => 0.0,
        };
        let grown = (total - noise).max(total * LEAST_GROWTH);
        ((total - grown) + grown * (steps / step).powf(self.growth)).sqrt()
    }
}

/// Roots of mean squares that never fall with the distance: neighbours that do are taken together (pool adjacent violators).
fn never_falling(mean_squares: impl Iterator<Item = (f64, f64, f64)>) -> Vec<(f64, f64)> {
    let mut pools: Vec<(Vec<f64>, f64, f64)> = Vec::new();
    for (step, square, count) in mean_squares {
        pools.push((vec![step], square, count));
        while let [.., before, last] = pools.as_slice()
            && before.1 > last.1
        {
            let count = before.2 + last.2;
            let square = (before.1 * before.2 + last.1 * last.2) / count;
            let Some((steps, ..)) = pools.pop() else { break };
            if let Some(before) = pools.last_mut() {
                before.0.extend(steps);
                (before.1, before.2) = (square, count);
            }
        }
    }
    pools
        .into_iter()
        .flat_map(|(steps, square, _)| steps.into_iter().map(move |step| (step, square.sqrt())))
        .collect()
}

/// The quantile of sorted values between the two that it lies between; 0 of nothing.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    low + (high - low) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_spread_and_both_ends_are_among_them() {
        assert_eq!(spread(1, 4, 16), [1, 2, 3, 4]);
        assert_eq!(spread(7, 7, 16), [7]);
        let many = spread(10, 1_009, 100);
        assert_eq!((many.len(), many[0], many[99]), (100, 10, 1_009));
        assert!(many.is_sorted_by(|one, other| one < other));
    }

    #[test]
    fn errors_never_fall_with_the_distance() {
        let pooled =
            never_falling([(1.0, 4.0, 1.0), (2.0, 1.0, 1.0), (3.0, 1.0, 2.0), (4.0, 9.0, 1.0)].into_iter());
        let root = 1.75_f64.sqrt();
        assert_eq!(pooled, [(1.0, root), (2.0, root), (3.0, root), (4.0, 3.0)]);
    }

    #[test]
    fn quantiles_lie_between_values() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0], 0.25), 1.25);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}

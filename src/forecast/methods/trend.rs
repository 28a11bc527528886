//! Straight lines.

use serde::{Deserialize, Serialize};

use super::{Projection, See};
use crate::error::Error;
use crate::forecast::grid::{Grid, median};

/// The straight line with the least squares: `f(h) = a + b (n + h)` with `b = cov(t, y) / var(t)`, weighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LinearTrend {
    /// Through how many of the last steps; all without a number.
    pub points: Option<usize>,
}

/// The line of Theil (1950) and Sen (1968): its slope is the median of the slopes of all pairs, its level the median of what
/// is left. Up to 29 % of the values may be spikes without bending it. Weights are not used. Of more than 40 values,
/// neighbours are taken together (by their median) so that there are at most 40.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TheilSen {
    /// Through how many of the last steps; all without a number.
    pub points: Option<usize>,
}

/// Pairs grow with the square.
const MOST_PAIRED: usize = 40;

/// Checks how many of the last steps a line is drawn through.
pub(super) fn check(points: Option<usize>) -> Result<(), Error> {
    match points {
        Some(points @ 0..=2) => Err(Error::config(format!(
            "a trend of the last {points} values: expected at least 3, or none for all"
        ))),
        _ => Ok(()),
    }
}

fn first_of(points: Option<usize>, origin: usize) -> usize {
    points.map_or(0, |points| (origin + 1).saturating_sub(points))
}

impl LinearTrend {
    /// Through all values.
    pub const fn of_all() -> Self {
        Self { points: None }
    }

    /// Through those of the last `points` steps, at least 3.
    pub const fn of_last(points: usize) -> Self {
        Self { points: Some(points) }
    }

    pub(super) fn project(self, grid: &Grid, origins: &[usize], see: See<'_>) {
        let sums = Sums::of(grid);
        for (index, origin) in origins.iter().enumerate() {
            if let Some((level, slope)) = sums.line(first_of(self.points, *origin), *origin) {
                see(index, &Projection { slope, ..Projection::flat(level) });
            }
        }
    }
}

/// Sums from the start to each cell, so that every line costs the same however many values it is drawn through.
struct Sums {
    /// Weight, and weighted t, y, tt, ty, before each cell.
    before: Vec<[f64; 5]>,
    /// Taken off the values first: large values with small differences would lose their digits in the sums.
    offset: f64,
}

impl Sums {
    fn of(grid: &Grid) -> Self {
        let offset = grid.filled_in(0..grid.len()).next().map_or(0.0, |(_, value, _)| value);
        let mut before = Vec::with_capacity(grid.len() + 1);
        let mut sums = [0.0; 5];
        before.push(sums);
        for (at, (value, weight)) in grid.values.iter().zip(&grid.weights).enumerate() {
            let (t, y) = (at as f64, value - offset);
            for (sum, part) in sums.iter_mut().zip([1.0, t, y, t * t, t * y]) {
                *sum += weight * part;
            }
            before.push(sums);
        }
        Self { before, offset }
    }

    /// The value at the cell `last` and the slope of the line through `first` to `last`.
    fn line(&self, first: usize, last: usize) -> Option<(f64, f64)> {
        let mut sums = self.before[last + 1];
        sums.iter_mut().zip(&self.before[first]).for_each(|(sum, before)| *sum -= before);
        let [weight, t, y, tt, ty] = sums;
        if weight <= 0.0 {
            return None;
        }
        let (t, y) = (t / weight, y / weight);
        let (var, cov) = (tt / weight - t * t, ty / weight - t * y);
        // One value, or several of one time, give no slope.
        let slope = if var > 1e-9 { cov / var } else { 0.0 };
        Some((self.offset + y + slope * (last as f64 - t), slope))
    }
}

impl TheilSen {
    /// Through all values.
    pub const fn of_all() -> Self {
        Self { points: None }
    }

    /// Through those of the last `points` steps, at least 3.
    pub const fn of_last(points: usize) -> Self {
        Self { points: Some(points) }
    }

    pub(super) fn project(self, grid: &Grid, origins: &[usize], see: See<'_>) {
        let mut scratch = Vec::new();
        for (index, origin) in origins.iter().enumerate() {
            let points = thinned(grid, first_of(self.points, *origin), *origin, &mut scratch);
            if let Some((level, slope)) = theil_sen(&points, *origin as f64, &mut scratch) {
                see(index, &Projection { slope, ..Projection::flat(level) });
            }
        }
    }
}

/// At most [`MOST_PAIRED`] points of the cells `first` to `last`: the mean time and the median value of neighbours.
fn thinned(grid: &Grid, first: usize, last: usize, scratch: &mut Vec<f64>) -> Vec<(f64, f64)> {
    let filled: Vec<(usize, f64, f64)> = grid.filled_in(first..last + 1).collect();
    let together = filled.len().div_ceil(MOST_PAIRED).max(1);
    // From the newest on, so that the last group is whole.
    filled
        .rchunks(together)
        .filter_map(|group| {
            scratch.clear();
            scratch.extend(group.iter().map(|(_, value, _)| value));
            let time = group.iter().map(|(at, ..)| *at as f64).sum::<f64>() / group.len() as f64;
            Some((time, median(scratch)?))
        })
        .collect()
}

/// The value at the time `last` and the slope.
fn theil_sen(points: &[(f64, f64)], last: f64, scratch: &mut Vec<f64>) -> Option<(f64, f64)> {
    scratch.clear();
    for (index, (t1, y1)) in points.iter().enumerate() {
        scratch.extend(points[index + 1..].iter().map(|(t2, y2)| (y2 - y1) / (t2 - t1)));
    }
    let slope = median(scratch).unwrap_or(0.0);
    scratch.clear();
    scratch.extend(points.iter().map(|(t, y)| y + slope * (last - t)));
    Some((median(scratch)?, slope))
}

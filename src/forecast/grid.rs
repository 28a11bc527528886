//! A series in equal steps, as the methods want it.

use std::time::Duration;

use super::Series;
use crate::error::Error;

/// A long gap must not make more work than as many values.
const MAX_CELLS: usize = 2 * Series::MAX_POINTS;

/// A series in equal steps that ends with its last value. Cells without a value have the weight 0.
#[derive(Debug)]
pub(super) struct Grid {
    pub(super) values: Vec<f64>,
    /// Relative to their mean, so that 1 is a usual one.
    pub(super) weights: Vec<f64>,
    /// Seconds.
    pub(super) step: f64,
    /// Cells with a value.
    pub(super) filled: usize,
}

impl Grid {
    /// In steps of `step`, or of the median distance of two values.
    pub(super) fn of(series: &Series, step: Option<Duration>) -> Result<Self, Error> {
        let samples = series.samples();
        let step_ns = match step {
            Some(step) => step.as_nanos() as f64,
            None => median_distance(series),
        };
        if step_ns < 1.0 {
            return Err(Error::config("the steps of a forecast are 0 ns: expected more"));
        }
        let Some(last) = samples.last() else { return Ok(Self::empty(step_ns)) };
        let back = |at_ns: u64| ((last.at_ns - at_ns) as f64 / step_ns).round() as usize;
        let cells = samples.first().map_or(0, |first| back(first.at_ns)).min(MAX_CELLS - 1) + 1;
        let (mut values, mut weights) = (vec![0.0; cells], vec![0.0; cells]);
        for sample in samples {
            let Some(at) = (cells - 1).checked_sub(back(sample.at_ns)) else { continue };
            let weight: f64 = weights[at] + sample.weight;
            values[at] += (sample.value - values[at]) * (sample.weight / weight);
            weights[at] = weight;
        }
        let filled = weights.iter().filter(|weight| **weight > 0.0).count();
        let usual = weights.iter().sum::<f64>() / filled as f64;
        weights.iter_mut().for_each(|weight| *weight /= usual);
        Ok(Self { values, weights, step: step_ns / 1e9, filled })
    }

    fn empty(step_ns: f64) -> Self {
        Self { values: Vec::new(), weights: Vec::new(), step: step_ns / 1e9, filled: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The value of a cell, if it has one.
    pub(super) fn get(&self, at: usize) -> Option<f64> {
        (*self.weights.get(at)? > 0.0).then(|| self.values[at])
    }

    /// The cells of a range that have a value: index, value, weight.
    pub(super) fn filled_in(
        &self,
        range: std::ops::Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (usize, f64, f64)> + '_ {
        range.filter(|at| self.weights[*at] > 0.0).map(|at| (at, self.values[at], self.weights[at]))
    }

    /// How far a value is from the one before it, on average: what the errors of forecasts are compared with.
    pub(super) fn naive_error(&self) -> f64 {
        let mut before = None;
        let (mut sum, mut pairs) = (0.0, 0_u32);
        for (_, value, _) in self.filled_in(0..self.len()) {
            if let Some(before) = before.replace(value) {
                sum += f64::abs(value - before);
                pairs += 1;
            }
        }
        if pairs == 0 { 0.0 } else { sum / f64::from(pairs) }
    }
}

fn median_distance(series: &Series) -> f64 {
    let mut distances: Vec<f64> =
        series.samples().windows(2).map(|pair| (pair[1].at_ns - pair[0].at_ns) as f64).collect();
    median(&mut distances).unwrap_or(1e9)
}

/// The median; `None` of nothing. Reorders the values.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let is_even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if is_even {
        Some(f64::midpoint(below.iter().copied().fold(f64::MIN, f64::max), upper))
    } else {
        Some(upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_cells_without_weight_and_a_cell_has_the_mean_of_its_values() {
        let mut series = Series::new();
        for (second, value) in [(0, 1.0), (10, 2.0), (20, 3.0), (21, 5.0), (50, 6.0), (60, 7.0)] {
            series.push(second * 1_000_000_000, value).unwrap();
        }
        let grid = Grid::of(&series, None).unwrap();
        assert_eq!((grid.step, grid.len(), grid.filled), (10.0, 7, 5));
        let values: Vec<_> = (0..8).map(|at| grid.get(at)).collect();
        assert_eq!(values, [Some(1.0), Some(2.0), Some(4.0), None, None, Some(6.0), Some(7.0), None]);
    }

    #[test]
    fn a_long_gap_does_not_make_many_cells() {
        let mut series = Series::evenly(Duration::from_secs(1), (0..10).map(f64::from)).unwrap();
        series.push(u64::MAX, 1.0).unwrap();
        assert_eq!(Grid::of(&series, None).unwrap().len(), MAX_CELLS);
    }

    #[test]
    fn the_median_is_the_middle_one_or_between_the_two() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
    }
}

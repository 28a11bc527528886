//! Flat forecasts from a few of the last values.

use serde::{Deserialize, Serialize};

use super::{Projection, See};
use crate::error::Error;
use crate::forecast::grid::Grid;

/// The mean of the last `points` values stays: `f(h) = (w(n) y(n) + .. + w(n-k+1) y(n-k+1)) / (w(n) + ..)`, with weights of
/// 1 it is the moving average of the textbooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MovingAverage {
    /// How many of the last values.
    pub points: usize,
}

impl MovingAverage {
    /// Of the last `points` values, at least 1.
    pub const fn of_last(points: usize) -> Self {
        Self { points }
    }

    pub(super) fn check(self) -> Result<(), Error> {
        if self.points == 0 {
            return Err(Error::config("a moving average of the last 0 values: expected at least 1"));
        }
        Ok(())
    }

    pub(super) fn project(self, grid: &Grid, origins: &[usize], see: See<'_>) {
        for (index, origin) in origins.iter().enumerate() {
            let last = grid.filled_in(0..origin + 1).rev().take(self.points);
            let (sum, weights) =
                last.fold((0.0, 0.0), |sum, (_, value, weight)| (sum.0 + value * weight, sum.1 + weight));
            if weights > 0.0 {
                see(index, &Projection::flat(sum / weights));
            }
        }
    }
}

/// The last value.
pub(super) fn project_last(grid: &Grid, origins: &[usize], see: See<'_>) {
    for (index, origin) in origins.iter().enumerate() {
        if let Some((_, value, _)) = grid.filled_in(0..origin + 1).next_back() {
            see(index, &Projection::flat(value));
        }
    }
}

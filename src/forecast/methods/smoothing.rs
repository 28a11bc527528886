//! Exponential smoothing, without and with a trend. Across a gap the state goes on as projected.

use serde::{Deserialize, Serialize};

use super::{Projection, See, best, check_share, choices, gain};
use crate::error::Error;
use crate::forecast::grid::Grid;

/// What may be chosen for `alpha`.
const ALPHAS: [f64; 9] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.95];
const HOLT_ALPHAS: [f64; 5] = [0.1, 0.2, 0.4, 0.6, 0.9];
const HOLT_BETAS: [f64; 4] = [0.02, 0.1, 0.25, 0.5];
const DAMPINGS: [f64; 3] = [0.9, 0.98, 1.0];
/// The first values that the first state is made of.
const FIRST: usize = 5;

/// Simple exponential smoothing (Brown 1956): `l(t) = l(t-1) + alpha (y(t) - l(t-1))`, `f(h) = l(n)`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExponentialSmoothing {
    /// How fast older values are forgotten, 0 (never) to 1 (at once); without a number it is chosen by its errors.
    pub alpha: Option<f64>,
}

impl ExponentialSmoothing {
    /// With this alpha, 0 to 1.
    pub const fn with(alpha: f64) -> Self {
        Self { alpha: Some(alpha) }
    }

    /// With the alpha that makes the smallest errors.
    pub const fn optimised() -> Self {
        Self { alpha: None }
    }

    pub(super) fn check(self) -> Result<(), Error> {
        check_share("alpha", self.alpha)
    }

    pub(super) fn tuned(self, grid: &Grid, until: usize) -> Self {
        let alpha = best(choices(self.alpha, &ALPHAS), |alpha| {
            Level::start(grid).map_or(f64::INFINITY, |state| state.run(grid, 0..until, (alpha, 0.0, 1.0)).1)
        });
        Self { alpha }
    }

    pub(super) fn project(self, grid: &Grid, origins: &[usize], see: See<'_>) {
        project(grid, origins, (self.alpha.unwrap_or(0.3), 0.0, 1.0), false, see);
    }
}

/// Holt's linear trend (1957) with the damping of Gardner and McKenzie (1985):
/// `l(t) = l(t-1) + d b(t-1) + alpha e(t)`, `b(t) = d b(t-1) + alpha beta e(t)`, where `e(t) = y(t) - l(t-1) - d b(t-1)`;
/// `f(h) = l(n) + (d + d^2 + .. + d^h) b(n)`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holt {
    /// How fast the level follows, 0 to 1; chosen if there is none.
    pub alpha: Option<f64>,
    /// How fast the trend follows, 0 to 1; chosen if there is none.
    pub beta: Option<f64>,
    /// What is left of the trend with each step, 0 to 1; 1 is Holt's own method. Chosen if there is none.
    pub damping: Option<f64>,
}

impl Holt {
    /// With these parameters, each from 0 to 1.
    pub const fn with(alpha: f64, beta: f64, damping: f64) -> Self {
        Self { alpha: Some(alpha), beta: Some(beta), damping: Some(damping) }
    }

    /// With the parameters that make the smallest errors.
    pub const fn optimised() -> Self {
        Self { alpha: None, beta: None, damping: None }
    }

    pub(super) fn check(self) -> Result<(), Error> {
        check_share("alpha", self.alpha)?;
        check_share("beta", self.beta)?;
        check_share("damping", self.damping)
    }

    pub(super) fn tuned(self, grid: &Grid, until: usize) -> Self {
        let (betas, dampings) = (choices(self.beta, &HOLT_BETAS), choices(self.damping, &DAMPINGS));
        let all = choices(self.alpha, &HOLT_ALPHAS).into_iter().flat_map(|alpha| {
            let dampings = &dampings;
            betas.iter().flat_map(move |beta| dampings.iter().map(move |damping| (alpha, *beta, *damping)))
        });
        let found = best(all, |parameters| {
            Level::with_trend(grid).map_or(f64::INFINITY, |state| state.run(grid, 0..until, parameters).1)
        });
        found.map_or(self, |(alpha, beta, damping)| Self::with(alpha, beta, damping))
    }

    pub(super) fn project(self, grid: &Grid, origins: &[usize], see: See<'_>) {
        let parameters = (self.alpha.unwrap_or(0.3), self.beta.unwrap_or(0.1), self.damping.unwrap_or(0.98));
        project(grid, origins, parameters, true, see);
    }
}

fn project(grid: &Grid, origins: &[usize], parameters: (f64, f64, f64), trend: bool, see: See<'_>) {
    let start = if trend { Level::with_trend(grid) } else { Level::start(grid) };
    let Some(mut state) = start else { return };
    let mut done = 0;
    for (index, origin) in origins.iter().enumerate() {
        (state, _) = state.run(grid, done..origin + 1, parameters);
        done = origin + 1;
        let damping = parameters.2;
        see(index, &Projection { slope: state.slope, damping, ..Projection::flat(state.level) });
    }
}

/// Where smoothing is: the level of now and its slope.
#[derive(Debug, Clone, Copy)]
struct Level {
    level: f64,
    slope: f64,
}

impl Level {
    /// The mean of the first values: back-tests begin long after them.
    fn start(grid: &Grid) -> Option<Self> {
        let first = || grid.filled_in(0..grid.len()).take(FIRST).map(|(_, value, _)| value);
        let count = first().count();
        (count > 0).then(|| Self { level: first().sum::<f64>() / count as f64, slope: 0.0 })
    }

    /// The line from the first value to the last of the first ones, one step before it begins.
    fn with_trend(grid: &Grid) -> Option<Self> {
        let mut first = grid.filled_in(0..grid.len()).take(FIRST);
        let (start, value, _) = first.next()?;
        let slope = match first.last() {
            Some((end, last, _)) => (last - value) / (end - start) as f64,
            None => 0.0,
        };
        Some(Self { level: value - slope * (start + 1) as f64, slope })
    }

    /// Goes on through these cells; with the mean absolute error one step ahead.
    fn run(
        mut self,
        grid: &Grid,
        cells: std::ops::Range<usize>,
        (alpha, beta, damping): (f64, f64, f64),
    ) -> (Self, f64) {
        let (mut errors, mut count) = (0.0, 0.0);
        for at in cells {
            self.slope *= damping;
            self.level += self.slope;
            let weight = grid.weights[at];
            if weight > 0.0 {
                let error = grid.values[at] - self.level;
                let gain = gain(alpha, weight);
                self.level += gain * error;
                self.slope += gain * beta * error;
                errors += error.abs();
                count += 1.0;
            }
        }
        (self, if count > 0.0 { errors / count } else { f64::INFINITY })
    }
}

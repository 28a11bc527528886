//! Smoothing with a season: what every day has.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Projection, See, best, check_share, choices, gain};
use crate::error::Error;
use crate::forecast::grid::Grid;

const ALPHAS: [f64; 4] = [0.05, 0.2, 0.5, 0.9];
const BETAS: [f64; 2] = [0.0, 0.05];
const GAMMAS: [f64; 3] = [0.05, 0.2, 0.5];

/// The additive method of Holt and Winters (Winters 1960), for a season such as a day:
/// `l(t) = l(t-1) + b(t-1) + alpha e(t)`, `b(t) = b(t-1) + alpha beta e(t)`, `s(t) = s(t-m) + gamma (1 - alpha) e(t)`,
/// where `e(t) = y(t) - l(t-1) - b(t-1) - s(t-m)`; `f(h) = l(n) + h b(n) + s(n+h-m)`. It wants two whole seasons to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HoltWinters {
    /// How long a season is. In documents `season_seconds`.
    #[serde(rename = "season_seconds", with = "crate::forecast::text::seconds")]
    pub season: Duration,
    /// How fast the level follows, 0 to 1; chosen if there is none.
    pub alpha: Option<f64>,
    /// How fast the trend follows, 0 to 1; chosen if there is none.
    pub beta: Option<f64>,
    /// How fast the season follows, 0 to 1; chosen if there is none.
    pub gamma: Option<f64>,
}

impl HoltWinters {
    /// With a season of this length, and the parameters that make the smallest errors.
    pub const fn every(season: Duration) -> Self {
        Self { season, alpha: None, beta: None, gamma: None }
    }

    /// With these parameters, each from 0 to 1.
    #[must_use]
    pub const fn with(self, alpha: f64, beta: f64, gamma: f64) -> Self {
        Self { alpha: Some(alpha), beta: Some(beta), gamma: Some(gamma), ..self }
    }

    /// Steps in a season.
    pub(in crate::forecast) fn steps(self, grid: &Grid) -> usize {
        (self.season.as_secs_f64() / grid.step).round() as usize
    }

    pub(super) fn check(self, grid: &Grid, cells: usize) -> Result<(), Error> {
        check_share("alpha", self.alpha)?;
        check_share("beta", self.beta)?;
        check_share("gamma", self.gamma)?;
        let steps = self.steps(grid);
        if steps < 2 {
            return Err(Error::config(format!(
                "a season of {:?} has {steps} steps of {} s: expected at least 2",
                self.season, grid.step
            )));
        }
        if 2 * steps > cells {
            return Err(Error::config(format!(
                "a season of {:?} wants 2 seasons of history before the first forecast that is checked: there are {:.1}",
                self.season,
                cells as f64 / steps as f64
            )));
        }
        Ok(())
    }

    pub(super) fn tuned(self, grid: &Grid, until: usize) -> Self {
        let Some(start) = State::start(grid, self.steps(grid)) else { return self };
        let (betas, gammas) = (choices(self.beta, &BETAS), choices(self.gamma, &GAMMAS));
        let all = choices(self.alpha, &ALPHAS).into_iter().flat_map(|alpha| {
            let gammas = &gammas;
            betas.iter().flat_map(move |beta| gammas.iter().map(move |gamma| (alpha, *beta, *gamma)))
        });
        // The first season is what the start is made of: its errors say nothing.
        let from = start.season.len();
        let mut state = start.clone();
        let found = best(all, |parameters| {
            state.clone_from(&start);
            state.run(grid, 0..from.min(until), parameters);
            state.run(grid, from.min(until)..until, parameters)
        });
        found.map_or(self, |(alpha, beta, gamma)| self.with(alpha, beta, gamma))
    }

    pub(super) fn project(self, grid: &Grid, origins: &[usize], see: See<'_>) {
        let parameters = (self.alpha.unwrap_or(0.2), self.beta.unwrap_or(0.0), self.gamma.unwrap_or(0.2));
        let Some(mut state) = State::start(grid, self.steps(grid)) else { return };
        let mut done = 0;
        for (index, origin) in origins.iter().enumerate() {
            state.run(grid, done..origin + 1, parameters);
            done = origin + 1;
            let season = (state.season.as_slice(), done % state.season.len());
            see(index, &Projection { level: state.level, slope: state.slope, damping: 1.0, season });
        }
    }
}

#[derive(Debug, Clone)]
struct State {
    level: f64,
    slope: f64,
    season: Vec<f64>,
}

impl State {
    /// From the first two seasons: their means are the trend, what is left over the season. Later seasons are not looked
    /// at, for back-tests may begin right after these.
    fn start(grid: &Grid, steps: usize) -> Option<Self> {
        if steps < 2 || grid.len() < 2 * steps {
            return None;
        }
        let mean = |from: usize| {
            let (sum, count) = grid
                .filled_in(from..from + steps)
                .fold((0.0, 0_u32), |sum, (_, value, _)| (sum.0 + value, sum.1 + 1));
            (count > 0).then(|| sum / f64::from(count))
        };
        let (first, second) = match (mean(0), mean(steps)) {
            (Some(first), Some(second)) => (first, second),
            (Some(only), None) | (None, Some(only)) => (only, only),
            (None, None) => return None,
        };
        let slope = (second - first) / steps as f64;
        let middle = (steps - 1) as f64 / 2.0;
        let line = |at: usize| first + slope * (at as f64 - middle);
        let mut season = vec![0.0; steps];
        for (at, effect) in season.iter_mut().enumerate() {
            let both = [at, at + steps].map(|at| grid.get(at).map(|value| value - line(at)));
            let known = both.iter().flatten();
            *effect = known.clone().sum::<f64>() / known.count().max(1) as f64;
        }
        Some(Self { level: line(0) - slope, slope, season })
    }

    /// Goes on through these cells; the mean absolute error one step ahead.
    fn run(
        &mut self,
        grid: &Grid,
        cells: std::ops::Range<usize>,
        (alpha, beta, gamma): (f64, f64, f64),
    ) -> f64 {
        let (mut errors, mut count) = (0.0, 0.0);
        let steps = self.season.len();
        for at in cells {
            self.level += self.slope;
            let weight = grid.weights[at];
            if weight > 0.0 {
                let effect = &mut self.season[at % steps];
                let error = grid.values[at] - self.level - *effect;
                let level_gain = gain(alpha, weight);
                self.level += level_gain * error;
                self.slope += level_gain * beta * error;
                // What the level took in is not the season's.
                *effect += gain(gamma, weight) * (1.0 - level_gain) * error;
                errors += error.abs();
                count += 1.0;
            }
        }
        if count > 0.0 { errors / count } else { f64::INFINITY }
    }
}

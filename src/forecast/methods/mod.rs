//! The methods: each looks at what came before and says what comes next.
//!
//! All of them end in one form, a [`Projection`]: a level, a slope that may fade, and a season.

mod average;
mod season;
mod smoothing;
mod trend;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use average::MovingAverage;
pub use season::HoltWinters;
pub use smoothing::{ExponentialSmoothing, Holt};
pub use trend::{LinearTrend, TheilSen};

use super::grid::Grid;
use crate::error::Error;

/// How a forecast is made.
///
/// ```
/// use agentvitals::forecast::{ExponentialSmoothing, Method, MovingAverage};
/// assert_eq!(Method::from(MovingAverage::of_last(5)).to_string(), "moving average of the last 5");
/// assert_eq!(Method::from(ExponentialSmoothing::with(0.3)).to_string(), "exponential smoothing (alpha 0.3)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// The last value stays: `f(h) = y(n)`. The bar that others have to beat.
    Naive,
    /// See [`MovingAverage`].
    MovingAverage(MovingAverage),
    /// See [`ExponentialSmoothing`].
    ExponentialSmoothing(ExponentialSmoothing),
    /// See [`LinearTrend`].
    LinearTrend(LinearTrend),
    /// See [`TheilSen`].
    TheilSen(TheilSen),
    /// See [`Holt`].
    Holt(Holt),
    /// See [`HoltWinters`].
    HoltWinters(HoltWinters),
}

macro_rules! from {
    ($($method:ident),*) => {$(
        impl From<$method> for Method {
            fn from(method: $method) -> Self {
                Self::$method(method)
            }
        }
    )*};
}
from!(MovingAverage, ExponentialSmoothing, LinearTrend, TheilSen, Holt, HoltWinters);

/// What a method makes of all that came before a moment: the value `h` steps later is `level + slope * (d + d^2 + .. + d^h)
/// + season`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Projection<'a> {
    pub(super) level: f64,
    /// A step.
    pub(super) slope: f64,
    /// `d`: 1 for a straight line.
    pub(super) damping: f64,
    /// The season's values, and which of them is the next step's; empty without one.
    pub(super) season: (&'a [f64], usize),
}

impl Projection<'_> {
    pub(super) fn flat(level: f64) -> Self {
        Self { level, slope: 0.0, damping: 1.0, season: (&[], 0) }
    }

    /// The value `steps` later, 0 or more, also between two steps.
    pub(super) fn at(&self, steps: f64) -> f64 {
        let (whole, part) = (steps.floor(), steps.fract());
        let value = self.at_step(whole);
        if part == 0.0 { value } else { value + (self.at_step(whole + 1.0) - value) * part }
    }

    fn at_step(&self, steps: f64) -> f64 {
        let slopes = if self.damping < 1.0 {
            self.damping * (1.0 - self.damping.powf(steps)) / (1.0 - self.damping)
        } else {
            steps
        };
        let (season, next) = self.season;
        // One before the next is the step that is now.
        let seasonal = if season.is_empty() {
            0.0
        } else {
            season[(next + season.len() - 1 + steps as usize) % season.len()]
        };
        self.level + self.slope * slopes + seasonal
    }
}

/// Called with an index into the origins and with what is projected from there.
type See<'a> = &'a mut dyn FnMut(usize, &Projection<'_>);

impl Method {
    /// Its number when the simpler one is preferred of two that are as good.
    pub(super) fn complexity(&self) -> u8 {
        match self {
            Self::Naive => 0,
            Self::MovingAverage(_) => 1,
            Self::ExponentialSmoothing(_) => 2,
            Self::LinearTrend(_) => 3,
            Self::TheilSen(_) => 4,
            Self::Holt(_) => 5,
            Self::HoltWinters(_) => 6,
        }
    }

    /// Whether its error grows with the distance, as that of a wrong slope does, or with its root.
    pub(super) fn has_slope(&self) -> bool {
        !matches!(self, Self::Naive | Self::MovingAverage(_) | Self::ExponentialSmoothing(_))
    }

    /// Checks the parameters. `cells` are those of the history.
    pub(super) fn check(&self, grid: &Grid, cells: usize) -> Result<(), Error> {
        match self {
            Self::MovingAverage(method) => method.check(),
            Self::ExponentialSmoothing(method) => method.check(),
            Self::LinearTrend(LinearTrend { points }) | Self::TheilSen(TheilSen { points }) => {
                trend::check(*points)
            }
            Self::Holt(method) => method.check(),
            Self::HoltWinters(method) => method.check(grid, cells),
            Self::Naive => Ok(()),
        }
    }

    /// With the parameters that are open set to those that make the smallest errors one step ahead, before cell `until`.
    pub(super) fn tuned(self, grid: &Grid, until: usize) -> Self {
        match self {
            Self::ExponentialSmoothing(method) => method.tuned(grid, until).into(),
            Self::Holt(method) => method.tuned(grid, until).into(),
            Self::HoltWinters(method) => method.tuned(grid, until).into(),
            Self::Naive | Self::MovingAverage(_) | Self::LinearTrend(_) | Self::TheilSen(_) => self,
        }
    }

    /// Shows what it projects from each of the ascending `origins`, which are the last cells that it knows then.
    pub(super) fn project(&self, grid: &Grid, origins: &[usize], see: See<'_>) {
        match self {
            Self::Naive => average::project_last(grid, origins, see),
            Self::MovingAverage(method) => method.project(grid, origins, see),
            Self::ExponentialSmoothing(method) => method.project(grid, origins, see),
            Self::LinearTrend(method) => method.project(grid, origins, see),
            Self::TheilSen(method) => method.project(grid, origins, see),
            Self::Holt(method) => method.project(grid, origins, see),
            Self::HoltWinters(method) => method.project(grid, origins, see),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Naive => f.write_str("last value"),
            Self::MovingAverage(method) => write!(f, "moving average of the last {}", method.points),
            Self::ExponentialSmoothing(ExponentialSmoothing { alpha: Some(alpha) }) => {
                write!(f, "exponential smoothing (alpha {alpha})")
            }
            Self::ExponentialSmoothing(_) => f.write_str("exponential smoothing"),
            Self::LinearTrend(LinearTrend { points: Some(points) }) => {
                write!(f, "linear trend of the last {points}")
            }
            Self::LinearTrend(_) => f.write_str("linear trend"),
            Self::TheilSen(TheilSen { points: Some(points) }) => {
                write!(f, "Theil-Sen trend of the last {points}")
            }
            Self::TheilSen(_) => f.write_str("Theil-Sen trend"),
            Self::Holt(_) => f.write_str("Holt, damped"),
            Self::HoltWinters(_) => f.write_str("Holt-Winters"),
        }
    }
}

/// A share as a parameter of smoothing.
fn check_share(name: &str, value: Option<f64>) -> Result<(), Error> {
    match value {
        Some(value) if !(0.0..=1.0).contains(&value) => {
            Err(Error::config(format!("{name} is {value}: expected 0 to 1, or none to have it chosen")))
        }
        _ => Ok(()),
    }
}

/// How much of an error is taken in: `alpha` of it for a value of the usual weight, less for one of fewer samples. This is
/// the gain of Kalman's filter whose error of measurement has the variance `1 / weight`.
fn gain(alpha: f64, weight: f64) -> f64 {
    if weight == 1.0 { alpha } else { alpha * weight / (alpha * weight + 1.0 - alpha) }
}

/// The parameters of which `error` is least; the first of them if none has an error.
fn best<P: Copy>(of: impl IntoIterator<Item = P>, mut error: impl FnMut(P) -> f64) -> Option<P> {
    let mut best = None;
    for parameters in of {
        let found = error(parameters);
        if best.is_none_or(|(least, _)| found < least) {
            best = Some((found, parameters));
        }
    }
    best.map(|(_, parameters)| parameters)
}

/// What may be chosen of, for a parameter that is set and for one that is open.
fn choices(set: Option<f64>, open: &[f64]) -> Vec<f64> {
    set.map_or_else(|| open.to_vec(), |value| vec![value])
}

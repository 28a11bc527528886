//! Where a series of numbers is going, and how sure that is.
//!
//! [`forecast()`] tries several methods on the past of a series, takes the one that would have been right most nearly, and
//! gives its answer with an interval made of its own errors. [`Forecast::passes`] says when a limit is passed, only if that
//! interval says so: it is what alerts on forecasts ask. [`forecast_linear_trend`] is the simple form; [`forecasts`] shows
//! all methods. A [`Tracker`] keeps forecasts until their time has come and says how good they were.
//!
//! ```
//! use agentvitals::forecast::{Direction, MetricKind, Options, Series, Trend, forecast};
//! use std::time::Duration;
//!
//! // The health score of an agent, every five minutes; it loses 2 points each.
//! let scores = (0..30).map(|at| 98.0 - 2.0 * f64::from(at) * 0.5 + f64::from(at * 7 % 3) * 0.3);
//! let series = Series::evenly(Duration::from_secs(300), scores)?;
//! let options = Options::new().named("health of planner").kind(MetricKind::Health);
//! let forecast = forecast(&series, Duration::from_secs(3_600), &options)?;
//! assert_eq!(forecast.trend, Trend::Falling);
//! let degraded = forecast.passes(60.0, Direction::Below).unwrap();
//! assert!(degraded.to_string().starts_with("health of planner falls below 60 in about"), "{degraded}");
//! # Ok::<(), agentvitals::Error>(())
//! ```

mod accuracy;
mod advice;
mod backtest;
mod grid;
mod methods;
mod options;
mod outcome;
mod series;
mod slope;
mod text;
mod tracker;

use std::time::Duration;

pub use accuracy::Accuracy;
pub use advice::{Direction, MetricKind, Trend};
pub use methods::{ExponentialSmoothing, Holt, HoltWinters, LinearTrend, Method, MovingAverage, TheilSen};
pub use options::Options;
pub use outcome::{Crossing, Expected, Forecast};
pub use series::{Sample, Series};
pub use tracker::{TrackedNumber, Tracker};

use backtest::{Plan, Tried};
use grid::Grid;
use methods::Projection;

use crate::error::Error;

/// The horizon where none is said: an hour.
pub const DEFAULT_HORIZON: Duration = Duration::from_secs(3_600);
/// Fewer values say nothing.
pub const MIN_POINTS: usize = 8;
/// A method that beats the last value by less than this share of its error has not beaten it.
const MARGIN: f64 = 0.05;
/// Of two methods whose errors differ by less than this share, the simpler one is taken.
const AS_GOOD: f64 = 0.03;
/// Points of a path after the first.
const PATH: usize = 60;
/// Steps that a trend is looked for in, at least.
const TREND_STEPS: usize = 30;

/// What is expected of a series `horizon` after its last value.
///
/// Without [`Options::method`], the methods are tried on the past from up to 64 origins, each knowing only what came before,
/// and the one with the least mean absolute error is taken, if it beats the last value by 5 %; else the forecast is the last
/// value. The interval is made of the errors that the method made, by distance; nothing is assumed of their distribution,
/// only that the series goes on as it was. A constant series is forecast as constant, with an interval of no width.
///
/// The work is bounded: [`Series::MAX_POINTS`] points, a few methods, 64 origins.
///
/// # Errors
/// If there are fewer than [`MIN_POINTS`] values, if the horizon is 0 or longer than the history, or if an option is none
/// that can be.
pub fn forecast(series: &Series, horizon: Duration, options: &Options) -> Result<Forecast, Error> {
    let bench = Bench::new(series, horizon, options)?;
    let naive = bench.try_out(Method::Naive);
    if let Some(method) = options.method {
        method.check(&bench.grid, bench.first + 1)?;
        let tried = bench.try_out(method);
        return bench.finish(method, &tried, &naive);
    }
    let bar = naive.errors.mae() * (1.0 - MARGIN);
    let tried: Vec<(Method, Tried)> =
        bench.candidates().into_iter().map(|method| (method, bench.try_out(method))).collect();
    let least = tried.iter().map(|(_, tried)| tried.errors.mae()).fold(f64::INFINITY, f64::min);
    let chosen = tried
        .iter()
        .filter(|(_, tried)| tried.errors.mae() < bar && tried.errors.mae() <= least * (1.0 + AS_GOOD))
        .min_by_key(|(method, _)| method.complexity());
    match chosen {
        Some((method, tried)) => bench.finish(*method, tried, &naive),
        None => bench.finish(Method::Naive, &naive, &naive),
    }
}

/// What each method expects, the one with the least error in the back-test first; the last value is among them.
///
/// # Errors
/// As [`forecast()`].
pub fn forecasts(series: &Series, horizon: Duration, options: &Options) -> Result<Vec<Forecast>, Error> {
    let bench = Bench::new(series, horizon, options)?;
    let naive = bench.try_out(Method::Naive);
    let mut all = vec![bench.finish(Method::Naive, &naive, &naive)?];
    for method in bench.candidates() {
        all.push(bench.finish(method, &bench.try_out(method), &naive)?);
    }
    all.sort_by(|one, other| one.error.mae.total_cmp(&other.error.mae));
    Ok(all)
}

/// What a linear trend through all of the series expects; see [`forecast_linear_trend`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct LinearForecast {
    /// The value of the line at the horizon.
    pub predicted_value: f64,
    /// Whether the series rises or falls, with 95 % confidence.
    pub trend: Trend,
    /// What there is to do about it.
    pub recommendation: String,
    /// The lower end of the 95 % interval.
    pub low: f64,
    /// The upper end of the 95 % interval.
    pub high: f64,
}

/// Draws a line through a series, with least squares, and goes on along it for `horizon` ([`DEFAULT_HORIZON`] is an hour).
///
/// ```
/// use agentvitals::forecast::{DEFAULT_HORIZON, MetricKind, Series, Trend, forecast_linear_trend};
/// use std::time::Duration;
/// let series = Series::evenly(Duration::from_secs(300), (0..24).map(f64::from))?;
/// let forecast = forecast_linear_trend(&series, DEFAULT_HORIZON, MetricKind::Latency)?;
/// assert!((forecast.predicted_value - 35.0).abs() < 1e-9); // 23, and 12 steps of 1
/// assert_eq!(forecast.trend, Trend::Rising);
/// assert!(forecast.recommendation.starts_with("it gets slower"));
/// # Ok::<(), agentvitals::Error>(())
/// ```
///
/// # Errors
/// As [`forecast()`].
pub fn forecast_linear_trend(
    series: &Series,
    horizon: Duration,
    kind: MetricKind,
) -> Result<LinearForecast, Error> {
    let found = forecast(series, horizon, &Options::new().kind(kind).method(LinearTrend::of_all()))?;
    Ok(LinearForecast {
        predicted_value: found.value,
        trend: found.trend,
        recommendation: found.recommendation,
        low: found.low,
        high: found.high,
    })
}

/// A series that methods are tried on.
struct Bench<'a> {
    grid: Grid,
    plan: Plan,
    /// The first origin.
    first: usize,
    horizon: Duration,
    /// In steps.
    steps: f64,
    points: usize,
    options: &'a Options,
}

impl<'a> Bench<'a> {
    fn new(series: &Series, horizon: Duration, options: &'a Options) -> Result<Self, Error> {
        options.check()?;
        let few = |count: usize, what: &str| {
            Err(Error::config(format!(
                "{count} {what} are too few for a forecast: expected at least {MIN_POINTS}"
            )))
        };
        if series.len() < MIN_POINTS {
            return few(series.len(), "values");
        }
        if horizon.is_zero() || horizon > series.span() {
            return Err(Error::config(format!(
                "a horizon of {} with a history of {}: expected more than 0 and at most the history",
                text::time(horizon),
                text::time(series.span()),
            )));
        }
        let grid = Grid::of(series, options.step)?;
        if grid.filled < MIN_POINTS {
            return few(grid.filled, "steps with a value");
        }
        let steps = horizon.as_secs_f64() / grid.step;
        let first = first_origin(&grid, options);
        let plan = Plan::new(&grid, steps, first);
        Ok(Self { grid, plan, first, horizon, steps, points: series.len(), options })
    }

    fn try_out(&self, method: Method) -> Tried {
        backtest::try_out(&method, &self.grid, &self.plan)
    }

    /// The methods to choose from.
    fn candidates(&self) -> Vec<Method> {
        let known = self.first + 1;
        let short = ((self.steps * 2.0).ceil() as usize).clamp(12, 400);
        let windows = [short, known / 4].into_iter().filter(|points| (12..known).contains(points));
        let mut methods: Vec<Method> = Vec::with_capacity(12);
        methods.extend(
            [3, 10, 30]
                .into_iter()
                .filter(|points| *points < known)
                .map(|points| Method::from(MovingAverage::of_last(points))),
        );
        methods.push(ExponentialSmoothing::optimised().into());
        methods.push(LinearTrend::of_all().into());
        methods.push(TheilSen::of_all().into());
        for points in windows {
            methods.push(LinearTrend::of_last(points).into());
        }
        methods.push(TheilSen::of_last(short).into());
        methods.push(Holt::optimised().into());
        if let Some(season) = self.options.season {
            let method = Method::from(HoltWinters::every(season));
            // Too short a history for a season is no error where nobody asked for this method.
            if method.check(&self.grid, known).is_ok() {
                methods.push(method);
            }
        }
        methods
    }

    /// The forecast of a method, with its open parameters set by all of the history.
    fn finish(&self, method: Method, tried: &Tried, naive: &Tried) -> Result<Forecast, Error> {
        let last = self.grid.len() - 1;
        let tuned = method.tuned(&self.grid, self.grid.len());
        let (floor, ceiling) = self.options.bounds();
        let reach = tried.reach(self.options.level);
        let mut path = Vec::with_capacity(PATH + 1);
        tuned.project(&self.grid, &[last], &mut |_, projection: &Projection<'_>| {
            path.extend((0..=PATH).map(|at| {
                let part = at as f64 / PATH as f64;
                let steps = self.steps * part;
                let value = projection.at(steps);
                let (below, above) = reach.at(steps);
                let [value, low, high] =
                    [value, value - below, value + above].map(|value| value.clamp(floor, ceiling));
                Expected { after: self.horizon.mul_f64(part), value, low, high }
            }));
        });
        let Some(end) = path.last().copied().filter(|end| (end.high - end.low).is_finite()) else {
            return Err(Error::config(format!(
                "{method} gives no finite forecast: the values are too large"
            )));
        };
        let recent = TREND_STEPS.max((self.steps * 2.0).ceil() as usize);
        let trend = slope::trend(&self.grid, recent);
        Ok(Forecast {
            name: self.options.name.clone(),
            unit: self.options.unit.clone(),
            horizon: self.horizon,
            value: end.value,
            low: end.low,
            high: end.high,
            level: self.options.level,
            method: tuned,
            error: tried.errors.accuracy(),
            naive: naive.errors.accuracy(),
            scale: self.grid.naive_error(),
            trend,
            recommendation: self.options.kind.recommendation(trend).to_owned(),
            points: self.points,
            path,
        })
    }
}

/// The first origin of back-tests: half of the history, or what a season needs, if that leaves a sixth to try it on.
fn first_origin(grid: &Grid, options: &Options) -> usize {
    let half = grid.len() / 2;
    let asked = match options.method {
        Some(Method::HoltWinters(method)) => Some(method),
        _ => options.season.map(HoltWinters::every),
    };
    let Some(method) = asked else { return half };
    let needed = 2 * method.steps(grid);
    if (half..grid.len() * 5 / 6).contains(&needed) { needed } else { half }
}

//! What a forecast says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::text::{self, Quantity};
use super::{Accuracy, Direction, Method, Trend};

/// What is expected at one time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Expected {
    /// How long after the last value of the series.
    #[serde(rename = "after_seconds", with = "text::seconds")]
    pub after: Duration,
    /// The forecast.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

/// What is expected of a series; see [`forecast`](super::forecast()).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Forecast {
    /// What the series is called.
    pub name: Arc<str>,
    /// The unit of its values.
    pub unit: Arc<str>,
    /// How far ahead, from the last value of the series.
    #[serde(rename = "horizon_seconds", with = "text::seconds")]
    pub horizon: Duration,
    /// What is expected at the horizon.
    pub value: f64,
    /// The lower end of the interval at the horizon.
    pub low: f64,
    /// The upper end of the interval at the horizon.
    pub high: f64,
    /// The share of the values to come that the interval is to hold.
    pub level: f64,
    /// How it was made.
    pub method: Method,
    /// How the method did in the back-test.
    pub error: Accuracy,
    /// How the last value as the forecast did in the same back-test: the bar.
    pub naive: Accuracy,
    /// The error of the naive forecast one step ahead, in the whole history: the scale of
    /// [`Accuracy::mase`](super::Accuracy::mase).
    pub scale: f64,
    /// Whether the recent history (twice the horizon, at least 30 steps) rises or falls, with 95 % confidence.
    pub trend: Trend,
    /// What there is to do about the trend.
    pub recommendation: String,
    /// Values that it was made from.
    pub points: usize,
    /// From the last value to the horizon in equal steps, both ends included.
    pub path: Vec<Expected>,
}

/// When a series passes a limit; see [`Forecast::passes`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Crossing {
    /// What the series is called.
    pub name: Arc<str>,
    /// The unit of its values.
    pub unit: Arc<str>,
    /// The limit.
    pub limit: f64,
    /// Which side of it is bad.
    pub direction: Direction,
    /// When the forecast passes it, from the last value of the series on; 0 if it has passed already.
    #[serde(rename = "eta_seconds", with = "text::seconds")]
    pub eta: Duration,
    /// When the interval begins to reach it.
    #[serde(rename = "earliest_seconds", with = "text::seconds")]
    pub earliest: Duration,
    /// When all of the interval is beyond it.
    #[serde(rename = "latest_seconds", with = "text::seconds")]
    pub latest: Duration,
    /// The level of the interval.
    pub confidence: f64,
}

impl Forecast {
    /// When the series passes `limit` to the bad side, if the interval says so: if all of it is beyond the limit within the
    /// horizon. A forecast that merely might pass it says nothing, and neither does a single high value.
    ///
    /// The chance that the value at [`Crossing::latest`] is not beyond the limit is half of what the level leaves, 2.5 % for
    /// 95 %.
    ///
    /// ```
    /// use agentvitals::forecast::{Direction, Options, Series, forecast};
    /// use std::time::Duration;
    /// // A p95 that rises by 1 s an hour, measured every minute.
    /// let noise = |minute: u32| f64::from(minute * 37 % 11) * 0.01;
    /// let p95 = (0..120_u32).map(|minute| 0.4 + f64::from(minute) / 60.0 + noise(minute));
    /// let series = Series::evenly(Duration::from_secs(60), p95)?;
    /// let forecast = forecast(&series, Duration::from_secs(3_600), &Options::new().named("p95").unit("s"))?;
    /// let crossing = forecast.passes(3.0, Direction::Above).unwrap();
    /// assert!(crossing.to_string().starts_with("p95 passes 3 s in about 3"), "{crossing}");
    /// assert_eq!(forecast.passes(5.0, Direction::Above), None);
    /// # Ok::<(), agentvitals::Error>(())
    /// ```
    pub fn passes(&self, limit: f64, direction: Direction) -> Option<Crossing> {
        let latest = self.first_beyond(limit, direction, |at| self.inner(at, direction))?;
        Some(Crossing {
            name: Arc::clone(&self.name),
            unit: Arc::clone(&self.unit),
            limit,
            direction,
            eta: self.first_beyond(limit, direction, |at| at.value).unwrap_or(latest),
            earliest: self.first_beyond(limit, direction, |at| self.outer(at, direction)).unwrap_or_default(),
            latest,
            confidence: self.level,
        })
    }

    /// The end of the interval that passes a limit last.
    fn inner(&self, at: &Expected, direction: Direction) -> f64 {
        match direction {
            Direction::Above => at.low,
            Direction::Below => at.high,
        }
    }

    /// The end of the interval that passes a limit first.
    fn outer(&self, at: &Expected, direction: Direction) -> f64 {
        match direction {
            Direction::Above => at.high,
            Direction::Below => at.low,
        }
    }

    /// When a line along the path is beyond the limit for the first time.
    fn first_beyond(
        &self,
        limit: f64,
        direction: Direction,
        line: impl Fn(&Expected) -> f64,
    ) -> Option<Duration> {
        let is_beyond = |value: f64| match direction {
            Direction::Above => value > limit,
            Direction::Below => value < limit,
        };
        let at = self.path.iter().position(|expected| is_beyond(line(expected)))?;
        let (after, Some(before)) = (&self.path[at], at.checked_sub(1).map(|at| &self.path[at])) else {
            return Some(Duration::ZERO);
        };
        let part = (limit - line(before)) / (line(after) - line(before));
        Some(before.after + (after.after - before.after).mul_f64(part.clamp(0.0, 1.0)))
    }
}

impl fmt::Display for Forecast {
    /// `p95 is expected at 2.8 s in 60 min (95 %: 2.4 to 3.1 s), rising; by linear trend, off by 4.1 % on average`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is expected at {} in {} ({} %: {} to {}), {}; by {}, {}",
            self.name,
            Quantity(self.value, &self.unit),
            text::time(self.horizon),
            text::Number(self.level * 100.0),
            text::Number(self.low),
            Quantity(self.high, &self.unit),
            self.trend,
            self.method,
            self.error,
        )
    }
}

impl fmt::Display for Crossing {
    /// `p95 passes 3 s in about 40 min (95 %: 31 to 55 min)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.direction {
            Direction::Above => "passes",
            Direction::Below => "falls below",
        };
        let limit = Quantity(self.limit, &self.unit);
        if self.eta.is_zero() {
            return write!(f, "{} {verb} {limit} now", self.name);
        }
        write!(
            f,
            "{} {verb} {limit} in about {} ({} %: {})",
            self.name,
            text::time(self.eta),
            text::Number(self.confidence * 100.0),
            text::times(self.earliest, self.latest),
        )
    }
}

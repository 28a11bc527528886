//! Whether forecasts came true.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::accuracy::Errors;
use super::{Accuracy, Forecast};
use crate::semconv::forecast::metric;

/// Keeps forecasts until their time has come, and then says how far off they were.
///
/// A back-test tells how a method would have done; this tells how the forecasts that were given did, also whether their
/// intervals held as many values as they said. It is bounded: [`Self::MAX_SERIES`] series with [`Self::MAX_PENDING`]
/// forecasts each; what is left out is counted. It can be serialised, so that a restart loses nothing.
///
/// ```
/// use agentvitals::forecast::{Options, Series, Tracker, forecast};
/// use std::time::Duration;
/// let series = Series::evenly(Duration::from_secs(60), (0..30).map(f64::from))?;
/// let last = series.last().unwrap();
/// let forecast = forecast(&series, Duration::from_secs(600), &Options::new())?;
///
/// let mut tracker = Tracker::new();
/// tracker.track("p95", last.at_ns, &forecast);
/// for minute in 30..=39 {
///     tracker.observe("p95", minute * 60_000_000_000, 40.0); // it was to be 39 at the last one
/// }
/// let accuracy = tracker.accuracy("p95").unwrap();
/// assert_eq!(accuracy.count, 1);
/// assert!((accuracy.mae - 1.0).abs() < 1e-6);
/// # Ok::<(), agentvitals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tracker {
    series: BTreeMap<String, Tracked>,
    evicted: u64,
    missed: u64,
    refused: u64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Tracked {
    pending: VecDeque<Pending>,
    errors: Errors,
    /// The newest value and its time.
    last: Option<(u64, f64)>,
}

/// A forecast whose time has not come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Pending {
    due_ns: u64,
    /// How far from then a value may be to be compared with it.
    tolerance_ns: u64,
    value: f64,
    low: f64,
    high: f64,
    scale: f64,
}

/// A number about the forecasts of a series, to be exported as a gauge.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TrackedNumber<'a> {
    /// The name of the metric; see [`semconv::forecast`](crate::semconv::forecast).
    pub metric: &'static str,
    /// The series.
    pub series: &'a str,
    /// The number.
    pub value: f64,
}

impl Tracker {
    /// Series that are tracked; further ones are refused.
    pub const MAX_SERIES: usize = 1_000;
    /// Forecasts of a series whose time has not come; the oldest makes room.
    pub const MAX_PENDING: usize = 256;

    /// Without forecasts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a forecast of the series `key`, whose last value was at `last_ns`.
    pub fn track(&mut self, key: &str, last_ns: u64, forecast: &Forecast) {
        if !self.series.contains_key(key) {
            if self.series.len() >= Self::MAX_SERIES {
                self.refused += 1;
                return;
            }
            self.series.insert(key.to_owned(), Tracked::default());
        }
        let Some(tracked) = self.series.get_mut(key) else { return };
        if tracked.pending.len() >= Self::MAX_PENDING {
            tracked.pending.pop_front();
            self.evicted += 1;
        }
        let horizon_ns = u64::try_from(forecast.horizon.as_nanos()).unwrap_or(u64::MAX);
        tracked.pending.push_back(Pending {
            due_ns: last_ns.saturating_add(horizon_ns),
            tolerance_ns: horizon_ns / 4,
            value: forecast.value,
            low: forecast.low,
            high: forecast.high,
            scale: forecast.scale,
        });
    }

    /// A value of the series `key`: the forecasts that were due since the value before are compared with the one of the two
    /// that is nearer to their time. If that is farther from it than a quarter of the horizon, the forecast counts as
    /// [`missed`](Self::missed). Values that are not finite, older than the newest, or of no tracked series are ignored.
    pub fn observe(&mut self, key: &str, at_ns: u64, value: f64) {
        let Some(tracked) = self.series.get_mut(key) else { return };
        if !value.is_finite() || tracked.last.is_some_and(|(last, _)| last > at_ns) {
            return;
        }
        let before = tracked.last.replace((at_ns, value));
        let (errors, missed) = (&mut tracked.errors, &mut self.missed);
        tracked.pending.retain(|pending| {
            if pending.due_ns > at_ns {
                return true;
            }
            let nearest = before
                .into_iter()
                .chain([(at_ns, value)])
                .map(|(at, value)| (at.abs_diff(pending.due_ns), value))
                .min_by_key(|(distance, _)| *distance);
            match nearest {
                Some((distance, value)) if distance <= pending.tolerance_ns => {
                    errors.add(pending.value, value, pending.scale);
                    errors.add_interval((pending.low..=pending.high).contains(&value));
                }
                _ => *missed += 1,
            }
            false
        });
    }

    /// How good the forecasts of a series were; `None` if none was compared yet.
    pub fn accuracy(&self, key: &str) -> Option<Accuracy> {
        self.series.get(key).map(|tracked| tracked.errors.accuracy()).filter(|found| found.count > 0)
    }

    /// The accuracy of every series of which a forecast was compared.
    pub fn accuracies(&self) -> impl Iterator<Item = (&str, Accuracy)> {
        self.series
            .iter()
            .map(|(key, tracked)| (key.as_str(), tracked.errors.accuracy()))
            .filter(|(_, accuracy)| accuracy.count > 0)
    }

    /// The same as numbers to be exported.
    pub fn numbers(&self) -> impl Iterator<Item = TrackedNumber<'_>> {
        self.accuracies().flat_map(|(series, accuracy)| {
            [
                (metric::COMPARED, Some(accuracy.count as f64)),
                (metric::MAE, Some(accuracy.mae)),
                (metric::MAPE, accuracy.mape),
                (metric::SMAPE, Some(accuracy.smape)),
                (metric::MASE, accuracy.mase),
                (metric::COVERAGE, accuracy.coverage),
            ]
            .into_iter()
            .filter_map(move |(metric, value)| Some(TrackedNumber { metric, series, value: value? }))
        })
    }

    /// Forecasts whose time has not come.
    pub fn pending(&self) -> usize {
        self.series.values().map(|tracked| tracked.pending.len()).sum()
    }

    /// Forecasts that made room for newer ones before their time had come.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Forecasts without a value near to their time.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Forecasts of series that were too many.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

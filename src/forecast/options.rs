//! How a forecast is wanted.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Method, MetricKind, text};
use crate::error::Error;

/// How a forecast is wanted. The default: the method that did best, with its 95 % interval.
///
/// ```
/// use agentvitals::forecast::{MetricKind, Options};
/// use std::time::Duration;
/// let options = Options::new()
///     .named("p95")
///     .unit("s")
///     .kind(MetricKind::Latency)
///     .floor(0.0)
///     .season(Duration::from_secs(24 * 3_600));
/// assert_eq!(options.level, 0.95);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Options {
    /// What the series is called in texts.
    pub name: Arc<str>,
    /// The unit of its values in texts.
    pub unit: Arc<str>,
    /// What kind of number it is: which direction is bad, what there is to do, what values there can be.
    pub kind: MetricKind,
    /// The share of the values to come that the interval is to hold, 0.5 to 0.999.
    pub level: f64,
    /// The method, if none is to be chosen.
    pub method: Option<Method>,
    /// How long a season is, if there is one, such as a day. In documents `season_seconds`.
    #[serde(rename = "season_seconds", with = "text::maybe_seconds")]
    pub season: Option<Duration>,
    /// The distance of two values, if not their median. In documents `step_seconds`.
    #[serde(rename = "step_seconds", with = "text::maybe_seconds")]
    pub step: Option<Duration>,
    /// The least value that there can be.
    pub floor: Option<f64>,
    /// The greatest value that there can be.
    pub ceiling: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: Arc::from("the value"),
            unit: Arc::from(""),
            kind: MetricKind::Other,
            level: 0.95,
            method: None,
            season: None,
            step: None,
            floor: None,
            ceiling: None,
        }
    }
}

impl Options {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the series is called in texts.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Sets the unit of the values in texts.
    #[must_use]
    pub fn unit(self, unit: impl Into<Arc<str>>) -> Self {
        Self { unit: unit.into(), ..self }
    }

    /// Sets what kind of number it is, and with it the values that there can be, unless these were set.
    #[must_use]
    pub fn kind(self, kind: MetricKind) -> Self {
        Self { kind, ..self }
    }

    /// Sets the share of the values that the interval is to hold, 0.5 to 0.999.
    #[must_use]
    pub fn level(self, level: f64) -> Self {
        Self { level, ..self }
    }

    /// Sets the method.
    #[must_use]
    pub fn method(self, method: impl Into<Method>) -> Self {
        Self { method: Some(method.into()), ..self }
    }

    /// Says that there is a season of this length: Holt-Winters is tried, too.
    #[must_use]
    pub fn season(self, season: Duration) -> Self {
        Self { season: Some(season), ..self }
    }

    /// Sets the distance of two values.
    #[must_use]
    pub fn step(self, step: Duration) -> Self {
        Self { step: Some(step), ..self }
    }

    /// Sets the least value that there can be.
    #[must_use]
    pub fn floor(self, floor: f64) -> Self {
        Self { floor: Some(floor), ..self }
    }

    /// Sets the greatest value that there can be.
    #[must_use]
    pub fn ceiling(self, ceiling: f64) -> Self {
        Self { ceiling: Some(ceiling), ..self }
    }

    /// The least and the greatest value.
    pub(super) fn bounds(&self) -> (f64, f64) {
        let (floor, ceiling) = self.kind.bounds();
        let floor = self.floor.or(floor).unwrap_or(f64::NEG_INFINITY);
        (floor, self.ceiling.or(ceiling).unwrap_or(f64::INFINITY))
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if !(0.5..=0.999).contains(&self.level) {
            return Err(Error::config(format!("an interval of level {}: expected 0.5 to 0.999", self.level)));
        }
        let (floor, ceiling) = self.bounds();
        if floor.is_nan() || ceiling.is_nan() || floor >= ceiling {
            return Err(Error::config(format!(
                "the least value is {floor} and the greatest one {ceiling}: expected the first to be smaller"
            )));
        }
        Ok(())
    }
}

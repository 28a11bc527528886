//! What a trend means, and what there is to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a series is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Trend {
    /// Up, and not by chance.
    Rising,
    /// Down, and not by chance.
    Falling,
    /// Neither, as far as can be told from noise.
    Flat,
}

impl Trend {
    /// As it is written: `rising`, `falling`, `flat`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rising => "rising",
            Self::Falling => "falling",
            Self::Flat => "flat",
        }
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// On which side of a limit the bad values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Direction {
    /// Values above the limit are bad, as for latency.
    Above,
    /// Values below the limit are bad, as for a success rate.
    Below,
}

/// What kind of number a series has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MetricKind {
    /// How long something takes: less is better, never below 0.
    Latency,
    /// A share of failures: less is better, 0 to 1.
    ErrorRate,
    /// A share of successes: more is better, 0 to 1.
    SuccessRate,
    /// Money: less is better, never below 0.
    Cost,
    /// Tokens, or the length of contexts: less is better, never below 0.
    Tokens,
    /// Calls or runs in a time: neither is better, never below 0.
    Traffic,
    /// What fills up: memory, queues, connections; less is better, never below 0.
    Saturation,
    /// A score of health: more is better, 0 to 100.
    Health,
    /// Anything else, of which no direction is bad.
    #[default]
    Other,
}

impl MetricKind {
    /// On which side of a limit its bad values are, if on one.
    pub fn bad(self) -> Option<Direction> {
        match self {
            Self::Latency | Self::ErrorRate | Self::Cost | Self::Tokens | Self::Saturation => {
                Some(Direction::Above)
            }
            Self::SuccessRate | Self::Health => Some(Direction::Below),
            Self::Traffic | Self::Other => None,
        }
    }

    /// The least and the greatest value that there can be.
    pub(super) fn bounds(self) -> (Option<f64>, Option<f64>) {
        match self {
            Self::ErrorRate | Self::SuccessRate => (Some(0.0), Some(1.0)),
            Self::Health => (Some(0.0), Some(100.0)),
            Self::Latency | Self::Cost | Self::Tokens | Self::Traffic | Self::Saturation => (Some(0.0), None),
            Self::Other => (None, None),
        }
    }

    /// What to do about this trend.
    pub fn recommendation(self, trend: Trend) -> &'static str {
        let worse = match self.bad() {
            Some(Direction::Above) => trend == Trend::Rising,
            Some(Direction::Below) => trend == Trend::Falling,
            None => false,
        };
        match (self, trend) {
            (Self::Traffic, Trend::Rising) => {
                "traffic grows: check rate limits, quotas and capacity before they are reached"
            }
            (Self::Traffic, Trend::Falling) => "traffic shrinks: check that callers still reach the agents",
            (Self::Other, Trend::Rising) => "rising: check whether that is meant",
            (Self::Other, Trend::Falling) => "falling: check whether that is meant",
            (_, Trend::Flat) => "stable: nothing to do",
            (Self::Latency, _) if worse => {
                "it gets slower: look at the slowest operations and at context growth; consider caching, a faster model, or more capacity"
            }
            (Self::ErrorRate, _) if worse => {
                "more fails: look at the newest error classes; prepare retries with backoff and a fallback model"
            }
            (Self::SuccessRate, _) if worse => {
                "less succeeds: compare failing with successful runs, and what changed since the trend began"
            }
            (Self::Cost, _) if worse => {
                "spending grows: set a budget; look at the dearest agents and models, caching, and smaller models for simple steps"
            }
            (Self::Tokens, _) if worse => {
                "contexts grow: summarise or cut the history, and cap the output tokens"
            }
            (Self::Saturation, _) if worse => "it fills up: add capacity or shed load before it is full",
            (Self::Health, _) if worse => {
                "health declines: act on the issue with the highest severity before the agent is degraded"
            }
            _ => "it gets better: nothing to do",
        }
    }
}

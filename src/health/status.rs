//! Healthy or not, and not changing its mind at each evaluation.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How something is. As text in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// Too little is known: fewer than the least number of samples.
    Unknown,
    /// Somebody works on it ([`Monitor::set_maintenance`](super::Monitor::set_maintenance)): measured, and not judged.
    Maintenance,
    /// Score at or above the first cut (80), and nothing is seriously wrong.
    Healthy,
    /// Score at or above the second cut (60), or something is wrong.
    Degraded,
    /// Score below it, or something critical is wrong.
    Unhealthy,
}

impl Status {
    /// All of them, the best first.
    pub const ALL: [Self; 5] =
        [Self::Healthy, Self::Degraded, Self::Unhealthy, Self::Unknown, Self::Maintenance];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Maintenance => "maintenance",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// What a score means: at or above `healthy`, at or above `degraded`, below; unknown without one.
    pub fn of_score(score: Option<f64>, healthy: f64, degraded: f64) -> Self {
        match score {
            None => Self::Unknown,
            Some(score) if score >= healthy => Self::Healthy,
            Some(score) if score >= degraded => Self::Degraded,
            Some(_) => Self::Unhealthy,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A status that changes only after several evaluations in a row say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    shown: Status,
    other: Status,
    times: u32,
}

impl Settled {
    pub(super) fn new() -> Self {
        Self { shown: Status::Unknown, other: Status::Unknown, times: 0 }
    }

    /// Takes in what an evaluation says and returns what is to be shown: what is said for the `needed`th time in a row.
    /// What comes after, or is, unknown or maintenance is shown at once.
    pub(super) fn say(&mut self, status: Status, needed: u32) -> Status {
        let at_once = |status| matches!(status, Status::Unknown | Status::Maintenance);
        if status == self.shown {
            self.times = 0;
            return status;
        }
        self.times = if status == self.other { self.times + 1 } else { 1 };
        self.other = status;
        if self.times >= needed || at_once(self.shown) || at_once(status) {
            *self = Self { shown: status, other: status, times: 0 };
        }
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feature: G4
    #[test]
    fn cuts_are_at_80_and_60() {
        let of = |score| Status::of_score(score, 80.0, 60.0);
        assert_eq!(of(Some(80.0)), Status::Healthy);
        assert_eq!(of(Some(79.999)), Status::Degraded);
        assert_eq!(of(Some(60.0)), Status::Degraded);
        assert_eq!(of(Some(59.999)), Status::Unhealthy);
        assert_eq!(of(None), Status::Unknown);
    }

    proptest! {
        /// Feature: G4
        #[test]
        fn a_status_changes_only_if_it_is_said_so_often_in_a_row(
            said in proptest::collection::vec(0..5_usize, 1..60),
            needed in 1..4_u32,
        ) {
            let mut settled = Settled::new();
            let mut shown = Status::Unknown;
            let mut run = (Status::Unknown, 0);
            for status in said.into_iter().map(|place| Status::ALL[place]) {
                run = if run.0 == status { (status, run.1 + 1) } else { (status, 1) };
                let now = settled.say(status, needed);
                let free = |status| matches!(status, Status::Unknown | Status::Maintenance);
                if now != shown {
                    prop_assert_eq!(now, status);
                    prop_assert!(run.1 >= needed || free(shown) || free(now));
                } else if now != status {
                    prop_assert!(run.1 < needed, "{status} was said {} times", run.1);
                }
                shown = now;
            }
        }
    }
}

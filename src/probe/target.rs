//! What a target is, by its checks: a state machine without a clock and without I/O.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{Failure, ProbeConfig};
use crate::health::Status;

/// Changes that are remembered.
const CHANGES: usize = 2_048;
/// Flaps are counted over so long.
const FLAPPING: Duration = Duration::from_secs(3_600);

/// The state of one target.
#[derive(Debug, Clone)]
pub struct Target {
    config: ProbeConfig,
    status: Status,
    maintenance: bool,
    consecutive_failures: u32,
    consecutive_successes: u32,
    checks: u64,
    failures: u64,
    recoveries: u64,
    /// When it became what, the oldest first.
    changes: VecDeque<(SystemTime, Status)>,
    newest: Option<(SystemTime, Duration, Option<Failure>)>,
}

/// For which share of a time a target was not unhealthy; time of which nothing is known does not count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Availability {
    /// Of the newest hour.
    pub hour: Option<f64>,
    /// Of the newest day.
    pub day: Option<f64>,
    /// Since it was checked first, as far as it is remembered.
    pub ever: Option<f64>,
}

/// What is known of a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TargetHealth {
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub status: Status,
    /// Since when.
    #[serde(serialize_with = "crate::health::rfc3339::serialize")]
    pub since: SystemTime,
    /// Checks that failed since one succeeded.
    pub consecutive_failures: u32,
    /// Checks that succeeded since one failed.
    pub consecutive_successes: u32,
    /// All checks.
    pub checks: u64,
    /// Those that failed.
    pub failures: u64,
    /// How often it was unhealthy and became healthy again.
    pub recoveries: u64,
    /// How often it became something else within the newest hour.
    pub flaps: u64,
    /// For which share of the time it was not unhealthy.
    pub availability: Availability,
    /// How long the newest check took, seconds.
    pub latency_s: Option<f64>,
    /// Why the newest check failed.
    pub failure: Option<Failure>,
}

impl Target {
    /// One of which nothing is known.
    pub fn new(config: ProbeConfig, now: SystemTime) -> Self {
        Self {
            config,
            status: Status::Unknown,
            maintenance: false,
            consecutive_failures: 0,
            consecutive_successes: 0,
            checks: 0,
            failures: 0,
            recoveries: 0,
            changes: VecDeque::from([(now, Status::Unknown)]),
            newest: None,
        }
    }

    /// How it is checked.
    pub fn config(&self) -> &ProbeConfig {
        &self.config
    }

    /// What it is.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Takes in a check that took so long. One success makes it healthy (degraded, if it was slow); failures make it degraded,
    /// and unhealthy after so many in a row as its configuration says. Times must not go back.
    pub fn note(&mut self, result: Result<(), Failure>, took: Duration, now: SystemTime) -> Status {
        self.checks += 1;
        let slow = took.as_secs_f64() * 1_000.0 > self.config.degraded_threshold_ms;
        let status = match &result {
            Ok(()) => {
                self.consecutive_successes += 1;
                self.consecutive_failures = 0;
                if slow { Status::Degraded } else { Status::Healthy }
            }
            Err(_) => {
                self.failures += 1;
                self.consecutive_failures += 1;
                self.consecutive_successes = 0;
                let many = self.consecutive_failures >= self.config.failure_threshold;
                if many || self.status == Status::Unhealthy { Status::Unhealthy } else { Status::Degraded }
            }
        };
        self.newest = Some((now, took, result.err()));
        if !self.maintenance {
            self.become_(status, now);
        }
        self.status
    }

    fn become_(&mut self, status: Status, now: SystemTime) {
        if status == self.status {
            return;
        }
        self.recoveries += u64::from(self.status == Status::Unhealthy && status != Status::Maintenance);
        self.status = status;
        if self.changes.len() >= CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back((now, status));
    }

    /// Says that somebody works on it, or that nobody does any more: it is checked, and not judged.
    pub fn set_maintenance(&mut self, maintenance: bool, now: SystemTime) {
        self.maintenance = maintenance;
        self.become_(if maintenance { Status::Maintenance } else { Status::Unknown }, now);
    }

    /// The time that it was each status within the window up to `now`.
    pub fn time_in(&self, window: Duration, now: SystemTime) -> Vec<(Status, Duration)> {
        let from = now.checked_sub(window).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut times: Vec<(Status, Duration)> = Status::ALL.map(|status| (status, Duration::ZERO)).into();
        for (place, (start, status)) in self.changes.iter().enumerate() {
            let end = self.changes.get(place + 1).map_or(now, |(end, _)| *end);
            let length = end.duration_since((*start).max(from)).unwrap_or_default();
            if let Some((_, time)) = times.iter_mut().find(|(known, _)| known == status) {
                *time += length;
            }
        }
        times
    }

    fn availability(&self, window: Duration, now: SystemTime) -> Option<f64> {
        let times = self.time_in(window, now);
        let of = |wanted: &[Status]| -> f64 {
            times
                .iter()
                .filter(|(status, _)| wanted.contains(status))
                .map(|(_, time)| time.as_secs_f64())
                .sum()
        };
        let good = of(&[Status::Healthy, Status::Degraded]);
        let known = good + of(&[Status::Unhealthy]);
        (known > 0.0).then(|| good / known)
    }

    /// What is known of it.
    pub fn health(&self, name: Arc<str>, now: SystemTime) -> TargetHealth {
        let lately = |at: &SystemTime| now.duration_since(*at).unwrap_or_default() <= FLAPPING;
        TargetHealth {
            name,
            status: self.status,
            since: self.changes.back().map_or(now, |(at, _)| *at),
            consecutive_failures: self.consecutive_failures,
            consecutive_successes: self.consecutive_successes,
            checks: self.checks,
            failures: self.failures,
            recoveries: self.recoveries,
            // To be known at last is no flap.
            flaps: self.changes.iter().skip(2).filter(|(at, _)| lately(at)).count() as u64,
            availability: Availability {
                hour: self.availability(Duration::from_secs(3_600), now),
                day: self.availability(Duration::from_secs(86_400), now),
                ever: self.availability(Duration::MAX, now),
            },
            latency_s: self.newest.as_ref().map(|(_, took, _)| took.as_secs_f64()),
            failure: self.newest.as_ref().and_then(|(.., failure)| failure.clone()),
        }
    }
}

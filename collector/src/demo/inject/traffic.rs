//! When runs come, and which.

use std::f64::consts::TAU;

/// How far traffic swings around its mean, from night to day.
const SWING: f64 = 0.6;
/// Nanoseconds of a day.
const DAY: f64 = 86_400e9;

/// Runs that arrive one by one, at random, more of them by day than at night.
#[derive(Debug)]
pub(super) struct Traffic {
    random: fastrand::Rng,
    /// Runs a nanosecond in the mean of a day.
    mean: f64,
    runs: usize,
}

impl Traffic {
    pub(super) fn new(seed: u64, runs_per_hour: f64, runs: usize) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), mean: runs_per_hour / 3_600e9, runs }
    }

    /// When the next run after `now` comes, and which it is: drawn with replacement.
    ///
    /// A Poisson process whose rate changes, made by thinning one of the highest rate (Lewis and Shedler, 1979).
    pub(super) fn next(&mut self, now: u64) -> (u64, usize) {
        let highest = self.mean * (1.0 + SWING);
        let mut at = now as f64;
        loop {
            at += -(1.0 - self.random.f64()).ln() / highest;
            if self.random.f64() * highest <= self.rate(at) {
                return (at as u64 + 1, self.random.usize(..self.runs));
            }
        }
    }

    /// The highest rate is at 15:00, the lowest at 3:00.
    fn rate(&self, at: f64) -> f64 {
        self.mean * (1.0 + SWING * (TAU * (at / DAY - 9.0 / 24.0)).sin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_come_as_are_asked_for_and_most_by_day() {
        let mut traffic = Traffic::new(1, 100.0, 7);
        let (mut now, mut by_hour) = (0, [0; 24]);
        while now < 10 * DAY as u64 {
            let (at, run) = traffic.next(now);
            assert!(at > now && run < 7);
            by_hour[(at / 3_600_000_000_000 % 24) as usize] += 1;
            now = at;
        }
        let all: i32 = by_hour.iter().sum();
        assert!((23_000..25_000).contains(&all), "{all}");
        assert!(by_hour[15] > 3 * by_hour[3], "{by_hour:?}");
    }
}

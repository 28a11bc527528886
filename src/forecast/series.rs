//! What forecasts are made of: values at times.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A value larger than this is a mistake, and its square would overflow.
const LARGEST: f64 = 1e100;

/// One value of a [`Series`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sample {
    /// When it was, in nanoseconds since any fixed moment: the epoch, or the start of a [`Clock`](crate::Clock).
    pub at_ns: u64,
    /// The value.
    pub value: f64,
    /// How much it counts beside others, e.g. the calls that a quantile was computed from.
    pub weight: f64,
}

/// Values at times, regular or not; a time without a value is a gap and simply not there.
///
/// Values may come in any order; those of one time become their weighted mean. The newest [`Series::MAX_POINTS`] are kept,
/// so no forecast works longer than it should; [`Self::dropped`] says how many were left out.
///
/// ```
/// use agentvitals::forecast::Series;
/// use std::time::Duration;
/// let mut series = Series::new();
/// series.push(60_000_000_000, 1.2)?;
/// series.push_weighted(120_000_000_000, 1.3, 40.0)?; // of 40 calls
/// assert!(series.push(180_000_000_000, f64::NAN).is_err());
/// assert_eq!(series.len(), 2);
/// let minutes = Series::evenly(Duration::from_secs(60), [1.2, 1.3, 1.5])?;
/// assert_eq!(minutes.span(), Duration::from_secs(120));
/// # Ok::<(), agentvitals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Series {
    samples: Vec<Sample>,
    dropped: u64,
}

impl Series {
    /// How many points a series keeps.
    pub const MAX_POINTS: usize = 2_000;

    /// A series without values.
    pub const fn new() -> Self {
        Self { samples: Vec::new(), dropped: 0 }
    }

    /// Values that follow each other in the same steps, from time 0 on.
    ///
    /// # Errors
    /// If a value is not finite, or the step is 0.
    pub fn evenly(step: Duration, values: impl IntoIterator<Item = f64>) -> Result<Self, Error> {
        let step_ns = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX);
        if step_ns == 0 {
            return Err(Error::config("the step of a series is 0: expected at least 1 ns"));
        }
        let mut series = Self::new();
        for (index, value) in values.into_iter().enumerate() {
            series.push((index as u64).saturating_mul(step_ns), value)?;
        }
        Ok(series)
    }

    /// Adds a value at a time in nanoseconds.
    ///
    /// # Errors
    /// If the value is not finite: a time without a value is to be left out.
    pub fn push(&mut self, at_ns: u64, value: f64) -> Result<(), Error> {
        self.push_weighted(at_ns, value, 1.0)
    }

    /// Adds a value that counts `weight` times, e.g. the mean of so many calls. With weight 0 it is a gap.
    ///
    /// # Errors
    /// If the value is not finite, or the weight is negative or not finite.
    pub fn push_weighted(&mut self, at_ns: u64, value: f64, weight: f64) -> Result<(), Error> {
        if !(value.is_finite() && value.abs() <= LARGEST) {
            return Err(Error::config(format!(
                "the value at {at_ns} ns is {value}: expected a finite number up to 1e100; leave out a time without a value"
            )));
        }
        if !(0.0..=LARGEST).contains(&weight) {
            return Err(Error::config(format!(
                "the weight of the value at {at_ns} ns is {weight}: expected 0 or more, such as a number of calls"
            )));
        }
        if weight > 0.0 {
            self.insert(Sample { at_ns, value, weight });
        }
        Ok(())
    }

    fn insert(&mut self, new: Sample) {
        // Nearly always the newest.
        let at = match self.samples.last() {
            Some(last) if last.at_ns >= new.at_ns => {
                self.samples.partition_point(|sample| sample.at_ns < new.at_ns)
            }
            _ => self.samples.len(),
        };
        match self.samples.get_mut(at) {
            Some(same) if same.at_ns == new.at_ns => {
                let weight = same.weight + new.weight;
                same.value += (new.value - same.value) * (new.weight / weight);
                same.weight = weight;
            }
            _ => self.samples.insert(at, new),
        }
        // Half as many more are let in, so that not every value moves all others.
        if self.samples.len() > Self::MAX_POINTS + Self::MAX_POINTS / 2 {
            self.samples.drain(..Self::MAX_POINTS / 2);
            self.dropped += (Self::MAX_POINTS / 2) as u64;
        }
    }

    /// The values in the order of their times, at most [`Self::MAX_POINTS`].
    pub fn samples(&self) -> &[Sample] {
        &self.samples[self.samples.len().saturating_sub(Self::MAX_POINTS)..]
    }

    /// How many values there are, at most [`Self::MAX_POINTS`].
    pub fn len(&self) -> usize {
        self.samples().len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// How many of the oldest values were left out.
    pub fn dropped(&self) -> u64 {
        self.dropped + (self.samples.len() - self.len()) as u64
    }

    /// The newest value.
    pub fn last(&self) -> Option<Sample> {
        self.samples.last().copied()
    }

    /// The time from the first to the last value.
    pub fn span(&self) -> Duration {
        match (self.samples().first(), self.samples.last()) {
            (Some(first), Some(last)) => Duration::from_nanos(last.at_ns - first.at_ns),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_any_order_and_those_of_one_time_become_their_mean() {
        let mut series = Series::new();
        for (at, value, weight) in
            [(30, 3.0, 1.0), (10, 1.0, 1.0), (20, 2.0, 1.0), (10, 5.0, 3.0), (40, 9.0, 0.0)]
        {
            series.push_weighted(at, value, weight).unwrap();
        }
        let found: Vec<_> = series.samples().iter().map(|s| (s.at_ns, s.value, s.weight)).collect();
        assert_eq!(found, [(10, 4.0, 4.0), (20, 2.0, 1.0), (30, 3.0, 1.0)]);
        assert_eq!(series.span(), Duration::from_nanos(20));
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_time() {
        let mut series = Series::new();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
            let error = series.push(7, value).unwrap_err().to_string();
            assert!(error.contains("7 ns") && error.contains("leave out"), "{error}");
        }
        assert!(series.push_weighted(7, 1.0, -1.0).unwrap_err().to_string().contains("-1"));
        assert!(series.push_weighted(7, 1.0, f64::NAN).is_err());
        assert!(Series::evenly(Duration::ZERO, [1.0]).is_err());
        assert!(series.is_empty());
    }

    #[test]
    fn the_newest_are_kept_and_the_others_counted() {
        let series = Series::evenly(Duration::from_secs(1), (0..10_000).map(f64::from)).unwrap();
        assert_eq!(series.len(), Series::MAX_POINTS);
        assert_eq!(series.dropped() as usize + series.len(), 10_000);
        assert_eq!(series.samples()[0].value, 8_000.0);
        assert!(series.samples.len() <= 3_000);
    }
}

//! Values counted by powers of two, and quantiles of them.

use std::collections::VecDeque;

use super::series::counted;
use crate::query::traceql::Datum;

/// How many values are above half of a power of two and up to it, by the power.
#[derive(Debug, Clone, Default)]
pub(super) struct Powers {
    /// The power of the first count.
    first: i32,
    counts: VecDeque<u64>,
}

impl Powers {
    pub(super) fn add(&mut self, power: i32, count: u64) {
        if self.counts.is_empty() {
            self.first = power;
        }
        while power < self.first {
            self.counts.push_front(0);
            self.first -= 1;
        }
        let place = self.place(power);
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += count;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    fn place(&self, power: i32) -> usize {
        usize::try_from(power - self.first).unwrap_or(usize::MAX)
    }

    /// Those that have values, the least first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, u64)> {
        (self.first..).zip(self.counts.iter().copied()).filter(|(_, count)| *count > 0)
    }

    pub(super) fn get(&self, power: i32) -> u64 {
        self.counts.get(self.place(power)).copied().unwrap_or(0)
    }
}

/// The power of two that a value is at most, if it is one that histograms count. Of integers these are 2 and more, as in Tempo,
/// which counts no numbers with a point.
pub(super) fn power(value: &Datum<'_>) -> Option<i32> {
    match value {
        Datum::Int(number) => {
            let number = u64::try_from(*number).ok().filter(|number| *number >= 2)?;
            i32::try_from(u64::BITS - (number - 1).leading_zeros()).ok()
        }
        Datum::Float(number) if *number > 0.0 && number.is_finite() => {
            // The logarithm of a power of two is exact. What is out of these bounds, which keep the counts few, is in the first or the
            // last of them.
            #[expect(clippy::cast_possible_truncation, reason = "between -64 and 64")]
            let power = number.log2().ceil().clamp(-64.0, 64.0) as i32;
            Some(power)
        }
        _ => None,
    }
}

/// The largest value of a bucket.
pub(super) fn largest(power: i32) -> f64 {
    2_f64.powi(power)
}

/// A quantile of values of which the powers of two above them are known: between these it grows exponentially.
pub(super) fn value_at(quantile: f64, buckets: &Powers) -> f64 {
    let total: u64 = buckets.counts.iter().sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a count")]
    let wanted = ((quantile * counted(total)).ceil() as u64).max(1);
    let (mut before, mut previous) = (0, None);
    for (power, count) in buckets.iter() {
        if before + count == wanted {
            return largest(power);
        }
        if before + count > wanted {
            let (from, to) = (previous.unwrap_or(power - 1), power);
            let part = counted(wanted - before) / counted(count);
            return 2_f64.powf(f64::from(from) + (f64::from(to) - f64::from(from)) * part);
        }
        before += count;
        previous = Some(power);
    }
    0.0
}

//! Money, as an integer.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

use crate::error::Error;

const PER_USD: u64 = 1_000_000_000;

/// An amount of money in billionths of a US dollar. Sums are exact; beyond 18 billion dollars they stay at the
/// largest amount. Serialised as the integer.
///
/// ```
/// use agentvitals::cost::Nanodollars;
/// let cost = Nanodollars::from_usd(0.1)? + Nanodollars::from_usd(0.2)?;
/// assert_eq!(cost, Nanodollars::new(300_000_000));
/// assert_eq!(cost.to_string(), "$0.3");
/// # Ok::<(), agentvitals::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanodollars(u64);

impl Nanodollars {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many billionths of a US dollar.
    pub const fn new(nanodollars: u64) -> Self {
        Self(nanodollars)
    }

    /// The nearest amount to so many US dollars.
    ///
    /// # Errors
    /// If it is negative, not a number, or more than 18 billion.
    pub fn from_usd(usd: f64) -> Result<Self, Error> {
        let nanodollars = (usd * PER_USD as f64).round();
        // As f64, u64::MAX is 2^64, the first value that does not fit.
        if nanodollars >= 0.0 && nanodollars < u64::MAX as f64 {
            // In range and whole: nothing is cut off.
            Ok(Self(nanodollars as u64))
        } else {
            Err(Error::config(format!("{usd} USD is no amount: expected 0 to 18 billion")))
        }
    }

    /// The amount in billionths of a US dollar.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The amount in US dollars, for showing: sums belong into the integer.
    pub fn usd(self) -> f64 {
        self.0 as f64 / PER_USD as f64
    }
}

impl Add for Nanodollars {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanodollars {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Nanodollars {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Nanodollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("${}.{:09}", self.0 / PER_USD, self.0 % PER_USD);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

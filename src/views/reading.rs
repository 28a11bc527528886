//! One collected point, wherever it comes from.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// One point of a metric: what views take in, from the reader of this process or from requests of others.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Reading<'a> {
    /// Tells processes apart, whose cumulative series are each subtracted by themselves: a hash of the resource.
    pub process: u64,
    /// The metric's name.
    pub metric: &'a str,
    /// The point's attributes.
    pub attributes: &'a [(&'a str, Cow<'a, str>)],
    /// When the process began to count, nanoseconds since 1970; 0 if that is not known.
    pub start_ns: u64,
    /// When the point was taken, nanoseconds since 1970.
    pub time_ns: u64,
    /// Whether it is a sum since the start, and not since the point before.
    pub cumulative: bool,
    /// The numbers.
    pub numbers: Numbers<'a>,
}

/// The numbers of a [`Reading`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Numbers<'a> {
    /// A counter.
    Sum(f64),
    /// A value that stands for itself.
    Gauge(f64),
    /// A histogram with buckets in powers of `2^(2^-scale)`.
    Exponential {
        /// The sum of all values.
        sum: f64,
        /// The least, where it is known.
        min: Option<f64>,
        /// The greatest, where it is known.
        max: Option<f64>,
        /// How narrow the buckets are.
        scale: i8,
        /// Values that are zero.
        zeros: u64,
        /// The index of the first bucket.
        offset: i32,
        /// How many values are in each.
        counts: &'a [u64],
    },
    /// A histogram with explicit bounds.
    Explicit {
        /// The sum of all values.
        sum: f64,
        /// The least, where it is known.
        min: Option<f64>,
        /// The greatest, where it is known.
        max: Option<f64>,
        /// The upper bounds, without the last, which has none.
        bounds: &'a [f64],
        /// How many values are in each bucket.
        counts: &'a [u64],
    },
}

impl<'a> Reading<'a> {
    /// A point of a process.
    pub fn new(
        process: u64,
        metric: &'a str,
        attributes: &'a [(&'a str, Cow<'a, str>)],
        numbers: Numbers<'a>,
    ) -> Self {
        Self { process, metric, attributes, start_ns: 0, time_ns: 0, cumulative: true, numbers }
    }

    /// With the times between which it counts.
    #[must_use]
    pub fn between(self, start_ns: u64, time_ns: u64) -> Self {
        Self { start_ns, time_ns, ..self }
    }

    /// As a sum since the point before.
    #[must_use]
    pub fn delta(self) -> Self {
        Self { cumulative: false, ..self }
    }

    pub(super) fn attribute(&self, key: &str) -> &str {
        self.attributes.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value)
    }

    /// Which series of which process it belongs to.
    pub(super) fn series(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.process, self.metric).hash(&mut hasher);
        // Whatever the order in which a sender has them.
        let attributes = self.attributes.iter().map(|attribute| {
            let mut hasher = DefaultHasher::new();
            attribute.hash(&mut hasher);
            hasher.finish()
        });
        hasher.write_u64(attributes.fold(0, u64::wrapping_add));
        hasher.finish()
    }
}

//! Exponential histograms.

use std::collections::VecDeque;

/// Buckets of one sign at most; beyond, the scale goes down. SDKs send up to 160.
const MAX_BUCKETS: usize = 640;
/// The scales of OTLP that mean something with doubles.
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;

/// Counts by bucket, from an offset on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Buckets {
    offset: i64,
    counts: VecDeque<u64>,
}

impl Buckets {
    /// Counts from an offset on; buckets at the ends that are empty are left out.
    pub(crate) fn new(offset: i32, counts: impl IntoIterator<Item = u64>) -> Self {
        let mut buckets = Self { offset: i64::from(offset), counts: counts.into_iter().collect() };
        buckets.trim();
        buckets
    }

    fn trim(&mut self) {
        while self.counts.front() == Some(&0) {
            self.counts.pop_front();
            self.offset += 1;
        }
        while self.counts.back() == Some(&0) {
            self.counts.pop_back();
        }
        if self.counts.is_empty() {
            self.offset = 0;
        }
    }

    /// The offset, and the counts from there on.
    pub(crate) fn parts(&self) -> (i64, impl Iterator<Item = u64> + '_) {
        (self.offset, self.counts.iter().copied())
    }

    /// Puts what lies beyond `last`, of either sign, there.
    fn clamp(&mut self, last: i64) {
        let end = self.offset + self.counts.len() as i64;
        if self.offset < -last || end > last {
            let mut inside = Self::default();
            for (index, count) in self.iter() {
                let one = Self { offset: index.clamp(-last, last), counts: VecDeque::from([count]) };
                inside.add(&one);
            }
            *self = inside;
        }
    }

    /// Index and count of each bucket that is not empty.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, u64)> {
        (self.offset..)
            .zip(self.counts.iter().copied())
            .collect::<Vec<_>>()
            .into_iter()
            .filter(|(_, count)| *count > 0)
    }

    /// The indices from the first to the last.
    fn span(&self, other: &Self) -> usize {
        let ends = [self, other].into_iter().filter(|buckets| !buckets.counts.is_empty());
        let ends = ends.map(|buckets| (buckets.offset, buckets.offset + buckets.counts.len() as i64));
        let both = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        both.map_or(0, |(first, end)| usize::try_from(end - first).unwrap_or(usize::MAX))
    }

    /// `2^by` neighbours become one: bucket `i` goes into `i >> by`.
    fn coarsen(&mut self, by: u32) {
        let mut coarser = Self::default();
        for (index, count) in self.iter() {
            coarser.add(&Self { offset: index >> by.min(63), counts: VecDeque::from([count]) });
        }
        *self = coarser;
    }

    fn add(&mut self, other: &Self) {
        for (index, count) in other.iter() {
            if self.counts.is_empty() {
                self.offset = index;
            }
            while index < self.offset {
                self.counts.push_front(0);
                self.offset -= 1;
            }
            let place = usize::try_from(index - self.offset).unwrap_or(0);
            if self.counts.len() <= place {
                self.counts.resize(place + 1, 0);
            }
            self.counts[place] = self.counts[place].saturating_add(count);
        }
    }

    /// What is in `self` and not in `earlier`; `None` if some bucket had more then.
    fn since(&self, earlier: &Self) -> Option<Self> {
        let mut out = self.clone();
        for (index, count) in earlier.iter() {
            let place = usize::try_from(index - out.offset).ok()?;
            let slot = out.counts.get_mut(place)?;
            *slot = slot.checked_sub(count)?;
        }
        out.trim();
        Some(out)
    }
}

/// An exponential histogram: bucket `i` holds values in `(base^i, base^(i+1)]` with `base = 2^(2^-scale)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Exponential {
    scale: i32,
    zero_count: u64,
    zero_threshold: f64,
    positive: Buckets,
    negative: Buckets,
}

impl Exponential {
    /// From the parts that OTLP sends. A scale that no double needs is brought into range.
    pub(crate) fn new(scale: i32, zero: (u64, f64), positive: Buckets, negative: Buckets) -> Self {
        let mut histogram =
            Self { scale, zero_count: zero.0, zero_threshold: zero.1.max(0.0), positive, negative };
        histogram.coarsen_to(*SCALES.end());
        histogram.scale = histogram.scale.max(*SCALES.start());
        // No double is in a bucket beyond; and what is merged must not need room for all that lies between.
        let last = (1_100.0 * f64::from(histogram.scale).exp2()).ceil() as i64;
        histogram.positive.clamp(last);
        histogram.negative.clamp(last);
        histogram
    }

    pub(crate) const fn scale(&self) -> i32 {
        self.scale
    }

    /// How many values are zero, and how close to it these are.
    pub(crate) const fn zero(&self) -> (u64, f64) {
        (self.zero_count, self.zero_threshold)
    }

    /// The buckets of positive values, and those of negative ones.
    pub(crate) const fn sides(&self) -> [&Buckets; 2] {
        [&self.positive, &self.negative]
    }

    fn coarsen_to(&mut self, scale: i32) {
        if self.scale > scale {
            let by = self.scale.abs_diff(scale);
            self.positive.coarsen(by);
            self.negative.coarsen(by);
            self.scale = scale;
        }
    }

    fn at_scale(&self, scale: i32) -> Self {
        let mut out = self.clone();
        out.coarsen_to(scale);
        out
    }

    /// The upper end of a bucket.
    fn upper(&self, index: i64) -> f64 {
        // 2^(index * 2^-scale), without leaving the exponents that a double has.
        let exponent = (index + 1) as f64 * f64::from(-self.scale).exp2();
        exponent.clamp(-1_080.0, 1_024.0).exp2()
    }

    /// Values this close to zero are zero.
    fn widen_zero(&mut self, threshold: f64) {
        self.zero_threshold = self.zero_threshold.max(threshold);
        for negative in [false, true] {
            let buckets = if negative { &self.negative } else { &self.positive };
            let inside: Vec<(i64, u64)> =
                buckets.iter().take_while(|(index, _)| self.upper(*index) <= self.zero_threshold).collect();
            let zero = inside.iter().map(|(_, count)| count).sum::<u64>();
            self.zero_count = self.zero_count.saturating_add(zero);
            let buckets = if negative { &mut self.negative } else { &mut self.positive };
            for (index, _) in inside {
                if let Some(slot) = usize::try_from(index - buckets.offset)
                    .ok()
                    .and_then(|place| buckets.counts.get_mut(place))
                {
                    *slot = 0;
                }
            }
            buckets.trim();
        }
    }

    /// Adds the counts of another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        let mut other = other.at_scale(self.scale);
        self.coarsen_to(other.scale);
        if self.zero_threshold != other.zero_threshold {
            let threshold = self.zero_threshold.max(other.zero_threshold);
            self.widen_zero(threshold);
            other.widen_zero(threshold);
        }
        while self.scale > *SCALES.start()
            && (self.positive.span(&other.positive) > MAX_BUCKETS
                || self.negative.span(&other.negative) > MAX_BUCKETS)
        {
            self.coarsen_to(self.scale - 1);
            other.coarsen_to(self.scale);
        }
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.positive.add(&other.positive);
        self.negative.add(&other.negative);
    }

    /// What was counted after `earlier`; `None` if that is not an earlier state of this one.
    pub(crate) fn since(&self, earlier: &Self) -> Option<Self> {
        // A histogram that grows gives up resolution, and never gains it.
        if self.scale > earlier.scale {
            return None;
        }
        let mut earlier = earlier.at_scale(self.scale);
        if self.zero_threshold > earlier.zero_threshold {
            earlier.widen_zero(self.zero_threshold);
        }
        Some(Self {
            scale: self.scale,
            zero_count: self.zero_count.checked_sub(earlier.zero_count)?,
            zero_threshold: self.zero_threshold,
            positive: self.positive.since(&earlier.positive)?,
            negative: self.negative.since(&earlier.negative)?,
        })
    }

    /// Lower end, upper end and count of each bucket that is not empty, from the lowest to the highest.
    pub(crate) fn buckets(&self) -> Vec<(f64, f64, u64)> {
        let mut out = Vec::new();
        for (index, count) in self.negative.iter().rev() {
            out.push((-self.upper(index), -self.upper(index - 1), count));
        }
        if self.zero_count > 0 {
            out.push((-self.zero_threshold, self.zero_threshold, self.zero_count));
        }
        for (index, count) in self.positive.iter() {
            out.push((self.upper(index - 1), self.upper(index), count));
        }
        out
    }
}

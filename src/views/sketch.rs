//! A mergeable histogram of fixed relative precision.

use std::collections::BTreeMap;

/// Sixteen buckets for each factor of two.
pub(super) const SCALE: i8 = 4;
/// Buckets are clamped to this range: from 2^-62 to 2^62 nothing is.
const LIMIT: i32 = 1_000;

/// How values are distributed: counts of buckets that are 4.4 % wide, with exact count and sum.
///
/// Merging sketches loses nothing: the merged one is what one sketch of all values had been. A quantile is off by at most
/// [`Sketch::RELATIVE_ERROR`] where the values came in buckets as narrow as these, as those of our own instruments do
/// while the greatest is less than a million times the least; values that came in wider buckets (explicit ones of other
/// SDKs) are spread evenly within theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch {
    zeros: u64,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// By index: bucket `i` holds values above `2^(i/16)` up to `2^((i+1)/16)`.
    buckets: Vec<(i16, u64)>,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { zeros: 0, count: 0, sum: 0.0, min: f64::INFINITY, max: 0.0, buckets: Vec::new() }
    }
}

/// The upper edge of a bucket.
pub(crate) fn upper_edge(index: i16) -> f64 {
    f64::exp2((f64::from(index) + 1.0) / 16.0)
}

/// The bucket of a value above zero.
fn bucket_of(value: f64) -> i16 {
    // The edge itself belongs to the bucket below.
    let index = (value.log2() * 16.0).ceil() - 1.0;
    index.clamp(-f64::from(LIMIT), f64::from(LIMIT)) as i16
}

impl Sketch {
    /// The greatest relative error of a quantile: 2.2 %.
    pub const RELATIVE_ERROR: f64 = 0.021_657;

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, exact.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Their mean; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The least value, as exact as a quantile.
    pub fn min(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.min }
    }

    /// The greatest value, as exact as a quantile.
    pub fn max(&self) -> f64 {
        self.max
    }

    pub(super) fn zeros(&self) -> u64 {
        self.zeros
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = (i16, u64)> + '_ {
        self.buckets.iter().copied()
    }

    /// Adds one value; what is not above zero counts as zero.
    pub fn add(&mut self, value: f64) {
        let value = if value.is_finite() { value.max(0.0) } else { return };
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if value > 0.0 {
            self.add_bucket(bucket_of(value), 1);
        } else {
            self.zeros += 1;
        }
    }

    fn add_bucket(&mut self, index: i16, count: u64) {
        match self.buckets.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(place) => self.buckets[place].1 += count,
            Err(place) => self.buckets.insert(place, (index, count)),
        }
    }

    /// Takes in all values of another.
    pub fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
            return;
        }
        for (index, count) in &other.buckets {
            self.add_bucket(*index, *count);
        }
    }

    /// The quantile `p`, 0 to 1: the value of rank `ceil(p * count)`. `None` without values.
    pub fn quantile(&self, p: f64) -> Option<f64> {
        if self.count == 0 || !(0.0..=1.0).contains(&p) {
            return None;
        }
        let rank = ((p * self.count as f64).ceil() as u64).clamp(1, self.count);
        if rank == 1 {
            return Some(self.min());
        }
        if rank == self.count {
            return Some(self.max);
        }
        let mut seen = self.zeros;
        if seen >= rank {
            return Some(0.0);
        }
        for (index, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                let (low, high) = (upper_edge(index - 1), upper_edge(*index));
                return Some((2.0 * low * high / (low + high)).clamp(self.min(), self.max));
            }
        }
        Some(self.max)
    }

    /// How many values are greater than `value`, as exact as the buckets are: those of its own bucket are not counted.
    pub fn slower_than(&self, value: f64) -> u64 {
        if value <= 0.0 { self.count() - self.zeros() } else { self.above(bucket_of(value)) }
    }

    /// How many values are in buckets above this one.
    pub(crate) fn above(&self, index: i16) -> u64 {
        self.buckets.iter().rev().take_while(|(bucket, _)| *bucket > index).map(|(_, count)| count).sum()
    }

    /// From a histogram with buckets in powers of `2^(2^-scale)`: buckets narrower than ours fall into ours, of wider ones
    /// the values are put in the middle.
    pub(super) fn of_exponential(
        scale: i8,
        zeros: u64,
        offset: i32,
        counts: impl Iterator<Item = u64>,
    ) -> Self {
        let mut buckets: Vec<(i16, u64)> = Vec::new();
        for (index, count) in (offset..).zip(counts).filter(|(_, count)| *count > 0) {
            let index = rescale(index, scale);
            match buckets.last_mut() {
                Some((last, sum)) if *last == index => *sum += count,
                _ => buckets.push((index, count)),
            }
        }
        let mut sketch = Self { zeros, buckets, ..Self::default() };
        sketch.count = zeros + sketch.buckets.iter().map(|(_, count)| count).sum::<u64>();
        sketch.bound_by_buckets();
        sketch
    }

    /// From counts between bounds, spread evenly in each on a logarithmic scale.
    pub(super) fn of_explicit(bounds: &[f64], counts: &[u64], min: Option<f64>, max: Option<f64>) -> Self {
        let mut all: BTreeMap<i16, u64> = BTreeMap::new();
        let mut zeros = 0;
        for (place, count) in counts.iter().copied().enumerate().filter(|(_, count)| *count > 0) {
            let high = bounds.get(place).copied().or(max);
            let low = place.checked_sub(1).and_then(|below| bounds.get(below)).copied().or(min);
            let high = high.unwrap_or_else(|| low.unwrap_or(1.0) * 2.0);
            let low = low.filter(|low| *low > 0.0).unwrap_or(high / 2.0).min(high);
            if high <= 0.0 {
                zeros += count;
                continue;
            }
            let (first, last) = (bucket_of(low).saturating_add(1).min(bucket_of(high)), bucket_of(high));
            let places = (i32::from(last) - i32::from(first) + 1) as u64;
            for (step, index) in (first..=last).enumerate() {
                let step = step as u64;
                let share = count * (step + 1) / places - count * step / places;
                if share > 0 {
                    *all.entry(index).or_default() += share;
                }
            }
        }
        let mut sketch = Self { zeros, buckets: all.into_iter().collect(), ..Self::default() };
        sketch.count = zeros + sketch.buckets.iter().map(|(_, count)| count).sum::<u64>();
        sketch.bound_by_buckets();
        sketch
    }

    /// The least and the greatest as far as the buckets tell.
    fn bound_by_buckets(&mut self) {
        if self.count == 0 {
            return;
        }
        let middle = |index: i16| upper_edge(index) * (1.0 - Self::RELATIVE_ERROR);
        self.min =
            if self.zeros > 0 { 0.0 } else { self.buckets.first().map_or(0.0, |(index, _)| middle(*index)) };
        self.max = self.buckets.last().map_or(0.0, |(index, _)| middle(*index));
    }

    pub(super) fn with_sum(mut self, sum: f64) -> Self {
        self.sum = sum.max(0.0);
        self
    }

    /// With the least or the greatest value where it is known exactly.
    pub(super) fn with_extremes(mut self, min: Option<f64>, max: Option<f64>) -> Self {
        if self.count > 0 {
            self.min = min.unwrap_or(self.min);
            self.max = max.unwrap_or(self.max).max(self.min);
        }
        self
    }

    /// What came since an earlier state of the same cumulative histogram; `None` if it is not a later state of it.
    pub(super) fn since(&self, before: &Self) -> Option<Self> {
        if self.count < before.count || self.zeros < before.zeros {
            return None;
        }
        let mut buckets = Vec::new();
        let mut old = before.buckets.iter().copied().peekable();
        for (index, count) in &self.buckets {
            let mut known = 0;
            while let Some((old_index, old_count)) = old.peek().copied().filter(|(old, _)| old <= index) {
                if old_index < *index {
                    return None;
                }
                known = old_count;
                old.next();
            }
            match count.checked_sub(known)? {
                0 => {}
                fresh => buckets.push((*index, fresh)),
            }
        }
        if old.next().is_some() {
            return None;
        }
        let mut fresh = Self { zeros: self.zeros - before.zeros, buckets, ..Self::default() };
        fresh.count = self.count - before.count;
        fresh.sum = (self.sum - before.sum).max(0.0);
        fresh.bound_by_buckets();
        Some(fresh)
    }

    /// The same in buckets of a coarser scale, each put in its middle: for comparing with what came in that scale.
    pub(super) fn coarsened(&self, scale: i8) -> Self {
        let steps = u32::from(SCALE.abs_diff(scale)).min(12);
        let mut coarse = Self { buckets: Vec::new(), ..self.clone() };
        for (index, count) in &self.buckets {
            coarse.add_bucket(rescale(i32::from(*index) >> steps, scale), *count);
        }
        coarse
    }
}

/// The bucket of ours in which a bucket of another scale lies, or that lies in its middle.
fn rescale(index: i32, scale: i8) -> i16 {
    let steps = u32::from(SCALE.abs_diff(scale)).min(31);
    let ours = if scale >= SCALE {
        index >> steps
    } else {
        index.saturating_mul(1 << steps.min(12)).saturating_add((1 << steps.min(12)) / 2)
    };
    ours.clamp(-LIMIT, LIMIT) as i16
}

/// The bytes in which a sketch that does not change any more is kept: about three a bucket.
#[derive(Debug, Clone, Default)]
pub(super) struct Packed(Option<Box<[u8]>>);

impl Packed {
    pub(super) fn of(sketch: &Sketch) -> Self {
        if sketch.count == 0 {
            return Self(None);
        }
        let mut bytes = Vec::with_capacity(32 + sketch.buckets.len() * 3);
        for number in [sketch.sum, sketch.min, sketch.max] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        put(&mut bytes, sketch.zeros);
        let mut last = -i32::from(i16::MAX);
        for (index, count) in &sketch.buckets {
            put(&mut bytes, (i32::from(*index) - last) as u64);
            put(&mut bytes, *count);
            last = i32::from(*index);
        }
        Self(Some(bytes.into_boxed_slice()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }

    pub(super) fn merge_into(&self, sketch: &mut Sketch) {
        if let Some(unpacked) = self.unpack() {
            sketch.merge(&unpacked);
        }
    }

    fn unpack(&self) -> Option<Sketch> {
        let bytes = self.0.as_deref()?;
        let (head, mut rest) = bytes.split_at_checked(24)?;
        let number = |place: usize| head.get(place..place + 8)?.try_into().ok().map(f64::from_le_bytes);
        let mut sketch = Sketch { sum: number(0)?, min: number(8)?, max: number(16)?, ..Sketch::default() };
        sketch.zeros = take(&mut rest)?;
        sketch.count = sketch.zeros;
        let mut last = -i32::from(i16::MAX);
        while !rest.is_empty() {
            last += i32::try_from(take(&mut rest)?).ok()?;
            let count = take(&mut rest)?;
            sketch.count += count;
            sketch.buckets.push((i16::try_from(last).ok()?, count));
        }
        Some(sketch)
    }
}

/// Seven bits a byte, the least first.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value));
        sketch
    }

    #[test]
    fn explicit_buckets_are_spread_and_nothing_is_lost() {
        let sketch = Sketch::of_explicit(&[1.0, 2.0, 4.0], &[1, 10, 100, 7], None, Some(9.0));
        assert_eq!(sketch.count(), 118);
        assert!(sketch.quantile(0.5).is_some_and(|p50| (2.0..=4.0).contains(&p50)));
        assert!(sketch.max() <= 9.2 && sketch.max() > 8.5, "{}", sketch.max());
    }

    proptest! {
        /// Within 2.5 %, whatever was merged, over nine orders of magnitude; the packed form is the same.
        #[test]
        fn quantiles_keep_their_bound(
            parts in prop::collection::vec(prop::collection::vec(-20.0f64..10.0, 1..60), 1..6),
            p in 0.0f64..=1.0,
        ) {
            let parts: Vec<Vec<f64>> =
                parts.into_iter().map(|part| part.into_iter().map(f64::exp2).collect()).collect();
            let mut merged = Sketch::default();
            parts.iter().for_each(|part| merged.merge(&of(part)));
            let mut values = parts.concat();
            values.sort_by(f64::total_cmp);
            let rank = ((p * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let error = (merged.quantile(p).unwrap() - exact).abs() / exact;
            prop_assert!(error <= Sketch::RELATIVE_ERROR + 1e-9, "{error}");
            let mut unpacked = Sketch::default();
            Packed::of(&merged).merge_into(&mut unpacked);
            prop_assert_eq!(&unpacked, &merged);
        }

        /// A later state less an earlier one is what came between.
        #[test]
        fn cumulative_states_are_subtracted(
            first in prop::collection::vec(0.0001f64..1000.0, 0..80),
            second in prop::collection::vec(0.0001f64..1000.0, 0..80),
        ) {
            let (before, fresh) = (of(&first), of(&second));
            let mut after = before.clone();
            after.merge(&fresh);
            let since = after.since(&before).unwrap();
            prop_assert_eq!(since.count(), fresh.count());
            prop_assert_eq!(since.buckets().collect::<Vec<_>>(), fresh.buckets().collect::<Vec<_>>());
            prop_assert!((since.sum() - fresh.sum()).abs() < 1e-6);
            if !first.is_empty() {
                prop_assert!(before.since(&after).is_none() || second.is_empty());
            }
        }
    }
}

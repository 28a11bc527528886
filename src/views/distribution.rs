//! How durations are distributed: collected histogram points, merged, and the quantiles that they allow.

use std::collections::BTreeMap;

use opentelemetry_sdk::metrics::data::{ExponentialHistogramDataPoint, HistogramDataPoint};

use super::sketch::{self, Sketch};

/// Merged histogram points of durations in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Distribution {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    buckets: Buckets,
}

#[derive(Debug, Clone, PartialEq)]
enum Buckets {
    /// Bucket `i` holds values above `base^i` up to `base^(i + 1)`, where `base` is `2^(2^-scale)`.
    Exponential { scale: i8, zeros: u64, counts: BTreeMap<i32, u64> },
    /// Bucket `i` holds values above `bounds[i - 1]` up to `bounds[i]`; the last has no upper bound.
    Explicit { bounds: Vec<f64>, counts: Vec<u64> },
    /// Points of different shapes came together, which our one view does not make: the sums hold, quantiles do not.
    Unknown,
}

impl Distribution {
    /// `None` without any value: then the point's minimum and maximum mean nothing.
    pub(super) fn of_exponential(point: &ExponentialHistogramDataPoint<f64>) -> Option<Self> {
        if point.count() == 0 {
            return None;
        }
        // Durations are never negative.
        let bucket = point.positive_bucket();
        let counts = (bucket.offset()..).zip(bucket.counts()).filter(|(_, count)| *count > 0).collect();
        Some(Self {
            count: point.count() as u64,
            sum: point.sum(),
            min: point.min().unwrap_or(0.0),
            max: point.max().unwrap_or(f64::INFINITY),
            buckets: Buckets::Exponential { scale: point.scale(), zeros: point.zero_count(), counts },
        })
    }

    /// `None` without any value.
    pub(super) fn of_sketch(sketch: &Sketch) -> Option<Self> {
        (sketch.count() > 0).then(|| Self {
            count: sketch.count(),
            sum: sketch.sum(),
            min: sketch.min(),
            max: sketch.max(),
            buckets: Buckets::Exponential {
                scale: sketch::SCALE,
                zeros: sketch.zeros(),
                counts: sketch.buckets().map(|(index, count)| (i32::from(index), count)).collect(),
            },
        })
    }

    /// `None` without any value.
    pub(super) fn of_explicit(point: &HistogramDataPoint<f64>) -> Option<Self> {
        (point.count() > 0).then(|| Self {
            count: point.count(),
            sum: point.sum(),
            min: point.min().unwrap_or(0.0),
            max: point.max().unwrap_or(f64::INFINITY),
            buckets: Buckets::Explicit {
                bounds: point.bounds().collect(),
                counts: point.bucket_counts().collect(),
            },
        })
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.buckets.merge(&other.buckets);
    }

    pub(super) fn average(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// Between which two values the quantile lies: the value of rank `ceil(p * count)` in order. They are the same if
    /// it is known exactly, as the least and the greatest are.
    pub(super) fn bounds_of(&self, p: f64) -> Option<(f64, f64)> {
        if !(0.0..=1.0).contains(&p) || self.buckets == Buckets::Unknown {
            return None;
        }
        let rank = ((p * self.count as f64).ceil() as u64).clamp(1, self.count);
        if rank == 1 {
            return Some((self.min, self.min));
        }
        if rank == self.count {
            return Some((self.max, self.max));
        }
        let (low, high) = self.buckets.bucket_at(rank)?;
        Some((low.clamp(self.min, self.max), high.clamp(self.min, self.max)))
    }

    /// The value between its bounds whose relative error is the least in the worst case.
    pub(super) fn quantile(&self, p: f64) -> Option<f64> {
        let (low, high) = self.bounds_of(p)?;
        Some(if low + high > 0.0 { 2.0 * low * high / (low + high) } else { 0.0 })
    }

    /// The greatest relative error of a quantile, if the buckets have one.
    pub(super) fn relative_error(&self) -> Option<f64> {
        match &self.buckets {
            Buckets::Exponential { scale, .. } => {
                let base = base(*scale);
                Some((base - 1.0) / (base + 1.0))
            }
            _ => None,
        }
    }
}

impl Buckets {
    fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (
                Self::Exponential { scale, zeros, counts },
                Self::Exponential { scale: other_scale, zeros: other_zeros, counts: other_counts },
            ) => {
                let least = (*scale).min(*other_scale);
                if *scale > least {
                    *counts = scaled(counts, *scale, least).collect_sums();
                    *scale = least;
                }
                for (index, count) in scaled(other_counts, *other_scale, least) {
                    *counts.entry(index).or_default() += count;
                }
                *zeros += other_zeros;
            }
            (
                Self::Explicit { bounds, counts },
                Self::Explicit { bounds: other_bounds, counts: other_counts },
            ) if bounds == other_bounds && counts.len() == other_counts.len() => {
                for (count, other) in counts.iter_mut().zip(other_counts) {
                    *count += other;
                }
            }
            _ => *self = Self::Unknown,
        }
    }

    /// The bucket that holds the value of this rank, counted from 1.
    fn bucket_at(&self, rank: u64) -> Option<(f64, f64)> {
        let mut seen = 0;
        let mut reached = |count: u64| {
            seen += count;
            seen >= rank
        };
        match self {
            Self::Exponential { scale, zeros, counts } => {
                if reached(*zeros) {
                    return Some((0.0, 0.0));
                }
                let (index, _) = counts.iter().find(|(_, count)| reached(**count))?;
                let edge = |index: i32| f64::exp2(f64::from(index) * f64::exp2(-f64::from(*scale)));
                Some((edge(*index), edge(index.saturating_add(1))))
            }
            Self::Explicit { bounds, counts } => {
                let index = counts.iter().position(|count| reached(*count))?;
                let low = index.checked_sub(1).and_then(|below| bounds.get(below)).copied();
                Some((low.unwrap_or(0.0), bounds.get(index).copied().unwrap_or(f64::INFINITY)))
            }
            Self::Unknown => None,
        }
    }
}

/// The factor between the edges of a bucket.
fn base(scale: i8) -> f64 {
    f64::exp2(f64::exp2(-f64::from(scale)))
}

/// Buckets in a coarser scale: each step halves their number.
fn scaled(counts: &BTreeMap<i32, u64>, from: i8, to: i8) -> impl Iterator<Item = (i32, u64)> {
    let steps = u32::from(from.abs_diff(to)).min(31);
    counts.iter().map(move |(index, count)| (index >> steps, *count))
}

/// Adds up what fell into one bucket.
trait CollectSums {
    fn collect_sums(self) -> BTreeMap<i32, u64>;
}

impl<I: Iterator<Item = (i32, u64)>> CollectSums for I {
    fn collect_sums(self) -> BTreeMap<i32, u64> {
        let mut sums = BTreeMap::new();
        for (index, count) in self {
            *sums.entry(index).or_default() += count;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exponential(scale: i8, counts: &[(i32, u64)]) -> Buckets {
        Buckets::Exponential { scale, zeros: 0, counts: counts.iter().copied().collect() }
    }

    #[test]
    fn buckets_of_two_scales_merge_in_the_coarser_one() {
        let mut merged = exponential(2, &[(-3, 1), (-2, 2), (-1, 4), (0, 8), (3, 16)]);
        merged.merge(&exponential(1, &[(-1, 100), (1, 200)]));
        // Floor, not truncation: -3 and -4 are one bucket, -1 and -2 the next.
        assert_eq!(merged, exponential(1, &[(-2, 1), (-1, 106), (0, 8), (1, 216)]));
        let mut other_way = exponential(1, &[(-1, 100), (1, 200)]);
        other_way.merge(&exponential(2, &[(-3, 1), (-2, 2), (-1, 4), (0, 8), (3, 16)]));
        assert_eq!(other_way, merged);
    }

    #[test]
    fn points_of_different_shapes_have_sums_and_no_quantiles() {
        let exponential =
            Distribution { count: 3, sum: 6.0, min: 1.0, max: 3.0, buckets: exponential(0, &[(0, 3)]) };
        let mut merged = exponential.clone();
        let buckets = Buckets::Explicit { bounds: vec![1.0], counts: vec![0, 3] };
        merged.merge(&Distribution { buckets, ..exponential });
        assert_eq!((merged.count, merged.average(), merged.quantile(0.5)), (6, 2.0, None));
    }

    proptest! {
        /// The value of the rank lies between the bounds, and the quantile is as near to it as the scale says.
        #[test]
        fn quantiles_keep_their_bound_whatever_was_merged(
            parts in prop::collection::vec((prop::collection::vec(0.001f64..1_000.0, 1..50), -2i8..8), 1..6),
            p in 0.0f64..=1.0,
        ) {
            let mut values: Vec<f64> = parts.iter().flat_map(|(values, _)| values.clone()).collect();
            values.sort_by(f64::total_cmp);
            let parts = parts.iter().map(|(values, scale)| {
                let index = |value: &f64| (value.log2() * f64::exp2(f64::from(*scale))).ceil() as i32 - 1;
                Distribution {
                    count: values.len() as u64,
                    sum: values.iter().sum(),
                    min: values.iter().copied().fold(f64::INFINITY, f64::min),
                    max: values.iter().copied().fold(0.0, f64::max),
                    buckets: Buckets::Exponential {
                        scale: *scale,
                        zeros: 0,
                        counts: values.iter().map(|value| (index(value), 1)).collect_sums(),
                    },
                }
            });
            let merged = parts.reduce(|mut all, part| { all.merge(&part); all }).unwrap();
            let rank = ((p * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let (low, high) = merged.bounds_of(p).unwrap();
            prop_assert!(low <= exact * (1.0 + 1e-12) && exact <= high * (1.0 + 1e-12), "{low} {exact} {high}");
            let error = (merged.quantile(p).unwrap() - exact).abs() / exact;
            prop_assert!(error <= merged.relative_error().unwrap() + 1e-12, "{error}");
            prop_assert_eq!((merged.min, merged.max), (values[0], values[values.len() - 1]));
        }
    }
}

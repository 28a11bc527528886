//! Histograms of both kinds, and summaries, as one thing.

use super::Exponential;

/// How values are spread.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// Only count and sum are known.
    Unknown,
    /// Counts between bounds: one more than there are bounds.
    Explicit {
        /// Upper ends, included.
        bounds: Vec<f64>,
        /// Values up to the first bound, between the first and the second, and so on.
        counts: Vec<u64>,
    },
    /// Counts in buckets that grow by a factor.
    Exponential(Exponential),
}

impl Shape {
    /// What two shapes must have in common to be added up.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Unknown => String::new(),
            Self::Explicit { bounds, .. } => format!("{bounds:?}"),
            Self::Exponential(_) => "exponential".to_owned(),
        }
    }
}

/// Values that were counted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) count: u64,
    pub(crate) sum: Option<f64>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) shape: Shape,
}

impl Distribution {
    /// Adds the values of another one; false, and nothing is added, if the shapes differ.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        match (&mut self.shape, &other.shape) {
            (Shape::Unknown, Shape::Unknown) => {}
            (Shape::Explicit { bounds, counts }, Shape::Explicit { bounds: others, counts: more })
                if bounds == others && counts.len() == more.len() =>
            {
                for (count, more) in counts.iter_mut().zip(more) {
                    *count = count.saturating_add(*more);
                }
            }
            (Shape::Exponential(histogram), Shape::Exponential(other)) => histogram.merge(other),
            _ => return false,
        }
        self.count = self.count.saturating_add(other.count);
        // A sum that is known for a part only would be wrong for the whole.
        self.sum = self.sum.zip(other.sum).map(|(a, b)| a + b);
        self.min = self.min.zip(other.min).map(|(a, b)| a.min(b));
        self.max = self.max.zip(other.max).map(|(a, b)| a.max(b));
        true
    }

    /// What was counted after `earlier`; `None` if that is no earlier state of this one. Minimum and maximum of that
    /// time are not known then.
    pub(crate) fn since(&self, earlier: &Self) -> Option<Self> {
        let shape = match (&self.shape, &earlier.shape) {
            (Shape::Unknown, Shape::Unknown) => Shape::Unknown,
            (Shape::Explicit { bounds, counts }, Shape::Explicit { bounds: before, counts: fewer })
                if bounds == before && counts.len() == fewer.len() =>
            {
                let counts = counts.iter().zip(fewer).map(|(count, fewer)| count.checked_sub(*fewer));
                Shape::Explicit { bounds: bounds.clone(), counts: counts.collect::<Option<_>>()? }
            }
            (Shape::Exponential(now), Shape::Exponential(before)) => Shape::Exponential(now.since(before)?),
            _ => return None,
        };
        let count = self.count.checked_sub(earlier.count)?;
        let sum = self.sum.zip(earlier.sum).map(|(now, before)| now - before);
        Some(Self { count, sum, min: None, max: None, shape })
    }

    /// Lower end, upper end and count of each bucket; ends may be infinite.
    pub(crate) fn buckets(&self) -> Vec<(f64, f64, u64)> {
        match &self.shape {
            Shape::Unknown => Vec::new(),
            Shape::Explicit { bounds, counts } => {
                let lower = std::iter::once(f64::NEG_INFINITY).chain(bounds.iter().copied());
                let upper = bounds.iter().copied().chain([f64::INFINITY]);
                lower.zip(upper).zip(counts).map(|((lower, upper), count)| (lower, upper, *count)).collect()
            }
            Shape::Exponential(histogram) => histogram.buckets(),
        }
    }

    /// The value below which this share of the values lies, by linear interpolation within its bucket, as Prometheus'
    /// `histogram_quantile` has it; `None` without buckets or values. Known ends bound it.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let buckets = self.buckets();
        let total: u64 = buckets.iter().map(|(_, _, count)| count).sum();
        if total == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * total as f64;
        let mut below = 0.0;
        let mut found = None;
        for (lower, upper, count) in buckets {
            let count = count as f64;
            if count > 0.0 && below + count >= rank {
                // Values of a first bucket without a lower end are taken for positive, if its upper end is.
                let lower = match (lower.is_finite(), self.min) {
                    (true, _) => lower,
                    (false, Some(min)) => min,
                    (false, None) if upper > 0.0 => 0.0,
                    (false, None) => upper,
                };
                let upper = if upper.is_finite() { upper } else { self.max.unwrap_or(lower) };
                found = Some(lower + (upper - lower) * ((rank - below) / count).clamp(0.0, 1.0));
                break;
            }
            below += count;
        }
        let found = self.min.map_or(found, |min| found.map(|value| value.max(min)));
        self.max.map_or(found, |max| found.map(|value| value.min(max)))
    }
}

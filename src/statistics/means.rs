//! Means, and how sure one can be of them.

use serde::{Deserialize, Serialize};

use super::Z_95;
use super::normal::student_quantile;

/// Count, mean and variance of a sample: all that means are judged by.
///
/// ```
/// use agentvitals::statistics::Moments;
/// let moments = Moments::of([1.2, 1.5, 1.1, 1.9, 1.4]);
/// assert!((moments.mean - 1.42).abs() < 1e-12 && (moments.variance - 0.097).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Moments {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their variance, with `count - 1` as the divisor; 0 for a single value.
    pub variance: f64,
}

impl Moments {
    /// Of which these are known already.
    pub fn new(count: u64, mean: f64, variance: f64) -> Self {
        Self { count, mean, variance: variance.max(0.0) }
    }

    /// Of these values, by the way of Welford (1962), which loses no digits. What is not finite is left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut count, mut mean, mut squares) = (0_u64, 0.0, 0.0);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            count += 1;
            let before = value - mean;
            mean += before / count as f64;
            squares += before * (value - mean);
        }
        Self::new(count, mean, if count > 1 { squares / (count - 1) as f64 } else { 0.0 })
    }

    /// Of this many values with this sum and this sum of squares.
    pub fn from_sums(count: u64, sum: f64, sum_of_squares: f64) -> Self {
        if count == 0 {
            return Self::default();
        }
        let (n, mean) = (count as f64, sum / count as f64);
        let variance = if count > 1 { (sum_of_squares - n * mean * mean) / (n - 1.0) } else { 0.0 };
        Self::new(count, mean, variance)
    }

    /// The square of the standard error of the mean, `None` for fewer than two values.
    fn squared_error(&self) -> Option<f64> {
        (self.count > 1).then(|| self.variance / self.count as f64)
    }

    /// The value that the true mean is above with this confidence (0.5 to 1), by Student's t: what a ranking sorts by
    /// where more is better. `None` for fewer than two values, which say nothing about their spread.
    pub fn lower_bound(&self, confidence: f64) -> Option<f64> {
        Some(self.mean - self.reach(confidence)?)
    }

    /// The value that the true mean is below with this confidence (0.5 to 1): what a ranking sorts by where less is
    /// better, such as latency and cost.
    pub fn upper_bound(&self, confidence: f64) -> Option<f64> {
        Some(self.mean + self.reach(confidence)?)
    }

    fn reach(&self, confidence: f64) -> Option<f64> {
        let error = self.squared_error()?.sqrt();
        let above = 1.0 - confidence.clamp(0.5, 0.999_999);
        Some(student_quantile(above, (self.count - 1) as f64) * error)
    }
}

/// How the means of two samples relate; see [`ratio_of_means`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RatioOfMeans {
    /// The first mean as a multiple of the second one.
    pub ratio: f64,
    /// The lower end of the 95 % interval.
    pub low: f64,
    /// The upper end of the 95 % interval.
    pub high: f64,
}

impl RatioOfMeans {
    /// Whether the interval leaves out 1: whether the means differ.
    pub fn is_significant(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// The ratio of two means with its 95 % interval, by the delta method on the logarithm: the variance of `ln(a / b)` is about
/// `var(a) / a^2 + var(b) / b^2`, with the variances of the means. `None` unless both have two values and a mean above 0.
///
/// For latencies and costs, whose logarithms are closer to normal than they are; fair from about 20 values a side.
///
/// ```
/// use agentvitals::statistics::{Moments, ratio_of_means};
/// let new = Moments::of([1.2, 1.5, 1.1, 1.9, 1.4]);
/// let old = Moments::of([1.0, 0.9, 1.3, 1.1]);
/// let slower = ratio_of_means(&new, &old).unwrap();
/// assert!((slower.ratio - 1.3209).abs() < 1e-4);
/// assert!((slower.low - 1.0314).abs() < 1e-4 && (slower.high - 1.6917).abs() < 1e-4);
/// assert!(slower.is_significant());
/// ```
pub fn ratio_of_means(first: &Moments, second: &Moments) -> Option<RatioOfMeans> {
    let (of_first, of_second) = (first.squared_error()?, second.squared_error()?);
    if !(first.mean > 0.0 && second.mean > 0.0) {
        return None;
    }
    let ratio = first.mean / second.mean;
    let reach = Z_95 * (of_first / first.mean.powi(2) + of_second / second.mean.powi(2)).sqrt();
    Some(RatioOfMeans { ratio, low: ratio * (-reach).exp(), high: ratio * reach.exp() })
        .filter(|found| found.ratio.is_finite() && found.high.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_say_what_values_say() {
        let values = [3.0, 4.5, 0.5, 9.0];
        let (of, sums) = (
            Moments::of(values),
            Moments::from_sums(4, values.iter().sum(), values.iter().map(|value| value * value).sum()),
        );
        assert!((of.mean - sums.mean).abs() < 1e-12 && (of.variance - sums.variance).abs() < 1e-9);
        assert_eq!(Moments::from_sums(0, 0.0, 0.0), Moments::of([f64::NAN]));
    }

    /// `m.mean() - scipy.stats.t.ppf(.95, 4) * m.std(ddof=1) / sqrt(5)`
    #[test]
    fn bounds_are_those_of_students_t() {
        let moments = Moments::of([1.2, 1.5, 1.1, 1.9, 1.4]);
        let low = moments.lower_bound(0.95).unwrap();
        assert!((low - 1.123_068_102_125_752_7).abs() < 1e-9, "{low}");
        let high = moments.upper_bound(0.95).unwrap();
        assert!((low + high - 2.0 * moments.mean).abs() < 1e-9);
        assert_eq!(Moments::of([1.0]).lower_bound(0.95), None);
    }

    #[test]
    fn means_without_a_ratio_have_none() {
        let some = Moments::new(9, 1.0, 1.0);
        assert_eq!(ratio_of_means(&some, &Moments::new(9, 0.0, 1.0)), None);
        assert_eq!(ratio_of_means(&Moments::new(1, 1.0, 0.0), &some), None);
        assert_eq!(ratio_of_means(&some, &Moments::new(9, f64::NAN, 1.0)), None);
    }
}

//! How two quantities go together.

use serde::{Deserialize, Serialize};

use super::Z_95;
use super::student_p_value;

/// How two quantities go together; see [`pearson`] and [`spearman`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Correlation {
    /// From -1 (one falls as the other rises) to 1 (they rise together).
    pub coefficient: f64,
    /// The lower end of the 95 % interval.
    pub low: f64,
    /// The upper end of the 95 % interval.
    pub high: f64,
    /// How often chance alone makes unrelated quantities seem as related or more, in either direction.
    pub p_value: f64,
    /// Pairs of finite values that it was computed from.
    pub pairs: u64,
}

/// The linear correlation of Pearson. The p-value is that of Student's t with `n - 2` degrees of freedom, the interval that
/// of Fisher's transformation. Pairs with a value that is not finite are left out, and so is what one list has more than the
/// other; `None` for fewer than 4 pairs, or if one of the two does not vary.
///
/// ```
/// use agentvitals::statistics::pearson;
/// let context = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
/// let latency = [2.1, 1.9, 3.5, 3.2, 5.8, 5.1, 7.9];
/// let found = pearson(&context, &latency).unwrap();
/// assert!((found.coefficient - 0.928_032_631).abs() < 1e-9);
/// assert!((found.p_value - 0.002_566_494).abs() < 1e-9);
/// assert!((found.low - 0.581_045_271).abs() < 1e-9 && (found.high - 0.989_539_025).abs() < 1e-9);
/// ```
pub fn pearson(x: &[f64], y: &[f64]) -> Option<Correlation> {
    let pairs = finite(x, y);
    // About var(z) = 1 / (n - 3) of Fisher (1921).
    correlation(&pairs, |n, _| 1.0 / (n - 3.0))
}

/// The rank correlation of Spearman: whether one rises whenever the other does, on a straight line or not. Ties have their
/// mean rank; the p-value is that of Student's t, the interval that of Fisher's transformation with the variance of Bonett
/// and Wright (2000). Left out and `None` as in [`pearson`].
///
/// ```
/// use agentvitals::statistics::spearman;
/// let found = spearman(&[1.0, 2.0, 2.0, 3.0, 5.0, 8.0, 8.0, 9.0], &[9.0, 7.0, 7.0, 8.0, 4.0, 3.0, 2.0, 2.0]).unwrap();
/// assert!((found.coefficient + 0.908_536_585).abs() < 1e-9);
/// assert!((found.p_value - 0.001_784_039).abs() < 1e-9);
/// ```
pub fn spearman(x: &[f64], y: &[f64]) -> Option<Correlation> {
    let (x, y): (Vec<f64>, Vec<f64>) = finite(x, y).into_iter().unzip();
    let ranked: Vec<(f64, f64)> = ranks(&x).into_iter().zip(ranks(&y)).collect();
    correlation(&ranked, |n, r| (1.0 + r * r / 2.0) / (n - 3.0))
}

fn finite(x: &[f64], y: &[f64]) -> Vec<(f64, f64)> {
    x.iter().copied().zip(y.iter().copied()).filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

/// `variance` is that of the coefficient after Fisher's transformation, by the number of pairs and the coefficient.
fn correlation(pairs: &[(f64, f64)], variance: impl Fn(f64, f64) -> f64) -> Option<Correlation> {
    if pairs.len() < 4 {
        return None;
    }
    let n = pairs.len() as f64;
    let (mean_x, mean_y) =
        pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0 / n, sum.1 + pair.1 / n));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs.iter().map(|(x, y)| (x - mean_x, y - mean_y)) {
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    let r = (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0);
    // One of the two does not vary: 0 / 0.
    if r.is_nan() {
        return None;
    }
    let t = r * ((n - 2.0) / ((1.0 - r) * (1.0 + r))).sqrt();
    let (centre, reach) = (r.atanh(), Z_95 * variance(n, r).sqrt());
    Some(Correlation {
        coefficient: r,
        low: (centre - reach).tanh(),
        high: (centre + reach).tanh(),
        p_value: student_p_value(t, n - 2.0),
        pairs: pairs.len() as u64,
    })
}

/// The rank of each value, from 1; tied values have their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|one, other| values[*one].total_cmp(&values[*other]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order.chunk_by(|one, other| values[*one] == values[*other]) {
        for at in tied {
            ranks[*at] = before as f64 + (tied.len() + 1) as f64 / 2.0;
        }
        before += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.spearmanr` and `pearsonr` of the same numbers.
    #[test]
    fn correlations_are_those_of_scipy() {
        let (x, y) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [2.1, 1.9, 3.5, 3.2, 5.8, 5.1, 7.9]);
        let ranked = spearman(&x, &y).unwrap();
        assert!((ranked.coefficient - 0.892_857_142_857_142_9).abs() < 1e-12);
        assert!((ranked.p_value - 0.006_807_187_408_935_393).abs() < 1e-12);
        let (x, y) = ([1.0, 2.0, 2.0, 3.0, 5.0, 8.0, 8.0, 9.0], [9.0, 7.0, 7.0, 8.0, 4.0, 3.0, 2.0, 2.0]);
        let linear = pearson(&x, &y).unwrap();
        assert!((linear.p_value - 0.000_150_580_786_280_303_93).abs() < 1e-12, "{linear:?}");
    }

    #[test]
    fn a_perfect_relation_is_certain_and_a_constant_has_none() {
        let x = [1.0, 2.0, 3.0, 4.0];
        let found = pearson(&x, &[2.0, 4.0, 6.0, 8.0]).unwrap();
        assert!((found.coefficient - 1.0).abs() < 1e-12 && found.p_value < 1e-6, "{found:?}");
        assert!(found.low > 0.999 && found.high == 1.0, "{found:?}");
        assert_eq!(pearson(&x, &[3.0; 4]), None);
        assert_eq!(spearman(&x, &[3.0; 4]), None);
        assert_eq!(pearson(&x[..3], &x[..3]), None);
        assert_eq!(pearson(&x, &[1.0, f64::NAN, 2.0, 3.0]), None);
    }
}

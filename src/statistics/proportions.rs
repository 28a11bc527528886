//! Two shares: do they differ?

use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

use super::normal::normal_two_sided;
use super::{Z_95, wilson};

/// Below this many expected hits or misses on one side the normal approximation is no good (Cochran 1954).
const FEWEST_EXPECTED: f64 = 5.0;

/// How two shares differ; see [`two_proportions`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proportions {
    /// The first share minus the second one.
    pub difference: f64,
    /// The lower end of the 95 % interval of the difference.
    pub low: f64,
    /// The upper end of the 95 % interval of the difference.
    pub high: f64,
    /// Standard deviations between the two, under the assumption that there is one share.
    pub z: f64,
    /// How often chance alone makes two equal shares look as different as these or more, on either side.
    pub p_value: f64,
}

/// Compares the shares `hits.0` of `trials.0` and `hits.1` of `trials.1`. `None` if one side has no trials.
///
/// The p-value is that of the pooled z-test where at least 5 hits and 5 misses are expected on each side, and that of
/// Fisher's exact test otherwise, which never claims too much. The interval is number 10 of Newcombe (1998), which joins
/// the two intervals of Wilson; for 56 of 70 and 48 of 80 it is 0.0524 to 0.3339, as in his paper.
///
/// ```
/// use agentvitals::statistics::two_proportions;
/// let calls = two_proportions((56, 48), (70, 80)).unwrap();
/// assert!((calls.difference - 0.2).abs() < 1e-12);
/// assert!((calls.low - 0.0524).abs() < 1e-4 && (calls.high - 0.3339).abs() < 1e-4);
/// assert!((calls.p_value - 0.008_045).abs() < 1e-6);
/// ```
pub fn two_proportions(hits: (u64, u64), trials: (u64, u64)) -> Option<Proportions> {
    if trials.0 == 0 || trials.1 == 0 {
        return None;
    }
    let hits = (hits.0.min(trials.0), hits.1.min(trials.1));
    let (n1, n2) = (trials.0 as f64, trials.1 as f64);
    let (p1, p2) = (hits.0 as f64 / n1, hits.1 as f64 / n2);
    let pooled = (hits.0 as f64 + hits.1 as f64) / (n1 + n2);
    let spread = (pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n2)).sqrt();
    // All hit or all missed on both sides: nothing differs.
    let z = if spread > 0.0 { (p1 - p2) / spread } else { 0.0 };
    let fewest = pooled.min(1.0 - pooled) * n1.min(n2);
    let p_value = if spread == 0.0 {
        1.0
    } else if fewest < FEWEST_EXPECTED {
        fisher_exact(hits, trials)
    } else {
        normal_two_sided(z)
    };
    let ((l1, u1), (l2, u2)) = (wilson(hits.0, trials.0, Z_95), wilson(hits.1, trials.1, Z_95));
    let difference = p1 - p2;
    Some(Proportions {
        difference,
        low: (difference - (p1 - l1).hypot(u2 - p2)).max(-1.0),
        high: (difference + (u1 - p1).hypot(p2 - l2)).min(1.0),
        z,
        p_value,
    })
}

/// Fisher's exact test (1935): how often chance alone splits the hits of both sides at least as unevenly, two-sided, by
/// adding up all splits that are no likelier than the one seen. 1 if a side has no trials.
///
/// Its work grows with the smaller of the four margins: it is meant for small counts, and [`two_proportions`] asks it
/// only for these.
///
/// ```
/// use agentvitals::statistics::fisher_exact;
/// assert!((fisher_exact((1, 11), (10, 14)) - 0.002_759_456_2).abs() < 1e-9);
/// ```
pub fn fisher_exact(hits: (u64, u64), trials: (u64, u64)) -> f64 {
    let hits = (hits.0.min(trials.0), hits.1.min(trials.1));
    let (all, hit) = (trials.0.saturating_add(trials.1), hits.0.saturating_add(hits.1));
    // The hits of the first side range from those that the second one cannot take to all that it can take itself.
    let (least, most) = (hit.saturating_sub(trials.1), hit.min(trials.0));
    let constant = ln_choose(all, hit);
    let chance =
        |first: u64| (ln_choose(trials.0, first) + ln_choose(trials.1, hit - first) - constant).exp();
    // Rounding must not leave out the splits that are exactly as likely.
    let limit = chance(hits.0) * (1.0 + 1e-7);
    (least..=most).map(chance).filter(|chance| *chance <= limit).sum::<f64>().clamp(0.0, 1.0)
}

fn ln_choose(n: u64, k: u64) -> f64 {
    let ln_factorial = |n: u64| ln_gamma(n as f64 + 1.0);
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{value} is not {expected}");
    }

    /// The figures are those of `scipy.stats.chi2_contingency(correction=False)` and `scipy.stats.fisher_exact`.
    #[test]
    fn shares_are_compared_as_by_scipy() {
        let few = two_proportions((45, 60), (100, 110)).unwrap();
        near(few.z, -1.381_698_559_415_514_2);
        near(few.p_value, 0.167_064_276_914_894_23);
        near(few.low, -0.225_450_824_519_186_33);
        near(few.high, 0.039_335_567_267_382_05);
        near(two_proportions((30, 62), (1000, 1000)).unwrap().p_value, 0.000_636_143_285_694_444_7);
        // Here four hits are expected on 40 trials: exact.
        near(two_proportions((0, 4), (20, 20)).unwrap().p_value, 0.106_029_106_029_106_03);
        near(fisher_exact((1, 11), (10, 14)), 0.002_759_456_185_220_083_6);
    }

    #[test]
    fn what_cannot_differ_does_not() {
        assert_eq!(two_proportions((0, 1), (0, 5)), None);
        let none = two_proportions((0, 0), (10, 20)).unwrap();
        assert_eq!((none.z, none.p_value, none.difference), (0.0, 1.0, 0.0));
        let all = two_proportions((10, 20), (10, 20)).unwrap();
        assert_eq!((all.z, all.p_value), (0.0, 1.0));
        assert_eq!(fisher_exact((0, 0), (0, 0)), 1.0);
        // More hits than trials are as many as trials.
        assert_eq!(two_proportions((99, 5), (10, 10)), two_proportions((10, 5), (10, 10)));
    }
}

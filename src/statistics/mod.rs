//! The few formulas of statistics that verdicts rest on.
//!
//! Pure functions over plain numbers: shares ([`wilson`], [`two_proportions`], [`fisher_exact`]), samples and histograms
//! ([`mann_whitney`], [`mann_whitney_counts`]), means ([`Moments`], [`ratio_of_means`]), relations ([`pearson`],
//! [`spearman`]), many tests at once ([`benjamini_hochberg`]), and what a ranking sorts by ([`lower_bound`]). A question
//! that the numbers cannot answer has the answer `None`, never a p-value of convenience.

mod correlation;
mod means;
mod multiple;
mod normal;
mod proportions;
mod ranks;

pub use correlation::{Correlation, pearson, spearman};
pub use means::{Moments, RatioOfMeans, ratio_of_means};
pub use multiple::benjamini_hochberg;
pub use normal::{normal_cdf, student_p_value, student_reach, z_of};
pub use proportions::{Proportions, fisher_exact, two_proportions};
pub use ranks::{RankTest, mann_whitney, mann_whitney_counts};

/// The standard normal quantile of a two-sided interval of 95 %.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// Between which two shares the true one lies, given that `hits` of `trials` were hits: the score interval of Wilson
/// (1927), with `z` standard deviations to each side ([`Z_95`] for 95 %). Without trials it is all from 0 to 1.
///
/// Unlike the textbook interval it never leaves 0 to 1 and is of use for a handful of trials.
///
/// ```
/// use agentvitals::statistics::{Z_95, wilson};
/// let (low, high) = wilson(9, 10, Z_95);
/// assert!((low - 0.5958).abs() < 1e-4 && (high - 0.9821).abs() < 1e-4);
/// ```
pub fn wilson(hits: u64, trials: u64, z: f64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (trials as f64, hits.min(trials) as f64 / trials as f64);
    let denominator = 1.0 + z * z / n;
    let centre = (share + z * z / (2.0 * n)) / denominator;
    let reach = z / denominator * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    ((centre - reach).max(0.0), (centre + reach).min(1.0))
}

/// The share that is surely reached, with `z` standard deviations of certainty: the lower end of [`wilson`].
///
/// This is what a ranking by success should sort by: two of two is no better a record than ninety of a hundred. Without
/// trials it is 0, so what was never tried comes last. [`Moments::lower_bound`] is its counterpart for means.
///
/// ```
/// use agentvitals::statistics::{Z_95, lower_bound};
/// assert!(lower_bound(2, 2, Z_95) < lower_bound(90, 100, Z_95));
/// ```
pub fn lower_bound(hits: u64, trials: u64, z: f64) -> f64 {
    wilson(hits, trials, z).0
}

/// The Kullback-Leibler divergence of two coins, in nats: how much evidence one trial gives for the share `observed`
/// against the share `expected`. Chernoff's bound: the chance that `n` trials with the share `expected` show `observed`
/// or more (or less, on the other side) is at most `exp(-n * divergence)`.
///
/// ```
/// use agentvitals::statistics::divergence;
/// assert_eq!(divergence(0.1, 0.1), 0.0);
/// assert!(divergence(0.5, 0.1) > 0.5);
/// ```
pub fn divergence(observed: f64, expected: f64) -> f64 {
    let expected = expected.clamp(1e-9, 1.0 - 1e-9);
    let part = |share: f64, of: f64| if share <= 0.0 { 0.0 } else { share * (share / of).ln() };
    part(observed, expected) + part(1.0 - observed, 1.0 - expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_without_trials_knows_nothing() {
        assert_eq!(wilson(0, 0, Z_95), (0.0, 1.0));
        let (low, high) = wilson(0, 5, Z_95);
        assert!(low == 0.0 && (high - 0.4345).abs() < 1e-4, "{low} {high}");
    }
}

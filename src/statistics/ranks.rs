//! Two samples, compared by rank: latencies and costs are nowhere near normal.

use serde::{Deserialize, Serialize};

use super::normal::normal_two_sided;

/// How two samples differ by rank; see [`mann_whitney`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RankTest {
    /// How many pairs of a value of each sample have the larger one in the first sample; ties count half.
    pub u: f64,
    /// The share of such pairs: 0.5 if neither sample tends to be larger, 1 if the first one always is.
    pub superiority: f64,
    /// Standard deviations from what equal samples would show, corrected for ties and for continuity.
    pub z: f64,
    /// How often chance alone makes samples of one distribution differ as much or more, in either direction.
    pub p_value: f64,
}

/// The test of Mann and Whitney (1947), also named after Wilcoxon, in its normal approximation with correction for ties and
/// for continuity. Values that are no numbers are left out; `None` if a sample is empty then.
///
/// The approximation is fair from about 8 values on each side. For
/// `[1.1, 2.2, 2.2, 3.5, 4.0, 5.9, 6.1]` and `[2.2, 3.5, 5.0, 6.1, 7.7, 8.8, 9.0, 9.5]` U is 11 and p is 0.0549.
///
/// ```
/// use agentvitals::statistics::mann_whitney;
/// let before = [1.1, 2.2, 2.2, 3.5, 4.0, 5.9, 6.1];
/// let after = [2.2, 3.5, 5.0, 6.1, 7.7, 8.8, 9.0, 9.5];
/// let test = mann_whitney(&before, &after).unwrap();
/// assert_eq!(test.u, 11.0);
/// assert!((test.p_value - 0.054_881_096_7).abs() < 1e-9);
/// assert!(test.superiority < 0.2); // hardly ever was it larger before
/// ```
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Option<RankTest> {
    let mut values: Vec<(f64, bool)> = first
        .iter()
        .map(|value| (*value, true))
        .chain(second.iter().map(|value| (*value, false)))
        .filter(|(value, _)| !value.is_nan())
        .collect();
    values.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    // `==`, not the total order: 0 and -0 are tied.
    let groups = values.chunk_by(|one, other| one.0 == other.0).map(|tied| {
        let of_first = tied.iter().filter(|(_, is_first)| *is_first).count();
        (of_first as f64, (tied.len() - of_first) as f64)
    });
    test(groups)
}

/// [`mann_whitney`] of two histograms with the same buckets, in ascending order: what is in one bucket is tied. `None` if
/// one of them is empty. Buckets that only one of them has count as empty in the other one.
///
/// ```
/// use agentvitals::statistics::mann_whitney_counts;
/// let test = mann_whitney_counts(&[3, 5, 8, 2, 0], &[1, 2, 9, 7, 4]).unwrap();
/// assert_eq!(test.u, 102.5);
/// assert!((test.p_value - 0.004_221_282_8).abs() < 1e-9);
/// ```
pub fn mann_whitney_counts(first: &[u64], second: &[u64]) -> Option<RankTest> {
    let count = |of: &[u64], at: usize| of.get(at).copied().unwrap_or(0) as f64;
    test((0..first.len().max(second.len())).map(|at| (count(first, at), count(second, at))))
}

/// The test of groups of tied values in ascending order: how many of each sample are in a group.
fn test(groups: impl Iterator<Item = (f64, f64)>) -> Option<RankTest> {
    let (mut u, mut n1, mut n2, mut ties) = (0.0, 0.0, 0.0, 0.0);
    for (of_first, of_second) in groups {
        u += of_first * (n2 + 0.5 * of_second);
        n1 += of_first;
        n2 += of_second;
        let tied = of_first + of_second;
        ties += tied * tied * tied - tied;
    }
    if n1 == 0.0 || n2 == 0.0 {
        return None;
    }
    let (n, pairs) = (n1 + n2, n1 * n2);
    let variance = pairs / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)));
    let distance = u - pairs / 2.0;
    // A half towards the middle, for U moves in steps; and never across it.
    let corrected = (distance.abs() - 0.5).max(0.0).copysign(distance);
    // All values are tied: nothing differs. Rounding leaves a little of the variance then.
    let z = if variance > n * 1e-9 { corrected / variance.sqrt() } else { 0.0 };
    Some(RankTest { u, superiority: u / pairs, z, p_value: normal_two_sided(z) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_samples_do_not_differ() {
        let same = mann_whitney(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((same.u, same.superiority, same.z, same.p_value), (4.5, 0.5, 0.0, 1.0));
        let tied = mann_whitney(&[1.0; 3], &[1.0; 4]).unwrap();
        assert_eq!((tied.u, tied.p_value), (6.0, 1.0));
        assert_eq!(mann_whitney(&[0.0], &[-0.0]).unwrap().u, 0.5);
    }

    #[test]
    fn a_histogram_says_what_its_values_say() {
        let (a, b): ([u64; 4], [u64; 4]) = ([3, 0, 5, 1], [0, 2, 8, 9]);
        let values = |counts: &[u64]| -> Vec<f64> {
            counts
                .iter()
                .enumerate()
                .flat_map(|(at, count)| vec![at as f64; usize::try_from(*count).unwrap()])
                .collect()
        };
        let (one, other) =
            (mann_whitney_counts(&a, &b).unwrap(), mann_whitney(&values(&a), &values(&b)).unwrap());
        assert_eq!(one, other);
        // Of a million values each, too, and with buckets that one side lacks.
        let many = mann_whitney_counts(&[1_000_000_000, 10], &[1_000_000_000]).unwrap();
        assert!(many.z.is_finite() && many.superiority > 0.5);
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        assert_eq!(mann_whitney(&[f64::NAN], &[1.0]), None);
        assert_eq!(mann_whitney_counts(&[0, 0], &[1]), None);
        assert_eq!(mann_whitney(&[1.0, f64::NAN], &[2.0]), mann_whitney(&[1.0], &[2.0]));
    }
}

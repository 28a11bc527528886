//! Many tests at once.

/// The p-values after correction by Benjamini and Hochberg (1995), in the same order: of all tests whose corrected value is at
/// most 0.05, at most one in twenty is expected to be a false discovery. A value that is no number is taken for 1.
///
/// ```
/// use agentvitals::statistics::benjamini_hochberg;
/// let corrected = benjamini_hochberg(&[0.01, 0.04, 0.03, 0.005, 0.5]);
/// let expected = [0.025, 0.05, 0.05, 0.025, 0.5];
/// assert!(corrected.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-12));
/// ```
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let value = |at: usize| if p_values[at].is_nan() { 1.0 } else { p_values[at].clamp(0.0, 1.0) };
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_unstable_by(|one, other| value(*other).total_cmp(&value(*one)));
    let mut corrected = vec![1.0; p_values.len()];
    let mut least = 1.0_f64;
    // From the largest down: none is corrected to more than a larger one.
    for (above, at) in order.into_iter().enumerate() {
        let rank = p_values.len() - above;
        least = least.min(value(at) * p_values.len() as f64 / rank as f64);
        corrected[at] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_never_makes_a_value_smaller() {
        let values = [0.2, f64::NAN, 0.0, 0.9, 0.2, 7.0];
        let corrected = benjamini_hochberg(&values);
        assert!(values.iter().zip(&corrected).all(|(value, corrected)| {
            (0.0..=1.0).contains(corrected) && (value.is_nan() || *value > 1.0 || corrected >= value)
        }));
        assert_eq!(corrected[2], 0.0);
        assert!(benjamini_hochberg(&[]).is_empty());
    }
}

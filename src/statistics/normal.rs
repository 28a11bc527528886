//! The distributions that the tests compare with.

use statrs::function::beta::beta_reg;
use statrs::function::erf::{erfc, erfc_inv};

/// The share of a standard normal distribution that is below `z`.
///
/// ```
/// use agentvitals::statistics::normal_cdf;
/// assert!((normal_cdf(1.3) - 0.903_199_515_4).abs() < 1e-9);
/// ```
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}

/// How many standard deviations to each side hold the share `level` of a normal distribution: 1.96 for 0.95. A level
/// outside of 0 to 1 is taken for the nearest one that an interval can have.
///
/// ```
/// use agentvitals::statistics::{Z_95, z_of};
/// assert!((z_of(0.95) - Z_95).abs() < 1e-9);
/// assert!((z_of(0.80) - 1.281_551_565_6).abs() < 1e-9);
/// ```
pub fn z_of(level: f64) -> f64 {
    let level = if level.is_nan() { 0.0 } else { level.clamp(0.0, 1.0 - 1e-15) };
    std::f64::consts::SQRT_2 * erfc_inv(1.0 - level)
}

/// The chance of a normal value as far out as `z`, on either side.
pub(super) fn normal_two_sided(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2).clamp(0.0, 1.0)
}

/// How often chance alone makes a value of Student's t with so many degrees of freedom (more than 0) as far out as `t`, on
/// either side.
///
/// ```
/// use agentvitals::statistics::student_p_value;
/// assert!((student_p_value(2.1, 7.0) - 0.073_871_196).abs() < 1e-9);
/// ```
pub fn student_p_value(t: f64, freedom: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    beta_reg(freedom / 2.0, 0.5, (freedom / (freedom + t * t)).clamp(0.0, 1.0)).clamp(0.0, 1.0)
}

/// How far to each side of 0 the share `level` of Student's t with so many degrees of freedom (more than 0) reaches: what
/// [`z_of`] is for the normal distribution.
///
/// ```
/// use agentvitals::statistics::student_reach;
/// assert!((student_reach(0.8, 7.0) - 1.414_923_927).abs() < 1e-8);
/// ```
pub fn student_reach(level: f64, freedom: f64) -> f64 {
    let level = if level.is_nan() { 0.0 } else { level.clamp(0.0, 1.0 - 1e-12) };
    student_quantile((1.0 - level) / 2.0, freedom)
}

/// The value of Student's t that a value exceeds with the chance `above`, from 0 to 0.5: by bisection, since it is
/// asked for seldom and the chance falls steadily.
pub(super) fn student_quantile(above: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    while student_p_value(high, freedom) > 2.0 * above && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if student_p_value(middle, freedom) > 2.0 * above { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.t.ppf(.9, 7)`, `2 * scipy.stats.t.sf(2.1, 7)`.
    #[test]
    fn students_t_is_that_of_scipy() {
        assert!((student_quantile(0.1, 7.0) - 1.414_923_927_650_508_6).abs() < 1e-9);
        assert!((student_p_value(2.1, 7.0) - 0.073_871_196_212_922_65).abs() < 1e-12);
        assert_eq!(student_p_value(f64::INFINITY, 3.0), 0.0);
    }

    #[test]
    fn levels_that_are_none_are_taken_for_the_nearest() {
        assert_eq!(z_of(-1.0), 0.0);
        assert_eq!(z_of(f64::NAN), 0.0);
        assert!(z_of(2.0) > 7.0 && z_of(2.0).is_finite());
    }
}

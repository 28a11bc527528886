//! Money as whole nano-dollars: sums of them are exact, sums of floating-point dollars are not.

/// Billionths of a US dollar.
pub(super) type Nanos = u64;

const NANOS_PER_USD: f64 = 1e9;

/// The nano-dollars of an amount in US dollars; `None` for what is no amount.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
pub(super) fn from_usd(usd: f64) -> Option<Nanos> {
    let nanos = (usd * NANOS_PER_USD).round();
    // Up to here every whole number has an f64 of its own.
    (0.0..=9_007_199_254_740_992.0).contains(&nanos).then_some(nanos as Nanos)
}

/// US dollars, for display and JSON.
pub(super) fn to_usd(nanos: Nanos) -> f64 {
    nanos as f64 / NANOS_PER_USD
}

#[cfg(test)]
mod tests {
    use super::{from_usd, to_usd};

    #[test]
    fn amounts_survive_the_way_to_dollars_and_back() {
        for nanos in [0, 1, 999_999_999, 1_000_000_001, 14_725_712_345, 9_007_199_254_740_991] {
            assert_eq!(from_usd(to_usd(nanos)), Some(nanos));
        }
        for no_amount in [f64::NAN, f64::INFINITY, -0.5] {
            assert_eq!(from_usd(no_amount), None);
        }
    }
}

//! Numbers and times as people say them.

use std::fmt;
use std::time::Duration;

/// A number with three digits that matter.
pub(super) struct Number(pub(super) f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value == 0.0 || !value.is_finite() {
            return write!(f, "{}", if value == 0.0 { 0.0 } else { value });
        }
        // The digits before the point: 3 for 123.4.
        let before = value.abs().log10().floor() + 1.0;
        if !(-5.0..=15.0).contains(&before) {
            return write!(f, "{value:.2e}");
        }
        let decimals = (3.0 - before).max(0.0) as usize;
        let text = format!("{value:.decimals$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        f.write_str(if text == "-0" { "0" } else { text })
    }
}

/// A number with its unit, which may be none.
pub(super) struct Quantity<'a>(pub(super) f64, pub(super) &'a str);

impl fmt::Display for Quantity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Number(self.0).fmt(f)?;
        match self.1 {
            // The conventions write the unit of plain numbers and shares as 1.
            "" | "1" => Ok(()),
            unit => write!(f, " {unit}"),
        }
    }
}

/// The unit that suits a time, and its seconds.
fn unit_of(time: Duration) -> (&'static str, f64) {
    match time.as_secs_f64() {
        seconds if seconds < 100.0 => ("s", 1.0),
        seconds if seconds < 100.0 * 60.0 => ("min", 60.0),
        seconds if seconds < 48.0 * 3_600.0 => ("h", 3_600.0),
        _ => ("d", 86_400.0),
    }
}

fn amount(time: Duration, seconds: f64) -> String {
    let amount = time.as_secs_f64() / seconds;
    // Half an hour matters in 1.5 h, not in 30 h.
    if amount < 10.0 && seconds >= 3_600.0 {
        let text = format!("{amount:.1}");
        text.trim_end_matches(".0").to_owned()
    } else {
        format!("{amount:.0}")
    }
}

/// `40 min`.
pub(super) fn time(time: Duration) -> String {
    let (unit, seconds) = unit_of(time);
    format!("{} {unit}", amount(time, seconds))
}

/// `31 to 55 min`.
pub(super) fn times(from: Duration, to: Duration) -> String {
    let (unit, seconds) = unit_of(to);
    let (from, to) = (amount(from, seconds), amount(to, seconds));
    if from == to { format!("{to} {unit}") } else { format!("{from} to {to} {unit}") }
}

/// Times as seconds in documents.
pub(super) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(in crate::forecast) fn serialize<S: Serializer>(
        time: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(time.as_secs_f64())
    }

    pub(in crate::forecast) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Times that may be absent, as seconds in documents.
pub(super) mod maybe_seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de};

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(in crate::forecast) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.as_ref().map(Duration::as_secs_f64).serialize(serializer)
    }

    pub(in crate::forecast) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_matter() {
        let texts =
            [0.0, 3.0, 2.846, 0.012_34, 1_234.5, -0.5, 99.95, 1e-9, 1e20].map(|n| Number(n).to_string());
        assert_eq!(texts, ["0", "3", "2.85", "0.0123", "1234", "-0.5", "100", "1.00e-9", "1.00e20"]);
        assert_eq!(Quantity(3.0, "s").to_string(), "3 s");
        assert_eq!(Quantity(0.25, "1").to_string(), "0.25");
    }

    #[test]
    fn times_are_said_in_the_unit_that_suits_them() {
        let texts = [30, 2_400, 5_400, 7_200, 90_000, 400_000].map(|s| time(Duration::from_secs(s)));
        assert_eq!(texts, ["30 s", "40 min", "90 min", "2 h", "25 h", "4.6 d"].map(str::to_owned));
        assert_eq!(times(Duration::from_secs(1_860), Duration::from_secs(3_300)), "31 to 55 min");
        assert_eq!(times(Duration::ZERO, Duration::from_secs(10)), "0 to 10 s");
    }
}

//! How fast recorded time goes by in a replay.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What recorded durations are divided by.
///
/// ```
/// use std::time::Duration;
/// use agentvitals_collector::demo::Speed;
/// let speed: Speed = "10".parse()?;
/// assert_eq!(speed.scale(Some(Duration::from_secs(5))), Duration::from_millis(500));
/// assert_eq!("max".parse::<Speed>()?.scale(Some(Duration::from_secs(5))), Duration::ZERO);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed(Option<f64>);

impl Speed {
    /// No waiting at all.
    pub const MAX: Self = Self(None);
    /// What the demo uses unless told otherwise: the built-in runs are over in two seconds, and their calls are
    /// still far enough apart to be told from each other.
    pub const DEFAULT: Self = Self(Some(20.0));

    /// How long a step waits that took `recorded`. What has no recorded duration does not wait.
    pub fn scale(self, recorded: Option<Duration>) -> Duration {
        let (Self(Some(factor)), Some(recorded)) = (self, recorded) else {
            return Duration::ZERO;
        };
        // A tiny factor can stretch a duration beyond what a Duration holds.
        Duration::try_from_secs_f64(recorded.as_secs_f64() / factor).unwrap_or(Duration::MAX)
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("max") {
            return Ok(Self::MAX);
        }
        match text.parse::<f64>() {
            Ok(factor) if factor.is_finite() && factor >= 0.001 => Ok(Self(Some(factor))),
            _ => Err("expected `max` or a number of at least 0.001 (10 is ten times as fast as recorded)"
                .to_owned()),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(factor) => write!(f, "{factor}"),
            None => f.write_str("max"),
        }
    }
}

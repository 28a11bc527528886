//! How far off forecasts were.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far off forecasts were, over all that were compared with what came.
///
/// What has no meaning is absent: [`mape`](Self::mape) where all values were 0, [`mase`](Self::mase) where the series never
/// changed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Accuracy {
    /// Forecasts that were compared.
    pub count: u64,
    /// The mean absolute error, in the unit of the series.
    pub mae: f64,
    /// The mean absolute error as a share of the true value (0.1 = 10 %), over those whose true value is not 0.
    pub mape: Option<f64>,
    /// The symmetric form of it, `2 |f - y| / (|f| + |y|)`, 0 to 2; of two zeros it is 0.
    pub smape: f64,
    /// The mean absolute error as a multiple of that of "the next value is the last one" (Hyndman and Koehler 2006).
    pub mase: Option<f64>,
    /// The mean of forecast minus value: above 0 if too much was forecast.
    pub bias: f64,
    /// The share of the values that were inside of the interval; absent where no interval was compared.
    pub coverage: Option<f64>,
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mape {
            _ if self.count == 0 => f.write_str("nothing compared yet"),
            Some(mape) => write!(f, "off by {:.1} % on average", mape * 100.0),
            None => write!(f, "off by {} on average", super::text::Number(self.mae)),
        }
    }
}

/// Sums that make an [`Accuracy`].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Errors {
    count: u64,
    absolute: f64,
    signed: f64,
    relative: f64,
    /// Those whose true value is not 0.
    nonzero: u64,
    symmetric: f64,
    scaled: f64,
    /// Those with a scale.
    with_scale: u64,
    inside: u64,
    /// Those with an interval.
    with_interval: u64,
}

impl Errors {
    /// Compares a forecast with what came. `scale` is the error of the naive forecast one step ahead.
    pub(super) fn add(&mut self, forecast: f64, value: f64, scale: f64) {
        let error = (forecast - value).abs();
        self.count += 1;
        self.absolute += error;
        self.signed += forecast - value;
        if value != 0.0 {
            self.relative += error / value.abs();
            self.nonzero += 1;
        }
        let both = forecast.abs() + value.abs();
        if both > 0.0 {
            self.symmetric += 2.0 * error / both;
        }
        if scale > 0.0 {
            self.scaled += error / scale;
            self.with_scale += 1;
        }
    }

    /// Notes whether a value was inside of its interval.
    pub(super) fn add_interval(&mut self, is_inside: bool) {
        self.with_interval += 1;
        self.inside += u64::from(is_inside);
    }

    pub(super) fn mae(&self) -> f64 {
        if self.count == 0 { f64::INFINITY } else { self.absolute / self.count as f64 }
    }

    pub(super) fn accuracy(&self) -> Accuracy {
        let mean = |sum: f64, count: u64| (count > 0).then(|| sum / count as f64);
        Accuracy {
            count: self.count,
            mae: mean(self.absolute, self.count).unwrap_or(0.0),
            mape: mean(self.relative, self.nonzero),
            smape: mean(self.symmetric, self.count).unwrap_or(0.0),
            mase: mean(self.scaled, self.with_scale),
            bias: mean(self.signed, self.count).unwrap_or(0.0),
            coverage: mean(self.inside as f64, self.with_interval),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_what_their_formulas_say_and_zeros_spoil_none() {
        let mut errors = Errors::default();
        assert_eq!(errors.accuracy().to_string(), "nothing compared yet");
        errors.add(12.0, 10.0, 4.0);
        errors.add(1.0, 0.0, 4.0);
        errors.add(0.0, 0.0, 4.0);
        errors.add_interval(true);
        errors.add_interval(false);
        let accuracy = errors.accuracy();
        assert_eq!((accuracy.count, accuracy.mae, accuracy.bias), (3, 1.0, 1.0));
        assert_eq!((accuracy.mape, accuracy.mase, accuracy.coverage), (Some(0.2), Some(0.25), Some(0.5)));
        assert!((accuracy.smape - (4.0 / 22.0 + 2.0) / 3.0).abs() < 1e-12);
        let mut zeros = Errors::default();
        zeros.add(0.5, 0.0, 0.0);
        assert_eq!((zeros.accuracy().mape, zeros.accuracy().mase), (None, None));
        assert_eq!(zeros.accuracy().to_string(), "off by 0.5 on average");
    }
}

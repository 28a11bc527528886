//! How good forecasts turned out to be. There are no conventions for it: all names are ours.

/// Attribute keys.
pub mod attr {
    /// What was forecast.
    pub const SERIES: &str = "agentvitals.forecast.series";
}

/// Metric names: gauges, by [`attr::SERIES`].
pub mod metric {
    /// Forecasts that were compared with what came.
    pub const COMPARED: &str = "agentvitals.forecast.compared";
    /// The mean absolute error, in the unit of the series.
    pub const MAE: &str = "agentvitals.forecast.mae";
    /// The mean absolute error as a share of the true value.
    pub const MAPE: &str = "agentvitals.forecast.mape";
    /// The symmetric form of it, 0 to 2.
    pub const SMAPE: &str = "agentvitals.forecast.smape";
    /// The mean absolute error as a multiple of the naive forecast's.
    pub const MASE: &str = "agentvitals.forecast.mase";
    /// The share of the values that were inside of the interval.
    pub const COVERAGE: &str = "agentvitals.forecast.coverage";
}

//! Whether a series rises or falls, or only seems to.

use super::Trend;
use super::grid::Grid;
use crate::statistics::student_p_value;

/// What counts as more than chance.
const SIGNIFICANT: f64 = 0.05;

/// A bent series is not looked at in shorter parts than this.
const FEWEST: usize = 10;

/// The trend of the last `points` steps: the t-test of the slope of the least-squares line, with as many values as they are
/// worth. Values that follow each other are alike, so `n` of them are worth `n (1 - r) / (1 + r)` independent ones, where `r`
/// is the correlation of neighbouring residuals (Bayley and Hammersley 1946).
pub(super) fn trend(grid: &Grid, points: usize) -> Trend {
    let points = points.min(grid.len());
    let first = grid.len().saturating_sub(points);
    let values: Vec<(f64, f64)> =
        grid.filled_in(first..grid.len()).map(|(at, value, _)| (at as f64, value)).collect();
    let n = values.len() as f64;
    if values.len() < 5 {
        return Trend::Flat;
    }
    let (t, y) = values.iter().fold((0.0, 0.0), |sum, (t, y)| (sum.0 + t / n, sum.1 + y / n));
    let (mut tt, mut ty) = (0.0, 0.0);
    for (at, value) in &values {
        tt += (at - t) * (at - t);
        ty += (at - t) * (value - y);
    }
    let slope = ty / tt;
    let residuals: Vec<f64> = values.iter().map(|(at, value)| value - y - slope * (at - t)).collect();
    let squares: f64 = residuals.iter().map(|residual| residual * residual).sum();
    let neighbours: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
    // A straight line without noise, but for rounding.
    if squares <= 1e-18 * tt * slope * slope {
        return direction(slope);
    }
    // In the first order the estimate is too small by (1 + 3 r) / n.
    let r = neighbours / squares;
    let r = (r + (1.0 + 3.0 * r) / n).clamp(0.0, 0.99);
    let worth = n * (1.0 - r) / (1.0 + r);
    if worth <= 3.0 {
        // It bends: what it does now shows in its newer half.
        return if points >= 2 * FEWEST { trend(grid, points / 2) } else { Trend::Flat };
    }
    let error = (squares / n / (worth - 2.0) / (tt / n)).sqrt();
    if student_p_value(slope / error, worth - 2.0) < SIGNIFICANT { direction(slope) } else { Trend::Flat }
}

fn direction(slope: f64) -> Trend {
    if slope > 0.0 {
        Trend::Rising
    } else if slope < 0.0 {
        Trend::Falling
    } else {
        Trend::Flat
    }
}

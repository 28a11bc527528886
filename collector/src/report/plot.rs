//! Small plots as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 96.0;
const LEFT: f64 = 64.0;

/// A line through values, evenly apart; gaps where there is none. `title` and `top` (the greatest value, as it is to be read)
/// must be escaped.
pub(super) fn line(title: &str, values: &[Option<f64>], top: &str) -> String {
    let most = values.iter().flatten().copied().fold(0.0_f64, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "places on a screen")]
    let (step, scale) = (
        (WIDTH - LEFT) / values.len().saturating_sub(1).max(1) as f64,
        if most > 0.0 { (HEIGHT - 24.0) / most } else { 0.0 },
    );
    let mut path = String::new();
    let mut drawn = false;
    for (place, value) in values.iter().enumerate() {
        let Some(value) = value else {
            drawn = false;
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "places on a screen")]
        let (x, y) = (LEFT + place as f64 * step, HEIGHT - 8.0 - value * scale);
        // Writing to a string cannot fail.
        let _ = write!(path, "{}{x:.1} {y:.1}", if drawn { "L" } else { "M" });
        drawn = true;
    }
    format!(
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}, at most {top}\">\
         <line class=\"axis\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{WIDTH}\" y2=\"{y}\"/><text x=\"0\" y=\"20\">{top}</text>\
         <text x=\"0\" y=\"{y}\">0</text><path d=\"{path}\"/></svg></figure>\n",
        y = HEIGHT - 8.0
    )
}

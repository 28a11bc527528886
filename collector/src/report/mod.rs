//! Reports as people read them: a table, Markdown, HTML with plots.

mod html;
mod markdown;
mod plot;

pub use html::html;
pub use markdown::{comparison, markdown};

use crate::query::report::Line;

/// Seconds, short.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 120.0 => format!("{seconds:.2} s"),
        seconds => format!("{:.1} min", seconds / 60.0),
    }
}

/// Billionths of a dollar as dollars, to the hundredth of a cent.
#[expect(clippy::cast_precision_loss, reason = "shown to the hundredth of a cent")]
pub(crate) fn dollars(nano: u64, unpriced: u64) -> String {
    let more = if unpriced > 0 { "+" } else { "" };
    format!("${:.4}{more}", nano as f64 / 1e9)
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A time as people write it.
pub(crate) fn time(nanos: i64) -> String {
    let text = crate::api::time::rfc3339(nanos);
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// The columns of a table of lines.
pub(crate) const COLUMNS: [&str; 9] =
    ["", "count", "failed", "p50", "p95", "p99", "tokens", "cost", "most errors"];

/// The cells of a line.
pub(crate) fn cells(line: &Line) -> [String; 9] {
    let most = line.errors_by_type.iter().max_by_key(|(_, count)| **count);
    [
        if line.name.is_empty() { "(unnamed)".to_owned() } else { line.name.clone() },
        line.count.to_string(),
        percent(line.error_rate.value),
        seconds(line.p50_s),
        seconds(line.p95_s),
        seconds(line.p99_s),
        (line.input_tokens + line.output_tokens).to_string(),
        dollars(line.cost_nano, line.unpriced),
        most.map_or_else(String::new, |(error, count)| format!("{error} ({count})")),
    ]
}

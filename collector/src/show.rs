//! What is drawn on a terminal by more than one command.

use std::io::{self, Write};

use crate::query::request::Span;

/// Columns of a waterfall's bars.
const BARS: usize = 40;

/// Control characters replaced: names come from senders, and a terminal obeys them.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Draws the spans of one trace below each other, `lines` of them at most.
pub(crate) fn waterfall(spans: &[Span], lines: usize, out: &mut dyn Write) -> io::Result<()> {
    let end = |span: &Span| span.start_unix_nano.saturating_add(span.duration_ns);
    let start = spans.iter().map(|span| span.start_unix_nano).min().unwrap_or(0);
    let whole = spans.iter().map(end).max().unwrap_or(0).saturating_sub(start).max(1);
    let id = spans.first().map_or("", |span| span.trace_id.as_str());
    writeln!(out, "trace {id}  {} spans  {}", spans.len(), duration(whole))?;
    for (depth, span) in tree(spans).into_iter().take(lines) {
        let place = |nanos: i64| {
            usize::try_from(i128::from(nanos) * BARS as i128 / i128::from(whole)).unwrap_or(0).min(BARS)
        };
        let from = place(span.start_unix_nano - start).min(BARS - 1);
        let to = place(end(span) - start).clamp(from + 1, BARS);
        let bar: String = (0..BARS).map(|at| if (from..to).contains(&at) { '█' } else { '·' }).collect();
        let name: String =
            format!("{}{}", "  ".repeat(depth.min(20)), clean(&span.name)).chars().take(44).collect();
        let mark = if span.status == "error" { " error" } else { "" };
        writeln!(out, "{name:<44} {bar} {:>9}{mark}", duration(span.duration_ns))?;
    }
    match spans.len().saturating_sub(lines) {
        0 => Ok(()),
        more => writeln!(out, "and {more} more spans"),
    }
}

/// The spans below each other, by start; one whose parent is not there is at the top.
fn tree(spans: &[Span]) -> Vec<(usize, &Span)> {
    let known = |id: &str| spans.iter().any(|span| span.span_id == id);
    let mut waiting: Vec<(usize, &Span)> = spans
        .iter()
        .rev()
        .filter(|span| span.parent_span_id.as_deref().is_none_or(|id| !known(id)))
        .map(|span| (0, span))
        .collect();
    let mut out = Vec::with_capacity(spans.len());
    // Spans that name each other as parents are below nothing, and are not shown twice either.
    while let Some((depth, span)) = waiting.pop() {
        out.push((depth, span));
        let below = spans.iter().rev().filter(|other| other.parent_span_id.as_ref() == Some(&span.span_id));
        waiting.extend(below.filter(|other| other.span_id != span.span_id).map(|other| (depth + 1, other)));
    }
    out
}

/// A time that passed, with three digits or so.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn duration(nanos: i64) -> String {
    let nanos = nanos as f64;
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n if n < 1e9 => format!("{:.1} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

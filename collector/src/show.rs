//! What is drawn on a terminal by more than one command.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use agentvitals::semconv::attr;

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
        let pending = span.attributes.get(attr::SPAN_PENDING) == Some(&true.into());
        let mark = match span.status.as_str() {
            _ if pending => " or more: not over",
            "error" => " error",
            _ => "",
        };
        writeln!(out, "{name:<44} {bar} {:>9}{mark}", duration(span.duration_ns))?;
    }
    match spans.len().saturating_sub(lines) {
        0 => Ok(()),
        more => writeln!(out, "and {more} more spans"),
    }
}

/// The spans below each other, by start, each once; one whose parent is not there is at the top.
fn tree(spans: &[Span]) -> Vec<(usize, &Span)> {
    let known: HashSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let mut below: HashMap<&str, Vec<&Span>> = HashMap::new();
    let mut top = Vec::new();
    for span in spans.iter().rev() {
        match span.parent_span_id.as_deref().filter(|id| known.contains(id)) {
            Some(parent) => below.entry(parent).or_default().push(span),
            None => top.push(span),
        }
    }
    let mut out = Vec::with_capacity(spans.len());
    draw(top, &mut below, &mut out);
    // What is left names each other as parents, and so has no top of its own.
    for span in spans {
        let first = span.parent_span_id.as_deref().and_then(|parent| {
            let siblings = below.get_mut(parent)?;
            let place = siblings.iter().position(|sibling| std::ptr::eq(*sibling, span))?;
            Some(siblings.remove(place))
        });
        draw(first.into_iter().collect(), &mut below, &mut out);
    }
    out
}

/// Spans with all that is below them, which is taken out.
fn draw<'a>(
    top: Vec<&'a Span>,
    below: &mut HashMap<&'a str, Vec<&'a Span>>,
    out: &mut Vec<(usize, &'a Span)>,
) {
    let mut waiting: Vec<(usize, &Span)> = top.into_iter().map(|span| (0, span)).collect();
    while let Some((depth, span)) = waiting.pop() {
        out.push((depth, span));
        let children = below.remove(span.span_id.as_str()).unwrap_or_default();
        waiting.extend(children.into_iter().map(|child| (depth + 1, child)));
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn span(id: &str, parent: Option<&str>, start: i64) -> Span {
        Span {
            name: id.to_owned(),
            span_id: id.to_owned(),
            parent_span_id: parent.map(str::to_owned),
            start_unix_nano: start,
            duration_ns: 5,
            ..Span::default()
        }
    }

    #[test]
    fn each_span_is_drawn_once_wherever_it_says_it_belongs() {
        let spans = [
            span("root", None, 1),
            span("first", Some("root"), 2),
            span("second", Some("root"), 3),
            span("below", Some("first"), 4),
            span("orphan", Some("elsewhere"), 5),
            // The same id twice, as of a client and its server; its own parent; each other's parents.
            span("first", Some("root"), 6),
            span("itself", Some("itself"), 7),
            span("one", Some("other"), 8),
            span("other", Some("one"), 9),
        ];
        let drawn: Vec<(usize, &str)> =
            tree(&spans).into_iter().map(|(depth, span)| (depth, span.name.as_str())).collect();
        let expected = [
            (0, "root"),
            (1, "first"),
            (2, "below"),
            (1, "second"),
            (1, "first"),
            (0, "orphan"),
            (0, "itself"),
            (0, "one"),
            (1, "other"),
        ];
        assert_eq!(drawn, expected);
    }

    #[test]
    fn what_is_not_over_is_told() {
        let mut running = span("root", None, 1);
        running.attributes.insert(attr::SPAN_PENDING.to_owned(), true.into());
        let mut out = Vec::new();
        waterfall(&[running], 10, &mut out).unwrap();
        let drawn = String::from_utf8(out).unwrap();
        assert!(drawn.lines().nth(1).is_some_and(|line| line.ends_with("5 ns or more: not over")), "{drawn}");
    }
}

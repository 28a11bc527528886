//! Reports in Markdown.

use std::fmt::Write as _;

use super::{COLUMNS, cells, dollars, percent, seconds, time};
use crate::query::report::{Comparison, CostLine, Judged, Line, Report};

/// Text that is no Markdown, and of one line.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '!' | '&' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn row<S: AsRef<str>>(out: &mut String, cells: impl IntoIterator<Item = S>) {
    out.push('|');
    for cell in cells {
        // Writing to a string cannot fail.
        let _ = write!(out, " {} |", cell.as_ref());
    }
    out.push('\n');
}

fn table<const N: usize>(out: &mut String, header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    row(out, header);
    row(out, header.map(|_| "---"));
    for cells in rows {
        row(out, cells.map(|cell| plain(&cell)));
    }
    out.push('\n');
}

fn lines(out: &mut String, title: &str, lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    let _ = write!(out, "## {title}\n\n");
    table(out, COLUMNS, lines.iter().map(cells));
}

fn costs(out: &mut String, title: &str, lines: &[CostLine]) {
    if lines.is_empty() {
        return;
    }
    let _ = write!(out, "### {title}\n\n");
    table(
        out,
        ["", "requests", "tokens", "cost"],
        lines.iter().map(|line| {
            let name = if line.name.is_empty() { "(unnamed)".to_owned() } else { line.name.clone() };
            [name, line.requests.to_string(), line.tokens.to_string(), dollars(line.cost_nano, line.unpriced)]
        }),
    );
}

/// A report in Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    let _ = write!(out, "# Agents from {} to {} UTC\n\n", time(report.start), time(report.end));
    let totals = &report.totals;
    let _ = write!(
        out,
        "{} operations, {} failed ({}), {} for {} model calls{}.\n\n",
        totals.count,
        totals.errors,
        percent(totals.error_rate.value),
        dollars(totals.cost_nano, 0),
        report.costs.total.requests,
        match report.costs.total.unpriced {
            0 => String::new(),
            calls => format!("; the price of {calls} of them is unknown"),
        }
    );
    recommendations(&mut out, report);
    lines(&mut out, "Agents", &report.agents);
    lines(&mut out, "Models", &report.models);
    lines(&mut out, "Tools", &report.tools);
    lines(&mut out, "Workflows", &report.workflows);
    errors(&mut out, report);
    selection(&mut out, report);
    if report.costs.total.requests > 0 {
        out.push_str("## Cost\n\nA `+` says that the price of some calls is unknown.\n\n");
        costs(&mut out, "By model", &report.costs.by_model);
        costs(&mut out, "By agent", &report.costs.by_agent);
        costs(&mut out, "By conversation", &report.costs.by_conversation);
    }
    if !report.correlations.is_empty() {
        out.push_str("## What goes along with what\n\n");
        for together in &report.correlations {
            let sure = if together.p_value <= 0.05 { "" } else { ", which may be chance" };
            let _ = writeln!(
                out,
                "- {}: {:+.2} over {} steps (p = {:.3}){sure}",
                together.what, together.coefficient, together.n, together.p_value
            );
        }
        out.push('\n');
    }
    out
}

fn recommendations(out: &mut String, report: &Report) {
    out.push_str("## What could be better\n\n");
    if report.recommendations.is_empty() {
        out.push_str("Nothing that the numbers of this window would show.\n\n");
        return;
    }
    for one in &report.recommendations {
        let _ =
            write!(out, "- **{}**: {}. {}", plain(&one.subject), plain(&one.advice), plain(&one.evidence));
        if one.saves_s >= 1.0 {
            let _ = write!(out, "; saves about {}", seconds(one.saves_s));
        }
        if one.saves_usd >= 0.01 {
            let _ = write!(out, "; saves about ${:.2}", one.saves_usd);
        }
        if let Some(trace) = one.trace_ids.first() {
            let _ = write!(out, "; see trace {trace}");
        }
        out.push('\n');
    }
    out.push('\n');
}

fn errors(out: &mut String, report: &Report) {
    if report.errors.is_empty() {
        return;
    }
    out.push_str("## Errors\n\n");
    let last = |nanos: Option<i64>| nanos.map_or_else(String::new, time);
    table(
        out,
        ["whose", "error", "message", "count", "share", "first", "last", "trace"],
        report.errors.iter().map(|cluster| {
            [
                cluster.subject.clone(),
                cluster.error_type.clone(),
                cluster.message.clone(),
                cluster.count.to_string(),
                percent(cluster.share),
                last(cluster.first_seen),
                last(cluster.last_seen),
                cluster.trace_ids.first().cloned().unwrap_or_default(),
            ]
        }),
    );
}

fn selection(out: &mut String, report: &Report) {
    if report.ranking.is_empty() {
        return;
    }
    out.push_str("## Tools for selection\n\nBy the lower end of the share that succeeds, times speed.\n\n");
    let share = |share: &crate::query::report::Share| {
        format!("{} ({} to {})", percent(share.value), percent(share.low), percent(share.high))
    };
    table(
        out,
        ["tool", "score", "succeeds", "run fails if it fails", "runs succeed with / without it"],
        report.ranking.iter().map(|ranked| {
            let failing = if ranked.failing { " failing" } else { "" };
            [
                format!("{}{failing}", ranked.tool),
                format!("{:.3}", ranked.score),
                share(&ranked.success),
                ranked.run_fails_if_it_fails.as_ref().map_or_else(String::new, share),
                ranked.with_and_without.as_ref().map_or_else(String::new, |(with, without)| {
                    format!("{} / {}", percent(with.value), percent(without.value))
                }),
            ]
        }),
    );
    if !report.sequences.is_empty() {
        out.push_str("### Which follows which\n\n");
        table(
            out,
            ["before", "after", "times"],
            report.sequences.iter().map(|one| [one.before.clone(), one.after.clone(), one.count.to_string()]),
        );
    }
}

/// A comparison in Markdown.
pub fn comparison(comparison: &Comparison) -> String {
    let mut out = format!(
        "# {} and {}\n\n{} worse, {} better.\n\n",
        plain(&comparison.a),
        plain(&comparison.b),
        comparison.worse,
        comparison.better
    );
    let number = |what: &str, value: f64| match what {
        "error_rate" => percent(value),
        "p50_s" | "p95_s" => seconds(value),
        "cost_usd" => format!("${value:.5}"),
        _ => format!("{value:.0}"),
    };
    table(
        &mut out,
        ["", "figure", "before", "after", "n", "p", "means"],
        comparison.differences.iter().map(|one| {
            let judged = match one.judged {
                Judged::Better => "better",
                Judged::Worse => "worse",
                Judged::Same => "same",
                Judged::NotEnoughData => "not enough data",
            };
            [
                one.subject.clone(),
                one.what.clone(),
                number(&one.what, one.a),
                number(&one.what, one.b),
                format!("{} / {}", one.n.0, one.n.1),
                one.p_value.map_or_else(String::new, |p| format!("{p:.3}")),
                judged.to_owned(),
            ]
        }),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_markdown() {
        let hostile = "<script>|`*_[x](y)\n# big";
        let report =
            Report { tools: vec![Line { name: hostile.to_owned(), ..Line::default() }], ..Report::default() };
        let text = markdown(&report);
        let line = text.lines().find(|line| line.contains("script")).unwrap();
        assert!(line.starts_with("| \\<script\\>\\|\\`\\*\\_\\[x\\](y) \\# big | 0 |"), "{line}");
    }
}

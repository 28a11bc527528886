//! Reports as one HTML file: no script, nothing from elsewhere, light and dark.

use std::fmt::Write as _;

use super::{COLUMNS, cells, dollars, percent, plot, seconds, time};
use crate::query::report::{Line, Report};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#2563eb;--edge:#8884}\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;display:block;overflow-x:auto}th,td{padding:.25rem .6rem;border-bottom:1px solid var(--edge);text-align:left}\
td:nth-child(n+2){font-variant-numeric:tabular-nums}figure{margin:1rem 0}figcaption{font-weight:600}svg{width:100%;height:auto}\
svg path{fill:none;stroke:var(--line);stroke-width:2}svg .axis{stroke:var(--edge)}svg text{font-size:11px;fill:currentColor}\
code{font-size:.85em}";

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn table<const N: usize>(out: &mut String, header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    out.push_str("<table><thead><tr>");
    for cell in header {
        // Writing to a string cannot fail.
        let _ = write!(out, "<th scope=\"col\">{cell}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    for cells in rows {
        out.push_str("<tr>");
        for cell in cells {
            let _ = write!(out, "<td>{}</td>", escaped(&cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
}

fn lines(out: &mut String, title: &str, lines: &[Line]) {
    if !lines.is_empty() {
        let _ = writeln!(out, "<h2>{title}</h2>");
        table(out, COLUMNS, lines.iter().map(cells));
    }
}

/// A report as an HTML file.
pub fn html(report: &Report) -> String {
    let title = format!("Agents from {} to {} UTC", time(report.start), time(report.end));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    let totals = &report.totals;
    let _ = writeln!(
        out,
        "<p>{} operations, {} failed ({}), {} for {} model calls.</p>",
        totals.count,
        totals.errors,
        percent(totals.error_rate.value),
        dollars(totals.cost_nano, report.costs.total.unpriced),
        report.costs.total.requests
    );
    plots(&mut out, report);
    out.push_str("<h2>What could be better</h2>\n");
    if report.recommendations.is_empty() {
        out.push_str("<p>Nothing that the numbers of this window would show.</p>\n");
    } else {
        out.push_str("<ul>\n");
        for one in &report.recommendations {
            let trace =
                one.trace_ids.first().map_or_else(String::new, |id| format!(" <code>{}</code>", escaped(id)));
            let _ = writeln!(
                out,
                "<li><strong>{}</strong>: {}. {}{trace}</li>",
                escaped(&one.subject),
                escaped(&one.advice),
                escaped(&one.evidence)
            );
        }
        out.push_str("</ul>\n");
    }
    lines(&mut out, "Agents", &report.agents);
    lines(&mut out, "Models", &report.models);
    lines(&mut out, "Tools", &report.tools);
    lines(&mut out, "Workflows", &report.workflows);
    if !report.errors.is_empty() {
        out.push_str("<h2>Errors</h2>\n");
        table(
            &mut out,
            ["whose", "error", "message", "count", "share", "trace"],
            report.errors.iter().map(|cluster| {
                let trace = cluster.trace_ids.first().cloned().unwrap_or_default();
                let (count, share) = (cluster.count.to_string(), percent(cluster.share));
                [
                    cluster.subject.clone(),
                    cluster.error_type.clone(),
                    cluster.message.clone(),
                    count,
                    share,
                    trace,
                ]
            }),
        );
    }
    if report.costs.total.requests > 0 {
        out.push_str("<h2>Cost by model</h2>\n");
        let rows = report.costs.by_model.iter().map(|line| {
            [
                line.name.clone(),
                line.requests.to_string(),
                line.tokens.to_string(),
                dollars(line.cost_nano, line.unpriced),
            ]
        });
        table(&mut out, ["model", "requests", "tokens", "cost"], rows);
    }
    out.push_str("</body></html>\n");
    out
}

#[expect(clippy::cast_precision_loss, reason = "places on a screen")]
fn plots(out: &mut String, report: &Report) {
    if report.trend.len() < 2 {
        return;
    }
    let all = |value: &dyn Fn(&crate::query::report::Step) -> Option<f64>| -> Vec<Option<f64>> {
        report.trend.iter().map(value).collect()
    };
    let top = |values: &[Option<f64>]| values.iter().flatten().copied().fold(0.0_f64, f64::max);
    let counts = all(&|step| Some(step.count as f64));
    out.push_str(&plot::line("Operations", &counts, &format!("{:.0}", top(&counts))));
    let errors = all(&|step| (step.count > 0).then(|| step.errors as f64 / step.count as f64));
    out.push_str(&plot::line("Share that failed", &errors, &percent(top(&errors))));
    let p95 = all(&|step| step.p95_s);
    out.push_str(&plot::line("p95 of model calls", &p95, &seconds(top(&p95))));
    let cost = all(&|step| Some(step.cost_nano as f64 / 1e9));
    out.push_str(&plot::line("Cost", &cost, &format!("${:.4}", top(&cost))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::report::{Cluster, Step};

    #[test]
    fn names_are_no_html() {
        let hostile = "<img src=x onerror=alert(1)>\"'&";
        let report = Report {
            tools: vec![Line { name: hostile.to_owned(), ..Line::default() }],
            errors: vec![Cluster { message: hostile.to_owned(), ..Cluster::default() }],
            trend: vec![Step::default(), Step { count: 3, errors: 1, ..Step::default() }],
            ..Report::default()
        };
        let text = html(&report);
        assert!(!text.contains("<img"), "{text}");
        assert_eq!(text.matches("&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;").count(), 2);
        assert_eq!(text.matches("<svg").count(), 4);
        assert!(!text.contains("<script") && !text.contains("http"), "nothing from elsewhere");
    }
}

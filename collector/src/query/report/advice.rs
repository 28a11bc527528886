//! What the figures of a report say could be better.

use super::{Line, Recommendation, Report};

/// Recommendations at most.
const MOST: usize = 10;
/// Calls before figures say something.
const ENOUGH: u64 = 30;
/// A p99 that is so many times the median is a tail that a deadline would cut.
const TAIL: f64 = 20.0;
/// Prompts of more tokens in the mean are large.
const LARGE_PROMPT: f64 = 20_000.0;

/// What is advised, what saves most first. `found` is what single runs have shown.
pub(crate) fn recommend(report: &Report, found: Vec<Recommendation>) -> Vec<Recommendation> {
    let mut all = found;
    for tool in &report.tools {
        all.extend(failing(report, tool));
        all.extend(tail("tool", tool));
        all.extend(slow("tool", tool));
    }
    for model in &report.models {
        all.extend(tail("model", model));
        all.extend(slow("model", model));
        all.extend(large(model));
    }
    // A dollar is worth ten minutes.
    let gain = |one: &Recommendation| one.saves_s + one.saves_usd * 600.0;
    all.sort_by(|a, b| gain(b).total_cmp(&gain(a)).then_with(|| a.subject.cmp(&b.subject)));
    all.truncate(MOST);
    all
}

fn advice(kind: &str, subject: String, advice: &str, evidence: String, saves_s: f64) -> Recommendation {
    Recommendation {
        kind: kind.to_owned(),
        subject,
        advice: advice.to_owned(),
        evidence,
        saves_s,
        ..Recommendation::default()
    }
}

fn failing(report: &Report, tool: &Line) -> Option<Recommendation> {
    let ranked =
        report.ranking.iter().find(|ranked| ranked.tool == tool.name).filter(|ranked| ranked.failing)?;
    let worst = tool.errors_by_type.iter().max_by_key(|(_, count)| **count);
    let most = worst.map_or_else(String::new, |(error, count)| format!(", most with {error} ({count})"));
    let mut found = advice(
        "failing_tool",
        format!("tool {}", tool.name),
        "mend it, or take it out of the agent's list: fewer than nine in ten calls succeed",
        format!(
            "{:.1} % of {} calls succeed (95 %: {:.1} to {:.1} %){most}",
            ranked.success.value * 100.0,
            tool.count,
            ranked.success.low * 100.0,
            ranked.success.high * 100.0
        ),
        tool.avg_s * tool.errors as f64,
    );
    found.trace_ids.clone_from(&ranked.recent_failures);
    Some(found)
}

#[expect(clippy::cast_precision_loss, reason = "counts to seconds")]
fn tail(kind: &str, line: &Line) -> Option<Recommendation> {
    let long = line.count >= 100 && line.p99_s > 1.0 && line.p99_s > TAIL * line.p50_s;
    long.then(|| {
        advice(
            "timeout",
            format!("{kind} {}", line.name),
            "give it a deadline of a few times its p95 and try once more: a few calls take nearly all of the time",
            format!("p50 {:.2} s, p95 {:.2} s, p99 {:.2} s of {} calls", line.p50_s, line.p95_s, line.p99_s, line.count),
            (line.p99_s - line.p95_s) * line.count as f64 * 0.01,
        )
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts to seconds")]
fn slow(kind: &str, line: &Line) -> Option<Recommendation> {
    (line.slow && line.count >= ENOUGH).then(|| {
        advice(
            "slow",
            format!("{kind} {}", line.name),
            "look at its slowest traces; a faster model, a shorter answer or a cache helps most",
            format!("{:.2} s on average over {} calls, p95 {:.2} s", line.avg_s, line.count, line.p95_s),
            (line.avg_s - 3.0) * line.count as f64,
        )
    })
}

#[expect(clippy::cast_precision_loss, reason = "means of counts")]
fn large(model: &Line) -> Option<Recommendation> {
    let mean = model.input_tokens as f64 / model.count.max(1) as f64;
    (mean > LARGE_PROMPT && model.count >= ENOUGH).then(|| {
        let mut found = advice(
            "context",
            format!("model {}", model.name),
            "summarise or drop old messages and large tool results; mark the part that stays for the provider's cache",
            format!("{mean:.0} input tokens on average over {} calls", model.count),
            0.0,
        );
        found.saves_usd = model.cost_nano as f64 / 1e9 * (1.0 - LARGE_PROMPT / mean) * 0.5;
        found
    })
}

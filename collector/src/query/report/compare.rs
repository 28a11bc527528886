//! Two reports beside each other: what differs, and whether that is more than chance.

use std::collections::BTreeSet;

use agentvitals::statistics::{benjamini_hochberg, mann_whitney_counts, two_proportions};
use serde::{Deserialize, Serialize};

use super::{Line, Report};

/// What a difference means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "better, worse, neither, or it cannot be said")]
pub enum Judged {
    /// Significantly better, and by enough to matter.
    Better,
    /// Significantly worse, and by enough to matter.
    Worse,
    /// No difference that matters.
    Same,
    /// Too few on one side.
    NotEnoughData,
}

/// One figure of one subject, in both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Difference {
    /// `agent planner`, `tool search`, ...
    pub subject: String,
    /// `error_rate`, `p50_s`, `p95_s`, `cost_usd` (a call), `tokens` (a call).
    pub what: String,
    /// In the first.
    pub a: f64,
    /// In the second.
    pub b: f64,
    /// On how many operations they rest.
    pub n: (u64, u64),
    /// How often chance alone gives as much, corrected for how many figures are compared (Benjamini and Hochberg); none where
    /// no test is made.
    pub p_value: Option<f64>,
    /// What it means.
    pub judged: Judged,
}

/// Two reports beside each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct Comparison {
    /// What was compared, as people call it.
    pub a: String,
    /// With what.
    pub b: String,
    /// The worst first.
    pub differences: Vec<Difference>,
    /// How many are worse.
    pub worse: u64,
    /// How many are better.
    pub better: u64,
}

/// With fewer operations on one side nothing is said.
const ENOUGH: u64 = 20;
/// The false discovery rate.
const LEVEL: f64 = 0.05;
/// Differences that do not matter, however sure: of shares, and of ratios.
const SHARE: f64 = 0.01;
const RATIO: f64 = 1.05;

/// Compares two reports: error rates by the test of two proportions, durations by that of Mann and Whitney on their buckets;
/// of all p-values at most 5 % of those that are called significant are wrong.
pub fn compare(a: &Report, b: &Report, names: (&str, &str)) -> Comparison {
    let mut differences = Vec::new();
    for (kind, first, second) in [
        ("agent", &a.agents, &b.agents),
        ("model", &a.models, &b.models),
        ("tool", &a.tools, &b.tools),
        ("workflow", &a.workflows, &b.workflows),
    ] {
        for line in first {
            if let Some(other) = second.iter().find(|other| other.name == line.name) {
                differences.extend(of_lines(&format!("{kind} {}", line.name), line, other));
            }
        }
    }
    let (places, p_values): (Vec<usize>, Vec<f64>) = differences
        .iter()
        .enumerate()
        .filter_map(|(place, difference)| Some((place, difference.p_value?)))
        .unzip();
    for (place, corrected) in places.into_iter().zip(benjamini_hochberg(&p_values)) {
        let difference = &mut differences[place];
        difference.p_value = Some(corrected);
        difference.judged = judge(difference, corrected);
    }
    let rank = |one: &Difference| match one.judged {
        Judged::Worse => 0,
        Judged::Better => 1,
        Judged::Same => 2,
        Judged::NotEnoughData => 3,
    };
    differences.sort_by_key(rank);
    let count = |judged| differences.iter().filter(|one| one.judged == judged).count() as u64;
    let (worse, better) = (count(Judged::Worse), count(Judged::Better));
    Comparison { a: names.0.to_owned(), b: names.1.to_owned(), differences, worse, better }
}

#[expect(clippy::cast_precision_loss, reason = "means of counts")]
fn of_lines(subject: &str, a: &Line, b: &Line) -> Vec<Difference> {
    let n = (a.count, b.count);
    let enough = n.0 >= ENOUGH && n.1 >= ENOUGH;
    let difference = |what: &str, a: f64, b: f64, p_value: Option<f64>| Difference {
        subject: subject.to_owned(),
        what: what.to_owned(),
        a,
        b,
        n,
        p_value: p_value.filter(|_| enough),
        judged: if enough { Judged::Same } else { Judged::NotEnoughData },
    };
    let errors = two_proportions((a.errors, b.errors), n).map(|test| test.p_value);
    let (first, second) = aligned(a, b);
    let latency = mann_whitney_counts(&first, &second).map(|test| test.p_value);
    let each = |sum: u64, line: &Line| sum as f64 / line.count.max(1) as f64;
    let mut all = vec![
        difference("error_rate", a.error_rate.value, b.error_rate.value, errors),
        difference("p50_s", a.p50_s, b.p50_s, latency),
        // The test is of the whole distribution: told once.
        difference("p95_s", a.p95_s, b.p95_s, None),
    ];
    if a.cost_nano + b.cost_nano > 0 {
        all.push(difference("cost_usd", each(a.cost_nano, a) / 1e9, each(b.cost_nano, b) / 1e9, None));
    }
    let tokens = |line: &Line| each(line.input_tokens + line.output_tokens, line);
    if tokens(a) + tokens(b) > 0.0 {
        all.push(difference("tokens", tokens(a), tokens(b), None));
    }
    all
}

/// The counts of the same buckets in both.
fn aligned(a: &Line, b: &Line) -> (Vec<u64>, Vec<u64>) {
    let edges: BTreeSet<u64> =
        a.durations.iter().chain(&b.durations).map(|(edge, _)| edge.to_bits()).collect();
    let count = |line: &Line, edge: u64| {
        line.durations.iter().find(|(own, _)| own.to_bits() == edge).map_or(0, |(_, count)| *count)
    };
    edges.into_iter().map(|edge| (count(a, edge), count(b, edge))).unzip()
}

fn judge(difference: &Difference, p_value: f64) -> Judged {
    let (a, b) = (difference.a, difference.b);
    let matters = match difference.what.as_str() {
        "error_rate" => (a - b).abs() >= SHARE,
        _ => a > 0.0 && b > 0.0 && (a / b).max(b / a) >= RATIO,
    };
    match p_value <= LEVEL && matters {
        false => Judged::Same,
        true if b > a => Judged::Worse,
        true => Judged::Better,
    }
}

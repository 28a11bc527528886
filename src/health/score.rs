//! From numbers to a score of 0 to 100.

use serde::{Deserialize, Serialize};

use super::targets::Targets;
use crate::statistics::{Z_95, wilson};
use crate::views::{SubjectKind, Tally};

/// How a score is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Profile {
    /// Outcome 50, latency 20, behaviour 15, cost 10, quality 5: each signal counts once, each against its target or what
    /// is usual, and what is not known does not count. See [`slo_score`].
    #[default]
    Slo,
    /// The formula of the agent framework that the list of features quotes: success 40 %, errors 30 %, speed 20 %, sessions
    /// 10 %. See [`classic_score`].
    Classic,
}

/// The published formula: `success * 0.4 + max(0, 100 - errors) * 0.3 + speed * 0.2 + sessions * 0.1`, each from 0 to 100.
///
/// `success_rate` and `error_rate` are shares from 0 to 1. Speed is `min(100, 100 / average)` with the average in seconds,
/// and 50 without one (or with 0). The source names the weight of the session term and leaves the term out of its example:
/// with `None` it adds nothing, so that the best score is 90, as in the source; else it is the share of sessions (runs) that
/// ended in good order, from 0 to 1.
///
/// Source: the health check of the agent guide (S0), whose numbers the tests repeat. Rates that are no shares give a score
/// within 0 and 100 all the same.
///
/// ```
/// use agentvitals::health::classic_score;
/// // 95 % success, 5 % errors, 2 s in the mean: 38 + 28.5 + 10.
/// assert_eq!(classic_score(0.95, 0.05, Some(2.0), None), 76.5);
/// assert_eq!(classic_score(0.95, 0.05, Some(2.0), Some(0.9)), 85.5);
/// ```
pub fn classic_score(success_rate: f64, error_rate: f64, average: Option<f64>, sessions: Option<f64>) -> f64 {
    let percent = |share: f64| if share.is_nan() { 0.0 } else { (share * 100.0).clamp(0.0, 100.0) };
    let speed = match average {
        Some(seconds) if seconds > 0.0 => (100.0 / seconds).min(100.0),
        _ => 50.0,
    };
    percent(success_rate) * 0.4
        + (100.0 - percent(error_rate)) * 0.3
        + speed * 0.2
        + sessions.map_or(0.0, percent) * 0.1
}

/// One part of a score: how much it weighs, and from 0 to 100 how good it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Term {
    /// `outcome`, `latency`, `behaviour`, `cost`, `quality`, or the four of the classic formula.
    pub name: Part,
    /// Its weight; those of all terms that are there are taken as the whole.
    pub weight: f64,
    /// From 0 to 100.
    pub score: f64,
}

/// What a term is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Part {
    /// Whether calls fail.
    Outcome,
    /// How long the good ones take.
    Latency,
    /// Loops and empty answers.
    Behaviour,
    /// USD a call.
    Cost,
    /// Whether runs reach their goal.
    Quality,
    /// Classic: calls that succeed.
    Success,
    /// Classic: calls that fail.
    Errors,
    /// Classic: calls a second.
    Speed,
    /// Classic: runs that ended in good order.
    Sessions,
}

/// 100 up to `good`, 0 from `bad` on, in a line between.
fn between(value: f64, good: f64, bad: f64) -> f64 {
    (100.0 * (bad - value) / (bad - good)).clamp(0.0, 100.0)
}

/// How many times as much as usual is still as good as usual.
const SLACK: f64 = 1.5;

/// The terms of [`Profile::Slo`] for what happened in a window; `usual` is what happened in the last day.
///
/// * outcome: the share of calls that fail, the lower end of its 95 % Wilson interval so that few samples do not cry wolf:
///   100 up to the target (5 %), 0 from ten times the target on.
/// * latency: `100 * min(1, limit / p95)` of the calls that did not fail; the limit is the target, else 1.5 times the p95 of
///   the day.
/// * behaviour: loops by tool call and empty answers by answer, together: 100 up to 2 %, 0 from 20 % on.
/// * cost: `100 * min(1, 1.5 * usual / now)` of the mean cost of a call.
/// * quality: goals reached by runs with a goal, as a share of what is usual.
pub fn slo_score(kind: SubjectKind, tally: &Tally, usual: &Tally, targets: &Targets) -> Vec<Term> {
    let mut terms = Vec::with_capacity(5);
    let mut add = |name, weight, score: Option<f64>| {
        terms.extend(score.map(|score| Term { name, weight, score }));
    };
    let judged = tally.count.saturating_sub(tally.cancelled());
    let failing = (judged > 0).then(|| wilson(tally.failed(), judged, Z_95).0);
    let accepted = targets.error_rate(kind);
    add(Part::Outcome, 50.0, failing.map(|share| between(share, accepted, (accepted * 10.0).min(1.0))));
    let p95 = tally.durations.quantile(0.95);
    let limit = targets.p95(kind).or_else(|| usual.durations.quantile(0.95).map(|p95| p95 * SLACK));
    let latency = p95.zip(limit).filter(|(p95, _)| *p95 > 0.0);
    add(Part::Latency, 20.0, latency.map(|(p95, limit)| 100.0 * (limit / p95).min(1.0)));
    add(Part::Behaviour, 15.0, behaviour(tally).map(|share| between(share, 0.02, 0.20)));
    let each = |tally: &Tally| {
        let priced = tally.durations.count().saturating_sub(tally.unpriced);
        (priced > 0 && tally.cost_nano > 0).then(|| tally.cost_nano as f64 / priced as f64)
    };
    let cost = each(tally).zip(each(usual));
    add(Part::Cost, 10.0, cost.map(|(now, usual)| 100.0 * (SLACK * usual / now).min(1.0)));
    let reached = |tally: &Tally| {
        let runs = tally.succeeded + tally.missed;
        (runs > 0 && tally.succeeded > 0).then(|| tally.succeeded as f64 / runs as f64)
    };
    let quality = (tally.missed > 0).then(|| reached(tally).unwrap_or(0.0)).zip(reached(usual));
    add(Part::Quality, 5.0, quality.map(|(now, usual)| 100.0 * (now / usual).min(1.0)));
    terms
}

/// Loops and empty answers as a share of what they could be of.
fn behaviour(tally: &Tally) -> Option<f64> {
    let of = |events: u64, all: u64| (all > 0).then(|| events as f64 / all as f64);
    let tool_calls = if tally.tool_calls > 0 { tally.tool_calls } else { tally.count };
    let loops = of(tally.loops, tool_calls);
    let empty = of(tally.empty + tally.refused, tally.durations.count());
    match (loops, empty) {
        (None, None) => None,
        (loops, empty) => Some(loops.unwrap_or(0.0) + empty.unwrap_or(0.0)),
    }
}

/// The terms of [`Profile::Classic`] for what happened in a window.
pub(super) fn classic_terms(tally: &Tally) -> Vec<Term> {
    if tally.count == 0 {
        return Vec::new();
    }
    let of = |events: u64| events as f64 / tally.count as f64;
    let goals = tally.succeeded + tally.missed;
    let good = match goals {
        0 => tally.count.saturating_sub(tally.failed() + tally.cancelled()),
        _ => tally.succeeded,
    };
    let (success, errors, sessions) =
        (of(good.min(tally.count)), of(tally.failed()), 1.0 - of(tally.failed() + tally.cancelled()));
    let speed = match tally.all_durations().mean() {
        Some(seconds) if seconds > 0.0 => (100.0 / seconds).min(100.0),
        _ => 50.0,
    };
    let term = |name, weight, score| Term { name, weight, score };
    vec![
        term(Part::Success, 40.0, success * 100.0),
        term(Part::Errors, 30.0, 100.0 - errors * 100.0),
        term(Part::Speed, 20.0, speed),
        term(Part::Sessions, 10.0, sessions * 100.0),
    ]
}

/// The weighted mean of terms; `None` without any.
pub(super) fn total(terms: &[Term]) -> Option<f64> {
    let weight: f64 = terms.iter().map(|term| term.weight).sum();
    (weight > 0.0).then(|| terms.iter().map(|term| term.weight * term.score).sum::<f64>() / weight)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feature: G2, G3
    #[test]
    fn the_published_numbers_come_out() {
        // success 100 %, errors 0 %, 1 s: 40 + 30 + 20.
        assert_eq!(classic_score(1.0, 0.0, Some(1.0), None), 90.0);
        // Without an average the term is 50 * 0.2.
        assert_eq!(classic_score(1.0, 0.0, None, None), 80.0);
        assert_eq!(classic_score(1.0, 0.0, Some(0.0), None), 80.0);
        // `1 / average` gives 10 points of 100 to an agent of ten seconds.
        assert_eq!(classic_score(1.0, 0.0, Some(10.0), None), 72.0);
        assert_eq!(classic_score(0.0, 1.0, Some(100.0), None), 0.2);
        assert_eq!(classic_score(1.0, 0.0, Some(0.5), Some(1.0)), 100.0);
    }

    proptest! {
        /// Feature: G3
        #[test]
        fn a_classic_score_is_a_score(
            success in proptest::num::f64::ANY,
            errors in proptest::num::f64::ANY,
            average in proptest::option::of(proptest::num::f64::ANY),
            sessions in proptest::option::of(proptest::num::f64::ANY),
        ) {
            let score = classic_score(success, errors, average, sessions);
            prop_assert!((0.0..=100.0 + 1e-9).contains(&score), "{score}");
        }
    }
}

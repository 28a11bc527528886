//! Issues, in words.

use std::time::{Duration, SystemTime};

use super::evaluator::Finding;
use super::report::{Evidence, Issue, length, quantity};
use super::targets::Targets;
use super::{Code, Severity};
use crate::statistics::{Z_95, wilson};
use crate::views::{Subject, SubjectKind, Tally};

/// From which share of failing calls on it is critical.
const CRITICAL_SHARE: f64 = 0.5;

/// What a finding says.
pub(super) fn issue_of(finding: &Finding) -> Issue {
    let Finding { code, subject, observed, usual, unit, window, samples, since, .. } = finding;
    let (seen, usually) = (quantity(*observed, unit), quantity(*usual, unit));
    let summary = match code {
        Code::Silence => {
            format!("{subject}: nothing for {}, about {samples} were to be expected", length(*window))
        }
        Code::Stall => format!("{subject}: a call has been open for {seen}, the longest take {usually}"),
        Code::Loop => {
            format!("{subject}: goes round in circles, {seen} of {samples} calls repeat (usually {usually})")
        }
        Code::RateLimit => {
            format!("{subject}: {seen} of {samples} calls are refused by a limit (usually {usually})")
        }
        Code::ModelError | Code::ToolError => {
            format!("{subject}: {seen} of {samples} calls fail (usually {usually})")
        }
        Code::EmptyOutput => {
            format!("{subject}: {seen} of {samples} answers are empty or refused (usually {usually})")
        }
        Code::ContextGrowth => format!(
            "{subject}: {seen} of {samples} prompts are larger than almost all are (usually {usually})"
        ),
        Code::SlowModel | Code::SlowTool => {
            format!("{subject}: {seen} of {samples} calls are slower than almost all are (usually {usually})")
        }
        Code::Runaway => format!("{subject}: {seen} a minute (usually {usually})"),
        Code::Cost => format!("{subject}: a call costs {seen} (usually {usually})"),
        Code::FailingRuns => {
            format!("{subject}: {seen} of {samples} runs miss their goal (usually {usually})")
        }
        Code::TargetMissed | Code::TelemetryLoss => format!("{subject}: {seen}, the limit is {usually}"),
    };
    let fails = matches!(code, Code::ModelError | Code::ToolError | Code::RateLimit | Code::FailingRuns);
    let severity = if fails && *observed >= CRITICAL_SHARE { Severity::Critical } else { finding.severity };
    Issue {
        code: *code,
        severity,
        subject: subject.clone(),
        summary,
        evidence: Evidence {
            observed: *observed,
            limit: *usual,
            unit: unit.clone(),
            window_s: window.as_secs_f64(),
            samples: *samples,
        },
        since: *since,
        top_error: finding.top_error.clone(),
        trace_ids: Vec::new(),
        advice: code.advice().to_owned(),
    }
}

/// Targets that are set for a kind of subject, and missed for sure.
pub(super) fn missed_targets(
    subject: &Subject,
    tally: &Tally,
    targets: &Targets,
    window: Duration,
    now: SystemTime,
) -> Vec<Issue> {
    let of_kind = match subject.kind {
        SubjectKind::Agent => &targets.agent,
        SubjectKind::Model => &targets.model,
        SubjectKind::Tool => &targets.tool,
        SubjectKind::Workflow => &targets.workflow,
        _ => return Vec::new(),
    };
    let mut missed = Vec::new();
    let judged = tally.count.saturating_sub(tally.cancelled());
    if let Some(limit) = of_kind.error_rate
        && wilson(tally.failed(), judged, Z_95).0 > limit
    {
        let rate = tally.failed() as f64 / judged as f64;
        missed.push((rate, limit, "1", judged, format!("{} of {judged} calls fail", quantity(rate, "1"))));
    }
    if let Some(limit) = of_kind.p95 {
        // p95 is above the limit for sure if more than 5 % of the calls are.
        let (slow, all) = (tally.durations.slower_than(limit), tally.durations.count());
        let p95 = tally.durations.quantile(0.95);
        if let Some(p95) = p95.filter(|_| wilson(slow, all, Z_95).0 > 0.05) {
            missed.push((p95, limit, "s", all, format!("p95 of {all} calls is {}", quantity(p95, "s"))));
        }
    }
    let issue = |(observed, limit, unit, samples, what): (f64, f64, &'static str, u64, String)| Issue {
        code: Code::TargetMissed,
        severity: Code::TargetMissed.severity(),
        subject: subject.clone(),
        summary: format!("{subject}: {what}, the target is {}", quantity(limit, unit)),
        evidence: Evidence { observed, limit, unit: unit.into(), window_s: window.as_secs_f64(), samples },
        since: now,
        top_error: None,
        trace_ids: Vec::new(),
        advice: Code::TargetMissed.advice().to_owned(),
    };
    missed.into_iter().map(issue).collect()
}

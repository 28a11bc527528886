//! The fixed thresholds of other systems, for comparison.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use agentvitals::views::{Tally, Views};
use agentvitals::{Subject, SubjectKind};

use super::judge::Told;
use super::scenario::Fault;

/// The window over which they look.
const WINDOW: Duration = Duration::from_secs(300);

/// A fixed limit: what it looks at, and what it may mean.
struct Limit {
    name: &'static str,
    applies: &'static [SubjectKind],
    kinds: &'static [Fault],
    passes: fn(&Tally) -> bool,
}

const CALLED: &[SubjectKind] = &[SubjectKind::Model, SubjectKind::Tool];
const AGENTS: &[SubjectKind] = &[SubjectKind::Agent];
const ERRORS: &[Fault] = &[Fault::ModelError, Fault::RateLimit, Fault::ToolError, Fault::EmptyOutput];
const SLOWNESS: &[Fault] = &[Fault::SlowModel, Fault::SlowTool, Fault::Stall, Fault::Loop];

/// Error rate above 10 %, p95 above 3 s, success below 90 %, an average above 5 s, ten failures in five minutes: the
/// defaults of the agent guide, of the monitoring dashboard and of the health API that the list of features quotes.
const LIMITS: &[Limit] = &[
    Limit {
        name: "error rate > 10 %",
        applies: CALLED,
        kinds: ERRORS,
        passes: |tally| error_rate(tally) > 0.10,
    },
    Limit {
        name: "p95 > 3 s",
        applies: CALLED,
        kinds: SLOWNESS,
        passes: |tally| tally.durations.quantile(0.95).is_some_and(|p95| p95 > 3.0),
    },
    Limit {
        name: "success < 90 %",
        applies: AGENTS,
        kinds: &Fault::ALL,
        passes: |tally| {
            let runs = tally.succeeded + tally.missed;
            runs > 0 && (tally.succeeded as f64) < 0.9 * runs as f64
        },
    },
    Limit {
        name: "average > 5 s",
        applies: CALLED,
        kinds: SLOWNESS,
        passes: |tally| tally.durations.mean().is_some_and(|mean| mean > 5.0),
    },
    Limit {
        name: "10 failures in 5 min",
        applies: CALLED,
        kinds: ERRORS,
        passes: |tally| tally.failed() >= 10,
    },
];

fn error_rate(tally: &Tally) -> f64 {
    if tally.count == 0 { 0.0 } else { tally.failed() as f64 / tally.count as f64 }
}

/// Alerts as fixed thresholds give them.
#[derive(Debug, Default)]
pub(super) struct Fixed(BTreeMap<(&'static str, Subject), ()>);

impl Fixed {
    pub(super) fn evaluate(&mut self, views: &Views, now: SystemTime) -> Vec<Told> {
        let mut told = Vec::new();
        for subject in views.subjects() {
            if subject.agent.is_some() {
                continue;
            }
            let Some(tally) = views.window(&subject, WINDOW, now) else { continue };
            for limit in LIMITS.iter().filter(|limit| limit.applies.contains(&subject.kind)) {
                let key = (limit.name, subject.clone());
                if !(limit.passes)(&tally) {
                    self.0.remove(&key);
                    continue;
                }
                let fresh = self.0.insert(key, ()).is_none();
                told.push(Told { kinds: limit.kinds.to_vec(), subject: subject.clone(), fresh });
            }
        }
        told
    }
}

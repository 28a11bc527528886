//! What is wrong, step by step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::causes::{self, All};
use super::detect::Evidence;
use super::series::{SUSPICIOUS, Series};
use super::{Code, Severity};
use crate::views::{MAX_SERIES, Moment, Subject, SubjectKind};

/// How often the tests are made ([`Evaluator::step`]): as often as Prometheus evaluates its rules.
pub const STEP: Duration = Duration::from_secs(60);
/// For how many steps something must not be seen any more before it is over.
const CLEAR: u32 = 3;
/// For how many steps something may still explain what follows from it.
const RECENT: u32 = 15;

/// What is seen, and what is usual.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong.
    pub code: Code,
    /// With whom.
    pub subject: Subject,
    /// How bad it is.
    pub severity: Severity,
    /// What is seen: a share from 0 to 1, USD, or seconds, as [`unit`](Self::unit) says.
    pub observed: f64,
    /// What is usual.
    pub usual: f64,
    /// `1`, `USD` or `s`.
    pub unit: std::borrow::Cow<'static, str>,
    /// Over which time it is seen.
    pub window: Duration,
    /// On how many calls (or runs) it rests.
    pub samples: u64,
    /// Evidence in nats: by chance it would come with a probability of at most `exp(-nats)`.
    pub nats: f64,
    /// Since when it is told of.
    pub since: SystemTime,
    /// The error class that most calls failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_error: Option<Arc<str>>,
}

#[derive(Debug)]
struct Open {
    finding: Finding,
    /// Steps since it was seen last.
    clear: u32,
}

/// Finds what is wrong: made from what views say, step by step, with the same result wherever they are.
///
/// It learns what is usual from everything that was not suspicious. Until it has, it says nothing.
#[derive(Debug)]
pub struct Evaluator {
    all: All,
    system: Series,
    open: BTreeMap<(Code, Subject), Open>,
    steps: u64,
}

impl Default for Evaluator {
    fn default() -> Self {
        Self::new()
    }
}

impl Evaluator {
    /// One that knows nothing yet.
    pub fn new() -> Self {
        Self { all: All::new(), system: Series::new(Subject::system()), open: BTreeMap::new(), steps: 0 }
    }

    /// Takes in what happened in a step of [`STEP`] and says what is wrong, the newest first seen last.
    pub fn step(&mut self, moments: &[Moment], now: SystemTime) -> Vec<Finding> {
        self.steps += 1;
        let mut activity = 0;
        for moment in moments {
            if moment.subject.kind == SubjectKind::Agent {
                activity += moment.tally.activity();
            }
            if let Some(series) = self.all.get_mut(&moment.subject) {
                series.step(moment);
            } else if self.all.len() < MAX_SERIES {
                let mut series = Series::new(moment.subject.clone());
                series.step(moment);
                self.all.insert(moment.subject.clone(), series);
            }
        }
        self.system.step_activity(activity);
        let open = &self.open;
        let recently = |code: Code, subject: &Subject| {
            open.get(&(code, subject.clone())).is_some_and(|open| open.clear <= RECENT)
        };
        let suspects = causes::find(&self.all, &self.system, recently);
        for open in self.open.values_mut() {
            open.clear = open.clear.saturating_add(1);
        }
        for suspect in suspects {
            self.tell(&suspect, now);
        }
        self.hold();
        self.open.retain(|_, open| open.clear <= RECENT);
        self.findings()
    }

    /// What is wrong now.
    pub fn findings(&self) -> Vec<Finding> {
        let open = self.open.values().filter(|open| open.clear < CLEAR);
        open.map(|open| open.finding.clone()).collect()
    }

    /// What is told of goes on as long as something still speaks for it.
    fn hold(&mut self) {
        for ((code, subject), open) in &mut self.open {
            let goes_on = self.all.get(subject).is_some_and(|series| series.nats(*code) >= SUSPICIOUS);
            if goes_on && open.clear <= CLEAR {
                open.clear = 0;
            }
        }
    }

    fn tell(&mut self, suspect: &causes::Suspect, now: SystemTime) {
        let (code, evidence) = (suspect.code, suspect.evidence);
        let key = (code, suspect.subject.clone());
        // The same thing seen at another place: it was told of as this agent's, and shows in the whole by now.
        let whole = Subject::new(suspect.subject.kind, Arc::clone(&suspect.subject.name));
        if suspect.subject.agent.is_some()
            && let Some(open) = self.open.get_mut(&(code, whole))
            && open.clear <= RECENT
        {
            open.clear = 0;
            return;
        }
        let top_error = self.all.get(&suspect.subject).and_then(|series| series.top_error.clone());
        // What comes back so soon, or spreads, is the same.
        let akin = self.open.values().filter(|open| is_akin(&open.finding, code, &suspect.subject));
        let since = akin.map(|open| open.finding.since).min().unwrap_or(now);
        let finding = finding_of(suspect, &evidence, since, top_error);
        self.open.insert(key, Open { finding, clear: 0 });
    }
}

/// Whether something told of is the same trouble: of the same model or tool, or loops of the same agent.
fn is_akin(finding: &Finding, code: Code, subject: &Subject) -> bool {
    let told = &finding.subject;
    let same_loop = || {
        let agent = |subject: &Subject| match subject.kind {
            SubjectKind::Agent => Some(Arc::clone(&subject.name)),
            _ => subject.agent.clone(),
        };
        code == Code::Loop && agent(told) == agent(subject)
    };
    finding.code == code && ((told.kind == subject.kind && told.name == subject.name) || same_loop())
}

fn finding_of(
    suspect: &causes::Suspect,
    evidence: &Evidence,
    since: SystemTime,
    top_error: Option<Arc<str>>,
) -> Finding {
    let code = suspect.code;
    let unit = match code {
        Code::Cost => "USD",
        Code::Stall => "s",
        Code::Runaway => "calls",
        _ => "1",
    };
    let is_error = matches!(code, Code::ModelError | Code::ToolError | Code::RateLimit);
    Finding {
        code,
        subject: suspect.subject.clone(),
        severity: code.severity(),
        observed: evidence.observed,
        usual: evidence.usual,
        unit: unit.into(),
        window: STEP * u32::try_from(evidence.steps).unwrap_or(1),
        samples: evidence.samples,
        nats: evidence.nats,
        since,
        top_error: top_error.filter(|_| is_error),
    }
}

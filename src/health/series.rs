//! The tests of one subject, and what they say of the newest steps.

use std::sync::Arc;

use super::Code;
use super::detect::{Evidence, Quiet, Ratio, Share, Tail, Thresholds};
use crate::semconv::error_type;
use crate::views::{Moment, Subject, SubjectKind, Tally};

/// From how many nats of evidence on something is told.
pub(super) const FIRING: f64 = 12.0;
/// From how many nats on something may be the cause of something else.
pub(super) const SUSPICIOUS: f64 = 3.0;

/// A share that is far from nothing: three in a hundred more, half as many again.
const USUAL_SHARE: Thresholds = Thresholds { effect: 0.03, ratio: 1.5, events: 4.0, learned: 30.0 };
/// A tenth of the values are above the limit by its choice: twice as many must be.
const TAIL: [Thresholds; 2] = [
    Thresholds { effect: 0.10, ratio: 1.8, events: 4.0, learned: 100.0 },
    Thresholds { effect: 0.10, ratio: 3.0, events: 4.0, learned: 200.0 },
];
/// Loops are rare, however many calls there are.
const RARE: Thresholds = Thresholds { effect: 0.0, ratio: 3.0, events: 2.0, learned: 100.0 };
/// How many times as long as the longest of the last day a call must be open.
const STALLED: f64 = 4.0;
/// No call is stalled that is younger, seconds.
const STALL_FLOOR: f64 = 30.0;

/// The tests of one subject.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) subject: Subject,
    errors: Share,
    rate_limited: Share,
    durations: Tail,
    prompts: Tail,
    empty: Share,
    loops: Share,
    missed: Share,
    cost_of_call: Ratio,
    cost_of_token: Ratio,
    quiet: Quiet,
    /// For how many steps a call has been open for too long.
    stalled: u32,
    /// What the newest step shows, by code.
    pub(super) now: Vec<(Code, Evidence)>,
    /// Whether nothing came in the newest step.
    pub(super) silent: bool,
    /// The error class that most failed calls of the newest step had.
    pub(super) top_error: Option<Arc<str>>,
}

impl Series {
    pub(super) fn new(subject: Subject) -> Self {
        Self {
            subject,
            errors: Share::new(USUAL_SHARE),
            rate_limited: Share::new(USUAL_SHARE),
            durations: Tail::new(TAIL),
            prompts: Tail::new(TAIL),
            empty: Share::new(USUAL_SHARE),
            loops: Share::new(RARE),
            missed: Share::new(Thresholds { effect: 0.2, ..USUAL_SHARE }),
            cost_of_call: Ratio::default(),
            cost_of_token: Ratio::default(),
            quiet: Quiet::default(),
            stalled: 0,
            now: Vec::new(),
            silent: false,
            top_error: None,
        }
    }

    /// How much speaks for something, in the newest step.
    pub(super) fn nats(&self, code: Code) -> f64 {
        self.now.iter().find(|(known, _)| *known == code).map_or(0.0, |(_, evidence)| evidence.nats)
    }

    pub(super) fn step(&mut self, moment: &Moment) {
        self.now.clear();
        let tally = &moment.tally;
        self.silent = tally.activity() == 0;
        match self.subject.kind {
            SubjectKind::Model => self.model(tally),
            SubjectKind::Tool => self.tool(tally),
            SubjectKind::Agent => self.agent(tally),
            _ => {}
        }
        self.open(moment.oldest_open);
        if self.subject.agent.is_none() {
            let quiet = self.quiet.step(tally.activity(), FIRING);
            self.tell(Code::Silence, quiet);
            if self.subject.kind == SubjectKind::Agent {
                self.tell(Code::Runaway, self.quiet.flood());
            }
        }
    }

    /// Takes in a step of which only the activity is known.
    pub(super) fn step_activity(&mut self, activity: u64) {
        self.now.clear();
        self.silent = activity == 0;
        let quiet = self.quiet.step(activity, FIRING);
        self.tell(Code::Silence, quiet);
    }

    fn model(&mut self, tally: &Tally) {
        let limited = tally.errors.get(error_type::RATE_LIMIT).copied().unwrap_or(0);
        let called = tally.count - tally.cancelled();
        let failed = tally.failed();
        let errors = self.errors.step(failed - limited, called - limited, FIRING).0;
        let limited = self.rate_limited.step(limited, called, FIRING).0;
        let slow = self.durations.step(&tally.durations, FIRING);
        let prompts = self.prompts.step(&tally.input, FIRING);
        let answered = tally.durations.count();
        let empty = self.empty.step(tally.empty + tally.refused, answered, FIRING).0;
        let cost = self.cost(tally);
        self.tell(Code::ModelError, errors);
        self.tell(Code::RateLimit, limited);
        self.tell(Code::SlowModel, slow);
        self.tell(Code::ContextGrowth, prompts);
        self.tell(Code::EmptyOutput, empty);
        self.tell(Code::Cost, cost);
        self.note_errors(tally);
    }

    /// By call and by token: longer prompts make a call dearer, but no token; long answers to short prompts make a token
    /// dearer, but no call.
    fn cost(&mut self, tally: &Tally) -> Evidence {
        // Calls that fail cost nothing.
        let answered = tally.durations.count();
        let calls = answered.saturating_sub(tally.unpriced);
        let tokens = tally.tokens() as f64 * calls as f64 / answered.max(1) as f64;
        let usd = tally.cost_nano as f64 / 1e9;
        let by_token = self.cost_of_token.step(usd, tokens, calls, FIRING);
        let by_call = self.cost_of_call.step(usd, calls as f64, calls, FIRING);
        Evidence { nats: by_call.nats.min(by_token.nats), ..by_call }
    }

    fn tool(&mut self, tally: &Tally) {
        let called = tally.count - tally.cancelled();
        let errors = self.errors.step(tally.failed(), called, FIRING).0;
        let slow = self.durations.step(&tally.durations, FIRING);
        let loops = self.loops.step(tally.loops, tally.count, FIRING).0;
        self.tell(Code::ToolError, errors);
        self.tell(Code::SlowTool, slow);
        self.tell(Code::Loop, loops);
        self.note_errors(tally);
    }

    fn agent(&mut self, tally: &Tally) {
        let loops = self.loops.step(tally.loops, tally.tool_calls, FIRING).0;
        let missed = self.missed.step(tally.missed, tally.missed + tally.succeeded, FIRING).0;
        self.tell(Code::Loop, loops);
        self.tell(Code::FailingRuns, missed);
        self.note_errors(tally);
    }

    /// Looks at the oldest open call, which is so many seconds old.
    fn open(&mut self, age: Option<f64>) {
        let longest = self.durations.greatest();
        let Some((age, longest)) =
            age.zip(longest).filter(|(age, longest)| *age > (longest * STALLED).max(STALL_FLOOR))
        else {
            self.stalled = 0;
            return;
        };
        self.stalled += 1;
        // Whether all calls have become slow shows when the first of them have ended.
        if self.stalled >= 3 {
            let evidence =
                Evidence { nats: 2.0 * FIRING, observed: age, usual: longest, steps: 1, samples: 1 };
            self.tell(Code::Stall, evidence);
        }
    }

    fn note_errors(&mut self, tally: &Tally) {
        if let Some((class, _)) = tally.errors.iter().max_by_key(|(_, count)| **count) {
            self.top_error = Some(Arc::clone(class));
        }
    }

    fn tell(&mut self, code: Code, evidence: Evidence) {
        if evidence.nats > 0.0 {
            self.now.push((code, evidence));
        }
    }
}

//! A share of events among trials: failing calls among calls, slow ones, loops among tool calls.

use super::{DOUBTED, DOUBTED_NATS, Evidence, FORGETTING, STEPS, WINDOWS};
use crate::statistics::divergence;

/// What has to be seen before it can be told of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thresholds {
    /// By how much the share must be greater than usual.
    pub(crate) effect: f64,
    /// How many times as great as usual it must be.
    pub(crate) ratio: f64,
    /// How many events there must be.
    pub(crate) events: f64,
    /// Trials before which nothing is usual yet.
    pub(crate) learned: f64,
}

/// Events and trials of a step, with how many events were to be expected.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    events: f64,
    trials: f64,
    /// At most, as far as is known.
    expected: f64,
}

impl Step {
    fn add(&mut self, other: Self, sign: f64) {
        self.events += sign * other.events;
        self.trials += sign * other.trials;
        self.expected += sign * other.expected;
    }
}

/// How far windows of one length were spread, compared with independent trials: 1 is what these have.
#[derive(Debug, Clone, Copy)]
struct Spread {
    squares: f64,
    variance: f64,
}

/// Weight of what is assumed at first: that events come in pairs.
const PRIOR: Spread = Spread { squares: 10.0, variance: 5.0 };

impl Spread {
    fn factor(self) -> f64 {
        ((self.squares + PRIOR.squares) / (self.variance + PRIOR.variance)).clamp(1.0, 100.0)
    }

    fn note(&mut self, window: Step, share: f64, doubted: bool) {
        let mean = window.trials * share;
        let (off, variance) = (window.events - mean, mean * (1.0 - share));
        let (weight, most) = match doubted {
            true => (DOUBTED, 2.0 * DOUBTED_NATS * self.factor() * variance),
            false => (1.0, f64::INFINITY),
        };
        self.squares = self.squares * FORGETTING + weight * (off * off).min(most);
        self.variance = self.variance * FORGETTING + weight * variance;
    }
}

/// Sums over the windows that end at one step.
#[derive(Debug, Clone, Copy, Default)]
struct Sums([Step; WINDOWS.len()]);

/// Steps that are kept: those that are tested, and those whose windows have become usual or not.
const KEPT: usize = 2 * STEPS;

/// A share of events, tested against its baseline.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    thresholds: Thresholds,
    baseline: Baseline,
    spread: [Spread; WINDOWS.len()],
    /// The newest steps, in a ring.
    steps: [Step; KEPT],
    next: usize,
    /// Of the newest step.
    sums: Sums,
    /// Of the step that is old enough to be usual.
    old: Sums,
    /// Steps that must not become usual, a bit each, the newest the lowest.
    suspicious: u32,
    /// For how many steps nothing was learned.
    skipped: u32,
}

/// What is usual: events and trials, the older the lighter.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Baseline {
    events: f64,
    trials: f64,
}

/// How much steps weigh in what is usual that were suspicious.
const ALARMED: f64 = 0.03;
/// What goes on for so many steps without an end is usual from then on.
const NEW_NORMAL: u32 = 720;

impl Share {
    pub(crate) fn new(thresholds: Thresholds) -> Self {
        let nothing = Spread { squares: 0.0, variance: 0.0 };
        Self {
            thresholds,
            baseline: Baseline::default(),
            spread: [nothing; WINDOWS.len()],
            steps: [Step::default(); KEPT],
            next: 0,
            sums: Sums::default(),
            old: Sums::default(),
            suspicious: 0,
            skipped: 0,
        }
    }

    /// Whether enough is known to call something unusual.
    pub(crate) fn has_learned(&self) -> bool {
        self.baseline.trials >= self.thresholds.learned
    }

    /// Sets what is usual, where it is known better than from the steps.
    pub(crate) fn set_baseline(&mut self, events: f64, trials: f64) {
        self.baseline = Baseline { events, trials };
    }

    /// The usual share, and how high it may well be: a baseline of few trials may be too low by chance.
    fn usual(&self) -> (f64, f64) {
        let trials = self.baseline.trials + 1.0;
        let share = (self.baseline.events + 0.5) / trials;
        let reach = 2.0 * (self.spread[1].factor() * share * (1.0 - share).max(0.0) / trials).sqrt();
        (share, (share + reach).min(1.0))
    }

    /// Takes in a step and says what the newest windows show. `firing` is the evidence from which on it is told. Returns
    /// whether the step that has become old enough to be usual is so.
    pub(crate) fn step(&mut self, events: u64, trials: u64, firing: f64) -> (Evidence, bool) {
        let (events, trials) = (events as f64, trials as f64);
        // Events may be told a step before or after their trials.
        let trials = trials.max(events);
        let (_, usual) = self.usual();
        self.next = (self.next + 1) % KEPT;
        self.steps[self.next] = Step { events, trials, expected: trials * usual };
        self.suspicious <<= 1;
        let mut sums = self.sums;
        self.move_on(&mut sums, 0);
        self.sums = sums;
        let evidence = self.evidence(usual);
        // What came before an alarm belongs to it; what came before a mere suspicion may.
        if evidence.nats >= firing {
            self.suspicious |= (1 << STEPS) - 1;
        } else if evidence.nats >= firing / 2.0 {
            self.suspicious |= (1 << evidence.steps) - 1;
        }
        let learn = self.learn();
        (evidence, learn)
    }

    /// The step that came so many steps before the newest.
    fn back(&self, steps: usize) -> Step {
        self.steps[(self.next + KEPT - steps) % KEPT]
    }

    /// Moves sums that end `back` steps before the newest on by one.
    fn move_on(&self, sums: &mut Sums, back: usize) {
        let newest = self.back(back);
        for (sum, length) in sums.0.iter_mut().zip(WINDOWS) {
            sum.add(newest, 1.0);
            // The ring has forgotten what is as old as it is long.
            sum.add(self.back(back + length), -1.0);
        }
    }

    /// Makes the step of [`STEPS`] ago usual, unless it was suspicious; and how far its windows were spread.
    fn learn(&mut self) -> bool {
        const OLD: usize = STEPS - 1;
        let mut old = self.old;
        self.move_on(&mut old, OLD);
        self.old = old;
        if self.has_learned() {
            let (share, _) = self.usual();
            for ((spread, sum), length) in self.spread.iter_mut().zip(self.old.0).zip(WINDOWS) {
                let window = ((1_u32 << length) - 1) << OLD;
                spread.note(sum, share, self.suspicious & window != 0);
            }
        }
        let suspicious = self.suspicious >> OLD & 1 != 0;
        let step = self.back(OLD);
        if suspicious && self.skipped < NEW_NORMAL {
            self.skipped += 1;
            // A little: what comes back again and again must be known to be there at all.
            self.baseline.events += ALARMED * step.events;
            self.baseline.trials += ALARMED * step.trials;
            return false;
        }
        if !suspicious {
            self.skipped = 0;
        }
        self.baseline.events = self.baseline.events * FORGETTING + step.events;
        self.baseline.trials = self.baseline.trials * FORGETTING + step.trials;
        true
    }

    fn evidence(&self, usual: f64) -> Evidence {
        let mut most = Evidence { usual, ..Evidence::default() };
        if !self.has_learned() {
            return most;
        }
        let shortest = self.sums.0[0];
        for ((sum, spread), steps) in self.sums.0.iter().zip(self.spread).zip(WINDOWS) {
            let Thresholds { effect, ratio, events, .. } = self.thresholds;
            // Window sums are differences of what was added: what is left of nothing may be less than it.
            if sum.trials < 0.5 || sum.events < events - 1e-9 {
                continue;
            }
            let (observed, expected) = (sum.events / sum.trials, sum.expected / sum.trials);
            // What is over already is not told of: the shortest window must show half of it still.
            let still = shortest.events - shortest.expected >= 0.5 * (observed - expected) * shortest.trials
                && shortest.events > 0.5;
            if observed < expected + effect || observed < expected * ratio || !still {
                continue;
            }
            let nats = sum.trials / spread.factor() * divergence(observed, expected);
            if nats > most.nats {
                most =
                    Evidence { nats, observed, usual: expected, steps, samples: sum.trials.round() as u64 };
            }
        }
        most
    }
}

//! A share of events among trials: failing calls among calls, slow ones, loops among tool calls.

use super::{Evidence, FORGETTING, STEPS, WINDOWS};
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

    fn note(&mut self, window: Step) {
        if window.trials <= 0.0 {
            return;
        }
        let share = (window.expected / window.trials).clamp(0.0, 1.0);
        let off = window.events - window.expected;
        self.squares = self.squares * FORGETTING + off * off;
        self.variance = self.variance * FORGETTING + window.expected * (1.0 - share);
    }
}

/// A share of events, tested against its baseline.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    thresholds: Thresholds,
    baseline: Baseline,
    spread: [Spread; WINDOWS.len()],
    /// The newest steps, in a ring.
    steps: [Step; STEPS],
    next: usize,
    sums: [Step; WINDOWS.len()],
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

/// What goes on for so many steps without an end is usual from then on.
const NEW_NORMAL: u32 = 720;

impl Share {
    pub(crate) fn new(thresholds: Thresholds) -> Self {
        let nothing = Spread { squares: 0.0, variance: 0.0 };
        Self {
            thresholds,
            baseline: Baseline::default(),
            spread: [nothing; WINDOWS.len()],
            steps: [Step::default(); STEPS],
            next: 0,
            sums: [Step::default(); WINDOWS.len()],
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

    /// Events of the newest steps of the shortest window.
    pub(crate) fn lately(&self) -> f64 {
        self.sums[0].events
    }

    /// The usual share: as high as it may well be, since a baseline of few trials may be too low by chance.
    fn usual(&self) -> f64 {
        let trials = self.baseline.trials + 1.0;
        let share = (self.baseline.events + 0.5) / trials;
        let reach = 2.0 * (self.spread[1].factor() * share * (1.0 - share).max(0.0) / trials).sqrt();
        (share + reach).min(1.0)
    }

    /// Takes in a step and says what the newest windows show. `firing` is the evidence from which on a step is not to be
    /// learned from. Returns the step that has become old enough to be usual too, if nothing was suspicious in it.
    pub(crate) fn step(&mut self, events: u64, trials: u64, firing: f64) -> (Evidence, bool) {
        let (events, trials) = (events as f64, trials as f64);
        // Events may be told a step before or after their trials.
        let trials = trials.max(events);
        let usual = self.usual();
        let step = Step { events, trials, expected: trials * usual };
        let oldest = self.steps[self.next];
        let learn = self.leaves(oldest);
        for (sum, length) in self.sums.iter_mut().zip(WINDOWS) {
            sum.add(step, 1.0);
            sum.add(self.steps[(self.next + STEPS - length) % STEPS], -1.0);
        }
        self.steps[self.next] = step;
        self.next = (self.next + 1) % STEPS;
        let evidence = self.evidence(usual);
        if evidence.nats < firing {
            for (spread, sum) in self.spread.iter_mut().zip(self.sums) {
                spread.note(sum);
            }
        }
        if evidence.nats >= firing / 2.0 {
            self.suspicious |= (1 << evidence.steps) - 1;
        }
        (evidence, learn)
    }

    /// Makes the step that leaves the ring usual, unless it was suspicious.
    fn leaves(&mut self, oldest: Step) -> bool {
        let suspicious = self.suspicious & 1 << (STEPS - 1) != 0;
        self.suspicious = self.suspicious << 1 & ((1 << STEPS) - 1);
        if suspicious && self.skipped < NEW_NORMAL {
            self.skipped += 1;
            return false;
        }
        if !suspicious {
            self.skipped = 0;
        }
        self.baseline.events = self.baseline.events * FORGETTING + oldest.events;
        self.baseline.trials = self.baseline.trials * FORGETTING + oldest.trials;
        true
    }

    fn evidence(&self, usual: f64) -> Evidence {
        let mut most = Evidence { usual, ..Evidence::default() };
        if !self.has_learned() {
            return most;
        }
        let shortest = self.sums[0];
        for ((sum, spread), steps) in self.sums.iter().zip(self.spread).zip(WINDOWS) {
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

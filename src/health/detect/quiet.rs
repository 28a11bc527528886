//! Nothing at all, where something was to be expected; and several times as much.

use super::{DOUBTED, Evidence, FORGETTING, STEPS, WINDOWS};

/// How fast the usual rate follows: half of it is of the last half hour.
const FOLLOWING: f64 = 1.0 - 1.0 / 43.0;
/// How many times as much as usual is a flood.
const FLOOD: f64 = 5.0;
/// With less to be expected nothing is a flood.
const FEW: f64 = 4.0;
/// Steps with activity before anything is usual.
const LEARNED: u32 = 30;

/// Tells that a subject that is never quiet for long has gone quiet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quiet {
    /// Activity a step, lately.
    rate: f64,
    /// How far counts of windows were spread, and what they would be if events came one by one.
    spread: [(f64, f64); WINDOWS.len()],
    steps: [f64; STEPS],
    next: usize,
    /// Steps of silence until now.
    gap: usize,
    /// For how many steps a silence that was told of is among the newest.
    doubted: usize,
    active: u32,
    /// Steps that the rate is known from.
    known: u32,
}

impl Quiet {
    /// Takes in what happened in a step. `firing` is the evidence from which on a silence is told of.
    pub(crate) fn step(&mut self, activity: u64, firing: f64) -> Evidence {
        let activity = activity as f64;
        self.steps[self.next] = activity;
        self.next = (self.next + 1) % STEPS;
        if activity > 0.0 {
            if self.nats() >= firing {
                self.doubted = STEPS;
            }
            self.gap = 0;
            self.active = self.active.saturating_add(1);
            self.learn(activity);
            return Evidence::default();
        }
        self.gap = self.gap.saturating_add(1);
        // Silence that is still explained by chance is usual too; what is not must not become so.
        let evidence = self.evidence();
        if evidence.nats < 1.0 || self.active < LEARNED {
            self.learn(0.0);
        }
        evidence
    }

    fn learn(&mut self, activity: f64) {
        let usual = self.rate;
        let clump = self.clump();
        // A flood (a loop of another) says little about what is usual, unless it goes on.
        let most = |steps: f64| usual * steps + 3.0 * (clump * usual * steps).sqrt() + 3.0;
        // At first a plain mean.
        self.known = self.known.saturating_add(1);
        let follows = (1.0 - FOLLOWING).max(1.0 / f64::from(self.known));
        let told = if self.active < LEARNED { activity } else { activity.min(most(1.0)) };
        self.rate += (told - self.rate) * follows;
        // What windows are compared with must be known.
        if self.known < LEARNED {
            return;
        }
        let weight = if self.doubted > 0 { DOUBTED } else { 1.0 };
        self.doubted = self.doubted.saturating_sub(1);
        for (spread, steps) in self.spread.iter_mut().zip(WINDOWS) {
            let expected = usual * steps as f64;
            let seen: f64 = (1..=steps).map(|back| self.steps[(self.next + STEPS - back) % STEPS]).sum();
            let seen = seen.min(most(steps as f64));
            spread.0 = spread.0 * FORGETTING + weight * (seen - expected) * (seen - expected);
            spread.1 = spread.1 * FORGETTING + weight * expected;
        }
    }

    /// How many times as far counts are spread as those of events that come one by one.
    fn clump(&self) -> f64 {
        let known = self.spread.iter().filter(|(_, expected)| *expected > 0.0);
        known.map(|(squares, expected)| squares / expected).fold(1.0, f64::max)
    }

    /// If activity came in clumps of the usual size, one by one, so many were missed in this silence.
    fn nats(&self) -> f64 {
        let clump = self.clump();
        // The rate is known from as many clumps as came lately, and may be less by chance.
        let known = self.rate / (1.0 - FOLLOWING) / clump;
        let surely = (1.0 - 2.0 / known.max(4.0).sqrt()) * self.rate;
        surely * self.gap as f64 / clump
    }

    /// Whether there is several times as much as usual: in two steps, since many runs may begin together.
    pub(crate) fn flood(&self) -> Evidence {
        let steps = WINDOWS[0];
        let seen: f64 = (1..=steps).map(|back| self.steps[(self.next + STEPS - back) % STEPS]).sum();
        let expected = self.rate * steps as f64;
        if self.active < LEARNED || expected < FEW || seen < FLOOD * expected {
            return Evidence::default();
        }
        // The tail of a Poisson distribution, by clumps (Chernoff).
        let nats = (seen * (seen / expected).ln() - (seen - expected)) / self.clump();
        let of_step = steps as f64;
        Evidence { nats, observed: seen / of_step, usual: self.rate, steps, samples: seen as u64 }
    }

    fn evidence(&self) -> Evidence {
        if self.active < LEARNED || self.gap < 2 {
            return Evidence::default();
        }
        let missed = self.rate * self.gap as f64;
        Evidence {
            nats: self.nats(),
            observed: 0.0,
            usual: self.rate,
            steps: self.gap,
            samples: missed as u64,
        }
    }
}

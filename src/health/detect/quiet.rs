//! Nothing at all, where something was to be expected.

use super::{Evidence, STEPS, WINDOWS};

/// How fast the usual rate follows: half of it is of the last half hour.
const FOLLOWING: f64 = 1.0 - 1.0 / 43.0;
/// How fast what is known of clumps is forgotten.
const FORGETTING: f64 = super::FORGETTING;
/// Steps with activity before anything is usual.
const LEARNED: u32 = 30;

/// Tells that a subject that is never quiet for long has gone quiet.
#[derive(Debug, Clone)]
pub(crate) struct Quiet {
    /// Activity a step, lately.
    rate: f64,
    /// How far counts of windows were spread, compared with events that come one by one.
    spread: [(f64, f64); WINDOWS.len()],
    steps: [f64; STEPS],
    next: usize,
    /// Steps of silence until now.
    gap: u32,
    /// The longest silence that ended by itself, slowly forgotten.
    longest: f64,
    active: u32,
}

impl Default for Quiet {
    fn default() -> Self {
        Self {
            rate: 0.0,
            spread: [(0.0, 0.0); WINDOWS.len()],
            steps: [0.0; STEPS],
            next: 0,
            gap: 0,
            longest: 0.0,
            active: 0,
        }
    }
}

impl Quiet {
    /// Takes in what happened in a step.
    pub(crate) fn step(&mut self, activity: u64) -> Evidence {
        let activity = activity as f64;
        self.steps[self.next] = activity;
        self.next = (self.next + 1) % STEPS;
        if activity > 0.0 {
            self.longest = self.longest.max(f64::from(self.gap));
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
        self.longest *= FORGETTING;
        for (spread, steps) in self.spread.iter_mut().zip(WINDOWS) {
            let expected = self.rate * steps as f64;
            let seen: f64 = (1..=steps).map(|back| self.steps[(self.next + STEPS - back) % STEPS]).sum();
            spread.0 = spread.0 * FORGETTING + (seen - expected) * (seen - expected);
            spread.1 = spread.1 * FORGETTING + expected;
        }
        self.rate = self.rate * FOLLOWING + activity * (1.0 - FOLLOWING);
    }

    fn evidence(&self) -> Evidence {
        let gap = f64::from(self.gap);
        if self.active < LEARNED || gap <= 1.5 * self.longest + 1.0 {
            return Evidence::default();
        }
        let place = WINDOWS
            .iter()
            .position(|steps| f64::from(self.gap) <= *steps as f64)
            .unwrap_or(WINDOWS.len() - 1);
        let (squares, expected) = self.spread[place];
        let clump = if expected > 0.0 { (squares / expected).max(1.0) } else { 1.0 };
        // If activity came in clumps of this size, one by one, so many were missed.
        let nats = self.rate * gap / clump;
        Evidence {
            nats,
            observed: 0.0,
            usual: self.rate,
            steps: usize::try_from(self.gap).unwrap_or(usize::MAX),
            samples: (self.rate * gap) as u64,
        }
    }
}

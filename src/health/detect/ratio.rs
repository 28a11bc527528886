//! A mean that may be higher than usual: the cost of a token.

use std::collections::VecDeque;

use super::{DOUBTED, DOUBTED_NATS, Evidence, FORGETTING, STEPS, WINDOWS};

#[derive(Debug, Clone, Copy, Default)]
struct Step {
    sum: f64,
    count: f64,
    calls: f64,
    suspicious: bool,
}

/// How far the logarithms of the means of windows of one length were from what was usual.
#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    squares: f64,
    weight: f64,
}

impl Spread {
    fn deviation(self) -> f64 {
        if self.weight > 0.0 { (self.squares / self.weight).sqrt().max(FLOOR) } else { 1.0 }
    }

    fn note(&mut self, off: f64, doubted: bool) {
        let deviation = self.deviation();
        let (weight, most) = match doubted {
            true => (DOUBTED, 2.0 * DOUBTED_NATS * deviation * deviation),
            // What costs nothing at all is no sign of how costs are spread.
            false => (1.0, 1.0),
        };
        self.squares = self.squares * FORGETTING + weight * (off * off).min(most);
        self.weight = self.weight * FORGETTING + weight;
    }
}

/// A mean, tested against its baseline on a logarithmic scale.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ratio {
    sum: f64,
    count: f64,
    spread: [Spread; WINDOWS.len()],
    steps: VecDeque<Step>,
    learned_steps: u32,
}

/// How many times as great as usual a mean must be to be told of.
const LEAST: f64 = 1.4;
/// Calls in a window before its mean says anything.
const FEW: f64 = 10.0;
/// Steps before anything is usual.
const LEARNED: u32 = 60;
/// No mean is known better than by this (of its logarithm): what is usual drifts.
const FLOOR: f64 = 0.05;

impl Ratio {
    /// Takes in a step, a sum over `count` parts of some calls, and says what the newest windows show.
    pub(crate) fn step(&mut self, sum: f64, count: f64, calls: u64, firing: f64) -> Evidence {
        self.steps.push_front(Step { sum, count, calls: calls as f64, suspicious: false });
        self.steps.truncate(2 * STEPS);
        let evidence = self.evidence();
        let suspicious = match evidence.nats {
            // What came before an alarm belongs to it; what came before a mere suspicion may.
            nats if nats >= firing => STEPS,
            nats if nats >= firing / 2.0 => evidence.steps,
            _ => 0,
        };
        self.steps.iter_mut().take(suspicious).for_each(|step| step.suspicious = true);
        self.learn();
        evidence
    }

    fn usual(&self) -> f64 {
        if self.count > 0.0 { self.sum / self.count } else { 0.0 }
    }

    fn evidence(&self) -> Evidence {
        let usual = self.usual();
        let mut most = Evidence { usual, ..Evidence::default() };
        if usual <= 0.0 || self.learned_steps < LEARNED {
            return most;
        }
        // What is over already is not told of.
        let newest = self.window(0, WINDOWS[0]);
        for (spread, steps) in self.spread.iter().zip(WINDOWS) {
            let window = self.window(0, steps);
            let (Some(off), Some(newest)) = (window.off(usual), newest.off_few(usual)) else { continue };
            if off < LEAST.ln() || newest < off / 2.0 {
                continue;
            }
            let deviations = off / spread.deviation();
            let nats = deviations * deviations / 2.0;
            if nats > most.nats {
                let samples = window.calls as u64;
                most = Evidence { nats, observed: window.sum / window.count, usual, steps, samples };
            }
        }
        most
    }

    /// Makes the step of [`STEPS`] ago usual, unless it was suspicious; and how far its windows were spread.
    fn learn(&mut self) {
        const OLD: usize = STEPS - 1;
        let Some(old) = self.steps.get(OLD).copied() else { return };
        let usual = self.usual();
        if usual > 0.0 && self.learned_steps >= LEARNED / 4 {
            for (place, steps) in WINDOWS.into_iter().enumerate() {
                let window = self.window(OLD, steps);
                let Some(off) = window.off(usual) else { continue };
                self.spread[place].note(off, window.suspicious);
            }
        }
        if old.suspicious {
            return;
        }
        self.sum = self.sum * FORGETTING + old.sum;
        self.count = self.count * FORGETTING + old.count;
        self.learned_steps = self.learned_steps.saturating_add(u32::from(old.count > 0.0));
    }

    /// So many steps that end `back` steps before the newest.
    fn window(&self, back: usize, steps: usize) -> Step {
        self.steps.iter().skip(back).take(steps).fold(Step::default(), |window, step| Step {
            sum: window.sum + step.sum,
            count: window.count + step.count,
            calls: window.calls + step.calls,
            suspicious: window.suspicious || step.suspicious,
        })
    }
}

impl Step {
    /// How far the mean is from what is usual, as a logarithm; `None` if too few calls say so.
    fn off(&self, usual: f64) -> Option<f64> {
        self.off_few(usual).filter(|_| self.calls >= FEW)
    }

    fn off_few(&self, usual: f64) -> Option<f64> {
        (self.count > 0.0).then(|| (self.sum / self.count / usual).max(1e-6).ln())
    }
}

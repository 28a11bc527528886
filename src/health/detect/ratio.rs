//! A mean that may be higher than usual: the cost of a call.

use std::collections::VecDeque;

use super::{Evidence, FORGETTING, STEPS, WINDOWS};

#[derive(Debug, Clone, Copy, Default)]
struct Step {
    sum: f64,
    count: f64,
    suspicious: bool,
}

/// How far the logarithms of the means of windows of one length were from what was usual.
#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    squares: f64,
    weight: f64,
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
/// Values in a window before its mean says anything.
const FEW: f64 = 10.0;
/// Steps before anything is usual.
const LEARNED: u32 = 60;
/// No mean is known better than by this (of its logarithm): what is usual drifts.
const FLOOR: f64 = 0.05;

impl Ratio {
    /// Takes in a step and says what the newest windows show.
    pub(crate) fn step(&mut self, sum: f64, count: u64, firing: f64) -> Evidence {
        self.steps.push_back(Step { sum, count: count as f64, suspicious: false });
        if self.steps.len() > STEPS {
            if let Some(oldest) = self.steps.pop_front().filter(|step| !step.suspicious) {
                self.sum = self.sum * FORGETTING + oldest.sum;
                self.count = self.count * FORGETTING + oldest.count;
                self.learned_steps = self.learned_steps.saturating_add(u32::from(oldest.count > 0.0));
            }
        }
        let usual = if self.count > 0.0 { self.sum / self.count } else { 0.0 };
        if usual <= 0.0 {
            return Evidence::default();
        }
        let mut most = Evidence { usual, ..Evidence::default() };
        for (place, steps) in WINDOWS.into_iter().enumerate() {
            let (sum, count) = self.lately(steps);
            if count < FEW {
                continue;
            }
            let off = (sum / count / usual).max(1e-6).ln();
            let spread = &mut self.spread[place];
            let deviation = if spread.weight > 0.0 { (spread.squares / spread.weight).sqrt() } else { 1.0 };
            let deviations = off / deviation.max(FLOOR);
            let nats = if deviations > 0.0 { deviations * deviations / 2.0 } else { 0.0 };
            if nats < firing {
                spread.squares = spread.squares * FORGETTING + off * off;
                spread.weight = spread.weight * FORGETTING + 1.0;
            }
            let (sum, count) = if off >= LEAST.ln() { self.lately(WINDOWS[0]) } else { (0.0, 0.0) };
            // What is over already is not told of.
            let still = count > 0.0 && (sum / count / usual).ln() >= off / 2.0;
            if still && self.learned_steps >= LEARNED && nats > most.nats {
                let (sum, count) = self.lately(steps);
                most = Evidence { nats, observed: sum / count, usual, steps, samples: count as u64 };
            }
        }
        if most.nats >= firing / 2.0 {
            self.steps.iter_mut().rev().take(most.steps).for_each(|step| step.suspicious = true);
        }
        most
    }

    fn lately(&self, steps: usize) -> (f64, f64) {
        let newest = self.steps.iter().rev().take(steps);
        newest.fold((0.0, 0.0), |(sum, count), step| (sum + step.sum, count + step.count))
    }
}

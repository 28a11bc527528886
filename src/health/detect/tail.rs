//! The share of values that are greater than nine in ten usually are: slow calls, large prompts.

use std::collections::VecDeque;

use super::share::{Share, Thresholds};
use super::{Evidence, FORGETTING, STEPS};
use crate::views::Sketch;

/// Which shares of the usual values are above the limits: the tenth shows what hits few calls but many values, the fiftieth
/// what hits few values of something that is hardly ever slow.
const ABOVE: [f64; 2] = [0.1, 0.02];

/// What values usually are, by bucket, the older the lighter.
#[derive(Debug, Clone, Default)]
struct Usual {
    first: i16,
    weights: Vec<f32>,
    total: f64,
    /// What a new value weighs: grows, so that what is old need not be touched to get lighter.
    unit: f64,
}

impl Usual {
    fn add(&mut self, step: &[(i16, u32)]) {
        self.unit = if self.unit == 0.0 { 1.0 } else { self.unit / FORGETTING };
        for (index, count) in step {
            let weight = f64::from(*count) * self.unit;
            *self.place(*index) += weight as f32;
            self.total += weight;
        }
        if self.unit > 1e6 {
            let unit = self.unit;
            self.weights.iter_mut().for_each(|weight| *weight = (f64::from(*weight) / unit) as f32);
            self.total /= unit;
            self.unit = 1.0;
        }
    }

    fn place(&mut self, index: i16) -> &mut f32 {
        if self.weights.is_empty() {
            self.first = index;
        }
        if index < self.first {
            let more = usize::from(self.first.abs_diff(index));
            self.weights.splice(0..0, std::iter::repeat_n(0.0, more));
            self.first = index;
        }
        let place = usize::from(self.first.abs_diff(index));
        if place >= self.weights.len() {
            self.weights.resize(place + 1, 0.0);
        }
        &mut self.weights[place]
    }

    /// The buckets above which [`ABOVE`] of the weight is, with events above them and trials, as counts.
    fn limits(&self) -> [Limit; ABOVE.len()] {
        let mut above = self.total;
        let mut index = self.first;
        let mut weights = self.weights.iter();
        let unit = self.unit.max(1.0);
        ABOVE.map(|share| {
            while above > share * self.total
                && let Some(weight) = weights.next()
            {
                above -= f64::from(*weight);
                index = index.saturating_add(1);
            }
            Limit { index: index.saturating_sub(1), events: above.max(0.0) / unit, trials: self.total / unit }
        })
    }
}

struct Limit {
    index: i16,
    events: f64,
    trials: f64,
}

/// The shares of values above what nine in ten, and 98 in 100, usually are, tested against their baselines.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    shares: [Share; ABOVE.len()],
    usual: Usual,
    limits: [i16; ABOVE.len()],
    /// The newest steps, which are not usual yet.
    waiting: VecDeque<Box<[(i16, u32)]>>,
    /// The greatest value, slowly forgotten.
    greatest: f64,
}

impl Tail {
    pub(crate) fn new(thresholds: [Thresholds; ABOVE.len()]) -> Self {
        Self {
            shares: thresholds.map(Share::new),
            usual: Usual::default(),
            limits: [i16::MAX; ABOVE.len()],
            waiting: VecDeque::with_capacity(STEPS + 1),
            greatest: 0.0,
        }
    }

    /// The greatest value of about a day, once enough is known.
    pub(crate) fn greatest(&self) -> Option<f64> {
        self.shares[0].has_learned().then_some(self.greatest)
    }

    /// Takes in a step and says what the newest windows show.
    pub(crate) fn step(&mut self, values: &Sketch, firing: f64) -> Evidence {
        let (mut evidence, mut learn) = (Evidence::default(), true);
        for (share, limit) in self.shares.iter_mut().zip(self.limits) {
            let events = if limit == i16::MAX { 0 } else { values.above(limit) };
            let (says, learns) = share.step(events, values.count(), firing);
            learn &= learns;
            if says.nats > evidence.nats {
                evidence = says;
            }
        }
        let step: Box<[(i16, u32)]> = values
            .buckets()
            .map(|(index, count)| (index, u32::try_from(count).unwrap_or(u32::MAX)))
            .collect();
        self.waiting.push_back(step);
        if self.waiting.len() >= STEPS
            && let Some(oldest) = self.waiting.pop_front().filter(|_| learn)
        {
            self.learn(&oldest);
        }
        evidence
    }

    fn learn(&mut self, oldest: &[(i16, u32)]) {
        self.usual.add(oldest);
        self.greatest *= FORGETTING.powf(0.25);
        if let Some((index, _)) = oldest.last() {
            self.greatest = self.greatest.max(crate::views::upper_edge(*index));
        }
        for ((share, known), limit) in self.shares.iter_mut().zip(&mut self.limits).zip(self.usual.limits()) {
            *known = limit.index;
            share.set_baseline(limit.events, limit.trials);
        }
    }
}

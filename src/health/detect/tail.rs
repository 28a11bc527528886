//! The share of values that are greater than nine in ten usually are: slow calls, large prompts.

use std::collections::VecDeque;

use super::share::{Share, Thresholds};
use super::{Evidence, FORGETTING, STEPS};
use crate::views::Sketch;

/// Which share of the usual values is below the limit.
const BELOW: f64 = 0.9;

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

    /// The bucket below which [`BELOW`] of the weight is, with events above it and trials, as counts.
    fn limit(&self) -> (i16, f64, f64) {
        let mut above = self.total;
        let mut index = self.first;
        for weight in &self.weights {
            above -= f64::from(*weight);
            if above <= (1.0 - BELOW) * self.total {
                break;
            }
            index = index.saturating_add(1);
        }
        let unit = self.unit.max(1.0);
        (index, above.max(0.0) / unit, self.total / unit)
    }
}

/// The share of values above the usual ninth tenth, tested against its baseline.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    share: Share,
    usual: Usual,
    limit: i16,
    /// The newest steps, which are not usual yet.
    waiting: VecDeque<Box<[(i16, u32)]>>,
    /// The greatest value, slowly forgotten.
    greatest: f64,
}

impl Tail {
    pub(crate) fn new(thresholds: Thresholds) -> Self {
        Self {
            share: Share::new(thresholds),
            usual: Usual::default(),
            limit: i16::MAX,
            waiting: VecDeque::with_capacity(STEPS + 1),
            greatest: 0.0,
        }
    }

    /// The greatest value of about a day, once enough is known.
    pub(crate) fn greatest(&self) -> Option<f64> {
        self.share.has_learned().then_some(self.greatest)
    }

    /// The limit itself: what nine in ten values usually do not exceed.
    pub(crate) fn limit(&self) -> Option<f64> {
        self.share.has_learned().then(|| crate::views::upper_edge(self.limit))
    }

    /// Takes in a step and says what the newest windows show.
    pub(crate) fn step(&mut self, values: &Sketch, firing: f64) -> Evidence {
        let events = if self.limit == i16::MAX { 0 } else { values.above(self.limit) };
        let (evidence, learn) = self.share.step(events, values.count(), firing);
        let step: Box<[(i16, u32)]> = values
            .buckets()
            .map(|(index, count)| (index, u32::try_from(count).unwrap_or(u32::MAX)))
            .collect();
        self.waiting.push_back(step);
        if self.waiting.len() > STEPS {
            if let Some(oldest) = self.waiting.pop_front().filter(|_| learn) {
                self.learn(&oldest);
            }
        }
        evidence
    }

    fn learn(&mut self, oldest: &[(i16, u32)]) {
        self.usual.add(oldest);
        self.greatest *= FORGETTING.powf(0.25);
        if let Some((index, _)) = oldest.last() {
            self.greatest = self.greatest.max(crate::views::upper_edge(*index));
        }
        let (limit, events, trials) = self.usual.limit();
        if trials > 0.0 {
            self.limit = limit;
            self.share.set_baseline(events, trials);
        }
    }
}

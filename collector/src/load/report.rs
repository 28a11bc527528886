//! What a load came to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// Reasons that are told apart; the rest is one.
const MAX_REASONS: usize = 20;

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sent: u64,
    acknowledged: u64,
    bytes: u64,
    refused: BTreeMap<String, u64>,
    retried: BTreeMap<&'static str, u64>,
    /// Microseconds that each request waited.
    waits: Vec<u32>,
}

impl Tally {
    pub(super) fn taken(&mut self, spans: u64, rejected: u64, bytes: u64, wait: Duration) {
        self.sent += spans;
        self.bytes += bytes;
        self.acknowledged += spans.saturating_sub(rejected);
        if rejected > 0 {
            self.refuse("partial success".to_owned(), rejected.min(spans));
        }
        self.waits.push(u32::try_from(wait.as_micros()).unwrap_or(u32::MAX));
    }

    pub(super) fn refused(&mut self, spans: u64, why: String) {
        self.sent += spans;
        self.refuse(why, spans);
    }

    pub(super) fn retried(&mut self, why: &'static str) {
        *self.retried.entry(why).or_default() += 1;
    }

    fn refuse(&mut self, why: String, spans: u64) {
        let known = self.refused.contains_key(&why) || self.refused.len() < MAX_REASONS;
        *self.refused.entry(if known { why } else { "other".to_owned() }).or_default() += spans;
    }

    pub(super) fn report(&self, seed: u64, time: Duration) -> Report {
        let seconds = time.as_secs_f64();
        Report {
            sent: self.sent,
            acknowledged: self.acknowledged,
            refused: self.refused.values().sum(),
            refused_by: self.refused.clone(),
            retried_by: self.retried.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
            seconds,
            spans_per_second: self.acknowledged as f64 / seconds.max(1e-9),
            requests: self.waits.len() as u64,
            bytes: self.bytes,
            latency_ms: Latency::of(&self.waits),
            seed,
        }
    }
}

/// What a load came to. Serialises as the document of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Spans that were sent, each counted once however often it was tried.
    pub sent: u64,
    /// Spans that were acknowledged.
    pub acknowledged: u64,
    /// Spans that were not.
    pub refused: u64,
    /// The same by reason.
    pub refused_by: BTreeMap<String, u64>,
    /// Attempts after which the endpoint asked for another one, by its answer.
    pub retried_by: BTreeMap<String, u64>,
    /// How long it took.
    pub seconds: f64,
    /// Acknowledged spans a second.
    pub spans_per_second: f64,
    /// Requests that were acknowledged.
    pub requests: u64,
    /// Their bytes before compression.
    pub bytes: u64,
    /// How long they waited for the acknowledgement: from when they were due if there was a rate, else from when they were
    /// sent first.
    pub latency_ms: Latency,
    /// What the ids follow from.
    pub seed: u64,
}

/// Milliseconds that requests waited.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
#[non_exhaustive]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 90 of 100 waited at most so long.
    pub p90: f64,
    /// 99 of 100 waited at most so long.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    fn of(waits: &[u32]) -> Self {
        let mut sorted = waits.to_vec();
        sorted.sort_unstable();
        let at = |share: f64| {
            let place = (share * sorted.len() as f64).ceil() as usize;
            sorted
                .get(place.clamp(1, sorted.len().max(1)) - 1)
                .map_or(0.0, |micros| f64::from(*micros) / 1_000.0)
        };
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

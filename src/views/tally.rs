//! What happened to one subject in some stretch of time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sketch::{Packed, Sketch};

/// What happened to one subject in some stretch of time: counts, sums and distributions. Tallies of stretches, or of
/// processes, add up by [`merge`](Self::merge).
///
/// What a subject has no use for stays 0: a tool has no tokens.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Tally {
    /// Operations that ended: runs of an agent, calls of a model or a tool.
    pub count: u64,
    /// Those that ended with an error, by `error.type`.
    pub errors: BTreeMap<Arc<str>, u64>,
    /// Durations of those that ended without an error, seconds.
    pub durations: Sketch,
    /// Durations of those that ended with one, seconds.
    pub failed_durations: Sketch,
    /// Input tokens of the calls of a model.
    pub input: Sketch,
    /// Output tokens.
    pub output_tokens: u64,
    /// Input tokens that came from the provider's cache.
    pub cache_read_tokens: u64,
    /// Cost in billionths of a US dollar, of the calls whose price is known.
    pub cost_nano: u64,
    /// Calls whose price is unknown.
    pub unpriced: u64,
    /// Loops: the same tool with the same arguments for the third time.
    pub loops: u64,
    /// Answers without a token.
    pub empty: u64,
    /// Answers that were refused or filtered away.
    pub refused: u64,
    /// Calls that were made again after an error.
    pub retries: u64,
    /// Runs of an agent that reached their goal.
    pub succeeded: u64,
    /// Runs that ended in good order without having reached it.
    pub missed: u64,
    /// Model calls that an agent made.
    pub model_calls: u64,
    /// Tool calls that an agent made.
    pub tool_calls: u64,
    /// Model and tool calls of an agent that failed.
    pub failed_calls: u64,
    /// Of the whole system: spans that were lost.
    pub spans_lost: u64,
    /// Of the whole system: slow requests, errors of caches and other things that are only counted, by metric.
    pub counters: BTreeMap<Arc<str>, f64>,
}

impl Tally {
    /// How many ended with an error; those that were given up by their caller are not among them.
    pub fn failed(&self) -> u64 {
        self.errors
            .iter()
            .filter(|(class, _)| &***class != crate::semconv::error_type::CANCELLED)
            .map(|(_, count)| count)
            .sum()
    }

    /// How many were given up by their caller.
    pub fn cancelled(&self) -> u64 {
        self.errors.get(crate::semconv::error_type::CANCELLED).copied().unwrap_or(0)
    }

    /// Everything that ended at or for the subject: a sign of life.
    pub fn activity(&self) -> u64 {
        self.count + self.model_calls + self.tool_calls
    }

    /// Durations of all, with an error or without.
    pub fn all_durations(&self) -> Sketch {
        let mut all = self.durations.clone();
        all.merge(&self.failed_durations);
        all
    }

    /// Input and output tokens.
    pub fn tokens(&self) -> u64 {
        self.input.sum() as u64 + self.output_tokens
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what happened in another stretch of time or another process.
    pub fn merge(&mut self, other: &Self) {
        self.merge_counts(other);
        self.durations.merge(&other.durations);
        self.failed_durations.merge(&other.failed_durations);
        self.input.merge(&other.input);
    }

    fn merge_counts(&mut self, other: &Self) {
        for (class, count) in &other.errors {
            *self.errors.entry(Arc::clone(class)).or_default() += count;
        }
        for (name, value) in &other.counters {
            *self.counters.entry(Arc::clone(name)).or_default() += value;
        }
        for (mine, theirs) in [
            (&mut self.count, other.count),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cache_read_tokens, other.cache_read_tokens),
            (&mut self.cost_nano, other.cost_nano),
            (&mut self.unpriced, other.unpriced),
            (&mut self.loops, other.loops),
            (&mut self.empty, other.empty),
            (&mut self.refused, other.refused),
            (&mut self.retries, other.retries),
            (&mut self.succeeded, other.succeeded),
            (&mut self.missed, other.missed),
            (&mut self.model_calls, other.model_calls),
            (&mut self.tool_calls, other.tool_calls),
            (&mut self.failed_calls, other.failed_calls),
            (&mut self.spans_lost, other.spans_lost),
        ] {
            *mine = mine.saturating_add(theirs);
        }
    }
}

/// A tally that does not change any more, as small as can be.
#[derive(Debug, Clone, Default)]
pub(super) struct Closed {
    /// Without the distributions; `None` if nothing happened.
    counts: Option<Box<Tally>>,
    durations: Packed,
    failed_durations: Packed,
    input: Packed,
}

impl Closed {
    pub(super) fn of(mut tally: Tally) -> Self {
        if tally.is_empty() {
            return Self::default();
        }
        let durations = Packed::of(&std::mem::take(&mut tally.durations));
        let failed_durations = Packed::of(&std::mem::take(&mut tally.failed_durations));
        let input = Packed::of(&std::mem::take(&mut tally.input));
        Self { counts: Some(Box::new(tally)), durations, failed_durations, input }
    }

    pub(super) fn merge_into(&self, tally: &mut Tally) {
        if let Some(counts) = &self.counts {
            tally.merge_counts(counts);
            self.durations.merge_into(&mut tally.durations);
            self.failed_durations.merge_into(&mut tally.failed_durations);
            self.input.merge_into(&mut tally.input);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let counts = self.counts.as_ref().map_or(0, |counts| {
            size_of::<Tally>()
                + (counts.errors.len() + counts.counters.len()) * 2 * size_of::<(Arc<str>, u64)>()
        });
        size_of::<Self>() + counts + self.durations.len() + self.failed_durations.len() + self.input.len()
    }
}

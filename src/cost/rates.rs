//! The arithmetic of prices: integers only.

use super::{Nanodollars, Price, UnknownReason};
use crate::operation::Usage;

const TOKENS_PER_RATE: u128 = 1_000_000;

/// Prices of one model at one time, by the number of input tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rates {
    /// Nanodollars for each call.
    pub(super) request: u64,
    /// While no tier applies.
    pub(super) base: Rate,
    /// Sorted by `above`; the last one below the number of input tokens prices the whole call.
    pub(super) tiers: Box<[Tier]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tier {
    /// Applies to calls with more input tokens than this.
    pub(super) above: u64,
    pub(super) rate: Rate,
}

/// Nanodollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rate {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cache_read: u64,
    pub(super) cache_write: u64,
    pub(super) reasoning: u64,
}

impl Rates {
    /// What these tokens cost. Rounded once, to the nearest nanodollar.
    pub(super) fn price(&self, usage: &Usage) -> Price {
        let Some(input) = usage.input_tokens else { return Price::Unknown(UnknownReason::NoUsage) };
        // Embeddings have no output; absent subsets are not billed apart from what they are a part of.
        let output = usage.output_tokens.unwrap_or(0);
        let read = usage.cache_read_tokens.unwrap_or(0);
        let write = usage.cache_write_tokens.unwrap_or(0);
        let reasoning = usage.reasoning_tokens.unwrap_or(0);
        let fresh = input.checked_sub(read).and_then(|rest| rest.checked_sub(write));
        let (Some(fresh), Some(plain)) = (fresh, output.checked_sub(reasoning)) else {
            return Price::Unknown(UnknownReason::InconsistentUsage);
        };
        let rate = self.rate(input);
        let sum = [
            (fresh, rate.input),
            (read, rate.cache_read),
            (write, rate.cache_write),
            (plain, rate.output),
            (reasoning, rate.reasoning),
        ]
        .into_iter()
        .fold(0_u128, |sum, (tokens, rate)| sum.saturating_add(u128::from(tokens) * u128::from(rate)));
        let rounded = sum.saturating_add(TOKENS_PER_RATE / 2) / TOKENS_PER_RATE;
        let total = rounded.saturating_add(u128::from(self.request));
        Price::Known(Nanodollars::new(u64::try_from(total).unwrap_or(u64::MAX)))
    }

    fn rate(&self, input: u64) -> &Rate {
        self.tiers.iter().rev().find(|tier| input > tier.above).map_or(&self.base, |tier| &tier.rate)
    }
}

//! Questions about whole traces: how spans are related, and what sets of them come to.

pub(super) mod ancestry;
mod fill;
mod gather;
mod latest;
mod plan;
mod read;
mod related;
mod search;
mod spansets;
mod tree;

#[cfg(test)]
mod latest_tests;
#[cfg(test)]
mod related_tests;
#[cfg(test)]
mod tests;

pub(super) use self::plan::service;
pub(super) use self::read::TraceId;
pub(super) use self::search::{answer, are_few, around, comes_to_numbers, each};
pub(super) use self::spansets::owned;

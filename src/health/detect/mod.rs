//! What tells that something is not as it was: tests of the newest minutes against what is usual.
//!
//! Each test keeps what is usual for one signal of one subject (its baseline), learned from everything that came before and
//! was not suspicious, and says how much evidence the newest minutes give against it. Evidence is counted in nats: a value
//! of 12 means that what is seen would come by chance with a probability of at most `exp(-12)`, 1 in 160,000, if
//! everything were as usual. Events that come in clumps (one run with ten failing calls) are less evidence than single
//! ones; how much less is learned too, from how far past minutes were spread.

mod quiet;
mod ratio;
mod share;
mod tail;

pub(super) use self::quiet::Quiet;
pub(super) use self::ratio::Ratio;
pub(super) use self::share::{Share, Thresholds};
pub(super) use self::tail::Tail;

/// How many steps of an evaluator are remembered one by one.
pub(super) const STEPS: usize = 15;
/// The windows that are tested, in steps.
pub(super) const WINDOWS: [usize; 3] = [2, 5, STEPS];

/// What a test says of the newest steps.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Evidence {
    /// Nats against everything being as usual; 0 if nothing speaks against it.
    pub(super) nats: f64,
    /// What is seen: a share, a ratio or seconds.
    pub(super) observed: f64,
    /// What is usual.
    pub(super) usual: f64,
    /// Steps over which it is seen.
    pub(super) steps: usize,
    /// Trials that it rests on.
    pub(super) samples: u64,
}

/// What is forgotten: a step loses half of its weight in half a day of minutes.
pub(super) const FORGETTING: f64 = 1.0 - 1.0 / 1_040.0;

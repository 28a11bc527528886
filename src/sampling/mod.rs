//! Which traces are kept.
//!
//! Sampling decides about traces only: metrics, cost and health see every operation. [`HeadSampler`] decides
//! when the first span of a trace starts, by ratio, by rules on the agent and the operation, and by what the
//! parent decided.
//!
//! Deciding once a trace is complete (keep what failed, was slow or costly) and ratios that agree with those
//! of other services (`ot=th` in the trace state) are not there yet; they will be `tail` and `consistent`
//! beside this.

mod head;

pub use head::HeadSampler;

//! Points of metrics put together: over time, over series, over the processes that sent them.
//!
//! What is added up is what was counted between two points, so that cumulative and delta metrics, restarts and many
//! processes give one answer. Nothing is resampled: counts of explicit buckets are added where the bounds are the same, and
//! exponential histograms at the coarsest scale of all, where every bucket of a finer one lies within one bucket
//! (OpenTelemetry, metrics data model, "Exponential Histogram", "Merging").

mod distribution;
mod exponential;
mod series;
mod thin;

#[cfg(test)]
mod tests;

pub(crate) use distribution::{Distribution, Shape};
pub(crate) use exponential::{Buckets, Exponential};
pub(crate) use series::{Counting, Increase, Kind, Point, Reading, Temporality, increases};
pub(crate) use thin::{Fate, thin};

//! How long operations took since the start, and how many failed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use super::distribution::Distribution;
use super::sketch::Sketch;
use super::tally::Tally;
use crate::operation::OperationKind;
use crate::semconv::{attr, metric};

/// How long the operations of one subject (an agent, a tool, a model ...) took, and how many failed, since the start.
///
/// Count, errors, average, least and greatest are exact. Quantiles come from the buckets of the histograms: see
/// [`p`](Self::p).
///
/// Serialises to seconds: `average_s`, `min_s`, `max_s`, `p50_s`, `p95_s`, `p99_s`, beside `count` and `errors`.
///
/// ```
/// use agentvitals::Measured;
/// use std::time::Duration;
///
/// let telemetry = agentvitals::builder().without_export().build()?;
/// for millis in [800, 900, 1_000, 4_000] {
///     telemetry.record(&Measured::agent_run("planner").duration(Duration::from_millis(millis)));
/// }
/// let performance = telemetry.performance_since_start("planner").ok_or("planner never ran")?;
/// assert_eq!((performance.count, performance.max), (4, Duration::from_secs(4)));
/// println!("{performance}"); // 4 runs, 0 failed; average 1.675 s, ...
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Performance {
    /// Operations that have ended.
    pub count: u64,
    /// Those that ended with an error, by `error.type`.
    pub errors: BTreeMap<String, u64>,
    /// Sum of the durations by their count.
    pub average: Duration,
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    distribution: Distribution,
}

impl Performance {
    fn of(parts: &[(&str, &Distribution)]) -> Option<Self> {
        let (_, first) = parts.first()?;
        let mut distribution = (*first).clone();
        for (_, part) in &parts[1..] {
            distribution.merge(part);
        }
        let mut errors = BTreeMap::new();
        for (error, part) in parts.iter().filter(|(error, _)| !error.is_empty()) {
            *errors.entry((*error).to_owned()).or_default() += part.count;
        }
        Some(Self {
            count: distribution.count,
            errors,
            average: seconds(distribution.average()),
            min: seconds(distribution.min),
            max: seconds(distribution.max),
            distribution,
        })
    }

    /// Of the operations of a window; `None` if there were none.
    pub(super) fn of_tally(tally: &Tally) -> Option<Self> {
        let all: Sketch = tally.all_durations();
        let distribution = Distribution::of_sketch(&all)?;
        Some(Self {
            count: distribution.count,
            errors: tally.errors.iter().map(|(error, count)| ((**error).to_owned(), *count)).collect(),
            average: seconds(distribution.average()),
            min: seconds(distribution.min),
            max: seconds(distribution.max),
            distribution,
        })
    }

    /// How many ended with an error.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The quantile `p`, from 0 to 1: the duration that this share of the operations did not exceed; the one of rank
    /// `ceil(p * count)` in order. `p(0.95)` is the 95th percentile. `None` if `p` is not from 0 to 1.
    ///
    /// With exponential histograms (the default) it is off by at most [`relative_error`](Self::relative_error). That
    /// depends on how far the durations spread, because a histogram has 160 buckets: at most 0.55 % while the longest
    /// takes less than 5.6 times the shortest, 1.1 % up to 30 times, 2.2 % up to 1,000 times, 4.4 % up to a million
    /// times. With explicit buckets it is off by at most the width of its bucket: see [`p_bounds`](Self::p_bounds). The
    /// ranks of the shortest and the longest are exact in any case, and no quantile is outside of them.
    pub fn p(&self, p: f64) -> Option<Duration> {
        self.distribution.quantile(p).map(seconds)
    }

    /// Between which two durations the exact quantile `p` lies.
    pub fn p_bounds(&self, p: f64) -> Option<(Duration, Duration)> {
        self.distribution.bounds_of(p).map(|(low, high)| (seconds(low), seconds(high)))
    }

    /// By how much, as a share of it, a quantile may be off at most: 0.01 is 1 %. `None` with explicit buckets.
    pub fn relative_error(&self) -> Option<f64> {
        self.distribution.relative_error()
    }
}

impl fmt::Display for Performance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, average, min, max, .. } = self;
        let (runs, failed) = (if *count == 1 { "run" } else { "runs" }, self.error_count());
        write!(f, "{count} {runs}, {failed} failed; average {}", Seconds(*average))?;
        for (name, p) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            if let Some(quantile) = self.p(p) {
                write!(f, ", {name} {}", Seconds(quantile))?;
            }
        }
        write!(f, ", min {}, max {}", Seconds(*min), Seconds(*max))
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.0.as_secs_f64())
    }
}

impl Serialize for Performance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let quantile = |p: f64| self.p(p).map(|duration| duration.as_secs_f64());
        let mut fields = serializer.serialize_struct("Performance", 8)?;
        fields.serialize_field("count", &self.count)?;
        fields.serialize_field("errors", &self.errors)?;
        fields.serialize_field("average_s", &self.average.as_secs_f64())?;
        fields.serialize_field("min_s", &self.min.as_secs_f64())?;
        fields.serialize_field("max_s", &self.max.as_secs_f64())?;
        fields.serialize_field("p50_s", &quantile(0.5))?;
        fields.serialize_field("p95_s", &quantile(0.95))?;
        fields.serialize_field("p99_s", &quantile(0.99))?;
        fields.end()
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Whose operations, and with which `error.type` they ended (empty without).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: OperationKind,
    subject: String,
    error: String,
}

/// The newest aggregates of our duration instruments.
///
/// No larger than the instruments themselves: series that differ in other attributes are merged here.
#[derive(Debug)]
pub(crate) struct Totals {
    scope: &'static str,
    durations: Mutex<BTreeMap<&'static str, BTreeMap<Key, Distribution>>>,
    /// Most keys of an instrument. Deltas of many intervals come together here, so a limit of their own is needed.
    limit: usize,
}

impl Totals {
    /// Views of the instruments under this scope, with at most so many series each.
    pub(crate) fn new(scope: &'static str, limit: usize) -> Self {
        Self { scope, durations: Mutex::default(), limit }
    }

    /// Takes in a collection.
    pub(crate) fn observe(&self, metrics: &ResourceMetrics) {
        let ours = metrics.scope_metrics().filter(|scope| scope.scope().name() == self.scope);
        for metric in ours.flat_map(|scope| scope.metrics()) {
            let Some(name) = DURATIONS.iter().find(|name| **name == metric.name()) else { continue };
            let AggregatedMetrics::F64(data) = metric.data() else { continue };
            let mut fresh = BTreeMap::new();
            let temporality = match data {
                MetricData::ExponentialHistogram(histogram) => {
                    for point in histogram.data_points() {
                        let attributes = Attributes::of(point.attributes());
                        add(&mut fresh, name, &attributes, Distribution::of_exponential(point));
                    }
                    histogram.temporality()
                }
                MetricData::Histogram(histogram) => {
                    for point in histogram.data_points() {
                        let attributes = Attributes::of(point.attributes());
                        add(&mut fresh, name, &attributes, Distribution::of_explicit(point));
                    }
                    histogram.temporality()
                }
                _ => continue,
            };
            let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
            if temporality == Temporality::Cumulative {
                durations.insert(name, fresh);
            } else {
                self.add_delta(durations.entry(name).or_default(), fresh);
            }
        }
    }

    fn add_delta(&self, all: &mut BTreeMap<Key, Distribution>, delta: BTreeMap<Key, Distribution>) {
        for (key, distribution) in delta {
            if let Some(known) = all.get_mut(&key) {
                known.merge(&distribution);
            } else if all.len() < self.limit {
                // The instruments have the same limit, and count what is over it.
                all.insert(key, distribution);
            }
        }
    }

    /// The operations of one kind and subject; `None` if none has ended.
    pub(crate) fn performance(&self, kind: OperationKind, subject: &str) -> Option<Performance> {
        let durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<(&str, &Distribution)> = durations
            .values()
            .flatten()
            .filter(|(key, _)| key.kind == kind && key.subject == subject)
            .map(|(key, distribution)| (key.error.as_str(), distribution))
            .collect();
        Performance::of(&parts)
    }
}

/// The instruments that are looked at.
const DURATIONS: &[&str] = &[
    metric::INVOKE_AGENT_DURATION,
    metric::EXECUTE_TOOL_DURATION,
    metric::INVOKE_WORKFLOW_DURATION,
    metric::OPERATION_DURATION,
    metric::OPERATION_OWN_DURATION,
];

/// What a point's attributes say.
#[derive(Debug, Default)]
struct Attributes<'a> {
    agent: &'a str,
    tool: &'a str,
    workflow: &'a str,
    model: &'a str,
    operation: &'a str,
    own: &'a str,
    error: &'a str,
}

impl<'a> Attributes<'a> {
    fn of(attributes: impl Iterator<Item = &'a KeyValue>) -> Self {
        let mut all = Self::default();
        for KeyValue { key, value, .. } in attributes {
            let Value::String(text) = value else { continue };
            let place = match key.as_str() {
                attr::AGENT_NAME => &mut all.agent,
                attr::TOOL_NAME => &mut all.tool,
                attr::WORKFLOW_NAME => &mut all.workflow,
                attr::REQUEST_MODEL => &mut all.model,
                attr::OPERATION_NAME => &mut all.operation,
                attr::OPERATION => &mut all.own,
                attr::ERROR_TYPE => &mut all.error,
                _ => continue,
            };
            *place = text.as_str();
        }
        all
    }

    /// Whose operations these are.
    fn subject(&self, metric: &str) -> (OperationKind, &'a str) {
        match metric {
            metric::INVOKE_AGENT_DURATION => (OperationKind::Agent, self.agent),
            metric::EXECUTE_TOOL_DURATION => (OperationKind::Tool, self.tool),
            metric::INVOKE_WORKFLOW_DURATION => (OperationKind::Workflow, self.workflow),
            metric::OPERATION_OWN_DURATION if !self.own.is_empty() => (OperationKind::Custom, self.own),
            metric::OPERATION_OWN_DURATION => (OperationKind::from_name(self.operation), self.operation),
            _ => match OperationKind::from_name(self.operation) {
                kind if kind.counts_usage() => (kind, self.model),
                kind => (kind, self.operation),
            },
        }
    }
}

fn add(
    all: &mut BTreeMap<Key, Distribution>,
    metric: &str,
    attributes: &Attributes<'_>,
    distribution: Option<Distribution>,
) {
    let (kind, subject) = attributes.subject(metric);
    // Without a subject: the overflow series, or operations without a name.
    let (Some(distribution), false) = (distribution, subject.is_empty()) else { return };
    let key = Key { kind, subject: subject.to_owned(), error: attributes.error.to_owned() };
    if let Some(known) = all.get_mut(&key) {
        known.merge(&distribution);
    } else {
        all.insert(key, distribution);
    }
}

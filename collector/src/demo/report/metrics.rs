//! What the metrics say that arrived: the newest point of every series.

use std::collections::BTreeMap;

use agentvitals::semconv::{attr, metric};
use agentvitals::testing::ReceivedPoint;
use serde_json::Value;

use super::money::Nanos;

/// What is read of a metric point.
#[derive(Debug, Clone, Copy)]
pub(in crate::demo) struct Point<'a> {
    pub(in crate::demo) name: &'a str,
    pub(in crate::demo) attributes: &'a BTreeMap<String, Value>,
    /// Measurements of a histogram.
    pub(in crate::demo) count: Option<u64>,
    /// Sum of a histogram's measurements, or value of a counter.
    pub(in crate::demo) sum: Option<f64>,
}

impl<'a> From<&'a ReceivedPoint> for Point<'a> {
    fn from(point: &'a ReceivedPoint) -> Self {
        Self { name: &point.name, attributes: &point.attributes, count: point.count(), sum: point.sum() }
    }
}

impl Point<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.attributes.get(key)?.as_str()
    }

    fn count(&self) -> u64 {
        self.count.unwrap_or_default()
    }

    /// The sum as a whole number: tokens and nano-dollars are counted in these.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, which then differs"
    )]
    fn whole(&self) -> u64 {
        self.sum.unwrap_or_default().round() as u64
    }

    /// Whether this series stands for all series over the limit of its metric, so that it has no names.
    fn is_overflow(&self) -> bool {
        self.attributes.get(attr::METRIC_OVERFLOW).is_some_and(|value| *value == Value::Bool(true))
    }
}

/// Counts over all points.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::demo) struct MetricFigures {
    pub(super) agents: u64,
    pub(super) agent_errors: u64,
    pub(super) chats: u64,
    pub(super) tools: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) cache_read: u64,
    pub(super) reported_input: u64,
    pub(super) reported_output: u64,
    pub(super) chat_errors: BTreeMap<String, u64>,
    pub(super) tool_errors: BTreeMap<String, u64>,
    pub(super) cost: Nanos,
    pub(super) unpriced: u64,
    pub(super) per_model: BTreeMap<String, u64>,
    pub(super) per_tool: BTreeMap<String, u64>,
    pub(super) per_agent: BTreeMap<String, u64>,
    pub(super) tasks: BTreeMap<String, u64>,
    /// Metrics with more series than their limit: their totals are right, their breakdown is not complete.
    pub(super) overflowed: Vec<String>,
}

impl MetricFigures {
    pub(super) fn of<'a, P: Into<Point<'a>>>(points: impl IntoIterator<Item = P>) -> Self {
        let mut figures = Self::default();
        for point in points {
            figures.add(point.into());
        }
        figures
    }

    /// Counts one more point.
    pub(in crate::demo) fn add(&mut self, point: Point<'_>) {
        if point.is_overflow() && !self.overflowed.iter().any(|name| name == point.name) {
            self.overflowed.push(point.name.to_owned());
        }
        let add = |to: &mut BTreeMap<String, u64>, key: &str| {
            if let Some(name) = point.text(key) {
                *to.entry(name.to_owned()).or_default() += point.count();
            }
        };
        match point.name {
            metric::OPERATION_DURATION => {
                self.chats += point.count();
                add(&mut self.per_model, attr::REQUEST_MODEL);
                add(&mut self.chat_errors, attr::ERROR_TYPE);
            }
            metric::EXECUTE_TOOL_DURATION => {
                self.tools += point.count();
                add(&mut self.per_tool, attr::TOOL_NAME);
                add(&mut self.tool_errors, attr::ERROR_TYPE);
            }
            metric::INVOKE_AGENT_DURATION => {
                self.agents += point.count();
                add(&mut self.per_agent, attr::AGENT_NAME);
                self.agent_errors += if point.text(attr::ERROR_TYPE).is_some() { point.count() } else { 0 };
            }
            metric::TOKEN_USAGE => match point.text(attr::TOKEN_TYPE) {
                Some("input") => {
                    self.input_tokens += point.whole();
                    self.reported_input += point.count();
                }
                Some("output") => {
                    self.output_tokens += point.whole();
                    self.reported_output += point.count();
                }
                _ => {}
            },
            metric::TOKEN_DETAILS if point.text(attr::TOKEN_DETAIL) == Some("cache_read") => {
                self.cache_read += point.whole();
            }
            metric::TASKS => {
                let outcome = point.text(attr::OUTCOME).unwrap_or_default();
                *self.tasks.entry(outcome.to_owned()).or_default() += point.whole();
            }
            metric::COST => self.cost += point.whole(),
            metric::COST_UNPRICED => self.unpriced += point.whole(),
            _ => {}
        }
    }
}

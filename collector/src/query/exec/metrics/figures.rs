//! What is known of one group.

use hashbrown::{HashMap, HashSet};

use crate::query::metrics::{Distribution, Increase, Kind, Reading, Shape};
use crate::query::signals::{MetricGroup, Values};

/// What is known of one group.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) points: u64,
    series: HashSet<u64>,
    increase: Option<f64>,
    /// The newest state of each series.
    states: HashMap<u64, (i64, f64)>,
    newest: Option<(i64, f64)>,
    min: Option<f64>,
    max: Option<f64>,
    sum: f64,
    values: Option<Distribution>,
    /// The newest summary of each series.
    summaries: HashMap<u64, (i64, Distribution)>,
}

impl Figures {
    pub(super) fn add(&mut self, increase: Increase) {
        self.points += 1;
        self.series.insert(increase.series);
        match increase.reading {
            Reading::Number(value) if increase.state => {
                let newer = |known: Option<&(i64, f64)>| known.is_none_or(|known| known.0 <= increase.time);
                if newer(self.states.get(&increase.series)) {
                    self.states.insert(increase.series, (increase.time, value));
                }
                if newer(self.newest.as_ref()) {
                    self.newest = Some((increase.time, value));
                }
                self.min = Some(self.min.map_or(value, |min| min.min(value)));
                self.max = Some(self.max.map_or(value, |max| max.max(value)));
                self.sum += value;
            }
            Reading::Number(value) => self.increase = Some(self.increase.unwrap_or(0.0) + value),
            Reading::Values(values) if increase.state => {
                let known = self.summaries.get(&increase.series);
                if known.is_none_or(|known| known.0 <= increase.time) {
                    self.summaries.insert(increase.series, (increase.time, values));
                }
            }
            Reading::Values(values) => match &mut self.values {
                // They are grouped by what they must have in common.
                Some(known) => {
                    known.merge(&values);
                }
                None => self.values = Some(values),
            },
        }
    }

    pub(super) fn group(self, kind: Kind, mut group: MetricGroup, seconds: Option<f64>) -> MetricGroup {
        group.points = self.points;
        group.series = self.series.len() as u64;
        group.increase = self.increase;
        group.rate = self.increase.zip(seconds).map(|(increase, seconds)| increase / seconds);
        if kind == Kind::Gauge {
            group.last = self.newest.map(|(_, value)| value);
            (group.min, group.max) = (self.min, self.max);
            group.avg = group.last.map(|_| self.sum / self.points as f64);
        } else if !self.states.is_empty() {
            group.last = Some(self.states.values().map(|(_, value)| value).sum());
        }
        let summaries = self.summaries.into_values().map(|(_, values)| values);
        let summaries = summaries.reduce(|mut all, values| {
            all.merge(&values);
            all
        });
        group.values = self.values.or(summaries).map(|values| shown(&values));
        group
    }
}

fn shown(values: &Distribution) -> Values {
    let end = |end: f64| end.is_finite().then_some(end);
    Values {
        count: values.count,
        sum: values.sum,
        avg: values.sum.filter(|_| values.count > 0).map(|sum| sum / values.count as f64),
        min: values.min,
        max: values.max,
        p50: values.quantile(0.5),
        p95: values.quantile(0.95),
        p99: values.quantile(0.99),
        buckets: values
            .buckets()
            .into_iter()
            .map(|(lower, upper, count)| (end(lower), end(upper), count))
            .collect(),
        scale: match &values.shape {
            Shape::Exponential(histogram) => Some(histogram.scale()),
            _ => None,
        },
    }
}

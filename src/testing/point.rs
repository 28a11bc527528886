//! A metric point as a receiver sees it.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::span::{Attributes, shared};

/// The newest point of one series: one metric, one set of attributes, one resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReceivedPoint {
    /// The metric's name.
    pub name: String,
    /// The metric's unit (UCUM).
    pub unit: String,
    /// The metric's description.
    pub description: String,
    /// The aggregate.
    pub kind: PointKind,
    /// `cumulative`, `delta`, `unspecified`; `none` for a gauge.
    pub temporality: String,
    /// The series' attributes.
    pub attributes: Attributes,
    /// Attributes of the resource (the service) that sent the point.
    #[serde(serialize_with = "shared")]
    pub resource: Arc<Attributes>,
    /// Name of the instrumentation scope.
    pub scope_name: String,
    /// When the series began, nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// When the point was collected, nanoseconds since 1970.
    pub time_unix_nano: u64,
}

/// What a point holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PointKind {
    /// A sum.
    #[non_exhaustive]
    Sum {
        /// The sum.
        value: f64,
        /// The sum, exactly, where it was sent as an integer.
        integer: Option<i64>,
        /// Whether it only grows (a counter).
        monotonic: bool,
    },
    /// A current value.
    #[non_exhaustive]
    Gauge {
        /// The value.
        value: f64,
        /// The value, exactly, where it was sent as an integer.
        integer: Option<i64>,
    },
    /// A histogram with explicit bounds.
    #[non_exhaustive]
    Histogram {
        /// Measurements.
        count: u64,
        /// Their sum.
        sum: Option<f64>,
        /// The smallest.
        min: Option<f64>,
        /// The largest.
        max: Option<f64>,
        /// Upper bounds of the buckets but the last, which has none.
        bounds: Vec<f64>,
        /// Measurements in each bucket; one more than bounds.
        bucket_counts: Vec<u64>,
    },
    /// A base-2 exponential histogram.
    #[non_exhaustive]
    ExponentialHistogram {
        /// Measurements.
        count: u64,
        /// Their sum.
        sum: Option<f64>,
        /// The smallest.
        min: Option<f64>,
        /// The largest.
        max: Option<f64>,
        /// Bucket bounds are the powers of 2^(2^-scale).
        scale: i32,
        /// Measurements that are zero.
        zero_count: u64,
        /// Index of the first positive bucket.
        positive_offset: i32,
        /// Measurements in each positive bucket.
        positive_counts: Vec<u64>,
        /// Index of the first negative bucket.
        negative_offset: i32,
        /// Measurements in each negative bucket.
        negative_counts: Vec<u64>,
    },
}

impl ReceivedPoint {
    /// The value of a sum or gauge; `None` for histograms.
    pub fn value(&self) -> Option<f64> {
        match self.kind {
            PointKind::Sum { value, .. } | PointKind::Gauge { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The value of a sum or gauge that was sent as an integer; `None` for anything else.
    pub fn int_value(&self) -> Option<i64> {
        match self.kind {
            PointKind::Sum { integer, .. } | PointKind::Gauge { integer, .. } => integer,
            _ => None,
        }
    }

    /// How many measurements a histogram holds; `None` for sums and gauges.
    pub fn count(&self) -> Option<u64> {
        match self.kind {
            PointKind::Histogram { count, .. } | PointKind::ExponentialHistogram { count, .. } => Some(count),
            _ => None,
        }
    }

    /// The sum of a histogram's measurements, or the value of a sum; `None` for gauges and for histograms
    /// without a sum.
    pub fn sum(&self) -> Option<f64> {
        match self.kind {
            PointKind::Histogram { sum, .. } | PointKind::ExponentialHistogram { sum, .. } => sum,
            PointKind::Sum { value, .. } => Some(value),
            PointKind::Gauge { .. } => None,
        }
    }

    /// The value of an attribute.
    pub fn attr(&self, key: &str) -> Option<&Value> {
        self.attributes.get(key)
    }

    /// The value of an attribute that is a text; `None` if it is absent or no text.
    pub fn str(&self, key: &str) -> Option<&str> {
        self.attr(key)?.as_str()
    }

    /// What tells this series from every other: newer points replace older ones with the same key.
    pub(super) fn series(&self) -> SeriesKey {
        SeriesKey {
            name: self.name.clone(),
            // Maps are ordered, so equal maps give equal text.
            attributes: serde_json::to_string(&self.attributes).unwrap_or_default(),
            resource: serde_json::to_string(&*self.resource).unwrap_or_default(),
            scope: self.scope_name.clone(),
        }
    }
}

/// See [`ReceivedPoint::series`]. Ordered, so that points list in the same order in every run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeriesKey {
    name: String,
    attributes: String,
    resource: String,
    scope: String,
}

//! The limit on series: the one place where it is, and where what is over it is counted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;

use crate::semconv::attr;

/// The series of each instrument, counted so that none has more than the limit.
#[derive(Debug)]
pub(super) struct SeriesLimits {
    limit: usize,
    instruments: Mutex<HashMap<&'static str, Instrument>>,
}

#[derive(Debug, Default)]
struct Instrument {
    series: HashSet<u64>,
    overflow: Arc<AtomicU64>,
}

impl SeriesLimits {
    /// `limit` counts the overflow series too.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(2), instruments: Mutex::default() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Binds an instrument to `attributes`, or to the overflow series if it has too many already or if `overflow`
    /// says so; then the counter of its overflow comes along, to be raised at each measurement.
    pub(super) fn bind<B>(
        &self,
        name: &'static str,
        attributes: &[KeyValue],
        overflow: bool,
        bind: impl FnOnce(&[KeyValue]) -> B,
    ) -> (B, Option<Arc<AtomicU64>>) {
        match self.admit(name, attributes, overflow) {
            None => (bind(attributes), None),
            Some(counter) => (bind(&[KeyValue::new(attr::METRIC_OVERFLOW, true)]), Some(counter)),
        }
    }

    fn admit(&self, name: &'static str, attributes: &[KeyValue], overflow: bool) -> Option<Arc<AtomicU64>> {
        let mut instruments = self.instruments.lock().unwrap_or_else(PoisonError::into_inner);
        let instrument = instruments.entry(name).or_default();
        let mut hasher = DefaultHasher::new();
        attributes.hash(&mut hasher);
        let series = hasher.finish();
        if !overflow && (instrument.series.contains(&series) || instrument.series.len() + 1 < self.limit) {
            instrument.series.insert(series);
            return None;
        }
        Some(instrument.overflow.clone())
    }

    /// How many measurements went to the overflow series, by instrument.
    pub(super) fn overflows(&self) -> BTreeMap<&'static str, u64> {
        let instruments = self.instruments.lock().unwrap_or_else(PoisonError::into_inner);
        instruments
            .iter()
            .map(|(name, instrument)| (*name, instrument.overflow.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

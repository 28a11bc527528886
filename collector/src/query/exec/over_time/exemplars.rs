//! Exemplars: some of the spans that a series counts, so that a number leads to traces.

use super::series::Grid;
use crate::query::over_time::Exemplar;

/// Spans that are kept of each part of the time.
const OF_EACH: usize = 2;

/// A span that was counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) start: i64,
    pub(super) trace: [u8; 16],
    /// What was looked at, in the unit of the series; none where spans are counted.
    pub(super) value: Option<f64>,
}

impl Seen {
    const fn rank(&self) -> (i64, [u8; 16]) {
        (self.start, self.trace)
    }

    pub(super) fn shown(&self) -> Exemplar {
        Exemplar {
            time: self.start,
            trace_id: hex::encode(self.trace),
            value: self.value.unwrap_or(f64::NAN),
        }
    }
}

/// The newest spans of each part of the time: the same in whatever order they come.
#[derive(Debug, Clone, Default)]
pub(super) struct Exemplars(Vec<Option<Seen>>);

impl Exemplars {
    pub(super) fn add(&mut self, seen: Seen, grid: Grid) {
        let Some((part, parts)) = grid.part(seen.start, OF_EACH) else { return };
        if self.0.is_empty() {
            self.0 = vec![None; parts * OF_EACH];
        }
        let slots = &mut self.0[part * OF_EACH..(part + 1) * OF_EACH];
        let oldest = slots.iter_mut().min_by_key(|slot| slot.map(|known| known.rank()));
        if let Some(slot) = oldest
            && slot.is_none_or(|known| known.rank() < seen.rank())
        {
            *slot = Some(seen);
        }
    }

    pub(super) fn merge(&mut self, other: &Self, grid: Grid) {
        other.0.iter().flatten().for_each(|seen| self.add(*seen, grid));
    }

    /// The earliest first.
    pub(super) fn in_order(&self) -> Vec<Seen> {
        let mut all: Vec<Seen> = self.0.iter().flatten().copied().collect();
        all.sort_by_key(Seen::rank);
        all
    }
}

//! The newest minute, five minutes, hour and day of one series.

use std::collections::VecDeque;
use std::time::Duration;

use super::tally::{Closed, Tally};

/// How a window is cut into slots: so wide, so many. A window is shorter by at most one slot, and never longer.
const RINGS: [(u64, usize); 3] = [(20, 15), (300, 12), (3_600, 24)];

/// What each ring covers at most.
const COVERED: [Duration; 3] =
    [Duration::from_secs(300), Duration::from_secs(3_600), Duration::from_secs(86_400)];

#[derive(Debug)]
struct Ring {
    slot_ns: u64,
    slots: usize,
    /// Number of the open slot: its start divided by its width.
    current: u64,
    open: Tally,
    /// The newest last.
    closed: VecDeque<Closed>,
}

/// One series: all that happened lately, at three grains.
#[derive(Debug)]
pub(super) struct Rings([Ring; 3]);

impl Rings {
    pub(super) fn new() -> Self {
        Self(RINGS.map(|(seconds, slots)| Ring {
            slot_ns: seconds * 1_000_000_000,
            slots,
            current: 0,
            open: Tally::default(),
            closed: VecDeque::new(),
        }))
    }

    /// Adds what happened up to `now`, nanoseconds since 1970.
    pub(super) fn add(&mut self, now: u64, tally: &Tally) {
        for ring in &mut self.0 {
            ring.turn_to(before(now));
            ring.open.merge(tally);
        }
    }

    /// What happened in the window up to `now`, by the ring that covers it.
    pub(super) fn window(&mut self, now: u64, window: Duration) -> Tally {
        let ring = COVERED.iter().position(|covered| window <= *covered).unwrap_or(COVERED.len() - 1);
        let ring = &mut self.0[ring];
        ring.turn_to(before(now));
        let nanos = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let slots = usize::try_from(nanos.div_ceil(ring.slot_ns)).unwrap_or(ring.slots).clamp(1, ring.slots);
        let mut all = ring.open.clone();
        for closed in ring.closed.iter().rev().take(slots - 1) {
            closed.merge_into(&mut all);
        }
        all
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.0
            .iter()
            .map(|ring| size_of::<Ring>() + ring.closed.iter().map(Closed::bytes).sum::<usize>())
            .sum()
    }
}

/// What is heard of now happened before: a slot holds what was heard after its start, up to its end.
fn before(now: u64) -> u64 {
    now.saturating_sub(1)
}

impl Ring {
    /// Closes the slots that are over.
    fn turn_to(&mut self, now: u64) {
        let slot = now / self.slot_ns;
        if slot <= self.current {
            return;
        }
        let passed = usize::try_from(slot - self.current).unwrap_or(usize::MAX);
        let open = std::mem::take(&mut self.open);
        if self.current == 0 || passed > self.slots {
            self.closed.clear();
        } else {
            self.closed.push_back(Closed::of(open));
            // Slots in which nothing came.
            self.closed.extend(std::iter::repeat_n(Closed::default(), passed - 1));
            while self.closed.len() > self.slots {
                self.closed.pop_front();
            }
        }
        self.current = slot;
    }
}

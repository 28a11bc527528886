//! The operations that are going on, and those that wait to be measured.
//!
//! A finished operation is not measured on the traced thread: it is put in a queue, under the lock that takes it out of
//! the table anyway, and a thread of the SDK records it. Whoever reads metrics has the queues emptied first.
//!
//! They are kept here and not in the extensions of the registry's spans, because an extension is an allocation per
//! span and a lock that other layers hold too. A lock of this table is never held while code of the user or of
//! OpenTelemetry runs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::span::Id;

use super::callsites::Site;
use crate::operation::Operation;

/// An operation between the start of its span and the return of its function.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) site: &'static Site,
    pub(super) operation: Operation,
    pub(super) start_ns: u64,
    /// When the span was left last; 0 if it never was.
    pub(super) exit_ns: u64,
    /// The operation whose span is directly above; 0 if there is none.
    pub(super) parent: u64,
    /// How many open spans are directly below.
    pub(super) children: usize,
    /// The span has the user's own `error.type`.
    pub(super) has_error_type: bool,
    /// Measured already: the span is still open, the operation is over.
    pub(super) finished: bool,
    /// Counted as active.
    pub(super) started: bool,
}

const SHARDS: usize = 64;
/// How many finished operations a shard keeps (of about 250 bytes). When its queue is full, the traced thread measures
/// its own operation.
const QUEUE: usize = 256;
/// At how many the SDK's thread is woken.
const WAKE_AT: usize = 64;

/// What is to be done after a finished operation was queued.
#[derive(Debug)]
pub(super) enum Queued {
    Done,
    /// There was no room: it is to be measured at once.
    Full(Box<Operation>),
    /// Enough are waiting for the SDK's thread to be woken.
    Wake,
}

#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    /// How many operations a shard holds at most.
    shard_limit: usize,
}

#[derive(Debug, Default)]
struct Shard {
    open: HashMap<u64, Record, BuildHasherDefault<IdHasher>>,
    /// Ordinary spans directly below an operation, with that operation.
    below: HashMap<u64, u64, BuildHasherDefault<IdHasher>>,
    finished: Vec<Operation>,
    seen: u64,
    refused: u64,
}

impl Table {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_limit: limit.div_ceil(SHARDS).max(1),
        }
    }

    #[inline]
    fn shard(&self, id: u64) -> MutexGuard<'_, Shard> {
        // The registry counts slots in the low bits and generations in the high ones.
        let index = (spread(id) >> 58) as usize;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an operation. `false` if it is there already (the layer was added twice), or if the table is full: then it
    /// is counted as refused.
    #[inline]
    pub(super) fn insert(&self, id: &Id, record: Record) -> bool {
        let id = id.into_u64();
        let mut shard = self.shard(id);
        let shard = &mut *shard;
        let full = shard.open.len() >= self.shard_limit;
        match shard.open.entry(id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                shard.seen += 1;
                if full {
                    shard.refused += 1;
                } else {
                    slot.insert(record);
                }
                !full
            }
        }
    }

    /// Calls `f` with the operation of a span, under the lock: `f` must not call out.
    #[inline]
    pub(super) fn with<T>(&self, id: u64, f: impl FnOnce(&mut Record) -> T) -> Option<T> {
        self.shard(id).open.get_mut(&id).map(f)
    }

    /// Puts an operation in the queue of those that wait to be measured, unless that was done before. Without `end_ns`
    /// it ended when its span was left last.
    #[inline]
    pub(super) fn enqueue(&self, id: u64, end_ns: Option<u64>, keep_open: bool) -> Queued {
        let mut shard = self.shard(id);
        let shard = &mut *shard;
        let Entry::Occupied(mut entry) = shard.open.entry(id) else { return Queued::Done };
        let record = entry.get_mut();
        let mut result = Queued::Done;
        if !std::mem::replace(&mut record.finished, true) && record.operation.kind.is_some() {
            let end = end_ns.unwrap_or(record.exit_ns);
            record.operation.duration_ns = end.saturating_sub(record.start_ns);
            record.operation.ended_ns = end;
            let waiting = shard.finished.len();
            if waiting < QUEUE {
                if waiting == shard.finished.capacity() {
                    shard.finished.reserve_exact(QUEUE - waiting);
                }
                shard.finished.push(record.operation);
                if waiting == WAKE_AT {
                    result = Queued::Wake;
                }
            } else {
                result = Queued::Full(Box::new(record.operation));
            }
        }
        if !keep_open {
            entry.remove();
        }
        result
    }

    /// Moves all finished operations to `batch`.
    pub(super) fn drain(&self, batch: &mut Vec<Operation>) {
        for mut shard in self.all() {
            batch.append(&mut shard.finished);
        }
    }

    /// Operations that have been seen and refused since the start.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.all().fold((0, 0), |(seen, refused), shard| (seen + shard.seen, refused + shard.refused))
    }

    /// Notes an ordinary span that is directly below an operation.
    #[inline]
    pub(super) fn insert_below(&self, id: &Id, operation: u64) {
        let id = id.into_u64();
        let mut shard = self.shard(id);
        if shard.below.len() < self.shard_limit {
            shard.below.insert(id, operation);
        }
    }

    /// Forgets an ordinary span. Returns the operation that it was below.
    #[inline]
    pub(super) fn remove_below(&self, id: u64) -> Option<u64> {
        let mut shard = self.shard(id);
        if shard.below.is_empty() { None } else { shard.below.remove(&id) }
    }

    /// How many open spans are directly below an operation.
    pub(super) fn children(&self, id: u64) -> Option<usize> {
        self.with(id, |record| record.children)
    }

    /// The operations that were left and have open spans below, with the number of these.
    pub(super) fn left_with_children(&self) -> Vec<(u64, usize)> {
        let left = |(id, record): (&u64, &Record)| {
            let candidate = record.children > 0 && record.exit_ns != 0 && !record.finished;
            candidate.then_some((*id, record.children))
        };
        self.all().flat_map(|shard| shard.open.iter().filter_map(left).collect::<Vec<_>>()).collect()
    }

    fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[inline]
fn spread(id: u64) -> u64 {
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Span ids are unique already: spreading them over the bits is enough.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = spread(self.0 ^ u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, id: u64) {
        // Other bits than those that chose the shard.
        self.0 = spread(id).rotate_left(24);
    }
}

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
use crate::names::Name;
use crate::operation::{Operation, OperationKind};

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
    /// The span was made while a panic unwound the stack.
    pub(super) unwinding: bool,
    /// The end is known and does not move any more.
    pub(super) ended: bool,
    /// Measured already: the span is still open, the operation is over.
    pub(super) finished: bool,
    /// Counted as active.
    pub(super) started: bool,
}

const SHARDS: usize = 64;
/// How many finished operations a shard keeps (of about 250 bytes). When its queue is full, the traced thread measures
/// its own operation.
const QUEUE: usize = 128;
/// At how many the SDK's thread is woken: so few that what is written and read over and over stays in the caches.
const WAKE_AT: usize = 16;

/// What was found where a closing span was looked for.
#[derive(Debug)]
pub(super) enum Closed {
    Operation {
        parent: u64,
        queued: Queued,
    },
    /// No operation; 0 if it was not below one either.
    Ordinary {
        parent: u64,
    },
    /// The span is to be marked with this error first.
    Unmarked(Name),
}

/// What is called, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct OpenCall {
    pub(crate) kind: OperationKind,
    pub(crate) operation: Name,
    /// The model or the tool.
    pub(crate) subject: Name,
    pub(crate) agent: Name,
}

/// Why an operation may be over although its span is open.
#[derive(Debug, Clone, Copy)]
pub(super) enum Over {
    Surely,
    /// If nothing but the spans below refers to it.
    WithChildren(usize),
}

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

    /// Takes an operation whose span closes out of the table and queues it. One that failed with an error that its span
    /// does not show yet stays, for the span to be marked, unless that was done: `marked`.
    #[inline]
    pub(super) fn close(&self, id: u64, marked: bool, now: impl FnOnce() -> u64) -> Closed {
        let mut shard = self.shard(id);
        let shard = &mut *shard;
        let Entry::Occupied(mut entry) = shard.open.entry(id) else {
            let below = if shard.below.is_empty() { None } else { shard.below.remove(&id) };
            return Closed::Ordinary { parent: below.unwrap_or(0) };
        };
        let record = entry.get_mut();
        if record.operation.failed() && !record.has_error_type && !marked {
            return Closed::Unmarked(record.operation.error_type);
        }
        if record.exit_ns == 0 {
            record.exit_ns = now();
        }
        let parent = record.parent;
        let queued = queue(record, &mut shard.finished);
        entry.remove();
        Closed::Operation { parent, queued }
    }

    /// Queues an operation whose span stays open.
    pub(super) fn finish(&self, id: u64) -> Queued {
        let mut shard = self.shard(id);
        let shard = &mut *shard;
        shard.open.get_mut(&id).map_or(Queued::Done, |record| queue(record, &mut shard.finished))
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

    /// The model and tool calls that go on, by what is called and by which agent: when the oldest of each started.
    pub(super) fn oldest_calls(&self) -> HashMap<OpenCall, u64> {
        let mut oldest = HashMap::new();
        for shard in self.all() {
            for record in shard.open.values().filter(|record| !record.finished && !record.ended) {
                let operation = &record.operation;
                let Some(kind @ (OperationKind::Model | OperationKind::Tool)) = operation.kind else {
                    continue;
                };
                let call = OpenCall {
                    kind,
                    operation: operation.operation,
                    subject: operation.subject(),
                    agent: operation.agent,
                };
                let start = oldest.entry(call).or_insert(record.start_ns);
                *start = record.start_ns.min(*start);
            }
        }
        oldest
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

    /// How many open spans are directly below an operation.
    pub(super) fn children(&self, id: u64) -> Option<usize> {
        self.with(id, |record| record.children)
    }

    /// The operations that may be over although their span is open: those that were ended, and those that were left
    /// and have open spans below, with the number of these.
    pub(super) fn perhaps_over(&self) -> Vec<(u64, Over)> {
        let over = |(id, record): (&u64, &Record)| {
            let over = match record {
                Record { finished: true, .. } => return None,
                Record { ended: true, .. } => Over::Surely,
                Record { children: 1.., exit_ns: 1.., .. } => Over::WithChildren(record.children),
                _ => return None,
            };
            Some((*id, over))
        };
        self.all().flat_map(|shard| shard.open.iter().filter_map(over).collect::<Vec<_>>()).collect()
    }

    fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Puts an operation in the queue of those that wait to be measured, unless that was done before.
#[inline]
fn queue(record: &mut Record, finished: &mut Vec<Operation>) -> Queued {
    if std::mem::replace(&mut record.finished, true) || record.operation.kind.is_none() {
        return Queued::Done;
    }
    record.operation.duration_ns = record.exit_ns.saturating_sub(record.start_ns);
    record.operation.ended_ns = record.exit_ns;
    let waiting = finished.len();
    if waiting >= QUEUE {
        return Queued::Full(Box::new(record.operation));
    }
    if waiting == finished.capacity() {
        finished.reserve_exact(QUEUE - waiting);
    }
    finished.push(record.operation);
    if waiting == WAKE_AT { Queued::Wake } else { Queued::Done }
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

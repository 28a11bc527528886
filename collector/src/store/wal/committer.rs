//! Group commit: one thread writes what waits, syncs once for all of it, and hands it on in order.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

use super::{Log, MAX_PAYLOAD};
use crate::clock;

/// What a waiting request is counted with besides its payload, so that many tiny ones are bounded too.
const OVERHEAD: usize = 256;

/// A request that is durable.
#[derive(Debug)]
pub(crate) struct Committed<R> {
    /// Its number.
    pub(crate) sequence: u64,
    /// The generation of the log that has it.
    pub(crate) generation: u64,
    /// As it was given.
    pub(crate) kind: u8,
    /// As it was given.
    pub(crate) payload: Bytes,
    /// As it was given: where the answer goes.
    pub(crate) reply: R,
}

/// What the thread tells.
#[derive(Debug)]
pub(crate) enum Event<R> {
    /// These are durable: all that was synced at once, in the order of their numbers.
    Durable(Vec<Committed<R>>),
    /// Of these nothing is kept. What comes later may succeed: each batch tries again, in a new file if it must.
    Refused {
        /// Why; [`crate::store::disk::is_full`] tells whether there was no room.
        error: io::Error,
        /// To whom it has to be told.
        replies: Vec<R>,
    },
    /// A new generation was begun: all that was handed on so far is in earlier ones, and nothing that follows is.
    Rotated {
        /// The generation that is complete.
        old: u64,
        /// The one that is written now.
        new: u64,
    },
    /// A new generation was asked for, and could not be begun. The old one is written on.
    NotRotated(io::Error),
}

/// Why a request was not even queued, with its reply.
#[derive(Debug)]
pub(crate) enum Rejected<R> {
    /// Too many bytes wait already.
    Overloaded(R),
    /// It is larger than [`MAX_PAYLOAD`].
    TooLarge(R),
    /// The thread has ended, or is told to.
    Closed(R),
}

/// What was done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    /// Batches that were made durable.
    pub(crate) batches: u64,
    /// Requests in them.
    pub(crate) records: u64,
    /// Payload bytes in them.
    pub(crate) bytes: u64,
    /// Requests of the largest batch.
    pub(crate) largest_batch: u64,
    /// Nanoseconds that writing and syncing took, all batches together.
    pub(crate) sync_nanos: u64,
    /// Nanoseconds of the slowest batch.
    pub(crate) slowest_nanos: u64,
    /// Requests that were refused after they had been queued.
    pub(crate) refused: u64,
    /// Bytes that wait or are worked on now, with what each request is counted with besides its payload.
    pub(crate) waiting_bytes: u64,
    /// The length of the newest file.
    pub(crate) log_bytes: u64,
}

/// Queues requests for the thread that writes the log.
#[derive(Debug)]
pub(crate) struct Committer<R> {
    shared: Arc<Shared<R>>,
    thread: Option<JoinHandle<Log>>,
}

#[derive(Debug)]
struct Shared<R> {
    queue: Mutex<Queue<R>>,
    /// There is something to do.
    filled: Condvar,
    /// How many bytes may wait.
    limit: usize,
    counters: Counters,
}

#[derive(Debug)]
struct Queue<R> {
    items: Vec<Item<R>>,
    /// Of the items, and of those that the thread works on.
    bytes: usize,
    closed: bool,
}

#[derive(Debug)]
enum Item<R> {
    Record { kind: u8, payload: Bytes, reply: R },
    Rotate,
}

#[derive(Debug, Default)]
struct Counters {
    batches: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    largest_batch: AtomicU64,
    sync_nanos: AtomicU64,
    slowest_nanos: AtomicU64,
    refused: AtomicU64,
    log_bytes: AtomicU64,
}

impl<R: Send + 'static> Committer<R> {
    /// Starts the thread. `apply` is called on it, so what it does delays the next sync.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(
        log: Log,
        waiting_bytes: usize,
        apply: impl FnMut(Event<R>) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { items: Vec::new(), bytes: 0, closed: false }),
            filled: Condvar::new(),
            limit: waiting_bytes,
            counters: Counters::default(),
        });
        shared.counters.log_bytes.store(log.len(), Ordering::Relaxed);
        let worker = Worker { shared: Arc::clone(&shared), apply };
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || worker.run(log))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues a request; it never blocks. A request larger than the limit is taken when nothing else waits.
    ///
    /// # Errors
    /// Why it was not queued, with the reply.
    pub(crate) fn commit(&self, kind: u8, payload: Bytes, reply: R) -> Result<(), Rejected<R>> {
        if payload.len() > MAX_PAYLOAD {
            return Err(Rejected::TooLarge(reply));
        }
        let bytes = payload.len() + OVERHEAD;
        let mut queue = self.shared.lock();
        if queue.closed {
            return Err(Rejected::Closed(reply));
        }
        if queue.bytes > 0 && queue.bytes.saturating_add(bytes) > self.shared.limit {
            return Err(Rejected::Overloaded(reply));
        }
        queue.bytes += bytes;
        queue.items.push(Item::Record { kind, payload, reply });
        drop(queue);
        self.shared.filled.notify_one();
        Ok(())
    }

    /// Asks for a new generation, behind what is queued now. Whether there is one is told to `apply`.
    pub(crate) fn rotate(&self) {
        let mut queue = self.shared.lock();
        // Twice in a row would make an empty generation.
        if !queue.closed && !matches!(queue.items.last(), Some(Item::Rotate)) {
            queue.items.push(Item::Rotate);
            drop(queue);
            self.shared.filled.notify_one();
        }
    }

    /// What was done so far.
    pub(crate) fn figures(&self) -> Figures {
        let waiting_bytes = self.shared.lock().bytes as u64;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        Figures {
            batches: get(&counters.batches),
            records: get(&counters.records),
            bytes: get(&counters.bytes),
            largest_batch: get(&counters.largest_batch),
            sync_nanos: get(&counters.sync_nanos),
            slowest_nanos: get(&counters.slowest_nanos),
            refused: get(&counters.refused),
            waiting_bytes,
            log_bytes: get(&counters.log_bytes),
        }
    }

    /// Takes nothing more, waits until what is queued is done, and gives the log back; nothing if `apply` panicked.
    pub(crate) fn close(mut self) -> Option<Log> {
        self.shared.close();
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

impl<R> Drop for Committer<R> {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.take() {
            // What is queued was taken from its senders, so it is finished.
            let _ = thread.join();
        }
    }
}

impl<R> Shared<R> {
    fn lock(&self) -> MutexGuard<'_, Queue<R>> {
        // Nothing in the queue is ever half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }
}

/// What runs on the thread.
struct Worker<R, A: FnMut(Event<R>)> {
    shared: Arc<Shared<R>>,
    apply: A,
}

impl<R, A: FnMut(Event<R>)> Drop for Worker<R, A> {
    /// However the thread ends, nobody waits for it: replies that are queued are dropped.
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        let left = mem::take(&mut queue.items);
        drop(queue);
        drop(left);
    }
}

impl<R, A: FnMut(Event<R>)> Worker<R, A> {
    fn run(mut self, mut log: Log) -> Log {
        while let Some(items) = self.next() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            for item in items {
                match item {
                    Item::Record { kind, payload, reply } => {
                        bytes += payload.len() + OVERHEAD;
                        batch.push((kind, payload, reply));
                    }
                    Item::Rotate => {
                        self.commit(&mut log, mem::take(&mut batch));
                        self.rotate(&mut log);
                    }
                }
            }
            self.commit(&mut log, batch);
            self.shared.lock().bytes -= bytes;
        }
        log
    }

    /// All that waits, as soon as something does; nothing when it is closed and all is done.
    fn next(&self) -> Option<Vec<Item<R>>> {
        let mut queue = self.shared.lock();
        while queue.items.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self.shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        Some(mem::take(&mut queue.items))
    }

    fn rotate(&mut self, log: &mut Log) {
        let event = match log.rotate() {
            Ok(old) => Event::Rotated { old, new: log.generation() },
            Err(error) => Event::NotRotated(error),
        };
        self.shared.counters.log_bytes.store(log.len(), Ordering::Relaxed);
        (self.apply)(event);
    }

    fn commit(&mut self, log: &mut Log, batch: Vec<(u8, Bytes, R)>) {
        if batch.is_empty() {
            return;
        }
        let start = clock::now();
        if log.broken().is_some() {
            self.rotate(log);
        }
        let written = batch
            .iter()
            .try_fold(None, |first, (kind, payload, _)| {
                log.append(*kind, payload).map(|sequence| first.or(Some(sequence)))
            })
            .and_then(|first| log.sync().map(|()| first.unwrap_or_default()));
        let counters = &self.shared.counters;
        counters.log_bytes.store(log.len(), Ordering::Relaxed);
        let event =
            match written {
                Ok(first) => {
                    let nanos = clock::now().saturating_duration_since(start).as_nanos() as u64;
                    let count = batch.len() as u64;
                    let bytes = batch.iter().map(|(_, payload, _)| payload.len() as u64).sum();
                    counters.batches.fetch_add(1, Ordering::Relaxed);
                    counters.records.fetch_add(count, Ordering::Relaxed);
                    counters.bytes.fetch_add(bytes, Ordering::Relaxed);
                    counters.largest_batch.fetch_max(count, Ordering::Relaxed);
                    counters.sync_nanos.fetch_add(nanos, Ordering::Relaxed);
                    counters.slowest_nanos.fetch_max(nanos, Ordering::Relaxed);
                    let generation = log.generation();
                    let committed = (first..).zip(batch).map(|(sequence, (kind, payload, reply))| {
                        Committed { sequence, generation, kind, payload, reply }
                    });
                    Event::Durable(committed.collect())
                }
                Err(error) => {
                    counters.refused.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    Event::Refused { error, replies: batch.into_iter().map(|(_, _, reply)| reply).collect() }
                }
            };
        (self.apply)(event);
    }
}

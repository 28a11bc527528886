//! The running store: requests in, acknowledged when they are durable and can be found.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

use super::amount;
use super::batch::{self, Batch};
use super::disk::{self, DataDir};
use super::logs::LogRow;
use super::open::{self, Figures, LogFigures, Options, TableFigures};
use super::pending;
use super::points::PointRow;
use super::recent::Recent;
use super::segment::{self, Segment};
use super::spans::chunk::{Chunk, Row};
use super::state::{Contents, Frozen, State, Stored, Tables};
use super::wal::{self, Committed, Committer, Event, Rejected};
use crate::Error;
use crate::ingest::{Accepted, Ingest, Refusal, Reply, Signal};

/// Complete generations that are not segments yet while more is taken; with one more the log waits, so memory stays bounded.
const MAX_FROZEN: usize = 1;
/// Generations that are written at the same time: one thread could not keep up with what two cores take.
const WRITERS: usize = 2;
/// How long a sender should wait when too much is on its way.
const RETRY_OVERLOADED: Duration = Duration::from_secs(1);
/// How long a sender should wait for a full disk.
const RETRY_FULL: Duration = Duration::from_secs(10);
/// How long to wait before a segment that could not be written is tried again.
const RETRY_SEGMENT: Duration = Duration::from_secs(1);

/// A request on its way: its rows, and whom to tell.
#[derive(Debug)]
struct Pending {
    batch: Batch,
    /// Segments were asked for its rows as far as this generation of the log, since earlier ones may be forgotten.
    checked: u64,
    accepted: Accepted,
    reply: oneshot::Sender<Result<Accepted, Refusal>>,
}

/// What happened to the rows of one table.
#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    rejected: AtomicU64,
    repeated: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: DataDir,
    pub(super) options: Options,
    pub(super) state: State,
    /// Taken when the store closes.
    committer: Mutex<Option<Committer<Pending>>>,
    counters: Tables<Counters>,
    overloaded: AtomicU64,
    pub(super) maintained: super::maintain::Counters,
    /// Held by whoever removes or replaces segments.
    pub(super) maintaining: Mutex<()>,
    /// What came lately is to be forgotten.
    pub(super) forget: AtomicBool,
    /// What is in this generation of the log or in an earlier one may not be remembered.
    forgotten: AtomicU64,
    rotating: AtomicBool,
    /// Bytes of requests that are decoded at the same time.
    decoding: Arc<Semaphore>,
}

/// The store of one data directory.
#[derive(Debug)]
pub struct Store {
    pub(super) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    reports: Vec<String>,
}

impl Store {
    /// Opens a data directory, and makes it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made or read, when another process has it, or when a newer version wrote it.
    pub fn open(path: &Path, options: Options) -> Result<Self, Error> {
        let found = open::open(path, &options)?;
        let frozen = found.contents.frozen.clone();
        let state = State::default();
        *state.lock() = found.contents;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let shared = Arc::new(Shared {
            dir: found.dir,
            options,
            state,
            committer: Mutex::new(None),
            counters: Tables::default(),
            overloaded: AtomicU64::new(0),
            maintained: super::maintain::Counters::default(),
            maintaining: Mutex::new(()),
            forget: AtomicBool::new(false),
            forgotten: AtomicU64::new(found.recent.forgotten()),
            rotating: AtomicBool::new(false),
            decoding: Arc::new(Semaphore::new(cores)),
        });
        let failed = |error: io::Error| Error::failed(format!("the store {}: {error}", path.display()));
        let (to_segments, segments) = std::sync::mpsc::channel();
        for frozen in frozen {
            to_segments.send(frozen).ok();
        }
        let mut threads = Vec::new();
        let segments = Arc::new(Mutex::new(segments));
        for _ in 0..WRITERS {
            let (writer, segments) = (Arc::clone(&shared), Arc::clone(&segments));
            let write = move || {
                // The lock is held while the next one is waited for, and not while it is written.
                while let Ok(frozen) = { lock(&segments).recv() }
                    && writer.write_segments(&frozen)
                {}
            };
            let thread = std::thread::Builder::new().name("segments".to_owned()).spawn(write);
            threads.push(thread.map_err(failed)?);
        }
        let (apply, mut recent) = (Arc::clone(&shared), found.recent);
        let committer = Committer::start(found.log, shared.options.waiting_bytes, move |event| {
            apply.apply(event, &mut recent, &to_segments);
        });
        *lock(&shared.committer) = Some(committer.map_err(failed)?);
        let maintainer = Arc::clone(&shared);
        let maintenance = std::thread::Builder::new()
            .name("maintenance".to_owned())
            .spawn(move || maintainer.maintain_until_closed())
            .map_err(failed)?;
        threads.push(maintenance);
        Ok(Self { shared, threads: Mutex::new(threads), reports: found.reports })
    }

    /// What was found wrong and put right when it was opened, for people.
    pub fn reports(&self) -> &[String] {
        &self.reports
    }

    /// What it holds and did.
    pub fn figures(&self) -> Figures {
        let log = lock(&self.shared.committer).as_ref().map(Committer::figures).unwrap_or_default();
        let log = LogFigures {
            syncs: log.batches,
            requests: log.records,
            bytes: log.bytes,
            largest_sync: log.largest_batch,
            sync_nanos: log.sync_nanos,
            slowest_nanos: log.slowest_nanos,
            refused: log.refused,
            waiting_bytes: log.waiting_bytes,
            file_bytes: log.log_bytes,
        };
        let contents = self.shared.state.lock();
        Figures {
            spans: self.table_figures::<Row>(&contents),
            logs: self.table_figures::<LogRow>(&contents),
            metrics: self.table_figures::<PointRow>(&contents),
            log,
            disk_bytes: self.shared.dir.used_bytes().ok(),
            overloaded: self.shared.overloaded.load(Ordering::Relaxed),
            expired: self.shared.maintained.expired(),
            compacted: self.shared.maintained.compacted(),
            downsampled: self.shared.maintained.downsampled().0,
            downsampled_points: self.shared.maintained.downsampled().1,
            pending: contents.pending.counts().0,
            pending_dropped: contents.pending.counts().1,
            trouble: contents.trouble.clone(),
            maintenance: contents.maintenance.clone(),
        }
    }

    fn table_figures<R: Stored>(&self, contents: &Contents) -> TableFigures {
        let (in_memory, segments) = (contents.in_memory::<R>(), &contents.segments[R::TABLE]);
        let counter = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters[R::TABLE];
        TableFigures {
            rows: in_memory + segments.iter().map(|segment| segment.rows).sum::<u64>(),
            in_memory,
            segments: segments.len() as u64,
            segment_bytes: segments.iter().map(|segment| segment.bytes).sum(),
            accepted: counter(&counters.accepted),
            rejected: counter(&counters.rejected),
            repeated: counter(&counters.repeated),
        }
    }

    /// Takes nothing more, and waits until what was taken is durable. What is in memory stays in the log.
    pub fn close(&self) {
        let committer = lock(&self.shared.committer).take();
        {
            self.shared.state.lock().closing = true;
            self.shared.state.notify();
        }
        // Closing ends the log's thread, and with it the sender to the thread of the segments.
        drop(committer.and_then(Committer::close));
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            thread.join().ok();
        }
    }

    /// Asks for a new generation, so that what is in memory comes into segments.
    pub(super) fn rotate(&self) {
        if let Some(committer) = &*lock(&self.shared.committer) {
            committer.rotate();
        }
    }

    async fn take(&self, signal: Signal, request: Bytes) -> Result<Accepted, Refusal> {
        if let Some(message) = self.shared.full() {
            return Err(Refusal::DiskFull { message, retry_after: RETRY_FULL });
        }
        let closed = || Refusal::Unavailable("the store is closing".to_owned());
        let permit = Arc::clone(&self.shared.decoding).acquire_owned().await.map_err(|_| closed())?;
        let (kind, payload) = batch::record(signal, request);
        let request = payload.clone();
        let shared = Arc::clone(&self.shared);
        let decoded = tokio::task::spawn_blocking(move || {
            let decoded = amount::check(signal, batch::request(kind, &request))
                .and_then(|()| batch::decode(kind, request))
                .map(|read| shared.new_of(read));
            drop(permit);
            decoded
        });
        let decoded =
            decoded.await.map_err(|error| Refusal::Unavailable(format!("decoding failed: {error}")))?;
        let (batch, checked, accepted) = decoded.map_err(Refusal::Malformed)?;
        if batch.rows() == 0 {
            return Ok(accepted);
        }
        let (reply, answer) = oneshot::channel();
        let pending = Pending { batch, checked, accepted, reply };
        let committed = match &*lock(&self.shared.committer) {
            Some(committer) => committer.commit(kind, payload, pending),
            None => return Err(closed()),
        };
        match committed {
            Ok(()) => answer.await.map_err(|_| closed())?,
            Err(Rejected::Overloaded(_)) => {
                self.shared.overloaded.fetch_add(1, Ordering::Relaxed);
                Err(Refusal::Overloaded { retry_after: RETRY_OVERLOADED })
            }
            Err(Rejected::TooLarge(_)) => Err(Refusal::Malformed(
                "the request is larger than the log takes; send smaller batches".to_owned(),
            )),
            Err(Rejected::Closed(_)) => Err(closed()),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

impl Ingest for Store {
    fn ingest(&self, signal: Signal, request: Bytes) -> Reply<'_> {
        Box::pin(self.take(signal, request))
    }
}

impl Shared {
    /// Why nothing is taken, if the disk is full.
    fn full(&self) -> Option<String> {
        if let Some(trouble) = self.state.lock().trouble.clone() {
            return Some(trouble);
        }
        let free = self.dir.free_space().ok()?;
        (free < self.options.keep_free).then(|| {
            let (path, keep) = (self.dir.path().display(), self.options.keep_free >> 20);
            format!("the disk of {path} has {} MB left, and {keep} MB are kept free; make room", free >> 20)
        })
    }

    /// On the thread of the log.
    fn apply(
        &self,
        event: Event<Pending>,
        recent: &mut Recent,
        segments: &std::sync::mpsc::Sender<Arc<Frozen>>,
    ) {
        match event {
            Event::Durable(committed) => self.durable(committed, recent),
            Event::Refused { error, replies } => {
                let message = format!("the log cannot be written: {error}");
                for pending in replies {
                    let refusal = if disk::is_full(&error) {
                        Refusal::DiskFull { message: message.clone(), retry_after: RETRY_FULL }
                    } else {
                        Refusal::Unavailable(message.clone())
                    };
                    pending.reply.send(Err(refusal)).ok();
                }
            }
            Event::Rotated { old, .. } => {
                self.rotating.store(false, Ordering::Relaxed);
                let mut contents = self.state.lock();
                match contents.freeze(old) {
                    Some(frozen) => {
                        segments.send(frozen).ok();
                    }
                    // Nothing is in it that is not in a segment already.
                    None => {
                        wal::remove(&open::log_dir(&self.dir), old).ok();
                    }
                }
                // Memory is bounded by waiting here: senders see overload until a segment is written.
                while contents.frozen.len() > MAX_FROZEN && !contents.closing {
                    contents = self.state.wait(contents, RETRY_SEGMENT);
                }
            }
            // It is tried again when the next request is durable.
            Event::NotRotated(_) => self.rotating.store(false, Ordering::Relaxed),
        }
    }

    /// The rows of a request that no segment has, until which generation that is so, and what is acknowledged of it.
    fn new_of(&self, read: batch::Read) -> (Batch, u64, Accepted) {
        let batch::Read { mut batch, rejected, reason } = read;
        let counters = &self.counters[batch.table()];
        counters.rejected.fetch_add(rejected, Ordering::Relaxed);
        let accepted = Accepted { accepted: batch.rows() as u64, rejected, reason };
        let forgotten = self.forgotten.load(Ordering::Acquire);
        self.drop_known(&mut batch, forgotten);
        (batch, forgotten, accepted)
    }

    /// Takes out rows that are in segments and may not be remembered.
    fn drop_known(&self, batch: &mut Batch, forgotten: u64) {
        if forgotten == 0 {
            return;
        }
        let segments = self.state.lock().segments[batch.table()].clone();
        let known = batch.drop_known(&segments, forgotten) as u64;
        self.counters[batch.table()].repeated.fetch_add(known, Ordering::Relaxed);
    }

    fn durable(&self, committed: Vec<Committed<Pending>>, recent: &mut Recent) {
        let generation = committed.first().map_or(0, |committed| committed.generation);
        if self.forget.swap(false, Ordering::Relaxed) {
            recent.clear(generation);
            self.state.lock().remember(recent, generation);
        }
        let mut replies = Vec::with_capacity(committed.len());
        let (rows, bytes) = {
            let mut contents = self.state.lock();
            for Committed { reply: Pending { mut batch, checked, accepted, reply }, .. } in committed {
                let (before, counters) = (batch.rows(), &self.counters[batch.table()]);
                if checked < recent.forgotten() {
                    // Something was forgotten since it was looked for.
                    batch.drop_known(&contents.segments[batch.table()], recent.forgotten());
                }
                let kept = batch.keep(&mut contents, recent, generation);
                counters.repeated.fetch_add((before - kept) as u64, Ordering::Relaxed);
                counters.accepted.fetch_add(kept as u64, Ordering::Relaxed);
                replies.push((reply, accepted));
            }
            contents.waiting()
        };
        self.forgotten.store(recent.forgotten(), Ordering::Release);
        // Only now: who is told can find them.
        for (reply, accepted) in replies {
            reply.send(Ok(accepted)).ok();
        }
        let enough = rows >= self.options.segment_rows || bytes >= self.options.segment_bytes;
        if enough
            && !self.rotating.swap(true, Ordering::Relaxed)
            && let Some(committer) = &*lock(&self.committer)
        {
            committer.rotate();
        }
    }

    /// On the thread of the segments: writes those of one generation, however often that must be tried; false when the
    /// store closes.
    fn write_segments(&self, frozen: &Frozen) -> bool {
        let mut written = Vec::new();
        loop {
            let generation = frozen.generation;
            match self.try_segments(frozen, &mut written) {
                Ok(()) => {
                    let mut contents = self.state.lock();
                    contents.written(generation, written);
                    contents.trouble = None;
                    drop(contents);
                    self.state.notify();
                    // If this fails, the next start does it: the segments tell that the generation is in them.
                    wal::remove(&open::log_dir(&self.dir), generation).ok();
                    return true;
                }
                Err(error) => {
                    let mut contents = self.state.lock();
                    contents.trouble = Some(format!("a segment cannot be written: {error}"));
                    if contents.closing {
                        return false;
                    }
                    drop(self.state.wait(contents, RETRY_SEGMENT));
                }
            }
        }
    }

    /// Writes the segments that are not written yet, one for each table that has rows.
    fn try_segments(&self, frozen: &Frozen, written: &mut Vec<Segment>) -> io::Result<()> {
        // First: a segment says that its generation of the log is not needed.
        if let Some(pending) = &frozen.pending {
            pending::write(&open::pending_dir(&self.dir), frozen.generation, pending)?;
        }
        self.try_segment(frozen.generation, &frozen.spans, written)?;
        self.try_segment(frozen.generation, &frozen.logs, written)?;
        self.try_segment(frozen.generation, &frozen.points, written)
    }

    fn try_segment<R: Stored>(
        &self,
        generation: u64,
        chunks: &[Arc<Chunk<R>>],
        written: &mut Vec<Segment>,
    ) -> io::Result<()> {
        if chunks.is_empty() || written.iter().any(|segment| segment.table == R::TABLE) {
            return Ok(());
        }
        let chunks: Vec<&Chunk<R>> = chunks.iter().map(AsRef::as_ref).collect();
        let dir = open::segments_dir(&self.dir, R::TABLE);
        let name = segment::Name { generations: (generation, generation), revision: 0 };
        written.push(segment::write(&dir, name, &chunks)?);
        Ok(())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What the store has now: chunks in memory, those that are being written, and segments.

use std::ops::{Index, IndexMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::known::Known;
use super::logs::LogRow;
use super::pending::Pending;
use super::points::PointRow;
use super::recent::Recent;
use super::segment::Segment;
use super::spans::chunk::{Chunk, Record, Row};
use crate::query::Table;

/// Rows of a chunk that small requests are gathered in.
const GATHER: usize = 4_096;

/// One of something for each table.
#[derive(Debug, Default, Clone)]
pub(super) struct Tables<T>([T; Table::ALL.len()]);

impl<T> Tables<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T> Index<Table> for Tables<T> {
    type Output = T;

    fn index(&self, table: Table) -> &T {
        &self.0[table as usize]
    }
}

impl<T> IndexMut<Table> for Tables<T> {
    fn index_mut(&mut self, table: Table) -> &mut T {
        &mut self.0[table as usize]
    }
}

/// The rows of a table that are in no segment, and in no generation that is complete.
#[derive(Debug)]
pub(super) struct Memory<R> {
    sealed: Vec<Arc<Chunk<R>>>,
    open: Chunk<R>,
    rows: usize,
    bytes: usize,
}

impl<R> Default for Memory<R> {
    fn default() -> Self {
        Self { sealed: Vec::new(), open: Chunk::default(), rows: 0, bytes: 0 }
    }
}

impl<R: Record> Memory<R> {
    fn push(&mut self, mut chunk: Chunk<R>) {
        if chunk.rows.is_empty() {
            return;
        }
        self.rows += chunk.rows.len();
        self.bytes += chunk.size();
        if chunk.rows.len() < GATHER && self.open.absorb(&chunk) {
            if self.open.rows.len() >= GATHER {
                self.seal();
            }
            return;
        }
        chunk.shrink();
        self.sealed.push(Arc::new(chunk));
    }

    fn seal(&mut self) {
        if !self.open.rows.is_empty() {
            let mut chunk = std::mem::take(&mut self.open);
            chunk.shrink();
            self.sealed.push(Arc::new(chunk));
        }
    }

    fn take(&mut self) -> Vec<Arc<Chunk<R>>> {
        self.seal();
        (self.rows, self.bytes) = (0, 0);
        std::mem::take(&mut self.sealed)
    }
}

/// The rows of one generation, complete.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) generation: u64,
    pub(super) spans: Vec<Arc<Chunk<Row>>>,
    pub(super) logs: Vec<Arc<Chunk<LogRow>>>,
    pub(super) points: Vec<Arc<Chunk<PointRow>>>,
    /// What was pending then, if that changed.
    pub(super) pending: Option<Vec<Arc<Chunk<Row>>>>,
}

/// What a question about one table is put to.
#[derive(Debug)]
pub(super) struct Snapshot<R> {
    pub(super) chunks: Vec<Arc<Chunk<R>>>,
    pub(super) segments: Vec<Arc<Segment>>,
}

#[derive(Debug, Default)]
pub(super) struct Contents {
    spans: Memory<Row>,
    logs: Memory<LogRow>,
    points: Memory<PointRow>,
    pub(super) pending: Pending,
    pub(super) frozen: Vec<Arc<Frozen>>,
    pub(super) segments: Tables<Vec<Arc<Segment>>>,
    /// Why segments cannot be written, for as long as that is so.
    pub(super) trouble: Option<String>,
    /// Why segments could not be removed or put together, the last time.
    pub(super) maintenance: Option<String>,
    pub(super) closing: bool,
}

/// Rows of a table that has a place in the contents.
pub(super) trait Stored: Record {
    fn memory(contents: &Contents) -> &Memory<Self>;
    fn memory_mut(contents: &mut Contents) -> &mut Memory<Self>;
    fn frozen(frozen: &Frozen) -> &[Arc<Chunk<Self>>];
}

macro_rules! stored {
    ($row:ty, $place:ident) => {
        impl Stored for $row {
            fn memory(contents: &Contents) -> &Memory<Self> {
                &contents.$place
            }

            fn memory_mut(contents: &mut Contents) -> &mut Memory<Self> {
                &mut contents.$place
            }

            fn frozen(frozen: &Frozen) -> &[Arc<Chunk<Self>>] {
                &frozen.$place
            }
        }
    };
}

stored!(Row, spans);
stored!(LogRow, logs);
stored!(PointRow, points);

impl Contents {
    /// Takes the rows of a request.
    pub(super) fn push<R: Stored>(&mut self, chunk: Chunk<R>) {
        R::memory_mut(self).push(chunk);
    }

    /// Rows and bytes that wait for a segment, those of complete generations left out.
    pub(super) const fn waiting(&self) -> (usize, usize) {
        let (rows, bytes) = self.pending.since();
        let rows = rows + self.spans.rows + self.logs.rows + self.points.rows;
        (rows, bytes + self.spans.bytes + self.logs.bytes + self.points.bytes)
    }

    /// Sets aside everything in memory as one generation; nothing if there is nothing.
    pub(super) fn freeze(&mut self, generation: u64) -> Option<Arc<Frozen>> {
        let (spans, logs, points) = (self.spans.take(), self.logs.take(), self.points.take());
        let pending = self.pending.freeze();
        if spans.is_empty() && logs.is_empty() && points.is_empty() && pending.is_none() {
            return None;
        }
        let frozen = Arc::new(Frozen { generation, spans, logs, points, pending });
        self.frozen.push(Arc::clone(&frozen));
        Some(frozen)
    }

    /// Puts segments in the place of what they were made of.
    pub(super) fn written(&mut self, generation: u64, segments: Vec<Segment>) {
        self.frozen.retain(|frozen| frozen.generation != generation);
        for segment in segments {
            self.segments[segment.table].push(Arc::new(segment));
        }
    }

    /// Puts a segment, or nothing, in the place of others; false if one of them is not there any more. Those are removed
    /// when nobody reads them.
    pub(super) fn replace(&mut self, table: Table, old: &[Arc<Segment>], new: Option<Segment>) -> bool {
        let segments = &mut self.segments[table];
        if !old.iter().all(|old| segments.iter().any(|segment| Arc::ptr_eq(segment, old))) {
            return false;
        }
        segments.retain(|segment| !old.iter().any(|old| Arc::ptr_eq(segment, old)));
        segments.extend(new.map(Arc::new));
        segments.sort_by_key(|segment| segment.name.generations);
        old.iter().for_each(|segment| segment.doom());
        true
    }

    /// Remembers what is in memory.
    pub(super) fn remember(&self, recent: &mut Recent, generation: u64) {
        self.remember_rows::<Row>(recent, generation);
        self.remember_rows::<LogRow>(recent, generation);
        self.remember_rows::<PointRow>(recent, generation);
    }

    fn remember_rows<R: Stored + Known>(&self, recent: &mut Recent, generation: u64) {
        for row in self.snapshot::<R>().chunks.iter().flat_map(|chunk| &chunk.rows) {
            recent.insert(row.known_by(), generation);
        }
    }

    /// Rows in memory.
    pub(super) fn in_memory<R: Stored>(&self) -> u64 {
        let frozen = self.frozen.iter().flat_map(|frozen| R::frozen(frozen));
        (R::memory(self).rows + frozen.map(|chunk| chunk.rows.len()).sum::<usize>()) as u64
    }

    pub(super) fn snapshot<R: Stored>(&self) -> Snapshot<R> {
        let mut chunks: Vec<Arc<Chunk<R>>> =
            self.frozen.iter().flat_map(|frozen| R::frozen(frozen).iter().cloned()).collect();
        let memory = R::memory(self);
        chunks.extend(memory.sealed.iter().cloned());
        if !memory.open.rows.is_empty() {
            chunks.push(Arc::new(memory.open.clone()));
        }
        Snapshot { chunks, segments: self.segments[R::TABLE].clone() }
    }
}

/// The contents, and a bell for those who wait for a change of them.
#[derive(Debug, Default)]
pub(super) struct State {
    contents: Mutex<Contents>,
    changed: Condvar,
}

impl State {
    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until it closes, at most so long, whatever else changes.
    pub(super) fn wait_for<'a>(
        &self,
        contents: MutexGuard<'a, Contents>,
        at_most: std::time::Duration,
    ) -> MutexGuard<'a, Contents> {
        let closed = self.changed.wait_timeout_while(contents, at_most, |contents| !contents.closing);
        closed.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for a change, at most so long.
    pub(super) fn wait<'a>(
        &self,
        contents: MutexGuard<'a, Contents>,
        at_most: std::time::Duration,
    ) -> MutexGuard<'a, Contents> {
        self.changed.wait_timeout(contents, at_most).unwrap_or_else(PoisonError::into_inner).0
    }
}

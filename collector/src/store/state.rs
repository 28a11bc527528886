//! What the store has now: chunks in memory, those that are being written, and segments.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::segment::Segment;
use super::spans::chunk::Chunk;

/// Rows of a chunk that small requests are gathered in.
const GATHER: usize = 4_096;

/// The spans of one generation, complete.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) generation: u64,
    pub(super) chunks: Vec<Arc<Chunk>>,
}

/// What a question is put to.
#[derive(Debug, Default, Clone)]
pub(super) struct Snapshot {
    pub(super) chunks: Vec<Arc<Chunk>>,
    pub(super) segments: Vec<Arc<Segment>>,
}

#[derive(Debug, Default)]
pub(super) struct Contents {
    sealed: Vec<Arc<Chunk>>,
    open: Chunk,
    pub(super) rows: usize,
    pub(super) bytes: usize,
    pub(super) frozen: Vec<Arc<Frozen>>,
    pub(super) segments: Vec<Arc<Segment>>,
    /// Why segments cannot be written, for as long as that is so.
    pub(super) trouble: Option<String>,
    pub(super) closing: bool,
}

impl Contents {
    /// Takes the spans of a request.
    pub(super) fn push(&mut self, mut chunk: Chunk) {
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

    /// Sets aside everything in memory as one generation; nothing if there is nothing.
    pub(super) fn freeze(&mut self, generation: u64) -> Option<Arc<Frozen>> {
        self.seal();
        (self.rows, self.bytes) = (0, 0);
        let chunks = std::mem::take(&mut self.sealed);
        let frozen = (!chunks.is_empty()).then(|| Arc::new(Frozen { generation, chunks }))?;
        self.frozen.push(Arc::clone(&frozen));
        Some(frozen)
    }

    /// Puts a segment in the place of what it was made of.
    pub(super) fn written(&mut self, generation: u64, segment: Arc<Segment>) {
        self.frozen.retain(|frozen| frozen.generation != generation);
        self.segments.push(segment);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut chunks: Vec<Arc<Chunk>> =
            self.frozen.iter().flat_map(|frozen| frozen.chunks.iter().cloned()).collect();
        chunks.extend(self.sealed.iter().cloned());
        if !self.open.rows.is_empty() {
            chunks.push(Arc::new(self.open.clone()));
        }
        Snapshot { chunks, segments: self.segments.clone() }
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

    /// Waits for a change, at most so long.
    pub(super) fn wait<'a>(
        &self,
        contents: MutexGuard<'a, Contents>,
        at_most: std::time::Duration,
    ) -> MutexGuard<'a, Contents> {
        self.changed.wait_timeout(contents, at_most).unwrap_or_else(PoisonError::into_inner).0
    }
}

//! The store as an [`Engine`]: chunks in memory and segments as parts.

use std::sync::Arc;

use super::Store;
use super::ingest::Shared;
use super::logs::LogRow;
use super::points::PointRow;
use super::segment::Segment;
use super::spans::assemble::{At, assemble};
use super::spans::chunk::{Chunk, Row};
use super::spans::names::names;
use super::spans::select::Selection;
use super::state::Stored;
use crate::query::engine::{Names, Visit};
use crate::query::{Control, Engine, Order, Part, QueryError, Scan, Table};

impl Engine for Store {
    fn parts(&self, scan: &Scan) -> Result<Vec<Box<dyn Part>>, QueryError> {
        Ok(match scan.table {
            Table::Spans => self.shared.parts_of::<Row>(scan, &[]),
            Table::Logs => self.shared.parts_of::<LogRow>(scan, &[]),
            Table::Metrics => self.shared.parts_of::<PointRow>(scan, &[]),
        })
    }

    fn pending(&self, scan: &Scan) -> Result<Vec<Box<dyn Part>>, QueryError> {
        let chunks: Vec<Arc<Chunk<Row>>> = self.shared.state.lock().pending.chunks().cloned().collect();
        Ok(chunk_parts(chunks, scan))
    }
}

impl Shared {
    /// What may hold rows of a scan, some segments left out.
    pub(super) fn parts_of<R: Stored>(&self, scan: &Scan, without: &[Arc<Segment>]) -> Vec<Box<dyn Part>> {
        let snapshot = self.state.lock().snapshot::<R>();
        let mut parts = chunk_parts(snapshot.chunks, scan);
        let read = |segment: &&Arc<Segment>| !without.iter().any(|other| Arc::ptr_eq(segment, other));
        for segment in snapshot.segments.iter().filter(read) {
            if let Some(part) = segment.part(scan) {
                parts.push(Box::new(part));
            }
        }
        parts
    }
}

/// Rows that are read at once, where their order does not matter: each batch costs something of its own.
const AT_ONCE: usize = 8_192;

/// The parts of chunks that may hold rows of a scan. Rows are looked at when they are read: an answer may be complete before
/// that.
fn chunk_parts<R: Stored>(
    chunks: impl IntoIterator<Item = Arc<Chunk<R>>>,
    scan: &Scan,
) -> Vec<Box<dyn Part>> {
    let mut parts: Vec<ChunkPart<R>> = Vec::new();
    for chunk in chunks {
        let Some(selection) = Selection::of(&chunk, scan.time, &scan.must) else { continue };
        let rows = chunk.rows.len();
        match parts.last_mut().filter(|last| scan.order == Order::Any && last.rows + rows <= AT_ONCE) {
            Some(last) => {
                last.rows += rows;
                last.chunks.push((chunk, selection));
            }
            None => parts.push(ChunkPart { chunks: vec![(chunk, selection)], rows, scan: scan.clone() }),
        }
    }
    parts.into_iter().map(|part| Box::new(part) as Box<dyn Part>).collect()
}

/// Rows of some chunks in memory.
struct ChunkPart<R> {
    chunks: Vec<(Arc<Chunk<R>>, Selection)>,
    rows: usize,
    scan: Scan,
}

impl<R: Stored> ChunkPart<R> {
    fn chunks(&self) -> Vec<&Chunk<R>> {
        self.chunks.iter().map(|(chunk, _)| chunk.as_ref()).collect()
    }
}

impl<R: Stored> Part for ChunkPart<R> {
    fn times(&self) -> (i64, i64) {
        let times = self.chunks.iter().map(|(chunk, _)| chunk.times());
        times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default()
    }

    fn rows(&self) -> u64 {
        self.rows as u64
    }

    fn names(&self) -> Option<Arc<Names>> {
        let (first, last) = self.times();
        let whole =
            self.scan.must.is_empty() && self.scan.time.contains(first) && self.scan.time.contains(last);
        if whole { names(&self.chunks()).map(Arc::new) } else { None }
    }

    fn read(&self, control: &Control, visit: &mut Visit<'_>) -> Result<u64, QueryError> {
        control.check()?;
        let chunks = self.chunks();
        let mut rows: Vec<At> = Vec::new();
        for (place, (chunk, selection)) in (0..).zip(&self.chunks) {
            rows.extend(selection.rows(chunk).into_iter().map(|row| At { chunk: place, row }));
        }
        let time = |at: &At| chunks[at.chunk as usize].rows[at.row as usize].time();
        match self.scan.order {
            Order::Any => {}
            Order::NewestFirst => rows.sort_by_key(|at| std::cmp::Reverse(time(at))),
            Order::OldestFirst => rows.sort_by_key(time),
        }
        if !rows.is_empty() {
            let made = assemble(&chunks, &rows, &self.scan.columns)
                .map_err(|error| QueryError::Failed(format!("rows in memory cannot be read: {error}")))?;
            visit(&made.batch)?;
        }
        Ok(rows.len() as u64)
    }
}

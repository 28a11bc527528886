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
        Ok(chunks.into_iter().filter_map(|chunk| chunk_part(chunk, scan)).collect())
    }
}

impl Shared {
    /// What may hold rows of a scan, some segments left out.
    pub(super) fn parts_of<R: Stored>(&self, scan: &Scan, without: &[Arc<Segment>]) -> Vec<Box<dyn Part>> {
        let snapshot = self.state.lock().snapshot::<R>();
        let mut parts: Vec<Box<dyn Part>> = Vec::new();
        parts.extend(snapshot.chunks.into_iter().filter_map(|chunk| chunk_part(chunk, scan)));
        let read = |segment: &&Arc<Segment>| !without.iter().any(|other| Arc::ptr_eq(segment, other));
        for segment in snapshot.segments.iter().filter(read) {
            if let Some(part) = segment.part(scan) {
                parts.push(Box::new(part));
            }
        }
        parts
    }
}

/// The part of a chunk that may hold rows of a scan. Its rows are looked at when it is read: an answer may be complete
/// before that.
fn chunk_part<R: Stored>(chunk: Arc<Chunk<R>>, scan: &Scan) -> Option<Box<dyn Part>> {
    let selection = Selection::of(&chunk, scan.time, &scan.must)?;
    Some(Box::new(ChunkPart { chunk, selection, scan: scan.clone() }))
}

/// Rows of a chunk in memory.
struct ChunkPart<R> {
    chunk: Arc<Chunk<R>>,
    selection: Selection,
    scan: Scan,
}

impl<R: Stored> Part for ChunkPart<R> {
    fn times(&self) -> (i64, i64) {
        self.chunk.times()
    }

    fn rows(&self) -> u64 {
        self.chunk.rows.len() as u64
    }

    fn names(&self) -> Option<Arc<Names>> {
        let (first, last) = self.chunk.times();
        let whole =
            self.scan.must.is_empty() && self.scan.time.contains(first) && self.scan.time.contains(last);
        if whole { names(&[self.chunk.as_ref()]).map(Arc::new) } else { None }
    }

    fn read(&self, control: &Control, visit: &mut Visit<'_>) -> Result<u64, QueryError> {
        control.check()?;
        let mut rows = self.selection.rows(&self.chunk);
        let time = |row: u32| self.chunk.rows[row as usize].time();
        match self.scan.order {
            Order::Any => {}
            Order::NewestFirst => rows.sort_by_key(|&row| std::cmp::Reverse(time(row))),
            Order::OldestFirst => rows.sort_by_key(|&row| time(row)),
        }
        let read = rows.len() as u64;
        if read > 0 {
            let rows: Vec<At> = rows.iter().map(|&row| At { chunk: 0, row }).collect();
            let made = assemble(&[self.chunk.as_ref()], &rows, &self.scan.columns)
                .map_err(|error| QueryError::Failed(format!("rows in memory cannot be read: {error}")))?;
            visit(&made.batch)?;
        }
        Ok(read)
    }
}

//! The store as an [`Engine`]: chunks in memory and segments as parts.

use std::sync::Arc;

use super::Store;
use super::spans::assemble::{At, assemble};
use super::spans::chunk::Chunk;
use super::spans::select::select;
use crate::query::engine::Visit;
use crate::query::{Control, Engine, Order, Part, QueryError, Scan};

impl Engine for Store {
    fn parts(&self, scan: &Scan) -> Result<Vec<Box<dyn Part>>, QueryError> {
        let snapshot = self.snapshot();
        let mut parts: Vec<Box<dyn Part>> = Vec::new();
        for chunk in snapshot.chunks {
            let mut rows = select(&chunk, scan.time, &scan.must);
            if rows.is_empty() {
                continue;
            }
            let start = |row: u32| chunk.rows[row as usize].start;
            match scan.order {
                Order::Any => {}
                Order::NewestFirst => rows.sort_by_key(|&row| std::cmp::Reverse(start(row))),
                Order::OldestFirst => rows.sort_by_key(|&row| start(row)),
            }
            let times = rows.iter().map(|&row| start(row));
            let times =
                times.fold((i64::MAX, i64::MIN), |times, start| (times.0.min(start), times.1.max(start)));
            parts.push(Box::new(ChunkPart { chunk, rows, times, scan: scan.clone() }));
        }
        for segment in &snapshot.segments {
            if let Some(part) = segment.part(scan) {
                parts.push(Box::new(part));
            }
        }
        Ok(parts)
    }
}

/// Rows of a chunk in memory.
struct ChunkPart {
    chunk: Arc<Chunk>,
    rows: Vec<u32>,
    times: (i64, i64),
    scan: Scan,
}

impl Part for ChunkPart {
    fn times(&self) -> (i64, i64) {
        self.times
    }

    fn rows(&self) -> u64 {
        self.chunk.rows.len() as u64
    }

    fn read(&self, control: &Control, visit: &mut Visit<'_>) -> Result<u64, QueryError> {
        control.check()?;
        let rows: Vec<At> = self.rows.iter().map(|&row| At { chunk: 0, row }).collect();
        let made = assemble(&[self.chunk.as_ref()], &rows, &self.scan.columns)
            .map_err(|error| QueryError::Failed(format!("spans in memory cannot be read: {error}")))?;
        visit(&made.batch)?;
        Ok(self.chunk.rows.len() as u64)
    }
}

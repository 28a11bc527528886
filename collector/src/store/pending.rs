//! Spans that are not over: what was last heard of each, until the span itself comes. They are no rows of the table, so
//! nothing counts them, and a span that ends is there once.
//!
//! A sender marks such a span with the attribute `agentvitals.span.pending`, true; its end is the time at which it was
//! looked at. What is pending when a generation of the log is complete is written as a file of its own before the
//! generation's segments are, so that the log may go.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentvitals::semconv::attr;
use hashbrown::HashMap;

use super::disk;
use super::segment::{self, Name, Segment};
use super::spans::chunk::{Cell, Chunk, Row};
use super::spans::disassemble::disassemble;
use crate::query::Table;

/// Spans that are remembered; of more, those that started first are forgotten.
const MOST: usize = 10_000;
/// Bytes that they take, likewise.
const MOST_BYTES: usize = 32 << 20;

type Id = ([u8; 16], [u8; 8]);

/// What is pending now.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Each a chunk of one row.
    spans: HashMap<Id, Arc<Chunk<Row>>>,
    bytes: usize,
    /// What came since a generation was begun, so that the log does not grow for ever.
    since: (usize, usize),
    changed: bool,
    dropped: u64,
}

impl Pending {
    /// Takes what is pending out of the rows of a request.
    pub(super) fn take(&mut self, chunk: &mut Chunk<Row>) {
        // Few requests have any, and these are known by one look.
        let Some(key) = chunk.pool.find(attr::SPAN_PENDING) else {
            self.end(&chunk.rows);
            return;
        };
        let (pending, over): (Vec<Row>, Vec<Row>) =
            chunk.rows.iter().partition(|row| chunk.cell(row, key) == Some(Cell::Bool(true)));
        pending.iter().for_each(|row| self.put(chunk, row));
        self.end(&over);
        chunk.rows = over;
    }

    /// Remembers what was last heard of a span.
    fn put(&mut self, of: &Chunk<Row>, row: &Row) {
        let id = (row.trace_id, row.span_id);
        let mut chunk = Chunk::default();
        let newer = self.spans.get(&id).is_none_or(|known| known.rows[0].duration <= row.duration);
        if !newer || !chunk.absorb_rows(of, std::slice::from_ref(row)) {
            return;
        }
        chunk.shrink();
        let size = chunk.size();
        self.bytes += size;
        self.since = (self.since.0 + 1, self.since.1 + size);
        if let Some(before) = self.spans.insert(id, Arc::new(chunk)) {
            self.bytes -= before.size();
        }
        self.changed = true;
        if self.spans.len() > MOST || self.bytes > MOST_BYTES {
            self.drop_oldest();
        }
    }

    /// A tenth at once, so that it is not looked for at each span.
    fn drop_oldest(&mut self) {
        let mut all: Vec<(i64, Id)> =
            self.spans.iter().map(|(id, chunk)| (chunk.rows[0].start, *id)).collect();
        all.sort_unstable();
        for (_, id) in all.iter().take(all.len() / 10 + 1) {
            if let Some(chunk) = self.spans.remove(id) {
                self.bytes -= chunk.size();
                self.dropped += 1;
            }
        }
    }

    /// These are over.
    fn end(&mut self, rows: &[Row]) {
        if self.spans.is_empty() {
            return;
        }
        for row in rows {
            if let Some(chunk) = self.spans.remove(&(row.trace_id, row.span_id)) {
                self.bytes -= chunk.size();
                self.changed = true;
            }
        }
    }

    /// All that is pending.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &Arc<Chunk<Row>>> {
        self.spans.values()
    }

    /// How many are pending, and how many were forgotten since there were too many.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.spans.len() as u64, self.dropped)
    }

    /// Rows and bytes that came since a generation was begun.
    pub(super) const fn since(&self) -> (usize, usize) {
        self.since
    }

    /// What is to be written when a generation is complete; nothing if nothing changed in it.
    pub(super) fn freeze(&mut self) -> Option<Vec<Arc<Chunk<Row>>>> {
        self.since = (0, 0);
        std::mem::take(&mut self.changed).then(|| self.spans.values().cloned().collect())
    }
}

fn files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| disk::named(dir, &error))? {
        let path = entry?.path();
        if let Some(name) = Name::of(&path) {
            found.push((name.generations.1, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes what was pending when a generation was complete. It takes the place of what was written before.
pub(super) fn write(dir: &Path, generation: u64, chunks: &[Arc<Chunk<Row>>]) -> io::Result<()> {
    let before = files(dir)?;
    if !chunks.is_empty() {
        let chunks: Vec<&Chunk<Row>> = chunks.iter().map(AsRef::as_ref).collect();
        let name = Name { generations: (generation, generation), revision: 0 };
        segment::write(dir, name, &chunks)?;
    }
    for (_, path) in before.iter().filter(|(older, _)| *older < generation) {
        disk::remove(path)?;
        disk::remove(&path.with_extension("idx"))?;
    }
    Ok(())
}

/// What was pending when the newest complete generation was; the log tells the rest.
pub(super) fn read(dir: &Path, reports: &mut Vec<String>) -> io::Result<Pending> {
    let mut pending = Pending::default();
    let Some((_, path)) = files(dir)?.pop() else { return Ok(pending) };
    let mut chunk = Chunk::<Row>::default();
    let read = Segment::open(Table::Spans, path).map_err(|error| error.to_string()).and_then(|segment| {
        let read = segment::each_batch(&segment, |batch| {
            disassemble(batch, |_| true, &mut chunk);
            Ok(())
        });
        read.map_err(|error| error.to_string())
    });
    match read {
        Ok(()) => chunk.rows.iter().for_each(|row| pending.put(&chunk, row)),
        Err(error) => reports.push(format!("what was pending cannot be read and is left out: {error}")),
    }
    (pending.changed, pending.since) = (false, (0, 0));
    Ok(pending)
}

//! What is done to segments once they are written: the old ones are removed, small ones become a large one, and the data
//! of a service is taken out of all. Points that become fewer are in `downsample`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ingest::{Shared, Store, lock};
use super::logs::LogRow;
use super::points::PointRow;
use super::segment::{self, Downsampled, Name, Segment};
use super::spans::chunk::{Chunk, Row};
use super::spans::disassemble::disassemble;
use super::state::Stored;
use super::{open, wal};
use crate::clock;
use crate::query::{Columns, Must, Order, QueryError, Scan, Table, TimeRange};

/// Segments that are put together, at least: with fewer, the same rows would be written too often.
const FEWEST: usize = 4;
/// How long a look at the state waits for a change.
const LOOK: Duration = Duration::from_millis(200);

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    expired: AtomicU64,
    compacted: AtomicU64,
    downsampled: [AtomicU64; 2],
}

impl Counters {
    pub(super) fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    pub(super) fn compacted(&self) -> u64 {
        self.compacted.load(Ordering::Relaxed)
    }

    /// Segments that were downsampled, and the points that went.
    pub(super) fn downsampled(&self) -> (u64, u64) {
        let [segments, points] = &self.downsampled;
        (segments.load(Ordering::Relaxed), points.load(Ordering::Relaxed))
    }

    pub(super) fn add_downsampled(&self, segments: usize, points: u64) {
        self.downsampled[0].fetch_add(segments as u64, Ordering::Relaxed);
        self.downsampled[1].fetch_add(points, Ordering::Relaxed);
    }
}

/// What was removed with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "one count for each table")]
pub struct Deleted {
    /// Its spans.
    pub spans: u64,
    /// Its log records.
    pub logs: u64,
    /// Its data points.
    pub metrics: u64,
}

impl Shared {
    /// On a thread of its own.
    pub(super) fn maintain_until_closed(&self) {
        loop {
            let contents = self.state.lock();
            if contents.closing {
                return;
            }
            let contents = self.state.wait_for(contents, self.options.maintain_every);
            if contents.closing {
                return;
            }
            drop(contents);
            let held = lock(&self.maintaining);
            // What stands in the way of one need not stand in the way of the others.
            let done: io::Result<()> =
                [self.expire(), self.downsample(), self.compact()].into_iter().collect();
            drop(held);
            // What could not be done is tried again; questions and what comes in do not need it.
            self.state.lock().maintenance = done.err().map(|error| error.to_string());
        }
    }

    /// The segments whose generations the log has no more: only these may be replaced, since what replaces them would
    /// hide records of the log.
    pub(super) fn settled(&self, table: Table) -> io::Result<Vec<Arc<Segment>>> {
        let segments = self.state.lock().segments[table].clone();
        let in_log = wal::generations(&open::log_dir(&self.dir))?;
        let first = in_log.first().copied().unwrap_or(u64::MAX);
        Ok(segments.into_iter().filter(|segment| segment.name.generations.1 < first).collect())
    }

    /// Removes what is too old, and the oldest while all take too much room.
    pub(super) fn expire(&self) -> io::Result<()> {
        if self.options.keep_for.is_none() && self.options.keep_bytes.is_none() {
            return Ok(());
        }
        let mut all = Vec::new();
        for table in Table::ALL {
            all.extend(self.settled(table)?);
        }
        all.sort_by_key(|segment| segment.newest());
        let mut bytes = {
            let contents = self.state.lock();
            contents.segments.iter().flatten().map(|segment| segment.bytes).sum::<u64>()
        };
        let oldest = self.options.keep_for.map(|keep| {
            let keep = i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX);
            clock::unix_nanos().saturating_sub(keep)
        });
        for segment in all {
            let too_old = oldest.is_some_and(|oldest| segment.newest() < oldest);
            let too_much = self.options.keep_bytes.is_some_and(|keep| bytes > keep);
            if (too_old || too_much)
                && self.state.lock().replace(segment.table, std::slice::from_ref(&segment), None)
            {
                bytes = bytes.saturating_sub(segment.bytes);
                self.maintained.expired.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Puts small segments that follow each other together.
    pub(super) fn compact(&self) -> io::Result<()> {
        for table in Table::ALL {
            let mut group: Vec<Arc<Segment>> = Vec::new();
            let mut rows = 0;
            for segment in self.settled(table)? {
                // What was downsampled stays apart from what was not, so that it is known which is to be.
                let other = group.last().is_some_and(|last| last.step() != segment.step());
                if other || rows + segment.rows > self.options.segment_rows as u64 {
                    self.compact_group(table, &group)?;
                    (group, rows) = (Vec::new(), 0);
                }
                rows += segment.rows;
                group.push(segment);
            }
            self.compact_group(table, &group)?;
        }
        Ok(())
    }

    fn compact_group(&self, table: Table, group: &[Arc<Segment>]) -> io::Result<()> {
        let (Some(first), Some(last), true) = (group.first(), group.last(), group.len() >= FEWEST) else {
            return Ok(());
        };
        let name = Name { generations: (first.name.generations.0, last.name.generations.1), revision: 0 };
        let merged = group.iter().flat_map(|segment| segment.merged()).collect();
        let (_, written) = self.rewrite_any(table, group, name, merged, |_| true)?;
        if self.state.lock().replace(table, group, written) {
            self.maintained.compacted.fetch_add(group.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn rewrite_any(
        &self,
        table: Table,
        segments: &[Arc<Segment>],
        name: Name,
        merged: Vec<u64>,
        keep: impl Fn(&str) -> bool,
    ) -> io::Result<(u64, Option<Segment>)> {
        match table {
            Table::Spans => self.rewrite::<Row>(segments, name, merged, keep),
            Table::Logs => self.rewrite::<LogRow>(segments, name, merged, keep),
            Table::Metrics => self.rewrite::<PointRow>(segments, name, merged, keep),
        }
    }

    /// Writes the rows of segments whose service is to be kept as one segment; none if no row is. Tells how many
    /// rows were left out.
    fn rewrite<R: Stored>(
        &self,
        segments: &[Arc<Segment>],
        name: Name,
        merged: Vec<u64>,
        keep: impl Fn(&str) -> bool,
    ) -> io::Result<(u64, Option<Segment>)> {
        let mut chunk = Chunk::<R>::default();
        for segment in segments {
            segment::each_batch(segment, |batch| {
                let room = disassemble(batch, &keep, &mut chunk);
                if room {
                    Ok(())
                } else {
                    Err(QueryError::Failed("a segment holds more text than fits".to_owned()))
                }
            })
            .map_err(io::Error::other)?;
        }
        let before: u64 = segments.iter().map(|segment| segment.rows).sum();
        let left_out = before - chunk.rows.len() as u64;
        if chunk.rows.is_empty() {
            return Ok((left_out, None));
        }
        let step = segments.first().and_then(|segment| segment.step());
        let dir = open::segments_dir(&self.dir, R::TABLE);
        let written = segment::write_as(&dir, name, &[&chunk], &Downsampled { step, merged })?;
        Ok((left_out, Some(written)))
    }

    /// Takes the rows of a service out of a table; returns how many.
    fn delete(&self, table: Table, service: &str) -> io::Result<u64> {
        let scan = Scan {
            table,
            time: TimeRange::ALL,
            must: vec![Must::Service(service.to_owned())],
            columns: Columns::All,
            order: Order::Any,
        };
        let mut deleted = 0;
        for segment in self.settled(table)? {
            // The index tells where it cannot be.
            if segment.part(&scan).is_none() {
                continue;
            }
            let name = Name { revision: segment.name.revision + 1, ..segment.name };
            let one = std::slice::from_ref(&segment);
            // Whose the requests are that no row is left of is not known: all of them are forgotten.
            let (rows, written) = self.rewrite_any(table, one, name, Vec::new(), |other| other != service)?;
            if rows == 0 {
                // It was not there after all; what was written is not needed.
                written.iter().for_each(Segment::doom);
            } else if self.state.lock().replace(table, one, written) {
                deleted += rows;
            }
        }
        Ok(deleted)
    }
}

impl Store {
    /// Removes all that a service sent until now. It blocks until that is durable.
    ///
    /// # Errors
    /// When the disk fails, or the store closes; what was removed until then stays removed.
    pub fn delete_service(&self, service: &str) -> io::Result<Deleted> {
        let shared = &self.shared;
        let _held = lock(&shared.maintaining);
        // What is in memory and in the log comes into segments first: a log is never changed.
        let newest = wal::generations(&open::log_dir(&shared.dir))?.last().copied().unwrap_or(0);
        self.rotate();
        let settled = |contents: &super::state::Contents| {
            contents.frozen.is_empty()
                && wal::generations(&open::log_dir(&shared.dir))
                    .is_ok_and(|all| all.iter().all(|g| *g > newest))
        };
        let mut contents = shared.state.lock();
        while !settled(&contents) {
            if contents.closing {
                return Err(io::Error::other("the store is closing"));
            }
            if let Some(trouble) = &contents.trouble {
                return Err(io::Error::other(trouble.clone()));
            }
            contents = shared.state.wait(contents, LOOK);
        }
        drop(contents);
        let deleted = Deleted {
            spans: shared.delete(Table::Spans, service)?,
            logs: shared.delete(Table::Logs, service)?,
            metrics: shared.delete(Table::Metrics, service)?,
        };
        // If it is sent again, it is not a repetition of what is there.
        shared.forget.store(true, Ordering::Relaxed);
        Ok(deleted)
    }
}

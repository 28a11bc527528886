//! What came long ago, and is not remembered any more: the index of the segments tells where it would be, and there it is
//! looked for. What comes while it happens has no segment of its time yet, so this costs only those who send old data again.

use std::sync::Arc;

use hashbrown::HashSet;

use super::batch::Batch;
use super::logs::LogRow;
use super::points::PointRow;
use super::segment::{self, Segment};
use super::spans::chunk::{Chunk, Record, Row};

/// Rows that can be told from others of their table.
pub(super) trait Known: Record {
    /// What tells it from others, or what tells its request from others.
    fn known_by(&self) -> u64;

    /// What its segment's index has for it.
    fn entry(&self) -> u64;
}

impl Known for Row {
    fn known_by(&self) -> u64 {
        self.identity()
    }

    fn entry(&self) -> u64 {
        segment::trace_entry(&self.trace_id)
    }
}

impl Known for LogRow {
    fn known_by(&self) -> u64 {
        self.batch
    }

    fn entry(&self) -> u64 {
        segment::batch_entry(self.batch)
    }
}

impl Known for PointRow {
    fn known_by(&self) -> u64 {
        self.batch
    }

    fn entry(&self) -> u64 {
        segment::batch_entry(self.batch)
    }
}

impl Batch {
    /// Takes out the rows that one of these segments has, as far as they may be of this generation of the log or of an
    /// earlier one; returns how many.
    pub(super) fn drop_known(&mut self, segments: &[Arc<Segment>], forgotten: u64) -> usize {
        match self {
            Self::Spans(chunk) => drop_known(chunk, segments, forgotten),
            Self::Logs(chunk) => drop_known(chunk, segments, forgotten),
            Self::Points(chunk) => drop_known(chunk, segments, forgotten),
        }
    }
}

/// Takes out rows of requests that no row is left of where points were downsampled. They are of the steps of those left.
fn drop_merged<R: Known>(chunk: &mut Chunk<R>, segment: &Segment) {
    let Some(step) = segment.step().filter(|step| *step > 0) else { return };
    let (first, last) = segment.index.times();
    let begin = first.div_euclid(step).saturating_mul(step);
    if chunk.rows.iter().any(|row| (begin..=last).contains(&row.time())) {
        let merged: HashSet<u64> = segment.merged().into_iter().collect();
        chunk.rows.retain(|row| !merged.contains(&row.known_by()));
    }
}

fn drop_known<R: Known>(chunk: &mut Chunk<R>, segments: &[Arc<Segment>], forgotten: u64) -> usize {
    let before = chunk.rows.len();
    let (earliest, latest) = chunk.times();
    for segment in segments.iter().filter(|segment| segment.name.generations.0 <= forgotten) {
        drop_merged(chunk, segment);
        let (first, last) = segment.index.times();
        if last < earliest || first > latest {
            continue;
        }
        let entries = chunk.rows.iter().filter(|row| (first..=last).contains(&row.time()));
        let blocks = segment.index.blocks_of(entries.map(|row| (row.time(), row.entry())));
        if blocks.is_empty() {
            continue;
        }
        let mut known = HashSet::new();
        // What cannot be read is not known: a row that is there twice is better than one that is lost.
        if segment::identities(segment, Some(&blocks), |identity| {
            known.insert(identity);
        })
        .is_ok()
        {
            chunk.rows.retain(|row| !known.contains(&row.known_by()));
        }
    }
    before - chunk.rows.len()
}

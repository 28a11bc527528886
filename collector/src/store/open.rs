//! Opening: what a crash left is put right, and the log is read into memory again.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashSet;

use super::batch;
use super::disk::{self, DataDir};
use super::pending;
use super::recent::{REMEMBERED, Recent};
use super::segment::{self, Segment};
use super::state::{Contents, Tables};
use super::wal;
use crate::Error;
use crate::query::Table;

/// How the store works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Spans in memory before a segment is written of them.
    pub segment_rows: usize,
    /// Bytes in memory before a segment is written of them.
    pub segment_bytes: usize,
    /// Bytes of requests that may wait for the disk; more are refused as overload.
    pub waiting_bytes: usize,
    /// Bytes of the disk that are left free.
    pub keep_free: u64,
    /// What is older than this is removed, a segment at a time.
    pub keep_for: Option<std::time::Duration>,
    /// When segments take more bytes than this, the oldest are removed.
    pub keep_bytes: Option<u64>,
    /// Metrics that are older than this are downsampled: fewer points are kept that give the same answers at steps of
    /// [`Self::downsample_metrics_step`] and at multiples of it. None by default: what came is kept exactly.
    pub downsample_metrics_after: Option<std::time::Duration>,
    /// The step to which metrics are downsampled.
    pub downsample_metrics_step: std::time::Duration,
    /// How often it is looked for what is to be removed, downsampled or put together.
    pub maintain_every: std::time::Duration,
    /// How many of the spans that came last are remembered, so that those that come again are known at once; segments
    /// are asked for earlier ones. Up to twice as many take about ten bytes each.
    pub remembered: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_rows: 131_072,
            segment_bytes: 128 << 20,
            waiting_bytes: 64 << 20,
            keep_free: 64 << 20,
            keep_for: None,
            keep_bytes: None,
            downsample_metrics_after: None,
            downsample_metrics_step: std::time::Duration::from_secs(300),
            maintain_every: std::time::Duration::from_secs(30),
            remembered: REMEMBERED,
        }
    }
}

/// What the store holds and did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Figures {
    /// Spans.
    pub spans: TableFigures,
    /// Log records.
    pub logs: TableFigures,
    /// Data points of metrics.
    pub metrics: TableFigures,
    /// The log.
    pub log: LogFigures,
    /// Bytes of the disk that the data directory takes, if the system tells.
    pub disk_bytes: Option<u64>,
    /// Requests that were refused since too much was waiting.
    pub overloaded: u64,
    /// Segments that were removed for their age or for room.
    pub expired: u64,
    /// Segments that were put together into larger ones.
    pub compacted: u64,
    /// Segments of metrics that were downsampled.
    pub downsampled: u64,
    /// Points that went from them.
    pub downsampled_points: u64,
    /// Spans that are not over.
    pub pending: u64,
    /// Those that were forgotten, since there were too many.
    pub pending_dropped: u64,
    /// Why nothing can be written now, if so.
    pub trouble: Option<String>,
    /// Why segments could not be removed, downsampled or put together the last time, if so.
    pub maintenance: Option<String>,
}

/// What the log did since the start. What several requests wait for together is synced once.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LogFigures {
    /// Syncs to the disk.
    pub syncs: u64,
    /// Requests that they made durable.
    pub requests: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Requests of the largest sync.
    pub largest_sync: u64,
    /// Nanoseconds that writing and syncing took.
    pub sync_nanos: u64,
    /// Nanoseconds of the slowest.
    pub slowest_nanos: u64,
    /// Requests that could not be written.
    pub refused: u64,
    /// Bytes that wait now.
    pub waiting_bytes: u64,
    /// Bytes of the newest file.
    pub file_bytes: u64,
}

/// What a table holds, and what happened to what came for it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TableFigures {
    /// Rows in it.
    pub rows: u64,
    /// Of them, those in memory (and in the log).
    pub in_memory: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of the segments.
    pub segment_bytes: u64,
    /// Rows that were taken since the start.
    pub accepted: u64,
    /// Records that were refused as being none.
    pub rejected: u64,
    /// Rows that came again and were kept once.
    pub repeated: u64,
}

impl Figures {
    /// Those of one table.
    pub const fn table(&self, table: Table) -> &TableFigures {
        match table {
            Table::Spans => &self.spans,
            Table::Logs => &self.logs,
            Table::Metrics => &self.metrics,
        }
    }
}

/// Log records, and data points, whose requests are remembered at a start, at most: to read more takes its time.
const REMEMBERED_ROWS: usize = 500_000;

/// What was found.
pub(super) struct Found {
    pub(super) dir: DataDir,
    pub(super) contents: Contents,
    pub(super) recent: Recent,
    pub(super) log: wal::Log,
    /// What a person should know of it.
    pub(super) reports: Vec<String>,
}

pub(super) fn segments_dir(dir: &DataDir, table: Table) -> PathBuf {
    dir.path().join(table.name())
}

pub(super) fn log_dir(dir: &DataDir) -> PathBuf {
    dir.path().join("wal")
}

/// Where it is written what is pending.
pub(super) fn pending_dir(dir: &DataDir) -> PathBuf {
    dir.path().join("pending")
}

/// Opens a data directory.
pub(super) fn open(path: &Path, options: &Options) -> Result<Found, Error> {
    let dir = DataDir::open(path)?;
    let told = |error: &io::Error| Error::failed(format!("the data directory {}: {error}", path.display()));
    let folders = Table::ALL.map(|table| segments_dir(&dir, table));
    for folder in folders.iter().chain([&log_dir(&dir), &pending_dir(&dir)]) {
        std::fs::create_dir_all(folder).map_err(|error| told(&disk::named(folder, &error)))?;
    }
    disk::sync_directory(dir.path()).map_err(|error| told(&error))?;
    let mut reports = Vec::new();
    let (mut contents, mut recent) = (Contents::default(), Recent::new(options.remembered));
    for (table, folder) in Table::ALL.into_iter().zip(&folders) {
        contents.segments[table] =
            open_segments(table, folder, &mut reports).map_err(|error| told(&error))?;
    }
    remember(&contents.segments, &mut recent)?;
    contents.pending = pending::read(&pending_dir(&dir), &mut reports).map_err(|error| told(&error))?;
    let log =
        replay(&log_dir(&dir), &mut contents, &mut recent, &mut reports).map_err(|error| told(&error))?;
    Ok(Found { dir, contents, recent, log, reports })
}

/// Reads which rows came last, as far as there is room to remember them. Requests of log records and data points come
/// first: they are few, and spans would leave no room for them.
pub(super) fn remember(segments: &Tables<Vec<Arc<Segment>>>, recent: &mut Recent) -> Result<(), Error> {
    for table in [Table::Logs, Table::Metrics, Table::Spans] {
        let mut room = if table == Table::Spans { recent.room() } else { REMEMBERED_ROWS };
        for segment in segments[table].iter().rev() {
            let rows = usize::try_from(segment.rows).unwrap_or(usize::MAX);
            let mut found: HashSet<u64> = HashSet::new();
            if rows < room {
                let read = segment::identities(segment, None, |identity| {
                    found.insert(identity);
                });
                read.map_err(|error| Error::failed(error.to_string()))?;
            }
            let generation = segment.name.generations.1;
            // What is there is older than what is remembered already, so nothing may be forgotten for it.
            if rows >= room || found.len() >= recent.room() {
                recent.forget_until(generation);
                break;
            }
            room -= rows;
            for identity in found {
                recent.insert(identity, generation);
            }
        }
    }
    Ok(())
}

/// The segments by generation; those that a larger or a newer one replaced are removed.
fn open_segments(table: Table, dir: &Path, reports: &mut Vec<String>) -> io::Result<Vec<Arc<Segment>>> {
    let mut found: BTreeMap<(u64, Reverse<u64>, Reverse<u64>), PathBuf> = BTreeMap::new();
    let mut indexes = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| disk::named(dir, &error))? {
        let path = entry?.path();
        if let Some(segment::Name { generations: (first, last), revision }) = segment::Name::of(&path) {
            found.insert((first, Reverse(last), Reverse(revision)), path);
        } else if path.extension().is_some_and(|extension| extension == "idx") {
            indexes.push(path);
        }
    }
    // A crash may have come between the two files, when they were written or removed.
    for index in indexes {
        let segment = index.with_extension("parquet");
        if segment::Name::of(&segment).is_some() && !segment.exists() {
            disk::remove(&index)?;
        }
    }
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    for ((_, Reverse(last), _), path) in found {
        if segments.last().is_some_and(|before| last <= before.name.generations.1) {
            disk::remove(&path)?;
            disk::remove(&path.with_extension("idx"))?;
            continue;
        }
        match Segment::open(table, path.clone()) {
            Ok(segment) => segments.push(Arc::new(segment)),
            // It stays where it is, for whoever can mend it; the others answer.
            Err(error) => reports.push(format!("a segment cannot be read and is left out: {error}")),
        }
    }
    Ok(segments)
}

/// Reads what no segment has yet, and begins a new generation.
fn replay(
    dir: &Path,
    contents: &mut Contents,
    recent: &mut Recent,
    reports: &mut Vec<String>,
) -> io::Result<wal::Log> {
    let last = |segment: &Arc<Segment>| segment.name.generations.1;
    let newest = contents.segments.iter().flatten().map(last).max().unwrap_or(0);
    let (mut generation, mut sequence) = (newest, 0);
    for old in wal::generations(dir)? {
        generation = generation.max(old);
        // A crash may have come between the segments of a generation: the others are made again.
        let kept = Table::ALL.map(|table| {
            let covers = |segment: &Arc<Segment>| {
                (segment.name.generations.0..=segment.name.generations.1).contains(&old)
            };
            contents.segments[table].iter().any(covers)
        });
        let mut undecoded = Vec::new();
        let report = wal::read(dir, old, &mut |record| {
            if batch::table_of(record.kind).is_some_and(|table| kept[table as usize]) {
                return Ok(());
            }
            match batch::decode(record.kind, record.payload) {
                Ok(mut read) => {
                    read.batch.drop_known(&contents.segments[read.batch.table()], recent.forgotten());
                    read.batch.keep(contents, recent, old);
                }
                // What is no request is refused before it comes to the log; the others are read all the same.
                Err(error) => {
                    undecoded.push(format!("record {} of generation {old}: {error}", record.sequence));
                }
            }
            Ok(())
        })?;
        sequence = sequence.max(report.next_sequence);
        reports.extend(report.cut.iter().map(ToString::to_string));
        reports.extend(report.corrupt.iter().map(ToString::to_string));
        let damaged = !report.corrupt.is_empty() || !undecoded.is_empty();
        reports.append(&mut undecoded);
        if damaged {
            // Its good part is in memory, and will be in a segment; the file is kept for whoever can mend it.
            let file = wal::path(dir, old);
            std::fs::copy(&file, file.with_extension("damaged"))
                .map_err(|error| disk::named(&file, &error))?;
        }
        if contents.freeze(old).is_none() {
            wal::remove(dir, old)?;
        }
    }
    wal::Log::create(dir, generation + 1, sequence)
}

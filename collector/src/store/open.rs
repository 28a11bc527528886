//! Opening: what a crash left is put right, and the log is read into memory again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{self, DataDir};
use super::recent::Recent;
use super::segment::{self, Segment};
use super::spans::decode::decode;
use super::state::Contents;
use super::wal;
use crate::Error;

/// What the log calls a request of spans.
pub(super) const SPANS: u8 = 1;

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
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_rows: 131_072, segment_bytes: 128 << 20, waiting_bytes: 64 << 20, keep_free: 64 << 20 }
    }
}

/// What the store holds and did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Figures {
    /// Spans in it.
    pub spans: u64,
    /// Of them, those in memory (and in the log).
    pub spans_in_memory: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of the segments.
    pub segment_bytes: u64,
    /// Bytes of the disk that the data directory takes, if the system tells.
    pub disk_bytes: Option<u64>,
    /// Spans that were taken since the start.
    pub accepted: u64,
    /// Spans that were refused as being none.
    pub rejected: u64,
    /// Spans that came again and were kept once.
    pub repeated: u64,
    /// Requests that were refused since too much was waiting.
    pub overloaded: u64,
    /// Why nothing can be written now, if so.
    pub trouble: Option<String>,
}

/// What was found.
pub(super) struct Found {
    pub(super) dir: DataDir,
    pub(super) contents: Contents,
    pub(super) recent: Recent,
    pub(super) log: wal::Log,
    /// What a person should know of it.
    pub(super) reports: Vec<String>,
}

pub(super) fn segments_dir(dir: &DataDir) -> PathBuf {
    dir.path().join("spans")
}

pub(super) fn log_dir(dir: &DataDir) -> PathBuf {
    dir.path().join("wal")
}

/// Opens a data directory.
pub(super) fn open(path: &Path) -> Result<Found, Error> {
    let dir = DataDir::open(path)?;
    let told = |error: &io::Error| Error::failed(format!("the data directory {}: {error}", path.display()));
    for folder in [segments_dir(&dir), log_dir(&dir)] {
        std::fs::create_dir_all(&folder).map_err(|error| told(&disk::named(&folder, &error)))?;
    }
    disk::sync_directory(dir.path()).map_err(|error| told(&error))?;
    let mut reports = Vec::new();
    let mut contents = Contents::default();
    contents.segments = open_segments(&segments_dir(&dir), &mut reports).map_err(|error| told(&error))?;
    let mut recent = Recent::default();
    for segment in contents.segments.iter().rev() {
        if usize::try_from(segment.rows).unwrap_or(usize::MAX) > recent.room() {
            break;
        }
        let read = segment::identities(segment, |identity| {
            recent.insert(identity);
        });
        read.map_err(|error| Error::failed(error.to_string()))?;
    }
    let log =
        replay(&log_dir(&dir), &mut contents, &mut recent, &mut reports).map_err(|error| told(&error))?;
    Ok(Found { dir, contents, recent, log, reports })
}

/// The segments by generation; those that a larger one replaced are removed.
fn open_segments(dir: &Path, reports: &mut Vec<String>) -> io::Result<Vec<Arc<Segment>>> {
    let mut found: BTreeMap<(u64, std::cmp::Reverse<u64>), PathBuf> = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(|error| disk::named(dir, &error))? {
        let path = entry?.path();
        if let Some((first, last)) = segment::generations(&path) {
            found.insert((first, std::cmp::Reverse(last)), path);
        }
    }
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    for ((_, std::cmp::Reverse(last)), path) in found {
        if segments.last().is_some_and(|before| last <= before.generations.1) {
            disk::remove(&path)?;
            disk::remove(&path.with_extension("idx"))?;
            continue;
        }
        match Segment::open(path.clone()) {
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
    let newest = contents.segments.iter().map(|segment| segment.generations.1).max().unwrap_or(0);
    let (mut generation, mut sequence) = (newest, 0);
    for old in wal::generations(dir)? {
        generation = generation.max(old);
        let kept = contents
            .segments
            .iter()
            .any(|segment| (segment.generations.0..=segment.generations.1).contains(&old));
        if kept {
            wal::remove(dir, old)?;
            continue;
        }
        let mut undecoded = Vec::new();
        let report = wal::read(dir, old, &mut |record| {
            if record.kind == SPANS {
                match decode(record.payload) {
                    Ok(mut decoded) => {
                        decoded.chunk.rows.retain(|row| recent.insert(row.identity()));
                        contents.push(decoded.chunk);
                    }
                    // What is no request is refused before it comes to the log; the others are read all the same.
                    Err(error) => {
                        undecoded.push(format!("record {} of generation {old}: {error}", record.sequence))
                    }
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

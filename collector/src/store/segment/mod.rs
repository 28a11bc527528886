//! Rows of a table on disk: one Parquet file with its index beside it, both written once.

mod entries;
mod index;
mod read;
mod write;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::PageIndexPolicy;

use crate::query::Table;
use crate::query::engine::Names;

pub(super) use entries::{batch_entry, trace_entry};
pub(super) use index::{Index, Tests};
pub(super) use read::{SegmentPart, each_batch, identities};
pub(super) use write::{write, write_as};

/// Rows of a block: of a page, and of a bloom filter.
pub(super) const BLOCK: usize = 2_048;
/// The key of the footer that lists the attributes which the column `attributes` never holds.
const PURE: &str = "agentvitals.pure";
/// The key of the footer that lists the attributes that its rows have, by scope.
const NAMES: &str = "agentvitals.names";
/// The key of the footer that lists the different texts of columns that have few.
const VALUES: &str = "agentvitals.values";
/// The key of the footer that tells to which step points were downsampled, in nanoseconds.
const STEP: &str = "agentvitals.downsampled";
/// The key of the footer that lists the requests whose points are all in those of others.
const MERGED: &str = "agentvitals.merged";

/// How many segments this process has opened: each has a number of its own.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// What the footer tells of a segment whose points were downsampled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Downsampled {
    /// The step in nanoseconds; none if all points are as they came.
    pub(super) step: Option<i64>,
    /// The requests that no row is left of, though what they counted is in others: they are known when they come again.
    pub(super) merged: Vec<u64>,
}

/// A segment that can be read.
#[derive(Debug)]
pub(super) struct Segment {
    /// What its rows are.
    pub(super) table: Table,
    /// The Parquet file.
    pub(super) path: PathBuf,
    /// What is in it.
    pub(super) name: Name,
    /// Bytes of both files.
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) index: Index,
    metadata: ArrowReaderMetadata,
    pure: Vec<String>,
    /// Which attributes its rows have; segments of old do not tell.
    names: Option<Arc<Names>>,
    /// The different texts of columns that have few of them.
    values: HashMap<String, Vec<String>>,
    /// Whether its files go when nobody reads it any more.
    doomed: AtomicBool,
    /// What no other segment of this process has.
    id: u64,
}

/// What a segment is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    /// The first and the last generation of the log that are in it.
    pub(super) generations: (u64, u64),
    /// How often it was written anew, with less in it.
    pub(super) revision: u64,
}

impl Name {
    /// The file.
    pub(super) fn path(self, dir: &Path) -> PathBuf {
        let Self { generations: (first, last), revision } = self;
        let revision = if revision == 0 { String::new() } else { format!("-{revision}") };
        dir.join(format!("{first:010}-{last:010}{revision}.parquet"))
    }

    /// What a file's name tells.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let mut numbers = path.file_name()?.to_str()?.strip_suffix(".parquet")?.split('-').map(str::parse);
        let generations = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let revision = numbers.next().transpose().ok()?.unwrap_or(0);
        numbers.next().is_none().then_some(Self { generations, revision })
    }
}

/// What the footer has for a key.
fn entry<'a>(metadata: &'a ArrowReaderMetadata, key: &str) -> Option<&'a str> {
    let entries = metadata.metadata().file_metadata().key_value_metadata()?;
    entries.iter().find(|entry| entry.key == key)?.value.as_deref()
}

impl Segment {
    /// Opens a segment. An index that is missing or damaged is made again from the rows.
    pub(super) fn open(table: Table, path: PathBuf) -> io::Result<Self> {
        read::guarded(&path.clone(), || Self::open_file(table, path)).map_err(io::Error::other)?
    }

    fn open_file(table: Table, path: PathBuf) -> io::Result<Self> {
        let told = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
        let name = Name::of(&path).ok_or_else(|| told(&"is not named as a segment"))?;
        let file = File::open(&path).map_err(|error| super::disk::named(&path, &error))?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(|error| told(&error))?;
        let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let beside = path.with_extension("idx");
        let index = match std::fs::read(&beside).ok().and_then(|bytes| Index::parse(&bytes, rows)) {
            Some(index) => index,
            None => {
                let index = read::index_of(&file, &metadata, table).map_err(|error| told(&error))?;
                super::disk::write_atomically(&beside, &index.to_bytes())?;
                index
            }
        };
        let pure =
            entry(&metadata, PURE).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let names = entry(&metadata, NAMES).and_then(|text| serde_json::from_str(text).ok()).map(Arc::new);
        let values =
            entry(&metadata, VALUES).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let bytes = file.metadata()?.len() + std::fs::metadata(&beside).map_or(0, |metadata| metadata.len());
        let doomed = AtomicBool::new(false);
        let id = OPENED.fetch_add(1, Ordering::Relaxed);
        Ok(Self { table, path, name, bytes, rows, index, metadata, pure, names, values, doomed, id })
    }

    /// The step to which its points were downsampled, in nanoseconds.
    pub(super) fn step(&self) -> Option<i64> {
        entry(&self.metadata, STEP)?.parse().ok()
    }

    /// The requests that no row is left of, though they must be known when they come again.
    pub(super) fn merged(&self) -> Vec<u64> {
        let bytes = entry(&self.metadata, MERGED).and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.unwrap_or_default();
        bytes.chunks_exact(8).filter_map(|hash| Some(u64::from_le_bytes(hash.try_into().ok()?))).collect()
    }

    /// Removes its files when nobody reads it any more.
    pub(super) fn doom(&self) {
        self.doomed.store(true, Ordering::Relaxed);
    }

    /// The first row of a block, and the one after its last.
    fn rows_of(&self, block: u32) -> (usize, usize) {
        let first = block as usize * BLOCK;
        (first, (first + BLOCK).min(usize::try_from(self.rows).unwrap_or(usize::MAX)))
    }

    /// The time of its newest row.
    pub(super) fn newest(&self) -> i64 {
        self.index.times().1
    }

    /// The part of it that may hold rows of a scan.
    pub(super) fn part(self: &Arc<Self>, scan: &crate::query::Scan) -> Option<SegmentPart> {
        let blocks = self.index.blocks(&Tests::of(&scan.must), scan.time);
        (!blocks.is_empty()).then(|| SegmentPart::new(Arc::clone(self), scan.clone(), blocks))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Relaxed) {
            // What stays is found at the next start, and removed by what doomed it.
            super::disk::remove(&self.path).ok();
            super::disk::remove(&self.path.with_extension("idx")).ok();
        }
    }
}

//! Rows of a table on disk: one Parquet file with its index beside it, both written once.

mod index;
mod read;
mod write;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::PageIndexPolicy;

use crate::query::Table;

pub(super) use index::{Index, Tests};
pub(super) use read::{SegmentPart, identities};
pub(super) use write::write;

/// Rows of a block: of a page, and of a bloom filter.
pub(super) const BLOCK: usize = 2_048;
/// The key of the footer that lists the attributes which the column `attributes` never holds.
const PURE: &str = "agentvitals.pure";

/// A segment that can be read.
#[derive(Debug)]
pub(super) struct Segment {
    /// What its rows are.
    pub(super) table: Table,
    /// The Parquet file.
    pub(super) path: PathBuf,
    /// The generations of the log that are in it, the first and the last.
    pub(super) generations: (u64, u64),
    /// Bytes of both files.
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) index: Index,
    metadata: ArrowReaderMetadata,
    pure: Vec<String>,
}

/// The name of the file with these generations.
pub(super) fn path(dir: &Path, first: u64, last: u64) -> PathBuf {
    dir.join(format!("{first:010}-{last:010}.parquet"))
}

/// The generations that a file's name tells.
pub(super) fn generations(path: &Path) -> Option<(u64, u64)> {
    let (first, last) = path.file_name()?.to_str()?.strip_suffix(".parquet")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

impl Segment {
    /// Opens a segment. An index that is missing or damaged is made again from the rows.
    pub(super) fn open(table: Table, path: PathBuf) -> io::Result<Self> {
        let told = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
        let generations = generations(&path).ok_or_else(|| told(&"is not named as a segment"))?;
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
        let pure = metadata
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .and_then(|entries| entries.iter().find(|entry| entry.key == PURE))
            .and_then(|entry| serde_json::from_str(entry.value.as_deref()?).ok())
            .unwrap_or_default();
        let bytes = file.metadata()?.len() + std::fs::metadata(&beside).map_or(0, |metadata| metadata.len());
        Ok(Self { table, path, generations, bytes, rows, index, metadata, pure })
    }

    /// The part of it that may hold rows of a scan.
    pub(super) fn part(self: &Arc<Self>, scan: &crate::query::Scan) -> Option<SegmentPart> {
        let blocks = self.index.blocks(&Tests::of(&scan.must), scan.time);
        (!blocks.is_empty()).then(|| SegmentPart::new(Arc::clone(self), scan.clone(), blocks))
    }
}

//! The write-ahead log: requests as they came, durable before they are acknowledged.
//!
//! A log is a row of files, `<generation>.wal`. Only the newest is written, and never by a second process: after a
//! restart a new generation is begun. `docs/format.md` has the bytes.

mod committer;
mod format;
mod reader;
mod writer;

#[cfg(test)]
mod committer_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod full_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

pub(crate) use committer::{Committed, Committer, Event, Figures, Rejected};
pub(crate) use format::MAX_PAYLOAD;
pub(crate) use reader::read;
pub(crate) use writer::Log;

use super::disk;

/// What one append wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its number: each record has one more than the record before it, over all generations.
    pub(crate) sequence: u64,
    /// What the payload is; the log does not look at it.
    pub(crate) kind: u8,
    /// The bytes that were appended.
    pub(crate) payload: Bytes,
}

/// What [`read`] found besides records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadReport {
    /// The generation that was read.
    pub(crate) generation: u64,
    /// The number after the last record's: the next generation goes on with it. When no header could be read it is
    /// only what the following generation tells, or 0.
    pub(crate) next_sequence: u64,
    /// How many records were given out.
    pub(crate) records: u64,
    /// The bytes of the file, before anything was cut off.
    pub(crate) bytes: u64,
    /// The end that was cut off, if there was one.
    pub(crate) cut: Option<Cut>,
    /// Damage, in order; at most [`MAX_CORRUPTIONS`] are kept, the last of them covers the rest.
    pub(crate) corrupt: Vec<Corruption>,
}

/// How many damaged places are told one by one.
pub(crate) const MAX_CORRUPTIONS: usize = 100;

/// An end of a file that a crash left unfinished. It held nothing that had been acknowledged, and is cut off now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The file.
    pub(crate) file: PathBuf,
    /// Where the last whole record ended.
    pub(crate) offset: u64,
    /// How many bytes came after it.
    pub(crate) bytes: u64,
}

/// A damaged place. The file is left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Corruption {
    /// The file.
    pub(crate) file: PathBuf,
    /// The first byte that is not as it was written.
    pub(crate) offset: u64,
    /// How many bytes were left out.
    pub(crate) bytes: u64,
    /// The records that are missing; unknown when the file's header is damaged.
    pub(crate) lost: Option<Lost>,
}

/// How many records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    /// All of them.
    pub(crate) records: u64,
    /// Those that were durable, so that they may have been acknowledged.
    pub(crate) durable: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes } = self;
        write!(
            f,
            "{}: an unfinished end of {bytes} bytes was cut off at byte {offset}; nothing in it had been acknowledged",
            file.display()
        )
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, lost } = self;
        write!(f, "{}: {bytes} bytes at byte {offset} are damaged and were left out; ", file.display())?;
        match lost {
            Some(Lost { records, durable }) => {
                write!(f, "{records} records are missing, {durable} of them may have been acknowledged")
            }
            None => f.write_str("how many records are missing cannot be told"),
        }
    }
}

/// The file of a generation.
pub(crate) fn path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{generation:010}.wal"))
}

/// The generations that are there, the oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub(crate) fn generations(dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| disk::named(dir, &error))? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".wal")?.parse::<u64>().ok());
        // `1.wal` is not a name that is ever given, so it is not ours.
        if let Some(generation) = number.filter(|&number| path(dir, number).file_name() == Some(&name)) {
            found.push(generation);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes a generation whose records are durable elsewhere. One that is not there is removed.
///
/// # Errors
/// Those of the file system.
pub(crate) fn remove(dir: &Path, generation: u64) -> io::Result<()> {
    disk::remove(&path(dir, generation))
}

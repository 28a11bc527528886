//! The writer of the newest generation.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::format::{FIRST_RECORD, HEAD, Head, Header, MAX_PAYLOAD};
use crate::store::disk;

/// Records are collected up to so many bytes before they are written; what is larger goes to the system as it is.
const BUFFER: usize = 256 << 10;

/// Room on the disk is reserved in steps of so many bytes, without making the file longer: its length stays what was
/// written, and blocks lie side by side.
const RESERVE: u64 = 16 << 20;

/// Appends records to the newest generation.
///
/// A record counts once [`Log::sync`] has returned without error after it. When appending or syncing fails, all
/// records since the last sync that did not fail are taken back, and their numbers are given again.
#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    path: PathBuf,
    pub(super) file: File,
    header: Header,
    /// The number of the next record.
    next: u64,
    /// The number after the last one that is durable in this file.
    synced_next: u64,
    /// Every lower number is durable, or was never given to a record that counts.
    durable_before: u64,
    /// The file's length up to which it is durable.
    synced: u64,
    /// The file's length, what is in `buffer` not included.
    written: u64,
    /// Up to where room is reserved; no more is reserved once that has failed.
    reserved: Option<u64>,
    /// Records that are not yet given to the system.
    buffer: Vec<u8>,
    /// Why the file must not be written any more.
    broken: Option<String>,
}

impl Log {
    /// Begins a generation, which must not be there. All records with lower numbers must be durable.
    ///
    /// # Errors
    /// Those of the file system, and `AlreadyExists`. Nothing is left behind.
    pub(crate) fn create(dir: &Path, generation: u64, next_sequence: u64) -> io::Result<Self> {
        Self::begin(dir, generation, next_sequence, next_sequence)
    }

    fn begin(dir: &Path, generation: u64, next: u64, durable_before: u64) -> io::Result<Self> {
        let id = RandomState::new().build_hasher().finish();
        let header = Header { generation, first_sequence: next, durable_before, id };
        let path = super::path(dir, generation);
        // One that holds no record is what an earlier attempt left whose last step failed.
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > FIRST_RECORD) {
            let message = format!("{}: this generation of the log is there already", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        // Under its own name a file always has a whole header, so what has none is damaged, not unfinished.
        let unfinished = disk::temporary(&path);
        let made = create_file(&unfinished, &header)
            .map_err(|error| disk::named(&unfinished, &error))
            .and_then(|file| disk::publish(&unfinished, &path).map(|()| file));
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                let _ = std::fs::remove_file(&unfinished);
                let _ = std::fs::remove_file(&path);
                return Err(error);
            }
        };
        Ok(Self {
            dir: dir.to_owned(),
            path,
            file,
            header,
            next,
            synced_next: next,
            durable_before,
            synced: FIRST_RECORD,
            written: FIRST_RECORD,
            reserved: Some(FIRST_RECORD),
            buffer: Vec::with_capacity(BUFFER),
            broken: None,
        })
    }

    /// The generation that is written.
    pub(crate) fn generation(&self) -> u64 {
        self.header.generation
    }

    /// The number of the next record.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The length of the file in bytes, with all that was appended.
    pub(crate) fn len(&self) -> u64 {
        self.written.saturating_add(self.buffer.len() as u64)
    }

    /// Why nothing can be appended until [`Log::rotate`] succeeds, if that is so.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Appends a record and returns its number. It is not durable yet.
    ///
    /// # Errors
    /// `InvalidInput` when the payload is larger than [`MAX_PAYLOAD`]: nothing else changes then. With any other
    /// error the records since the last sync are gone.
    pub(crate) fn append(&mut self, kind: u8, payload: &[u8]) -> io::Result<u64> {
        self.check()?;
        if payload.len() > MAX_PAYLOAD {
            let message =
                format!("a record of {} bytes is over the log's limit of {MAX_PAYLOAD}", payload.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let sequence = self.next;
        let head = Head::bytes(&self.header, kind, sequence, self.durable_before, payload);
        if self.buffer.len() + HEAD + payload.len() <= BUFFER {
            self.buffer.extend_from_slice(&head);
            self.buffer.extend_from_slice(payload);
        } else {
            self.write(&[&head, payload]).or_else(|error| self.take_back(&error))?;
        }
        self.next += 1;
        Ok(sequence)
    }

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// The records since the last sync are gone then. If it was the last step that failed, the system may believe
    /// that pages are on the disk which are not: the file is not used any more, and [`Log::rotate`] is needed.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.check()?;
        if self.next == self.synced_next {
            return Ok(());
        }
        self.write(&[]).or_else(|error| self.take_back(&error))?;
        if let Err(error) = self.file.sync_data() {
            let error = disk::named(&self.path, &error);
            // Whether or not this succeeds, the records were not acknowledged, and their numbers are not given again.
            let _ = self.file.set_len(self.synced);
            self.broken = Some(error.to_string());
            return Err(error);
        }
        self.synced = self.written;
        self.synced_next = self.next;
        self.durable_before = self.next;
        Ok(())
    }

    /// Makes all that was appended durable, begins the next generation, and returns the number of the old one.
    ///
    /// # Errors
    /// Those of [`Log::sync`] and [`Log::create`]. If the old file was usable it still is.
    pub(crate) fn rotate(&mut self) -> io::Result<u64> {
        if self.broken.is_none() {
            self.sync()?;
        }
        let old = self.header.generation;
        let mut new = Self::begin(&self.dir, old + 1, self.next, self.durable_before)?;
        std::mem::swap(self, &mut new);
        // Gives back what was reserved and not used. Not doing so harms nothing.
        let _ = new.file.set_len(new.synced);
        Ok(old)
    }

    fn check(&self) -> io::Result<()> {
        match &self.broken {
            None => Ok(()),
            Some(reason) => Err(io::Error::other(format!(
                "the log takes nothing until a new generation is begun, since its file failed: {reason}"
            ))),
        }
    }

    /// Gives the buffer and these bytes to the system.
    fn write(&mut self, more: &[&[u8]]) -> io::Result<()> {
        let bytes = self.buffer.len() + more.iter().map(|slice| slice.len()).sum::<usize>();
        let end = self.written + bytes as u64;
        self.reserve(end);
        let mut slices = [IoSlice::new(&self.buffer), IoSlice::new(&[]), IoSlice::new(&[])];
        for (slice, bytes) in slices[1..].iter_mut().zip(more) {
            *slice = IoSlice::new(bytes);
        }
        let mut left = &mut slices[..];
        // Leaves out what is empty: a write of nothing returns 0, which means that it cannot go on.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match self.file.write_vectored(left) {
                Ok(0) => return Err(disk::named(&self.path, &io::ErrorKind::WriteZero.into())),
                Ok(count) => IoSlice::advance_slices(&mut left, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(disk::named(&self.path, &error)),
            }
        }
        self.buffer.clear();
        self.written = end;
        Ok(())
    }

    /// Reserves room in steps. It may fail where the write itself does not, so it is only tried.
    fn reserve(&mut self, end: u64) {
        #[cfg(target_os = "linux")]
        if let Some(reserved) = self.reserved.filter(|&reserved| end > reserved) {
            let upto = end.next_multiple_of(RESERVE);
            let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
            let done = rustix::fs::fallocate(&self.file, flags, reserved, upto - reserved);
            self.reserved = done.ok().map(|()| upto);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = end;
    }

    /// Takes back everything since the last sync after writing failed, and returns that error.
    fn take_back<T>(&mut self, error: &io::Error) -> io::Result<T> {
        self.buffer.clear();
        let back = self.file.set_len(self.synced).and_then(|()| self.file.seek(SeekFrom::Start(self.synced)));
        match back {
            Ok(_) => {
                self.written = self.synced;
                self.next = self.synced_next;
                // What was reserved went with the rest.
                self.reserved = self.reserved.map(|_| self.synced);
            }
            // Its numbers are not given again, as the records may still be there.
            Err(second) => self.broken = Some(format!("{error}; and it cannot be cut back: {second}")),
        }
        Err(io::Error::new(error.kind(), error.to_string()))
    }
}

fn create_file(path: &Path, header: &Header) -> io::Result<File> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&header.blocks())?;
    file.sync_all()?;
    Ok(file)
}

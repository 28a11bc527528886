//! Reads a generation that is not written any more, whatever happened to it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::format::{FIRST_RECORD, HEAD, HEADER, HEADER_BLOCK, Head, Header, NoHeader};
use super::{Corruption, Cut, Lost, MAX_CORRUPTIONS, ReadReport, Record};
use crate::store::disk;

/// How much is read at once; larger payloads are read alone.
const WINDOW: usize = 256 << 10;

/// Gives each record of a generation to `f`, in order, once, with one of them in memory at a time. What was given out
/// is durable afterwards. An unfinished end is cut off; damage with records behind it is left out and told.
///
/// The generation must not be written meanwhile.
///
/// # Errors
/// What `f` returned; that the file cannot be read, or that a newer version wrote it.
pub(crate) fn read(
    dir: &Path,
    generation: u64,
    f: &mut dyn FnMut(Record) -> io::Result<()>,
) -> io::Result<ReadReport> {
    let path = super::path(dir, generation);
    let told = |error: io::Error| disk::named(&path, &error);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(told)?;
    let length = file.metadata().map_err(told)?.len();
    let found = header(&file, length, generation).map_err(told)?;
    // The next generation tells what was durable in this one.
    let following = following(dir, generation).map_or(0, |header| header.durable_before);
    let mut report = ReadReport {
        generation,
        next_sequence: following,
        records: 0,
        bytes: length,
        cut: None,
        corrupt: Vec::new(),
    };
    let Some(known) = found.header else {
        if length > FIRST_RECORD {
            // Records were there, and cannot be told from anything else.
            report.corrupt.push(Corruption { file: path, offset: 0, bytes: length, lost: None });
        } else if length > 0 {
            report.cut = Some(cut(&file, &path, 0, length)?);
        }
        return Ok(report);
    };
    let mut reader = Reader::new(Window { file: &file, length, start: 0, bytes: Vec::new() }, known);
    if let Some(offset) = found.damaged {
        reader.gaps.push(Gap { offset, bytes: HEADER as u64, missing: 0..0 });
    }
    let end = reader.records(f).map_err(|error| match error {
        Failed::File(error) => told(error),
        Failed::Caller(error) => error,
    })?;
    let durable_before = following.max(reader.durable_before);
    if reader.next < durable_before {
        // What is missing at the end was durable once: this is damage, and evidence of it.
        reader.gaps.push(Gap { offset: end, bytes: length - end, missing: reader.next..durable_before });
        reader.next = durable_before;
    } else if end < length {
        report.cut = Some(cut(&file, &path, end, length)?);
    }
    // The records may be in the system's memory only, if the process ended before it synced them.
    file.sync_all().map_err(told)?;
    report.next_sequence = reader.next;
    report.records = reader.records;
    report.corrupt = corruptions(&path, &reader.gaps, durable_before);
    Ok(report)
}

fn cut(file: &File, path: &Path, offset: u64, length: u64) -> io::Result<Cut> {
    file.set_len(offset).and_then(|()| file.sync_all()).map_err(|error| disk::named(path, &error))?;
    Ok(Cut { file: path.to_owned(), offset, bytes: length - offset })
}

/// Where a header was found.
struct Found {
    header: Option<Header>,
    /// The copy that is damaged.
    damaged: Option<u64>,
}

fn header(file: &File, length: u64, generation: u64) -> io::Result<Found> {
    let mut found = Found { header: None, damaged: None };
    for offset in [0, HEADER_BLOCK] {
        let mut bytes = [0; HEADER];
        if offset + HEADER as u64 > length {
            break;
        }
        file.read_exact_at(&mut bytes, offset)?;
        match Header::parse(&bytes) {
            Ok(header) if header.generation == generation => {
                found.header.get_or_insert(header);
            }
            Err(NoHeader::Newer(version)) => {
                let message =
                    format!("it has version {version} of the log's format, which this program does not know");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            // A file under another's name is not what it should be either.
            Ok(_) | Err(NoHeader::Damaged) => {
                found.damaged.get_or_insert(offset);
            }
        }
    }
    Ok(found)
}

/// The header of the generation after this one. Without it less is known, and nothing else changes.
fn following(dir: &Path, generation: u64) -> Option<Header> {
    let file = File::open(super::path(dir, generation.checked_add(1)?)).ok()?;
    let length = file.metadata().ok()?.len();
    header(&file, length, generation + 1).ok()?.header
}

/// A place that was left out, and the numbers of the records that should be there.
struct Gap {
    offset: u64,
    bytes: u64,
    missing: std::ops::Range<u64>,
}

fn corruptions(path: &Path, gaps: &[Gap], durable_before: u64) -> Vec<Corruption> {
    let tell = |gap: &Gap| {
        let std::ops::Range { start, end } = gap.missing;
        Corruption {
            file: PathBuf::from(path),
            offset: gap.offset,
            bytes: gap.bytes,
            lost: Some(Lost { records: end - start, durable: end.min(durable_before).saturating_sub(start) }),
        }
    };
    let mut corrupt: Vec<_> = gaps.iter().take(MAX_CORRUPTIONS).map(tell).collect();
    for more in gaps.iter().skip(MAX_CORRUPTIONS).map(tell) {
        let Some(last) = corrupt.last_mut() else { break };
        last.bytes += more.bytes;
        if let (Some(lost), Some(more)) = (&mut last.lost, more.lost) {
            lost.records += more.records;
            lost.durable += more.durable;
        }
    }
    corrupt
}

enum Failed {
    File(io::Error),
    Caller(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

struct Reader<'a> {
    window: Window<'a>,
    header: Header,
    /// The number that the next record should have.
    next: u64,
    /// The most that a record says about what was durable.
    durable_before: u64,
    records: u64,
    gaps: Vec<Gap>,
}

impl<'a> Reader<'a> {
    fn new(window: Window<'a>, header: Header) -> Self {
        Self { window, header, next: header.first_sequence, durable_before: 0, records: 0, gaps: Vec::new() }
    }

    /// Gives out the records and returns where the last of them ends.
    fn records(&mut self, f: &mut dyn FnMut(Record) -> io::Result<()>) -> Result<u64, Failed> {
        let mut offset = FIRST_RECORD.min(self.window.length);
        while offset < self.window.length {
            let mut at = offset;
            let mut found = self.record(at)?;
            while found.is_none() {
                let Some(candidate) = self.window.find(self.header.marker(), at + 1)? else {
                    return Ok(offset);
                };
                at = candidate;
                found = self.record(at)?;
            }
            let Some((head, payload)) = found else { continue };
            if at > offset || head.sequence > self.next {
                self.gaps.push(Gap { offset, bytes: at - offset, missing: self.next..head.sequence });
            }
            offset = at + (HEAD + head.length) as u64;
            self.next = head.sequence.saturating_add(1);
            self.durable_before = self.durable_before.max(head.durable_before);
            self.records += 1;
            f(Record { sequence: head.sequence, kind: head.kind, payload }).map_err(Failed::Caller)?;
        }
        Ok(offset)
    }

    /// The record that starts there, if one does and its number is not of the past.
    fn record(&mut self, offset: u64) -> io::Result<Option<(Head, Bytes)>> {
        let Some(&bytes) = self.window.view(offset, HEAD)?.and_then(|bytes| bytes.first_chunk::<HEAD>())
        else {
            return Ok(None);
        };
        let Some(head) = Head::parse(&self.header, &bytes) else { return Ok(None) };
        if head.sequence < self.next {
            return Ok(None);
        }
        let Some(payload) = self.window.take(offset + HEAD as u64, head.length)? else { return Ok(None) };
        Ok(head.holds(&self.header, &bytes, &payload).then_some((head, payload)))
    }
}

/// A part of the file in memory.
struct Window<'a> {
    file: &'a File,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// These bytes, at most [`WINDOW`]; nothing when the file ends before.
    fn view(&mut self, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let end = offset.saturating_add(length as u64);
        if end > self.length {
            return Ok(None);
        }
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let size = (self.length - offset).min(WINDOW.max(length) as u64);
            self.start = offset;
            self.bytes.resize(size as usize, 0);
            if let Err(error) = self.file.read_exact_at(&mut self.bytes, offset) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let from = (offset - self.start) as usize;
        Ok(self.bytes.get(from..from + length))
    }

    /// A copy of these bytes.
    fn take(&mut self, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
        if length <= WINDOW {
            return Ok(self.view(offset, length)?.map(Bytes::copy_from_slice));
        }
        if offset.saturating_add(length as u64) > self.length {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(Some(Bytes::from(bytes)))
    }

    /// Where these four bytes come next.
    fn find(&mut self, marker: [u8; 4], from: u64) -> io::Result<Option<u64>> {
        let mut offset = from;
        while offset + 4 <= self.length {
            let size = (self.length - offset).min(WINDOW as u64) as usize;
            let Some(bytes) = self.view(offset, size)? else { return Ok(None) };
            if let Some(at) = bytes.windows(4).position(|bytes| bytes == marker) {
                return Ok(Some(offset + at as u64));
            }
            // The marker may lie across two windows.
            offset += size as u64 - 3;
        }
        Ok(None)
    }
}

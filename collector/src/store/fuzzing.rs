//! See [`crate::fuzzing`].

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::batch::{Batch, decode};
use super::segment::{self, Name, Segment};
use super::spans::assemble::{At, assemble};
use super::spans::chunk::{Chunk, Record, Row};
use super::spans::disassemble::disassemble;
use super::wal as log;
use crate::fuzzing::put;
use crate::query::{Columns, Control, Order, Part as _, Scan, Table, TimeRange};

/// A request of any signal: what is taken is the same each time, and comes through columns and back.
pub fn otlp(bytes: &[u8]) {
    for kind in 1..=3 {
        let payload = if kind == 3 { [&[7; 8], bytes].concat() } else { bytes.to_vec() };
        let Ok(read) = decode(kind, Bytes::from(payload.clone())) else { continue };
        let again = decode(kind, Bytes::from(payload)).map(|again| (again.batch.rows(), again.rejected));
        assert_eq!(again, Ok((read.batch.rows(), read.rejected)));
        match read.batch {
            Batch::Spans(chunk) => there_and_back(&chunk),
            Batch::Logs(chunk) => there_and_back(&chunk),
            Batch::Points(chunk) => there_and_back(&chunk),
        }
    }
}

fn there_and_back<R: Record>(chunk: &Chunk<R>) {
    let rows: Vec<At> = (0..chunk.rows.len() as u32).map(|row| At { chunk: 0, row }).collect();
    let there = assemble(&[chunk], &rows, &Columns::All).map(|made| made.batch);
    let Ok(there) = there else { return };
    let mut back = Chunk::<R>::default();
    assert!(disassemble(&there, |_| true, &mut back));
    let again = assemble(&[&back], &rows, &Columns::All).map(|made| made.batch);
    let texts = |batch: &arrow_array::RecordBatch| format!("{:?}", batch.schema().fields().len());
    assert_eq!(again.as_ref().map(texts).ok(), Some(texts(&there)));
    assert_eq!(back.rows.len(), chunk.rows.len());
}

/// Three bytes of `changes` are a place and what is there then; one in eight cuts the file.
fn change(file: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut out = file.to_vec();
    for change in changes.chunks_exact(4) {
        let place = usize::from(change[0]) << 16 | usize::from(change[1]) << 8 | usize::from(change[2]);
        if out.is_empty() {
            break;
        }
        let place = place % out.len();
        match change[3] {
            0..=31 => out.truncate(place),
            other => out[place] ^= other,
        }
    }
    out
}

const PAYLOADS: [&[u8]; 4] = [b"one", &[7; 3_000], b"", &[0; 64]];

/// A log that was changed gives nothing that was not written, each record once and in order.
pub fn wal(changes: &[u8]) {
    static FILE: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let made = FILE.get_or_init(|| {
        let dir = tempfile::tempdir().ok()?;
        let mut log = log::Log::create(dir.path(), 1, 0).ok()?;
        for payload in PAYLOADS {
            log.append(1, payload).ok()?;
        }
        log.sync().ok()?;
        std::fs::read(log::path(dir.path(), 1)).ok()
    });
    let (Some(file), Ok(dir)) = (made, tempfile::tempdir()) else { return };
    put(&log::path(dir.path(), 1), &change(file, changes));
    let mut last = None;
    let read = log::read(dir.path(), 1, &mut |record| {
        let known = usize::try_from(record.sequence).ok().and_then(|number| PAYLOADS.get(number));
        assert_eq!(known.copied(), Some(&record.payload[..]), "record {}", record.sequence);
        assert!(last.is_none_or(|last| last < record.sequence));
        last = Some(record.sequence);
        Ok(())
    });
    drop(read);
}

/// A segment that was changed, or its index, is read or refused; what is read of one whose index was changed is
/// what was written.
pub fn segment(changes: &[u8]) {
    static FILES: OnceLock<Option<(Vec<u8>, Vec<u8>)>> = OnceLock::new();
    let name = Name { generations: (1, 1), revision: 0 };
    let made = FILES.get_or_init(|| {
        let dir = tempfile::tempdir().ok()?;
        let mut chunk = Chunk::<Row>::default();
        let service = chunk.pool.intern("bot")?;
        for number in 0..3_000_u64 {
            let mut row = empty(service, number);
            row.name = chunk.pool.intern(&format!("n{}", number % 7))?;
            chunk.rows.push(row);
        }
        let written = segment::write(dir.path(), name, &[&chunk]).ok()?;
        let index = std::fs::read(written.path.with_extension("idx")).ok()?;
        Some((std::fs::read(&written.path).ok()?, index))
    });
    let (Some((file, index)), Ok(dir)) = (made, tempfile::tempdir()) else { return };
    let (path, of_index) = (name.path(dir.path()), changes.first().is_some_and(|first| first % 2 == 0));
    put(&path, &if of_index { file.clone() } else { change(file, &changes[1.min(changes.len())..]) });
    put(&path.with_extension("idx"), &if of_index { change(index, &changes[1..]) } else { index.clone() });
    let Ok(segment) = Segment::open(Table::Spans, path).map(Arc::new) else {
        assert!(!of_index, "an index that was changed is made again");
        return;
    };
    let scan = Scan {
        table: Table::Spans,
        time: TimeRange::ALL,
        must: Vec::new(),
        columns: Columns::All,
        order: Order::NewestFirst,
    };
    let Some(part) = segment.part(&scan) else { return };
    let mut rows = 0;
    let read = part.read(&Control::new(None, usize::MAX), &mut |batch| {
        rows += batch.num_rows();
        Ok(crate::query::engine::Flow::Continue)
    });
    assert!(!of_index || (read.is_ok() && rows == 3_000), "{rows} rows: {read:?}");
}

fn empty(service: u32, number: u64) -> Row {
    use super::spans::chunk::NONE;
    Row {
        trace_id: u128::from(number + 1).to_be_bytes(),
        span_id: (number + 1).to_be_bytes(),
        parent: [0; 8],
        start: number.cast_signed(),
        duration: 7,
        service,
        name: service,
        message: NONE,
        trace_state: NONE,
        resource: service,
        scope: service,
        events: NONE,
        links: NONE,
        first_attribute: 0,
        attributes: 0,
        flags: 0,
        dropped: [0; 3],
        kind: 1,
        status: 0,
    }
}

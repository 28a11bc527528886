//! Files that were changed in any way, and files that never were a log.

use std::fs;

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::tempdir;

use super::format::{FIRST_RECORD, HEAD};
use super::tests::{FIRST, GENERATION, replayed, written};
use super::*;

/// How bytes that may be anything are changed.
#[derive(Debug, Clone)]
enum Change {
    Fill(Index, u16, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, u16),
    Copy(Index, Index, u16),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u16>(), any::<u8>())
            .prop_map(|(at, length, byte)| Change::Fill(at, length, byte)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 0..100))
            .prop_map(|(at, more)| Change::Insert(at, more)),
        (any::<Index>(), any::<u16>()).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<Index>(), any::<Index>(), any::<u16>())
            .prop_map(|(from, to, length)| Change::Copy(from, to, length)),
    ]
}

/// Changes what is behind the headers.
fn changed(bytes: &mut Vec<u8>, change: &Change) {
    let first = FIRST_RECORD as usize;
    let place = |bytes: &[u8], index: &Index| first + index.index(bytes.len() - first + 1);
    let upto = |bytes: &[u8], from: usize, length: u16| bytes.len().min(from + usize::from(length) % 300);
    match change {
        Change::Fill(at, length, byte) => {
            let from = place(bytes, at);
            let to = upto(bytes, from, *length);
            bytes[from..to].fill(*byte);
        }
        Change::Insert(at, more) => {
            let at = place(bytes, at);
            bytes.splice(at..at, more.iter().copied());
        }
        Change::Remove(at, length) => {
            let from = place(bytes, at);
            bytes.drain(from..upto(bytes, from, *length));
        }
        Change::Copy(from, to, length) => {
            let from = place(bytes, from);
            let copy = bytes[from..upto(bytes, from, *length)].to_vec();
            let to = place(bytes, to);
            bytes.splice(to..to, copy);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is done to a file: what comes back was written, in order, once, and every byte is accounted for.
    #[test]
    fn nothing_comes_back_that_was_not_written(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..12),
        changes in prop::collection::vec(change(), 0..8),
    ) {
        let log = written(&payloads);
        let mut bytes = log.bytes.clone();
        for change in &changes {
            changed(&mut bytes, change);
        }
        let (records, report) = log.read(&bytes);
        prop_assert!(records.is_sorted_by(|a, b| a.sequence < b.sequence));
        for record in &records {
            prop_assert_eq!(record, &log.records[(record.sequence - FIRST) as usize]);
        }
        let sizes = records.iter().map(|record| (HEAD + record.payload.len()) as u64).sum::<u64>();
        let left_out = report.corrupt.iter().map(|corruption| corruption.bytes).sum::<u64>();
        let cut = report.cut.as_ref().map_or(0, |cut| cut.bytes);
        prop_assert_eq!(FIRST_RECORD + sizes + left_out + cut, bytes.len() as u64);
        let lost: u64 = report.corrupt.iter().map(|corruption| corruption.lost.unwrap().records).sum();
        prop_assert_eq!(records.len() as u64 + lost, report.next_sequence - FIRST);
        // A second reading gives the same, without the end.
        let (again, second) = replayed(log.dir.path(), GENERATION);
        prop_assert_eq!(again, records);
        prop_assert_eq!((second.cut, second.corrupt), (None, report.corrupt));
    }

    #[test]
    fn bytes_that_are_no_log_give_nothing(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
        let dir = tempdir().unwrap();
        fs::write(path(dir.path(), 1), &bytes).unwrap();
        let (records, report) = replayed(dir.path(), 1);
        prop_assert_eq!(records, []);
        prop_assert_eq!(report.cut.is_some() || !report.corrupt.is_empty(), !bytes.is_empty());
    }
}

//! Files that were cut, flipped, torn and mixed up, and what comes back of them.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::{TempDir, tempdir};

use super::format::{FIRST_RECORD, HEAD, HEADER, HEADER_BLOCK};
use super::*;

pub(super) const GENERATION: u64 = 7;
pub(super) const FIRST: u64 = 100;

/// A log of records that were each synced, with the byte where each ends.
pub(super) struct Written {
    pub(super) dir: TempDir,
    pub(super) records: Vec<Record>,
    ends: Vec<u64>,
    pub(super) bytes: Vec<u8>,
}

pub(super) fn written(payloads: &[Vec<u8>]) -> Written {
    let dir = tempdir().unwrap();
    let mut log = Log::create(dir.path(), GENERATION, FIRST).unwrap();
    let (mut records, mut ends) = (Vec::new(), Vec::new());
    for payload in payloads {
        let kind = payload.len() as u8;
        let sequence = log.append(kind, payload).unwrap();
        log.sync().unwrap();
        records.push(Record { sequence, kind, payload: Bytes::copy_from_slice(payload) });
        ends.push(log.len());
    }
    let bytes = fs::read(path(dir.path(), GENERATION)).unwrap();
    assert_eq!(bytes.len() as u64, log.len(), "the file's length is what was written");
    Written { dir, records, ends, bytes }
}

impl Written {
    /// What comes back of these bytes in place of the file's.
    pub(super) fn read(&self, bytes: &[u8]) -> (Vec<Record>, ReadReport) {
        fs::write(path(self.dir.path(), GENERATION), bytes).unwrap();
        replayed(self.dir.path(), GENERATION)
    }

    fn start(&self, record: usize) -> u64 {
        if record == 0 { FIRST_RECORD } else { self.ends[record - 1] }
    }
}

pub(super) fn replayed(dir: &Path, generation: u64) -> (Vec<Record>, ReadReport) {
    let mut records = Vec::new();
    let report = read(dir, generation, &mut |record| {
        records.push(record);
        Ok(())
    })
    .unwrap();
    assert_eq!(report.records, records.len() as u64);
    (records, report)
}

/// The bytes of a file of this length that are worth trying: all but the zeros behind the headers.
fn worth(length: u64) -> impl Iterator<Item = u64> {
    (0..length)
        .filter(|&at| at >= FIRST_RECORD || at % HEADER_BLOCK <= HEADER as u64 || at + 4 > FIRST_RECORD)
}

fn payloads(size: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..size), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Behaviour: P4
    #[test]
    fn a_file_cut_at_any_byte_gives_the_records_before_it(payloads in payloads(40)) {
        let log = written(&payloads);
        for length in worth(log.bytes.len() as u64 + 1) {
            let (records, report) = log.read(&log.bytes[..length as usize]);
            let whole = log.ends.iter().filter(|&&end| end <= length).count();
            prop_assert_eq!(&records[..], &log.records[..whole], "cut at {}", length);
            prop_assert_eq!(&report.corrupt, &[]);
            prop_assert_eq!(report.bytes, length);
            let end = if whole == 0 { FIRST_RECORD } else { log.ends[whole - 1] };
            let expected = if length < HEADER as u64 { (0, length) } else { (end, length.saturating_sub(end)) };
            let told = report.cut.map_or((expected.0, 0), |cut| (cut.offset, cut.bytes));
            prop_assert_eq!(told, expected, "cut at {}", length);
            // It is told once.
            let (again, report) = replayed(log.dir.path(), GENERATION);
            prop_assert_eq!(again, records);
            prop_assert_eq!((report.cut, report.corrupt), (None, Vec::new()));
        }
    }

    /// Behaviour: P4
    #[test]
    fn a_byte_that_changed_costs_its_own_record_only(payloads in payloads(40), mask in 1..=u8::MAX) {
        let log = written(&payloads);
        let last = log.records.len() - 1;
        for at in worth(log.bytes.len() as u64) {
            let mut bytes = log.bytes.clone();
            bytes[at as usize] ^= mask;
            let (records, report) = log.read(&bytes);
            let hit = log.ends.iter().position(|&end| at < end).filter(|_| at >= FIRST_RECORD);
            let expected: Vec<_> =
                log.records.iter().enumerate().filter(|(i, _)| Some(*i) != hit).map(|(_, r)| r.clone()).collect();
            prop_assert_eq!(records, expected, "changed byte {}", at);
            let Some(hit) = hit else {
                prop_assert_eq!(report.corrupt.len(), usize::from(at % HEADER_BLOCK < HEADER as u64));
                prop_assert_eq!(report.cut, None);
                continue;
            };
            let (offset, size) = (log.start(hit), log.ends[hit] - log.start(hit));
            let file = path(log.dir.path(), GENERATION);
            if hit == last {
                prop_assert_eq!(report.cut, Some(Cut { file, offset, bytes: size }));
            } else {
                let lost = Some(Lost { records: 1, durable: 1 });
                prop_assert_eq!(report.corrupt, vec![Corruption { file, offset, bytes: size, lost }]);
                prop_assert_eq!(report.cut, None);
                prop_assert_eq!(report.next_sequence, FIRST + log.records.len() as u64);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A machine that loses power writes some blocks of what was not synced, and others not.
    ///
    /// Behaviour: P4
    #[test]
    fn blocks_missing_from_what_was_not_synced_cost_nothing_that_was(
        synced in payloads(1500),
        open in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 1..20),
        missing in prop::collection::vec(any::<Index>(), 0..8),
        length in any::<Index>(),
    ) {
        let log = written(&synced);
        let mut more = Log::create(log.dir.path(), GENERATION + 1, FIRST).unwrap();
        for payload in &synced {
            more.append(payload.len() as u8, payload).unwrap();
        }
        more.sync().unwrap();
        let durable = more.len() as usize;
        for payload in &open {
            more.append(0, payload).unwrap();
        }
        more.sync().unwrap();
        let file = path(log.dir.path(), GENERATION + 1);
        let mut bytes = fs::read(&file).unwrap();
        bytes.truncate(durable + length.index(bytes.len() - durable + 1));
        for block in missing {
            let from = durable + block.index(bytes.len() - durable + 1) / 512 * 512;
            let to = (from + 512).min(bytes.len());
            bytes[from.min(to)..to].fill(0);
        }
        fs::write(&file, &bytes).unwrap();
        let (records, report) = replayed(log.dir.path(), GENERATION + 1);
        let kept = records.iter().take(synced.len()).map(|record| record.payload.to_vec());
        prop_assert_eq!(kept.collect::<Vec<_>>(), synced.clone());
        for record in &records[synced.len()..] {
            let index = (record.sequence - FIRST) as usize - synced.len();
            prop_assert_eq!(&record.payload[..], &open[index][..]);
        }
        prop_assert!(records.is_sorted_by(|a, b| a.sequence < b.sequence));
        for corruption in report.corrupt {
            prop_assert_eq!(corruption.lost.unwrap().durable, 0);
        }
    }

    /// Behaviour: P4
    #[test]
    fn what_was_synced_comes_back_over_generations_and_restarts(
        steps in prop::collection::vec((0..6_u8, 0..3000_usize), 1..60),
    ) {
        let dir = tempdir().unwrap();
        let mut log = Log::create(dir.path(), 1, 0).unwrap();
        let mut open: Vec<(u64, usize)> = Vec::new();
        let mut durable = Vec::new();
        for (step, size) in steps {
            match step {
                0..=2 => open.push((log.append(9, &vec![size as u8; size]).unwrap(), size)),
                3 => { log.sync().unwrap(); durable.append(&mut open); }
                4 => { log.rotate().unwrap(); durable.append(&mut open); }
                _ => {
                    // The process ends, and what it had not given to the system with it.
                    let generation = log.generation();
                    drop(log);
                    let next = replayed(dir.path(), generation).1.next_sequence;
                    open.retain(|(sequence, _)| *sequence < next);
                    durable.append(&mut open);
                    log = Log::create(dir.path(), generation + 1, next).unwrap();
                }
            }
        }
        let mut back = Vec::new();
        for generation in generations(dir.path()).unwrap() {
            let (records, report) = replayed(dir.path(), generation);
            prop_assert_eq!((report.cut, report.corrupt), (None, Vec::new()));
            back.extend(records.into_iter().map(|record| (record.sequence, record.payload.len())));
        }
        prop_assert_eq!(back, durable);
    }
}

/// Puts a file together as `docs/format.md` says, without the writer.
#[test]
fn the_documented_bytes_are_what_is_read() {
    use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};
    let dir = tempdir().unwrap();
    let id: u64 = 0x0123_4567_89AB_CDEF;
    let mut file = b"AGVITWAL\x01\0\0\0\0\0\0\0".to_vec();
    for number in [3, 40, 40, id] {
        file.extend(u64::to_le_bytes(number));
    }
    file.extend(xxh3_64(&file).to_le_bytes());
    file.resize(4096, 0);
    file.extend_from_within(..);
    let mut record = xxh3_64(&id.to_le_bytes()).to_le_bytes()[..4].to_vec();
    record.extend(5_u32.to_le_bytes());
    record.extend([2, 0, 0, 0]);
    for number in [40_u64, 40] {
        record.extend(number.to_le_bytes());
    }
    let checksum = xxh3_64_with_seed(&[&record[..], b"bytes"].concat(), id);
    record.extend(checksum.to_le_bytes());
    record.extend(b"bytes");
    file.extend(record);
    fs::write(path(dir.path(), 3), file).unwrap();
    let (records, report) = replayed(dir.path(), 3);
    assert_eq!(records, [Record { sequence: 40, kind: 2, payload: Bytes::from_static(b"bytes") }]);
    assert_eq!((report.cut, report.corrupt, report.next_sequence), (None, Vec::new(), 41));
}

#[test]
fn a_missing_end_is_damage_when_the_next_generation_knows_that_it_was_durable() {
    let dir = tempdir().unwrap();
    let mut log = Log::create(dir.path(), 1, 10).unwrap();
    for payload in [b"one", b"two", b"tri"] {
        log.append(1, payload).unwrap();
    }
    assert_eq!(log.rotate().unwrap(), 1);
    let file = path(dir.path(), 1);
    let bytes = fs::read(&file).unwrap();
    let second = FIRST_RECORD as usize + HEAD + 3;
    fs::write(&file, &bytes[..second + 5]).unwrap();
    let (records, report) = replayed(dir.path(), 1);
    assert_eq!(records.len(), 1);
    assert_eq!((report.cut, report.next_sequence), (None, 13));
    let lost = Some(Lost { records: 2, durable: 2 });
    assert_eq!(report.corrupt, [Corruption { file: file.clone(), offset: second as u64, bytes: 5, lost }]);
    assert_eq!(fs::read(&file).unwrap().len(), second + 5, "evidence is not cut off");
    let told = report.corrupt[0].to_string();
    assert!(told.ends_with("2 records are missing, 2 of them may have been acknowledged"), "{told}");
}

#[test]
fn a_file_without_any_header_is_told_and_kept() {
    let log = written(&[b"something".to_vec()]);
    let mut bytes = log.bytes.clone();
    bytes[..FIRST_RECORD as usize].fill(0);
    let (records, report) = log.read(&bytes);
    assert_eq!((records.len(), report.cut), (0, None));
    let [corruption] = &report.corrupt[..] else { panic!("{:?}", report.corrupt) };
    assert_eq!((corruption.offset, corruption.bytes, corruption.lost), (0, bytes.len() as u64, None));
    assert_eq!(fs::read(&corruption.file).unwrap(), bytes);
}

/// A sender cannot place records into the log by sending a log.
#[test]
fn records_of_other_files_and_inside_of_payloads_are_not_taken() {
    let other = written(&[b"not ours".to_vec(), b"nor this".to_vec()]);
    let log = written(&[other.bytes.clone(), b"ours".to_vec()]);
    let mut bytes = log.bytes.clone();
    // The head of the record that holds the other log is destroyed, so that its payload is searched.
    bytes[FIRST_RECORD as usize..][..HEAD].fill(0xFF);
    // And blocks of the other file come after the end, as they do when a disk's old blocks show up.
    bytes.extend_from_slice(&other.bytes[FIRST_RECORD as usize..]);
    let (records, report) = log.read(&bytes);
    assert_eq!(records, log.records[1..]);
    assert_eq!(report.corrupt.len(), 1);
    assert_eq!(report.cut.unwrap().bytes, other.bytes.len() as u64 - FIRST_RECORD);
}

#[test]
fn a_record_that_is_there_twice_is_given_once() {
    let log = written(&[b"first".to_vec(), b"other".to_vec(), b"third".to_vec()]);
    let (from, to) = (log.start(0) as usize, log.ends[0] as usize);
    let mut bytes = log.bytes.clone();
    let copy = bytes[from..to].to_vec();
    bytes[to..to + copy.len()].copy_from_slice(&copy);
    let (records, report) = log.read(&bytes);
    assert_eq!(records, [log.records[0].clone(), log.records[2].clone()]);
    assert_eq!(report.corrupt[0].lost, Some(Lost { records: 1, durable: 1 }));
}

#[test]
fn large_payloads_and_long_damage_are_read_in_pieces() {
    let large: Vec<_> = (0..1_000_000_u32).flat_map(|i| (i % 251).to_le_bytes()).collect();
    let log = written(&[b"small".to_vec(), large, vec![7; 300_000], b"last".to_vec()]);
    assert_eq!(log.read(&log.bytes).0, log.records);
    // The next record's marker lies before, across and behind the end of the piece that is searched first.
    for shift in 0..8 {
        let mut bytes = log.bytes.clone();
        let hole = vec![0; (256 << 10) - 4 + shift];
        let at = log.start(1) as usize;
        bytes.splice(at..at, hole);
        let (records, report) = log.read(&bytes);
        assert_eq!(records, log.records);
        assert_eq!(report.corrupt.len(), 1);
        assert_eq!(report.corrupt[0].bytes, (256 << 10) - 4 + shift as u64);
    }
}

#[test]
fn zeros_after_the_last_record_are_cut_off() {
    let log = written(&[b"x".to_vec()]);
    let mut bytes = log.bytes.clone();
    bytes.resize(bytes.len() + 100_000, 0);
    let (records, report) = log.read(&bytes);
    assert_eq!(records, log.records);
    let cut = report.cut.unwrap();
    assert_eq!((cut.offset, cut.bytes), (log.ends[0], 100_000));
    assert_eq!(fs::read(&cut.file).unwrap(), log.bytes);
}

#[test]
fn a_newer_format_and_a_callers_error_are_errors() {
    let log = written(&[b"x".to_vec()]);
    let error = read(log.dir.path(), GENERATION, &mut |_| Err(io::Error::other("enough"))).unwrap_err();
    assert_eq!(error.to_string(), "enough");
    let mut bytes = log.bytes.clone();
    bytes[8] = 9;
    let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..48]);
    bytes[48..56].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path(log.dir.path(), GENERATION), &bytes).unwrap();
    let error = read(log.dir.path(), GENERATION, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("0000000007.wal: it has version 9"), "{error}");
}

#[test]
fn generations_are_listed_by_number_and_removed() {
    let dir = tempdir().unwrap();
    for generation in [12, 3, 10_000_000_000] {
        drop(Log::create(dir.path(), generation, 0).unwrap());
    }
    for other in ["4.wal", "x.wal", "0000000005.wal.tmp", "0000000006.txt", "+000000008.wal"] {
        fs::write(dir.path().join(other), "x").unwrap();
    }
    assert_eq!(generations(dir.path()).unwrap(), [3, 12, 10_000_000_000]);
    remove(dir.path(), 12).unwrap();
    remove(dir.path(), 12).unwrap();
    assert_eq!(generations(dir.path()).unwrap(), [3, 10_000_000_000]);
}

#[test]
fn a_generation_with_records_is_never_overwritten() {
    let log = written(&[b"x".to_vec()]);
    let error = Log::create(log.dir.path(), GENERATION, 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(replayed(log.dir.path(), GENERATION).0, log.records);
}

#[test]
fn a_payload_over_the_limit_is_refused_alone() {
    let dir = tempdir().unwrap();
    let mut log = Log::create(dir.path(), 1, 0).unwrap();
    log.append(1, b"before").unwrap();
    let error = log.append(1, &vec![0; MAX_PAYLOAD + 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(log.append(1, b"after").unwrap(), 1);
    log.sync().unwrap();
    assert_eq!(replayed(dir.path(), 1).0.len(), 2);
}

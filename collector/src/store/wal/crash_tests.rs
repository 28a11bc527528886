//! A process that is killed while it writes, again and again.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::tempdir;

use super::*;
use crate::store::disk::DataDir;

const DIRECTORY: &str = "AGENTVITALS_TEST_CRASH";
const ROUNDS: u64 = 40;

/// A row of numbers that look random, so that a run can be repeated.
fn mixed(number: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes())
}

fn payload(sequence: u64) -> Vec<u8> {
    // Now and then one that is over the writer's buffer.
    let limit = if sequence.is_multiple_of(50) { 600_000 } else { 6000 };
    let size = mixed(sequence) % limit;
    (0..size).map(|i| (i ^ sequence) as u8).collect()
}

/// What is in the log: the numbers, in order and each once, and the number that comes next.
fn replay(dir: &Path) -> (Vec<u64>, u64) {
    let (mut sequences, mut next) = (Vec::new(), 0);
    for generation in generations(dir).unwrap() {
        let report = read(dir, generation, &mut |record| {
            assert!(sequences.last().is_none_or(|&last| last < record.sequence));
            assert!(record.payload == payload(record.sequence), "record {}", record.sequence);
            sequences.push(record.sequence);
            Ok(())
        })
        .unwrap();
        assert_eq!(report.corrupt, [], "a process that ends damages nothing");
        next = next.max(report.next_sequence);
    }
    (sequences, next)
}

/// Behaviour: P4
#[test]
fn what_a_killed_process_acknowledged_is_there_once() {
    let dir = tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::wal::crash_tests::killed", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told = |line: String| line.strip_prefix("acknowledged ")?.parse::<u64>().ok();
        // It runs on while this reads, so where in its work it is killed is left to chance.
        let enough = 1 + (mixed(round) % 60) as usize;
        acknowledged.extend(lines.by_ref().filter_map(told).take(enough));
        child.kill().unwrap();
        acknowledged.extend(lines.filter_map(told));
        assert!(!child.wait().unwrap().success(), "it was to be killed");
        let (sequences, _) = replay(dir.path());
        let found: BTreeSet<_> = sequences.into_iter().collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "round {round} lost {lost:?}");
    }
    assert!(acknowledged.len() as u64 > ROUNDS);
}

/// The process of the test above: it goes on where the one before was killed.
#[test]
fn killed() {
    let Some(dir) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    // The lock of the process before is gone with it.
    let dir = DataDir::open(&dir).unwrap();
    let next = replay(dir.path()).1;
    let generation = generations(dir.path()).unwrap().last().map_or(1, |last| last + 1);
    let mut log = Log::create(dir.path(), generation, next).unwrap();
    let mut out = io::stdout().lock();
    loop {
        let batch = 1 + mixed(log.next_sequence()) % 5;
        let mut last = 0;
        for _ in 0..batch {
            last = log.append(1, &payload(log.next_sequence())).unwrap();
        }
        if last % 7 == 0 && log.len() > 200_000 {
            log.rotate().unwrap();
        } else {
            log.sync().unwrap();
        }
        for sequence in last + 1 - batch..=last {
            writeln!(out, "acknowledged {sequence}").unwrap();
        }
    }
}

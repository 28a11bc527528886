//! Disks that are full and files that fail, for real.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::tempdir;

use super::*;

const DIRECTORY: &str = "AGENTVITALS_TEST_FULL_DISK";

fn payload(sequence: u64) -> Vec<u8> {
    vec![sequence as u8; 9000]
}

/// Runs this binary's test `name` in a shell that has prepared the directory.
fn within(shell: &mut Command, script: &str, directory: &Path, name: &str) -> Output {
    let script = format!(r#"{script}; exec "$1" --exact "store::wal::full_tests::{name}" --nocapture"#);
    shell
        .args(["sh", "-ec", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .env(DIRECTORY, directory)
        .output()
        .unwrap()
}

fn passed(output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("test result: ok. 1 passed"), "{out}\n{err}");
}

/// Appends until there is no room, and returns how many records were synced.
fn fill(log: &mut Log) -> u64 {
    loop {
        let (length, next) = (log.len(), log.next_sequence());
        let done = log.append(1, &payload(next)).and_then(|_| log.append(2, &payload(next + 1)));
        if let Err(error) = done.and_then(|_| log.sync()) {
            assert!(disk::is_full(&error), "{error:?}");
            assert!(error.to_string().contains(".wal: "), "{error}");
            assert_eq!(log.broken(), None);
            assert_eq!(
                (log.len(), log.next_sequence()),
                (length, next),
                "it is as it was after the last sync"
            );
            return next;
        }
    }
}

fn all(dir: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    for generation in generations(dir).unwrap() {
        let report = read(dir, generation, &mut |record| {
            records.push(record);
            Ok(())
        })
        .unwrap();
        assert_eq!(report.corrupt, []);
    }
    for (record, sequence) in records.iter().zip(0..) {
        assert_eq!((record.sequence, &record.payload[..]), (sequence, &payload(sequence)[..]));
    }
    records
}

/// Feature: A8
#[test]
fn a_full_disk_takes_back_what_was_not_synced_and_goes_on_when_there_is_room() {
    let dir = tempdir().unwrap();
    let mut shell = Command::new("unshare");
    shell.arg("-rm");
    if !shell.arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no file system can be mounted here");
        return;
    }
    let mount = format!(r#"mount -t tmpfs -o size=1m tmpfs "${DIRECTORY}""#);
    passed(&within(Command::new("unshare").arg("-rm"), &mount, dir.path(), "on_a_small_disk"));
}

/// What the test above runs on a disk of one megabyte.
#[test]
fn on_a_small_disk() {
    let Some(dir) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![1; 300_000]).unwrap();
    let mut log = Log::create(&dir, 1, 0).unwrap();
    let first = fill(&mut log);
    assert!(first > 20);
    // Nothing fits, not even a new generation; the old one is still good.
    while File::options()
        .append(true)
        .open(&ballast)
        .and_then(|mut f| io::Write::write(&mut f, &[0; 4096]))
        .is_ok()
    {}
    let error = log.rotate().unwrap_err();
    assert!(disk::is_full(&error), "{error:?}");
    assert_eq!(generations(&dir).unwrap(), [1]);
    assert_eq!(fill(&mut log), first);
    fs::remove_file(&ballast).unwrap();
    let second = fill(&mut log);
    assert!(second > first + 20);
    drop(log);
    assert_eq!(all(&dir).len() as u64, second);
}

/// Feature: A8
#[test]
fn a_file_that_may_not_grow_is_followed_by_a_new_generation() {
    let dir = tempdir().unwrap();
    let mut shell = Command::new("env");
    passed(&within(&mut shell, "trap '' XFSZ; ulimit -f 400", dir.path(), "with_a_limit_of_file_size"));
}

/// What the test above runs with a limit.
#[test]
fn with_a_limit_of_file_size() {
    let Some(dir) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let mut log = Log::create(&dir, 1, 0).unwrap();
    let mut synced = 0;
    for _ in 0..5 {
        synced = fill(&mut log);
        log.rotate().unwrap();
    }
    drop(log);
    assert!(synced >= 50);
    assert_eq!(all(&dir).len() as u64, synced);
}

/// A log whose file is replaced by a device of the system that fails as disks do.
fn failing(dir: &Path, device: &str) -> Log {
    let mut log = Log::create(dir, 1, 0).unwrap();
    for sequence in 0..2 {
        log.append(1, &payload(sequence)).unwrap();
    }
    log.sync().unwrap();
    log.file = OpenOptions::new().write(true).open(device).unwrap();
    log
}

fn goes_on_in_a_new_generation(dir: &Path, mut log: Log, next: u64) {
    let reason = log.broken().unwrap().to_owned();
    for error in [log.append(1, b"x").unwrap_err(), log.sync().unwrap_err()] {
        assert!(error.to_string().contains(&reason), "{error}");
    }
    assert_eq!(log.rotate().unwrap(), 1);
    assert_eq!(log.broken(), None);
    assert_eq!(log.append(1, &payload(2)).unwrap(), next);
    log.sync().unwrap();
    drop(log);
    let mut back = Vec::new();
    for generation in [1, 2] {
        let report = read(dir, generation, &mut |record| {
            back.push(record.sequence);
            Ok(())
        })
        .unwrap();
        assert_eq!((report.cut, report.corrupt), (None, Vec::new()));
    }
    assert_eq!(back, [0, 1, next]);
}

/// The system forgets after a failed sync which pages are not on the disk: a second one would succeed and mean nothing.
#[test]
fn after_a_failed_sync_the_file_is_not_used_again() {
    let dir = tempdir().unwrap();
    // It takes every write, and cannot be synced.
    let mut log = failing(dir.path(), "/dev/null");
    assert_eq!(log.append(1, &payload(9)).unwrap(), 2);
    log.sync().unwrap_err();
    goes_on_in_a_new_generation(dir.path(), log, 3);
}

#[test]
fn a_file_that_cannot_be_cut_back_is_not_used_again() {
    let dir = tempdir().unwrap();
    let mut log = failing(dir.path(), "/dev/full");
    assert_eq!(log.append(1, &payload(9)).unwrap(), 2);
    let error = log.sync().unwrap_err();
    assert!(disk::is_full(&error), "{error:?}");
    goes_on_in_a_new_generation(dir.path(), log, 3);
}

#[test]
fn a_generation_that_cannot_be_begun_leaves_nothing() {
    let dir = tempdir().unwrap();
    // Where the unfinished file should be is a directory.
    fs::create_dir(dir.path().join("0000000002.wal.tmp")).unwrap();
    let mut log = Log::create(dir.path(), 1, 0).unwrap();
    log.append(1, &payload(0)).unwrap();
    log.rotate().unwrap_err();
    assert_eq!(log.generation(), 1);
    log.append(1, &payload(1)).unwrap();
    log.sync().unwrap();
    fs::remove_dir(dir.path().join("0000000002.wal.tmp")).unwrap();
    assert_eq!(log.rotate().unwrap(), 1);
    drop(log);
    assert_eq!(all(dir.path()).len(), 2);
    assert!(File::open(path(dir.path(), 2)).is_ok());
}

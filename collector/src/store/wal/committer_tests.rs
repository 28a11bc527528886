//! Many senders, one log: what is told, in which order, and what is refused.

use std::fs::OpenOptions;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::store::disk;

const LIMIT: usize = 1 << 20;

/// A committer whose events come out of the channel.
fn started(log: Log) -> (Committer<u64>, Receiver<Event<u64>>) {
    let (sender, events) = channel();
    (Committer::start(log, LIMIT, move |event| sender.send(event).unwrap()).unwrap(), events)
}

fn log() -> (TempDir, Log) {
    let dir = tempdir().unwrap();
    let log = Log::create(dir.path(), 1, 0).unwrap();
    (dir, log)
}

fn next(events: &Receiver<Event<u64>>) -> Event<u64> {
    events.recv_timeout(Duration::from_secs(20)).unwrap()
}

/// Waits for the event of one request that is durable.
fn durable(events: &Receiver<Event<u64>>) -> Committed<u64> {
    match next(events) {
        Event::Durable(mut batch) if batch.len() == 1 => batch.remove(0),
        other => panic!("{other:?}"),
    }
}

/// Feature: A8
#[test]
fn what_many_senders_give_is_handed_on_once_in_the_order_of_the_log() {
    let (dir, log) = log();
    let (committer, events) = started(log);
    let (senders, each) = (8_u64, 150_u64);
    std::thread::scope(|scope| {
        for sender in 0..senders {
            let committer = &committer;
            scope.spawn(move || {
                for number in 0..each {
                    let reply = sender * each + number;
                    let payload = Bytes::from(vec![sender as u8; (reply * 7 % 400) as usize]);
                    while let Err(rejected) = committer.commit(sender as u8, payload.clone(), reply) {
                        assert!(matches!(rejected, Rejected::Overloaded(_)), "{rejected:?}");
                        std::thread::yield_now();
                    }
                    if number == each / 2 {
                        committer.rotate();
                    }
                }
            });
        }
    });
    let counted = committer.close().map(|log| log.next_sequence());
    assert_eq!(counted, Some(senders * each));
    let (mut committed, mut generation) = (Vec::new(), 1);
    for event in events {
        match event {
            Event::Durable(batch) => {
                assert!(batch.iter().all(|record| record.generation == generation));
                committed.extend(batch);
            }
            Event::Rotated { old, new } => {
                assert_eq!((old, new), (generation, generation + 1));
                generation = new;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(generation > 1);
    let mut log = Vec::new();
    for generation in generations(dir.path()).unwrap() {
        read(dir.path(), generation, &mut |record| {
            log.push((record.sequence, record.kind, record.payload));
            Ok(())
        })
        .unwrap();
    }
    let mut replies: Vec<_> = committed.iter().map(|record| record.reply).collect();
    // Each sender's requests are in its order.
    for sender in 0..senders {
        let own = replies.iter().filter(|&&reply| reply / each == sender);
        assert!(own.is_sorted());
    }
    replies.sort_unstable();
    assert_eq!(replies, (0..senders * each).collect::<Vec<_>>());
    let told: Vec<_> = committed.into_iter().map(|one| (one.sequence, one.kind, one.payload)).collect();
    assert_eq!(told, log);
}

/// Feature: A8
#[test]
fn what_waits_is_bounded_and_is_synced_at_once() {
    let (_dir, log) = log();
    let (go, gate): (Sender<()>, Receiver<()>) = channel();
    let (sender, events) = channel();
    let gated = move |event| {
        sender.send(event).unwrap();
        gate.recv().unwrap();
    };
    let committer = Committer::start(log, LIMIT, gated).unwrap();
    let payload = Bytes::from(vec![1; 100_000]);
    committer.commit(1, payload.clone(), 0).unwrap();
    // The first is handed on, and the thread is held there.
    assert_eq!(durable(&events).reply, 0);
    let taken = (1..).take_while(|&reply| committer.commit(1, payload.clone(), reply).is_ok()).count();
    assert_eq!(taken, 9, "a megabyte holds ten of them");
    assert!((900_000..=LIMIT as u64).contains(&committer.figures().waiting_bytes));
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    let Event::Durable(batch) = next(&events) else { panic!("refused") };
    assert_eq!(batch.iter().map(|record| record.reply).collect::<Vec<_>>(), (1..10).collect::<Vec<_>>());
    // There is room again once that is done; the thread says so only by taking more.
    while committer.figures().waiting_bytes > 0 {
        std::thread::yield_now();
    }
    committer.commit(1, payload, 10).unwrap();
    go.send(()).unwrap();
    assert_eq!(durable(&events).sequence, 10);
    let figures = committer.figures();
    assert_eq!((figures.batches, figures.records, figures.largest_batch), (3, 11, 9));
    assert_eq!(figures.bytes, 1_100_000);
    assert!(figures.log_bytes > 1_100_000 && figures.sync_nanos >= figures.slowest_nanos);
    assert!(figures.slowest_nanos > 0);
}

#[test]
fn one_request_over_the_limit_is_taken_when_nothing_waits_and_one_over_the_logs_is_not() {
    let (_dir, log) = log();
    let (committer, events) = started(log);
    committer.commit(1, Bytes::from(vec![0; 2 * LIMIT]), 5).unwrap();
    assert_eq!(durable(&events).reply, 5);
    let rejected = committer.commit(1, Bytes::from(vec![0; MAX_PAYLOAD + 1]), 6).unwrap_err();
    assert!(matches!(rejected, Rejected::TooLarge(6)), "{rejected:?}");
}

/// Feature: A8
#[test]
fn a_file_that_failed_is_left_and_the_next_request_succeeds() {
    for (device, full) in [("/dev/full", true), ("/dev/null", false)] {
        let (dir, mut log) = log();
        log.file = OpenOptions::new().write(true).open(device).unwrap();
        let (committer, events) = started(log);
        committer.commit(1, Bytes::from_static(b"lost"), 1).unwrap();
        match next(&events) {
            Event::Refused { error, replies } => {
                assert_eq!(disk::is_full(&error), full, "{error:?}");
                assert_eq!(replies, [1]);
            }
            other => panic!("{other:?}"),
        }
        committer.commit(1, Bytes::from_static(b"kept"), 2).unwrap();
        let rotated = next(&events);
        assert!(matches!(rotated, Event::Rotated { old: 1, new: 2 }), "{rotated:?}");
        let kept = durable(&events);
        assert_eq!((kept.reply, kept.generation), (2, 2));
        assert_eq!(committer.figures().refused, 1);
        drop(committer);
        let mut records = Vec::new();
        read(dir.path(), 2, &mut |record| {
            records.push((record.sequence, record.payload));
            Ok(())
        })
        .unwrap();
        assert_eq!(records, [(kept.sequence, Bytes::from_static(b"kept"))]);
    }
}

/// A reply that is dropped is an answer too: nobody waits for ever.
#[test]
fn when_the_receiving_side_panics_nothing_is_taken_any_more() {
    let (_dir, log) = log();
    let reply = Arc::new(Mutex::new(()));
    let committer = Committer::start(log, LIMIT, |event: Event<Arc<Mutex<()>>>| {
        drop(event);
        panic!("as a test");
    })
    .unwrap();
    committer.commit(1, Bytes::new(), Arc::clone(&reply)).unwrap();
    let rejected = loop {
        match committer.commit(1, Bytes::new(), Arc::clone(&reply)) {
            // The thread is still on its way out.
            Ok(()) | Err(Rejected::Overloaded(_)) => std::thread::yield_now(),
            Err(rejected) => break rejected,
        }
    };
    assert!(matches!(rejected, Rejected::Closed(_)), "{rejected:?}");
    drop(rejected);
    assert!(committer.close().is_none());
    assert_eq!(Arc::strong_count(&reply), 1);
}

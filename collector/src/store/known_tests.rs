//! What is sent again counts once, however long ago it came.

use std::path::Path;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use tempfile::tempdir;

use super::tests::{all, request, send, settle, small, span};
use super::{Options, Store};
use crate::ingest::{Ingest as _, Signal};

/// A store that remembers few spans.
fn forgetful(path: &Path) -> Store {
    Store::open(path, Options { remembered: 3_000, ..small() }).unwrap()
}

fn batch(first: u64) -> Bytes {
    request((first..first + 1_000).map(span).collect())
}

/// Behaviour: P4
#[test]
fn spans_that_came_long_ago_count_once_over_restarts_too() {
    let dir = tempdir().unwrap();
    let store = forgetful(dir.path());
    for first in (0..30_000).step_by(1_000) {
        send(&store, batch(first)).unwrap();
    }
    settle(&store);
    // Of some all were there, of some a part.
    for first in [0, 7_000, 12_500, 29_500, 29_000] {
        let accepted = send(&store, batch(first)).unwrap();
        assert_eq!((accepted.accepted, accepted.rejected), (1_000, 0), "{first}");
    }
    assert_eq!(all(&store), (0..30_500).collect());
    assert_eq!(store.figures().spans.repeated, 4_500);
    drop(store);
    let store = forgetful(dir.path());
    for first in [0, 15_000, 30_000] {
        send(&store, batch(first)).unwrap();
    }
    assert_eq!(all(&store), (0..31_000).collect());
    // The log has them as they came, so they are known when it is read again.
    drop(store);
    assert_eq!(all(&forgetful(dir.path())), (0..31_000).collect());
}

/// Behaviour: P4
#[test]
fn log_records_that_came_long_ago_count_once() {
    let dir = tempdir().unwrap();
    let store = forgetful(dir.path());
    let logs = |number: u64| -> Bytes {
        let record = |record: u64| LogRecord {
            time_unix_nano: 1_790_000_000_000_000_000 + number * 1_000 + record,
            ..LogRecord::default()
        };
        let scope_logs =
            vec![ScopeLogs { log_records: (0..20).map(record).collect(), ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let send = |number| runtime.block_on(store.ingest(Signal::Logs, logs(number))).unwrap();
    for number in 0..8_000 {
        send(number);
    }
    settle(&store);
    assert_eq!(store.figures().logs.rows, 160_000);
    for number in [0, 3_000, 7_999] {
        assert_eq!(send(number).accepted, 20);
    }
    let figures = store.figures().logs;
    assert_eq!((figures.rows, figures.repeated), (160_000, 60));
}

#[test]
fn what_was_deleted_is_taken_again_and_the_rest_is_still_known() {
    let dir = tempdir().unwrap();
    let store = forgetful(dir.path());
    let other = |first| {
        let mut other =
            opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest::decode(batch(first))
                .unwrap();
        other.resource_spans[0].resource = None;
        Bytes::from(other.encode_to_vec())
    };
    for first in (0..10_000).step_by(1_000) {
        send(&store, batch(first)).unwrap();
        send(&store, other(100_000 + first)).unwrap();
    }
    assert_eq!(store.delete_service("bot").unwrap().spans, 10_000);
    send(&store, other(200_000)).unwrap();
    for again in [other(100_000), other(109_000), other(200_000), batch(5_000)] {
        send(&store, again).unwrap();
    }
    let expected = (100_000..110_000).chain(200_000..201_000).chain(5_000..6_000);
    assert_eq!(all(&store), expected.collect());
}

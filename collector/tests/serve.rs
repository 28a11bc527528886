//! `agentvitals serve` as a process: what it acknowledges, a kill included.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use agentvitals_collector::query::engine::Flow;
use agentvitals_collector::query::{
    Columns, Control, Engine as _, Order, Scan, SpanColumn, Table, TimeRange,
};
use agentvitals_collector::store::{Options, Store};
use arrow_array::cast::AsArray as _;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tempfile::tempdir;

use self::common::{Server, ask, post};

fn request(first: u64, count: u64) -> Vec<u8> {
    let spans = (first..first + count).map(|number| Span {
        trace_id: (u128::from(number) + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: "chat".to_owned(),
        start_time_unix_nano: 1_790_000_000_000_000_000 + number,
        end_time_unix_nano: 1_790_000_000_000_000_001 + number,
        ..Span::default()
    });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// The numbers of the spans in a directory, each of which must be there once.
fn numbers(dir: &Path) -> BTreeSet<u64> {
    let mut options = Options::default();
    options.keep_free = 0;
    let store = Store::open(dir, options).unwrap();
    let columns = Columns::Some(vec![SpanColumn::Fixed("span_id")]);
    let scan =
        Scan { table: Table::Spans, time: TimeRange::ALL, must: Vec::new(), columns, order: Order::Any };
    let mut found = BTreeSet::new();
    for part in store.parts(&scan).unwrap() {
        part.read(&Control::new(None, usize::MAX), &mut |batch| {
            for id in batch.column(0).as_fixed_size_binary().iter() {
                let number = u64::from_be_bytes(id.unwrap().try_into().unwrap()) - 1;
                assert!(found.insert(number), "span {number} is there twice");
            }
            Ok(Flow::Continue)
        })
        .unwrap();
    }
    found
}

/// Feature: K9
#[tokio::test]
async fn spans_are_taken_in_every_encoding_and_kept_over_a_restart() {
    let dir = tempdir().unwrap();
    let mut server = Server::start(dir.path());
    assert_eq!(server.ready["ready"], true);
    let (url, protobuf) = (server.http.clone(), "application/x-protobuf");
    let gzip = |body: &[u8]| {
        let mut out = Vec::new();
        flate2::read::GzEncoder::new(body, flate2::Compression::fast()).read_to_end(&mut out).unwrap();
        out
    };
    for (first, encoding, body) in [
        (0, None, request(0, 10)),
        (10, Some("gzip"), gzip(&request(10, 10))),
        (20, Some("zstd"), zstd::encode_all(request(20, 10).as_slice(), 1).unwrap()),
    ] {
        let (status, body) = post(&url, protobuf, encoding, body).await;
        assert_eq!((status, body.as_slice()), (200, &[] as &[u8]), "{first}");
    }
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0000000000000000000000000000001f","spanId":"000000000000001f",
        "name":"chat","kind":3,"startTimeUnixNano":"1790000000000000030","endTimeUnixNano":"1790000000000000031","unknown":1}]}]}]}"#;
    assert_eq!(post(&url, "application/json; charset=utf-8", None, json.into()).await, (200, b"{}".to_vec()));

    let grpc = format!("http://{}", server.ready["otlp_grpc"].as_str().unwrap());
    let channel = tonic::transport::Channel::from_shared(grpc).unwrap().connect().await.unwrap();
    for (first, encoding) in [
        (31, None),
        (41, Some(tonic::codec::CompressionEncoding::Gzip)),
        (51, Some(tonic::codec::CompressionEncoding::Zstd)),
    ] {
        let mut client = tonic::client::Grpc::new(channel.clone());
        if let Some(encoding) = encoding {
            client = client.send_compressed(encoding);
        }
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        );
        let codec =
            tonic_prost::ProstCodec::<ExportTraceServiceRequest, ExportTraceServiceResponse>::default();
        let message = ExportTraceServiceRequest::decode(request(first, 10).as_slice()).unwrap();
        let response = client.unary(tonic::Request::new(message), path, codec).await.unwrap();
        assert_eq!(response.into_inner().partial_success, None);
    }
    server.terminate();
    assert_eq!(numbers(dir.path()), (0..61).collect());
}

#[tokio::test]
async fn what_is_wrong_is_told_and_harms_no_other() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    let (url, protobuf) = (&server.http, "application/x-protobuf");
    let bomb = zstd::encode_all(vec![0_u8; 64 << 20].as_slice(), 1).unwrap();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (content_type, encoding, body, expected, word) in [
        (protobuf, None, b"\xff\xff\xff".to_vec(), 400, "ExportTraceServiceRequest"),
        (protobuf, Some("gzip"), b"no gzip".to_vec(), 400, "not compressed"),
        (protobuf, Some("br"), Vec::new(), 415, "br"),
        (protobuf, Some("zstd"), bomb, 413, "smaller batches"),
        (protobuf, None, vec![0; 17 << 20], 413, "at most;"),
        ("application/json", None, deep.into_bytes(), 400, "nested deeper"),
        ("application/json", None, b"{\"resourceSpans\":7}".to_vec(), 400, "line 1"),
        ("text/plain", None, Vec::new(), 415, "content-type"),
    ] {
        let (status, body) = post(url, content_type, encoding, body).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(status == expected && body.contains(word), "{expected} {word}: {status} {body}");
    }
    assert_eq!(post(&url.replace("traces", "profiles"), protobuf, None, Vec::new()).await.0, 404);
    assert_eq!(post(url, protobuf, None, request(0, 5)).await.0, 200);
}

#[test]
fn a_port_or_a_directory_in_use_is_named() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    let port = server.ready["otlp_http"].as_str().unwrap();
    let other = tempdir().unwrap();
    for (folder, word) in [(dir.path(), dir.path().to_str().unwrap()), (other.path(), port)] {
        let ended = Command::new(env!("CARGO_BIN_EXE_agentvitals"))
            .args([
                "serve",
                "--otlp-grpc",
                "127.0.0.1:0",
                "--otlp-http",
                port,
                "--api",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(folder)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && error.contains(word), "{error}");
    }
}

/// Behaviour: P4
#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_once() {
    let dir = tempdir().unwrap();
    // A long one: AGENTVITALS_KILL_ROUNDS=200 cargo test --test serve what_was_acknowledged
    let rounds =
        std::env::var("AGENTVITALS_KILL_ROUNDS").map_or(12, |rounds| rounds.parse::<usize>().unwrap());
    let (mut next, mut acknowledged) = (0_u64, BTreeSet::new());
    // Batches without an answer are sent again after the restart, as senders do.
    let mut unanswered: Vec<u64> = Vec::new();
    for round in 0..rounds {
        let mut server = Server::start(dir.path());
        let kill_after = 3 + round * 7 % 40;
        let answered = Arc::new(Mutex::new(Vec::new()));
        let mut todo: Vec<u64> = std::mem::take(&mut unanswered);
        todo.extend((0..60).map(|batch| next + batch * 500));
        next += 60 * 500;
        let client = reqwest::Client::new();
        let mut sending = tokio::task::JoinSet::new();
        let queue = Arc::new(Mutex::new(todo.clone().into_iter()));
        for _ in 0..4 {
            let (queue, answered, client, url) =
                (Arc::clone(&queue), Arc::clone(&answered), client.clone(), server.http.clone());
            sending.spawn(async move {
                loop {
                    let Some(first) = queue.lock().unwrap().next() else { break };
                    let sent = client
                        .post(&url)
                        .header("content-type", "application/x-protobuf")
                        .body(request(first, 500));
                    match sent.send().await {
                        Ok(response) if response.status() == 200 => answered.lock().unwrap().push(first),
                        _ => break,
                    }
                }
            });
        }
        while answered.lock().unwrap().len() < kill_after.min(todo.len()) {
            tokio::task::yield_now().await;
        }
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        sending.join_all().await;
        let answered: BTreeSet<u64> = answered.lock().unwrap().iter().copied().collect();
        unanswered = todo.into_iter().filter(|first| !answered.contains(first)).collect();
        acknowledged.extend(answered.iter().flat_map(|&first| first..first + 500));
        let found = numbers(dir.path());
        let lost = acknowledged.difference(&found).count();
        assert_eq!(lost, 0, "round {round}: of {} acknowledged", acknowledged.len());
    }
    assert!(acknowledged.len() > rounds * 3 * 500);
}

#[tokio::test]
async fn what_was_sent_can_be_asked_for() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    assert_eq!(post(&server.http, "application/x-protobuf", None, request(0, 50)).await.0, 200);
    let api = server.ready["api"].as_str().unwrap().to_owned();
    tokio::task::spawn_blocking(move || {
        let (code, out, _) = ask(&api, &["count", "{ name = \"chat\" }", "--json"]);
        assert_eq!((code, out.as_str()), (0, "{\"count\":50,\"complete\":true,\"scanned\":50}\n"));
        let (code, out, _) = ask(&api, &["spans", "{ kind = unspecified }", "--limit", "3", "--json"]);
        let spans: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((code, spans.len()), (0, 3));
        assert_eq!(spans[0]["span_id"], format!("{:016x}", 50));
        for field in [
            "trace_id",
            "parent_span_id",
            "kind",
            "status",
            "duration_ns",
            "service",
            "resource",
            "attributes",
            "events",
            "links",
        ] {
            assert!(spans[0].get(field).is_some(), "{field}");
        }
        let (code, out, _) = ask(&api, &["trace", "1"]);
        assert!(code == 0 && out.contains("chat"), "{out}");
        let (code, out, _) = ask(&api, &["stats", "--by", "name", "--json"]);
        let stats: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (code, &stats["groups"][0]["count"], &stats["groups"][0]["by"][0]),
            (0, &50.into(), &"chat".into())
        );
        let (code, out, _) = ask(&api, &["stats", "--by", "name"]);
        assert!(code == 0 && out.contains("chat") && out.contains("50"), "{out}");
        let (code, _, error) = ask(&api, &["count", "{ status = \"x\" }"]);
        assert!(code == 2 && error.contains("          ^"), "{error}");
        let (code, _, error) = ask(&api, &["trace", "abcdef"]);
        assert!(code == 1 && error.contains("abcdef"), "{error}");
        drop(server);
        let (code, _, error) = ask(&api, &["count"]);
        assert!(code == 1 && error.contains(&api) && error.contains("agentvitals serve"), "{error}");
    })
    .await
    .unwrap();
}

/// The demo goes on as a server, and its directory is gone at the end.
#[test]
fn a_demo_that_is_kept_can_be_asked_on() {
    let temporary = tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_agentvitals"))
        .args(["demo", "--speed", "max", "--json", "--keep"])
        .env("TMPDIR", temporary.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut next = || serde_json::from_str::<serde_json::Value>(&lines.next().unwrap().unwrap()).unwrap();
    let (document, ready) = (next(), next());
    let mut server = Server { child, http: String::new(), ready };
    assert_eq!(document["verified"], true);
    let api = server.ready["api"].as_str().unwrap().to_owned();
    let (code, out, _) = ask(&api, &["count", "{ .gen_ai.operation.name = \"chat\" }", "--json"]);
    let counted: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &counted["count"]), (0, &document["spans"]["chat"]));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);
    server.terminate();
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

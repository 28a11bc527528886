//! Requests that mean harm, over the wire, against the server as a process: each is answered or ended, memory stays
//! bounded, and whoever comes next is served.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tempfile::tempdir;

use self::common::{Server, post};

const PROTOBUF: &str = "application/x-protobuf";

fn message(field: u8, inner: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    prost::encoding::encode_varint(inner.len() as u64, &mut out);
    out.extend_from_slice(inner);
    out
}

/// A request of one span with these bytes behind its ids and times.
fn span(trace: &[u8], id: &[u8], start: u64, end: u64, more: &[u8]) -> Vec<u8> {
    let mut span = [message(1, trace), message(2, id), message(5, b"chat")].concat();
    for (field, time) in [(7, start), (8, end)] {
        span.push(field << 3 | 1);
        span.extend_from_slice(&time.to_le_bytes());
    }
    span.extend_from_slice(more);
    message(1, &message(2, &message(2, &span)))
}

fn good(number: u64) -> Vec<u8> {
    let id = (number + 1).to_be_bytes();
    span(&[[0; 8], id].concat(), &id, 1_790_000_000_000_000_000, 1_790_000_000_000_000_001, &[])
}

/// The most memory that it ever had, in megabytes.
fn peak(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// It is ready, takes a span, and finds it; and never had more than a gigabyte.
async fn serves(server: &Server, number: u64) {
    assert_eq!(reqwest::get(server.api("/health/ready")).await.unwrap().status(), 200);
    assert_eq!(post(&server.http, PROTOBUF, None, good(number)).await.0, 200);
    let found = reqwest::get(server.api(&format!("/api/v1/traces/{:x}", number + 1))).await.unwrap();
    assert_eq!(found.status(), 200, "span {number}");
    assert!(peak(server) < 1_000, "{} MB", peak(server));
}

/// Feature: K9
#[tokio::test(flavor = "multi_thread")]
async fn small_requests_that_would_be_large_are_refused() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    let group = |scoped: &[u8]| message(1, &message(2, scoped));
    let empty_spans = group(&[18, 0].repeat(8_000_000));
    let attributes = span(&[1; 16], &[1; 8], 1, 2, &[9 << 3 | 2, 0].repeat(8_000_000));
    let values =
        message(9, &[message(1, b"k"), message(2, &message(5, &[10, 0].repeat(7_000_000)))].concat());
    let values = span(&[1; 16], &[1; 8], 1, 2, &values);
    let json =
        format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}{{}}]}}]}}]}}"#, "{},".repeat(5_000_000));
    let bomb = |byte: u8| zstd::encode_all(vec![byte; 1 << 30].as_slice(), 1).unwrap();
    let mut gzip = Vec::new();
    flate2::read::GzEncoder::new(std::io::repeat(0).take(1 << 28), flate2::Compression::fast())
        .read_to_end(&mut gzip)
        .unwrap();
    let bodies = [
        (PROTOBUF, None, empty_spans.clone(), 400),
        (PROTOBUF, None, attributes, 400),
        (PROTOBUF, None, values, 400),
        ("application/json", None, json.into_bytes(), 400),
        (PROTOBUF, Some("zstd"), bomb(0), 413),
        (PROTOBUF, Some("gzip"), gzip, 413),
        (PROTOBUF, Some("zstd"), zstd::encode_all(empty_spans.as_slice(), 1).unwrap(), 400),
    ];
    // Each alone, then all of them some times at once.
    for (content_type, encoding, body, expected) in &bodies {
        let (status, answer) = post(&server.http, content_type, *encoding, body.clone()).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(status == *expected && answer.contains("smaller batches"), "{expected}: {status} {answer}");
        serves(&server, 0).await;
    }
    let mut sending = tokio::task::JoinSet::new();
    for (content_type, encoding, body, expected) in bodies.iter().chain(&bodies).chain(&bodies).cloned() {
        let url = server.http.clone();
        sending.spawn(async move {
            let (status, _) = post(&url, content_type, encoding, body).await;
            assert!([expected, 429].contains(&status), "{status}");
        });
    }
    sending.join_all().await;
    serves(&server, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_are_none_are_refused_and_the_edges_of_time_are_kept() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    let id = |number: u8| [[0; 15].as_slice(), &[number]].concat();
    let nested = (0..2_000).fold(vec![24, 1], |inner, _| message(5, &message(1, &inner)));
    let deep = message(9, &[message(1, b"k"), message(2, &nested)].concat());
    for (body, status, word) in [
        (span(&[7; 15], &[1; 8], 1, 2, &[]), 200, "15 bytes"),
        (span(&[7; 17], &[1; 8], 1, 2, &[]), 200, "17 bytes"),
        (span(&[0; 16], &[1; 8], 1, 2, &[]), 200, "zeros"),
        (span(&id(9), &[1; 9], 1, 2, &[]), 200, "9 bytes"),
        (span(&id(9), &[1; 8], u64::MAX, u64::MAX, &[]), 200, "2262"),
        (span(&id(9), &[1; 8], i64::MAX as u64, 0, &[]), 200, "2262"),
        (span(&id(9), &[1; 8], 1, 2, &deep), 400, "recursion"),
        (span(&id(9), &[1; 8], 1, 2, &message(5, &[0xff, 0xfe])), 400, "UTF-8"),
        (span(&id(9), &[1; 8], 1, 2, &[0x82]), 400, "ExportTraceServiceRequest"),
        // Taken: no time at all, an end without end, an end before the start.
        (span(&id(1), &[1; 8], 0, 0, &[]), 200, ""),
        (span(&id(2), &[1; 8], 1, u64::MAX, &[]), 200, ""),
        (span(&id(3), &[1; 8], i64::MAX as u64 - 1, 0, &[]), 200, ""),
    ] {
        let (answered, answer) = post(&server.http, PROTOBUF, None, body).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let told = if word.is_empty() { answer.is_empty() } else { answer.contains(word) };
        assert!(answered == status && told, "{word}: {answered} {answer}");
    }
    let all = reqwest::get(server.api("/api/v1/count")).await.unwrap().text().await.unwrap();
    assert!(all.starts_with("{\"count\":3,"), "{all}");
    for order in ["newest", "oldest", "slowest"] {
        let found = reqwest::get(server.api(&format!("/api/v1/spans?order={order}"))).await.unwrap();
        assert_eq!(found.text().await.unwrap().matches("\"span_id\"").count(), 3, "{order}");
    }
    serves(&server, 100).await;
}

/// What a program that speaks to a port by itself gets to read, until the other side ends or says nothing more.
fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // The other side may end before it has read everything.
    stream.write_all(bytes).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_do_not_keep_to_the_protocol_harm_no_other() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    let [http, grpc, api] =
        ["otlp_http", "otlp_grpc", "api"].map(|name| server.ready[name].as_str().unwrap().to_owned());
    // Connections that say nothing, and ones that stop in the middle.
    let mut silent = Vec::new();
    for address in [&http, &grpc, &api] {
        silent.extend((0..200).map(|_| TcpStream::connect(address).unwrap()));
        let mut half = TcpStream::connect(address).unwrap();
        half.write_all(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\ncontent-ty").unwrap();
        silent.push(half);
    }
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n";
    let long = format!("{head}x: {}\r\n\r\n", "y".repeat(1 << 20));
    for (bytes, status) in [
        (format!("{head}content-length: -1\r\n\r\n"), "400"),
        (format!("{head}content-length: 5\r\ncontent-length: 6\r\n\r\nabcde"), "400"),
        (format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n"), "400"),
        (long, "431"),
        ("\0\0\0 nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        for address in [&http, &api] {
            let answer = exchange(address, bytes.as_bytes());
            let refused = answer.starts_with(&format!("HTTP/1.1 {status}")) || answer.is_empty();
            // The API has no such path, and does not read the body.
            assert!(refused || answer.starts_with("HTTP/1.1 4"), "{bytes:.80}: {answer}");
        }
        exchange(&grpc, bytes.as_bytes());
    }
    // A stream opened and reset, again and again.
    let mut reset = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for stream in (1..40_000_u32).step_by(2) {
        // HEADERS (:method POST, :scheme http, :path /), then RST_STREAM with CANCEL.
        reset.extend_from_slice(&[0, 0, 3, 1, 4]);
        reset.extend_from_slice(&stream.to_be_bytes());
        reset.extend_from_slice(&[0x83, 0x86, 0x84, 0, 0, 4, 3, 0]);
        reset.extend_from_slice(&stream.to_be_bytes());
        reset.extend_from_slice(&8_u32.to_be_bytes());
    }
    for address in [&grpc, &http] {
        exchange(address, &reset);
    }
    serves(&server, 0).await;
    drop(silent);
    serves(&server, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_small_requests_in_one_go_are_each_answered() {
    const CONNECTIONS: usize = 10;
    const EACH: usize = 10_000;
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    // Every request is the same span: that it is kept once is seen below.
    let body = good(0);
    let head =
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: ";
    let one = [format!("{head}{}\r\n\r\n", body.len()).into_bytes(), body].concat();
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (address, one) = (server.ready["otlp_http"].as_str().unwrap().to_owned(), one.clone());
        connections.spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut writer = stream.try_clone().unwrap();
            let sending = std::thread::spawn(move || writer.write_all(&one.repeat(EACH)).unwrap());
            let (mut answered, mut answers, mut buffer) = (0, Vec::new(), [0; 65_536]);
            while answered < EACH {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "it ended after {answered}");
                answers.extend_from_slice(&buffer[..read]);
                // An answer may lie across two readings.
                let text = String::from_utf8_lossy(&answers).into_owned();
                answered += text.matches("HTTP/1.1 200 OK").count();
                answers = text.rsplit_once("HTTP/1.1 200 OK").map_or(text.as_str(), |(_, rest)| rest).into();
            }
            sending.join().unwrap();
        });
    }
    connections.join_all().await;
    let all = reqwest::get(server.api("/api/v1/count")).await.unwrap().text().await.unwrap();
    assert!(all.starts_with("{\"count\":1,"), "{all}");
    serves(&server, 5).await;
}

//! `agentvitals load` against a real server.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use serde_json::Value;
use tempfile::tempdir;

use self::common::{Server, ask};
use agentvitals_collector::load::{span_id, trace_id};

fn load(arguments: &[&str]) -> (i32, String, String) {
    let ended = Command::new(env!("CARGO_BIN_EXE_agentvitals")).arg("load").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}

fn count(api: &str, filter: &str) -> Value {
    let (code, out, error) = ask(api, &["count", filter, "--json"]);
    assert_eq!(code, 0, "{error}");
    serde_json::from_str::<Value>(&out).unwrap()["count"].clone()
}

#[test]
fn what_is_acknowledged_is_there_with_the_ids_that_follow_from_the_seed() {
    let dir = tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let address = |name: &str| format!("http://{}", server.ready[name].as_str().unwrap());
    let api = server.ready["api"].as_str().unwrap();
    let ids = dir.path().join("ids");
    let (grpc, http) = (address("otlp_grpc"), address("otlp_http"));
    let common = ["--spans", "4001", "--batch", "300", "--json", "--ids", ids.to_str().unwrap()];
    for (seed, protocol, endpoint, compression) in [
        ("1", "grpc", &grpc, "none"),
        ("2", "http", &http, "none"),
        ("3", "grpc", &grpc, "zstd"),
        ("4", "http", &http, "gzip"),
    ] {
        let arguments =
            ["--seed", seed, "--protocol", protocol, "--endpoint", endpoint, "--compression", compression];
        let (code, out, error) = load(&[&common[..], &arguments[..]].concat());
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}"));
        // 4,001 spans are 501 traces.
        assert_eq!(
            (code, &report["acknowledged"], &report["refused"]),
            (0, &4_008.into(), &0.into()),
            "{report}"
        );
        assert!(report["latency_ms"]["p99"].as_f64().unwrap() > 0.0);
        let (seed, last) = (seed.parse().unwrap(), 500);
        let id = hex::encode(trace_id(seed, last));
        let filter =
            format!("{{ trace:id = \"{id}\" && span:id = \"{}\" }}", hex::encode(span_id(seed, last, 7)));
        assert_eq!(count(api, &filter), 1, "{protocol}");
    }
    assert_eq!(count(api, "{}"), 4 * 4_008);
    let traces = std::fs::read_to_string(&ids).unwrap();
    let traces = traces.lines().map(|line| line.split_once(' ').unwrap().1.parse::<u64>().unwrap());
    assert_eq!(traces.sum::<u64>(), 4 * 501);
    assert_eq!(count(api, "{ span:parentID = nil && .app.request_id != nil }"), 4 * 501);
    let (code, out, _) =
        load(&["--endpoint", &grpc, "--spans", "800", "--rate", "100k", "--batch", "80", "--seed", "9"]);
    assert!(code == 0 && out.contains("800 of 800 spans acknowledged") && out.contains("seed 9"), "{out}");
    // The same spans again are kept once.
    load(&["--endpoint", &grpc, "--spans", "800", "--rate", "100k", "--batch", "80", "--seed", "9"]);
    let (code, out, _) = load(&["--endpoint", &grpc, "--duration", "200ms", "--json"]);
    assert!(
        code == 0 && serde_json::from_str::<Value>(&out).unwrap()["acknowledged"].as_u64() > Some(0),
        "{out}"
    );
}

#[test]
fn what_is_wrong_is_told() {
    let dir = tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "t").unwrap();
    let server = Server::start_with(&dir.path().join("data"), &["--token-file", token.to_str().unwrap()]);
    let grpc = format!("http://{}", server.ready["otlp_grpc"].as_str().unwrap());
    let (code, out, _) = load(&["--endpoint", &grpc, "--spans", "80"]);
    assert!(code == 1 && out.contains("80 spans refused: Unauthenticated"), "{out}");
    assert_eq!(load(&["--endpoint", &grpc, "--spans", "80", "--token-file", token.to_str().unwrap()]).0, 0);
    drop(server);
    for (arguments, code, word) in [
        (&["--endpoint", &grpc] as &[&str], 1, "nothing takes OTLP at http://127.0.0.1:"),
        (&["--endpoint", "localhost"], 2, "is no URL"),
        (&["--spans", "many"], 2, "such as 100000, 500k or 10M"),
        (&["--connections", "0"], 2, "1 to 1024"),
        (&["--batch", "0"], 2, "1 to 100000"),
    ] {
        let (ended, _, error) = load(arguments);
        assert!(ended == code && error.contains(word), "{arguments:?}: {ended} {error}");
    }
}

#[test]
fn a_store_can_be_loaded_without_a_server() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments = ["--data-dir", data.to_str().unwrap(), "--spans", "20000", "--seed", "5", "--json"];
    let (code, out, error) = load(&arguments);
    assert_eq!(code, 0, "{error}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["acknowledged"], 20_000);
    let server = Server::start(&data);
    assert_eq!(count(server.ready["api"].as_str().unwrap(), "{}"), 20_000);
    let (code, _, error) = load(&arguments);
    assert!(code == 2 && error.contains(data.to_str().unwrap()), "{code}: {error}");
}

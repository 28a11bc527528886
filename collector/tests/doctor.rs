//! `agentvitals doctor` finds what was put there for it to find.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::process::Command;

use serde_json::{Value, json};
use tempfile::tempdir;

use self::common::{Server, post};

fn doctor(server: &Server, arguments: &[&str]) -> (i32, Value) {
    let endpoint = server.http.strip_suffix("/v1/traces").unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_agentvitals"))
        .args(["doctor", "--json", "--protocol", "http/protobuf", "--endpoint", endpoint])
        .args(["--api", server.ready["api"].as_str().unwrap()])
        .args(arguments)
        .output()
        .unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    let answer = serde_json::from_str(&out)
        .unwrap_or_else(|error| panic!("{error}: {out}{}", String::from_utf8_lossy(&ended.stderr)));
    (ended.status.code().unwrap(), answer)
}

/// The status and the message of a check.
fn told(answer: &Value, name: &str) -> (String, String) {
    let check = answer["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("{name} is not in {answer}"));
    let text = |member: &str| check[member].as_str().unwrap().to_owned();
    (text("status"), text("message"))
}

const LOCK: &str = r#"version = 4
[[package]]
name = "opentelemetry"
version = "0.31.0"
[[package]]
name = "opentelemetry"
version = "0.33.1"
[[package]]
name = "old-exporter"
version = "1.0.0"
dependencies = ["opentelemetry 0.31.0"]
[[package]]
name = "shop"
version = "1.0.0"
dependencies = ["old-exporter", "opentelemetry 0.33.1"]
"#;

/// Behaviour: P1
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_found_and_nothing_else() {
    let dir = tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let lock = dir.path().join("Cargo.lock");
    std::fs::write(&lock, LOCK.replace("0.31.0", "0.33.1")).unwrap();
    let arguments = ["--lock", lock.to_str().unwrap()];
    let (code, answer) = doctor(&server, &arguments);
    assert_eq!((code, &answer["ok"]), (0, &json!(true)), "{answer}");
    for check in answer["checks"].as_array().unwrap() {
        assert_eq!(check["status"], "ok", "{check}");
    }

    // A crate twice, a request that is none, a program that lost spans, a sender whose clock is ahead.
    std::fs::write(&lock, LOCK).unwrap();
    let ahead = json!({"resourceSpans": [{"scopeSpans": [{"spans": [
        {"traceId": format!("{:032x}", 7), "spanId": format!("{:016x}", 7), "name": "a",
            "startTimeUnixNano": "4000000000000000000", "endTimeUnixNano": "4000000000000000001"},
        {"traceId": "", "spanId": format!("{:016x}", 8), "name": "b"}]}]}]});
    assert_eq!(post(&server.http, "application/json", None, ahead.to_string().into()).await.0, 200);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let point = json!({"asInt": "5", "startTimeUnixNano": (now - 1_000_000_000).to_string(), "timeUnixNano": now.to_string(),
        "attributes": [{"key": "agentvitals.reason", "value": {"stringValue": "queue_full"}}]});
    let lost = json!({"resourceMetrics": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeMetrics": [{"metrics": [{"name": "agentvitals.sdk.spans.lost",
            "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [point]}}]}]}]});
    let metrics = server.http.replace("traces", "metrics");
    assert_eq!(post(&metrics, "application/json", None, lost.to_string().into()).await.0, 200);
    let (code, answer) = doctor(&server, &arguments);
    assert_eq!((code, &answer["ok"]), (1, &json!(false)), "{answer}");
    let (status, message) = told(&answer, "versions");
    let wanted = "opentelemetry 0.31.0 (of old-exporter) and 0.33.1 (of shop)";
    assert!(status == "failed" && message.contains(wanted), "{message}");
    let (status, message) = told(&answer, "clock");
    assert!(
        status == "warned" && message.starts_with("1 spans start more than a minute from now"),
        "{message}"
    );
    let (status, message) = told(&answer, "losses of the server");
    assert!(status == "warned" && message.contains("rows_rejected_total{table=\"spans\"} is 1"), "{message}");
    let (status, message) = told(&answer, "losses of programs");
    assert!(status == "warned" && message.contains("5 spans of shop (queue_full)"), "{message}");

    server.terminate();
    let (code, answer) = doctor(&server, &arguments);
    assert_eq!(code, 1);
    let (status, message) = told(&answer, "endpoint");
    assert!(status == "failed" && message.contains("127.0.0.1"), "{message}");
    assert_eq!(told(&answer, "server").0, "skipped");
}

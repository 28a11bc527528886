//! Health and alerts of a running server: fed by the real SDK over OTLP, asked over HTTP and by the commands.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use agentvitals::{Measured, Telemetry};
use serde_json::Value;
use tempfile::tempdir;

use self::common::{Server, ask};

const DEADLINE: Duration = Duration::from_secs(60);

fn sdk(server: &Server) -> Telemetry {
    let endpoint = format!("http://{}", server.ready["otlp_grpc"].as_str().unwrap());
    agentvitals::builder()
        .config(agentvitals::Config::default())
        .service_name("bot")
        .endpoint(endpoint)
        .build()
        .unwrap()
}

fn calls(vitals: &Telemetry, calls: u32, failing: u32) {
    for call in 0..calls {
        let measured = Measured::tool_call("search").agent("planner").duration(Duration::from_millis(200));
        vitals.record(&if call < failing { measured.error_type("timeout") } else { measured });
    }
    for _ in 0..calls {
        vitals.record(&Measured::agent_run("planner").duration(Duration::from_secs(1)));
    }
    vitals.flush_blocking(Duration::from_secs(20)).unwrap();
}

async fn get(url: &str) -> Value {
    serde_json::from_slice(&reqwest::get(url).await.unwrap().bytes().await.unwrap()).unwrap()
}

/// Asks until it is so.
async fn until(url: &str, mut so: impl FnMut(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let value = get(url).await;
        if so(&value) {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "{value:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn rules(dir: &Path, limit: &str) -> std::path::PathBuf {
    let path = dir.join("rules.toml");
    let rule = format!(
        "[[rule]]\nname = \"tool-errors\"\nof = \"tool\"\nsignal = \"error_rate\"\nabove = \"{limit}\"\nseverity = \"critical\"\n"
    );
    std::fs::write(&path, rule).unwrap();
    path
}

/// Feature: G1, H8, H9, H15
#[tokio::test(flavor = "multi_thread")]
async fn a_server_tells_of_the_health_of_who_sends_to_it_and_keeps_its_alerts_over_restarts() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let told = dir.path().join("told.jsonl");
    let rules = rules(dir.path(), "30%");
    let arguments = [
        "--rules",
        rules.to_str().unwrap(),
        "--alert-file",
        told.to_str().unwrap(),
        "--health-every",
        "100ms",
    ];
    let mut server = Server::start_with(&data, &arguments);
    let vitals = sdk(&server);
    calls(&vitals, 20, 10);
    let health =
        until(&server.api("/api/v1/health"), |health| health["components"].as_array().unwrap().len() == 2)
            .await;
    let of = |kind: &str| {
        let components = health["components"].as_array().unwrap();
        components.iter().find(|one| one["subject"]["kind"] == kind).unwrap().clone()
    };
    assert_eq!(
        (of("tool")["samples"].as_u64(), of("tool")["errors"].as_u64()),
        (Some(20), Some(10)),
        "{health:#}"
    );
    assert!(of("tool")["score"].as_f64().unwrap() < 80.0, "{health:#}");
    assert_eq!(of("agent")["status"], "healthy");

    let alerts =
        until(&server.api("/api/v1/alerts"), |alerts| !alerts["alerts"].as_array().unwrap().is_empty()).await;
    let alert = &alerts["alerts"][0];
    assert_eq!(
        (&alert["rule"], &alert["phase"], &alert["severity"]),
        (&"tool-errors".into(), &"firing".into(), &"critical".into())
    );
    let api = server.ready["api"].as_str().unwrap().to_owned();
    let (code, text, _) = ask(&api, &["alerts", "--severity", "critical"]);
    assert!(code == 1 && text.contains("tool search: error_rate is 50.0 %"), "{code}: {text}");
    assert_eq!(
        ask(&api, &["health"]).0,
        i32::from(get(&server.api("/api/v1/health")).await["status"] != "healthy")
    );
    let id = alert["id"].as_str().unwrap();
    assert_eq!(ask(&api, &["alerts", "--acknowledge", id, "--by", "ann"]).0, 0);
    assert_eq!(ask(&api, &["alerts", "--acknowledge", "0", "--by", "ann"]).0, 2);

    // Killed, not ended: what it told, it does not tell again.
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let mut server = Server::start_with(&data, &arguments);
    let alerts = get(&server.api("/api/v1/alerts")).await;
    assert_eq!(alerts["alerts"][0]["acknowledged_by"], "ann", "{alerts:#}");
    let api = server.ready["api"].as_str().unwrap().to_owned();
    let (code, text, error) =
        ask(&api, &["alerts", "--silence", "alertname=tool-*", "--for", "1h", "--by", "ann"]);
    assert_eq!((code, text.trim()), (0, "{\"id\":1}"), "{error}");
    until(&server.api("/api/v1/alerts"), |alerts| !alerts["alerts"][0]["muted"].is_null()).await;
    assert_eq!(ask(&api, &["alerts"]).0, 0, "muted");
    // New rules are taken up, and those that are wrong are told of and not taken.
    std::fs::write(&rules, "[[rule]]\nname = \"r\"\nsignal = \"error_rate\"\nabove = 30\n").unwrap();
    let alerts = until(&server.api("/api/v1/alerts"), |alerts| !alerts["trouble"].is_null()).await;
    assert!(alerts["trouble"].as_str().unwrap().contains("write \"30%\""), "{alerts:#}");
    assert_eq!(alerts["alerts"].as_array().unwrap().len(), 1);
    std::fs::write(&rules, "preset = \"host\"\n").unwrap();
    until(&server.api("/api/v1/alerts"), |alerts| alerts["alerts"].as_array().unwrap().is_empty()).await;
    server.terminate();
    let told = std::fs::read_to_string(told).unwrap();
    let kinds: Vec<String> = told
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["firing"], "{told}");
}

/// Feature: H11
#[test]
fn rules_are_checked_and_exported() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("rules.toml");
    let run = |arguments: &[&str]| {
        let mut all = vec!["agentvitals", "rules"];
        all.extend(arguments);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let terminal = agentvitals_collector::cli::Terminal { out: &mut out, err: &mut err, colored: false };
        let code = agentvitals_collector::cli::run(all, terminal);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    let (code, text, _) = run(&["--preset", "production", "--prometheus"]);
    assert!(code == 0 && text.contains("alert: CpuCritical"), "{text}");
    assert!(run(&[]).1.contains("pool-exhausted"));
    std::fs::write(&path, "preset = \"strict\"\n").unwrap();
    assert_eq!(run(&[path.to_str().unwrap(), "--json"]).0, 0);
    std::fs::write(&path, "preset = \"lax\"\n").unwrap();
    let (code, _, error) = run(&[path.to_str().unwrap()]);
    assert!(code == 2 && error.contains("rules.toml: preset \"lax\""), "{error}");
}

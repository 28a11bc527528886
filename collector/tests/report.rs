//! Reports over a store whose numbers are known by hand, through a running server and the commands.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::fmt::Write as _;

use serde_json::{Value, json};
use tempfile::tempdir;

use self::common::{Server, ask, post};

const START: i64 = 1_790_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// A span by number: trace, parent, start and length in seconds, attributes, and what it failed with.
fn span(
    number: u64,
    trace: u64,
    parent: Option<u64>,
    (start, length): (f64, f64),
    attributes: &Value,
    error: Option<&str>,
) -> Value {
    let nanos = |seconds: f64| START + (seconds * SECOND as f64) as i64;
    let mut all: Vec<Value> = attributes
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| {
            let value = match value {
                Value::String(text) => json!({ "stringValue": text }),
                Value::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
                number => json!({ "intValue": number.to_string() }),
            };
            json!({ "key": key, "value": value })
        })
        .collect();
    if let Some(error) = error {
        all.push(json!({"key": "error.type", "value": {"stringValue": error}}));
    }
    json!({
        "traceId": format!("{trace:032x}"), "spanId": format!("{number:016x}"),
        "parentSpanId": parent.map_or_else(String::new, |parent| format!("{parent:016x}")),
        "name": "n", "startTimeUnixNano": nanos(start).to_string(), "endTimeUnixNano": nanos(start + length).to_string(),
        "attributes": all,
        "status": if error.is_some() { json!({"code": 2, "message": format!("no answer from 10.0.0.{number} after {number} ms")}) } else { json!({}) },
    })
}

/// Runs, one every ten seconds: an agent that asks a model (1 s, or what is said), then two tools one after the other; `failing`
/// says in which runs the second tool fails, and the run with it.
fn runs(count: u64, version: &str, offset: u64, model_s: f64, failing: impl Fn(u64) -> bool) -> String {
    let mut spans = Vec::new();
    for run in 0..count {
        let (trace, at) = (offset + run + 1, (offset + run) as f64 * 10.0);
        let number = |place: u64| trace * 8 + place;
        let failed = failing(run).then_some("timeout");
        let agent = json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"});
        let model = json!({
            "gen_ai.operation.name": "chat", "gen_ai.agent.name": "planner", "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 1_000, "gen_ai.usage.output_tokens": 100, "gen_ai.usage.cost.amount": 0.0035,
            "gen_ai.conversation.id": format!("c-{}", run % 2),
        });
        let tool = |name: &str| json!({"gen_ai.operation.name": "execute_tool", "gen_ai.agent.name": "planner", "gen_ai.tool.name": name});
        spans.push(span(number(0), trace, None, (at, model_s + 0.7), &agent, failed));
        spans.push(span(number(1), trace, Some(number(0)), (at, model_s), &model, None));
        spans.push(span(number(2), trace, Some(number(0)), (at + model_s, 0.2), &tool("search"), None));
        spans.push(span(
            number(3),
            trace,
            Some(number(0)),
            (at + model_s + 0.21, 0.4),
            &tool("fetch"),
            failed,
        ));
    }
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "bot"}}, {"key": "service.version", "value": {"stringValue": version}}]},
        "scopeSpans": [{"spans": spans}],
    }]})
    .to_string()
}

async fn serve(requests: &[String]) -> (tempfile::TempDir, Server) {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    for request in requests {
        assert_eq!(post(&server.http, "application/json", None, request.clone().into()).await.0, 200);
    }
    (dir, server)
}

async fn report(server: &Server, more: &str) -> Value {
    let url = server.api(&format!("/api/v1/report?start={}&end={}{more}", START - 1, START + 3_600 * SECOND));
    serde_json::from_slice(&reqwest::get(url).await.unwrap().bytes().await.unwrap()).unwrap()
}

fn close(value: &Value, expected: f64, within: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - expected).abs() <= within, "{value} is not {expected}");
}

/// Feature: I1, I5, C2, C5, C6, C7, C8, C9, C11, E2, P17
#[tokio::test]
async fn a_report_has_the_numbers_that_are_known_by_hand() {
    // 40 runs; in every fourth the tool `fetch` fails, and the run with it.
    let (_dir, server) = serve(&[runs(40, "1", 0, 1.0, |run| run % 4 == 0)]).await;
    let report = report(&server, "").await;
    let of = |list: &str, name: &str| {
        report[list].as_array().unwrap().iter().find(|line| line["name"] == name).unwrap().clone()
    };
    assert_eq!(report["totals"]["count"], 160);
    let agent = of("agents", "planner");
    assert_eq!((&agent["count"], &agent["errors"]), (&json!(40), &json!(10)));
    close(&agent["error_rate"]["value"], 0.25, 1e-9);
    // Wilson, by hand: (0.25 + z²/80 ± z sqrt(0.25·0.75/40 + z²/6400)) / (1 + z²/40) with z = 1.96.
    close(&agent["error_rate"]["low"], 0.1419, 1e-3);
    close(&agent["error_rate"]["high"], 0.4019, 1e-3);
    close(&agent["p95_s"], 1.7, 0.02);
    let tool = of("tools", "fetch");
    assert_eq!((&tool["count"], &tool["errors_by_type"]), (&json!(40), &json!({"timeout": 10})));
    close(&tool["p50_s"], 0.4, 0.005);
    close(&tool["avg_s"], 0.4, 1e-6);

    // Cost: counted at the model calls alone, and each list sums to the total, in whole numbers.
    let costs = &report["costs"];
    assert_eq!(
        costs["total"],
        json!({"name": "", "requests": 40, "tokens": 44_000, "cost_nano": 140_000_000, "unpriced": 0})
    );
    for list in ["by_model", "by_agent", "by_conversation"] {
        let lines = costs[list].as_array().unwrap();
        let sum = |key: &str| lines.iter().map(|line| line[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!((sum("cost_nano"), sum("tokens"), sum("requests")), (140_000_000, 44_000, 40), "{list}");
    }
    assert_eq!(costs["by_conversation"].as_array().unwrap().len(), 2);

    // One cluster for the tool and one for the agent, though each message has other numbers.
    let clusters = report["errors"].as_array().unwrap();
    assert_eq!(clusters.len(), 2, "{clusters:#?}");
    assert_eq!((&clusters[0]["count"], &clusters[0]["error_type"]), (&json!(10), &json!("timeout")));
    assert_eq!(clusters[0]["message"], "no answer from #.#.#.# after # ms");
    close(&clusters[0]["share"], 0.5, 1e-9);
    assert_eq!(clusters[0]["trace_ids"].as_array().unwrap().len(), 5);
    assert!(clusters[0]["first_seen"].as_i64().unwrap() < clusters[0]["last_seen"].as_i64().unwrap());

    // Selection: `search` never fails and is faster. When `fetch` fails, the run does.
    let ranking = report["ranking"].as_array().unwrap();
    assert_eq!((&ranking[0]["tool"], &ranking[1]["tool"]), (&json!("search"), &json!("fetch")));
    assert_eq!((&ranking[0]["failing"], &ranking[1]["failing"]), (&json!(false), &json!(true)));
    close(&ranking[1]["run_fails_if_it_fails"]["value"], 1.0, 1e-9);
    close(&ranking[1]["with_and_without"][0]["value"], 0.75, 1e-9);
    assert_eq!(ranking[1]["recent_failures"].as_array().unwrap().len(), 5);
    assert_eq!(report["sequences"], json!([{"before": "search", "after": "fetch", "count": 40}]));
    assert_eq!(report["runs_looked_at"], 40);
}

/// Feature: I12, N8, I4
#[tokio::test]
async fn what_could_be_better_is_told_with_its_numbers() {
    let (_dir, server) = serve(&[runs(40, "1", 0, 4.0, |run| run % 4 == 0)]).await;
    let report = report(&server, "").await;
    let of = |kind: &str| {
        report["recommendations"].as_array().unwrap().iter().find(|one| one["kind"] == kind).cloned()
    };
    let serial = of("parallel").expect("two tools one after the other");
    assert_eq!(
        (&serial["subject"], &serial["evidence"].as_str().unwrap()[..3]),
        (&json!("search, fetch"), "40 ")
    );
    close(&serial["saves_s"], 8.0, 0.01);
    let failing = of("failing_tool").unwrap();
    assert!(failing["evidence"].as_str().unwrap().starts_with("75.0 % of 40 calls succeed"), "{failing}");
    assert!(!failing["trace_ids"].as_array().unwrap().is_empty());
    let slow = of("slow").unwrap();
    assert_eq!(slow["subject"], "model gpt-4o");
    assert_eq!(report["models"][0]["slow"], true);
    assert_eq!(report["tools"][0]["slow"], false);
}

/// Feature: I6
#[tokio::test]
async fn failures_of_tools_that_go_along_with_failures_of_runs_are_seen() {
    let (_dir, server) = serve(&[runs(300, "1", 0, 1.0, |run| run % 30 < run / 30)]).await;
    let report = report(&server, "").await;
    let found = report["correlations"].as_array().unwrap();
    let tools = found.iter().find(|one| one["what"] == "failures of tools and failures of runs").unwrap();
    assert!(
        tools["coefficient"].as_f64().unwrap() > 0.9 && tools["p_value"].as_f64().unwrap() < 0.01,
        "{tools}"
    );
}

/// Feature: I11
#[tokio::test]
async fn a_build_that_is_surely_worse_fails_a_comparison_and_noise_does_not() {
    let (dir, server) = serve(&[
        runs(100, "1.0", 0, 1.0, |run| run % 50 == 0),
        runs(100, "1.1", 100, 1.0, |run| run % 33 == 0),
        runs(100, "1.2", 200, 1.5, |run| run % 4 == 0),
    ])
    .await;
    let api = server.ready["api"].as_str().unwrap();
    let (since, until) = ((START - 1).to_string(), (START + 3_600 * SECOND).to_string());
    let range = ["--since", &since, "--until", &until];
    let by = |a: &str, b: &str| {
        let mut arguments = vec!["compare", "--by", "resource.service.version", "--a", a, "--b", b, "--json"];
        arguments.extend(range);
        let (code, out, error) = ask(api, &arguments);
        assert!(error.is_empty(), "{error}");
        (code, serde_json::from_str::<Value>(&out).unwrap())
    };
    let (code, same) = by("1.0", "1.1");
    assert_eq!((code, &same["worse"], &same["better"]), (0, &json!(0), &json!(0)), "{same:#}");
    let (code, worse) = by("1.0", "1.2");
    assert_eq!(code, 1);
    let of = |subject: &str, what: &str| {
        let all = worse["differences"].as_array().unwrap();
        all.iter().find(|one| one["subject"] == subject && one["what"] == what).unwrap()["judged"].clone()
    };
    assert_eq!(of("tool fetch", "error_rate"), "worse");
    assert_eq!(of("model gpt-4o", "p50_s"), "worse");
    assert_eq!(of("tool search", "p50_s"), "same");
    assert_eq!(by("1.2", "1.0").1["better"], worse["worse"]);

    // The same from two files.
    let file = |version: &str| {
        let path = dir.path().join(format!("{version}.json"));
        let filter = format!("{{ resource.service.version = \"{version}\" }}");
        let mut arguments = vec!["report", &filter, "--format", "json", "--output", path.to_str().unwrap()];
        arguments.extend(range);
        assert_eq!(ask(api, &arguments).0, 0);
        path
    };
    let (a, b) = (file("1.0"), file("1.2"));
    let (code, out, _) = ask(api, &["compare", a.to_str().unwrap(), b.to_str().unwrap()]);
    assert!(code == 1 && out.contains("WORSE"), "{out}");
    let (code, _, error) = ask(api, &["compare", "--a", "yesterday", "--b", "-1h..now"]);
    assert!(code == 2 && error.contains("\"yesterday\" is no window"), "{error}");
}

/// Feature: I1, I3
#[tokio::test]
async fn reports_are_written_as_tables_markdown_and_html_and_an_empty_store_has_one_too() {
    let (dir, server) = serve(&[runs(20, "1", 0, 1.0, |run| run == 3)]).await;
    let api = server.ready["api"].as_str().unwrap();
    let (since, until) = ((START - 1).to_string(), (START + 3_600 * SECOND).to_string());
    let range = ["--since", &since, "--until", &until];
    let mut arguments = vec!["report"];
    arguments.extend(range);
    let (code, table, _) = ask(api, &arguments);
    assert!(code == 0 && table.contains("planner") && table.contains("80 operations"), "{table}");
    arguments.extend(["--format", "md"]);
    let (_, markdown, _) = ask(api, &arguments);
    assert!(markdown.contains("| planner | 20 | 5.0 % |") && markdown.contains("## Cost"), "{markdown}");
    let path = dir.path().join("r.html");
    let mut arguments = vec!["report", "--format", "html", "--output", path.to_str().unwrap()];
    arguments.extend(range);
    assert_eq!(ask(api, &arguments).0, 0);
    let html = std::fs::read_to_string(path).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.matches("<svg").count() == 4, "{html}");
    // A window without anything.
    let (code, out, _) = ask(api, &["report", "--since", "-1h", "--format", "md"]);
    assert!(code == 0 && out.contains("0 operations"), "{out}");
    let (code, _, error) = ask(api, &["report", "--since", "now", "--until", "-1h"]);
    assert!(code == 2 && error.contains("expected a start before its end"), "{error}");
    let mut text = String::new();
    write!(text, "{:?}", ask(api, &["report", "--every", "1s", "--output-dir", "x"])).unwrap();
    assert!(text.contains("too often"), "{text}");
}

/// Feature: I1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_of_the_last_day_is_prepared_before_it_is_asked_for() {
    let dir = tempdir().unwrap();
    let mut settings = agentvitals_collector::server::Settings::new(dir.path());
    settings.store.segment_rows = 1_000;
    let server = agentvitals_collector::server::Server::start(settings).await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let span = |number: u128| {
        let start = now - 3_600_000_000_000 + number;
        json!({
            "traceId": format!("{:032x}", number / 8 + 1), "spanId": format!("{:016x}", number + 1), "name": "chat m",
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1_000_000).to_string(),
            "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}],
        })
    };
    let spans: Vec<Value> = (0..1_500).map(span).collect();
    let request = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).to_string();
    let addresses = server.addresses();
    let traces = format!("http://{}/v1/traces", addresses.otlp_http);
    assert_eq!(post(&traces, "application/json", None, request.into()).await.0, 200);
    let mut prepared = server.prepared();
    let all = prepared.wait_for(|rows| *rows >= 1_000);
    let rows = *tokio::time::timeout(std::time::Duration::from_secs(60), all)
        .await
        .expect("it is prepared")
        .unwrap();
    let metrics =
        reqwest::get(format!("http://{}/metrics", addresses.api)).await.unwrap().text().await.unwrap();
    let shown = metrics.lines().find_map(|line| line.strip_prefix("agentvitals_report_rows_prepared_total "));
    assert!(shown.unwrap().parse::<u64>().unwrap() >= rows);
    let report = reqwest::get(format!("http://{}/api/v1/report", addresses.api)).await.unwrap();
    let report: Value = serde_json::from_slice(&report.bytes().await.unwrap()).unwrap();
    assert_eq!((&report["totals"]["count"], &report["scanned"]), (&json!(1_500), &json!(1_500)));
    server.stop().await.unwrap();
}

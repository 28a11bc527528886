//! The demo from end to end: agents, model server, SDK, OTLP/gRPC, receiver, figures.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentvitals::testing::{Fault, OtlpReceiver, Signal, TreeOptions};
use agentvitals_collector::demo::{self, Options, Speed, Streaming, Summary};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(120);

async fn run(options: &Options) -> (Value, Summary) {
    let run = tokio::time::timeout(DEADLINE, demo::run(options, |_, _| {}));
    let summary = run.await.expect("the demo did not end in time").unwrap_or_else(|error| panic!("{error}"));
    (serde_json::to_value(&summary).unwrap(), summary)
}

fn fast() -> Options {
    let mut options = Options::default();
    options.speed = Speed::MAX;
    options
}

fn file(lines: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    file
}

async fn replay(lines: &str) -> (Value, Summary) {
    let file = file(lines);
    let mut options = fast();
    options.runs = Some(file.path().to_owned());
    run(&options).await
}

/// Feature: E5, A6, K9
/// Behaviour: P17, P18
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_built_in_runs_arrive_whole_and_verified() {
    let mut options = fast();
    for streaming in [Streaming::Auto, Streaming::Always, Streaming::Never] {
        options.streaming = streaming;
        let (document, summary) = run(&options).await;
        assert_eq!(summary.disagreements(), &[] as &[String], "{streaming:?}");
        assert_eq!(document["verified"], true);
        assert_eq!(document["runs"], 4);
        let spans = json!({"invoke_agent": 8, "chat": 26, "execute_tool": 11, "other": 4, "total": 49});
        assert_eq!(document["spans"], spans);
        assert_eq!(document["tokens"], json!({"input": 32_397, "output": 1_013, "cache_read": 14_948}));
        assert_eq!(document["errors"], json!({"chat": 3, "execute_tool": 2}));
        assert_eq!(document["outcomes"], json!({"success": 2, "failure": 1, "unknown": 1}));
        assert_eq!((&document["exported"], &document["lost"]), (&json!(49), &json!(0)));
        // The fine-tuned model has no known price, and neither has a call that reported no tokens.
        let fine_tuned = &document["per_model"]["ft:gpt-4.1-2025-04-14:example:support:Ab12Cd34"];
        assert_eq!((&fine_tuned["calls"], &fine_tuned["cost_usd"]), (&json!(4), &Value::Null));
        assert_eq!(document["cost_partial"], true);
        let bash = json!({"calls": 4, "errors": 1});
        assert_eq!(document["per_tool"]["bash"], bash);
        // gpt-4.1: 2 USD a million input tokens, 0.5 for cached ones, 8 for output; 8,114 in, 4,480 of them cached,
        // and 135 out.
        let cost = document["per_model"]["gpt-4.1"]["cost_usd"].as_f64().unwrap();
        let expected = (3_634.0 * 2.0 + 4_480.0 * 0.5 + 135.0 * 8.0) / 1e6;
        assert!((cost - expected).abs() < 1e-9, "{cost}, expected {expected}");
    }
}

/// What is asked of the store is what the figures say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_the_store_agree_with_the_figures_and_stay_in_a_directory_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = fast();
    options.data_dir = Some(dir.path().to_owned());
    // Twice into one directory: each demo counts its own.
    for _ in 0..2 {
        let (document, summary) = run(&options).await;
        assert_eq!(summary.disagreements(), &[] as &[String]);
        let asked = &document["asked"];
        let sum = |groups: &Value, field: &str| {
            groups.as_array().unwrap().iter().map(|group| group[field].as_u64().unwrap()).sum::<u64>()
        };
        assert_eq!(sum(&asked["per_agent"], "count"), 8);
        assert_eq!((sum(&asked["per_model"], "count"), sum(&asked["per_model"], "errors")), (26, 3));
        assert_eq!(sum(&asked["per_model"], "input_tokens"), 32_397);
        let cost = asked["per_model"].as_array().unwrap().iter().filter_map(|group| group["cost"].as_f64());
        assert!((cost.sum::<f64>() - document["cost_usd"].as_f64().unwrap()).abs() < 1e-9);
        let failed = asked["slowest_failed"].as_array().unwrap();
        assert_eq!((failed.len(), &failed[0]["attributes"]["agentvitals.outcome"]), (1, &json!("failure")));
        assert_eq!(asked["trace"].as_array().unwrap().len(), 14);
    }
    let settings = agentvitals_collector::server::Settings::new(dir.path());
    let server = agentvitals_collector::server::Server::start(settings).await.unwrap();
    let queries = server.queries();
    let all = queries.count(&Default::default(), &queries.control()).unwrap();
    assert_eq!(all.count, 2 * 49);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn it_works_on_one_thread_and_with_recorded_time() {
    let lines = r#"{"run_id":"r","agents":[{"name":"a"}],"outcome":{"success":true},"steps":[
        {"kind":"model_call","agent":"a","model":"gpt-4o","output_text":"Hi there.","prompt_tokens":9,"completion_tokens":3,"duration_ms":60},
        {"kind":"tool_call","agent":"a","tool":"t","duration_ms":40}]}"#;
    let file = file(&lines.replace('\n', ""));
    let mut options = Options::default();
    options.runs = Some(file.path().to_owned());
    options.speed = "2".parse().unwrap();
    options.concurrency = 1;
    let (document, summary) = run(&options).await;
    assert_eq!(summary.disagreements(), &[] as &[String]);
    assert_eq!(document["spans"]["total"], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_unlike_the_recorded_ones_arrive_whole() {
    let lines = [
        // Nothing happens; nobody is there; agents that never act.
        r#"{"run_id":"empty","agents":[],"outcome":null,"steps":[]}"#,
        r#"{"run_id":"idle","agents":[{"name":"a"},{"name":"b"}],"outcome":{"success":false},"steps":[]}"#,
        // No model calls; the same tool name with two agents; names in other scripts.
        r#"{"run_id":"läuft 🏃","agents":[{"name":"агент"},{"name":"代理","model":"gpt-4o"}],"outcome":{"success":true},"steps":[
            {"kind":"tool_call","agent":"代理","tool":"搜索","error":false},
            {"kind":"tool_call","agent":"агент","tool":"搜索","error":true},
            {"kind":"tool_call","agent":"агент","tool":"搜索","error":{"type":"timeout"}}]}"#,
        // No usage at all; errors without an answer; usage of 0 is not the same as none; one half of it.
        r#"{"run_id":"usage","agents":[{"name":"a"}],"outcome":{"success":null},"steps":[
            {"kind":"model_call","agent":"a","model":"nobody/knows-it","output_text":"Hm."},
            {"kind":"model_call","agent":"a","model":"gpt-4o","error":{"type":"api_error","message":"down"}},
            {"kind":"model_call","agent":"a","model":"gpt-4o","error":{"type":"rate_limit_error"}},
            {"kind":"model_call","agent":"a","model":"gpt-4o","prompt_tokens":0,"completion_tokens":0,"output_text":""},
            {"kind":"model_call","agent":"a","model":"gpt-4o","completion_tokens":7,"output_text":"x"}]}"#,
        // Many agents, in turns.
        r#"{"run_id":"many","agents":[{"name":"p"},{"name":"q"},{"name":"r"},{"name":"s"}],"outcome":{"success":true},"steps":[
            {"kind":"model_call","agent":"s","model":"claude-sonnet-4-5","output_text":"1","prompt_tokens":10,"completion_tokens":1},
            {"kind":"model_call","agent":"p","model":"claude-sonnet-4-5","output_text":"2","prompt_tokens":10,"completion_tokens":1},
            {"kind":"model_call","agent":"r","model":"claude-sonnet-4-5","output_text":"3","prompt_tokens":10,"completion_tokens":1},
            {"kind":"model_call","agent":"s","model":"claude-sonnet-4-5","output_text":"4","prompt_tokens":10,"completion_tokens":1},
            {"kind":"model_call","agent":"p","model":"claude-sonnet-4-5","output_text":"5","prompt_tokens":10,"completion_tokens":1}]}"#,
    ];
    let lines: Vec<_> = lines.iter().map(|line| line.replace('\n', "")).collect();
    let (document, summary) = replay(&lines.join("\n")).await;
    assert_eq!(summary.disagreements(), &[] as &[String]);
    assert_eq!(document["runs"], 5);
    let spans = json!({"invoke_agent": 9, "chat": 10, "execute_tool": 3, "other": 5, "total": 27});
    assert_eq!(document["spans"], spans);
    assert_eq!(document["outcomes"], json!({"success": 2, "failure": 1, "unknown": 2}));
    assert_eq!(document["errors"], json!({"chat": 2, "execute_tool": 2}));
    assert_eq!(document["per_tool"]["搜索"], json!({"calls": 3, "errors": 2}));
    assert_eq!(document["tokens"]["input"], 50);
    assert_eq!(document["tokens"]["output"], 12);
    assert_eq!(document["per_model"]["nobody/knows-it"]["cost_usd"], Value::Null);
    assert_eq!(document["cost_partial"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs_at_a_time_lose_nothing() {
    let lines: Vec<_> = (0..500)
        .map(|n| {
            let call = r#"{"kind":"model_call","agent":"a","model":"gpt-4o","output_text":"Hi","prompt_tokens":11,"completion_tokens":2}"#;
            let tool = r#"{"kind":"tool_call","agent":"a","tool":"t"}"#;
            let steps = [call, tool].repeat(4).join(",");
            format!(r#"{{"run_id":"r{n}","agents":[{{"name":"a"}}],"outcome":{{"success":true}},"steps":[{steps}]}}"#)
        })
        .collect();
    let file = file(&lines.join("\n"));
    let mut options = fast();
    options.runs = Some(file.path().to_owned());
    options.concurrency = 64;
    let (document, summary) = run(&options).await;
    assert_eq!(summary.disagreements(), &[] as &[String]);
    assert_eq!(document["spans"]["total"], 500 * 10);
    assert_eq!(document["tokens"]["input"], 500 * 4 * 11);
}

/// Feature: K9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_endpoint_gets_everything_and_is_not_called_verified() {
    let receiver = OtlpReceiver::start().unwrap();
    let mut options = fast();
    options.endpoint = Some(receiver.endpoint());
    let (document, summary) = run(&options).await;
    assert_eq!(summary.verified(), None);
    assert_eq!(document["verified"], Value::Null);
    assert_eq!((&document["exported"], &document["lost"]), (&json!(49), &json!(0)));
    assert_eq!(receiver.spans().len(), 49);
    // The agents' own account says what the endpoint can say, too.
    let (received, _) = run(&fast()).await;
    for figure in
        ["runs", "spans", "tokens", "errors", "outcomes", "per_tool", "per_model", "cost_usd", "cost_partial"]
    {
        assert_eq!(document[figure], received[figure], "{figure}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_takes_no_metrics_is_a_warning_and_no_failure() {
    let receiver = OtlpReceiver::start().unwrap();
    receiver.fail_next_of(Signal::Metrics, usize::MAX, Fault::InvalidArgument);
    let mut options = fast();
    options.endpoint = Some(receiver.endpoint());
    let (document, summary) = run(&options).await;
    assert_eq!((&document["exported"], &document["verified"]), (&json!(49), &Value::Null));
    assert!(summary.warnings().iter().any(|warning| warning.contains("metrics")), "{:?}", summary.warnings());
}

/// Behaviour: P2, P33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_no_endpoint_takes_are_lost_and_counted() {
    // A port that was free a moment ago.
    let address = OtlpReceiver::start().unwrap().address();
    let mut options = fast();
    options.endpoint = Some(format!("http://{address}"));
    let (document, summary) = run(&options).await;
    assert_eq!((summary.lost(), &document["exported"]), (49, &json!(0)));
    assert_ne!(summary.verified(), Some(true));
}

#[tokio::test]
async fn wrong_input_is_refused_before_anything_runs() {
    let mut options = fast();
    options.runs = Some(PathBuf::from("/no/such/file.jsonl"));
    let error = demo::run(&options, |_, _| {}).await.unwrap_err();
    assert!(error.is_input() && error.to_string().contains("/no/such/file.jsonl"), "{error}");

    options.runs = None;
    for endpoint in ["", "127.0.0.1:4317", "ftp://127.0.0.1", "http://"] {
        options.endpoint = Some(endpoint.to_owned());
        let error = demo::run(&options, |_, _| {}).await.unwrap_err();
        assert!(error.is_input(), "{endpoint:?}: {error}");
    }

    options.endpoint = None;
    options.concurrency = 0;
    assert!(demo::run(&options, |_, _| {}).await.unwrap_err().is_input());
}

/// The recorded runs are not part of the project: `AGENTVITALS_RUNS` names a file of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_runs_have_the_totals_that_were_recorded() {
    let Some(path) = std::env::var_os("AGENTVITALS_RUNS").filter(|path| !path.is_empty()) else {
        eprintln!("SKIPPED: AGENTVITALS_RUNS names no file of recorded runs");
        return;
    };
    let mut options = fast();
    options.runs = Some(PathBuf::from(&path));
    let (document, summary) = run(&options).await;
    assert_eq!(summary.disagreements(), &[] as &[String]);
    let expected = Expected::of(Path::new(&path));
    assert_eq!(document["runs"], 80);
    let spans = &document["spans"];
    assert_eq!((&spans["chat"], &spans["execute_tool"]), (&json!(2_305), &json!(1_480)));
    assert_eq!((&spans["invoke_agent"], &spans["other"]), (&json!(expected.agents), &json!(80)));
    assert_eq!(document["errors"], json!({"chat": 28, "execute_tool": 68}));
    assert_eq!(document["tokens"]["input"], 17_618_230);
    assert_eq!(document["tokens"]["output"], 322_927);
    assert_eq!(document["tokens"]["cache_read"], expected.cached);
    assert_eq!(document["outcomes"], json!({"success": 39, "failure": 41, "unknown": 0}));
    assert_eq!(document["per_tool"].as_object().unwrap().len(), 57);
    let unknown: Vec<_> = document["per_model"].as_object().unwrap().iter().collect();
    let unknown: Vec<_> = unknown.iter().filter(|(_, model)| model["cost_usd"].is_null()).collect();
    assert!(unknown.iter().all(|(name, _)| name.starts_with("ft:")), "{unknown:?}");
    assert_eq!((unknown.len(), &document["cost_partial"]), (1, &json!(true)));
}

/// What the file itself says, read without the code under test.
struct Expected {
    agents: usize,
    cached: u64,
}

impl Expected {
    fn of(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let runs = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut expected = Self { agents: 0, cached: 0 };
        for run in runs {
            let steps = run["steps"].as_array().unwrap();
            let acting: std::collections::BTreeSet<_> =
                steps.iter().map(|step| step["agent"].as_str()).collect();
            expected.agents += acting.len();
            expected.cached += steps.iter().filter_map(|step| step["cached_tokens"].as_u64()).sum::<u64>();
        }
        expected
    }
}

/// Feature: A1, L1
/// Behaviour: P7, P19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_one_trace_of_its_agents_with_their_calls() {
    let lines = r#"{"run_id":"r","agents":[{"name":"a","model":"gpt-4o"},{"name":"b"}],"outcome":{"success":false},"steps":[
        {"kind":"model_call","agent":"b","model":"gpt-4o","output_text":"Hello, I have a question.","response_id":"c1","response_model":"gpt-4o-2024-08-06","finish_reason":"stop","prompt_tokens":9,"completion_tokens":3},
        {"kind":"model_call","agent":"a","model":"gpt-4o","output_text":null,"tool_calls":[{"id":"t1","name":"find","arguments":{"q":"x"}}],"finish_reason":"tool_calls","prompt_tokens":20,"completion_tokens":5},
        {"kind":"tool_call","agent":"a","tool":"find","call_id":"t1","arguments":{"q":"x"},"result":"nothing","error":true},
        {"kind":"model_call","agent":"b","model":"gpt-4o","output_text":"?","prompt_tokens":30,"completion_tokens":1,"error":{"type":"format_error","message":"no sentence"}},
        {"kind":"model_call","agent":"a","model":"gpt-4o","error":{"type":"rate_limit_error","message":"slow down"}}]}"#;
    let file = file(&lines.replace('\n', ""));
    let receiver = OtlpReceiver::start().unwrap();
    let mut options = fast();
    options.runs = Some(file.path().to_owned());
    options.endpoint = Some(receiver.endpoint());
    run(&options).await;

    let spans = receiver.spans();
    let expected = "\
agent_run [internal] agentvitals.outcome=failure
  invoke_agent a [internal] agentvitals.outcome=failure
    chat gpt-4o [client]
    execute_tool find [internal] ERROR error.type=tool_error
    chat gpt-4o [client] ERROR error.type=rate_limit_error
  invoke_agent b [internal]
    chat gpt-4o [client]
    chat gpt-4o [client] ERROR error.type=format_error
";
    assert_eq!(TreeOptions::new().attribute("agentvitals.outcome").render(&spans), expected);
    let conversations = spans.iter().filter(|span| span.str("gen_ai.conversation.id") == Some("r"));
    assert_eq!(conversations.count(), spans.len());

    let streamed = spans.iter().find(|span| span.str("gen_ai.response.id") == Some("c1")).unwrap();
    assert_eq!(streamed.str("gen_ai.provider.name"), Some("openai"));
    assert_eq!(streamed.str("gen_ai.response.model"), Some("gpt-4o-2024-08-06"));
    assert_eq!(streamed.attr("gen_ai.response.finish_reasons"), Some(&json!(["stop"])));
    assert_eq!(streamed.bool("gen_ai.request.stream"), Some(true));
    assert!(streamed.float("gen_ai.response.time_to_first_chunk").is_some_and(|seconds| seconds > 0.0));
    assert_eq!(streamed.int("gen_ai.usage.input_tokens"), Some(9));
    assert_eq!(streamed.attr("gen_ai.usage.cache_read.input_tokens"), None, "not recorded is not 0");

    let tool = spans.iter().find(|span| span.name == "execute_tool find").unwrap();
    assert_eq!(tool.str("gen_ai.tool.call.id"), Some("t1"));
    assert_eq!(tool.attr("agentvitals.tool.input.size"), Some(&json!(9)));
    assert_eq!(tool.int("agentvitals.tool.output.size"), Some(7));
    let refused = spans.iter().find(|span| span.str("error.type") == Some("rate_limit_error")).unwrap();
    assert_eq!(refused.attr("gen_ai.usage.input_tokens"), None);
    // Content stays where it is unless it is asked for.
    assert!(!format!("{spans:?}").contains("I have a question"));
}

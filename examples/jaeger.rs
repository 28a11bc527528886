//! To Jaeger, and back: sends traces, then asks Jaeger's query API for them by attribute, by error and by duration.
//!
//! Start Jaeger (`jaeger` or the image `jaegertracing/jaeger`), then `cargo run --example jaeger`. It exports to
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (default `http://localhost:4317`) and asks `JAEGER_QUERY_URL` (default
//! `http://127.0.0.1:16686`). Ends with an error unless Jaeger finds exactly the right traces. Its store must be one on
//! disk: in memory, Jaeger 1.76 finds nothing by `error=true`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeSet;
use std::time::Duration;

use agentvitals::opentelemetry::trace::TraceContextExt as _;
use agentvitals::tracing_opentelemetry::OpenTelemetrySpanExt as _;
use agentvitals::{Config, ExporterKind, RecordOperation as _};
use serde_json::{Value, json};
use tracing::{Instrument as _, Span, instrument};

type Failure = Box<dyn std::error::Error>;

/// An agent with a model call and a tool. Sleeps stand for both. Gives the id of its trace.
async fn run(agent: &'static str, tool_time: Duration, fails: bool) -> String {
    let span = agentvitals::agent_span!(agent);
    let trace_id = span.context().span().span_context().trace_id().to_string();
    async move {
        let chat = agentvitals::model_span!("chat", "openai", "gpt-4o");
        tokio::time::sleep(Duration::from_millis(2)).instrument(chat).await;
        if let Err(error) = search(tool_time, fails).await {
            Span::current().record_error(&error);
        }
    }
    .instrument(span)
    .await;
    trace_id
}

#[instrument(skip_all, err, fields(gen_ai.operation.name = "execute_tool", gen_ai.tool.name = "search"))]
async fn search(time: Duration, fails: bool) -> Result<(), std::io::Error> {
    tokio::time::sleep(time).await;
    if fails { Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "the index timed out")) } else { Ok(()) }
}

/// Asks until Jaeger has what is `expected`; more than that is an error.
async fn find(service: &str, what: &[(&str, String)], expected: &[&str]) -> Result<Vec<Value>, Failure> {
    let base = std::env::var("JAEGER_QUERY_URL").unwrap_or_else(|_| "http://127.0.0.1:16686".to_owned());
    let wanted: BTreeSet<String> = expected.iter().map(|&id| id.to_owned()).collect();
    for attempt in 1.. {
        let mut url = reqwest::Url::parse(&format!("{base}/api/traces"))?;
        url.query_pairs_mut()
            .extend_pairs([("service", service), ("lookback", "1h"), ("limit", "100")])
            .extend_pairs(what);
        let answer: Value =
            serde_json::from_str(&reqwest::get(url).await?.error_for_status()?.text().await?)?;
        let traces = answer["data"].as_array().cloned().unwrap_or_default();
        let found = traces.iter().filter_map(|trace| trace["traceID"].as_str().map(str::to_owned)).collect();
        println!("{what:?}: {} of {} traces", traces.len(), wanted.len());
        if wanted == found && traces.iter().all(|trace| spans(trace).len() == 3) {
            return Ok(traces);
        }
        if attempt == 20 || !wanted.is_superset(&found) {
            return Err(format!("Jaeger found {found:?} for {what:?}, wanted {wanted:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    unreachable!()
}

fn spans(trace: &Value) -> &[Value] {
    trace["spans"].as_array().map_or(&[], Vec::as_slice)
}

fn tag<'a>(span: &'a Value, key: &str) -> &'a Value {
    let tags = span["tags"].as_array().map_or(&[][..], Vec::as_slice);
    tags.iter().find(|tag| tag["key"] == key).map_or(&Value::Null, |tag| &tag["value"])
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // A service of its own for each run, so that nothing of an earlier one is found.
    let service = format!("jaeger-example-{}", std::process::id());
    // Jaeger takes traces only.
    let config = Config::from_env()?.with_exporters(ExporterKind::Otlp, ExporterKind::None);
    let vitals = agentvitals::builder()
        .config(config)
        .service_name(service.clone())
        .sampler(agentvitals::SamplerConfig::always_on())
        .install()?;
    let quick = run("planner", Duration::from_millis(2), false).await;
    let failed = run("planner", Duration::from_millis(2), true).await;
    let slow = run("researcher", Duration::from_millis(400), false).await;
    println!("{}", vitals.shutdown().await?);

    let by_tags = |tags: Value| [("tags", tags.to_string())];
    find(&service, &by_tags(json!({"gen_ai.agent.name": "planner"})), &[&quick, &failed]).await?;
    find(&service, &by_tags(json!({"gen_ai.agent.name": "researcher"})), &[&slow]).await?;
    find(&service, &by_tags(json!({"gen_ai.agent.name": "nobody"})), &[]).await?;
    find(&service, &[("minDuration", "300ms".to_owned())], &[&slow]).await?;
    let found = find(&service, &by_tags(json!({"error": "true"})), &[&failed]).await?;

    // The failed trace: the agent above its model call and its tool, the error on the agent and on the tool.
    let spans = spans(&found[0]);
    let describe = |span: &Value| {
        let parent = spans.iter().find(|other| other["spanID"] == span["references"][0]["spanID"]);
        let parent = parent.map_or(&Value::Null, |parent| &parent["operationName"]);
        let [kind, error, class] = ["span.kind", "error", "error.type"].map(|key| tag(span, key));
        format!("{} below {parent}: {kind}, error {error} {class}", span["operationName"])
    };
    let mut described: Vec<String> = spans.iter().map(describe).collect();
    described.sort();
    println!("{described:#?}");
    let expected = [
        r#""chat gpt-4o" below "invoke_agent planner": "client", error null null"#,
        r#""execute_tool search" below "invoke_agent planner": "internal", error true "timeout""#,
        r#""invoke_agent planner" below null: "internal", error true "timeout""#,
    ];
    if described == expected { Ok(()) } else { Err("not as sent".into()) }
}

//! The same steps as a recording of OpenTelemetry's own instrumentation for Python, and the same telemetry.
//!
//! The recording is a file of OTLP/JSON lines (spans and metrics) that `AGENTVITALS_GOLDEN` names: an agent in a
//! workflow that asks a model, runs a tool and asks again; a streamed answer; a plain one; one refused with 429.

#![cfg(feature = "otlp-grpc")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use agentvitals::testing::{OtlpReceiver, PointKind, ReceivedPoint, ReceivedSpan};
use agentvitals::{
    ContentCapture, Histograms, InOperation as _, RecordOperation as _, Response, StreamExt as _, Usage,
};
use futures_util::StreamExt as _;
use serde_json::Value;
use tracing::Span;
use tracing_subscriber::layer::SubscriberExt as _;

/// Shows what must be seen even if the test passes: the test harness keeps what the print macros write.
fn show(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// Our own, which the recording cannot have.
const OURS: [&str; 2] = ["agentvitals.", "gen_ai.usage.cost."];
/// Differs from run to run.
const MEASURED: [&str; 1] = ["gen_ai.response.time_to_first_chunk"];

type Attributes = BTreeMap<String, Value>;

/// A span without ids and times.
#[derive(Debug, Clone, PartialEq)]
struct Shape {
    /// Names from the root to the span.
    path: Vec<String>,
    kind: String,
    status: (String, String),
    attributes: Attributes,
}

/// One series of a histogram without what is measured.
#[derive(Debug, Clone, PartialEq)]
struct Series {
    name: String,
    unit: String,
    bounds: Vec<f64>,
    attributes: Attributes,
    count: u64,
    temporality: String,
}

struct Golden {
    spans: Vec<Shape>,
    series: Vec<Series>,
}

impl Golden {
    fn read(text: &str) -> Self {
        let lines: Vec<Value> = text
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let mut spans: Vec<&Value> = lines.iter().filter(|line| line["spanId"].is_string()).collect();
        spans.sort_by_key(|span| number(&span["startTimeUnixNano"]));
        let series =
            lines.iter().filter(|line| line["histogram"].is_object()).flat_map(golden_series).collect();
        Self { spans: spans.iter().map(|span| golden_shape(span, &spans)).collect(), series }
    }

    /// What the recording has on its `index`th span.
    fn text(&self, index: usize, key: &str) -> &str {
        self.spans[index].attributes[key].as_str().unwrap()
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap()
}

fn golden_value(value: &Value) -> Value {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "intValue" => number(value).into(),
        "arrayValue" => value["values"].as_array().unwrap().iter().map(golden_value).collect(),
        _ => value.clone(),
    }
}

fn golden_attributes(of: &Value) -> Attributes {
    let pairs = of["attributes"].as_array().unwrap().iter();
    pairs.map(|pair| (pair["key"].as_str().unwrap().to_owned(), golden_value(&pair["value"]))).collect()
}

fn golden_shape(span: &Value, all: &[&Value]) -> Shape {
    let mut path = vec![span["name"].as_str().unwrap().to_owned()];
    let mut at = span;
    while let Some(parent) = all.iter().find(|other| other["spanId"] == at["parentSpanId"]) {
        path.insert(0, parent["name"].as_str().unwrap().to_owned());
        at = parent;
    }
    let kind = match number(&span["kind"]) {
        1 => "internal",
        3 => "client",
        other => panic!("kind {other}"),
    };
    let status = match number(&span["status"]["code"]) {
        0 => "unset",
        2 => "error",
        other => panic!("status {other}"),
    };
    Shape {
        path,
        kind: kind.to_owned(),
        status: (status.to_owned(), span["status"]["message"].as_str().unwrap().to_owned()),
        attributes: golden_attributes(span),
    }
}

fn golden_series(metric: &Value) -> Vec<Series> {
    assert_eq!(number(&metric["histogram"]["aggregationTemporality"]), 2, "cumulative");
    let points = metric["histogram"]["dataPoints"].as_array().unwrap().iter();
    points
        .map(|point| Series {
            name: metric["name"].as_str().unwrap().to_owned(),
            unit: metric["unit"].as_str().unwrap().to_owned(),
            bounds: point["explicitBounds"].as_array().unwrap().iter().map(|b| b.as_f64().unwrap()).collect(),
            attributes: golden_attributes(point),
            count: number(&point["count"]),
            temporality: "cumulative".to_owned(),
        })
        .collect()
}

fn our_shape(span: &ReceivedSpan, all: &[ReceivedSpan]) -> Shape {
    let mut path = vec![span.name.clone()];
    let mut at = span;
    while let Some(parent) = all.iter().find(|other| Some(&other.span_id) == at.parent_span_id.as_ref()) {
        assert_eq!(parent.trace_id, at.trace_id);
        path.insert(0, parent.name.clone());
        at = parent;
    }
    let ours = |key: &str| OURS.iter().any(|prefix| key.starts_with(prefix));
    Shape {
        path,
        kind: span.kind.clone(),
        status: (span.status_code.clone(), span.status_message.clone()),
        attributes: span
            .attributes
            .iter()
            .filter(|(key, _)| !ours(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    }
}

fn our_series(point: &ReceivedPoint) -> Option<Series> {
    let PointKind::Histogram { count, bounds, .. } = &point.kind else { return None };
    Some(Series {
        name: point.name.clone(),
        unit: point.unit.clone(),
        bounds: bounds.clone(),
        attributes: point.attributes.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        count: *count,
        temporality: point.temporality.clone(),
    })
}

/// A model call of the recording; `index` is that of the recorded span, whose messages it has.
fn call(golden: &Golden, index: usize) -> Span {
    let span = agentvitals::model_span!(
        "chat",
        "openai",
        "gpt-4o-mini",
        server.address = "127.0.0.1",
        server.port = 8_290
    );
    span.record_input_messages(golden.text(index, "gen_ai.input.messages"));
    span
}

fn answer(golden: &Golden, index: usize, finish_reason: &str, usage: Usage) {
    let span = Span::current();
    span.record_usage(usage);
    span.record_output_messages(golden.text(index, "gen_ai.output.messages"));
    let id = golden.text(index, "gen_ai.response.id");
    span.record_response(&Response::new().id(id).model("gpt-4o-mini").finish_reason(finish_reason));
}

async fn agent(golden: &Golden) {
    let definitions = golden.text(2, "gen_ai.tool.definitions");
    let first = call(golden, 2);
    first.record("gen_ai.tool.definitions", definitions);
    async { answer(golden, 2, "tool_calls", Usage::new(8, 5)) }.in_operation(first).await;
    let tool = agentvitals::tool_span!("get_weather", gen_ai.tool.type = "function");
    tool.record_tool_input(golden.text(3, "gen_ai.tool.call.arguments"));
    tool.record_tool_output(golden.text(3, "gen_ai.tool.call.result"));
    async {}.in_operation(tool).await;
    let second = call(golden, 4);
    second.record("gen_ai.tool.definitions", definitions);
    async { answer(golden, 4, "stop", Usage::new(12, 13)) }.in_operation(second).await;
}

async fn the_steps(golden: &Golden) {
    // The span of the agent is made inside of the workflow: a span's parent is the one that it is made in.
    let workflow = async { agent(golden).in_operation(agentvitals::agent_span!("Weather")).await };
    workflow.in_operation(agentvitals::workflow_span!("Agent workflow")).await;
    let chunks = futures_util::stream::iter(0..10).map(|chunk| {
        if chunk == 0 {
            // Every chunk of the provider names the model; the times between chunks are measured by it.
            Span::current().record_response(&Response::new().model("gpt-4o-mini"));
        }
        if chunk == 9 {
            answer(golden, 5, "stop", Usage::new(3, 13));
        }
    });
    chunks.in_model_call(call(golden, 5)).collect::<Vec<_>>().await;
    async { answer(golden, 6, "stop", Usage::new(1, 16)) }.in_operation(call(golden, 6)).await;
    let refused = async {
        let error = std::io::Error::other("Error code: 429 - Rate limit exceeded.");
        Span::current().record_error(&error);
        // A client of one's own may know better than the class that the message shows.
        Span::current().record_error_type("openai.RateLimitError");
    };
    refused.in_operation(call(golden, 7)).await;
}

/// Feature: A1, A2, A3, A4, A5, A7, C1, K7, L1
#[tokio::test]
async fn the_same_steps_give_the_telemetry_of_the_official_instrumentation() {
    let Some(path) = std::env::var_os("AGENTVITALS_GOLDEN") else {
        show(
            "SKIPPED the_same_steps_give_the_telemetry_of_the_official_instrumentation: set AGENTVITALS_GOLDEN to a \
             recording of it",
        );
        return;
    };
    let golden = Golden::read(&std::fs::read_to_string(path).unwrap());
    assert_eq!(
        (golden.spans.len(), golden.series.len()),
        (8, 9),
        "another recording than the one of these steps"
    );

    let receiver = OtlpReceiver::start().unwrap();
    let vitals = agentvitals::builder()
        .config(agentvitals::Config::default())
        .service_name("golden")
        .endpoint(receiver.endpoint())
        .histograms(Histograms::Explicit)
        .content(ContentCapture::SpanAttributes)
        .build()
        .unwrap();
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(vitals.layer()));
    the_steps(&golden).await;
    drop(guard);
    let report = vitals.shutdown_within(Duration::from_secs(10)).await.unwrap();
    assert!(report.is_complete(), "{report}");

    let differences: Vec<String> = compare_spans(&golden, receiver.spans())
        .into_iter()
        .chain(compare_series(&golden, &receiver.metrics()))
        .collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    show(&format!(
        "AGENTVITALS_GOLDEN: {} spans and {} series are as recorded",
        golden.spans.len(),
        golden.series.len()
    ));
}

fn compare_spans(golden: &Golden, mut received: Vec<ReceivedSpan>) -> Vec<String> {
    received.sort_by_key(|span| span.start_unix_nano);
    let ours: Vec<Shape> = received.iter().map(|span| our_shape(span, &received)).collect();
    let mut differences = Vec::new();
    let names = |shapes: &[Shape]| shapes.iter().map(|shape| shape.path.join(" > ")).collect::<Vec<_>>();
    if names(&golden.spans) != names(&ours) {
        return vec![format!("tree: {:#?}, recorded {:#?}", names(&ours), names(&golden.spans))];
    }
    for (theirs, ours) in golden.spans.iter().zip(&ours) {
        let name = theirs.path.join(" > ");
        if (&theirs.kind, &theirs.status) != (&ours.kind, &ours.status) {
            differences.push(format!(
                "{name}: {} {:?}, recorded {} {:?}",
                ours.kind, ours.status, theirs.kind, theirs.status
            ));
        }
        for key in theirs
            .attributes
            .keys()
            .chain(ours.attributes.keys().filter(|key| !theirs.attributes.contains_key(*key)))
        {
            let (theirs, ours) = (theirs.attributes.get(key), ours.attributes.get(key));
            let same = match (theirs, ours) {
                (Some(Value::Number(theirs)), Some(Value::Number(ours)))
                    if MEASURED.contains(&key.as_str()) =>
                {
                    theirs.is_f64() == ours.is_f64()
                }
                _ => theirs == ours,
            };
            if !same {
                differences.push(format!("{name}: {key} is {ours:?}, recorded {theirs:?}"));
            }
        }
    }
    differences
}

/// The agent's name is on the durations of tools, as the conventions want it, and on the metrics of model calls, as health needs
/// it; the recorded instrumentation does not know it.
fn without_known_addition(mut series: Series) -> Series {
    if series.name == "gen_ai.execute_tool.duration" || series.name.starts_with("gen_ai.client.") {
        series.attributes.remove("gen_ai.agent.name");
    }
    series
}

/// Series that differ in nothing any more are one.
fn together(all: Vec<Series>) -> Vec<Series> {
    let mut merged: Vec<Series> = Vec::new();
    for series in all {
        let same = |known: &&mut Series| known.name == series.name && known.attributes == series.attributes;
        match merged.iter_mut().find(same) {
            Some(known) => known.count += series.count,
            None => merged.push(series),
        }
    }
    merged
}

fn compare_series(golden: &Golden, received: &[ReceivedPoint]) -> Vec<String> {
    let ours = together(received.iter().filter_map(our_series).map(without_known_addition).collect());
    let mut differences = Vec::new();
    for theirs in &golden.series {
        let same_name = || ours.iter().filter(|ours| ours.name == theirs.name);
        if !same_name().any(|ours| ours == theirs) {
            differences.push(format!("{theirs:?}\n  is none of {:#?}", same_name().collect::<Vec<_>>()));
        }
    }
    // And no series of these names that is not recorded.
    for ours in &ours {
        let of_this_name: Vec<&Series> =
            golden.series.iter().filter(|theirs| theirs.name == ours.name).collect();
        if !of_this_name.is_empty() && !of_this_name.contains(&ours) {
            differences.push(format!("{ours:?} was not recorded"));
        }
    }
    differences
}

//! What the exporter makes of spans, whoever wrote them: names, kinds, status, cost, sums, redaction.
#![allow(
    clippy::unwrap_used,
    clippy::type_complexity,
    clippy::redundant_clone,
    reason = "helpers of tests may unwrap, tables have many columns and like rows"
)]

mod export_support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentvitals::export::{CostOf, CostOutcome, PipelineParts, REDACTION_FAILED};
use agentvitals::{Config, ContentCapture, Limits};
use export_support::{config, start};
use opentelemetry::trace::{
    Event, Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Array, Context, KeyValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SpanData, SpanExporter};

#[derive(Debug, Clone, Default)]
struct Collected(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collected {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// What is exported of the spans that `make` ends.
fn exported(config: &Config, parts: PipelineParts, make: impl FnOnce(&SdkTracer)) -> Vec<SpanData> {
    let collected = Collected::default();
    let (pipeline, _provider, tracer) = start(config, parts.with_span_exporter(collected.clone()));
    make(&tracer);
    let report = pipeline.shutdown_blocking(Duration::from_secs(10)).unwrap();
    assert!(report.is_complete(), "{report}");
    std::mem::take(&mut *collected.0.lock().unwrap())
}

fn default() -> Config {
    config("http://127.0.0.1:1")
}

fn one(builder: SpanBuilder) -> SpanData {
    exported(&default(), PipelineParts::new(), |tracer| drop(tracer.build(builder))).remove(0)
}

fn attributes(pairs: &[(&'static str, &'static str)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect()
}

fn get<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    let mut found = span.attributes.iter().filter(|attribute| attribute.key.as_str() == key);
    let value = found.next().map(|attribute| &attribute.value);
    assert!(found.next().is_none(), "{key} is there twice");
    value
}

const MODEL: (&str, &str) = ("gen_ai.request.model", "gpt-4o");
const AGENT: (&str, &str) = ("gen_ai.agent.name", "planner");
const TOOL: (&str, &str) = ("gen_ai.tool.name", "search");

/// Feature: L1
#[test]
fn names_and_kinds_follow_the_conventions() {
    let op = |name| ("gen_ai.operation.name", name);
    let (client, internal) = (SpanKind::Client, SpanKind::Internal);
    let list = ("mcp.method.name", "tools/list");
    let call = ("mcp.method.name", "tools/call");
    let rows: Vec<(Vec<(&str, &str)>, SpanKind, &str, SpanKind)> = vec![
        (vec![op("chat"), MODEL, AGENT], internal.clone(), "chat gpt-4o", client.clone()),
        (vec![op("chat"), MODEL], SpanKind::Producer, "chat gpt-4o", SpanKind::Producer),
        (vec![op("generate_content"), MODEL], internal.clone(), "generate_content gpt-4o", client.clone()),
        (vec![op("text_completion"), MODEL], internal.clone(), "text_completion gpt-4o", client.clone()),
        (vec![op("embeddings"), MODEL], internal.clone(), "embeddings gpt-4o", client.clone()),
        (vec![op("chat")], internal.clone(), "chat", client.clone()),
        (
            vec![op("retrieval"), ("gen_ai.data_source.id", "docs"), MODEL],
            internal.clone(),
            "retrieval docs",
            client.clone(),
        ),
        (vec![op("fetch_response"), MODEL], internal.clone(), "fetch_response", client.clone()),
        (vec![op("search_memory"), AGENT], internal.clone(), "search_memory", client.clone()),
        (vec![op("create_agent"), AGENT], internal.clone(), "create_agent planner", client.clone()),
        (vec![op("invoke_agent"), AGENT, MODEL], internal.clone(), "invoke_agent planner", internal.clone()),
        (vec![op("invoke_agent"), AGENT], client.clone(), "invoke_agent planner", client.clone()),
        (vec![op("invoke_agent"), MODEL], internal.clone(), "invoke_agent", internal.clone()),
        (vec![op("execute_tool"), TOOL], internal.clone(), "execute_tool search", internal.clone()),
        (
            vec![op("invoke_workflow"), ("gen_ai.workflow.name", "crew")],
            internal.clone(),
            "invoke_workflow crew",
            internal.clone(),
        ),
        (vec![op("plan"), AGENT], internal.clone(), "plan planner", internal.clone()),
        (vec![op("rerank"), MODEL], internal.clone(), "rerank gpt-4o", internal.clone()),
        (vec![list], internal.clone(), "tools/list", client.clone()),
        (vec![call, TOOL], SpanKind::Server, "tools/call search", SpanKind::Server),
        (vec![call, ("gen_ai.prompt.name", "greet")], client.clone(), "tools/call greet", client.clone()),
        (vec![op("execute_tool"), call, TOOL], client.clone(), "tools/call search", client.clone()),
        (vec![op("execute_tool"), call, TOOL], internal.clone(), "execute_tool search", internal.clone()),
        (vec![MODEL, TOOL], internal.clone(), "as it was", internal),
    ];
    for (pairs, kind, name, expected) in rows {
        let span =
            one(SpanBuilder::from_name("as it was").with_kind(kind).with_attributes(attributes(&pairs)));
        assert_eq!((&*span.name, span.span_kind), (name, expected), "{pairs:?}");
    }
}

fn with_status(
    status: Status,
    pairs: &[(&'static str, &'static str)],
    exception: Option<&'static str>,
) -> SpanData {
    exported(&default(), PipelineParts::new(), |tracer| {
        let span = tracer.build(SpanBuilder::from_name("x").with_attributes(attributes(pairs)));
        let context = Context::new().with_span(span);
        if let Some(message) = exception {
            context.span().add_event("exception", vec![KeyValue::new("exception.message", message)]);
        }
        context.span().set_status(status);
        context.span().end();
    })
    .remove(0)
}

/// Feature: L2
/// Behaviour: P10
#[test]
fn an_operation_failed_if_and_only_if_it_has_an_error_type_or_returned_an_error() {
    let op = ("gen_ai.operation.name", "chat");
    let failed = ("error.type", "rate_limit");
    let error = |text: &'static str| Status::error(text);
    // (status of the bridge, attributes, exception event) -> (status, error.type)
    let rows: Vec<(Status, Vec<(&str, &str)>, Option<&str>, Status, Option<&str>)> = vec![
        (Status::Unset, vec![op], None, Status::Unset, None),
        // A log line of level ERROR inside an operation that succeeds.
        (error(""), vec![op], None, Status::Unset, None),
        (Status::Ok, vec![op], None, Status::Unset, None),
        (Status::Unset, vec![op, failed], None, error(""), Some("rate_limit")),
        (Status::Ok, vec![op, failed], None, error(""), Some("rate_limit")),
        (error("429"), vec![op, failed], None, error("429"), Some("rate_limit")),
        (error(""), vec![op, failed], Some("slow down"), error("slow down"), Some("rate_limit")),
        // A returned Err, as `#[instrument(err)]` leaves it.
        (error("no route"), vec![op], Some("no route"), error("no route"), Some("_OTHER")),
        (error("no"), vec![op, ("error.type", "")], None, error("no"), Some("_OTHER")),
        (error(""), vec![("mcp.method.name", "ping")], None, Status::Unset, None),
        // Not an operation of ours: left as it is.
        (error(""), vec![], None, error(""), None),
        (Status::Ok, vec![], None, Status::Ok, None),
        (Status::Unset, vec![failed], None, Status::Unset, Some("rate_limit")),
    ];
    for (status, pairs, exception, expected, error_type) in rows {
        let what = format!("{status:?} {pairs:?} {exception:?}");
        let span = with_status(status, &pairs, exception);
        assert_eq!(span.status, expected, "{what}");
        assert_eq!(get(&span, "error.type").map(ToString::to_string).as_deref(), error_type, "{what}");
    }
}

/// Feature: L1
#[test]
fn what_libraries_write_is_brought_into_the_forms_of_the_conventions() {
    let mut pairs = attributes(&[
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.system", "openai"),
        ("gen_ai.response.finish_reasons", "[\"stop\",\"length\"]"),
        ("level", "INFO"),
        ("target", "app"),
        ("code.function", "ask"),
        ("thread.name", "main"),
    ]);
    pairs.push(KeyValue::new("gen_ai.usage.cache_creation.input_tokens", 5));
    pairs.push(KeyValue::new("gen_ai.usage.output_tokens", 1));
    pairs.push(KeyValue::new("gen_ai.usage.output_tokens", 2));
    pairs.push(KeyValue::new("gen_ai.usage.input_tokens", 3.0));
    let span = one(SpanBuilder::from_name("x").with_attributes(pairs));
    let reasons = Value::Array(Array::String(vec!["stop".into(), "length".into()]));
    assert_eq!(get(&span, "gen_ai.response.finish_reasons"), Some(&reasons));
    assert_eq!(get(&span, "gen_ai.provider.name"), Some(&Value::from("openai")));
    assert_eq!(get(&span, "gen_ai.usage.cache_write.input_tokens"), Some(&Value::I64(5)));
    assert_eq!(get(&span, "gen_ai.usage.output_tokens"), Some(&Value::I64(2)), "recorded last");
    assert_eq!(get(&span, "gen_ai.usage.input_tokens"), Some(&Value::F64(3.0)), "untouched");
    assert_eq!(get(&span, "code.function"), Some(&Value::from("ask")));
    for noise in ["level", "target", "thread.name"] {
        assert_eq!(get(&span, noise), None, "{noise}");
    }
    for (text, expected) in
        [("stop", vec!["stop"]), ("stop, length", vec!["stop", "length"]), ("[\"a\", \"b\"", vec!["a", "b"])]
    {
        let pairs = vec![
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.response.finish_reasons", text),
        ];
        let span = one(SpanBuilder::from_name("x").with_attributes(pairs));
        let expected = Value::Array(Array::String(expected.into_iter().map(Into::into).collect()));
        assert_eq!(get(&span, "gen_ai.response.finish_reasons"), Some(&expected), "{text}");
    }
}

/// A cent a token; models named `unknown` have no price.
#[derive(Debug)]
struct CentATOken;

impl CostOf for CentATOken {
    fn cost(&self, span: &SpanData) -> CostOutcome {
        if get(span, "gen_ai.request.model") == Some(&Value::from("unknown")) {
            return CostOutcome::Unknown;
        }
        match get(span, "gen_ai.usage.input_tokens") {
            Some(Value::I64(tokens)) => CostOutcome::Known(u64::try_from(*tokens).unwrap() * 10_000_000),
            _ => CostOutcome::NoUsage,
        }
    }
}

struct Tree<'a>(&'a SdkTracer);

impl Tree<'_> {
    fn span(&self, parent: &Context, pairs: &[(&'static str, &'static str)], inside: impl FnOnce(&Context)) {
        let builder = SpanBuilder::from_name("x").with_attributes(attributes(pairs));
        let context = parent.with_span(self.0.build_with_context(builder, parent));
        inside(&context);
        context.span().end();
    }

    fn call(&self, parent: &Context, model: &'static str, input: i64, more: Vec<KeyValue>) {
        let mut pairs = attributes(&[("gen_ai.operation.name", "chat"), ("gen_ai.request.model", model)]);
        pairs.push(KeyValue::new("gen_ai.usage.input_tokens", input));
        pairs.push(KeyValue::new("gen_ai.usage.output_tokens", 1));
        pairs.extend(more);
        drop(self.0.build_with_context(SpanBuilder::from_name("x").with_attributes(pairs), parent));
    }
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}"))
}

/// Feature: A6, E1
/// Behaviour: P17, P18
#[test]
fn cost_is_written_on_model_calls_and_summed_up_on_agents_and_workflows_under_other_names() {
    let parts = PipelineParts::new().with_cost(Arc::new(CentATOken));
    let op = |name| ("gen_ai.operation.name", name);
    let spans = exported(&default(), parts, |tracer| {
        let tree = Tree(tracer);
        tree.span(&Context::new(), &[op("invoke_workflow"), ("gen_ai.workflow.name", "crew")], |workflow| {
            tree.span(workflow, &[op("invoke_agent"), ("gen_ai.agent.name", "a")], |agent| {
                tree.call(agent, "known", 100, vec![]);
                // Through a span that is no operation, and a tool that asks a model itself.
                tree.span(agent, &[], |plain| {
                    tree.span(plain, &[op("execute_tool"), ("gen_ai.tool.name", "t")], |tool| {
                        tree.call(tool, "known", 20, vec![]);
                    });
                });
            });
            tree.span(workflow, &[op("invoke_agent"), ("gen_ai.agent.name", "b")], |agent| {
                tree.call(agent, "unknown", 3, vec![]);
                let theirs = vec![
                    KeyValue::new("gen_ai.usage.cost.amount", 0.5),
                    KeyValue::new("gen_ai.usage.cost.currency", "USD"),
                    KeyValue::new("gen_ai.usage.cost.source", "provider"),
                ];
                tree.call(agent, "theirs", 7, theirs);
            });
            tree.span(workflow, &[op("invoke_agent"), ("gen_ai.agent.name", "idle")], |_| {});
        });
    });
    let number = |name: &str, key: &str| match get(named(&spans, name), key) {
        Some(Value::I64(number)) => Some(*number as f64),
        Some(Value::F64(number)) => Some(*number),
        _ => None,
    };
    let call = named(&spans, "chat known");
    assert_eq!(get(call, "gen_ai.usage.cost.amount"), Some(&Value::F64(1.0)));
    assert_eq!(get(call, "gen_ai.usage.cost.currency"), Some(&Value::from("USD")));
    assert_eq!(get(call, "gen_ai.usage.cost.source"), Some(&Value::from("local")));
    assert_eq!(get(named(&spans, "chat unknown"), "gen_ai.usage.cost.amount"), None, "unknown is not 0");
    assert_eq!(number("chat theirs", "gen_ai.usage.cost.amount"), Some(0.5), "never overwritten");
    let sums = |name: &str| {
        (
            number(name, "agentvitals.aggregated.usage.input_tokens"),
            number(name, "agentvitals.aggregated.usage.output_tokens"),
            number(name, "agentvitals.aggregated.cost.amount"),
            get(named(&spans, name), "agentvitals.cost.partial").is_some(),
        )
    };
    assert_eq!(sums("invoke_agent a"), (Some(120.0), Some(2.0), Some(1.2), false));
    assert_eq!(sums("invoke_agent b"), (Some(10.0), Some(2.0), Some(0.5), true));
    assert_eq!(sums("invoke_workflow crew"), (Some(130.0), Some(4.0), Some(1.7), true));
    assert_eq!(sums("invoke_agent idle"), (None, None, None, false));
    assert_eq!(sums("execute_tool t"), (None, None, None, false), "on agents and workflows only");
}

const CONTENT: [&str; 12] = [
    "gen_ai.system_instructions",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.definitions",
    "gen_ai.retrieval.query.text",
    "gen_ai.retrieval.documents",
    "gen_ai.memory.query.text",
    "gen_ai.memory.records",
    "gen_ai.prompt",
    "gen_ai.prompt.variable.name",
];

/// Feature: L7
#[test]
fn content_leaves_only_when_switched_on() {
    let make = |tracer: &SdkTracer| {
        let mut builder =
            SpanBuilder::from_name("x").with_attributes(CONTENT.map(|key| KeyValue::new(key, "private")));
        let inside = CONTENT.iter().map(|key| KeyValue::new(*key, "private")).collect();
        builder = builder.with_events(vec![Event::new("e", std::time::SystemTime::UNIX_EPOCH, inside, 0)]);
        drop(tracer.build(builder));
    };
    let off = exported(&default(), PipelineParts::new(), make);
    assert!(!format!("{off:?}").contains("private"), "{off:?}");
    let on = exported(&default().with_content(ContentCapture::SpanAttributes), PipelineParts::new(), make);
    assert_eq!(format!("{on:?}").matches("private").count(), 24);
}

/// Feature: L7
#[test]
fn redaction_reaches_every_text_of_a_span_and_fails_closed() {
    let parts = PipelineParts::new()
        .with_redactor(Arc::new(|key, value| {
            assert!(key != "bomb", "a bug in the hook");
            value.contains("secret").then(|| value.replace("secret", "***"))
        }))
        .with_redactor(Arc::new(|_, value| value.contains("***").then(|| value.to_uppercase())));
    let spans = exported(&default(), parts, |tracer| {
        let list = Value::Array(Array::String(vec!["fine".into(), "secret 2".into()]));
        let builder = SpanBuilder::from_name("secret name")
            .with_attributes([
                KeyValue::new("text", "my secret"),
                KeyValue::new("list", list),
                KeyValue::new("bomb", "secret 3"),
                KeyValue::new("number", 7),
            ])
            .with_events(vec![Event::new(
                "secret event",
                std::time::SystemTime::UNIX_EPOCH,
                vec![KeyValue::new("inner", "secret 5")],
                0,
            )]);
        let mut span = tracer.build(builder);
        span.set_status(Status::error("secret 4"));
        span.end();
        let agent = [("gen_ai.operation.name", "invoke_agent"), ("gen_ai.agent.name", "secret agent")];
        drop(tracer.build(SpanBuilder::from_name("secret").with_attributes(attributes(&agent))));
    });
    assert!(!format!("{spans:?}").to_lowercase().contains("secret"), "{spans:?}");
    assert_eq!(get(&spans[0], "text"), Some(&Value::from("MY ***")));
    assert_eq!(get(&spans[0], "bomb"), Some(&Value::from(REDACTION_FAILED)));
    assert_eq!(get(&spans[0], "number"), Some(&Value::I64(7)));
    assert_eq!(spans[1].name, "invoke_agent *** AGENT", "the name is made of the redacted attributes");
}

/// Behaviour: P13, P20
#[test]
fn counts_and_values_of_any_span_are_limited_and_what_is_dropped_is_counted() {
    let limits = Limits::default().with_value_bytes(64).with_attributes(16).with_events(2);
    let spans = exported(&default().with_limits(limits), PipelineParts::new(), |tracer| {
        let mut pairs: Vec<KeyValue> =
            (0..30).map(|i| KeyValue::new(format!("loop.{i}"), "x".repeat(500))).collect();
        pairs.push(KeyValue::new("error.type", "late"));
        let event = |_| Event::new("e", std::time::SystemTime::UNIX_EPOCH, vec![], 0);
        let builder = SpanBuilder::from_name("n".repeat(100))
            .with_attributes(pairs)
            .with_events((0..5).map(event).collect());
        let mut span = tracer.build(builder);
        span.set_status(Status::error("d".repeat(1000)));
        span.end();
    });
    let span = &spans[0];
    assert_eq!((span.attributes.len(), span.dropped_attributes_count), (16, 15));
    assert_eq!((span.events.events.len(), span.events.dropped_count), (2, 3));
    assert_eq!(get(span, "error.type"), Some(&Value::from("late")));
    assert!(span.name.len() <= 64 && span.name.contains("…[truncated "));
    assert!(span.attributes.iter().all(|attribute| attribute.value.as_str().len() <= 64));
    assert!(matches!(&span.status, Status::Error { description } if description.len() <= 64));
}

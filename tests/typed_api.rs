//! The macros and the recording trait.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentvitals::{
    ContentCapture, InOperation as _, Measured, Outcome, RecordOperation as _, Response, Usage, agent_span,
    model_span, operation_span, tool_span, workflow_span,
};
use support::Rig;
use tracing::{Dispatch, Span, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt as _;

/// The messages of our own warnings, with the field that they are about.
#[derive(Debug, Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Field(String);
        impl tracing::field::Visit for Field {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "field" {
                    self.0 = format!("{value:?}").replace('"', "");
                }
            }
        }
        if event.metadata().target() == "agentvitals" {
            let mut field = Field(String::new());
            event.record(&mut field);
            self.0.lock().unwrap().push(field.0);
        }
    }
}

fn warned() -> (Rig, Warnings) {
    let warnings = Warnings::default();
    let rig = Rig::composed(
        |builder| builder.content(ContentCapture::SpanAttributes),
        |vitals, _| Dispatch::new(tracing_subscriber::registry().with(vitals.layer()).with(warnings.clone())),
    );
    (rig, warnings)
}

/// Everything that the trait can record.
fn record_all(span: &Span) {
    span.record_usage(Usage::new(100, 20).cache_read(50).cache_write(10).reasoning(5));
    span.record_response(
        &Response::new().id("r1").model("m-2").finish_reason("stop").finish_reason("length"),
    );
    span.record_chunk();
    span.record_chunk();
    span.record_outcome(Outcome::Failure);
    span.record_conversation("c1");
    span.record_tool_input("in");
    span.record_tool_output("out!");
    span.record_input_messages("[1]");
    span.record_output_messages("[2]");
    span.record_retries(2);
    span.record_error_type("mine");
}

/// Behaviour: P9
/// Feature: L2, E4
#[test]
fn what_a_span_did_not_declare_lands_on_span_and_metrics_all_the_same() {
    let (rig, _) = warned();
    rig.run(|| {
        let span = info_span!(
            "w",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = "p",
            gen_ai.request.model = "m"
        );
        span.in_scope(|| rig.advance(100));
        record_all(&span);
    });
    let span = rig.only_span();
    span.assert_attr("gen_ai.usage.input_tokens", 100)
        .assert_attr("gen_ai.usage.output_tokens", 20)
        .assert_attr("gen_ai.usage.cache_read.input_tokens", 50)
        .assert_attr("gen_ai.usage.cache_write.input_tokens", 10)
        .assert_attr("gen_ai.usage.reasoning.output_tokens", 5)
        .assert_attr("gen_ai.response.id", "r1")
        .assert_attr("gen_ai.response.model", "m-2")
        .assert_attr("gen_ai.response.finish_reasons", serde_json::json!(["stop", "length"]))
        .assert_attr("gen_ai.response.time_to_first_chunk", 0.1)
        .assert_attr("gen_ai.request.stream", true)
        .assert_attr("agentvitals.outcome", "failure")
        .assert_attr("gen_ai.conversation.id", "c1")
        .assert_attr("agentvitals.tool.input.size", 2)
        .assert_attr("agentvitals.tool.output.size", 4)
        .assert_attr("gen_ai.tool.call.arguments", "in")
        .assert_attr("gen_ai.tool.call.result", "out!")
        .assert_attr("gen_ai.input.messages", "[1]")
        .assert_attr("gen_ai.output.messages", "[2]")
        .assert_attr("agentvitals.retry.count", 2)
        .assert_attr("error.type", "mine");
    let served =
        "gen_ai.operation.name=chat gen_ai.provider.name=p gen_ai.request.model=m gen_ai.response.model=m-2";
    assert_eq!(
        rig.lines("gen_ai.client.operation.duration"),
        [format!("error.type=mine {served}: count 1 sum 0.1")]
    );
    assert_eq!(rig.sum("gen_ai.client.token.usage"), 120.0);
    assert_eq!(rig.count("gen_ai.client.operation.time_to_first_chunk"), 1);
    assert_eq!(rig.sum("agentvitals.retries"), 2.0);
}

/// Behaviour: P9
#[test]
#[cfg(debug_assertions)]
fn a_field_that_was_not_declared_is_reported_once_by_its_name() {
    let (rig, warnings) = warned();
    rig.run(|| {
        for _ in 0..3 {
            let span = info_span!(
                "w",
                gen_ai.operation.name = "chat",
                gen_ai.usage.output_tokens = tracing::field::Empty
            );
            span.record_usage(Usage::new(1, 2));
            span.record_conversation("c");
        }
        // Another span macro is another place to mend.
        info_span!("v").record_conversation("c");
    });
    assert_eq!(
        *warnings.0.lock().unwrap(),
        ["gen_ai.usage.input_tokens", "gen_ai.conversation.id", "gen_ai.conversation.id"]
    );
}

/// Behaviour: P9
#[test]
fn the_macros_declare_what_is_recorded_on_their_spans() {
    let (rig, warnings) = warned();
    rig.run(|| {
        let model = model_span!("chat", "p", "m");
        model.record_usage(Usage::new(100, 20).cache_read(50).cache_write(10).reasoning(5));
        model.record_response(&Response::new().id("r1").model("m-2").finish_reason("stop"));
        model.record_chunk();
        model.record_outcome(Outcome::Error);
        model.record_conversation("c");
        model.record_input_messages("[]");
        model.record_output_messages("[]");
        model.record_retries(1);
        model.record_error(&std::io::Error::other("x"));
        for span in [agent_span!("a"), workflow_span!("w")] {
            span.record_outcome(Outcome::Failure);
            span.record_conversation("c");
            span.record_input_messages("[]");
            span.record_output_messages("[]");
            span.record_error_type("x");
        }
        let tool = tool_span!("t");
        tool.record_tool_input("in");
        tool.record_tool_output("out");
        tool.record_outcome(Outcome::Failure);
        tool.record_conversation("c");
        tool.record_retries(1);
        tool.record_error_type("x");
        tool.record_tool_selection(0.95, Duration::from_millis(1_000));
        let own = operation_span!("o");
        own.record_outcome(Outcome::Failure);
        own.record_conversation("c");
        own.record_error_type("x");
    });
    assert_eq!(*warnings.0.lock().unwrap(), Vec::<String>::new());
    assert_eq!(rig.vitals.status().operations, 5);
}

/// Behaviour: P9
/// Feature: L2
#[test]
fn macros_take_further_fields_names_from_constants_and_values_of_all_kinds() {
    const AGENT: &str = "from a constant";
    let rig = Rig::new();
    let name = String::from("owned");
    rig.run(|| {
        drop(agent_span!(AGENT, user.id = "u1", attempt = 3, ratio = 0.5, ok = true, shown = %1, debugged = ?Some(2),));
        drop(agent_span!(name.as_str()));
        drop(tool_span!(format!("tool-{}", 1).as_str(), gen_ai.tool.call.id = "c1"));
        drop(model_span!("chat", "p", "m", gen_ai.request.temperature = 0.2, gen_ai.request.max_tokens = 100));
        drop(workflow_span!("w", agentvitals.workflow.steps.total = 3));
        drop(operation_span!("o",));
    });
    let spans = rig.spans();
    agentvitals::testing::find_span(&spans, "invoke_agent from a constant")
        .assert_attr("user.id", "u1")
        .assert_attr("attempt", 3)
        .assert_attr("ratio", 0.5)
        .assert_attr("ok", true)
        .assert_attr("shown", "1")
        .assert_attr("debugged", "Some(2)");
    agentvitals::testing::find_span(&spans, "chat m")
        .assert_attr("gen_ai.request.temperature", 0.2)
        .assert_attr("gen_ai.request.max_tokens", 100);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names[1..], ["invoke_agent owned", "execute_tool tool-1", "chat m", "invoke_workflow w", "o"]);
}

/// Behaviour: P9
#[test]
fn a_field_that_a_macro_declares_can_be_given_at_the_start_too() {
    let rig = Rig::new();
    rig.run(|| {
        drop(agent_span!("a", gen_ai.conversation.id = "c-17"));
        let span = agent_span!("b", gen_ai.conversation.id = "c-18");
        span.record_conversation("c-19");
    });
    assert_eq!(rig.span("invoke_agent a").str("gen_ai.conversation.id"), Some("c-17"));
    assert_eq!(rig.span("invoke_agent b").str("gen_ai.conversation.id"), Some("c-19"));
}

/// Feature: N3
#[test]
fn on_a_disabled_span_and_without_a_subscriber_nothing_happens() {
    let rig = Rig::new();
    rig.run(|| record_all(&Span::none()));
    record_all(&model_span!("chat", "p", "m"));
    record_all(&Span::current());
    assert_eq!(rig.spans(), []);
    assert_eq!(rig.vitals.status().operations, 0);
}

/// Feature: C4
#[test]
fn how_sure_a_tool_was_chosen_and_what_was_expected_of_it_is_on_its_span() {
    let rig = Rig::new();
    rig.run(|| {
        tool_span!("t").record_tool_selection(0.95, Duration::from_millis(1_000));
        let plain = info_span!("w", gen_ai.operation.name = "execute_tool", gen_ai.tool.name = "u");
        plain.record_tool_selection(0.5, Duration::from_millis(250));
        tool_span!("v").record_tool_selection(f64::NAN, Duration::ZERO);
    });
    rig.span("execute_tool t")
        .assert_attr("agentvitals.tool.confidence", 0.95)
        .assert_attr("agentvitals.tool.expected_duration", 1.0);
    rig.span("execute_tool u")
        .assert_attr("agentvitals.tool.confidence", 0.5)
        .assert_attr("agentvitals.tool.expected_duration", 0.25);
    // What is no probability is left out.
    rig.span("execute_tool v").assert_no_attr("agentvitals.tool.confidence");
    assert!(rig.all_points().iter().all(|point| point.attr("agentvitals.tool.confidence").is_none()));
}

/// Feature: A1, A4, A6, A9, C1, D1
#[test]
fn what_has_no_span_can_be_measured_too() {
    let rig = Rig::new();
    let vitals = &rig.vitals;
    vitals.record(
        &Measured::agent_run("ChatAgent")
            .duration(Duration::from_millis(1_500))
            .outcome(Outcome::Success)
            .task_type("support")
            .calls(2, 1),
    );
    vitals.record(&Measured::agent_run("ChatAgent").outcome(Outcome::Timeout));
    vitals.record(&Measured::model_call("openai", "gpt-4o").agent("ChatAgent").usage(Usage::new(1_000, 100)));
    vitals.record(
        &Measured::tool_call("search")
            .duration(Duration::from_millis(1_500))
            .tool_sizes(100, 500)
            .error_type("timeout"),
    );
    vitals.record(&Measured::workflow_run("w").duration(Duration::from_secs(3)).steps_completed(3));
    vitals.record(&Measured::operation_named("o").duration(Duration::from_secs(1)));
    assert_eq!(
        rig.lines("agentvitals.tasks"),
        [
            "agentvitals.outcome=success agentvitals.task.type=support gen_ai.agent.name=ChatAgent: 1",
            "agentvitals.outcome=timeout gen_ai.agent.name=ChatAgent: 1",
        ]
    );
    assert_eq!(
        rig.lines("gen_ai.invoke_agent.inference_calls"),
        ["gen_ai.agent.name=ChatAgent: count 2 sum 2"]
    );
    assert_eq!(
        rig.lines("gen_ai.execute_tool.duration"),
        ["error.type=timeout gen_ai.tool.name=search: count 1 sum 1.5"]
    );
    assert_eq!(rig.lines("agentvitals.tool.output.size"), ["gen_ai.tool.name=search: count 1 sum 500"]);
    assert_eq!(rig.lines("agentvitals.workflow.steps.completed"), ["gen_ai.workflow.name=w: count 1 sum 3"]);
    assert_eq!(rig.lines("agentvitals.operation.duration"), ["agentvitals.operation.name=o: count 1 sum 1"]);
    assert_eq!(rig.sum("agentvitals.cost"), 3_500_000.0);
    assert_eq!(vitals.active_tasks()["ChatAgent"], 0);
    assert_eq!(rig.spans(), []);
}

/// Feature: L7
#[test]
fn message_content_stays_inside_unless_it_is_asked_for() {
    let record = |rig: &Rig| {
        rig.run(|| {
            let span = model_span!("chat", "p", "m", gen_ai.system_instructions = "secret");
            span.record_input_messages("[\"secret\"]");
            span.record_output_messages("[\"secret\"]");
            // Plain `tracing` is no way around.
            span.record("gen_ai.tool.definitions", "secret");
            span.in_scope(|| tracing::info!(gen_ai.input.messages = "secret", "sent"));
            let tool = tool_span!("t");
            tool.record_tool_input("secret");
            tool.record_tool_output("secret");
        });
    };
    let off = Rig::new();
    record(&off);
    assert!(!format!("{:?} {:?}", off.spans(), off.all_points()).contains("secret"));
    off.span("execute_tool t").assert_attr("agentvitals.tool.input.size", 6);

    let on = Rig::with(|builder| builder.content(ContentCapture::SpanAttributes));
    record(&on);
    on.span("chat m").assert_attr("gen_ai.input.messages", "[\"secret\"]");
    on.span("execute_tool t").assert_attr("gen_ai.tool.call.arguments", "secret");
    assert!(!format!("{:?}", on.all_points()).contains("secret"));
}

/// Feature: L7
#[test]
fn redaction_changes_values_before_they_leave_and_fails_closed() {
    let rig = Rig::with(|builder| {
        builder.content(ContentCapture::SpanAttributes).redact(|key, value| match key {
            "card" => panic!("a redaction that is broken"),
            _ => value.contains("4111").then(|| value.replace("4111", "####")),
        })
    });
    rig.run(|| {
        let span = tool_span!("t", card = "4111", note = "pay 4111 now");
        span.record_tool_input("4111");
        span.record_error(&std::io::Error::other("no such card 4111"));
    });
    let span = rig.only_span();
    assert!(!format!("{span:?}").contains("4111"), "{span:?}");
    span.assert_attr("note", "pay #### now").assert_attr("gen_ai.tool.call.arguments", "####");
}

/// Feature: B1
#[test]
fn in_operation_gives_the_value_of_its_future() {
    let rig = Rig::new();
    let answer = rig.block_on(async { 42 }.in_operation(rig.run(|| operation_span!("o"))));
    assert_eq!(answer, 42);
    assert_eq!(rig.only_span().status_code, "unset");
}

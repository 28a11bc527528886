//! The testing kit's capture, trees and expectations, and that they can fail.

use agentvitals::testing::{
    Capture, DeterministicIds, ReceivedEvent, ReceivedSpan, TreeOptions, assert_span, find_span, find_spans,
    tree,
};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;

/// Feature: N2
#[test]
fn a_captured_run_is_the_same_tree_every_time() {
    let run = || {
        let capture = Capture::new();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(capture.clone())
            .with_id_generator(DeterministicIds::new())
            .with_resource(Resource::builder_empty().with_service_name("support-bot").build())
            .build();
        let tracer = provider.tracer("agent");
        tracer.in_span("invoke_agent planner", |agent| {
            agent.span().set_attribute(KeyValue::new("gen_ai.agent.name", "planner"));
            let chat = tracer.span_builder("chat gpt-4o").with_kind(SpanKind::Client).start(&tracer);
            drop(chat);
            tracer.in_span("execute_tool search", |tool| {
                tool.span().set_attribute(KeyValue::new("error.type", "timeout"));
                tool.span().set_status(Status::error("no answer after 5 s"));
            });
        });
        capture.spans()
    };
    let spans = run();
    assert_eq!(
        tree(&spans),
        "invoke_agent planner [internal]\n  chat gpt-4o [client]\n  execute_tool search [internal] ERROR error.type=timeout\n"
    );
    let ids = |spans: &[ReceivedSpan]| {
        spans.iter().map(|span| (span.trace_id.clone(), span.span_id.clone())).collect::<Vec<_>>()
    };
    assert_eq!(ids(&spans), ids(&run()));
    assert_eq!(find_span(&spans, "invoke_agent planner").span_id, "0000000000000001");
    assert_eq!(find_span(&spans, "chat gpt-4o").resource["service.name"], "support-bot");
}

fn made(name: &str, id: &str, parent: Option<&str>, start: u64) -> ReceivedSpan {
    let mut span = ReceivedSpan::default();
    span.name = name.into();
    span.span_id = id.into();
    span.parent_span_id = parent.map(Into::into);
    span.start_unix_nano = start;
    span
}

#[test]
fn the_tree_sorts_siblings_by_start_then_name_and_marks_orphans() {
    let mut remote = made("from afar", "8", Some("elsewhere"), 90);
    remote.parent_is_remote = Some(true);
    let mut other_trace = made("other trace", "2", Some("1"), 95);
    other_trace.trace_id = "t2".into();
    let spans = [
        remote,
        made("b", "4", Some("1"), 20),
        made("late", "3", Some("1"), 30),
        made("root", "1", None, 10),
        made("a", "5", Some("1"), 20),
        made("grandchild", "6", Some("4"), 21),
        made("orphan", "7", Some("lost"), 80),
        other_trace,
    ];
    assert_eq!(
        tree(&spans),
        "root [internal]\n  a [internal]\n  b [internal]\n    grandchild [internal]\n  late [internal]\n\
         orphan [internal] (parent missing)\nfrom afar [internal]\nother trace [internal] (parent missing)\n"
    );
}

#[test]
fn the_tree_shows_the_attributes_events_and_messages_that_were_asked_for() {
    let mut span = made("chat", "1", None, 0);
    span.attributes.insert("model".into(), "gpt-4o".into());
    span.attributes.insert("tokens".into(), 12.into());
    span.attributes.insert("hidden".into(), "yes".into());
    span.status_code = "error".into();
    span.status_message = "no quota".into();
    span.events = vec![ReceivedEvent::default()];
    span.events[0].name = "retried".into();
    let tree = TreeOptions::new()
        .attributes(["tokens", "absent"])
        .attribute("model")
        .events(true)
        .status_message(true)
        .render(&[span]);
    assert_eq!(tree, "chat [internal] ERROR tokens=12 model=gpt-4o \"no quota\"\n  - retried\n");
}

#[test]
fn a_tree_of_parents_in_a_circle_or_of_any_depth_ends() {
    let circle =
        [made("a", "1", Some("2"), 1), made("b", "2", Some("1"), 2), made("self", "3", Some("3"), 3)];
    assert_eq!(tree(&circle), "a [internal]\n  b [internal]\nself [internal]\n");
    let chain: Vec<_> = (1..=5_000_u64)
        .map(|n| made("n", &n.to_string(), (n > 1).then(|| (n - 1).to_string()).as_deref(), n))
        .collect();
    assert_eq!(tree(&chain).lines().count(), 5_000);
}

#[test]
fn a_remote_parent_is_told_from_a_lost_one() {
    let capture = Capture::new();
    let provider = SdkTracerProvider::builder().with_simple_exporter(capture.clone()).build();
    let remote =
        SpanContext::new(TraceId::from(9), SpanId::from(9), TraceFlags::SAMPLED, true, TraceState::NONE);
    let tracer = provider.tracer("test");
    drop(tracer.start_with_context("work", &Context::new().with_remote_span_context(remote)));
    assert_eq!(capture.spans()[0].parent_is_remote, Some(true));
    assert_eq!(tree(&capture.spans()), "work [internal]\n");
}

#[test]
fn a_capture_is_bounded_and_counts_what_it_refuses() {
    let capture = Capture::with_max_spans(1);
    let provider = SdkTracerProvider::builder().with_simple_exporter(capture.clone()).build();
    for _ in 0..3 {
        provider.tracer("test").in_span("work", |_| ());
    }
    assert_eq!((capture.spans().len(), capture.refused_spans()), (1, 2));
    capture.clear();
    assert_eq!((capture.spans().len(), capture.refused_spans()), (0, 0));
}

// === The kit's own expectations fail when they should ===

#[test]
#[should_panic(expected = "no span named \"chat\" among 1 spans\n  chat gpt-4o [internal]")]
fn a_missing_span_fails_with_what_is_there() {
    find_span(&[made("chat gpt-4o", "1", None, 0)], "chat");
}

#[test]
#[should_panic(expected = "2 spans named \"chat\", expected one; use find_spans")]
fn an_ambiguous_span_fails() {
    let spans = [made("chat", "1", None, 0), made("chat", "2", None, 0)];
    assert_eq!(find_spans(&spans, "chat").len(), 2);
    find_span(&spans, "chat");
}

#[test]
#[should_panic(expected = "span \"chat\": tokens is \"5\", expected 5; its attributes are\n  tokens=\"5\"")]
fn a_value_of_another_type_fails() {
    let mut span = made("chat", "1", None, 0);
    span.attributes.insert("tokens".into(), "5".into());
    assert_span!([span], "chat", "tokens" => 5);
}

#[test]
#[should_panic(expected = "tokens is absent, expected 5")]
fn an_absent_attribute_fails() {
    made("chat", "1", None, 0).assert_attr("tokens", 5);
}

#[test]
#[should_panic(expected = "tokens is 5, expected it to be absent")]
fn an_attribute_that_should_be_absent_fails() {
    let mut span = made("chat", "1", None, 0);
    span.attributes.insert("tokens".into(), 5.into());
    span.assert_no_attr("tokens");
}

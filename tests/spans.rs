//! From `tracing` spans to spans of the conventions: names, kinds, status, `error.type`, events.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use agentvitals::testing::{ReceivedSpan, find_span};
use agentvitals::{Outcome, RecordOperation as _, agent_span, model_span, tool_span};
use support::Rig;
use tracing::field::Empty;
use tracing::{Span, info_span, instrument};

/// What the conventions say of an operation: its name, span name, kind and duration metric.
const OPERATIONS: &[(&str, &str, &str, &str)] = &[
    ("chat", "chat m", "client", "gen_ai.client.operation.duration"),
    ("generate_content", "generate_content m", "client", "gen_ai.client.operation.duration"),
    ("text_completion", "text_completion m", "client", "gen_ai.client.operation.duration"),
    ("embeddings", "embeddings m", "client", "gen_ai.client.operation.duration"),
    ("retrieval", "retrieval d", "client", "gen_ai.client.operation.duration"),
    ("fetch_response", "fetch_response", "client", "gen_ai.client.operation.duration"),
    ("create_memory_store", "create_memory_store", "client", "gen_ai.client.operation.duration"),
    ("delete_memory_store", "delete_memory_store", "client", "gen_ai.client.operation.duration"),
    ("create_memory", "create_memory", "client", "gen_ai.client.operation.duration"),
    ("update_memory", "update_memory", "client", "gen_ai.client.operation.duration"),
    ("upsert_memory", "upsert_memory", "client", "gen_ai.client.operation.duration"),
    ("search_memory", "search_memory", "client", "gen_ai.client.operation.duration"),
    ("delete_memory", "delete_memory", "client", "gen_ai.client.operation.duration"),
    ("create_agent", "create_agent a", "client", "agentvitals.operation.duration"),
    ("invoke_agent", "invoke_agent a", "internal", "gen_ai.invoke_agent.duration"),
    ("execute_tool", "execute_tool t", "internal", "gen_ai.execute_tool.duration"),
    ("invoke_workflow", "invoke_workflow w", "internal", "gen_ai.invoke_workflow.duration"),
    ("plan", "plan a", "internal", "agentvitals.operation.duration"),
    ("something_new", "something_new m", "internal", "agentvitals.operation.duration"),
];

const DURATIONS: &[&str] = &[
    "gen_ai.client.operation.duration",
    "gen_ai.invoke_agent.duration",
    "gen_ai.execute_tool.duration",
    "gen_ai.invoke_workflow.duration",
    "agentvitals.operation.duration",
    "mcp.client.operation.duration",
    "mcp.server.operation.duration",
];

/// Which duration metrics were recorded.
fn durations(rig: &Rig) -> Vec<&'static str> {
    DURATIONS.iter().copied().filter(|name| rig.count(name) > 0).collect()
}

/// Feature: L1, B1
/// Behaviour: P31
#[test]
fn every_operation_of_the_conventions_has_its_span_name_kind_and_metric() {
    for (operation, name, kind, metric) in OPERATIONS {
        let rig = Rig::new();
        rig.run(|| {
            info_span!(
                "a name of the user",
                gen_ai.operation.name = operation,
                gen_ai.provider.name = "p",
                gen_ai.request.model = "m",
                gen_ai.agent.name = "a",
                gen_ai.tool.name = "t",
                gen_ai.workflow.name = "w",
                gen_ai.data_source.id = "d"
            )
            .in_scope(|| rig.advance(250));
        });
        let span = rig.only_span();
        assert_eq!((span.name.as_str(), span.kind.as_str()), (*name, *kind), "{operation}");
        assert_eq!(span.status_code, "unset", "{operation}");
        assert_eq!(durations(&rig), [*metric], "{operation}");
        assert_eq!((rig.count(metric), rig.sum(metric)), (1, 0.25), "{operation}");
    }
}

/// Feature: L1
#[test]
fn without_a_target_the_name_is_the_operation_alone() {
    let rig = Rig::new();
    rig.run(|| {
        for (operation, ..) in OPERATIONS {
            drop(info_span!("work", gen_ai.operation.name = operation));
        }
    });
    let names: Vec<String> = rig.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names, OPERATIONS.iter().map(|(operation, ..)| *operation).collect::<Vec<_>>());
}

/// Feature: L1, L2
#[test]
fn names_that_are_recorded_after_the_start_count_as_if_they_had_been_there() {
    let rig = Rig::new();
    rig.run(|| {
        let span = info_span!(
            "work",
            gen_ai.operation.name = Empty,
            gen_ai.request.model = Empty,
            gen_ai.provider.name = Empty,
            gen_ai.usage.input_tokens = Empty
        );
        span.in_scope(|| {
            rig.advance(100);
            Span::current().record("gen_ai.operation.name", "chat");
            Span::current().record("gen_ai.request.model", "m");
            Span::current().record("gen_ai.provider.name", "p");
            Span::current().record("gen_ai.usage.input_tokens", 7);
            rig.advance(100);
        });
        drop(span);
        let agent = info_span!("work", gen_ai.operation.name = Empty, gen_ai.agent.name = Empty);
        agent.record("gen_ai.agent.name", "a");
        agent.record("gen_ai.operation.name", "invoke_agent");
    });
    assert_eq!(rig.span("chat m").kind, "client");
    assert_eq!(rig.span("invoke_agent a").kind, "internal");
    let common = "gen_ai.operation.name=chat gen_ai.provider.name=p gen_ai.request.model=m";
    assert_eq!(rig.lines("gen_ai.client.operation.duration"), [format!("{common}: count 1 sum 0.2")]);
    assert_eq!(
        rig.lines("gen_ai.client.token.usage"),
        [format!("{common} gen_ai.token.type=input: count 1 sum 7")]
    );
    assert_eq!(rig.lines("agentvitals.tasks"), ["agentvitals.outcome=success gen_ai.agent.name=a: 1"]);
    assert_eq!(rig.lines("agentvitals.active_tasks"), ["gen_ai.agent.name=a: 0"]);
}

/// Feature: L1
#[test]
fn a_span_whose_operation_never_becomes_known_is_a_plain_span() {
    let rig = Rig::new();
    rig.run(|| drop(info_span!("work", gen_ai.operation.name = Empty, gen_ai.request.model = "m")));
    assert_eq!(rig.only_span().name, "work");
    assert_eq!(durations(&rig), Vec::<&str>::new());
}

/// Feature: L1, L2
#[test]
fn values_given_as_display_or_debug_are_read_like_texts() {
    let rig = Rig::new();
    #[derive(Debug)]
    struct Shown(#[expect(dead_code, reason = "shown by Debug")] u8);
    impl std::fmt::Display for Shown {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("chat")
        }
    }
    rig.run(|| {
        let span = info_span!(
            "work",
            gen_ai.operation.name = %Shown(1),
            gen_ai.provider.name = ?"p",
            gen_ai.request.model = Empty,
            gen_ai.response.model = Empty,
            gen_ai.usage.input_tokens = %12,
            gen_ai.usage.output_tokens = Empty
        );
        span.record("gen_ai.request.model", tracing::field::display("m"));
        span.record("gen_ai.response.model", tracing::field::debug("m-2"));
        span.record("gen_ai.usage.output_tokens", tracing::field::debug(34));
    });
    let common = "gen_ai.operation.name=chat gen_ai.provider.name=p gen_ai.request.model=m \
                  gen_ai.response.model=m-2";
    assert_eq!(rig.lines("gen_ai.client.operation.duration"), [format!("{common}: count 1 sum 0")]);
    assert_eq!(
        rig.lines("gen_ai.client.token.usage"),
        [
            format!("{common} gen_ai.token.type=input: count 1 sum 12"),
            format!("{common} gen_ai.token.type=output: count 1 sum 34")
        ]
    );
}

/// Feature: L1, L2
#[test]
fn plain_spans_and_events_stay_in_the_trace_as_they_are() {
    let rig = Rig::new();
    rig.run(|| {
        agent_span!("a").in_scope(|| {
            info_span!("load config", path = "x.toml").in_scope(|| {
                tracing::info!(lines = 3, "read");
                model_span!("chat", "p", "m").in_scope(|| tracing::debug!("below the level of nobody"));
            });
        });
    });
    let spans = rig.spans();
    assert_eq!(
        agentvitals::testing::tree(&spans),
        "invoke_agent a [internal]\n  load config [internal]\n    chat m [client]\n"
    );
    let plain = find_span(&spans, "load config");
    assert_eq!(plain.str("path"), Some("x.toml"));
    assert_eq!(plain.event("read").unwrap().attributes["lines"], 3);
    assert_eq!(find_span(&spans, "chat m").events.len(), 1);
    assert_eq!(rig.lines("gen_ai.invoke_agent.inference_calls"), ["gen_ai.agent.name=a: count 1 sum 1"]);
}

/// Feature: L1
#[test]
fn a_kind_that_the_user_gave_stays() {
    let rig = Rig::new();
    rig.run(|| {
        drop(info_span!("w", gen_ai.operation.name = "invoke_agent", otel.kind = "client"));
        drop(info_span!("w", gen_ai.operation.name = "chat", otel.kind = "producer"));
        drop(info_span!("w", otel.kind = "server"));
    });
    let kinds: Vec<_> = rig.spans().into_iter().map(|span| (span.name, span.kind)).collect();
    let expected = [("invoke_agent", "client"), ("chat", "producer"), ("w", "server")];
    assert_eq!(kinds, expected.map(|(name, kind)| (name.to_owned(), kind.to_owned())));
}

/// Feature: L1
#[test]
fn mcp_requests_are_named_by_their_method_and_measured_on_their_side() {
    let rig = Rig::new();
    rig.run(|| {
        drop(info_span!("w", mcp.method.name = "tools/list"));
        drop(info_span!("w", mcp.method.name = "tools/call", otel.kind = "server", gen_ai.tool.name = "t"));
        drop(info_span!(
            "w",
            mcp.method.name = "prompts/get",
            otel.kind = "client",
            gen_ai.prompt.name = "q"
        ));
        // A tool call that goes over MCP: one span, the attributes of both.
        drop(info_span!(
            "w",
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = "t",
            mcp.method.name = "tools/call"
        ));
    });
    let spans: Vec<_> = rig.spans().into_iter().map(|span| format!("{} {}", span.name, span.kind)).collect();
    assert_eq!(
        spans,
        ["tools/list client", "tools/call t server", "prompts/get q client", "execute_tool t internal"]
    );
    assert_eq!(
        rig.lines("mcp.client.operation.duration"),
        [
            "gen_ai.tool.name=t mcp.method.name=tools/call: count 1 sum 0",
            "mcp.method.name=prompts/get: count 1 sum 0",
            "mcp.method.name=tools/list: count 1 sum 0"
        ]
    );
    assert_eq!(
        rig.lines("mcp.server.operation.duration"),
        ["gen_ai.tool.name=t mcp.method.name=tools/call: count 1 sum 0"]
    );
    assert_eq!(rig.count("gen_ai.execute_tool.duration"), 1);
}

/// Feature: A7, L1
#[test]
fn an_mcp_request_that_failed_has_its_code_on_span_and_metric() {
    let rig = Rig::new();
    rig.run(|| {
        let span =
            info_span!("w", mcp.method.name = "tools/call", gen_ai.tool.name = "t", error.type = Empty);
        span.record("error.type", "-32603");
        drop(span);
    });
    let span = rig.only_span();
    assert_eq!((span.status_code.as_str(), span.str("error.type")), ("error", Some("-32603")));
    assert_eq!(
        rig.lines("mcp.client.operation.duration"),
        ["error.type=-32603 gen_ai.tool.name=t mcp.method.name=tools/call: count 1 sum 0"]
    );
}

#[derive(Debug)]
struct RateLimitError;
impl std::fmt::Display for RateLimitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("slow down, too many requests")
    }
}
impl std::error::Error for RateLimitError {}

#[derive(Debug)]
struct OutOfPaper;
impl std::fmt::Display for OutOfPaper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("tray 2 is empty")
    }
}
impl std::error::Error for OutOfPaper {}

/// Runs `f` once and asserts that span and metric have the same `error.type`, with an error status.
#[track_caller]
fn assert_fails(error_type: &str, message: Option<&str>, f: impl FnOnce()) -> ReceivedSpan {
    let rig = Rig::new();
    rig.run(f);
    let span = rig.only_span();
    assert_eq!(span.str("error.type"), Some(error_type), "{span:?}");
    assert_eq!(span.status_code, "error");
    if let Some(message) = message {
        assert_eq!(span.status_message, message);
    }
    let metrics: Vec<_> = durations(&rig).into_iter().flat_map(|name| rig.points(name)).collect();
    assert_eq!(metrics.len(), 1, "{metrics:?}");
    assert_eq!(metrics[0].str("error.type"), Some(error_type), "{metrics:?}");
    span
}

/// Runs `f` once and asserts that neither span nor metric shows an error.
#[track_caller]
fn assert_succeeds(f: impl FnOnce()) -> ReceivedSpan {
    let rig = Rig::new();
    rig.run(f);
    let span = rig.only_span();
    assert_eq!((span.status_code.as_str(), span.str("error.type")), ("unset", None), "{span:?}");
    let metrics: Vec<_> = durations(&rig).into_iter().flat_map(|name| rig.points(name)).collect();
    assert_eq!(metrics.len(), 1, "{metrics:?}");
    assert_eq!(metrics[0].str("error.type"), None, "{metrics:?}");
    span
}

#[instrument(fields(gen_ai.operation.name = "execute_tool", gen_ai.tool.name = "t"), err)]
fn displayed(error: RateLimitError) -> Result<(), RateLimitError> {
    Err(error)
}

#[instrument(skip_all, fields(gen_ai.operation.name = "execute_tool", gen_ai.tool.name = "t"), err(Debug))]
fn debugged() -> Result<(), RateLimitError> {
    Err(RateLimitError)
}

#[instrument(skip_all, fields(gen_ai.operation.name = "execute_tool", gen_ai.tool.name = "t"), err(level = "warn"))]
fn warned() -> Result<(), OutOfPaper> {
    Err(OutOfPaper)
}

/// Feature: A7, L2
/// Behaviour: P10
#[test]
fn a_returned_error_is_an_error_of_span_and_metric() {
    assert_fails("rate_limit", Some("slow down, too many requests"), || {
        displayed(RateLimitError).unwrap_err();
    });
    assert_fails("rate_limit", None, || {
        debugged().unwrap_err();
    });
    assert_fails("_OTHER", Some("tray 2 is empty"), || {
        warned().unwrap_err();
    });
}

/// Feature: A7
/// Behaviour: P10
#[test]
fn each_way_to_say_that_an_operation_failed_is_understood() {
    assert_fails("HTTP_418", None, || {
        let span = info_span!("w", gen_ai.operation.name = "chat", error.type = Empty);
        span.record("error.type", "HTTP_418");
    });
    assert_fails("rate_limit", None, || {
        let span = info_span!("w", gen_ai.operation.name = "chat", error = Empty);
        span.record("error", tracing::field::display(RateLimitError));
    });
    assert_fails("rate_limit", None, || {
        let error: &(dyn std::error::Error + 'static) = &RateLimitError;
        let span = info_span!("w", gen_ai.operation.name = "chat", error = Empty);
        span.record("error", error);
    });
    assert_fails("_OTHER", None, || {
        let span = info_span!("w", gen_ai.operation.name = "chat", error = Empty);
        span.record("error", true);
    });
    assert_fails("_OTHER", None, || {
        let span = info_span!("w", gen_ai.operation.name = "chat", otel.status_code = Empty);
        span.record("otel.status_code", "ERROR");
    });
    assert_fails("_OTHER", Some("it broke"), || {
        let span = info_span!(
            "w",
            gen_ai.operation.name = "chat",
            otel.status_code = Empty,
            otel.status_description = Empty
        );
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_description", "it broke");
    });
    assert_fails("_OTHER", None, || {
        let span = info_span!("w", gen_ai.operation.name = "execute_tool", outcome = Empty);
        span.record("outcome", "error");
    });
    assert_fails("timeout", None, || {
        let span = info_span!("w", gen_ai.operation.name = "execute_tool", agentvitals.outcome = Empty);
        span.record("agentvitals.outcome", "timeout");
    });
}

/// Feature: A7
/// Behaviour: P10
#[test]
fn the_typed_api_says_that_an_operation_failed() {
    assert_fails("rate_limit", Some("slow down, too many requests"), || {
        model_span!("chat", "p", "m").record_error(&RateLimitError);
    });
    assert_fails("OutOfPaper", Some("tray 2 is empty"), || tool_span!("t").record_error(&OutOfPaper));
    assert_fails("_OTHER", Some("tray 2 is empty"), || {
        let boxed: Box<dyn std::error::Error> = Box::new(OutOfPaper);
        tool_span!("t").record_error(&*boxed);
    });
    assert_fails("quota_exceeded", None, || tool_span!("t").record_error_type("quota_exceeded"));
    assert_fails("_OTHER", None, || tool_span!("t").record_error_type(""));
    assert_fails("timeout", None, || tool_span!("t").record_outcome(Outcome::Timeout));
    assert_fails("cancelled", None, || tool_span!("t").record_outcome(Outcome::Cancellation));
    // What the user says beats what was guessed, in either order.
    assert_fails("mine", None, || {
        let span = tool_span!("t");
        span.record_error_type("mine");
        span.record_outcome(Outcome::Error);
    });
    assert_fails("mine", None, || {
        let span = tool_span!("t");
        span.record_outcome(Outcome::Error);
        span.record_error_type("mine");
    });
}

/// Feature: A7
/// Behaviour: P10
#[test]
fn an_operation_that_succeeded_shows_no_error_whatever_was_logged_in_it() {
    assert_succeeds(|| tool_span!("t").in_scope(|| tracing::error!("the first try failed")));
    assert_succeeds(|| tool_span!("t").in_scope(|| tracing::error!(error = %RateLimitError, "retrying")));
    assert_succeeds(|| tool_span!("t").in_scope(|| tracing::warn!(error = ?RateLimitError, "retrying")));
    assert_succeeds(|| {
        let span = info_span!("w", gen_ai.operation.name = "chat", error = Empty, otel.status_code = Empty);
        span.record("error", false);
        span.record("otel.status_code", "OK");
    });
    // A task that was not solved has failed without an error.
    let span = assert_succeeds(|| agent_span!("a").record_outcome(Outcome::Failure));
    assert_eq!(span.str("agentvitals.outcome"), Some("failure"));
    assert_succeeds(|| agent_span!("a").record_outcome(Outcome::Skip));
    assert_succeeds(|| agent_span!("a").record_outcome(Outcome::Success));
}

/// Feature: A7
#[test]
fn an_error_that_the_parent_handled_is_the_childs_alone() {
    let rig = Rig::new();
    rig.run(|| {
        agent_span!("a").in_scope(|| {
            displayed(RateLimitError).unwrap_err();
            tool_span!("u").record_error(&OutOfPaper);
            let caught = catch_unwind(|| tool_span!("v").in_scope(|| panic!("boom")));
            assert!(caught.is_err());
        });
    });
    let spans = rig.spans();
    assert_eq!(
        agentvitals::testing::tree(&spans),
        "invoke_agent a [internal]\n  execute_tool t [internal] ERROR error.type=rate_limit\n  \
         execute_tool u [internal] ERROR error.type=OutOfPaper\n  \
         execute_tool v [internal] ERROR error.type=panic\n"
    );
    assert_eq!(rig.lines("agentvitals.tasks"), ["agentvitals.outcome=success gen_ai.agent.name=a: 1"]);
}

/// Feature: A7, A11, N3
#[test]
fn a_panic_is_an_error_of_every_span_that_it_went_through() {
    let rig = Rig::new();
    rig.run(|| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            agent_span!("a").in_scope(|| {
                rig.advance(10);
                model_span!("chat", "p", "m").in_scope(|| panic!("boom"));
            });
        }));
        assert!(caught.is_err());
        // The thread goes on as if nothing had been.
        agent_span!("b").in_scope(|| ());
    });
    assert_eq!(
        agentvitals::testing::tree(&rig.spans()),
        "invoke_agent a [internal] ERROR error.type=panic\n  chat m [client] ERROR error.type=panic\n\
         invoke_agent b [internal]\n"
    );
    assert_eq!(
        rig.lines("agentvitals.tasks"),
        [
            "agentvitals.outcome=error gen_ai.agent.name=a: 1",
            "agentvitals.outcome=success gen_ai.agent.name=b: 1"
        ]
    );
    assert_eq!(rig.lines("agentvitals.active_tasks"), ["gen_ai.agent.name=a: 0", "gen_ai.agent.name=b: 0"]);
}

/// Feature: A11, N3
#[test]
fn a_task_that_panics_is_an_error_and_no_longer_active() {
    use agentvitals::InOperation as _;
    use tracing::Instrument as _;
    let rig = Rig::new();
    rig.block_on_threads(async {
        let instrumented = tokio::spawn(async { panic!("boom") }.instrument(agent_span!("a")));
        assert!(instrumented.await.unwrap_err().is_panic());
        let operation = tokio::spawn(async { panic!("boom") }.in_operation(agent_span!("b")));
        assert!(operation.await.unwrap_err().is_panic());
    });
    for agent in ["a", "b"] {
        let span = rig.span(&format!("invoke_agent {agent}"));
        assert_eq!(span.str("error.type"), Some("panic"), "{agent}");
    }
    assert_eq!(
        rig.lines("agentvitals.tasks"),
        [
            "agentvitals.outcome=error gen_ai.agent.name=a: 1",
            "agentvitals.outcome=error gen_ai.agent.name=b: 1"
        ]
    );
    assert_eq!(rig.lines("agentvitals.active_tasks"), ["gen_ai.agent.name=a: 0", "gen_ai.agent.name=b: 0"]);
}

/// Feature: A7
#[test]
fn a_future_whose_panic_was_caught_is_a_panic_and_no_cancellation() {
    use agentvitals::InOperation as _;
    use futures_util::FutureExt as _;
    let rig = Rig::new();
    rig.block_on(async {
        let run = async { panic!("boom") }.in_operation(agent_span!("a"));
        let caught: Result<(), _> = AssertUnwindSafe(run).catch_unwind().await;
        assert!(caught.is_err());
    });
    let span = rig.only_span();
    assert_eq!(span.str("error.type"), Some("panic"));
    assert_ne!(span.str("agentvitals.outcome"), Some("cancellation"));
    assert_eq!(rig.lines("agentvitals.tasks"), ["agentvitals.outcome=error gen_ai.agent.name=a: 1"]);
}

/// Behaviour: P14
/// Feature: L1
#[test]
fn spans_carry_no_source_location_threads_or_busy_times() {
    let rig = Rig::new();
    rig.run(|| {
        drop(model_span!("chat", "p", "m"));
        drop(info_span!("plain"));
    });
    for span in rig.spans() {
        let lean: Vec<_> = span.attributes.keys().filter(|key| !key.starts_with("gen_ai.")).collect();
        assert!(lean.is_empty(), "{}: {lean:?}", span.name);
    }
}

/// Behaviour: P13
/// Feature: N3
#[test]
fn events_of_a_span_are_capped_and_what_is_over_is_counted() {
    let rig = Rig::new();
    rig.run(|| {
        agent_span!("eternal").in_scope(|| {
            for step in 0..1_000 {
                tracing::info!(step, "still here");
            }
        });
    });
    let span = rig.only_span();
    assert_eq!((span.events.len(), span.dropped_events), (128, 872));
}

/// Feature: L4
#[test]
fn a_correlation_id_stays_on_the_span_and_trace_ids_are_unique() {
    let rig = Rig::new();
    rig.run(|| {
        for id in ["c-1", "c-2"] {
            drop(agent_span!("a", correlation.id = id));
        }
    });
    let spans = rig.spans();
    assert_eq!(spans[0].str("correlation.id"), Some("c-1"));
    assert_ne!(spans[0].trace_id, spans[1].trace_id);
    assert!(rig.all_points().iter().all(|point| point.attr("correlation.id").is_none()));
}

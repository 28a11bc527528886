//! What each instrument holds, to the last count.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use agentvitals::testing::{PointKind, ReceivedPoint};
use agentvitals::{
    Histograms, InOperation as _, Outcome, RecordOperation as _, SamplerConfig, Usage, agent_span,
    model_span, operation_span, tool_span, workflow_span,
};
use support::Rig;
use tracing::info_span;

const CHAT: &str = "gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=gpt-4o";

/// One run with everything in it.
fn exercise(rig: &Rig) {
    let workflow = workflow_span!("w", agentvitals.workflow.steps.total = 3);
    workflow.record("agentvitals.workflow.steps.completed", 2);
    let _workflow = workflow.entered();
    let agent = agent_span!("a", gen_ai.conversation.id = "conversation-1", user.id = "user-1");
    agent.record("agentvitals.task.type", "refund");
    agent.in_scope(|| {
        let chat = model_span!("chat", "openai", "gpt-4o");
        chat.in_scope(|| rig.advance(1_500));
        chat.record_usage(Usage::new(1_000, 100).cache_read(400).cache_write(50).reasoning(30));
        chat.record("gen_ai.response.model", "gpt-4o-2024-08-06");
        chat.record("server.address", "api.example.com");
        chat.record("server.port", 443);
        chat.record("gen_ai.response.id", "response-1");
        chat.record_input_messages("[\"message-1\"]");
        drop(chat);
        let tool = tool_span!("t", gen_ai.tool.call.id = "call-1");
        tool.record("gen_ai.tool.type", "function");
        tool.record_tool_input("12345");
        tool.record_tool_output("1234567890");
        tool.in_scope(|| rig.advance(500));
    });
}

/// Feature: A2, A4, A5, C1, D1, E1, A9
/// Behaviour: P17, P31
#[test]
fn each_instrument_has_the_attributes_of_the_conventions_and_exact_sums() {
    let rig = Rig::new();
    rig.run(|| exercise(&rig));
    let served = "gen_ai.agent.name=a gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=gpt-4o \
                  gen_ai.response.model=gpt-4o-2024-08-06";
    let at = "server.address=api.example.com server.port=443";
    for (metric, expected) in [
        ("gen_ai.client.operation.duration", vec![format!("{served} {at}: count 1 sum 1.5")]),
        (
            "gen_ai.client.token.usage",
            vec![
                format!("{served} gen_ai.token.type=input {at}: count 1 sum 1000"),
                format!("{served} gen_ai.token.type=output {at}: count 1 sum 100"),
            ],
        ),
        (
            "agentvitals.token.details",
            vec![
                format!("agentvitals.token.detail=cache_read {served} {at}: 400"),
                format!("agentvitals.token.detail=cache_write {served} {at}: 50"),
                format!("agentvitals.token.detail=reasoning {served} {at}: 30"),
            ],
        ),
        ("gen_ai.invoke_agent.duration", vec!["gen_ai.agent.name=a: count 1 sum 2".into()]),
        ("gen_ai.invoke_agent.inference_calls", vec!["gen_ai.agent.name=a: count 1 sum 1".into()]),
        ("gen_ai.invoke_agent.tool_calls", vec!["gen_ai.agent.name=a: count 1 sum 1".into()]),
        (
            "gen_ai.execute_tool.duration",
            vec!["gen_ai.agent.name=a gen_ai.tool.name=t gen_ai.tool.type=function: count 1 sum 0.5".into()],
        ),
        ("gen_ai.invoke_workflow.duration", vec!["gen_ai.workflow.name=w: count 1 sum 2".into()]),
        ("agentvitals.workflow.steps.completed", vec!["gen_ai.workflow.name=w: count 1 sum 2".into()]),
        (
            "agentvitals.tasks",
            vec!["agentvitals.outcome=success agentvitals.task.type=refund gen_ai.agent.name=a: 1".into()],
        ),
        ("agentvitals.active_tasks", vec!["gen_ai.agent.name=a: 0".into()]),
        (
            "agentvitals.tool.input.size",
            vec!["gen_ai.agent.name=a gen_ai.tool.name=t gen_ai.tool.type=function: count 1 sum 5".into()],
        ),
        (
            "agentvitals.tool.output.size",
            vec!["gen_ai.agent.name=a gen_ai.tool.name=t gen_ai.tool.type=function: count 1 sum 10".into()],
        ),
    ] {
        assert_eq!(rig.lines(metric), expected, "{metric}");
    }
    assert_eq!(rig.points("agentvitals.tool.input.size")[0].unit, "By");
}

/// Behaviour: P25
/// Feature: N3
#[test]
fn nothing_of_high_cardinality_is_ever_on_a_metric() {
    let rig = Rig::new();
    rig.run(|| {
        exercise(&rig);
        drop(info_span!(
            "w",
            gen_ai.operation.name = "chat",
            gen_ai.conversation.id = "conversation-1",
            gen_ai.input.messages = "message-1",
            session.id = "session-1",
            user.id = "user-1",
            request_id = "r"
        ));
        drop(operation_span!("own", user.id = "user-1"));
    });
    let allowed: BTreeSet<&str> = [
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.token.type",
        "gen_ai.agent.name",
        "gen_ai.tool.name",
        "gen_ai.tool.type",
        "gen_ai.workflow.name",
        "server.address",
        "server.port",
        "error.type",
        "mcp.method.name",
        "agentvitals.outcome",
        "agentvitals.task.type",
        "agentvitals.token.detail",
        "agentvitals.operation.name",
        "agentvitals.cost.partial",
        "agentvitals.metric.name",
        "agentvitals.reason",
    ]
    .into();
    for point in rig.all_points() {
        let keys: BTreeSet<&str> = point.attributes.keys().map(String::as_str).collect();
        assert!(keys.is_subset(&allowed), "{}: {:?}", point.name, point.attributes);
    }
}

/// Feature: L6, A13
/// Behaviour: P15
#[test]
fn sampling_changes_no_metric() {
    let by_name = |rig: &Rig| -> Vec<String> {
        rig.all_points()
            .iter()
            .filter(|point| !point.name.starts_with("agentvitals.sdk."))
            .map(|point| format!("{} {}", point.name, support::line(point)))
            .collect()
    };
    let run = |sampler: SamplerConfig| {
        let rig = Rig::with(|builder| builder.sampler(sampler));
        rig.run(|| {
            for _ in 0..20 {
                exercise(&rig);
                model_span!("chat", "openai", "gpt-4o").record_error_type("timeout");
            }
        });
        rig
    };
    let (all, none, half) =
        (run(SamplerConfig::always_on()), run(SamplerConfig::always_off()), run(SamplerConfig::ratio(0.5)));
    assert_eq!((all.spans().len(), none.spans().len()), (100, 0));
    assert!(by_name(&all).len() > 15, "{:?}", by_name(&all));
    assert_eq!(by_name(&all), by_name(&none));
    assert_eq!(by_name(&all), by_name(&half));
}

/// Feature: A2
/// Behaviour: P8
#[test]
fn a_duration_ends_when_the_function_returns_and_not_when_the_last_handle_goes() {
    let rig = Rig::new();
    let kept = rig.run(|| {
        let span = agent_span!("a");
        span.in_scope(|| rig.advance(50));
        let kept = span.clone();
        drop(span);
        rig.advance(500);
        kept
    });
    rig.run(|| drop(kept));
    assert_eq!(rig.lines("gen_ai.invoke_agent.duration"), ["gen_ai.agent.name=a: count 1 sum 0.05"]);
}

/// Behaviour: P8
/// Feature: A2, A11
#[test]
fn an_operations_future_is_measured_when_it_returns_although_its_span_lives_on() {
    let rig = Rig::new();
    let kept = rig.block_on(async {
        let span = agent_span!("a");
        async { rig.advance(50) }.in_operation(span.clone()).await;
        rig.advance(500);
        span
    });
    assert_eq!(rig.lines("gen_ai.invoke_agent.duration"), ["gen_ai.agent.name=a: count 1 sum 0.05"]);
    assert_eq!(rig.vitals.active_tasks()["a"], 0);
    drop(kept);
    assert_eq!(rig.lines("gen_ai.invoke_agent.duration"), ["gen_ai.agent.name=a: count 1 sum 0.05"]);
}

/// Feature: A1, A11, A13
#[test]
fn tasks_are_counted_by_outcome_and_active_ones_exactly() {
    let rig = Rig::new();
    rig.run(|| {
        let running: Vec<_> = (0..5).map(|_| agent_span!("a")).collect();
        assert_eq!(rig.vitals.active_tasks()["a"], 5);
        assert_eq!(rig.lines("agentvitals.active_tasks"), ["gen_ai.agent.name=a: 5"]);
        let outcomes =
            [Outcome::Success, Outcome::Failure, Outcome::Error, Outcome::Timeout, Outcome::Cancellation];
        for (span, outcome) in running.iter().zip(outcomes) {
            span.record_outcome(outcome);
        }
        drop(running);
        drop(agent_span!("a"));
    });
    assert_eq!(
        rig.lines("agentvitals.tasks"),
        [
            "agentvitals.outcome=cancellation gen_ai.agent.name=a: 1",
            "agentvitals.outcome=error gen_ai.agent.name=a: 1",
            "agentvitals.outcome=failure gen_ai.agent.name=a: 1",
            "agentvitals.outcome=success gen_ai.agent.name=a: 2",
            "agentvitals.outcome=timeout gen_ai.agent.name=a: 1",
        ]
    );
    assert_eq!(rig.vitals.active_tasks()["a"], 0);
    assert_eq!(
        rig.lines("gen_ai.invoke_agent.duration"),
        [
            "error.type=_OTHER gen_ai.agent.name=a: count 1 sum 0",
            "error.type=cancelled gen_ai.agent.name=a: count 1 sum 0",
            "error.type=timeout gen_ai.agent.name=a: count 1 sum 0",
            "gen_ai.agent.name=a: count 3 sum 0",
        ]
    );
}

/// Feature: A11
#[test]
fn a_run_that_was_never_started_or_was_dropped_on_the_way_is_not_active() {
    let rig = Rig::new();
    rig.block_on(async {
        drop(async {}.in_operation(agent_span!("never polled")));
        tokio::select! {
            biased;
            () = std::future::pending::<()>().in_operation(agent_span!("lost the race")) => {}
            () = async {} => {}
        }
        let task = tokio::spawn(std::future::pending::<()>().in_operation(agent_span!("aborted")));
        tokio::task::yield_now().await;
        assert_eq!(rig.vitals.active_tasks()["aborted"], 1);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    });
    for (agent, active) in rig.vitals.active_tasks() {
        assert_eq!(active, 0, "{agent}");
    }
    assert_eq!(
        rig.lines("agentvitals.tasks"),
        ["aborted", "lost the race", "never polled"]
            .map(|agent| format!("agentvitals.outcome=cancellation gen_ai.agent.name={agent}: 1"))
    );
}

/// Feature: A11
#[test]
fn an_agent_that_is_renamed_while_it_runs_is_active_under_its_new_name() {
    let rig = Rig::new();
    rig.run(|| {
        let span = info_span!(
            "w",
            gen_ai.operation.name = "invoke_agent",
            gen_ai.agent.name = tracing::field::Empty
        );
        span.record("gen_ai.agent.name", "a");
        span.record("gen_ai.agent.name", "b");
        let active = rig.vitals.active_tasks();
        assert_eq!((active["a"], active["b"]), (0, 1));
    });
    assert_eq!(rig.vitals.active_tasks()["b"], 0);
}

/// Feature: C3
#[test]
fn retries_and_fallbacks_that_are_reported_are_counted() {
    let rig = Rig::new();
    rig.run(|| {
        model_span!("chat", "openai", "gpt-4o").record_retries(2);
        let span = model_span!("chat", "openai", "gpt-4o");
        span.record("agentvitals.fallback.used", true);
        span.record("agentvitals.fallback.from_model", "gpt-5");
        tool_span!("t").record_retries(1);
        tool_span!("t").record_retries(0);
    });
    assert_eq!(
        rig.lines("agentvitals.retries"),
        [format!("{CHAT}: 2"), "gen_ai.operation.name=execute_tool gen_ai.tool.name=t: 1".into()]
    );
    assert_eq!(rig.lines("agentvitals.fallbacks"), [format!("{CHAT}: 1")]);
}

/// Feature: C3
#[test]
fn a_call_made_again_after_an_error_is_a_retry_and_to_another_model_a_fallback() {
    let rig = Rig::new();
    let fail = |span: tracing::Span| span.record_error_type("rate_limit");
    rig.run(|| {
        agent_span!("a").in_scope(|| {
            fail(model_span!("chat", "openai", "gpt-4o"));
            fail(model_span!("chat", "openai", "gpt-4o"));
            drop(model_span!("chat", "openai", "gpt-4o"));
            // Nothing failed before this one.
            drop(model_span!("chat", "openai", "gpt-4o"));
            fail(model_span!("chat", "openai", "gpt-4o"));
            drop(model_span!("chat", "anthropic", "claude"));
            fail(tool_span!("t"));
            drop(tool_span!("t"));
            // Another tool is another idea.
            fail(tool_span!("t"));
            drop(tool_span!("u"));
        });
        // Another agent's failure is nobody's retry.
        agent_span!("b").in_scope(|| fail(model_span!("chat", "openai", "gpt-4o")));
        agent_span!("b").in_scope(|| drop(model_span!("chat", "openai", "gpt-4o")));
    });
    assert_eq!(
        rig.lines("agentvitals.retries"),
        [
            "error.type=rate_limit gen_ai.agent.name=a gen_ai.operation.name=chat gen_ai.provider.name=openai \
             gen_ai.request.model=gpt-4o: 2",
            "error.type=rate_limit gen_ai.operation.name=execute_tool gen_ai.tool.name=t: 1",
        ]
    );
    assert_eq!(
        rig.lines("agentvitals.fallbacks"),
        [
            "error.type=rate_limit gen_ai.agent.name=a gen_ai.operation.name=chat gen_ai.provider.name=anthropic \
          gen_ai.request.model=claude: 1"
        ]
    );
}

/// Feature: A10
#[test]
fn recovery_is_the_time_from_the_first_error_to_the_next_success() {
    let rig = Rig::new();
    let call = |tool: &str, error: Option<&str>| {
        let span = tool_span!(tool);
        span.in_scope(|| rig.advance(100));
        if let Some(error) = error {
            span.record_error_type(error);
        }
    };
    rig.run(|| {
        call("t", None);
        call("t", Some("timeout"));
        call("u", None);
        rig.advance(2_000);
        call("t", Some("timeout"));
        assert_eq!(rig.vitals.open_failures(), [(agentvitals::OperationKind::Tool, "t")]);
        assert_eq!(rig.lines("agentvitals.open_failures"), ["gen_ai.tool.name=t: 1"]);
        call("t", None);
        call("t", None);
    });
    // u 0.1, pause 2, t again 0.1, t well 0.1.
    assert_eq!(rig.lines("agentvitals.recovery.duration"), ["gen_ai.tool.name=t: count 1 sum 2.3"]);
    assert_eq!(rig.vitals.open_failures(), []);
}

/// Feature: A10
#[test]
fn a_call_that_was_given_up_is_neither_an_outage_nor_a_recovery() {
    let rig = Rig::new();
    rig.advance(100);
    rig.run(|| {
        tool_span!("t").record_outcome(Outcome::Cancellation);
        assert_eq!(rig.vitals.open_failures(), []);
        tool_span!("t").record_error_type("timeout");
        rig.advance(1_000);
        tool_span!("t").record_outcome(Outcome::Cancellation);
        assert_eq!(rig.vitals.open_failures(), [(agentvitals::OperationKind::Tool, "t")]);
        rig.advance(1_000);
        drop(tool_span!("t"));
    });
    assert_eq!(rig.lines("agentvitals.recovery.duration"), ["gen_ai.tool.name=t: count 1 sum 2"]);
}

/// Feature: A4, E1
/// Behaviour: P17
#[test]
fn usage_on_spans_above_the_model_call_is_not_counted_again() {
    let rig = Rig::new();
    rig.run(|| {
        let agent = info_span!(
            "w",
            gen_ai.operation.name = "invoke_agent",
            gen_ai.agent.name = "a",
            gen_ai.provider.name = "openai",
            gen_ai.request.model = "gpt-4o",
            gen_ai.usage.input_tokens = 1_000,
            gen_ai.usage.output_tokens = 100
        );
        agent.in_scope(|| model_span!("chat", "openai", "gpt-4o").record_usage(Usage::new(1_000, 100)));
        info_span!("w", gen_ai.operation.name = "fetch_response", gen_ai.usage.input_tokens = 1_000)
            .in_scope(|| ());
    });
    assert_eq!(rig.sum("gen_ai.client.token.usage"), 1_100.0);
    assert_eq!(rig.sum("agentvitals.cost"), 3_500_000.0);
    assert_eq!(rig.vitals.cost().total().input_tokens, 1_000);
}

/// Feature: A6, E5
/// Behaviour: P18
#[test]
fn an_unknown_price_is_counted_as_unknown_and_marks_what_it_is_part_of() {
    let rig = Rig::new();
    rig.run(|| {
        agent_span!("mixed").in_scope(|| {
            model_span!("chat", "openai", "gpt-4o").record_usage(Usage::new(1_000, 100));
            model_span!("chat", "acme", "never-heard-of").record_usage(Usage::new(1_000, 100));
        });
        agent_span!("unknown").in_scope(|| {
            model_span!("chat", "acme", "never-heard-of").record_usage(Usage::new(1_000, 100));
        });
        agent_span!("known").in_scope(|| {
            model_span!("chat", "openai", "gpt-4o").record_usage(Usage::new(1_000, 100));
        });
        drop(agent_span!("idle"));
    });
    let unknown = "gen_ai.operation.name=chat gen_ai.provider.name=acme gen_ai.request.model=never-heard-of";
    assert_eq!(
        rig.lines("agentvitals.cost.unpriced_calls"),
        ["mixed", "unknown"].map(|agent| format!("gen_ai.agent.name={agent} {unknown}: 1"))
    );
    assert_eq!(
        rig.lines("agentvitals.cost"),
        ["known", "mixed"].map(|agent| format!("gen_ai.agent.name={agent} {CHAT}: 3500000"))
    );
    assert_eq!(
        rig.lines("agentvitals.invoke_agent.cost"),
        [
            "agentvitals.cost.partial=true gen_ai.agent.name=mixed: count 1 sum 0.0035",
            "gen_ai.agent.name=known: count 1 sum 0.0035",
        ]
    );
    let mixed = rig.span("invoke_agent mixed");
    assert_eq!(mixed.bool("agentvitals.cost.partial"), Some(true));
    assert_eq!(mixed.float("agentvitals.aggregated.cost.amount"), Some(0.0035));
    let alone = rig.span("invoke_agent unknown");
    assert_eq!(
        (alone.attr("agentvitals.aggregated.cost.amount"), alone.bool("agentvitals.cost.partial")),
        (None, Some(true))
    );
    assert!(rig.span("invoke_agent known").attr("agentvitals.cost.partial").is_none());
}

/// Feature: D1
#[test]
fn where_a_workflow_stopped_shows_in_its_steps_and_its_error() {
    let rig = Rig::new();
    rig.run(|| {
        let span = workflow_span!("w", agentvitals.workflow.steps.total = 3);
        span.record("agentvitals.workflow.steps.completed", 1);
        span.record_error_type("tool_error");
    });
    let span = rig.only_span();
    assert_eq!(span.int("agentvitals.workflow.steps.completed"), Some(1));
    assert_eq!(span.int("agentvitals.workflow.steps.total"), Some(3));
    assert_eq!(rig.lines("agentvitals.workflow.steps.completed"), ["gen_ai.workflow.name=w: count 1 sum 1"]);
    assert_eq!(
        rig.lines("gen_ai.invoke_workflow.duration"),
        ["error.type=tool_error gen_ai.workflow.name=w: count 1 sum 0"]
    );
}

/// Feature: A9
#[test]
fn the_task_type_of_a_run_is_on_its_task() {
    let rig = Rig::new();
    rig.run(|| {
        agent_span!("a", agentvitals.task.type = "refund").record_outcome(Outcome::Failure);
        drop(info_span!("w", gen_ai.operation.name = "invoke_agent", gen_ai.agent.name = "a", task.type = "refund"));
        drop(agent_span!("a"));
    });
    assert_eq!(
        rig.lines("agentvitals.tasks"),
        [
            "agentvitals.outcome=failure agentvitals.task.type=refund gen_ai.agent.name=a: 1",
            "agentvitals.outcome=success agentvitals.task.type=refund gen_ai.agent.name=a: 1",
            "agentvitals.outcome=success gen_ai.agent.name=a: 1",
        ]
    );
}

/// Feature: B1, B2
#[test]
fn an_operation_of_ones_own_is_measured_by_its_name_and_its_ids_stay_on_the_span() {
    let rig = Rig::with(|builder| builder.metric_attribute("request.priority"));
    rig.run(|| {
        operation_span!("support_request", user.id = "u1", request.priority = "high")
            .in_scope(|| rig.advance(20));
        {
            let _tracked = agentvitals::track("data_processing");
            rig.advance(30);
        }
    });
    let span = rig.span("support_request");
    assert_eq!((span.str("user.id"), span.str("request.priority")), (Some("u1"), Some("high")));
    assert_eq!(
        rig.lines("agentvitals.operation.duration"),
        [
            "agentvitals.operation.name=data_processing: count 1 sum 0.03",
            "agentvitals.operation.name=support_request request.priority=high: count 1 sum 0.02",
        ]
    );
}

/// Feature: A2, A5
/// Behaviour: P23
#[test]
fn histograms_are_exponential_unless_the_buckets_of_the_conventions_are_asked_for() {
    let duration =
        vec![0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
    let agent = vec![0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6];
    let calls = vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
    let tokens: Vec<f64> = (0..14).map(|power| 4f64.powi(power)).collect();
    let workflow = vec![1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0];
    let mcp = vec![0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
    let expected = [
        ("gen_ai.client.operation.duration", duration.clone()),
        ("gen_ai.client.operation.time_to_first_chunk", duration.clone()),
        ("gen_ai.client.operation.time_per_output_chunk", duration.clone()),
        ("gen_ai.client.token.usage", tokens),
        ("gen_ai.invoke_agent.duration", agent),
        ("gen_ai.invoke_agent.inference_calls", calls.clone()),
        ("gen_ai.invoke_agent.tool_calls", calls),
        ("gen_ai.execute_tool.duration", duration),
        ("gen_ai.invoke_workflow.duration", workflow),
        ("mcp.client.operation.duration", mcp.clone()),
        ("mcp.server.operation.duration", mcp),
    ];
    let run = |histograms| {
        let rig = Rig::with(|builder| builder.histograms(histograms));
        rig.run(|| {
            exercise(&rig);
            let chat = model_span!("chat", "p", "m");
            chat.record_chunk();
            chat.record_chunk();
            drop(chat);
            drop(info_span!("w", mcp.method.name = "tools/list"));
            drop(info_span!("w", mcp.method.name = "tools/list", otel.kind = "server"));
        });
        rig
    };
    let (explicit, exponential) = (run(Histograms::Explicit), run(Histograms::Exponential));
    for (name, bounds) in expected {
        let points = explicit.points(name);
        assert!(!points.is_empty(), "{name}");
        for point in points {
            let PointKind::Histogram { bounds: actual, .. } = point.kind else { panic!("{name}: {point:?}") };
            assert_eq!(actual, bounds, "{name}");
        }
        let points = exponential.points(name);
        assert!(
            points.iter().all(|point| matches!(point.kind, PointKind::ExponentialHistogram { .. })),
            "{name}"
        );
    }
    assert!(Rig::new().vitals.config().histograms == Histograms::Exponential, "exponential is the default");
}

/// Feature: N3
/// Behaviour: P33
#[test]
fn the_sdk_reports_about_itself() {
    let rig = Rig::new();
    rig.run(|| exercise(&rig));
    rig.flush();
    // The counts of the spans that this flush sent are seen by the next collection.
    rig.flush();
    let one = |name: &str| -> Vec<String> { rig.lines(name) };
    assert_eq!(one("agentvitals.sdk.up"), [": 1"]);
    assert_eq!(one("agentvitals.sdk.operations"), [": 4"]);
    assert_eq!(one("agentvitals.sdk.operations.refused"), [": 0"]);
    assert_eq!(one("agentvitals.sdk.spans.exported"), [": 4"]);
    assert!(one("agentvitals.sdk.spans.lost").iter().all(|line| line.ends_with(": 0")));
    assert_eq!(one("agentvitals.sdk.values.truncated"), [": 0"]);
    let status = rig.vitals.status();
    assert!(status.attached && status.up && status.warnings.is_empty(), "{status:?}");
    assert_eq!((status.operations, status.operations_refused), (4, 0));
}

/// Behaviour: P31
/// Feature: N6
#[test]
fn one_collection_has_each_series_once_and_metrics_of_ones_own_come_along() {
    use std::sync::{Arc, Mutex};
    let seen: Arc<Mutex<Vec<Vec<ReceivedPoint>>>> = Arc::default();
    let collections = seen.clone();
    let rig = Rig::with(|builder| {
        builder.observe_metrics(Arc::new(move |metrics| {
            collections.lock().unwrap().push(ReceivedPoint::from_metrics(metrics));
        }))
    });
    let own = rig.vitals.meter("mine").u64_counter("orders").build();
    rig.run(|| exercise(&rig));
    own.add(3, &[]);
    rig.flush();
    let collections = seen.lock().unwrap();
    assert_eq!(collections.len(), 1, "a flush collects once");
    let series: Vec<String> =
        collections[0].iter().map(|point| format!("{} {:?}", point.name, point.attributes)).collect();
    let unique: BTreeSet<&String> = series.iter().collect();
    assert_eq!(unique.len(), series.len(), "{series:?}");
    assert!(collections[0].iter().any(|point| point.name == "orders" && point.int_value() == Some(3)));
    // What is seen is what is exported.
    let mut observed: Vec<String> =
        collections[0].iter().map(|point| format!("{} {}", point.name, support::line(point))).collect();
    observed.sort();
    drop(collections);
    let exported = rig.all_points();
    assert_eq!(exported.len(), observed.len());
}

/// Feature: A13
#[test]
fn smallest_and_largest_are_exact_and_ratios_are_no_percentages() {
    let rig = Rig::new();
    rig.run(|| {
        for milliseconds in [5, 20, 700] {
            tool_span!("t").in_scope(|| rig.advance(milliseconds));
        }
    });
    let points = rig.points("gen_ai.execute_tool.duration");
    let PointKind::ExponentialHistogram { min, max, count, .. } = points[0].kind else { panic!() };
    assert_eq!((min, max, count), (Some(0.005), Some(0.7), 3));
    for point in rig.all_points() {
        assert!(!point.name.contains("percent") && point.unit != "%", "{}", point.name);
    }
}

/// Feature: A14
#[test]
fn the_process_shows_that_it_is_up_since_when_and_with_how_many_agents() {
    let rig = Rig::new();
    assert_eq!(rig.lines("agentvitals.up"), [": 1"]);
    assert_eq!(rig.lines("agentvitals.start_time"), [": 1767225600"]);
    assert_eq!(rig.lines("agentvitals.agents.seen"), [": 0"]);
    rig.run(|| {
        drop(agent_span!("a"));
        drop(agent_span!("a"));
        let _running = agent_span!("b");
        assert_eq!(rig.lines("agentvitals.agents.seen"), [": 2"]);
        rig.advance(301_000);
        assert_eq!(rig.lines("agentvitals.agents.seen"), [": 1"], "the one that still runs");
    });
    rig.advance(8_100_000 - 301_000);
    let status = rig.vitals.status();
    assert_eq!((status.uptime.as_secs(), status.agents_seen), (8_100, 0), "2 h 15 min");
    assert_eq!(rig.lines("agentvitals.start_time"), [": 1767225600"]);
}

/// Feature: N9
#[test]
fn what_is_told_of_operations_and_of_the_sdk_serialises_with_stable_names() {
    use agentvitals::{ErrorClass, OperationKind};
    let json = |value: &dyn erased::Json| value.json();
    assert_eq!(json(&Outcome::Cancellation), "\"cancellation\"");
    assert_eq!(json(&OperationKind::FetchResponse), "\"fetch_response\"");
    assert_eq!(json(&ErrorClass::RateLimit), "\"rate_limit\"");
    let usage = Usage::new(3, 4).reasoning(1);
    let text = json(&usage);
    assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), usage);
    assert_eq!(serde_json::from_str::<Usage>("{\"input_tokens\":3}").unwrap().input_tokens, Some(3));
    assert_eq!(serde_json::from_str::<Outcome>("\"timeout\"").unwrap(), Outcome::Timeout);
    let rig = Rig::new();
    rig.run(|| exercise(&rig));
    let status: serde_json::Value = serde_json::from_str(&json(&rig.vitals.status())).unwrap();
    assert_eq!((&status["attached"], &status["operations"]), (&true.into(), &4.into()));
    assert!(status["export"]["spans_exported"].is_u64(), "{status}");
    let cost: serde_json::Value = serde_json::from_str(&json(&rig.vitals.cost())).unwrap();
    assert!(cost.is_object() || cost.is_array(), "{cost}");
}

mod erased {
    pub(crate) trait Json {
        fn json(&self) -> String;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> String {
            serde_json::to_string(self).unwrap()
        }
    }
}

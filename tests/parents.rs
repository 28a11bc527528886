//! Who is whose child: across awaits, tasks, threads, runtimes and processes.

mod support;

use std::time::Duration;

use agentvitals::propagation::{extract, inject, set_remote_parent};
use agentvitals::testing::{find_span, find_spans, tree};
use agentvitals::{InOperation as _, RecordOperation as _, agent_span, model_span, tool_span};
use support::Rig;
use tracing::{Instrument as _, Span, info_span, instrument};

const CALL_IN_RUN: &str = "invoke_agent a [internal]\n  chat m [client]\n";

#[instrument(fields(gen_ai.operation.name = "chat", gen_ai.request.model = "m"))]
async fn chat() {
    tokio::task::yield_now().await;
}

#[instrument(fields(gen_ai.operation.name = "execute_tool", gen_ai.tool.name = name))]
async fn tool(name: &'static str) {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

#[instrument(fields(gen_ai.operation.name = "invoke_agent", gen_ai.agent.name = "a"))]
async fn agent() {
    chat().await;
    tokio::join!(tool("left"), tool("right"));
    tokio::select! {
        () = chat() => {}
        () = std::future::pending() => {}
    }
}

const RUN: &str = "invoke_agent a [internal]\n  chat m [client]\n  execute_tool left [internal]\n  \
                   execute_tool right [internal]\n  chat m [client]\n";

/// Feature: L1
#[test]
fn children_find_their_parent_across_awaits_join_and_select() {
    let rig = Rig::new();
    rig.block_on(agent());
    assert_eq!(tree(&rig.spans()), RUN);
    let rig = Rig::new();
    rig.block_on_threads(async { tokio::spawn(agent()).await.unwrap() });
    assert_eq!(tree(&rig.spans()), RUN);
}

/// Feature: L1
#[test]
fn interleaved_runs_on_one_thread_keep_their_own_children() {
    let rig = Rig::new();
    rig.block_on(async {
        let run = |name: &'static str| {
            async move {
                for _ in 0..5 {
                    chat().await;
                    tool(name).await;
                }
            }
            .instrument(agent_span!(name))
        };
        tokio::join!(run("a"), run("b"), run("c"));
    });
    let spans = rig.spans();
    for name in ["a", "b", "c"] {
        let agent = find_span(&spans, &format!("invoke_agent {name}"));
        let children = spans.iter().filter(|span| span.parent_span_id.as_ref() == Some(&agent.span_id));
        let tools = find_spans(&spans, &format!("execute_tool {name}"));
        assert_eq!(children.count(), 10);
        assert!(tools.iter().all(|tool| tool.parent_span_id.as_ref() == Some(&agent.span_id)));
    }
    assert_eq!(
        rig.lines("gen_ai.invoke_agent.inference_calls"),
        ["a", "b", "c"].map(|name| format!("gen_ai.agent.name={name}: count 1 sum 5"))
    );
}

/// Feature: L1
/// Behaviour: P7
#[test]
fn spawned_work_keeps_its_parent() {
    let rig = Rig::new();
    rig.block_on_threads(async {
        async {
            tokio::spawn(chat().instrument(Span::current())).await.unwrap();
            agentvitals::propagation::spawn(chat()).await.unwrap();
            tokio::spawn(chat().in_operation(tool_span!("t"))).await.unwrap();
        }
        .instrument(agent_span!("a"))
        .await;
    });
    assert_eq!(
        tree(&rig.spans()),
        "invoke_agent a [internal]\n  chat m [client]\n  chat m [client]\n  execute_tool t [internal]\n    \
         chat m [client]\n"
    );
    assert_eq!(rig.lines("gen_ai.invoke_agent.inference_calls"), ["gen_ai.agent.name=a: count 1 sum 3"]);
}

/// Feature: L1
/// Behaviour: P7
#[test]
fn threads_that_enter_a_clone_of_the_span_are_inside_of_it() {
    let rig = Rig::new();
    rig.run(|| {
        let agent = agent_span!("a");
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (agent, dispatch) = (agent.clone(), rig.dispatch.clone());
                scope.spawn(move || {
                    tracing::dispatcher::with_default(&dispatch, || {
                        let _entered = agent.entered();
                        model_span!("chat", "p", "m").in_scope(|| ());
                    });
                });
            }
        });
    });
    let spans = rig.spans();
    let agent = find_span(&spans, "invoke_agent a");
    for chat in find_spans(&spans, "chat m") {
        assert_eq!(chat.parent_span_id.as_ref(), Some(&agent.span_id));
    }
    assert_eq!(rig.lines("gen_ai.invoke_agent.inference_calls"), ["gen_ai.agent.name=a: count 1 sum 3"]);
}

/// Feature: L1
#[test]
fn explicit_parents_and_explicit_roots_are_obeyed() {
    let rig = Rig::new();
    rig.run(|| {
        let agent = agent_span!("a");
        agent_span!("other").in_scope(|| {
            drop(info_span!(parent: &agent, "w", gen_ai.operation.name = "chat", gen_ai.request.model = "m"));
            drop(info_span!(parent: None, "w", gen_ai.operation.name = "chat", gen_ai.request.model = "m"));
        });
    });
    assert_eq!(tree(&rig.spans()), format!("{CALL_IN_RUN}invoke_agent other [internal]\nchat m [client]\n"));
    assert_eq!(
        rig.lines("gen_ai.invoke_agent.inference_calls"),
        ["gen_ai.agent.name=a: count 1 sum 1", "gen_ai.agent.name=other: count 1 sum 0"]
    );
}

/// Feature: L1, L4
/// Behaviour: P28
#[test]
fn a_trace_goes_on_in_the_process_that_is_called_over_http() {
    let (caller, called) = (Rig::new(), Rig::new());
    let mut headers = http::HeaderMap::new();
    caller.run(|| agent_span!("a").in_scope(|| inject(&Span::current(), &mut headers)));
    assert!(headers.contains_key("traceparent"), "{headers:?}");
    called.run(|| {
        let span = agent_span!("b");
        set_remote_parent(&span, extract(&headers)).unwrap();
        span.in_scope(|| drop(model_span!("chat", "p", "m")));
    });
    let parent = caller.only_span();
    let spans = called.spans();
    let child = find_span(&spans, "invoke_agent b");
    assert_eq!((&child.trace_id, child.parent_span_id.as_ref()), (&parent.trace_id, Some(&parent.span_id)));
    assert_eq!(child.parent_is_remote, Some(true));
    assert_eq!(find_span(&spans, "chat m").trace_id, parent.trace_id);
    // The agent in the other process is no agent of this one.
    assert_eq!(called.lines("agentvitals.tasks"), ["agentvitals.outcome=success gen_ai.agent.name=b: 1"]);
}

/// Feature: L1
/// Behaviour: P28
#[test]
fn a_trace_goes_on_in_the_process_that_is_called_over_mcp() {
    let (caller, called) = (Rig::new(), Rig::new());
    let mut meta = serde_json::Map::new();
    caller.run(|| {
        info_span!("w", mcp.method.name = "tools/call", otel.kind = "client")
            .in_scope(|| inject(&Span::current(), &mut meta));
    });
    called.run(|| {
        let span = info_span!("w", mcp.method.name = "tools/call", otel.kind = "server");
        set_remote_parent(&span, extract(&meta)).unwrap();
    });
    let (client, server) = (caller.only_span(), called.only_span());
    assert_eq!((&server.trace_id, server.parent_span_id), (&client.trace_id, Some(client.span_id)));
    assert_eq!((client.kind.as_str(), server.kind.as_str()), ("client", "server"));
}

/// Behaviour: P28
#[test]
fn a_remote_parent_that_comes_too_late_is_an_error_and_breaks_nothing() {
    let rig = Rig::new();
    let mut headers = http::HeaderMap::new();
    headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
    rig.run(|| {
        let span = agent_span!("a");
        span.in_scope(|| drop(model_span!("chat", "p", "m")));
        let error = set_remote_parent(&span, extract(&headers)).unwrap_err();
        assert!(error.is_install(), "{error}");
        assert!(error.to_string().contains("too late"), "{error}");
    });
    assert_eq!(tree(&rig.spans()), CALL_IN_RUN);
    assert_ne!(rig.span("invoke_agent a").trace_id, "0af7651916cd43dd8448eb211c80319c");
}

/// Behaviour: P28
/// Feature: N3
#[test]
fn headers_that_are_no_context_leave_the_span_a_root() {
    for value in ["", "nonsense", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
        let rig = Rig::new();
        let mut headers = http::HeaderMap::new();
        headers.insert("traceparent", value.parse().unwrap());
        rig.run(|| set_remote_parent(&agent_span!("a"), extract(&headers)).unwrap());
        assert!(rig.only_span().is_root(), "{value}");
    }
}

/// Feature: L6
#[test]
fn the_callers_decision_not_to_sample_is_followed_and_still_measured() {
    let rig = Rig::new();
    let mut headers = http::HeaderMap::new();
    headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".parse().unwrap());
    rig.run(|| {
        let span = agent_span!("a");
        set_remote_parent(&span, extract(&headers)).unwrap();
        span.in_scope(|| drop(model_span!("chat", "p", "m")));
    });
    assert_eq!(rig.spans(), []);
    assert_eq!(rig.count("gen_ai.client.operation.duration"), 1);
    assert_eq!(rig.count("gen_ai.invoke_agent.duration"), 1);
}

/// Feature: A5, L1
#[test]
fn calls_count_at_the_agent_that_made_them_and_not_at_those_above_it() {
    let rig = Rig::new();
    rig.run(|| {
        agent_span!("outer").in_scope(|| {
            drop(model_span!("chat", "p", "m"));
            tool_span!("delegate").in_scope(|| {
                agent_span!("inner").in_scope(|| {
                    info_span!("plain").in_scope(|| {
                        drop(model_span!("chat", "p", "m"));
                        drop(model_span!("chat", "p", "m"));
                        drop(tool_span!("t"));
                    });
                });
            });
            model_span!("chat", "p", "m").record_error_type("timeout");
        });
        // No agent: nobody's call.
        drop(model_span!("chat", "p", "m"));
    });
    assert_eq!(
        rig.lines("gen_ai.invoke_agent.inference_calls"),
        ["gen_ai.agent.name=inner: count 1 sum 2", "gen_ai.agent.name=outer: count 1 sum 2"]
    );
    assert_eq!(
        rig.lines("gen_ai.invoke_agent.tool_calls"),
        ["gen_ai.agent.name=inner: count 1 sum 1", "gen_ai.agent.name=outer: count 1 sum 1"]
    );
    assert_eq!(
        rig.lines("gen_ai.execute_tool.duration"),
        [
            "gen_ai.agent.name=inner gen_ai.tool.name=t: count 1 sum 0",
            "gen_ai.agent.name=outer gen_ai.tool.name=delegate: count 1 sum 0"
        ]
    );
}

/// Feature: A11
#[test]
fn a_run_that_times_out_is_cancelled_and_its_call_too() {
    let rig = Rig::new();
    rig.block_on(async {
        let run = async { std::future::pending::<()>().in_operation(model_span!("chat", "p", "m")).await };
        let run = run.in_operation(agent_span!("a"));
        tokio::time::timeout(Duration::from_millis(1), run).await.unwrap_err();
    });
    assert_eq!(
        tree(&rig.spans()),
        "invoke_agent a [internal] ERROR error.type=cancelled\n  \
         chat m [client] ERROR error.type=cancelled\n"
    );
    assert_eq!(rig.lines("agentvitals.tasks"), ["agentvitals.outcome=cancellation gen_ai.agent.name=a: 1"]);
    assert_eq!(rig.lines("agentvitals.active_tasks"), ["gen_ai.agent.name=a: 0"]);
}

/// Behaviour: P7
/// Feature: N3
#[test]
fn calls_that_lost_their_agent_are_counted() {
    let rig = Rig::new();
    rig.block_on(async {
        let run = async {
            chat().await;
            // Without `.instrument`: the task knows nothing of the agent.
            tokio::spawn(chat()).await.unwrap();
            tokio::spawn(async { drop(tool_span!("t")) }).await.unwrap();
        };
        run.instrument(agent_span!("a")).await;
        // Neither is a call.
        drop(info_span!("w", gen_ai.operation.name = "embeddings"));
        drop(agentvitals::workflow_span!("w"));
    });
    assert_eq!(rig.lines("agentvitals.sdk.operations.orphaned"), [": 2"]);
    assert_eq!(rig.vitals.status().operations_orphaned, 2);
}

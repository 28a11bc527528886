//! Work that outlives the function that started it.

mod support;

use agentvitals::{agent_span, tool_span};
use support::Rig;
use tracing::{Instrument as _, instrument};

#[expect(clippy::async_yields_async, reason = "the caller waits for what goes on")]
#[instrument(skip_all, fields(gen_ai.operation.name = "invoke_agent", gen_ai.agent.name = "a"))]
async fn agent(rig: &Rig, release: tokio::sync::oneshot::Receiver<()>) -> tokio::task::JoinHandle<()> {
    let detached = async {
        // The release, or its end: both let the work go on.
        let _ = release.await;
    }
    .instrument(tool_span!("background"));
    rig.advance(50);
    tokio::spawn(detached)
}

/// Feature: A2
/// Behaviour: P8
#[test]
fn a_run_is_measured_at_its_return_although_work_that_it_started_goes_on() {
    let rig = Rig::new();
    rig.block_on(async {
        let (release, released) = tokio::sync::oneshot::channel();
        let background = agent(&rig, released).await;
        tokio::task::yield_now().await;
        rig.advance(500);
        assert_eq!(rig.lines("gen_ai.invoke_agent.duration"), ["gen_ai.agent.name=a: count 1 sum 0.05"]);
        assert_eq!(rig.lines("agentvitals.active_tasks"), ["gen_ai.agent.name=a: 0"]);
        drop(release);
        background.await.unwrap();
    });
    assert_eq!(rig.lines("gen_ai.invoke_agent.duration"), ["gen_ai.agent.name=a: count 1 sum 0.05"]);
    assert_eq!(rig.count("gen_ai.execute_tool.duration"), 1);
}

/// Feature: A2
/// Behaviour: P8
#[test]
fn a_run_that_only_waits_is_not_over() {
    let rig = Rig::new();
    rig.block_on(async {
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let run = tokio::spawn(
            async {
                drop(tool_span!("t"));
                let _ = released.await;
            }
            .instrument(agent_span!("a")),
        );
        tokio::task::yield_now().await;
        rig.advance(50);
        assert_eq!(rig.count("gen_ai.invoke_agent.duration"), 0);
        assert_eq!(rig.lines("agentvitals.active_tasks"), ["gen_ai.agent.name=a: 1"]);
        rig.advance(50);
        drop(release);
        run.await.unwrap();
    });
    assert_eq!(rig.lines("gen_ai.invoke_agent.duration"), ["gen_ai.agent.name=a: count 1 sum 0.1"]);
}

/// Feature: A2
/// Behaviour: P8
#[test]
fn a_synchronous_run_with_a_child_on_another_thread_is_measured_at_its_return() {
    let rig = Rig::new();
    let child = rig.run(|| {
        agent_span!("a").in_scope(|| {
            rig.advance(50);
            tool_span!("background")
        })
    });
    rig.advance(500);
    assert_eq!(rig.lines("gen_ai.invoke_agent.duration"), ["gen_ai.agent.name=a: count 1 sum 0.05"]);
    drop(child);
    assert_eq!(rig.lines("gen_ai.invoke_agent.duration"), ["gen_ai.agent.name=a: count 1 sum 0.05"]);
}

//! Every table has a bound, and what does not fit is counted.

mod support;

use agentvitals::{RecordOperation as _, agent_span, model_span, tool_span};
use support::Rig;

/// Feature: N1, N3
#[test]
fn operations_beyond_the_limit_of_open_ones_are_refused_and_counted() {
    let rig = Rig::with(|builder| builder.max_open_operations(64));
    rig.run(|| {
        let open: Vec<_> = (0..1_000).map(|_| agent_span!("a")).collect();
        let status = rig.vitals.status();
        let active = rig.vitals.active_tasks()["a"];
        assert_eq!(status.operations, 1_000);
        assert!(active <= 64 && active > 0, "{active}");
        assert_eq!(status.operations_refused, 1_000 - active as u64);
        open[999].record_outcome(agentvitals::Outcome::Failure);
        drop(open);
        // There is room again.
        drop(tool_span!("t"));
    });
    let status = rig.vitals.status();
    assert_eq!(rig.vitals.active_tasks()["a"], 0);
    assert_eq!(rig.count("gen_ai.invoke_agent.duration"), 1_000 - status.operations_refused);
    assert_eq!(rig.count("gen_ai.execute_tool.duration"), 1);
    assert_eq!(rig.lines("agentvitals.sdk.operations.refused"), [format!(": {}", status.operations_refused)]);
    // Traces do not depend on it.
    assert_eq!(rig.spans().len(), 1_001);
}

/// Feature: N1
#[test]
fn finished_operations_wait_for_nobody() {
    // Nothing is collected meanwhile: many times more than the queues hold.
    let rig = Rig::with(|builder| builder.sampler(agentvitals::SamplerConfig::always_off()));
    rig.run(|| {
        for _ in 0..100_000 {
            drop(model_span!("chat", "p", "m"));
        }
    });
    assert_eq!(rig.count("gen_ai.client.operation.duration"), 100_000);
}

/// Feature: A6, N1
#[test]
fn the_books_of_runs_that_are_over_are_closed() {
    let rig = Rig::with(|builder| builder.sampler(agentvitals::SamplerConfig::always_off()));
    rig.run(|| {
        for _ in 0..70_000 {
            agent_span!("a").in_scope(|| {
                model_span!("chat", "openai", "gpt-4o").record_usage(agentvitals::Usage::new(1_000, 100));
            });
        }
    });
    // More runs than the ledger keeps at a time: none is left out, because ended ones make room.
    assert_eq!(rig.count("agentvitals.invoke_agent.cost"), 70_000);
}

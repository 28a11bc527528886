//! Many threads at once.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use agentvitals::{Outcome, RecordOperation as _, Usage, agent_span, model_span, tool_span};
use support::{DEADLINE, Rig};

const THREADS: usize = 8;

fn on_threads(rig: &Rig, work: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let work = &work;
            scope.spawn(move || rig.run(|| work(thread)));
        }
    });
}

/// Feature: N1, N3, A1, A11
/// Behaviour: P15
#[test]
fn counts_are_exact_whatever_collects_at_the_same_time() {
    const RUNS: usize = 400;
    let rig = Rig::with(|builder| builder.sampler(agentvitals::SamplerConfig::always_off()));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                rig.vitals.flush_blocking(DEADLINE).unwrap();
                rig.vitals.status();
                rig.vitals.active_tasks();
                rig.vitals.cost();
            }
        });
        on_threads(&rig, |thread| {
            for run in 0..RUNS {
                let agent = agent_span!(["a", "b", "c"][run % 3]);
                agent.in_scope(|| {
                    model_span!("chat", "openai", "gpt-4o").record_usage(Usage::new(1_000, 100));
                    let tool = tool_span!("t");
                    if thread == 0 {
                        tool.record_error_type("timeout");
                    }
                });
                if run % 4 == 0 {
                    agent.record_outcome(Outcome::Failure);
                }
            }
        });
        over.store(true, Ordering::Release);
    });
    let runs = THREADS * RUNS;
    assert_eq!(rig.sum("agentvitals.tasks"), runs as f64);
    let failures = rig.points("agentvitals.tasks");
    let failures = failures.iter().filter(|point| point.str("agentvitals.outcome") == Some("failure"));
    assert_eq!(failures.filter_map(|point| point.value()).sum::<f64>(), runs as f64 / 4.0);
    assert_eq!(rig.sum("agentvitals.active_tasks"), 0.0);
    assert_eq!(rig.count("gen_ai.client.operation.duration"), runs as u64);
    assert_eq!(rig.sum("gen_ai.client.token.usage"), 1_100.0 * runs as f64);
    assert_eq!(rig.sum("agentvitals.cost"), 3_500_000.0 * runs as f64);
    assert_eq!(
        (rig.count("agentvitals.invoke_agent.cost"), rig.sum("gen_ai.invoke_agent.tool_calls")),
        (runs as u64, runs as f64)
    );
    let tools = rig.points("gen_ai.execute_tool.duration");
    let failed = tools.iter().filter(|point| point.str("error.type") == Some("timeout"));
    assert_eq!(failed.filter_map(|point| point.count()).sum::<u64>(), RUNS as u64);
    assert_eq!(rig.vitals.status().operations, 3 * runs as u64);
}

/// Feature: N1, L1
#[test]
fn no_span_is_lost_and_each_finds_its_parent() {
    let rig = Rig::with(|builder| {
        let mut config = agentvitals::Config::default();
        config.batch = config.batch.with_queue_spans(100_000);
        builder.config(config)
    });
    on_threads(&rig, |_| {
        for _ in 0..250 {
            agent_span!("a").in_scope(|| drop(model_span!("chat", "p", "m")));
        }
    });
    let report = rig.vitals.flush_blocking(DEADLINE).unwrap();
    assert_eq!((report.spans_ended, report.lost()), (THREADS as u64 * 500, 0), "{report}");
    let spans = rig.spans();
    let agents: std::collections::HashSet<_> =
        spans.iter().filter(|span| span.is_root()).map(|span| span.span_id.clone()).collect();
    assert_eq!(agents.len(), THREADS * 250);
    let chats = spans.iter().filter_map(|span| span.parent_span_id.as_ref());
    assert_eq!(chats.filter(|parent| agents.contains(*parent)).count(), THREADS * 250);
}

/// Feature: A11
#[test]
fn one_span_that_many_threads_enter_and_record_on_is_one_run() {
    let rig = Rig::new();
    rig.run(|| {
        let agent = agent_span!("a");
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    rig.run(|| {
                        for _ in 0..200 {
                            agent.in_scope(|| drop(tool_span!("t")));
                            agent.record("agentvitals.task.type", tracing::field::display("refund"));
                        }
                    });
                });
            }
        });
    });
    assert_eq!(
        rig.lines("agentvitals.tasks"),
        ["agentvitals.outcome=success agentvitals.task.type=refund gen_ai.agent.name=a: 1"]
    );
    let calls = 200.0 * THREADS as f64;
    assert_eq!(rig.sum("gen_ai.invoke_agent.tool_calls"), calls);
    assert_eq!(rig.count("gen_ai.execute_tool.duration"), calls as u64);
}

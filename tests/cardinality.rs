//! Too many series: bounded, and what is over the bounds is counted.

mod support;

use agentvitals::testing::ReceivedPoint;
use agentvitals::{Config, RecordOperation as _, Usage, agent_span, model_span, tool_span};
use support::Rig;

fn overflow(point: &ReceivedPoint) -> bool {
    point.attr("otel.metric.overflow").is_some()
}

fn reported_overflow(rig: &Rig, metric: &str) -> u64 {
    rig.vitals.status().series_overflow.get(metric).copied().unwrap_or(0)
}

/// Feature: N3
/// Behaviour: P25
#[test]
fn an_instrument_has_at_most_2000_series_and_counts_what_is_over() {
    let rig = Rig::new();
    rig.run(|| {
        for tool in 0..3_000 {
            drop(tool_span!(format!("tool-{tool}").as_str()));
        }
        // Those that are in keep on counting.
        drop(tool_span!("tool-7"));
    });
    let points = rig.points("gen_ai.execute_tool.duration");
    assert_eq!(points.len(), 2_000);
    assert_eq!(rig.count("gen_ai.execute_tool.duration"), 3_001);
    let over: Vec<u64> =
        points.iter().filter(|point| overflow(point)).filter_map(ReceivedPoint::count).collect();
    assert_eq!(over, [1_001]);
    assert_eq!(reported_overflow(&rig, "gen_ai.execute_tool.duration"), 1_001);
    assert_eq!(
        rig.lines("agentvitals.sdk.series.overflow"),
        ["agentvitals.metric.name=gen_ai.execute_tool.duration: 1001"]
    );
    let seven = points.iter().find(|point| point.str("gen_ai.tool.name") == Some("tool-7")).unwrap();
    assert_eq!(seven.count(), Some(2));
}

/// Feature: N3, A6
/// Behaviour: P25
#[test]
fn counters_and_cost_are_bounded_too_and_lose_nothing() {
    let rig = Rig::new();
    rig.run(|| {
        for number in 0..2_500 {
            let name = format!("agent-{number}");
            agent_span!(name.as_str()).in_scope(|| {
                model_span!("chat", "openai", "gpt-4o").record_usage(Usage::new(1_000, 100));
                let failed = model_span!("chat", "openai", name.as_str());
                failed.record_usage(Usage::new(10, 1));
                failed.record_error_type("timeout");
                failed.record_retries(1);
            });
        }
    });
    for metric in [
        "agentvitals.tasks",
        "agentvitals.cost",
        "agentvitals.cost.unpriced_calls",
        "agentvitals.retries",
        "agentvitals.invoke_agent.cost",
        "agentvitals.active_tasks",
        "gen_ai.client.operation.duration",
    ] {
        let points = rig.points(metric);
        assert!(points.len() <= 2_000, "{metric} has {} series", points.len());
        assert!(!points.is_empty(), "{metric}");
    }
    assert_eq!(rig.sum("agentvitals.tasks"), 2_500.0);
    assert_eq!(rig.sum("agentvitals.cost"), 2_500.0 * 3_500_000.0);
    assert_eq!(rig.sum("agentvitals.retries"), 2_500.0);
    assert_eq!(rig.sum("agentvitals.active_tasks"), 0.0);
    assert!(reported_overflow(&rig, "agentvitals.tasks") >= 500);
    assert!(
        reported_overflow(&rig, "agentvitals.retries") >= 500,
        "{:?}",
        rig.vitals.status().series_overflow
    );
}

/// Behaviour: P25
#[test]
fn the_limit_can_be_set_and_holds_for_every_kind_of_instrument() {
    for limit in [10, 2_500] {
        let mut config = Config::default();
        config.series_limit = limit;
        let rig = Rig::with(|builder| builder.config(config));
        rig.run(|| {
            for number in 0..3_000 {
                agent_span!(format!("agent-{number}").as_str()).in_scope(|| ());
            }
        });
        for metric in ["gen_ai.invoke_agent.duration", "agentvitals.tasks", "gen_ai.invoke_agent.tool_calls"]
        {
            let points = rig.points(metric);
            assert_eq!(points.len(), limit, "{metric}");
            assert_eq!(points.iter().filter(|point| overflow(point)).count(), 1, "{metric}");
            assert_eq!(reported_overflow(&rig, metric), 3_001 - limit as u64, "{metric}");
        }
    }
}

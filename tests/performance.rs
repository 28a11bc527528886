//! What the program can read of its own operations: count, errors, durations and their quantiles.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agentvitals::opentelemetry_sdk::metrics::data::ResourceMetrics;
use agentvitals::{
    Config, Histograms, InOperation as _, Measured, OperationKind, Performance, TemporalityPreference,
    agent_span,
};
use support::Rig;

const QUANTILES: [f64; 9] = [0.0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];

/// Durations that spread evenly over a factor, in logarithms, in an order that is not theirs.
fn durations(count: u64, least: f64, factor: f64) -> Vec<Duration> {
    let at = |step: u64| least * factor.powf(step as f64 / (count - 1) as f64);
    // 7,919 is prime, so each step comes once.
    (0..count).map(|i| Duration::from_secs_f64(at(i * 7_919 % count))).collect()
}

fn record(rig: &Rig, durations: &[Duration]) {
    for duration in durations {
        rig.vitals.record(&Measured::agent_run("a").duration(*duration));
    }
}

/// The duration of rank `ceil(p * count)`.
fn exact(sorted: &[Duration], p: f64) -> f64 {
    let rank = ((p * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
    sorted[rank - 1].as_secs_f64()
}

/// The largest relative error of the quantiles.
#[track_caller]
fn check(performance: &Performance, durations: &[Duration]) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort();
    assert_eq!(performance.count, sorted.len() as u64);
    assert_eq!((performance.min, performance.max), (sorted[0], sorted[sorted.len() - 1]));
    let average = sorted.iter().sum::<Duration>().as_secs_f64() / sorted.len() as f64;
    assert!((performance.average.as_secs_f64() - average).abs() < 1e-6, "{performance}");
    let mut worst = 0.0_f64;
    for p in QUANTILES {
        let (exact, found) = (exact(&sorted, p), performance.p(p).unwrap().as_secs_f64());
        let (low, high) = performance.p_bounds(p).unwrap();
        let nanosecond = 1e-9;
        assert!(low.as_secs_f64() <= exact + nanosecond, "p{p}: {exact} below {low:?}");
        assert!(exact <= high.as_secs_f64() + nanosecond, "p{p}: {exact} above {high:?}");
        worst = worst.max((found - exact).abs() / exact);
    }
    worst
}

/// Feature: A3
#[test]
fn quantiles_are_as_near_as_is_said_for_every_spread() {
    for (factor, bound) in
        [(1.0, 0.000_01), (5.5, 0.005_5), (10.0, 0.011), (30.0, 0.011), (900.0, 0.022), (9e5, 0.044)]
    {
        let rig = Rig::new();
        let durations = durations(10_000, 0.01, factor);
        record(&rig, &durations);
        let performance = rig.vitals.performance_since_start("a").unwrap();
        let worst = check(&performance, &durations);
        let stated = performance.relative_error().unwrap();
        println!("factor {factor}: worst {worst:.5}, stated {stated:.5}");
        assert!(stated <= bound, "factor {factor}: says {stated}, documented are {bound}");
        assert!(worst <= stated + 1e-6, "factor {factor}: off by {worst}, says {stated}");
    }
}

/// Feature: A3
#[test]
fn runs_of_spans_count_with_their_errors_over_all_series_of_the_agent() {
    let rig = Rig::new();
    rig.run(|| {
        for (millis, model, error) in
            [(100, "m1", None), (200, "m2", None), (300, "m1", Some("timeout")), (400, "m2", Some("500"))]
        {
            let span = agent_span!("a", gen_ai.request.model = model);
            if let Some(error) = error {
                span.record("error.type", error);
            }
            span.in_scope(|| rig.advance(millis));
        }
        rig.block_on(async {}.in_operation(agent_span!("other")));
    });
    let performance = rig.vitals.performance_since_start("a").unwrap();
    assert_eq!((performance.count, performance.error_count()), (4, 2));
    let errors: Vec<(&str, u64)> = performance.errors.iter().map(|(e, n)| (e.as_str(), *n)).collect();
    assert_eq!(errors, [("500", 1), ("timeout", 1)]);
    assert_eq!(performance.average, Duration::from_millis(250));
    assert_eq!((performance.min, performance.max), (Duration::from_millis(100), Duration::from_millis(400)));
    let (low, high) = performance.p_bounds(0.5).unwrap();
    assert!(low <= Duration::from_millis(200) && Duration::from_millis(200) <= high, "{low:?} {high:?}");
    assert_eq!(performance.p(1.5), None);
    assert_eq!(performance.p(f64::NAN), None);
}

/// Feature: A3
#[test]
fn a_run_counts_as_soon_as_it_has_ended_and_an_agent_that_never_ran_has_no_numbers() {
    let rig = Rig::with(agentvitals::Builder::without_export);
    assert_eq!(rig.vitals.performance_since_start("a"), None);
    for count in 1..=3 {
        rig.run(|| agent_span!("a").in_scope(|| rig.advance(10)));
        assert_eq!(rig.vitals.performance_since_start("a").unwrap().count, count);
    }
    assert_eq!(rig.vitals.performance_since_start("b"), None);
    assert_eq!(rig.vitals.performance_since_start(""), None);
    rig.vitals.shutdown_blocking(support::DEADLINE).unwrap();
    assert_eq!(rig.vitals.performance_since_start("a").unwrap().count, 3, "the last numbers stay");
}

/// Feature: A3
#[test]
fn other_kinds_of_operations_have_numbers_by_their_names() {
    let rig = Rig::new();
    let second = Duration::from_secs(1);
    rig.vitals.record(&Measured::tool_call("search").agent("a").duration(second).error_type("timeout"));
    rig.vitals.record(&Measured::tool_call("search").agent("b").duration(second * 2));
    rig.vitals.record(&Measured::model_call("openai", "gpt-4o").duration(second * 3));
    rig.vitals.record(&Measured::workflow_run("w").duration(second * 4));
    rig.vitals.record(&Measured::operation_named("index").duration(second * 5));
    for (kind, name, count, errors, max) in [
        (OperationKind::Tool, "search", 2, 1, 2),
        (OperationKind::Model, "gpt-4o", 1, 0, 3),
        (OperationKind::Workflow, "w", 1, 0, 4),
        (OperationKind::Custom, "index", 1, 0, 5),
    ] {
        let performance = rig.vitals.performance_of(kind, name).unwrap();
        assert_eq!((performance.count, performance.error_count()), (count, errors), "{name}");
        assert_eq!(performance.max, second * max, "{name}");
    }
    assert_eq!(rig.vitals.performance_since_start("search"), None, "a tool is no agent");
}

/// Feature: A3
#[test]
fn explicit_buckets_give_quantiles_within_their_bucket() {
    let rig = Rig::with(|builder| builder.histograms(Histograms::Explicit));
    let durations = durations(1_000, 0.2, 100.0);
    record(&rig, &durations);
    let performance = rig.vitals.performance_since_start("a").unwrap();
    check(&performance, &durations);
    assert_eq!(performance.relative_error(), None);
    let (low, high) = performance.p_bounds(0.5).unwrap();
    assert!(low < high && high <= low * 3, "no wider than a bucket: {low:?} to {high:?}");
}

/// Feature: A3
#[test]
fn deltas_add_up_and_none_is_taken_from_the_exporter() {
    let mut config = Config::default();
    config.temporality = TemporalityPreference::Delta;
    let rig = Rig::with(|builder| builder.config(config));
    let durations = durations(1_000, 0.1, 10.0);
    let mut rest = &durations[..];
    // Of different sizes: the capture holds the newest delta, which must be the whole of the part.
    for size in [100, 200, 300, 400] {
        let (part, others) = rest.split_at(size);
        rest = others;
        record(&rig, part);
        rig.vitals.performance_since_start("a").unwrap();
        assert_eq!(rig.count("gen_ai.invoke_agent.duration"), size as u64);
    }
    let performance = rig.vitals.performance_since_start("a").unwrap();
    let worst = check(&performance, &durations);
    assert!(worst <= performance.relative_error().unwrap() + 1e-6, "{worst}");
}

/// Feature: A3
#[test]
fn numbers_are_one_line_for_people_and_seconds_for_programs() {
    let rig = Rig::new();
    for millis in [100, 200] {
        rig.vitals.record(&Measured::agent_run("a").duration(Duration::from_millis(millis)));
    }
    rig.vitals.record(&Measured::agent_run("a").duration(Duration::from_millis(300)).error_type("timeout"));
    let performance = rig.vitals.performance_since_start("a").unwrap();
    let p50 = format!("{:.3}", performance.p(0.5).unwrap().as_secs_f64());
    assert_eq!(
        performance.to_string(),
        format!(
            "3 runs, 1 failed; average 0.200 s, p50 {p50} s, p95 0.300 s, p99 0.300 s, min 0.100 s, max 0.300 s"
        )
    );
    let json = serde_json::to_value(&performance).unwrap();
    assert_eq!(json["count"], 3);
    assert_eq!(json["errors"], serde_json::json!({"timeout": 1}));
    for (key, value) in [("average_s", 0.2), ("min_s", 0.1), ("max_s", 0.3), ("p95_s", 0.3)] {
        assert!((json[key].as_f64().unwrap() - value).abs() < 1e-9, "{key}: {}", json[key]);
    }
    assert!(json["p50_s"].as_f64().is_some());
}

/// Feature: A3
#[test]
fn numbers_are_there_while_the_collector_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let vitals = agentvitals::builder()
        .config(Config::default())
        .endpoint(format!("http://{}", listener.local_addr().unwrap()))
        .build()
        .unwrap();
    vitals.record(&Measured::agent_run("a"));
    assert_eq!(vitals.performance_since_start("a").unwrap().count, 1);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| vitals.flush_blocking(Duration::from_secs(3)));
        // From here on the export goes on, and never gets an answer.
        let _connection = listener.accept().unwrap();
        vitals.record(&Measured::agent_run("a"));
        // An older collection would say 1.
        assert_eq!(vitals.performance_since_start("a").unwrap().count, 2);
        assert!(!flush.is_finished(), "the flush still waits");
    });
    let _ = vitals.shutdown_blocking(Duration::from_millis(100));
}

/// Feature: A3
/// Behaviour: P3
#[test]
fn an_observer_that_panics_leaves_the_last_numbers_and_the_exporter_alive() {
    let armed = Arc::new(AtomicBool::new(false));
    let broken = armed.clone();
    let observer = move |_: &ResourceMetrics| assert!(!broken.load(Ordering::SeqCst), "broken");
    let rig = Rig::with(|builder| builder.observe_metrics(Arc::new(observer)));
    for (panics, expected) in [(false, 1), (true, 1), (false, 3)] {
        rig.vitals.record(&Measured::agent_run("a"));
        armed.store(panics, Ordering::SeqCst);
        assert_eq!(rig.vitals.performance_since_start("a").unwrap().count, expected);
    }
    assert!(rig.vitals.status().up);
}

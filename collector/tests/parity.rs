//! The same verdict from the same data: health in the agents' process, and in the collector that receives its metrics.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentvitals::health::HealthReport;
use agentvitals::opentelemetry_sdk::metrics::data::ResourceMetrics;
use agentvitals::{Clock, Measured, Usage};
use agentvitals_collector::health::{Settings, Watch};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;
use tempfile::tempdir;

/// What is comparable of a report: all but traces, which each side has from its own spans.
fn comparable(report: &HealthReport) -> serde_json::Value {
    let mut value = serde_json::to_value(report).unwrap();
    for issue in value["issues"].as_array_mut().unwrap() {
        issue.as_object_mut().unwrap().remove("trace_ids");
    }
    value
}

/// Feature: G1, N4
#[test]
fn health_says_the_same_in_the_process_and_in_the_collector() {
    let dir = tempdir().unwrap();
    let watch = Watch::open(dir.path(), Settings::default()).unwrap();
    let (clock, hand) = Clock::manual();
    let newest: Arc<Mutex<Vec<u8>>> = Arc::default();
    let taken = Arc::clone(&newest);
    let vitals = agentvitals::builder()
        .config(agentvitals::Config::default())
        .without_export()
        .clock(clock.clone())
        .health_interval(Duration::ZERO)
        .observe_metrics(Arc::new(move |metrics: &ResourceMetrics| {
            *taken.lock().unwrap() = ExportMetricsServiceRequest::from(metrics).encode_to_vec();
        }))
        .build()
        .unwrap();
    let mut random = 11_u64;
    let mut draw = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut issues = 0;
    for minute in 0..400_u64 {
        let troubled = (200..220).contains(&minute);
        for _ in 0..10 + draw(10) {
            let call = Measured::tool_call("search")
                .agent("planner")
                .duration(Duration::from_millis(100 + draw(400)));
            let fails = if troubled { draw(10) < 6 } else { draw(100) == 0 };
            vitals.record(&if fails { call.error_type("timeout") } else { call });
            let slow = if (300..320).contains(&minute) { 8 } else { 1 };
            let model = Measured::model_call("openai", "gpt-4o")
                .agent("planner")
                .usage(Usage::new(500 + draw(2_000), 50 + draw(100)))
                .duration(Duration::from_millis(slow * (500 + draw(1_500))));
            vitals.record(&model);
        }
        vitals.record(&Measured::agent_run("planner").duration(Duration::from_millis(2_000 + draw(3_000))));
        hand.advance(Duration::from_secs(60));
        vitals.collect().unwrap();
        let request = std::mem::take(&mut *newest.lock().unwrap());
        assert!(!request.is_empty());
        // Before the process looks, so that its own gauges of health are not ahead.
        watch.take_in_at(&request, clock.wall());
        let here = vitals.health();
        let there = watch.look_at(None, clock.wall());
        assert_eq!(comparable(&here), comparable(&there), "minute {minute}");
        issues += usize::from(!here.issues.is_empty());
    }
    assert!(issues >= 30, "both troubles were told of: {issues}");
}

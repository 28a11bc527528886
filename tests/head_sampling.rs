//! Head sampling: by ratio, by rule, by parent.
#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

use agentvitals::sampling::HeadSampler;
use agentvitals::{Rule, SamplerConfig};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample,
};

fn keeps(sampler: &dyn ShouldSample, parent: Option<&Context>, id: TraceId, attributes: &[KeyValue]) -> bool {
    let result = sampler.should_sample(parent, id, "span", &SpanKind::Internal, attributes, &[]);
    result.decision == SamplingDecision::RecordAndSample
}

fn share(sampler: &dyn ShouldSample, attributes: &[KeyValue]) -> f64 {
    let ids = RandomIdGenerator::default();
    let kept = (0..20_000).filter(|_| keeps(sampler, None, ids.new_trace_id(), attributes)).count();
    kept as f64 / 20_000.0
}

fn parent(sampled: bool, remote: bool) -> Context {
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let state = TraceState::from_key_value([("vendor", "x")]).unwrap();
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from(7),
        SpanId::from(9),
        flags,
        remote,
        state,
    ))
}

fn agent(name: &'static str) -> Vec<KeyValue> {
    vec![KeyValue::new("gen_ai.operation.name", "invoke_agent"), KeyValue::new("gen_ai.agent.name", name)]
}

/// Feature: L6
#[test]
fn a_ratio_keeps_its_share_and_the_same_traces_as_the_standard_sampler() {
    let sampler = HeadSampler::new(&SamplerConfig::ratio(0.1)).unwrap();
    let kept = share(&sampler, &[]);
    assert!((0.09..0.11).contains(&kept), "{kept}");
    let ids = RandomIdGenerator::default();
    for id in (0..1000).map(|_| ids.new_trace_id()) {
        assert_eq!(keeps(&sampler, None, id, &[]), keeps(&Sampler::TraceIdRatioBased(0.1), None, id, &[]));
    }
}

/// Feature: L6
#[test]
fn rules_decide_by_agent_and_operation_and_the_first_that_matches_wins() {
    let config = SamplerConfig::ratio(0.5)
        .with_rule(Rule::agent("planner", 1.0))
        .with_rule(Rule::operation("embeddings", 0.0))
        .with_rule(Rule::agent("noisy", 0.1).and_operation("invoke_agent"))
        .with_rule(Rule::operation("invoke_agent", 0.25));
    let sampler = HeadSampler::new(&config).unwrap();
    assert!((share(&sampler, &agent("planner")) - 1.0).abs() < f64::EPSILON);
    assert!(share(&sampler, &[KeyValue::new("gen_ai.operation.name", "embeddings")]) < f64::EPSILON);
    for (attributes, ratio) in [(agent("noisy"), 0.1), (agent("other"), 0.25), (vec![], 0.5)] {
        let kept = share(&sampler, &attributes);
        assert!((kept - ratio).abs() < 0.02, "{attributes:?}: {kept}");
    }
}

/// Feature: L6
#[test]
fn a_child_follows_its_parent_whatever_the_rules_say_and_keeps_the_trace_state() {
    let config = SamplerConfig::always_off().with_rule(Rule::agent("planner", 0.0));
    let sampler = HeadSampler::new(&config).unwrap();
    for remote in [true, false] {
        for sampled in [true, false] {
            let parent = parent(sampled, remote);
            let result = sampler.should_sample(
                Some(&parent),
                TraceId::from(7),
                "span",
                &SpanKind::Internal,
                &agent("planner"),
                &[],
            );
            assert_eq!(result.decision == SamplingDecision::RecordAndSample, sampled);
            assert_eq!(result.trace_state.get("vendor"), Some("x"));
        }
    }
}

/// Feature: L6
#[test]
fn without_parent_each_span_is_decided_by_itself() {
    let sampler = HeadSampler::new(&SamplerConfig::always_off().ignoring_parent()).unwrap();
    assert!(!keeps(&sampler, Some(&parent(true, true)), TraceId::from(7), &[]));
    let sampler = HeadSampler::new(&SamplerConfig::always_on().ignoring_parent()).unwrap();
    assert!(keeps(&sampler, Some(&parent(false, true)), TraceId::from(7), &[]));
}

/// Feature: L6
#[test]
fn ratios_outside_of_0_to_1_and_rules_for_everything_are_refused() {
    let refused = |config: SamplerConfig| HeadSampler::new(&config).unwrap_err().to_string();
    assert!(refused(SamplerConfig::ratio(1.5)).contains("1.5"));
    assert!(refused(SamplerConfig::ratio(f64::NAN)).contains("NaN"));
    assert!(refused(SamplerConfig::always_on().with_rule(Rule::agent("a", -1.0))).contains("\"a\""));
    let mut everything = Rule::agent("a", 0.5);
    everything.agent = None;
    assert!(refused(SamplerConfig::always_on().with_rule(everything)).contains("neither"));
}

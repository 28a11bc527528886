//! Decisions at the start of a trace.

use std::sync::Arc;

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{ParentBasedSampler, Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::Error;
use crate::config::{Rule, SamplerConfig, SamplerRoot};
use crate::semconv::attr;

/// The sampler that a [`SamplerConfig`] describes. Add it to a tracer provider with `with_sampler`.
///
/// ```
/// use agentvitals::sampling::HeadSampler;
/// use agentvitals::{Rule, SamplerConfig};
/// let config = SamplerConfig::ratio(0.1).with_rule(Rule::agent("planner", 1.0));
/// let sampler = HeadSampler::new(&config)?;
/// let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().with_sampler(sampler).build();
/// # Ok::<(), agentvitals::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct HeadSampler(Inner);

#[derive(Debug, Clone)]
enum Inner {
    /// Follows the parent, and keeps its trace state.
    ParentBased(ParentBasedSampler),
    Root(Root),
}

impl HeadSampler {
    /// Makes the sampler.
    ///
    /// # Errors
    /// A ratio outside of 0 to 1, or a rule that matches everything.
    pub fn new(config: &SamplerConfig) -> Result<Self, Error> {
        config.validate()?;
        let root = Root { otherwise: sampler(config.root), rules: config.rules.as_slice().into() };
        let inner = if config.parent_based {
            Inner::ParentBased(Sampler::parent_based(root))
        } else {
            Inner::Root(root)
        };
        Ok(Self(inner))
    }
}

fn sampler(root: SamplerRoot) -> Sampler {
    match root {
        SamplerRoot::AlwaysOn => Sampler::AlwaysOn,
        SamplerRoot::AlwaysOff => Sampler::AlwaysOff,
        SamplerRoot::Ratio(ratio) => Sampler::TraceIdRatioBased(ratio),
    }
}

impl ShouldSample for HeadSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        match &self.0 {
            Inner::ParentBased(sampler) => {
                sampler.should_sample(parent, trace_id, name, kind, attributes, links)
            }
            Inner::Root(root) => root.should_sample(parent, trace_id, name, kind, attributes, links),
        }
    }
}

/// Decides about a span on its own.
#[derive(Debug, Clone)]
struct Root {
    otherwise: Sampler,
    rules: Arc<[Rule]>,
}

impl Root {
    fn rule(&self, attributes: &[KeyValue]) -> Option<&Rule> {
        if self.rules.is_empty() {
            return None;
        }
        let value = |key: &str| {
            attributes.iter().rev().find(|attribute| attribute.key.as_str() == key).and_then(|attribute| {
                match &attribute.value {
                    Value::String(text) => Some(text.as_str()),
                    _ => None,
                }
            })
        };
        let (agent, operation) = (value(attr::AGENT_NAME), value(attr::OPERATION_NAME));
        let matches = |wanted: &Option<String>, actual: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| actual == Some(wanted))
        };
        self.rules.iter().find(|rule| matches(&rule.agent, agent) && matches(&rule.operation, operation))
    }
}

impl ShouldSample for Root {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        match self.rule(attributes) {
            // The edges do not leave it to the arithmetic of ids.
            Some(rule) if rule.ratio >= 1.0 => result(SamplingDecision::RecordAndSample, parent),
            Some(rule) if rule.ratio <= 0.0 => result(SamplingDecision::Drop, parent),
            Some(rule) => Sampler::TraceIdRatioBased(rule.ratio)
                .should_sample(parent, trace_id, name, kind, attributes, links),
            None => self.otherwise.should_sample(parent, trace_id, name, kind, attributes, links),
        }
    }
}

fn result(decision: SamplingDecision, parent: Option<&Context>) -> SamplingResult {
    let trace_state =
        parent.map_or_else(TraceState::default, |cx| cx.span().span_context().trace_state().clone());
    SamplingResult { decision, attributes: Vec::new(), trace_state }
}

//! One step of a run as it takes place: its span, and what faults make of it.

use agentvitals::cost::{ModelCall as Priced, Nanodollars, Prices, Pricing as _};
use agentvitals::semconv::{attr, error_type};
use agentvitals::{RecordOperation as _, Response, Usage, model_span, tool_span};
use tracing::Span;

use super::super::provider;
use super::super::runs::{Action, ModelCall, Run, ToolCall};
use super::scenario::{Fault, Scenario};

/// What a token of a model costs that has no known price, USD: its provider says so itself in the simulation.
const UNKNOWN: f64 = 2e-6;

/// What a step of a recording takes and costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    /// `None`: not recorded.
    pub(super) duration_ns: Option<u64>,
    /// What the model call cost, if its price is known.
    cost: Option<Nanodollars>,
}

impl Measure {
    pub(super) fn of(prices: &Prices, run: &Run, step: usize) -> Self {
        let step = &run.steps[step];
        let duration_ns =
            step.duration.map(|duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        let cost = match &step.action {
            Action::Model(call) => {
                let provider = provider::of(&call.model, call.provider.as_deref());
                // The prices of one day: what a fault makes dearer is the fault's doing.
                let day = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_767_225_600);
                let priced = Priced::new(usage(call, 1.0), day)
                    .provider(Some(&*provider))
                    .request_model(Some(&*call.model))
                    .response_model(call.response_model.as_deref());
                let tokens = call.usage.prompt.unwrap_or(0) + call.usage.completion.unwrap_or(0);
                prices.price(&priced).known().or_else(|| Nanodollars::from_usd(tokens as f64 * UNKNOWN).ok())
            }
            Action::Tool(_) => None,
        };
        Self { duration_ns, cost }
    }
}

fn usage(call: &ModelCall, growth: f64) -> Usage {
    let grown = |tokens: Option<u64>| tokens.map(|tokens| (tokens as f64 * growth) as u64);
    let mut usage = Usage::default();
    usage.input_tokens = grown(call.usage.prompt);
    usage.output_tokens = call.usage.completion;
    usage.cache_read_tokens = grown(call.usage.cached);
    usage.cache_write_tokens = grown(call.usage.cache_write);
    usage.reasoning_tokens = call.usage.reasoning;
    usage
}

/// A step that takes place.
#[derive(Debug)]
pub(super) struct Stage {
    span: Span,
    /// How long it takes, nanoseconds.
    pub(super) takes_ns: u64,
    /// Its caller gives it up at the end.
    given_up: bool,
}

/// How long a refusal takes.
const REFUSAL_NS: u64 = 200_000_000;

impl Stage {
    /// Begins a step below the span of its agent, with the faults that hit it. `until` is when a fault ends, from now.
    pub(super) fn begin(
        agent: &Span,
        action: &Action,
        measure: Measure,
        takes_ns: u64,
        hits: &[(&Scenario, u64)],
    ) -> Self {
        let hit = |kind: Fault| hits.iter().find(|(scenario, _)| scenario.kind == kind);
        let (span, takes_ns) = match action {
            Action::Model(call) => begin_model(agent, call, measure, takes_ns, &hit),
            Action::Tool(call) => begin_tool(agent, call, takes_ns, &hit),
        };
        match hit(Fault::Stall) {
            Some((_, until)) => Self { span, takes_ns: until.saturating_add(1), given_up: true },
            None => Self { span, takes_ns, given_up: false },
        }
    }

    /// Ends it, at the time that the clock shows.
    pub(super) fn end(self) {
        if self.given_up {
            self.span.record_error_type(error_type::CANCELLED);
        }
    }
}

fn begin_model<'a>(
    agent: &Span,
    call: &ModelCall,
    measure: Measure,
    takes_ns: u64,
    hit: &impl Fn(Fault) -> Option<&'a (&'a Scenario, u64)>,
) -> (Span, u64) {
    let provider = provider::of(&call.model, call.provider.as_deref());
    let span = agent.in_scope(|| {
        model_span!("chat", &*provider, call.model, gen_ai.usage.cost.amount = tracing::field::Empty)
    });
    if hit(Fault::RateLimit).is_some() {
        span.record_error_type(error_type::RATE_LIMIT);
        return (span, takes_ns.min(REFUSAL_NS));
    }
    if hit(Fault::ModelError).is_some() {
        span.record_error_type(error_type::SERVER_ERROR);
        return (span, takes_ns);
    }
    let growth = hit(Fault::ContextGrowth).map_or(1.0, |(scenario, _)| scenario.factor);
    let mut usage = usage(call, growth);
    let mut response = Response::new();
    if let Some(reason) = &call.finish_reason {
        response = response.finish_reason(reason);
    }
    if hit(Fault::EmptyOutput).is_some() {
        usage.output_tokens = Some(0);
    }
    span.record_response(&response);
    span.record_usage(usage);
    if let Some(cost) = measure.cost {
        let dearer = growth * hit(Fault::Cost).map_or(1.0, |(scenario, _)| scenario.factor);
        span.record(attr::USAGE_COST_AMOUNT, cost.usd() * dearer);
    }
    if let Some(error) = &call.error {
        span.record_error_type(&error.kind);
    }
    let slower = hit(Fault::SlowModel).map_or(1.0, |(scenario, _)| scenario.factor);
    (span, (takes_ns as f64 * slower) as u64)
}

fn begin_tool<'a>(
    agent: &Span,
    call: &ToolCall,
    takes_ns: u64,
    hit: &impl Fn(Fault) -> Option<&'a (&'a Scenario, u64)>,
) -> (Span, u64) {
    let span = agent.in_scope(|| tool_span!(call.tool));
    span.record_tool_input(&call.arguments);
    if hit(Fault::ToolError).is_some() {
        span.record_error_type(error_type::TOOL_ERROR);
    } else if let Some(error) = &call.error {
        span.record_error_type(error);
    }
    let slower = hit(Fault::SlowTool).map_or(1.0, |(scenario, _)| scenario.factor);
    (span, (takes_ns as f64 * slower) as u64)
}

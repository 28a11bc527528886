//! The OpenTelemetry instruments, each made once.

use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, Stream};

use crate::config::Histograms;
use crate::operation::OperationKind;
use crate::semconv::{buckets, health, metric, unit};

/// Every instrument that operations are recorded with.
#[derive(Debug)]
pub(super) struct Meters {
    operation_duration: Histogram<f64>,
    agent_duration: Histogram<f64>,
    tool_duration: Histogram<f64>,
    workflow_duration: Histogram<f64>,
    mcp_client_duration: Histogram<f64>,
    mcp_server_duration: Histogram<f64>,
    own_duration: Histogram<f64>,
    pub(super) tokens: Histogram<u64>,
    pub(super) token_details: Counter<u64>,
    pub(super) first_chunk: Histogram<f64>,
    pub(super) chunk_gap: Histogram<f64>,
    pub(super) tokens_per_second: Histogram<f64>,
    pub(super) inference_calls: Histogram<u64>,
    pub(super) tool_calls: Histogram<u64>,
    pub(super) tasks: Counter<u64>,
    pub(super) input_size: Histogram<u64>,
    pub(super) output_size: Histogram<u64>,
    pub(super) steps: Histogram<u64>,
    pub(super) recovery: Histogram<f64>,
    pub(super) retries: Counter<u64>,
    pub(super) fallbacks: Counter<u64>,
    pub(super) loops: Counter<u64>,
    pub(super) empty_responses: Counter<u64>,
}

impl Meters {
    pub(super) fn new(meter: &Meter) -> Self {
        let seconds = |name, description| {
            meter.f64_histogram(name).with_unit(unit::SECONDS).with_description(description).build()
        };
        let sizes = |name, unit, description| {
            meter.u64_histogram(name).with_unit(unit).with_description(description).build()
        };
        let counter = |name, unit, description| {
            meter.u64_counter(name).with_unit(unit).with_description(description).build()
        };
        Self {
            operation_duration: seconds(metric::OPERATION_DURATION, "GenAI operation duration."),
            agent_duration: seconds(metric::INVOKE_AGENT_DURATION, "Duration of agent runs."),
            tool_duration: seconds(metric::EXECUTE_TOOL_DURATION, "Duration of tool calls."),
            workflow_duration: seconds(metric::INVOKE_WORKFLOW_DURATION, "Duration of workflow runs."),
            mcp_client_duration: seconds(metric::MCP_CLIENT_DURATION, "Duration of MCP requests, as sent."),
            mcp_server_duration: seconds(
                metric::MCP_SERVER_DURATION,
                "Duration of MCP requests, as received.",
            ),
            own_duration: seconds(metric::OPERATION_OWN_DURATION, "Duration of other named operations."),
            tokens: sizes(metric::TOKEN_USAGE, unit::TOKEN, "Number of input and output tokens used."),
            token_details: counter(
                metric::TOKEN_DETAILS,
                unit::TOKEN,
                "Parts of the tokens: read from and written to the provider's cache, spent on reasoning.",
            ),
            first_chunk: seconds(
                metric::TIME_TO_FIRST_CHUNK,
                "Time to the first chunk of a streamed answer.",
            ),
            chunk_gap: seconds(
                metric::TIME_PER_OUTPUT_CHUNK,
                "Time per chunk of a streamed answer, after the first.",
            ),
            tokens_per_second: meter
                .f64_histogram(metric::TOKENS_PER_SECOND)
                .with_unit(unit::TOKENS_PER_SECOND)
                .with_description("Output tokens a second of streamed answers, after the first chunk.")
                .build(),
            inference_calls: sizes(
                metric::INVOKE_AGENT_INFERENCE_CALLS,
                unit::INFERENCE_CALL,
                "Model calls of an agent run, failed ones included.",
            ),
            tool_calls: sizes(
                metric::INVOKE_AGENT_TOOL_CALLS,
                unit::TOOL_CALL,
                "Tool calls of an agent run.",
            ),
            tasks: counter(metric::TASKS, unit::TASK, "Finished agent runs by outcome."),
            input_size: sizes(metric::TOOL_INPUT_SIZE, unit::BYTES, "Size of tool inputs."),
            output_size: sizes(metric::TOOL_OUTPUT_SIZE, unit::BYTES, "Size of tool outputs."),
            steps: sizes(metric::WORKFLOW_STEPS, unit::STEP, "Steps that a workflow run finished."),
            recovery: seconds(metric::RECOVERY_DURATION, "Time from the first error to the next success."),
            retries: counter(metric::RETRIES, unit::RETRY, "Calls that were made again after an error."),
            fallbacks: counter(
                metric::FALLBACKS,
                unit::FALLBACK,
                "Calls that went to another model after an error.",
            ),
            loops: counter(
                health::metric::LOOPS,
                health::unit::LOOP,
                "Times that a run called a tool with the same arguments for the third time in eight tool calls.",
            ),
            empty_responses: counter(
                health::metric::EMPTY_RESPONSES,
                health::unit::RESPONSE,
                "Model calls that ended without an error and without an answer.",
            ),
        }
    }

    #[inline]
    pub(super) fn duration_of(
        &self,
        kind: OperationKind,
        mcp_server: bool,
    ) -> (&'static str, &Histogram<f64>) {
        match kind {
            OperationKind::Agent => (metric::INVOKE_AGENT_DURATION, &self.agent_duration),
            OperationKind::Tool => (metric::EXECUTE_TOOL_DURATION, &self.tool_duration),
            OperationKind::Workflow => (metric::INVOKE_WORKFLOW_DURATION, &self.workflow_duration),
            OperationKind::Mcp => self.mcp(mcp_server),
            OperationKind::Custom | OperationKind::Plan | OperationKind::Other => {
                (metric::OPERATION_OWN_DURATION, &self.own_duration)
            }
            _ => (metric::OPERATION_DURATION, &self.operation_duration),
        }
    }

    #[inline]
    pub(super) fn mcp(&self, server: bool) -> (&'static str, &Histogram<f64>) {
        if server {
            (metric::MCP_SERVER_DURATION, &self.mcp_server_duration)
        } else {
            (metric::MCP_CLIENT_DURATION, &self.mcp_client_duration)
        }
    }
}

/// The view that gives each of our histograms its aggregation.
///
/// The SDK's default bounds are made for milliseconds and useless for seconds.
pub(crate) fn view(histograms: Histograms, limit: usize) -> impl Fn(&Instrument) -> Option<Stream> {
    move |instrument| {
        let name = instrument.name();
        let stream = Stream::builder();
        let stream = match (bounds_of(name), instrument.kind()) {
            (Some(bounds), InstrumentKind::Histogram) => stream.with_aggregation(match histograms {
                Histograms::Explicit => {
                    Aggregation::ExplicitBucketHistogram { boundaries: bounds.to_vec(), record_min_max: true }
                }
                _ => Aggregation::Base2ExponentialHistogram {
                    // Up to a spread of a million the buckets stay so narrow that quantiles are off by 2.2 % at most.
                    max_size: 320,
                    max_scale: 20,
                    record_min_max: true,
                },
            }),
            _ if name.starts_with(metric::OWN_PREFIX) => stream,
            _ => return None,
        };
        // Where our own limit counts what is over, the SDK's must not come first. Its own counts without the series of
        // what is over.
        let limit = if limited_by_us(name) { limit + 1 } else { limit.saturating_sub(1).max(1) };
        stream.with_cardinality_limit(limit).build().ok()
    }
}

/// Whether the series of an instrument come from [`super::limits::SeriesLimits`].
fn limited_by_us(name: &str) -> bool {
    !matches!(
        name,
        metric::COST
            | metric::COST_UNPRICED
            | metric::RUN_COST
            | metric::ACTIVE_TASKS
            | metric::OPEN_FAILURES
    )
}

fn bounds_of(name: &str) -> Option<&'static [f64]> {
    Some(match name {
        metric::OPERATION_DURATION
        | metric::TIME_TO_FIRST_CHUNK
        | metric::TIME_PER_OUTPUT_CHUNK
        | metric::EXECUTE_TOOL_DURATION
        | metric::OPERATION_OWN_DURATION => buckets::DURATION,
        metric::TOKEN_USAGE => buckets::TOKENS,
        metric::INVOKE_AGENT_DURATION | metric::RECOVERY_DURATION => buckets::AGENT_DURATION,
        metric::INVOKE_AGENT_INFERENCE_CALLS | metric::INVOKE_AGENT_TOOL_CALLS | metric::WORKFLOW_STEPS => {
            buckets::CALLS
        }
        metric::INVOKE_WORKFLOW_DURATION => buckets::WORKFLOW_DURATION,
        metric::MCP_CLIENT_DURATION | metric::MCP_SERVER_DURATION => buckets::MCP_DURATION,
        metric::TOOL_INPUT_SIZE | metric::TOOL_OUTPUT_SIZE => buckets::BYTES,
        metric::TOKENS_PER_SECOND => buckets::TOKENS_PER_SECOND,
        metric::RUN_COST => buckets::RUN_COST,
        _ => return None,
    })
}

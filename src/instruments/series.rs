//! A metric series: its key, its attributes and its bound instruments.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram};

use super::Meters;
use super::limits::SeriesLimits;
use crate::names::Name;
use crate::operation::{MAX_EXTRA_ATTRIBUTES, Operation, OperationKind, Outcome};
use crate::semconv::{attr, metric};

const DIMENSIONS: usize = 10;

/// What tells the series of operations apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct SeriesKey([u32; DIMENSIONS + MAX_EXTRA_ATTRIBUTES]);

impl SeriesKey {
    #[inline]
    pub(super) fn of(operation: &Operation, kind: OperationKind) -> Self {
        let o = operation;
        let outcome = o.outcome() as u32;
        let [a, b, c, d, e, f, g, h] = match kind {
            OperationKind::Agent => {
                [o.agent.id(), o.request_model.id(), o.error_type.id(), outcome, o.task_type.id(), 0, 0, 0]
            }
            OperationKind::Tool => [
                o.tool.id(),
                o.tool_type.id(),
                o.agent.id(),
                o.error_type.id(),
                o.mcp_method.id(),
                u32::from(o.mcp_server),
                0,
                0,
            ],
            OperationKind::Workflow => [o.workflow.id(), o.error_type.id(), 0, 0, 0, 0, 0, 0],
            OperationKind::Mcp => {
                [o.mcp_method.id(), o.tool.id(), o.error_type.id(), u32::from(o.mcp_server), 0, 0, 0, 0]
            }
            OperationKind::Custom | OperationKind::Plan | OperationKind::Other => {
                [o.custom.id(), o.operation.id(), o.agent.id(), o.error_type.id(), 0, 0, 0, 0]
            }
            _ => [
                o.operation.id(),
                o.provider.id(),
                o.request_model.id(),
                o.response_model.id(),
                o.error_type.id(),
                o.server_address.id(),
                u32::from(o.server_port),
                o.agent.id(),
            ],
        };
        let [w, x, y, z] = o.extra;
        Self([kind as u32 + 1, a, b, c, d, e, f, g, h, 0, w.id(), x.id(), y.id(), z.id()])
    }

    /// The key of the series that stands for all of a kind that are over the limit.
    pub(super) fn overflow(kind: OperationKind) -> Self {
        let mut key = Self::default();
        key.0[0] = u32::MAX - kind as u32;
        key
    }

    #[inline]
    pub(super) fn hash(&self) -> u64 {
        self.0.chunks_exact(2).fold(0, |sum: u64, pair| {
            let pair = u64::from(pair[0]) | u64::from(pair[1]) << 32;
            (sum.rotate_left(5) ^ pair).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        })
    }
}

/// A bound instrument that comes into being at its first measurement: one that is bound but never used would be
/// exported with a minimum of the largest float.
#[derive(Debug)]
pub(super) struct Slot<B>(OnceLock<(B, Option<Arc<AtomicU64>>)>);

impl<B> Default for Slot<B> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<B> Slot<B> {
    #[inline]
    fn get(&self, bind: impl FnOnce() -> (B, Option<Arc<AtomicU64>>)) -> &B {
        let (bound, overflow) = self.0.get_or_init(bind);
        if let Some(overflow) = overflow {
            overflow.fetch_add(1, Ordering::Relaxed);
        }
        bound
    }
}

/// All instruments of the operations that share their attributes.
#[derive(Debug)]
pub(super) struct Series {
    like: Operation,
    kind: OperationKind,
    /// Stands for all series over the limit.
    overflow: bool,
    extra_keys: Arc<[String]>,
    duration: Slot<BoundHistogram<f64>>,
    mcp_duration: Slot<BoundHistogram<f64>>,
    input_tokens: Slot<BoundHistogram<u64>>,
    output_tokens: Slot<BoundHistogram<u64>>,
    first_chunk: Slot<BoundHistogram<f64>>,
    chunk_gap: Slot<BoundHistogram<f64>>,
    tokens_per_second: Slot<BoundHistogram<f64>>,
    details: [Slot<BoundCounter<u64>>; 3],
    tasks: Slot<BoundCounter<u64>>,
    inference_calls: Slot<BoundHistogram<u64>>,
    tool_calls: Slot<BoundHistogram<u64>>,
    input_size: Slot<BoundHistogram<u64>>,
    output_size: Slot<BoundHistogram<u64>>,
    steps: Slot<BoundHistogram<u64>>,
    recovery: Slot<BoundHistogram<f64>>,
    /// When the agent or tool began to fail, 0 while it works; shared by all series of the agent or tool.
    pub(super) failing_since: Option<Arc<AtomicU64>>,
}

const DETAILS: [&str; 3] = ["cache_read", "cache_write", "reasoning"];

impl Series {
    pub(super) fn new(
        operation: &Operation,
        kind: OperationKind,
        overflow: bool,
        extra_keys: Arc<[String]>,
        failing_since: Option<Arc<AtomicU64>>,
    ) -> Self {
        Self {
            like: *operation,
            kind,
            overflow,
            extra_keys,
            duration: Slot::default(),
            mcp_duration: Slot::default(),
            input_tokens: Slot::default(),
            output_tokens: Slot::default(),
            first_chunk: Slot::default(),
            chunk_gap: Slot::default(),
            tokens_per_second: Slot::default(),
            details: Default::default(),
            tasks: Slot::default(),
            inference_calls: Slot::default(),
            tool_calls: Slot::default(),
            input_size: Slot::default(),
            output_size: Slot::default(),
            steps: Slot::default(),
            recovery: Slot::default(),
            failing_since,
        }
    }

    #[inline]
    pub(super) fn record(&self, meters: &Meters, limits: &SeriesLimits, operation: &Operation) {
        let seconds = operation.duration_ns as f64 / 1e9;
        let (name, histogram) = meters.duration_of(self.kind, operation.mcp_server);
        self.duration
            .get(|| {
                limits.bind(name, &self.attributes(true), self.overflow, |attributes| {
                    histogram.bind(attributes)
                })
            })
            .record(seconds);
        match self.kind {
            OperationKind::Agent => self.record_task(meters, limits),
            OperationKind::Tool => self.record_tool(meters, limits, operation, seconds),
            OperationKind::Workflow => {
                if let Some(steps) = operation.steps_completed.count() {
                    self.steps
                        .get(|| self.bind(limits, metric::WORKFLOW_STEPS, false, |a| meters.steps.bind(a)))
                        .record(steps);
                }
            }
            kind if kind.counts_usage() => self.record_usage(meters, limits, operation, seconds),
            _ => {}
        }
    }

    #[inline]
    fn record_usage(&self, meters: &Meters, limits: &SeriesLimits, operation: &Operation, seconds: f64) {
        if let Some(tokens) = operation.input_tokens.count() {
            self.input_tokens.get(|| self.bind_tokens(meters, limits, "input")).record(tokens);
        }
        if let Some(tokens) = operation.output_tokens.count() {
            self.output_tokens.get(|| self.bind_tokens(meters, limits, "output")).record(tokens);
        }
        let details = [operation.cache_read_tokens, operation.cache_write_tokens, operation.reasoning_tokens];
        for ((slot, tokens), name) in self.details.iter().zip(details).zip(DETAILS) {
            if let Some(tokens) = tokens.count().filter(|tokens| *tokens > 0) {
                slot.get(|| self.bind_detail(meters, limits, name)).add(tokens);
            }
        }
        if let Some(first) = operation.first_chunk_ns.get() {
            let first = first as f64 / 1e9;
            self.first_chunk
                .get(|| self.bind(limits, metric::TIME_TO_FIRST_CHUNK, false, |a| meters.first_chunk.bind(a)))
                .record(first);
            let writing = seconds - first;
            if let Some(tokens) = operation.output_tokens.count().filter(|_| writing > 0.0) {
                self.tokens_per_second
                    .get(|| {
                        self.bind(limits, metric::TOKENS_PER_SECOND, false, |a| {
                            meters.tokens_per_second.bind(a)
                        })
                    })
                    .record(tokens as f64 / writing);
            }
        }
    }

    fn record_task(&self, meters: &Meters, limits: &SeriesLimits) {
        self.tasks
            .get(|| {
                limits.bind(metric::TASKS, &self.task_attributes(), self.overflow, |a| meters.tasks.bind(a))
            })
            .add(1);
    }

    /// Records how many calls an agent's run has made.
    pub(super) fn record_calls(&self, meters: &Meters, limits: &SeriesLimits, run: &Operation) {
        self.inference_calls
            .get(|| {
                let agent = self.agent_attributes();
                limits.bind(metric::INVOKE_AGENT_INFERENCE_CALLS, &agent, self.overflow, |a| {
                    meters.inference_calls.bind(a)
                })
            })
            .record(u64::from(run.inference_calls));
        self.tool_calls
            .get(|| {
                let agent = self.agent_attributes();
                limits.bind(metric::INVOKE_AGENT_TOOL_CALLS, &agent, self.overflow, |a| {
                    meters.tool_calls.bind(a)
                })
            })
            .record(u64::from(run.tool_calls));
    }

    #[inline]
    fn record_tool(&self, meters: &Meters, limits: &SeriesLimits, operation: &Operation, seconds: f64) {
        if let Some(bytes) = operation.input_bytes.count() {
            self.input_size
                .get(|| self.bind(limits, metric::TOOL_INPUT_SIZE, false, |a| meters.input_size.bind(a)))
                .record(bytes);
        }
        if let Some(bytes) = operation.output_bytes.count() {
            self.output_size
                .get(|| self.bind(limits, metric::TOOL_OUTPUT_SIZE, false, |a| meters.output_size.bind(a)))
                .record(bytes);
        }
        // One span is both a tool call and an MCP request: both durations are of it.
        if operation.mcp_method.is_some() {
            let (name, histogram) = meters.mcp(operation.mcp_server);
            self.mcp_duration
                .get(|| limits.bind(name, &mcp_attributes(&self.like), self.overflow, |a| histogram.bind(a)))
                .record(seconds);
        }
    }

    #[inline]
    pub(super) fn record_chunk(&self, meters: &Meters, limits: &SeriesLimits, seconds: f64) {
        self.chunk_gap
            .get(|| self.bind(limits, metric::TIME_PER_OUTPUT_CHUNK, false, |a| meters.chunk_gap.bind(a)))
            .record(seconds);
    }

    pub(super) fn record_recovery(&self, meters: &Meters, limits: &SeriesLimits, seconds: f64) {
        self.recovery
            .get(|| {
                let subject = subject_attributes(&self.like);
                limits.bind(metric::RECOVERY_DURATION, &subject, self.overflow, |a| meters.recovery.bind(a))
            })
            .record(seconds);
    }

    fn bind<B>(
        &self,
        limits: &SeriesLimits,
        name: &'static str,
        with_error: bool,
        bind: impl FnOnce(&[KeyValue]) -> B,
    ) -> (B, Option<Arc<AtomicU64>>) {
        limits.bind(name, &self.attributes(with_error), self.overflow, bind)
    }

    fn bind_tokens(
        &self,
        meters: &Meters,
        limits: &SeriesLimits,
        token_type: &'static str,
    ) -> (BoundHistogram<u64>, Option<Arc<AtomicU64>>) {
        let mut attributes = self.attributes(false);
        attributes.push(KeyValue::new(attr::TOKEN_TYPE, token_type));
        limits.bind(metric::TOKEN_USAGE, &attributes, self.overflow, |a| meters.tokens.bind(a))
    }

    fn bind_detail(
        &self,
        meters: &Meters,
        limits: &SeriesLimits,
        detail: &'static str,
    ) -> (BoundCounter<u64>, Option<Arc<AtomicU64>>) {
        let mut attributes = self.attributes(false);
        attributes.push(KeyValue::new(attr::TOKEN_DETAIL, detail));
        limits.bind(metric::TOKEN_DETAILS, &attributes, self.overflow, |a| meters.token_details.bind(a))
    }

    /// The attributes of the conventions, with the user's own.
    fn attributes(&self, with_error: bool) -> Vec<KeyValue> {
        let o = &self.like;
        let mut attributes = Vec::with_capacity(DIMENSIONS + MAX_EXTRA_ATTRIBUTES);
        match self.kind {
            OperationKind::Agent => {
                push(&mut attributes, attr::AGENT_NAME, o.agent);
                push(&mut attributes, attr::REQUEST_MODEL, o.request_model);
            }
            OperationKind::Tool => {
                push(&mut attributes, attr::TOOL_NAME, o.tool);
                push(&mut attributes, attr::TOOL_TYPE, o.tool_type);
                push(&mut attributes, attr::AGENT_NAME, o.agent);
            }
            OperationKind::Workflow => push(&mut attributes, attr::WORKFLOW_NAME, o.workflow),
            OperationKind::Mcp => attributes = mcp_attributes(o),
            OperationKind::Custom | OperationKind::Plan | OperationKind::Other => {
                push(&mut attributes, attr::OPERATION, o.custom);
                push(&mut attributes, attr::OPERATION_NAME, o.operation);
                push(&mut attributes, attr::AGENT_NAME, o.agent);
            }
            _ => attributes = model_attributes(o),
        }
        if with_error && self.kind != OperationKind::Mcp {
            push(&mut attributes, attr::ERROR_TYPE, o.error_type);
        }
        self.push_extra(&mut attributes);
        attributes
    }

    fn push_extra(&self, attributes: &mut Vec<KeyValue>) {
        for (key, value) in self.extra_keys.iter().zip(self.like.extra) {
            if value.is_some() {
                attributes.push(KeyValue::new(key.clone(), value.as_str()));
            }
        }
    }

    fn agent_attributes(&self) -> Vec<KeyValue> {
        let mut attributes = Vec::new();
        push(&mut attributes, attr::AGENT_NAME, self.like.agent);
        self.push_extra(&mut attributes);
        attributes
    }

    fn task_attributes(&self) -> Vec<KeyValue> {
        let mut attributes = self.agent_attributes();
        attributes.push(KeyValue::new(attr::OUTCOME, self.like.outcome().as_str()));
        push(&mut attributes, attr::TASK_TYPE, self.like.task_type);
        attributes
    }
}

/// Whether an operation went wrong, as far as recovery is concerned: an answer to a task that was not solved is no
/// outage. Neither is a call that was given up; it is no recovery either.
pub(super) fn is_outage(operation: &Operation) -> bool {
    operation.failed() && operation.outcome() != Outcome::Cancellation
}

pub(super) fn push(attributes: &mut Vec<KeyValue>, key: &'static str, value: Name) {
    if value.is_some() {
        attributes.push(KeyValue::new(key, value.as_str()));
    }
}

/// The attributes that the conventions have on every model call's metrics, and the agent.
pub(super) fn model_attributes(o: &Operation) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(DIMENSIONS + MAX_EXTRA_ATTRIBUTES);
    push(&mut attributes, attr::OPERATION_NAME, o.operation);
    push(&mut attributes, attr::PROVIDER_NAME, o.provider);
    push(&mut attributes, attr::REQUEST_MODEL, o.request_model);
    push(&mut attributes, attr::RESPONSE_MODEL, o.response_model);
    push(&mut attributes, attr::SERVER_ADDRESS, o.server_address);
    if o.server_port != 0 {
        attributes.push(KeyValue::new(attr::SERVER_PORT, i64::from(o.server_port)));
    }
    // Beyond the conventions: without it nobody can say which agent a model fails, or whose context grows.
    push(&mut attributes, attr::AGENT_NAME, o.agent);
    attributes
}

fn mcp_attributes(o: &Operation) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(DIMENSIONS);
    push(&mut attributes, attr::MCP_METHOD_NAME, o.mcp_method);
    push(&mut attributes, attr::TOOL_NAME, o.tool);
    push(&mut attributes, attr::ERROR_TYPE, o.error_type);
    attributes
}

/// The agent or the tool that an operation is about.
pub(super) fn subject_attributes(o: &Operation) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    match o.kind {
        Some(OperationKind::Tool) => push(&mut attributes, attr::TOOL_NAME, o.tool),
        _ => push(&mut attributes, attr::AGENT_NAME, o.agent),
    }
    attributes
}

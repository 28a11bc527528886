//! Operations without a span.

use std::time::Duration;

use crate::names::Name;
use crate::operation::{Amount, Operation, OperationKind, Outcome, Usage, hash_of};
use crate::semconv::operation;

/// Something that happened outside of any span, to be measured with [`Telemetry::record`](crate::Telemetry::record):
/// it goes to the same instruments, cost and health as if it had been a span.
///
/// ```
/// use agentvitals::{Measured, Outcome, Usage};
/// use std::time::Duration;
///
/// # let telemetry = agentvitals::builder().without_export().build()?;
/// telemetry.record(&Measured::agent_run("ChatAgent").duration(Duration::from_millis(1_500)).outcome(Outcome::Success));
/// telemetry.record(&Measured::model_call("openai", "gpt-4o").agent("ChatAgent").usage(Usage::new(200, 50)));
/// telemetry.record(&Measured::tool_call("search").duration(Duration::from_millis(800)).error_type("timeout"));
/// # Ok::<(), agentvitals::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "it is measured when it is given to Telemetry::record"]
pub struct Measured(Operation);

impl Measured {
    fn new(kind: OperationKind, name: &str) -> Self {
        Self(Operation { kind: Some(kind), operation: Name::new(name), ..Operation::EMPTY })
    }

    /// A run of an agent.
    pub fn agent_run(agent: &str) -> Self {
        Self::new(OperationKind::Agent, operation::INVOKE_AGENT).with(|o| o.agent = Name::new(agent))
    }

    /// A chat completion of a model.
    pub fn model_call(provider: &str, model: &str) -> Self {
        Self::new(OperationKind::Model, operation::CHAT).with(|o| {
            o.provider = Name::new(provider);
            o.request_model = Name::new(model);
        })
    }

    /// A call of a tool.
    pub fn tool_call(tool: &str) -> Self {
        Self::new(OperationKind::Tool, operation::EXECUTE_TOOL).with(|o| o.tool = Name::new(tool))
    }

    /// A run of a workflow.
    pub fn workflow_run(workflow: &str) -> Self {
        Self::new(OperationKind::Workflow, operation::INVOKE_WORKFLOW)
            .with(|o| o.workflow = Name::new(workflow))
    }

    /// An operation of your own.
    pub fn operation_named(name: &str) -> Self {
        Self::new(OperationKind::Custom, "").with(|o| o.custom = Name::new(name))
    }

    fn with(mut self, set: impl FnOnce(&mut Operation)) -> Self {
        set(&mut self.0);
        self
    }

    /// How long it took.
    pub fn duration(self, duration: Duration) -> Self {
        self.with(|o| o.duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The agent that made the call.
    pub fn agent(self, agent: &str) -> Self {
        self.with(|o| o.agent = Name::new(agent))
    }

    /// The kind of task that the agent solved, of low cardinality.
    pub fn task_type(self, task_type: &str) -> Self {
        self.with(|o| o.task_type = Name::new(task_type))
    }

    /// How it ended.
    pub fn outcome(self, outcome: Outcome) -> Self {
        self.with(|o| crate::layer::set_outcome(o, Some(outcome)))
    }

    /// It failed with an error of this class.
    pub fn error_type(self, error_type: &str) -> Self {
        self.with(|o| o.error_type = Name::new(error_type))
    }

    /// The tokens of a model call.
    pub fn usage(self, usage: Usage) -> Self {
        self.with(|o| o.set_usage(&usage))
    }

    /// Bytes that a tool got and gave.
    pub fn tool_sizes(self, input: u64, output: u64) -> Self {
        self.with(|o| {
            o.input_bytes = Amount::new(input);
            o.output_bytes = Amount::new(output);
        })
    }

    /// What a tool was called with: kept as a number only, by which an agent that goes round in circles is found.
    pub fn arguments(self, arguments: &str) -> Self {
        self.with(|o| o.arguments = hash_of(arguments))
    }

    /// The model, or a filter before it, refused to answer.
    pub fn refused(self) -> Self {
        self.with(|o| o.refused = true)
    }

    /// What a model call cost, where the program knows it itself; USD.
    pub fn cost(self, cost: crate::cost::Nanodollars) -> Self {
        self.with(|o| o.cost_nano = Amount::new(cost.get()))
    }

    /// Model and tool calls of an agent's run.
    pub fn calls(self, inference_calls: u32, tool_calls: u32) -> Self {
        self.with(|o| {
            o.inference_calls = inference_calls;
            o.tool_calls = tool_calls;
        })
    }

    /// Steps that a workflow finished.
    pub fn steps_completed(self, steps: u64) -> Self {
        self.with(|o| o.steps_completed = Amount::new(steps))
    }

    pub(super) fn operation(&self) -> Operation {
        self.0
    }
}

//! Every attribute, span and metric name, unit and bucket list that agentvitals writes or reads.
//!
//! The names follow the OpenTelemetry GenAI and MCP conventions (generation of mid-2026; for model calls the
//! deployed pair `gen_ai.client.operation.duration` and `gen_ai.client.token.usage`). Names of our own live
//! under `agentvitals.`; none is invented under `gen_ai.`. No other file of the SDK has such a literal, which
//! `tests/architecture.rs` checks.

pub mod forecast;
pub mod health;
pub mod host;
pub mod probe;
pub mod resource;

/// Attribute keys.
pub mod attr {
    /// Which operation a span is; see [`super::operation`].
    pub const OPERATION_NAME: &str = "gen_ai.operation.name";
    /// Who serves the model.
    pub const PROVIDER_NAME: &str = "gen_ai.provider.name";
    /// The older spelling of the provider (conventions before v1.37), still written by some libraries.
    pub const SYSTEM: &str = "gen_ai.system";
    /// The model that was asked for.
    pub const REQUEST_MODEL: &str = "gen_ai.request.model";
    /// Whether the answer was streamed.
    pub const REQUEST_STREAM: &str = "gen_ai.request.stream";
    /// The limit on output tokens that was asked for.
    pub const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
    /// The sampling temperature that was asked for.
    pub const REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
    /// The nucleus sampling mass that was asked for.
    pub const REQUEST_TOP_P: &str = "gen_ai.request.top_p";
    /// The model that answered.
    pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
    /// The provider's id of the response.
    pub const RESPONSE_ID: &str = "gen_ai.response.id";
    /// Why the model stopped, one reason a choice.
    pub const RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
    /// Seconds from the request to the first chunk of a streamed answer.
    pub const RESPONSE_TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
    /// Input tokens, cached ones included.
    pub const USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    /// Output tokens, reasoning included.
    pub const USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
    /// The input tokens that were read from the provider's cache.
    pub const USAGE_CACHE_READ: &str = "gen_ai.usage.cache_read.input_tokens";
    /// The input tokens that were written to the provider's cache.
    pub const USAGE_CACHE_WRITE: &str = "gen_ai.usage.cache_write.input_tokens";
    /// The older spelling of [`USAGE_CACHE_WRITE`].
    pub const USAGE_CACHE_CREATION: &str = "gen_ai.usage.cache_creation.input_tokens";
    /// The output tokens that were spent on reasoning.
    pub const USAGE_REASONING: &str = "gen_ai.usage.reasoning.output_tokens";
    /// The cost of one model call.
    pub const USAGE_COST_AMOUNT: &str = "gen_ai.usage.cost.amount";
    /// ISO 4217 currency of [`USAGE_COST_AMOUNT`].
    pub const USAGE_COST_CURRENCY: &str = "gen_ai.usage.cost.currency";
    /// Who computed [`USAGE_COST_AMOUNT`]: `provider` or `local`.
    pub const USAGE_COST_SOURCE: &str = "gen_ai.usage.cost.source";
    /// `input` or `output`, on [`super::metric::TOKEN_USAGE`].
    pub const TOKEN_TYPE: &str = "gen_ai.token.type";
    /// `cache_read`, `cache_write` or `reasoning`, on [`super::metric::TOKEN_DETAILS`].
    pub const TOKEN_DETAIL: &str = "agentvitals.token.detail";
    /// The thread of messages that an operation belongs to.
    pub const CONVERSATION_ID: &str = "gen_ai.conversation.id";
    /// The format that was asked for.
    pub const OUTPUT_TYPE: &str = "gen_ai.output.type";
    /// The agent's name.
    pub const AGENT_NAME: &str = "gen_ai.agent.name";
    /// The agent's id.
    pub const AGENT_ID: &str = "gen_ai.agent.id";
    /// What the agent is for.
    pub const AGENT_DESCRIPTION: &str = "gen_ai.agent.description";
    /// The agent's version.
    pub const AGENT_VERSION: &str = "gen_ai.agent.version";
    /// The workflow's name, of low cardinality.
    pub const WORKFLOW_NAME: &str = "gen_ai.workflow.name";
    /// The tool's name.
    pub const TOOL_NAME: &str = "gen_ai.tool.name";
    /// `function`, `extension` or `datastore`.
    pub const TOOL_TYPE: &str = "gen_ai.tool.type";
    /// What the tool does.
    pub const TOOL_DESCRIPTION: &str = "gen_ai.tool.description";
    /// The id by which the model asked for the call.
    pub const TOOL_CALL_ID: &str = "gen_ai.tool.call.id";
    /// What the tool was called with (content).
    pub const TOOL_CALL_ARGUMENTS: &str = "gen_ai.tool.call.arguments";
    /// What the tool answered (content).
    pub const TOOL_CALL_RESULT: &str = "gen_ai.tool.call.result";
    /// The error class as some libraries write it on tool spans.
    pub const TOOL_ERROR_TYPE: &str = "gen_ai.tool.error.type";
    /// The tools that the model was offered (content).
    pub const TOOL_DEFINITIONS: &str = "gen_ai.tool.definitions";
    /// The system prompt (content).
    pub const SYSTEM_INSTRUCTIONS: &str = "gen_ai.system_instructions";
    /// The messages that were sent (content).
    pub const INPUT_MESSAGES: &str = "gen_ai.input.messages";
    /// The messages that came back (content).
    pub const OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
    /// The text that was searched for (content).
    pub const RETRIEVAL_QUERY_TEXT: &str = "gen_ai.retrieval.query.text";
    /// What was found (content).
    pub const RETRIEVAL_DOCUMENTS: &str = "gen_ai.retrieval.documents";
    /// The text that a memory was searched for (content).
    pub const MEMORY_QUERY_TEXT: &str = "gen_ai.memory.query.text";
    /// The memories themselves (content).
    pub const MEMORY_RECORDS: &str = "gen_ai.memory.records";
    /// Prefix of template variables (content).
    pub const PROMPT_VARIABLE_PREFIX: &str = "gen_ai.prompt.variable.";
    /// The data source that was searched.
    pub const DATA_SOURCE_ID: &str = "gen_ai.data_source.id";
    /// The prompt template's name.
    pub const PROMPT_NAME: &str = "gen_ai.prompt.name";
    /// The prefix of every GenAI attribute.
    pub const GEN_AI_PREFIX: &str = "gen_ai.";

    /// The JSON-RPC method of an MCP request.
    pub const MCP_METHOD_NAME: &str = "mcp.method.name";
    /// The MCP session.
    pub const MCP_SESSION_ID: &str = "mcp.session.id";
    /// The MCP revision.
    pub const MCP_PROTOCOL_VERSION: &str = "mcp.protocol.version";
    /// The MCP resource.
    pub const MCP_RESOURCE_URI: &str = "mcp.resource.uri";
    /// `pipe`, `tcp` or `quic`.
    pub const NETWORK_TRANSPORT: &str = "network.transport";
    /// The status code of an RPC's response.
    pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";

    /// Low-cardinality class of an error, the same on the span and on its metric.
    pub const ERROR_TYPE: &str = "error.type";
    /// Host of the endpoint.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// Port of the endpoint.
    pub const SERVER_PORT: &str = "server.port";
    /// The application's session.
    pub const SESSION_ID: &str = "session.id";
    /// The end user.
    pub const USER_ID: &str = "user.id";

    /// How a run or task ended: see [`super::outcome`].
    pub const OUTCOME: &str = "agentvitals.outcome";
    /// Why a run ended: completed, max_iterations, max_tokens, guardrail, handoff, tool_failure, cancelled.
    pub const FINISH_REASON: &str = "agentvitals.finish_reason";
    /// Groups `error.type` values for health rules.
    pub const ERROR_CLASS: &str = "agentvitals.error.class";
    /// Whether trying again may help.
    pub const ERROR_RETRYABLE: &str = "agentvitals.error.retryable";
    /// Kind of task that a run solves, of low cardinality.
    pub const TASK_TYPE: &str = "agentvitals.task.type";
    /// Name of an operation that is no GenAI operation.
    pub const OPERATION: &str = "agentvitals.operation.name";
    /// True on a span that is not over: what was known of it when it was looked at. The span itself follows.
    pub const SPAN_PENDING: &str = "agentvitals.span.pending";
    /// Retries that a logical operation needed, only if more than 0.
    pub const RETRY_COUNT: &str = "agentvitals.retry.count";
    /// Whether another model or provider than the first was used, only `true`.
    pub const FALLBACK_USED: &str = "agentvitals.fallback.used";
    /// The model that the fallback replaced.
    pub const FALLBACK_FROM_MODEL: &str = "agentvitals.fallback.from_model";
    /// Bytes of a tool's input.
    pub const TOOL_INPUT_BYTES: &str = "agentvitals.tool.input.size";
    /// Bytes of a tool's output.
    pub const TOOL_OUTPUT_BYTES: &str = "agentvitals.tool.output.size";
    /// How sure the selection of a tool was, 0 to 1.
    pub const TOOL_CONFIDENCE: &str = "agentvitals.tool.confidence";
    /// The latency that was expected of a tool, seconds.
    pub const TOOL_EXPECTED_DURATION: &str = "agentvitals.tool.expected_duration";
    /// Steps that a workflow finished.
    pub const WORKFLOW_STEPS_COMPLETED: &str = "agentvitals.workflow.steps.completed";
    /// Steps that a workflow has.
    pub const WORKFLOW_STEPS_TOTAL: &str = "agentvitals.workflow.steps.total";
    /// Output tokens a second of a streamed answer.
    pub const TOKENS_PER_SECOND: &str = "agentvitals.response.tokens_per_second";
    /// Input tokens of all model calls below a span.
    pub const AGGREGATED_INPUT_TOKENS: &str = "agentvitals.aggregated.usage.input_tokens";
    /// Output tokens of all model calls below a span.
    pub const AGGREGATED_OUTPUT_TOKENS: &str = "agentvitals.aggregated.usage.output_tokens";
    /// Cost of all model calls below a span.
    pub const AGGREGATED_COST_AMOUNT: &str = "agentvitals.aggregated.cost.amount";
    /// Whether a cost misses calls whose price is unknown, only `true`.
    pub const COST_PARTIAL: &str = "agentvitals.cost.partial";
    /// Marks the series that stands for all series over the limit (OpenTelemetry SDK specification).
    pub const METRIC_OVERFLOW: &str = "otel.metric.overflow";
    /// The instrument that a self-metric is about.
    pub const METRIC_NAME: &str = "agentvitals.metric.name";
    /// Why something was lost.
    pub const REASON: &str = "agentvitals.reason";

    /// Fields that `tracing-opentelemetry` reads and that agentvitals reads too.
    pub const OTEL_KIND: &str = "otel.kind";
    /// See [`OTEL_KIND`].
    pub const OTEL_STATUS_CODE: &str = "otel.status_code";
    /// See [`OTEL_KIND`].
    pub const OTEL_STATUS_DESCRIPTION: &str = "otel.status_description";
    /// The plain field in which `#[instrument(err)]` and many users put an error.
    pub const ERROR: &str = "error";
    /// The plain field in which many users put an outcome.
    pub const PLAIN_OUTCOME: &str = "outcome";
    /// The plain field in which many users put the kind of a task.
    pub const PLAIN_TASK_TYPE: &str = "task.type";

    /// Whether the conventions want an integer under `key`.
    pub(crate) fn is_integer(key: &str) -> bool {
        (key.starts_with("gen_ai.usage.") && key.ends_with("_tokens"))
            || matches!(
                key,
                REQUEST_MAX_TOKENS
                    | "gen_ai.request.seed"
                    | "gen_ai.request.top_k"
                    | "gen_ai.request.choice.count"
                    | "gen_ai.embeddings.dimension.count"
                    | "gen_ai.retrieval.top_k"
                    | "gen_ai.memory.record.count"
                    | SERVER_PORT
                    | "client.port"
                    | RETRY_COUNT
                    | TOOL_INPUT_BYTES
                    | TOOL_OUTPUT_BYTES
                    | WORKFLOW_STEPS_COMPLETED
                    | WORKFLOW_STEPS_TOTAL
            )
    }

    /// Whether `key` holds message content, which leaves the process only when switched on.
    pub fn is_content(key: &str) -> bool {
        matches!(
            key,
            SYSTEM_INSTRUCTIONS
                | INPUT_MESSAGES
                | OUTPUT_MESSAGES
                | TOOL_CALL_ARGUMENTS
                | TOOL_CALL_RESULT
                | TOOL_DEFINITIONS
                | RETRIEVAL_QUERY_TEXT
                | RETRIEVAL_DOCUMENTS
                | MEMORY_QUERY_TEXT
                | MEMORY_RECORDS
                | "gen_ai.prompt"
                | "gen_ai.completion"
        ) || key.starts_with(PROMPT_VARIABLE_PREFIX)
    }
}

/// Values of [`attr::OPERATION_NAME`].
pub mod operation {
    /// A chat completion.
    pub const CHAT: &str = "chat";
    /// A multimodal generation.
    pub const GENERATE_CONTENT: &str = "generate_content";
    /// A text completion.
    pub const TEXT_COMPLETION: &str = "text_completion";
    /// Embeddings.
    pub const EMBEDDINGS: &str = "embeddings";
    /// A search in a data source.
    pub const RETRIEVAL: &str = "retrieval";
    /// Fetching a response that was started before.
    pub const FETCH_RESPONSE: &str = "fetch_response";
    /// Creating a remote agent.
    pub const CREATE_AGENT: &str = "create_agent";
    /// Running an agent.
    pub const INVOKE_AGENT: &str = "invoke_agent";
    /// Running a workflow of several agents or steps.
    pub const INVOKE_WORKFLOW: &str = "invoke_workflow";
    /// Running a tool.
    pub const EXECUTE_TOOL: &str = "execute_tool";
    /// Planning.
    pub const PLAN: &str = "plan";
    /// Creating a memory store.
    pub const CREATE_MEMORY_STORE: &str = "create_memory_store";
    /// Deleting a memory store.
    pub const DELETE_MEMORY_STORE: &str = "delete_memory_store";
    /// Creating a memory.
    pub const CREATE_MEMORY: &str = "create_memory";
    /// Updating a memory.
    pub const UPDATE_MEMORY: &str = "update_memory";
    /// Creating or updating a memory.
    pub const UPSERT_MEMORY: &str = "upsert_memory";
    /// Searching memories.
    pub const SEARCH_MEMORY: &str = "search_memory";
    /// Deleting a memory.
    pub const DELETE_MEMORY: &str = "delete_memory";
}

/// Values of [`attr::OUTCOME`] (the values of `cicd.pipeline.result`).
pub mod outcome {
    /// The task was solved.
    pub const SUCCESS: &str = "success";
    /// The task was not solved, without an error.
    pub const FAILURE: &str = "failure";
    /// An error ended the run.
    pub const ERROR: &str = "error";
    /// A deadline ended the run.
    pub const TIMEOUT: &str = "timeout";
    /// The run was given up from outside.
    pub const CANCELLATION: &str = "cancellation";
    /// There was nothing to do.
    pub const SKIP: &str = "skip";
}

/// Values of [`attr::ERROR_TYPE`] that agentvitals itself writes; any other value comes from the user.
pub mod error_type {
    /// An error of which no class is known (required by the conventions as the fallback).
    pub const OTHER: &str = "_OTHER";
    /// A result with `isError` of an MCP tool.
    pub const TOOL_ERROR: &str = "tool_error";
    /// A deadline passed.
    pub const TIMEOUT: &str = "timeout";
    /// The provider refused because of a rate or quota limit.
    pub const RATE_LIMIT: &str = "rate_limit";
    /// The input was too long for the model.
    pub const CONTEXT_LENGTH: &str = "context_length";
    /// A content filter or guardrail refused.
    pub const CONTENT_FILTER: &str = "content_filter";
    /// Credentials were missing or refused.
    pub const AUTHENTICATION: &str = "authentication";
    /// The connection failed.
    pub const CONNECTION: &str = "connection";
    /// The provider failed (HTTP 5xx).
    pub const SERVER_ERROR: &str = "server_error";
    /// The request was refused as malformed (HTTP 4xx).
    pub const INVALID_REQUEST: &str = "invalid_request";
    /// The operation was given up by its caller.
    pub const CANCELLED: &str = "cancelled";
    /// The code panicked.
    pub const PANIC: &str = "panic";
}

/// Metric names.
pub mod metric {
    /// Duration of model calls, seconds.
    pub const OPERATION_DURATION: &str = "gen_ai.client.operation.duration";
    /// Tokens of a model call, by [`super::attr::TOKEN_TYPE`].
    pub const TOKEN_USAGE: &str = "gen_ai.client.token.usage";
    /// Seconds to the first chunk of a streamed answer.
    pub const TIME_TO_FIRST_CHUNK: &str = "gen_ai.client.operation.time_to_first_chunk";
    /// Seconds between the chunks of a streamed answer, after the first.
    pub const TIME_PER_OUTPUT_CHUNK: &str = "gen_ai.client.operation.time_per_output_chunk";
    /// Duration of agent runs, seconds.
    pub const INVOKE_AGENT_DURATION: &str = "gen_ai.invoke_agent.duration";
    /// Model calls of an agent run.
    pub const INVOKE_AGENT_INFERENCE_CALLS: &str = "gen_ai.invoke_agent.inference_calls";
    /// Tool calls of an agent run.
    pub const INVOKE_AGENT_TOOL_CALLS: &str = "gen_ai.invoke_agent.tool_calls";
    /// Duration of tool calls, seconds.
    pub const EXECUTE_TOOL_DURATION: &str = "gen_ai.execute_tool.duration";
    /// Duration of workflow runs, seconds.
    pub const INVOKE_WORKFLOW_DURATION: &str = "gen_ai.invoke_workflow.duration";
    /// Duration of MCP requests, seen by the sender, seconds.
    pub const MCP_CLIENT_DURATION: &str = "mcp.client.operation.duration";
    /// Duration of MCP requests, seen by the receiver, seconds.
    pub const MCP_SERVER_DURATION: &str = "mcp.server.operation.duration";

    /// Finished agent runs by agent and outcome.
    pub const TASKS: &str = "agentvitals.tasks";
    /// Agent runs that are going on.
    pub const ACTIVE_TASKS: &str = "agentvitals.active_tasks";
    /// Duration of operations that are no GenAI operations, seconds.
    pub const OPERATION_OWN_DURATION: &str = "agentvitals.operation.duration";
    /// Subsets of the tokens of model calls: cache reads, cache writes, reasoning.
    pub const TOKEN_DETAILS: &str = "agentvitals.token.details";
    /// Cost of model calls, nano-dollars.
    pub const COST: &str = "agentvitals.cost";
    /// Model calls whose price is unknown.
    pub const COST_UNPRICED: &str = "agentvitals.cost.unpriced_calls";
    /// Cost of an agent run, USD.
    pub const RUN_COST: &str = "agentvitals.invoke_agent.cost";
    /// Bytes of tool inputs.
    pub const TOOL_INPUT_SIZE: &str = "agentvitals.tool.input.size";
    /// Bytes of tool outputs.
    pub const TOOL_OUTPUT_SIZE: &str = "agentvitals.tool.output.size";
    /// Calls that were made again after an error.
    pub const RETRIES: &str = "agentvitals.retries";
    /// Calls that went to another model after an error.
    pub const FALLBACKS: &str = "agentvitals.fallbacks";
    /// Seconds from the first error of an agent or tool to its next success.
    pub const RECOVERY_DURATION: &str = "agentvitals.recovery.duration";
    /// Agents and tools whose last call failed.
    pub const OPEN_FAILURES: &str = "agentvitals.open_failures";
    /// Output tokens a second of streamed answers.
    pub const TOKENS_PER_SECOND: &str = "agentvitals.response.tokens_per_second";
    /// Steps that a workflow run finished.
    pub const WORKFLOW_STEPS: &str = "agentvitals.workflow.steps.completed";

    /// 1 while the telemetry of the process runs.
    pub const UP: &str = "agentvitals.up";
    /// When the telemetry of the process started, seconds since 1970.
    pub const START_TIME: &str = "agentvitals.start_time";
    /// Agents that run or did so lately.
    pub const AGENTS_SEEN: &str = "agentvitals.agents.seen";
    /// What the names of our own metrics start with.
    pub const OWN_PREFIX: &str = "agentvitals.";

    /// 1 while the SDK's own thread works.
    pub const SDK_UP: &str = "agentvitals.sdk.up";
    /// Operations that the layer has seen start.
    pub const SDK_OPERATIONS: &str = "agentvitals.sdk.operations";
    /// Model and tool calls that no agent is known to have made.
    pub const SDK_OPERATIONS_ORPHANED: &str = "agentvitals.sdk.operations.orphaned";
    /// Operations that were not measured because too many were going on.
    pub const SDK_OPERATIONS_REFUSED: &str = "agentvitals.sdk.operations.refused";
    /// Spans that the exporter delivered.
    pub const SDK_SPANS_EXPORTED: &str = "agentvitals.sdk.spans.exported";
    /// Spans that were lost, by reason.
    pub const SDK_SPANS_LOST: &str = "agentvitals.sdk.spans.lost";
    /// Measurements that went to the overflow series because an instrument had too many.
    pub const SDK_SERIES_OVERFLOW: &str = "agentvitals.sdk.series.overflow";
    /// Attribute values that were cut to their limit.
    pub const SDK_VALUES_TRUNCATED: &str = "agentvitals.sdk.values.truncated";
}

/// Units (UCUM).
pub mod unit {
    /// Seconds.
    pub const SECONDS: &str = "s";
    /// Tokens.
    pub const TOKEN: &str = "{token}";
    /// Model calls.
    pub const INFERENCE_CALL: &str = "{inference_call}";
    /// Tool calls.
    pub const TOOL_CALL: &str = "{tool_call}";
    /// Agents.
    pub const AGENT: &str = "{agent}";
    /// Agent runs.
    pub const TASK: &str = "{task}";
    /// Bytes.
    pub const BYTES: &str = "By";
    /// Billionths of a US dollar. Not in braces, which Prometheus would leave out of the name.
    pub const NANO_USD: &str = "nUSD";
    /// US dollars.
    pub const USD: &str = "USD";
    /// Retries.
    pub const RETRY: &str = "{retry}";
    /// Fallbacks.
    pub const FALLBACK: &str = "{fallback}";
    /// Steps.
    pub const STEP: &str = "{step}";
    /// Spans.
    pub const SPAN: &str = "{span}";
    /// Operations.
    pub const OPERATION: &str = "{operation}";
    /// Calls.
    pub const CALL: &str = "{call}";
    /// Values.
    pub const VALUE: &str = "{value}";
    /// Failures.
    pub const FAILURE: &str = "{failure}";
    /// Measurements.
    pub const MEASUREMENT: &str = "{measurement}";
    /// Tokens a second.
    pub const TOKENS_PER_SECOND: &str = "{token}/s";
    /// Dimensionless.
    pub const ONE: &str = "1";
}

/// Explicit bucket bounds of the conventions.
pub mod buckets {
    /// Durations of model and tool calls, seconds.
    pub const DURATION: &[f64] =
        &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
    /// Tokens.
    pub const TOKENS: &[f64] = &[
        1.0,
        4.0,
        16.0,
        64.0,
        256.0,
        1024.0,
        4096.0,
        16384.0,
        65536.0,
        262_144.0,
        1_048_576.0,
        4_194_304.0,
        16_777_216.0,
        67_108_864.0,
    ];
    /// Durations of agent runs, seconds.
    pub const AGENT_DURATION: &[f64] =
        &[0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6];
    /// Model or tool calls of an agent run.
    pub const CALLS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
    /// Durations of workflow runs, seconds.
    pub const WORKFLOW_DURATION: &[f64] =
        &[1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0];
    /// Durations of MCP requests, seconds.
    pub const MCP_DURATION: &[f64] =
        &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
    /// Sizes, bytes (ours).
    pub const BYTES: &[f64] =
        &[64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];
    /// Output tokens a second (ours).
    pub const TOKENS_PER_SECOND: &[f64] =
        &[1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0, 500.0];
    /// Costs of a run, USD (ours).
    pub const RUN_COST: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0];
}

//! One agent's task, as it is in production: an agent that calls a model twice, and a tool after each call. Five spans of
//! ten attributes, some of them recorded late. Shared by the benchmarks and by the example `overhead`.
#![allow(missing_docs, unreachable_pub, dead_code)]

use std::hint::black_box;

use tracing::field::Empty;

/// Spans that one call of [`task`] makes.
pub const SPANS_PER_TASK: usize = 5;

const AGENTS: [&str; 2] = ["weather-agent", "billing-agent"];
const MODELS: [&str; 4] = ["gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5", "gpt-4.1"];
const TOOLS: [&str; 4] = ["get_weather", "search_docs", "run_sql", "send_mail"];

/// What the program would know at run time.
#[derive(Debug)]
pub struct Inputs {
    provider: String,
    conversations: Vec<String>,
    calls: Vec<String>,
    agent_ids: Vec<String>,
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            provider: "openai".into(),
            conversations: (0..16_u64).map(|i| format!("conv_{:032x}", 0x9d3c_0000_1111 * (i + 7))).collect(),
            calls: (0..16_u64).map(|i| format!("call_{:024x}", 0x77aa_0000_1111 * (i + 3))).collect(),
            agent_ids: (0..2_u64).map(|i| format!("asst_{:024x}", 0x5be1_a000 + i)).collect(),
        }
    }
}

/// Runs the `i`th task.
#[inline(never)]
pub fn task(inputs: &Inputs, i: usize) {
    let (agent, model) = (AGENTS[i % 2], MODELS[i / 2 % 4]);
    let conversation = inputs.conversations[i / 8 % 16].as_str();
    let span = tracing::info_span!(
        "run",
        gen_ai.operation.name = "invoke_agent",
        gen_ai.provider.name = inputs.provider.as_str(),
        gen_ai.agent.name = agent,
        gen_ai.agent.id = inputs.agent_ids[i % 2].as_str(),
        gen_ai.conversation.id = conversation,
        gen_ai.request.model = model,
        gen_ai.request.temperature = 0.2,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.response.finish_reasons = Empty,
        error.type = Empty,
    )
    .entered();
    for call in 0..2 {
        chat(inputs, i + call, conversation, agent);
    }
    span.record("gen_ai.usage.input_tokens", tokens(i) * 2);
    span.record("gen_ai.usage.output_tokens", tokens(i) / 4);
    span.record("gen_ai.response.finish_reasons", "stop");
}

fn chat(inputs: &Inputs, i: usize, conversation: &str, agent: &str) {
    let model = MODELS[i / 2 % 4];
    let span = tracing::info_span!(
        "call",
        otel.kind = "client",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = inputs.provider.as_str(),
        gen_ai.request.model = model,
        gen_ai.request.temperature = 0.7,
        gen_ai.request.max_tokens = 1_024,
        gen_ai.conversation.id = conversation,
        gen_ai.response.model = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.response.finish_reasons = Empty,
        error.type = Empty,
    )
    .entered();
    tool(inputs, i, conversation, agent);
    span.record("gen_ai.response.model", model);
    span.record("gen_ai.usage.input_tokens", tokens(i));
    span.record("gen_ai.usage.output_tokens", tokens(i) / 8);
    span.record("gen_ai.response.finish_reasons", "tool_calls");
}

fn tool(inputs: &Inputs, i: usize, conversation: &str, agent: &str) {
    let span = tracing::info_span!(
        "tool",
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = TOOLS[i / 4 % 4],
        gen_ai.tool.call.id = inputs.calls[i % 16].as_str(),
        gen_ai.tool.type = "function",
        gen_ai.agent.name = agent,
        gen_ai.conversation.id = conversation,
        step = i,
        budget_usd = 0.05,
        rows = Empty,
        score = Empty,
        error.type = Empty,
    )
    .entered();
    span.record("rows", black_box(tokens(i)) * 4);
    span.record("score", 0.93);
}

fn tokens(i: usize) -> i64 {
    200 + (i.wrapping_mul(2_654_435_761) >> 8 & 0xfff) as i64
}

//! What the spans say that arrived.

use std::collections::BTreeMap;

use agentvitals::semconv::{attr, operation, outcome};
use agentvitals::testing::ReceivedSpan;

use super::money::{self, Nanos};
use crate::demo::agent::RUN_SPAN;

/// Counts of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) calls: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) cost: Nanos,
    pub(super) priced: u64,
    pub(super) unpriced: u64,
}

/// Counts of one tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) calls: u64,
    pub(super) errors: u64,
}

/// Counts of runs by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Outcomes {
    pub(super) success: u64,
    pub(super) failure: u64,
    pub(super) unknown: u64,
}

/// Counts over all spans.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::demo) struct SpanFigures {
    pub(super) total: u64,
    pub(super) runs: u64,
    pub(super) agents: u64,
    pub(super) chats: u64,
    pub(super) tools: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) cache_read: u64,
    /// Calls that reported input tokens, and output tokens: "reported 0" and "not reported" differ.
    pub(super) reported_input: u64,
    pub(super) reported_output: u64,
    pub(super) outcomes: Outcomes,
    pub(super) chat_errors: BTreeMap<String, u64>,
    pub(super) tool_errors: BTreeMap<String, u64>,
    pub(super) agent_errors: u64,
    pub(super) cost: Nanos,
    pub(super) unpriced: u64,
    pub(super) per_model: BTreeMap<String, Model>,
    pub(super) per_tool: BTreeMap<String, Tool>,
    pub(super) per_agent: BTreeMap<String, u64>,
    /// Agent runs by outcome, as metrics count them.
    pub(super) tasks: BTreeMap<String, u64>,
}

impl SpanFigures {
    pub(super) fn of<'a>(spans: impl IntoIterator<Item = &'a ReceivedSpan>) -> Self {
        let mut figures = Self::default();
        spans.into_iter().for_each(|span| figures.add(span));
        figures
    }

    /// Counts one more span.
    pub(in crate::demo) fn add(&mut self, span: &ReceivedSpan) {
        self.total += 1;
        match span.str(attr::OPERATION_NAME) {
            Some(operation::INVOKE_AGENT) => self.agent(span),
            Some(operation::CHAT) => self.chat(span),
            Some(operation::EXECUTE_TOOL) => self.tool(span),
            None if span.name == RUN_SPAN => self.run(span),
            _ => {}
        }
    }

    /// Spans that are no operation of an agent, the spans around the runs among them.
    pub(super) fn other(&self) -> u64 {
        self.total - self.agents - self.chats - self.tools
    }

    fn run(&mut self, span: &ReceivedSpan) {
        self.runs += 1;
        match span.str(attr::OUTCOME) {
            Some(outcome::SUCCESS) => self.outcomes.success += 1,
            Some(outcome::FAILURE) => self.outcomes.failure += 1,
            _ => self.outcomes.unknown += 1,
        }
    }

    fn agent(&mut self, span: &ReceivedSpan) {
        self.agents += 1;
        let error = span.str(attr::ERROR_TYPE);
        self.agent_errors += u64::from(error.is_some());
        // Metrics have an outcome for every run: without one it was as good as its errors.
        let implied = if error.is_some() { outcome::ERROR } else { outcome::SUCCESS };
        let outcome = span.str(attr::OUTCOME).unwrap_or(implied);
        *self.tasks.entry(outcome.to_owned()).or_default() += 1;
        *self.per_agent.entry(name(span, attr::AGENT_NAME)).or_default() += 1;
    }

    fn chat(&mut self, span: &ReceivedSpan) {
        self.chats += 1;
        let error = span.str(attr::ERROR_TYPE);
        if let Some(kind) = error {
            *self.chat_errors.entry(kind.to_owned()).or_default() += 1;
        }
        let tokens = |key| span.int(key).and_then(|count| u64::try_from(count).ok());
        let (input, output) = (tokens(attr::USAGE_INPUT_TOKENS), tokens(attr::USAGE_OUTPUT_TOKENS));
        self.reported_input += u64::from(input.is_some());
        self.reported_output += u64::from(output.is_some());
        self.cache_read += tokens(attr::USAGE_CACHE_READ).unwrap_or_default();
        self.input_tokens += input.unwrap_or_default();
        self.output_tokens += output.unwrap_or_default();

        let model = self.per_model.entry(name(span, attr::REQUEST_MODEL)).or_default();
        model.calls += 1;
        model.input_tokens += input.unwrap_or_default();
        model.output_tokens += output.unwrap_or_default();
        match span.float(attr::USAGE_COST_AMOUNT).and_then(money::from_usd) {
            Some(cost) => {
                model.priced += 1;
                model.cost += cost;
                self.cost += cost;
            }
            // What was refused is not billed; of an answer that told no usage it is not known.
            None if error.is_some() && input.is_none() && output.is_none() => {}
            None => {
                model.unpriced += 1;
                self.unpriced += 1;
            }
        }
    }

    fn tool(&mut self, span: &ReceivedSpan) {
        self.tools += 1;
        let tool = self.per_tool.entry(name(span, attr::TOOL_NAME)).or_default();
        tool.calls += 1;
        if let Some(kind) = span.str(attr::ERROR_TYPE) {
            tool.errors += 1;
            *self.tool_errors.entry(kind.to_owned()).or_default() += 1;
        }
    }
}

fn name(span: &ReceivedSpan, key: &str) -> String {
    span.str(key).unwrap_or_default().to_owned()
}

//! What the runs say that must arrive.

use super::SpanFigures;
use crate::demo::runs::{Action, Run};

/// Counts over all runs of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::demo) struct Expected {
    runs: u64,
    agents: u64,
    chats: u64,
    tools: u64,
    input_tokens: u64,
    output_tokens: u64,
    cache_read: u64,
    chat_errors: u64,
    tool_errors: u64,
}

impl Expected {
    pub(in crate::demo) fn of(runs: &[Run]) -> Self {
        let mut expected = Self { runs: runs.len() as u64, ..Self::default() };
        for run in runs {
            expected.agents += run.agents.len() as u64;
            for step in &run.steps {
                match &step.action {
                    Action::Model(call) => {
                        let usage = &call.usage;
                        expected.chats += 1;
                        expected.chat_errors += u64::from(call.error.is_some());
                        expected.input_tokens += usage.prompt.unwrap_or(0);
                        expected.output_tokens += usage.completion.unwrap_or(0);
                        expected.cache_read += usage.cached.unwrap_or(0);
                    }
                    Action::Tool(call) => {
                        expected.tools += 1;
                        expected.tool_errors += u64::from(call.error.is_some());
                    }
                }
            }
        }
        expected
    }

    /// What is not in the spans as it is in the runs, in a sentence each.
    pub(super) fn differences(&self, spans: &SpanFigures) -> Vec<String> {
        let errors = |of: &std::collections::BTreeMap<String, u64>| of.values().sum::<u64>();
        let pairs = [
            ("runs", self.runs, spans.runs),
            ("agents", self.agents, spans.agents),
            ("model calls", self.chats, spans.chats),
            ("tool calls", self.tools, spans.tools),
            ("input tokens", self.input_tokens, spans.input_tokens),
            ("output tokens", self.output_tokens, spans.output_tokens),
            ("tokens from a cache", self.cache_read, spans.cache_read),
            ("model errors", self.chat_errors, errors(&spans.chat_errors)),
            ("tool errors", self.tool_errors, errors(&spans.tool_errors)),
        ];
        let different = pairs.into_iter().filter(|(_, runs, spans)| runs != spans);
        different
            .map(|(what, runs, spans)| format!("{what}: the runs have {runs}, the store {spans}"))
            .collect()
    }
}

//! What a replay came to: every figure out of what arrived, and whether the figures agree.

mod asked;
mod expected;
mod metrics;
mod money;
mod spans;
#[cfg(test)]
mod tests;
mod text;
mod verify;

use std::collections::BTreeMap;

use agentvitals::testing::{ReceivedPoint, ReceivedSpan};
use serde::Serialize;

use spans::Outcomes;

pub(super) use asked::Asked;
pub(super) use expected::Expected;
pub(super) use metrics::{MetricFigures, Point};
pub(super) use spans::SpanFigures;

pub use text::Style;

/// What the exporter says of itself at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Sent {
    /// Spans that the endpoint took.
    pub exported: u64,
    /// Spans that it did not get.
    pub lost: u64,
}

impl Sent {
    /// What was exported and what was lost.
    pub fn new(exported: u64, lost: u64) -> Self {
        Self { exported, lost }
    }
}

/// The end of a demo. Serialises as the one document of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    runs: u64,
    spans: SpanCounts,
    tokens: TokenCounts,
    errors: ErrorCounts,
    outcomes: Outcomes,
    cost_usd: f64,
    cost_partial: bool,
    per_model: BTreeMap<String, ModelCounts>,
    per_tool: BTreeMap<String, ToolCounts>,
    exported: u64,
    lost: u64,
    verified: Option<bool>,
    /// Answers to questions about what is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
    #[serde(skip)]
    disagreements: Vec<String>,
    #[serde(skip)]
    warnings: Vec<String>,
    #[serde(skip)]
    error_types: Vec<(&'static str, String, u64)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct SpanCounts {
    invoke_agent: u64,
    chat: u64,
    execute_tool: u64,
    other: u64,
    total: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct TokenCounts {
    input: u64,
    output: u64,
    cache_read: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ErrorCounts {
    chat: u64,
    execute_tool: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ModelCounts {
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    cost_usd: Option<f64>,
    #[serde(skip)]
    partial: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ToolCounts {
    calls: u64,
    errors: u64,
}

/// What is known when what arrived cannot be read back.
pub(super) fn unread(sent: Sent, error: &str) -> Summary {
    let mut summary = Summary::of_spans(&SpanFigures::default(), sent);
    summary.distrust(format!("what arrived cannot be read: {error}"));
    summary
}

impl Summary {
    /// Counts what a receiver got, and compares spans, metrics and the exporter's own report.
    pub fn of_received<'a>(
        spans: impl IntoIterator<Item = &'a ReceivedSpan>,
        points: impl IntoIterator<Item = &'a ReceivedPoint>,
        sent: Sent,
    ) -> Self {
        Self::compare(&SpanFigures::of(spans), &MetricFigures::of(points), sent)
    }

    /// Counts what agents recorded and what was collected for export: the same comparison for an endpoint that
    /// cannot be asked what it got. Disagreement is certain there, agreement is not: verified is `None` at best.
    pub fn of_agents<'a>(
        spans: impl IntoIterator<Item = &'a ReceivedSpan>,
        points: impl IntoIterator<Item = &'a ReceivedPoint>,
        sent: Sent,
    ) -> Self {
        let summary = Self::of_received(spans, points, sent);
        Self { verified: summary.verified.filter(|agree| !agree), ..summary }
    }

    /// Counts what a store keeps, and compares it with the runs that were replayed as well.
    pub(super) fn of_stored(
        spans: &SpanFigures,
        metrics: &MetricFigures,
        expected: &Expected,
        sent: Sent,
        asked: Asked,
    ) -> Self {
        let mut summary = Self::compare(spans, metrics, sent);
        summary.asked = Some(asked);
        for difference in expected.differences(spans) {
            summary.distrust(difference);
        }
        summary
    }

    fn compare(spans: &SpanFigures, metrics: &MetricFigures, sent: Sent) -> Self {
        let disagreements = verify::disagreements(spans, metrics, &sent);
        let verified = Some(disagreements.is_empty());
        Self { verified, disagreements, ..Self::of_spans(spans, sent) }
    }

    fn of_spans(spans: &SpanFigures, sent: Sent) -> Self {
        let models = spans.per_model.iter().map(|(name, model)| {
            let known = model.priced > 0 || model.unpriced == 0 && model.calls > 0;
            let counts = ModelCounts {
                calls: model.calls,
                input_tokens: model.input_tokens,
                output_tokens: model.output_tokens,
                cost_usd: known.then(|| money::to_usd(model.cost)),
                partial: model.unpriced > 0,
            };
            (name.clone(), counts)
        });
        let tools = spans
            .per_tool
            .iter()
            .map(|(name, tool)| (name.clone(), ToolCounts { calls: tool.calls, errors: tool.errors }));
        let types = |what: &'static str, of: &BTreeMap<String, u64>| {
            of.iter().map(|(kind, count)| (what, kind.clone(), *count)).collect::<Vec<_>>()
        };
        Self {
            runs: spans.runs,
            spans: SpanCounts {
                invoke_agent: spans.agents,
                chat: spans.chats,
                execute_tool: spans.tools,
                other: spans.other(),
                total: spans.total,
            },
            tokens: TokenCounts {
                input: spans.input_tokens,
                output: spans.output_tokens,
                cache_read: spans.cache_read,
            },
            errors: ErrorCounts {
                chat: spans.chat_errors.values().sum(),
                execute_tool: spans.tool_errors.values().sum(),
            },
            outcomes: spans.outcomes,
            cost_usd: money::to_usd(spans.cost),
            cost_partial: spans.unpriced > 0,
            per_model: models.collect(),
            per_tool: tools.collect(),
            exported: sent.exported,
            lost: sent.lost,
            verified: None,
            asked: None,
            disagreements: Vec::new(),
            warnings: Vec::new(),
            error_types: [types("chat", &spans.chat_errors), types("execute_tool", &spans.tool_errors)]
                .concat(),
        }
    }

    /// Whether spans, metrics and the exporter's report agree; `None` when they could not be read back.
    pub fn verified(&self) -> Option<bool> {
        self.verified
    }

    /// Spans that were lost.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// What does not agree, in a sentence each.
    pub fn disagreements(&self) -> &[String] {
        &self.disagreements
    }

    /// What was set up in a way that has no effect, or not the whole.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Adds a warning.
    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Adds a reason for which the result is not to be trusted: it is then not verified.
    pub fn distrust(&mut self, reason: String) {
        self.verified = Some(false);
        self.disagreements.push(reason);
    }
}

//! Whether spans, metrics and the exporter's own report tell the same story.

use std::collections::BTreeMap;

use agentvitals::semconv::metric;

use super::Sent;
use super::metrics::MetricFigures;
use super::spans::SpanFigures;

/// Disagreements that are told; a broken pipeline has thousands, and the first of them tell what it is.
const MAX_TOLD: usize = 20;

/// What was sent, what arrived as spans, what arrived as metrics: every pair that must be equal and is not, in
/// a sentence each.
pub(super) fn disagreements(spans: &SpanFigures, metrics: &MetricFigures, sent: &Sent) -> Vec<String> {
    let mut told = Told(Vec::new());
    told.pair("spans", ("exported", sent.exported), ("counted", spans.total));
    told.pair("spans", ("lost", sent.lost), ("expected", 0));
    let mut pair = |what: &str, name: &str, of_spans: u64, of_metrics: u64| {
        told.pair(what, ("spans", of_spans), (name, of_metrics));
    };
    pair("agent runs", metric::INVOKE_AGENT_DURATION, spans.agents, metrics.agents);
    pair("agent runs with an error", metric::INVOKE_AGENT_DURATION, spans.agent_errors, metrics.agent_errors);
    pair("model calls", metric::OPERATION_DURATION, spans.chats, metrics.chats);
    pair("tool calls", metric::EXECUTE_TOOL_DURATION, spans.tools, metrics.tools);
    pair("input tokens", metric::TOKEN_USAGE, spans.input_tokens, metrics.input_tokens);
    pair("output tokens", metric::TOKEN_USAGE, spans.output_tokens, metrics.output_tokens);
    pair("tokens from a cache", metric::TOKEN_DETAILS, spans.cache_read, metrics.cache_read);
    pair("calls with input tokens", metric::TOKEN_USAGE, spans.reported_input, metrics.reported_input);
    pair("calls with output tokens", metric::TOKEN_USAGE, spans.reported_output, metrics.reported_output);
    pair("nano-dollars", metric::COST, spans.cost, metrics.cost);
    pair("calls without a price", metric::COST_UNPRICED, spans.unpriced, metrics.unpriced);

    let models = spans.per_model.iter().map(|(name, model)| (name.clone(), model.calls)).collect();
    let tools = spans.per_tool.iter().map(|(name, tool)| (name.clone(), tool.calls)).collect();
    let mut each = |what: &str, name: &str, of_spans: &BTreeMap<String, u64>, of_metrics| {
        // Over its limit of series a metric does not tell names any more; its totals were compared above.
        if !metrics.overflowed.iter().any(|overflowed| overflowed == name) {
            told.each(what, name, &as_in_metrics(of_spans), of_metrics);
        }
    };
    each("calls of model", metric::OPERATION_DURATION, &models, &metrics.per_model);
    each("calls of tool", metric::EXECUTE_TOOL_DURATION, &tools, &metrics.per_tool);
    each("runs of agent", metric::INVOKE_AGENT_DURATION, &spans.per_agent, &metrics.per_agent);
    each("agent runs with the outcome", metric::TASKS, &spans.tasks, &metrics.tasks);
    each("model errors of type", metric::OPERATION_DURATION, &spans.chat_errors, &metrics.chat_errors);
    each("tool errors of type", metric::EXECUTE_TOOL_DURATION, &spans.tool_errors, &metrics.tool_errors);
    told.finish()
}

/// Counts by name, with the names as metrics have them: cut, and the same for all beyond a limit.
fn as_in_metrics(counts: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut cut = BTreeMap::new();
    for (name, count) in counts {
        *cut.entry(agentvitals::Name::new(name).as_str().to_owned()).or_default() += count;
    }
    cut
}

struct Told(Vec<String>);

impl Told {
    fn pair(&mut self, what: &str, one: (&str, u64), other: (&str, u64)) {
        if one.1 != other.1 {
            self.0.push(format!("{what}: {} {}, {} {}", one.0, one.1, other.0, other.1));
        }
    }

    fn each(
        &mut self,
        what: &str,
        metric: &str,
        spans: &BTreeMap<String, u64>,
        metrics: &BTreeMap<String, u64>,
    ) {
        let only_metrics = metrics.keys().filter(|name| !spans.contains_key(*name));
        for name in spans.keys().chain(only_metrics) {
            let count = |of: &BTreeMap<String, u64>| of.get(name).copied().unwrap_or_default();
            self.pair(&format!("{what} {name:?}"), ("spans", count(spans)), (metric, count(metrics)));
        }
    }

    fn finish(mut self) -> Vec<String> {
        let more = self.0.len().saturating_sub(MAX_TOLD);
        if more > 0 {
            self.0.truncate(MAX_TOLD);
            self.0.push(format!("and {more} more"));
        }
        self.0
    }
}

//! What the spans of single runs show that could be better.

use std::collections::BTreeMap;

use agentvitals::semconv::{attr, operation};

use crate::query::report::Recommendation;
use crate::query::request::Span;

/// Cases before something is advised.
const CASES: u64 = 5;
/// Calls that begin so soon after another has ended are made one after the other, nanoseconds.
const SOON: i64 = 50_000_000;

/// How often something was seen, and what it would save.
#[derive(Default)]
struct Found {
    cases: u64,
    seconds: f64,
    usd: f64,
    traces: Vec<String>,
}

impl Found {
    fn add(&mut self, trace: &str, seconds: f64, usd: f64) {
        self.cases += 1;
        self.seconds += seconds;
        self.usd += usd;
        if self.traces.len() < 5 && self.traces.last().is_none_or(|last| last != trace) {
            self.traces.push(trace.to_owned());
        }
    }
}

/// Looks at runs one by one.
#[derive(Default)]
pub(super) struct Advisor {
    /// By model: the same prompt again.
    duplicates: BTreeMap<String, Found>,
    /// By pair of tools: one after the other, though neither needs the other's result by what is seen.
    serial: BTreeMap<String, Found>,
    /// By tool: the same call with the same arguments again, within a run.
    repeats: BTreeMap<String, Found>,
    /// By subject: the same call again at once after it had failed.
    retries: BTreeMap<String, Found>,
    prompts: BTreeMap<(String, String), u64>,
}

fn value<'a>(span: &'a Span, key: &str) -> &'a str {
    span.attributes.get(key).and_then(serde_json::Value::as_str).unwrap_or("")
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds to seconds")]
fn seconds(span: &Span) -> f64 {
    span.duration_ns as f64 / 1e9
}

fn end(span: &Span) -> i64 {
    span.start_unix_nano.saturating_add(span.duration_ns)
}

impl Advisor {
    /// Takes in the spans of one trace, by start.
    pub(super) fn look(&mut self, trace: &str, spans: &[Span]) {
        let mut seen: BTreeMap<(&str, &str), ()> = BTreeMap::new();
        let mut before: BTreeMap<Option<&str>, &Span> = BTreeMap::new();
        for span in spans {
            let (tool, model) = (value(span, attr::TOOL_NAME), value(span, attr::REQUEST_MODEL));
            let parent = span.parent_span_id.as_deref();
            match value(span, attr::OPERATION_NAME) {
                operation::EXECUTE_TOOL => {
                    let arguments = value(span, attr::TOOL_CALL_ARGUMENTS);
                    if !arguments.is_empty() && seen.insert((tool, arguments), ()).is_some() {
                        self.repeats.entry(tool.to_owned()).or_default().add(trace, seconds(span), 0.0);
                    }
                    if let Some(previous) = before.get(&parent) {
                        self.pair(trace, previous, span, tool);
                    }
                }
                operation::CHAT | operation::GENERATE_CONTENT => {
                    let prompt = value(span, attr::INPUT_MESSAGES);
                    if !prompt.is_empty() {
                        let times = self.prompts.entry((model.to_owned(), prompt.to_owned())).or_default();
                        *times += 1;
                        if *times > 1 {
                            let cost = span.attributes.get(attr::USAGE_COST_AMOUNT);
                            let usd = cost.and_then(serde_json::Value::as_f64).unwrap_or(0.0);
                            self.duplicates.entry(model.to_owned()).or_default().add(
                                trace,
                                seconds(span),
                                usd,
                            );
                        }
                    }
                    if let Some(previous) = before.get(&parent) {
                        self.again(trace, previous, span, model);
                    }
                }
                _ => continue,
            }
            before.insert(parent, span);
        }
    }

    /// Two calls below the same span, one after the other.
    fn pair(&mut self, trace: &str, previous: &Span, span: &Span, tool: &str) {
        let other = value(previous, attr::TOOL_NAME);
        if other.is_empty() {
            return;
        }
        if other == tool && previous.status == "error" {
            return self.again(trace, previous, span, tool);
        }
        let gap = span.start_unix_nano.saturating_sub(end(previous));
        if (0..SOON).contains(&gap) && previous.status != "error" {
            let saved = seconds(previous).min(seconds(span));
            self.serial.entry(format!("{other}, {tool}")).or_default().add(trace, saved, 0.0);
        }
    }

    /// The same call again at once, though it had failed.
    fn again(&mut self, trace: &str, previous: &Span, span: &Span, subject: &str) {
        let same = value(previous, attr::OPERATION_NAME) == value(span, attr::OPERATION_NAME);
        let gap = span.start_unix_nano.saturating_sub(end(previous));
        if same && previous.status == "error" && (0..SOON).contains(&gap) {
            self.retries.entry(subject.to_owned()).or_default().add(trace, 0.0, 0.0);
        }
    }

    /// What is advised.
    pub(super) fn finish(self) -> Vec<Recommendation> {
        let mut all = Vec::new();
        let mut add = |kind: &str, found: BTreeMap<String, Found>, advice: &str, what: &str| {
            for (subject, found) in found.into_iter().filter(|(_, found)| found.cases >= CASES) {
                all.push(Recommendation {
                    kind: kind.to_owned(),
                    advice: advice.to_owned(),
                    evidence: format!("{} {what} in the newest runs", found.cases),
                    subject,
                    saves_s: found.seconds,
                    saves_usd: found.usd,
                    trace_ids: found.traces,
                });
            }
        };
        add(
            "cache",
            self.duplicates,
            "keep the answers to prompts that come again, e.g. in an LRU cache of 100",
            "calls had a prompt that another call had had",
        );
        add(
            "cache",
            self.repeats,
            "keep the result for the rest of the run: the same call gives the same",
            "calls repeated a call of the same run with the same arguments",
        );
        add(
            "parallel",
            self.serial,
            "start both at once and wait for them together (join!, asyncio.gather)",
            "times one was started when the other had just ended, with no model call between",
        );
        add(
            "retries",
            self.retries,
            "wait longer before each further try, with jitter, and give up after two (max_retries = 2)",
            "calls were made again within 50 ms after they had failed",
        );
        all
    }
}

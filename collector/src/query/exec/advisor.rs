//! What the spans of single runs show that could be better.

use std::collections::BTreeMap;

use super::report::Kind;
use super::runs::Step;
use crate::query::report::Recommendation;

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

#[expect(clippy::cast_precision_loss, reason = "nanoseconds to seconds")]
fn seconds(step: &Step) -> f64 {
    step.duration as f64 / 1e9
}

fn end(step: &Step) -> i64 {
    step.start.saturating_add(step.duration)
}

impl Advisor {
    /// Takes in the spans of one trace, by start.
    pub(super) fn look(&mut self, trace: &str, steps: &[Step]) {
        let mut seen: BTreeMap<(&str, &str), ()> = BTreeMap::new();
        let mut before: BTreeMap<Option<[u8; 8]>, &Step> = BTreeMap::new();
        for step in steps {
            let previous = before.get(&step.parent).copied();
            match step.kind {
                Some(Kind::Tool) => {
                    let (tool, arguments) = (&*step.tool, &*step.arguments);
                    if !arguments.is_empty() && seen.insert((tool, arguments), ()).is_some() {
                        self.repeats.entry(tool.to_owned()).or_default().add(trace, seconds(step), 0.0);
                    }
                    if let Some(previous) = previous {
                        self.pair(trace, previous, step);
                    }
                }
                Some(Kind::Model) => {
                    let (model, prompt) = (&*step.model, &*step.prompt);
                    if !prompt.is_empty() {
                        let times = self.prompts.entry((model.to_owned(), prompt.to_owned())).or_default();
                        *times += 1;
                        if *times > 1 {
                            let found = self.duplicates.entry(model.to_owned()).or_default();
                            found.add(trace, seconds(step), step.usd);
                        }
                    }
                    if let Some(previous) = previous {
                        self.again(trace, previous, step, model);
                    }
                }
                _ => continue,
            }
            before.insert(step.parent, step);
        }
    }

    /// Two calls below the same span, one after the other.
    fn pair(&mut self, trace: &str, previous: &Step, step: &Step) {
        let (other, tool) = (&*previous.tool, &*step.tool);
        if other.is_empty() {
            return;
        }
        if other == tool && previous.failed {
            return self.again(trace, previous, step, tool);
        }
        let gap = step.start.saturating_sub(end(previous));
        if (0..SOON).contains(&gap) && !previous.failed {
            let saved = seconds(previous).min(seconds(step));
            self.serial.entry(format!("{other}, {tool}")).or_default().add(trace, saved, 0.0);
        }
    }

    /// The same call again at once, though it had failed.
    fn again(&mut self, trace: &str, previous: &Step, step: &Step, subject: &str) {
        let gap = step.start.saturating_sub(end(previous));
        if previous.kind == step.kind && previous.failed && (0..SOON).contains(&gap) {
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

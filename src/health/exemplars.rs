//! Which traces show what is wrong.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

use super::{Code, Issue};
use crate::semconv::attr;
use crate::views::SubjectKind;

/// Traces that are kept of each subject, of each sort.
const KEPT: usize = 5;
/// The slowest are of the newest half hour.
const LATELY: Duration = Duration::from_secs(1_800);
/// Subjects of which traces are kept.
const SUBJECTS: usize = 2_000;

/// The newest traces with failed calls and with slow ones, of each agent, model and tool. Only of spans that are exported:
/// a trace that nobody can open shows nothing.
#[derive(Debug, Default)]
pub(crate) struct Exemplars(Mutex<BTreeMap<(SubjectKind, Box<str>), Traces>>);

#[derive(Debug, Default)]
struct Traces {
    failed: VecDeque<u128>,
    newest: VecDeque<u128>,
    /// The slowest that ended lately, with how long and when.
    slow: Vec<(Duration, SystemTime, u128)>,
}

fn keep(traces: &mut VecDeque<u128>, trace: u128) {
    traces.retain(|known| *known != trace);
    traces.push_front(trace);
    traces.truncate(KEPT);
}

impl Exemplars {
    /// Takes in a finished span.
    pub(crate) fn note(&self, span: &SpanData) {
        let text = |key: &str| {
            span.attributes.iter().find_map(|KeyValue { key: own, value, .. }| match value {
                Value::String(text) if own.as_str() == key => Some(text.as_str()),
                _ => None,
            })
        };
        if text(attr::OPERATION_NAME).is_none() {
            return;
        }
        let (tool, model, agent) = (text(attr::TOOL_NAME), text(attr::REQUEST_MODEL), text(attr::AGENT_NAME));
        let own = match (tool, model) {
            (Some(tool), _) => Some((SubjectKind::Tool, tool)),
            (None, Some(model)) => Some((SubjectKind::Model, model)),
            _ => None,
        };
        let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
        let trace = u128::from_be_bytes(span.span_context.trace_id().to_bytes());
        let failed = text(attr::ERROR_TYPE).is_some();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, name) in own.into_iter().chain(agent.map(|agent| (SubjectKind::Agent, agent))) {
            let key = (kind, Box::from(name));
            if all.len() >= SUBJECTS && !all.contains_key(&key) {
                continue;
            }
            let traces = all.entry(key).or_default();
            keep(&mut traces.newest, trace);
            if failed {
                keep(&mut traces.failed, trace);
            }
            let old = |ended: &SystemTime| span.end_time.duration_since(*ended).is_ok_and(|age| age > LATELY);
            traces.slow.retain(|(_, ended, known)| *known != trace && !old(ended));
            traces.slow.push((took, span.end_time, trace));
            traces.slow.sort_unstable_by_key(|(took, ..)| std::cmp::Reverse(*took));
            traces.slow.truncate(KEPT);
        }
    }

    /// Traces that show an issue.
    pub(crate) fn of(&self, issue: &Issue) -> Vec<String> {
        let (kind, name): (SubjectKind, &Arc<str>) = (issue.subject.kind, &issue.subject.name);
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(traces) = all.get(&(kind, Box::from(&**name))) else { return Vec::new() };
        let hex = |trace: &u128| format!("{trace:032x}");
        match issue.code {
            Code::SlowModel | Code::SlowTool | Code::TargetMissed => {
                traces.slow.iter().map(|(.., trace)| hex(trace)).collect()
            }
            Code::ModelError | Code::ToolError | Code::RateLimit | Code::FailingRuns => {
                traces.failed.iter().map(hex).collect()
            }
            _ => traces.newest.iter().map(hex).collect(),
        }
    }
}

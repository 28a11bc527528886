//! What only single spans tell: which tools follow each other in a run, and what goes with its failure.

use std::collections::BTreeMap;

use agentvitals::semconv::attr;

use super::Queries;
use super::report::{Kind, kind};
use crate::query::engine::{Control, QueryError};
use crate::query::report::{Recommendation, Report, ReportRequest, Sequence, Share};
use crate::query::request::{Span, SpansRequest};

/// Spans of the newest runs that are looked at one by one.
const SPANS: usize = 4_000;
/// Sequences that are shown.
const SEQUENCES: usize = 30;
/// Traces that are named.
const TRACES: usize = 5;

/// The newest runs, span by span.
#[derive(Default)]
pub(super) struct Runs {
    count: u64,
    sequences: BTreeMap<(String, String), u64>,
    /// By tool: runs with it and those that failed; runs in which it failed and those of them that failed.
    tools: BTreeMap<String, ([u64; 2], [u64; 2])>,
    failed: u64,
    failures: BTreeMap<String, Vec<String>>,
    pub(super) found: Vec<Recommendation>,
}

fn value<'a>(span: &'a Span, key: &str) -> &'a str {
    span.attributes.get(key).and_then(serde_json::Value::as_str).unwrap_or("")
}

impl Runs {
    pub(super) fn read(
        queries: &Queries,
        request: &ReportRequest,
        (start, end): (i64, i64),
        control: &Control,
    ) -> Result<Self, QueryError> {
        let request = SpansRequest {
            q: request.q.clone(),
            start: Some(start),
            end: Some(end),
            limit: Some(SPANS),
            ..SpansRequest::default()
        };
        let answer = super::spans::answer(queries, &request, control)?;
        let mut traces: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for span in answer.spans {
            traces.entry(span.trace_id.clone()).or_default().push(span);
        }
        let mut runs = Self::default();
        let mut advisor = super::advisor::Advisor::default();
        for (trace, mut spans) in traces {
            spans.sort_by_key(|span| span.start_unix_nano);
            // The oldest traces are cut where the limit is: they are looked at no less, but are no whole runs.
            if let Some(root) = spans.iter().find(|span| span.parent_span_id.is_none()).cloned() {
                runs.enter(&trace, &root, &spans);
            }
            advisor.look(&trace, &spans);
        }
        runs.found = advisor.finish();
        Ok(runs)
    }

    fn enter(&mut self, trace: &str, root: &Span, spans: &[Span]) {
        self.count += 1;
        let run_failed = root.status == "error";
        self.failed += u64::from(run_failed);
        let mut before: Option<&str> = None;
        let mut used: BTreeMap<&str, bool> = BTreeMap::new();
        for span in spans.iter().filter(|span| kind(value(span, attr::OPERATION_NAME)) == Some(Kind::Tool)) {
            let tool = value(span, attr::TOOL_NAME);
            let failed = span.status == "error";
            *used.entry(tool).or_default() |= failed;
            if let Some(before) = before {
                *self.sequences.entry((before.to_owned(), tool.to_owned())).or_default() += 1;
            }
            before = Some(tool);
        }
        for (tool, failed) in used {
            let (with, when_failed) = self.tools.entry(tool.to_owned()).or_default();
            with[0] += 1;
            with[1] += u64::from(run_failed);
            if failed {
                when_failed[0] += 1;
                when_failed[1] += u64::from(run_failed);
                let failures = self.failures.entry(tool.to_owned()).or_default();
                if failures.len() < TRACES {
                    failures.push(trace.to_owned());
                }
            }
        }
    }

    pub(super) fn fill(&self, report: &mut Report) {
        report.runs_looked_at = self.count;
        let mut sequences: Vec<Sequence> = self
            .sequences
            .iter()
            .map(|((before, after), count)| Sequence {
                before: before.clone(),
                after: after.clone(),
                count: *count,
            })
            .collect();
        sequences.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.before.cmp(&b.before)));
        sequences.truncate(SEQUENCES);
        report.sequences = sequences;
        for ranked in &mut report.ranking {
            let Some((with, when_failed)) = self.tools.get(&ranked.tool) else { continue };
            let without = (self.count - with[0], self.failed - with[1]);
            ranked.with_and_without =
                Some((Share::of(with[0] - with[1], with[0]), Share::of(without.0 - without.1, without.0)));
            if when_failed[0] > 0 {
                ranked.run_fails_if_it_fails = Some(Share::of(when_failed[1], when_failed[0]));
            }
            ranked.recent_failures = self.failures.get(&ranked.tool).cloned().unwrap_or_default();
        }
    }
}

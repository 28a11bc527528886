//! Traces that show an issue, from what is stored.

use agentvitals::health::{Code, Issue};
use agentvitals::semconv::attr;
use agentvitals::{Subject, SubjectKind};

use crate::query::exec::Queries;
use crate::query::request::{SortBy, SpansRequest};

/// Traces that are named with an issue.
const MOST: usize = 5;
/// They are of the newest half hour.
const LATELY: i64 = 1_800_000_000_000;

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn filter(subject: &Subject, failed: bool) -> Option<String> {
    let key = match subject.kind {
        SubjectKind::Agent => attr::AGENT_NAME,
        SubjectKind::Model => attr::REQUEST_MODEL,
        SubjectKind::Tool => attr::TOOL_NAME,
        SubjectKind::Workflow => attr::WORKFLOW_NAME,
        _ => return None,
    };
    let mut filter = format!("{{ span.{key} = {}", quoted(&subject.name));
    if failed {
        filter.push_str(" && status = error");
    }
    filter.push_str(" }");
    Some(filter)
}

/// The ids of traces that show an issue, the newest (or slowest) first.
pub(super) fn of(queries: &Queries, issue: &Issue) -> Vec<String> {
    let failed =
        matches!(issue.code, Code::ModelError | Code::ToolError | Code::RateLimit | Code::FailingRuns);
    let slow = matches!(issue.code, Code::SlowModel | Code::SlowTool);
    let Some(q) = filter(&issue.subject, failed) else { return Vec::new() };
    let request = SpansRequest {
        q,
        start: Some(crate::clock::unix_nanos().saturating_sub(LATELY)),
        limit: Some(MOST * 4),
        order: if slow { SortBy::Slowest } else { SortBy::Newest },
        ..SpansRequest::default()
    };
    // Without an answer the issue is as true, only without traces.
    let Ok(answer) = queries.spans(&request, &queries.control()) else { return Vec::new() };
    let mut traces: Vec<String> = Vec::new();
    for span in answer.spans {
        if !traces.contains(&span.trace_id) && traces.len() < MOST {
            traces.push(span.trace_id);
        }
    }
    traces
}

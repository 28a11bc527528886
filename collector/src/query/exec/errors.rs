//! Errors that are alike.

use std::collections::BTreeMap;

use agentvitals::semconv::attr;

use super::Queries;
use super::report::{Kind, kind, text};
use super::stats::grouped;
use crate::query::engine::{Control, QueryError};
use crate::query::report::{Cluster, Report};
use crate::query::request::{SortBy, SpansRequest, StatsRequest};

/// Clusters that are shown.
const CLUSTERS: usize = 20;
/// Traces that are named.
const TRACES: usize = 5;

/// Numbers and ids out of a message, so that errors that are alike read alike.
fn normalised(message: &str) -> String {
    let mut out = String::with_capacity(message.len().min(160));
    for word in message.split_whitespace().take(24) {
        if !out.is_empty() {
            out.push(' ');
        }
        let is_id =
            word.len() >= 8 && word.bytes().filter(u8::is_ascii_hexdigit).count() * 4 >= word.len() * 3;
        if is_id && word.bytes().any(|byte| byte.is_ascii_digit()) {
            out.push('#');
            continue;
        }
        let mut in_number = false;
        for c in word.chars() {
            match (c.is_ascii_digit(), in_number) {
                (true, false) => out.push('#'),
                (false, _) => out.push(c),
                _ => {}
            }
            in_number = c.is_ascii_digit();
        }
        if out.len() > 160 {
            break;
        }
    }
    out
}

/// The clusters, the most errors first; tells the lines of the report what their errors are; traces of the first ones, unless it is to be brief.
pub(super) fn clusters(
    queries: &Queries,
    asked: &StatsRequest,
    report: &mut Report,
    brief: bool,
    control: &Control,
) -> Result<Vec<Cluster>, QueryError> {
    let by = [attr::OPERATION_NAME, attr::AGENT_NAME, attr::REQUEST_MODEL, attr::TOOL_NAME, attr::ERROR_TYPE];
    let mut by: Vec<String> = by.iter().map(|key| format!("span.{key}")).collect();
    by.extend(["statusMessage".to_owned(), format!("span.{}", attr::WORKFLOW_NAME)]);
    // Errors are few: what is not one is not looked at, unless the filter is somebody's own.
    let q = if asked.q.trim().is_empty() { "{ status = error }".to_owned() } else { asked.q.clone() };
    let request = StatsRequest { q, by, step: None, ..asked.clone() };
    let (groups, _) = grouped(queries, &request, control)?;
    let mut all: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    for group in groups.iter().filter(|group| group.figures.errors > 0) {
        let Some(kind) = kind(text(group, 0)) else { continue };
        let (error, count) = (text(group, 4), group.figures.errors);
        let (what, name, lines) = match kind {
            Kind::Tool => ("tool", text(group, 3), &mut report.tools),
            Kind::Model => ("model", text(group, 2), &mut report.models),
            Kind::Agent => ("agent", text(group, 1), &mut report.agents),
            Kind::Workflow => ("workflow", text(group, 6), &mut report.workflows),
        };
        let line = lines.iter_mut().find(|line| line.name == name);
        for line in line.into_iter().chain([&mut report.totals]) {
            let class = if error.is_empty() { "unknown" } else { error };
            *line.errors_by_type.entry(class.to_owned()).or_default() += count;
        }
        let subject = format!("{what} {name}");
        let key = (subject, error.to_owned(), normalised(text(group, 5)));
        *all.entry(key).or_default() += count;
    }
    let total: u64 = all.values().sum();
    let mut clusters: Vec<Cluster> = all
        .into_iter()
        .map(|((subject, error_type, message), count)| {
            #[expect(clippy::cast_precision_loss, reason = "a share of counts")]
            let share = count as f64 / total as f64;
            Cluster { subject, error_type, message, count, share, ..Cluster::default() }
        })
        .collect();
    clusters.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.subject.cmp(&b.subject)));
    clusters.truncate(CLUSTERS);
    if !brief {
        for cluster in clusters.iter_mut().take(TRACES * 2) {
            see(queries, asked, cluster, control)?;
        }
    }
    Ok(clusters)
}

/// When errors of a cluster were seen, and in which traces.
fn see(
    queries: &Queries,
    asked: &StatsRequest,
    cluster: &mut Cluster,
    control: &Control,
) -> Result<(), QueryError> {
    let quoted = |text: &str| {
        let mut out = String::new();
        crate::value::write_string(text, &mut out);
        out
    };
    let (kind, name) = cluster.subject.split_once(' ').unwrap_or((&cluster.subject, ""));
    let key = match kind {
        "tool" => attr::TOOL_NAME,
        "model" => attr::REQUEST_MODEL,
        "workflow" => attr::WORKFLOW_NAME,
        _ => attr::AGENT_NAME,
    };
    let mut q = format!("{{ status = error && span.{key} = {}", quoted(name));
    if !cluster.error_type.is_empty() {
        q.push_str(&format!(" && span.{} = {}", attr::ERROR_TYPE, quoted(&cluster.error_type)));
    }
    q.push_str(" }");
    let ask = |order, limit| {
        let request = SpansRequest {
            q: q.clone(),
            start: asked.start,
            end: asked.end,
            limit: Some(limit),
            order,
            ..SpansRequest::default()
        };
        super::spans::answer(queries, &request, control)
    };
    let newest = ask(SortBy::Newest, TRACES * 4)?.spans;
    cluster.last_seen = newest.first().map(|span| span.start_unix_nano);
    cluster.first_seen = ask(SortBy::Oldest, 1)?.spans.first().map(|span| span.start_unix_nano);
    for span in newest {
        if cluster.trace_ids.len() < TRACES && !cluster.trace_ids.contains(&span.trace_id) {
            cluster.trace_ids.push(span.trace_id);
        }
    }
    Ok(())
}

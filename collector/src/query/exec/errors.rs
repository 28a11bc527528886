//! Errors that are alike.

use std::collections::BTreeMap;

use super::figures::Seen;
use super::report::{Kind, kind, text};
use super::stats::Grouped;
use crate::query::report::{Cluster, Report};

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

/// What errors of a cluster have in common: the subject, the error type, the message.
type Key = (String, String, String);

/// The clusters, the most errors first, of groups of errors; tells the lines of the report what their errors are.
pub(super) fn clusters(groups: &[Grouped], report: &mut Report) -> Vec<Cluster> {
    let mut all: BTreeMap<Key, (u64, Vec<&Seen>)> = BTreeMap::new();
    for group in groups {
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
        let cluster = all.entry(key).or_default();
        cluster.0 += count;
        cluster.1.extend(group.figures.seen.as_deref());
    }
    let total: u64 = all.values().map(|(count, _)| count).sum();
    let mut clusters: Vec<Cluster> =
        all.into_iter().map(|(key, (count, seen))| cluster(key, count, total, &seen)).collect();
    clusters.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.subject.cmp(&b.subject)));
    clusters.truncate(CLUSTERS);
    clusters
}

fn cluster((subject, error_type, message): Key, count: u64, total: u64, seen: &[&Seen]) -> Cluster {
    let mut traces: Vec<(i64, [u8; 16])> = seen.iter().flat_map(|seen| seen.traces.iter().copied()).collect();
    traces.sort_unstable_by(|a, b| b.cmp(a));
    let mut trace_ids: Vec<String> = Vec::new();
    for id in traces.into_iter().map(|(_, trace)| hex::encode(trace)) {
        if trace_ids.len() < TRACES && !trace_ids.contains(&id) {
            trace_ids.push(id);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a share of counts")]
    let share = count as f64 / total as f64;
    Cluster {
        subject,
        error_type,
        message,
        count,
        share,
        first_seen: seen.iter().map(|seen| seen.first).min(),
        last_seen: seen.iter().map(|seen| seen.last).max(),
        trace_ids,
    }
}

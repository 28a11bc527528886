//! Log records and metrics of a running server.

use super::client::{Common, Range, post, table, text};
use super::{End, OK, Terminal, ask, printable};
use crate::api::time::rfc3339;
use crate::query::signals::{
    LogsAnswer, LogsRequest, MetricAnswer, MetricNamesAnswer, MetricNamesRequest, MetricRequest,
};

/// Finds log records.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals logs --severity warn --since -1h\n  agentvitals logs '{ .gen_ai.conversation.id = \"c-1\" }' --contains timeout --json"
)]
pub(super) struct LogsArguments {
    /// A filter of attributes, resource, name, trace:id and span:id, in the language of span filters
    #[arg(default_value = "")]
    filter: String,
    /// At least as severe: trace, debug, info, warn, error, fatal, or 1 to 24
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<String>,
    /// Only those whose body contains this
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// The earliest first
    #[arg(long)]
    oldest_first: bool,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    common: Common,
}

/// Shows which metrics there are, or one of them by group.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals metrics\n  agentvitals metrics gen_ai.client.token.usage --by gen_ai.request.model --step 1m --since -1h"
)]
pub(super) struct MetricsArguments {
    /// The metric's name; without one, all names are shown
    name: Option<String>,
    /// Only points that match, in the language of span filters
    #[arg(long, value_name = "FILTER", default_value = "")]
    filter: String,
    /// Groups by this attribute; may be given more than once
    #[arg(long, value_name = "ATTRIBUTE")]
    by: Vec<String>,
    /// Figures for each time step of this length, such as 1m
    #[arg(long, value_name = "DURATION")]
    step: Option<String>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    common: Common,
}

pub(super) fn logs(arguments: &LogsArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let (start, end) = arguments.range.read()?;
    let request = LogsRequest {
        q: arguments.filter.clone(),
        start,
        end,
        severity: arguments.severity.clone(),
        contains: arguments.contains.clone(),
        limit: Some(arguments.limit),
        oldest_first: arguments.oldest_first,
        after: None,
    };
    let answer: LogsAnswer = post(&arguments.common, "logs", &request, &request.q)?;
    for log in &answer.logs {
        if arguments.common.json {
            writeln!(terminal.out, "{}", text(log)?)?;
            continue;
        }
        let body = log.body.as_str().map_or_else(|| log.body.to_string(), str::to_owned);
        let what = if log.name.is_empty() { body } else { format!("{} {body}", log.name) };
        let severity = match log.severity_text.as_str() {
            "" => log.severity.to_string(),
            text => text.to_owned(),
        };
        let line = format!("{} {severity:<5} {} {what}", rfc3339(log.time_unix_nano), log.service);
        writeln!(terminal.out, "{}", printable(line.trim_end()))?;
    }
    if answer.next.is_some() {
        writeln!(terminal.err, "note: there are more; ask for them with --limit, or narrow the time")?;
    }
    Ok(OK)
}

pub(super) fn metrics(arguments: &MetricsArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let (start, end) = arguments.range.read()?;
    let Some(name) = &arguments.name else {
        let request = MetricNamesRequest { start, end };
        let answer: MetricNamesAnswer = post(&arguments.common, "metrics/names", &request, "")?;
        if arguments.common.json {
            writeln!(terminal.out, "{}", text(&answer)?)?;
            return Ok(OK);
        }
        let mut table = table(&["metric", "type", "unit", "points", "last"]);
        for metric in &answer.metrics {
            let cells = [&metric.name, &metric.kind, &metric.unit, &metric.points.to_string()];
            let last = rfc3339(metric.last_unix_nano);
            table.add_row(cells.into_iter().chain([&last]).map(|cell| printable(cell)));
        }
        writeln!(terminal.out, "{table}")?;
        return Ok(OK);
    };
    let request = MetricRequest {
        name: name.clone(),
        q: arguments.filter.clone(),
        start,
        end,
        by: arguments.by.clone(),
        step: arguments.step.as_deref().map(ask::step).transpose()?,
        limit: None,
    };
    let answer: MetricAnswer = post(&arguments.common, "metrics/query", &request, &request.q)?;
    if arguments.common.json {
        writeln!(terminal.out, "{}", text(&answer)?)?;
    } else {
        writeln!(terminal.out, "{}", shown(&answer, &request))?;
    }
    if answer.left_out > 0 {
        writeln!(terminal.err, "note: {} groups with fewer points are left out", answer.left_out)?;
    }
    Ok(OK)
}

fn shown(answer: &MetricAnswer, request: &MetricRequest) -> comfy_table::Table {
    let mut header: Vec<&str> = request.by.iter().map(String::as_str).collect();
    header.extend(request.step.map(|_| "from"));
    header
        .extend(["unit", "points", "series", "value", "a second", "min", "max", "avg", "p50", "p95", "p99"]);
    let mut table = table(&header);
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.6}"));
    for group in &answer.groups {
        let values = group.values.clone().unwrap_or_default();
        let count = group.values.as_ref().map(|values| values.count as f64);
        let mut row: Vec<String> = group
            .by
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), printable))
            .collect();
        row.extend(group.step.map(rfc3339));
        row.extend([printable(&group.unit), group.points.to_string(), group.series.to_string()]);
        row.extend([
            number(group.increase.or(group.last).or(count)),
            number(group.rate),
            number(group.min.or(values.min)),
            number(group.max.or(values.max)),
            number(group.avg.or(values.avg)),
            number(values.p50),
            number(values.p95),
            number(values.p99),
        ]);
        table.add_row(row);
    }
    table
}

//! Questions to a running server, through its API.

use http::Method;

use super::client::{Common, Range, post, send, table, text};
use super::{End, FAILED, OK, Terminal, printable};
use crate::Error;
use crate::query::request::{
    CountAnswer, CountRequest, SortBy, SpansAnswer, SpansRequest, StatsAnswer, StatsRequest, TraceAnswer,
};
use crate::show::{self, duration};
use crate::store::Deleted;

/// Finds spans by a TraceQL query: a span filter, relations between spans of a trace, a pipeline.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals spans '{ .gen_ai.agent.name = \"planner\" && status = error }'\n  agentvitals spans '{ duration > 2s }' --order slowest --json\n  agentvitals spans '{ .gen_ai.agent.name = \"planner\" } >> { status = error }'\n  agentvitals spans --explain '{ status = error } | count() > 2'\n\nExit codes of --explain: 0 the query runs, 2 it is none, 3 it is one that this version does not answer."
)]
pub(super) struct SpansArguments {
    /// The query; all spans without one
    #[arg(default_value = "")]
    filter: String,
    /// Checks and explains the query; no server is asked
    #[arg(long)]
    explain: bool,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// newest, oldest or slowest first
    #[arg(long, default_value = "newest")]
    order: String,
    /// Those that are not over, as they were last heard of
    #[arg(long)]
    pending: bool,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    common: Common,
}

/// Counts spans that match a TraceQL span filter.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  agentvitals count '{ status = error }' --json")]
pub(super) struct CountArguments {
    /// The filter; all spans without one
    #[arg(default_value = "")]
    filter: String,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    common: Common,
}

/// Shows one trace as a waterfall.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  agentvitals trace 4bf92f3577b34da6a3ce929d0e0e4736")]
pub(super) struct TraceArguments {
    /// The trace's id, in hex
    id: String,
    #[command(flatten)]
    common: Common,
}

/// Figures of spans that match a TraceQL span filter, by group.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  agentvitals stats '{ .gen_ai.operation.name = \"chat\" }' --by gen_ai.request.model"
)]
pub(super) struct StatsArguments {
    /// The filter; all spans without one
    #[arg(default_value = "")]
    filter: String,
    /// Groups by this attribute or intrinsic; may be given more than once
    #[arg(long, value_name = "ATTRIBUTE")]
    by: Vec<String>,
    /// Figures for each time step of this length, such as 1m
    #[arg(long, value_name = "DURATION")]
    step: Option<String>,
    /// At most so many groups, those with most spans first
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    common: Common,
}

pub(super) fn count(arguments: &CountArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let (start, end) = arguments.range.read()?;
    let request = CountRequest { q: arguments.filter.clone(), start, end };
    let answer: CountAnswer = post(&arguments.common, "count", &request, &request.q)?;
    if arguments.common.json {
        writeln!(terminal.out, "{}", text(&answer)?)?;
    } else {
        writeln!(terminal.out, "{}", answer.count)?;
    }
    Ok(OK)
}

pub(super) fn spans(arguments: &SpansArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    if arguments.explain {
        return super::explain::explain(&arguments.filter, arguments.common.json, terminal);
    }
    let order = match arguments.order.as_str() {
        "newest" => SortBy::Newest,
        "oldest" => SortBy::Oldest,
        "slowest" => SortBy::Slowest,
        other => {
            return Err(Error::input(format!("--order {other:?}: expected newest, oldest or slowest")).into());
        }
    };
    let (start, end) = arguments.range.read()?;
    let request = SpansRequest {
        q: arguments.filter.clone(),
        start,
        end,
        limit: Some(arguments.limit),
        order,
        pending: arguments.pending,
        ..SpansRequest::default()
    };
    let answer: SpansAnswer = post(&arguments.common, "spans", &request, &request.q)?;
    if arguments.common.json {
        for span in &answer.spans {
            writeln!(terminal.out, "{}", text(span)?)?;
        }
    } else {
        let mut table = table(&["start", "trace", "span", "service", "name", "duration", "status"]);
        for span in &answer.spans {
            let duration = duration(span.duration_ns);
            let start = crate::api::time::rfc3339(span.start_unix_nano);
            let cells =
                [&start, &span.trace_id, &span.span_id, &span.service, &span.name, &duration, &span.status];
            table.add_row(cells.map(|cell| printable(cell)));
        }
        writeln!(terminal.out, "{table}")?;
    }
    if !answer.complete {
        writeln!(
            terminal.err,
            "note: the query took too long; these are the spans that were found until then"
        )?;
    }
    Ok(OK)
}

pub(super) fn stats(arguments: &StatsArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let (start, end) = arguments.range.read()?;
    let request = StatsRequest {
        q: arguments.filter.clone(),
        start,
        end,
        by: arguments.by.clone(),
        step: arguments.step.as_deref().map(step).transpose()?,
        limit: Some(arguments.limit),
    };
    let answer: StatsAnswer = post(&arguments.common, "stats", &request, &request.q)?;
    if arguments.common.json {
        writeln!(terminal.out, "{}", text(&answer)?)?;
        return Ok(OK);
    }
    let mut header: Vec<&str> = arguments.by.iter().map(String::as_str).collect();
    header.extend(request.step.map(|_| "from"));
    header.extend(["spans", "errors", "p50", "p95", "p99", "input tokens", "output tokens", "cost USD"]);
    let mut table = table(&header);
    for group in &answer.groups {
        let mut row: Vec<String> = group
            .by
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), printable))
            .collect();
        row.extend(group.step.map(crate::api::time::rfc3339));
        row.extend([group.count.to_string(), group.errors.to_string()]);
        #[expect(clippy::cast_possible_truncation, reason = "nanoseconds that are shown with three digits")]
        row.extend(
            [group.duration_ns.p50, group.duration_ns.p95, group.duration_ns.p99]
                .map(|nanos| duration(nanos as i64)),
        );
        row.extend([group.input_tokens.to_string(), group.output_tokens.to_string()]);
        row.push(group.cost.map_or_else(|| "unknown".to_owned(), |cost| format!("{cost:.4}")));
        table.add_row(row);
    }
    writeln!(terminal.out, "{table}")?;
    if answer.left_out > 0 {
        writeln!(terminal.err, "note: {} groups with fewer spans are left out", answer.left_out)?;
    }
    Ok(OK)
}

pub(super) fn trace(arguments: &TraceArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let path = format!("traces/{}", arguments.id);
    let answer: TraceAnswer = match send(&arguments.common, Method::GET, &path, String::new(), "")? {
        Some(answer) => answer,
        None => {
            writeln!(terminal.err, "error: there is no trace {}", printable(&arguments.id))?;
            return Ok(FAILED);
        }
    };
    if arguments.common.json {
        writeln!(terminal.out, "{}", text(&answer)?)?;
        return Ok(OK);
    }
    show::waterfall(&answer.spans, usize::MAX, terminal.out)?;
    Ok(OK)
}

/// The length of a time step.
pub(super) fn step(text: &str) -> Result<i64, Error> {
    crate::api::time::parse_duration(text).map_err(|what| Error::input(format!("--step: {what}")))
}

/// Removes all that a service sent.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  agentvitals delete --service staging-bot")]
pub(super) struct DeleteArguments {
    /// The service's name, as in `resource.service.name`
    #[arg(long, value_name = "NAME")]
    service: String,
    #[command(flatten)]
    common: Common,
}

pub(super) fn delete(arguments: &DeleteArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    if arguments.service.is_empty() || arguments.service.contains('/') {
        let service = &arguments.service;
        return Err(Error::input(format!("--service {service:?}: expected a name without slashes")).into());
    }
    let name: String = arguments.service.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let deleted: Option<Deleted> =
        send(&arguments.common, Method::DELETE, &format!("services/{name}"), String::new(), "")?;
    let deleted = deleted.ok_or_else(|| Error::failed("the server deletes nothing"))?;
    if arguments.common.json {
        writeln!(terminal.out, "{}", text(&deleted)?)?;
    } else {
        let Deleted { spans, logs, metrics } = deleted;
        writeln!(terminal.out, "{spans} spans, {logs} log records and {metrics} data points are deleted")?;
    }
    Ok(OK)
}

//! Questions to a running server, through its API.

use std::time::Duration;

use comfy_table::{Table, presets};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{End, FAILED, OK, Terminal, printable};
use crate::Error;
use crate::query::request::{
    CountAnswer, CountRequest, SortBy, Span, SpansAnswer, SpansRequest, StatsAnswer, StatsRequest,
    TraceAnswer,
};

/// Longer than the server gives a question.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Columns of a waterfall's bars.
const BARS: usize = 40;

#[derive(Debug, clap::Args)]
struct Common {
    /// Where the server answers
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:16686")]
    api: String,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

/// Finds spans by a TraceQL span filter.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals spans '{ .gen_ai.agent.name = \"planner\" && status = error }'\n  agentvitals spans '{ duration > 2s }' --order slowest --json"
)]
pub(super) struct SpansArguments {
    /// The filter; all spans without one
    #[arg(default_value = "")]
    filter: String,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// newest, oldest or slowest first
    #[arg(long, default_value = "newest")]
    order: String,
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
    #[command(flatten)]
    common: Common,
}

pub(super) fn count(arguments: &CountArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let request = CountRequest { q: arguments.filter.clone(), ..CountRequest::default() };
    let answer: CountAnswer = post(&arguments.common, "count", &request, &request.q)?;
    if arguments.common.json {
        writeln!(terminal.out, "{}", text(&answer)?)?;
    } else {
        writeln!(terminal.out, "{}", answer.count)?;
    }
    Ok(OK)
}

pub(super) fn spans(arguments: &SpansArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let order = match arguments.order.as_str() {
        "newest" => SortBy::Newest,
        "oldest" => SortBy::Oldest,
        "slowest" => SortBy::Slowest,
        other => {
            return Err(Error::input(format!("--order {other:?}: expected newest, oldest or slowest")).into());
        }
    };
    let request = SpansRequest {
        q: arguments.filter.clone(),
        limit: Some(arguments.limit),
        order,
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
            let duration = shown(span.duration_ns);
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
    let request =
        StatsRequest { q: arguments.filter.clone(), by: arguments.by.clone(), ..StatsRequest::default() };
    let answer: StatsAnswer = post(&arguments.common, "stats", &request, &request.q)?;
    if arguments.common.json {
        writeln!(terminal.out, "{}", text(&answer)?)?;
        return Ok(OK);
    }
    let mut header: Vec<&str> = arguments.by.iter().map(String::as_str).collect();
    header.extend(["spans", "errors", "p50", "p95", "p99", "input tokens", "output tokens", "cost USD"]);
    let mut table = table(&header);
    for group in &answer.groups {
        let mut row: Vec<String> = group
            .by
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), printable))
            .collect();
        row.extend([group.count.to_string(), group.errors.to_string()]);
        #[expect(clippy::cast_possible_truncation, reason = "nanoseconds that are shown with three digits")]
        row.extend(
            [group.duration_ns.p50, group.duration_ns.p95, group.duration_ns.p99]
                .map(|nanos| shown(nanos as i64)),
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
    let url = format!("http://{}/api/v1/traces/{}", arguments.common.api, arguments.id);
    let answer: TraceAnswer = match send(&arguments.common, |client| client.get(&url), "")? {
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
    let start = answer.spans.iter().map(|span| span.start_unix_nano).min().unwrap_or(0);
    let end = answer
        .spans
        .iter()
        .map(|span| span.start_unix_nano.saturating_add(span.duration_ns))
        .max()
        .unwrap_or(0);
    let whole = end.saturating_sub(start).max(1);
    writeln!(terminal.out, "trace {}  {} spans  {}", answer.trace_id, answer.spans.len(), shown(whole))?;
    for (depth, span) in tree(&answer.spans) {
        let place = |nanos: i64| {
            usize::try_from(i128::from(nanos) * BARS as i128 / i128::from(whole)).unwrap_or(0).min(BARS)
        };
        let from = place(span.start_unix_nano - start).min(BARS - 1);
        let to = place(span.start_unix_nano.saturating_add(span.duration_ns) - start).clamp(from + 1, BARS);
        let bar: String = (0..BARS).map(|at| if (from..to).contains(&at) { '█' } else { '·' }).collect();
        let name: String =
            format!("{}{}", "  ".repeat(depth.min(20)), printable(&span.name)).chars().take(44).collect();
        let mark = if span.status == "error" { "error" } else { "" };
        writeln!(terminal.out, "{name:<44} {bar} {:>9} {mark}", shown(span.duration_ns))?;
    }
    Ok(OK)
}

/// The spans below each other, by start; one whose parent is not there is at the top.
fn tree(spans: &[Span]) -> Vec<(usize, &Span)> {
    let known = |id: &str| spans.iter().any(|span| span.span_id == id);
    let mut waiting: Vec<(usize, &Span)> = spans
        .iter()
        .rev()
        .filter(|span| span.parent_span_id.as_deref().is_none_or(|id| !known(id)))
        .map(|span| (0, span))
        .collect();
    let mut out = Vec::with_capacity(spans.len());
    // Spans that name each other as parents are below nothing, and are not shown twice either.
    while let Some((depth, span)) = waiting.pop() {
        out.push((depth, span));
        let below = spans.iter().rev().filter(|other| other.parent_span_id.as_ref() == Some(&span.span_id));
        waiting.extend(below.filter(|other| other.span_id != span.span_id).map(|other| (depth + 1, other)));
    }
    out
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn shown(nanos: i64) -> String {
    let nanos = nanos as f64;
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n if n < 1e9 => format!("{:.1} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

fn text(answer: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(answer).map_err(|error| Error::failed(error.to_string()))
}

fn post<A: DeserializeOwned>(
    common: &Common,
    path: &str,
    request: &impl Serialize,
    query: &str,
) -> Result<A, Error> {
    let url = format!("http://{}/api/v1/{path}", common.api);
    let body = text(request)?;
    let answer = send(
        common,
        |client| client.post(&url).header("content-type", "application/json").body(body),
        query,
    )?;
    answer.ok_or_else(|| Error::failed(format!("{url} is not there; is it a server of another version?")))
}

/// Asks, and reads the answer; none if there is nothing at the path.
fn send<A: DeserializeOwned>(
    common: &Common,
    request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
    query: &str,
) -> Result<Option<A>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::failed(error.to_string()))?;
    let api = &common.api;
    let unreachable = |error: reqwest::Error| {
        Error::failed(format!(
            "no server answers at {api} ({error}); start one with `agentvitals serve`, or name it with --api ADDR"
        ))
    };
    let (status, body) = runtime.block_on(async {
        // Not through a proxy: the server is on this machine or near.
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().map_err(unreachable)?;
        let response = request(&client).send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        Ok::<_, Error>((status, response.bytes().await.map_err(unreachable)?))
    })?;
    match status {
        200 => serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| Error::failed(format!("{api} answers what cannot be read: {error}"))),
        404 => Ok(None),
        status => Err(refused(status, &body, query)),
    }
}

fn refused(status: u16, body: &[u8], query: &str) -> Error {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let mut message =
        error["message"].as_str().map_or_else(|| format!("the server answers {status}"), str::to_owned);
    if let Some(at) =
        error["at"].as_u64().and_then(|at| usize::try_from(at).ok()).filter(|&at| query.is_char_boundary(at))
    {
        let before = query[..at].chars().count();
        message = format!("{message}\n  {query}\n  {}^", " ".repeat(before));
    }
    if status == 400 { Error::input(message) } else { Error::failed(message) }
}

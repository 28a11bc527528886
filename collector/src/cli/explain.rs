//! `agentvitals spans --explain`: whether a query is one, and what it does, without a server.

use serde::Serialize;

use super::client::{pointed, text};
use super::{End, OK, Terminal, printable};
use crate::Error;
use crate::query::QueryError;
use crate::query::traceql::{
    Body, MOST_FILTERS, Metrics, Pipeline, Query, Spanset, Stage, parse, parse_filter,
};

/// The exit code for a query that is right, but that this version does not answer.
const NOT_ANSWERED: u8 = 3;

/// What a query does.
#[derive(Debug, Serialize)]
struct Explained {
    /// As it was understood.
    query: String,
    /// `filter`, `traces` or `metrics`.
    kind: &'static str,
    /// Whether this version answers it.
    runs: bool,
    /// What happens, in order.
    steps: Vec<String>,
    /// Hints that make no difference.
    ignored_hints: Vec<String>,
}

/// Explains a query.
pub(super) fn explain(query: &str, json: bool, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let parsed = parse(query).map_err(|error| match error {
        QueryError::Invalid { message, at } => Error::input(pointed(message, at, query)),
        other => Error::input(other.to_string()),
    })?;
    let explained = explained(query, &parsed);
    if json {
        writeln!(terminal.out, "{}", text(&explained)?)?;
    } else {
        writeln!(terminal.out, "{}", printable(&explained.query))?;
        for (number, step) in explained.steps.iter().enumerate() {
            writeln!(terminal.out, "  {}. {}", number + 1, printable(step))?;
        }
        for hint in &explained.ignored_hints {
            writeln!(terminal.out, "  the hint `{}` makes no difference here", printable(hint))?;
        }
        let answered = match (explained.runs, explained.kind) {
            (false, _) => "it is TraceQL, but this version does not answer it",
            (true, "metrics") => "GET /api/metrics/query_range and /api/metrics/query answer it",
            (true, "traces") => "`agentvitals spans` and /api/v1/search answer it, by a look at whole traces",
            _ => "it is answered everywhere, by a look at single spans",
        };
        writeln!(terminal.out, "  {answered}")?;
    }
    Ok(if explained.runs { OK } else { NOT_ANSWERED })
}

fn explained(query: &str, parsed: &Query) -> Explained {
    let mut steps = Vec::new();
    let (kind, runs) = match &parsed.body {
        Body::Spans(pipeline) => {
            stages(pipeline, &mut steps);
            (if parse_filter(query).is_ok() { "filter" } else { "traces" }, answered(pipeline))
        }
        Body::Metrics(metrics) => ("metrics", numbers(metrics, &mut steps)),
    };
    let ignored_hints = parsed.hints.iter().map(|hint| hint.name.clone()).collect();
    Explained { query: parsed.to_string(), kind, runs, steps, ignored_hints }
}

fn answered(pipeline: &Pipeline) -> bool {
    pipeline.filters() <= MOST_FILTERS
}

fn stages(pipeline: &Pipeline, out: &mut Vec<String>) {
    for stage in &pipeline.stages {
        match stage {
            Stage::Spans(set) => spans(set, out),
            Stage::Where { .. } => out.push(format!("of the sets of spans those with {stage}")),
            Stage::By(expr) => out.push(format!("one set of spans for each value of {expr}")),
            Stage::Coalesce => out.push("all sets of a trace put together".to_owned()),
            Stage::Select(fields) => {
                let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
                out.push(format!("shows {} too", fields.join(", ")));
            }
        }
    }
}

fn spans(set: &Spanset, out: &mut Vec<String>) {
    match set {
        Spanset::Filter(filter) => out.push(match &filter.expr {
            None => "all spans".to_owned(),
            Some(expr) => format!("spans with {expr}"),
        }),
        Spanset::Pipeline(pipeline) => stages(pipeline, out),
        Spanset::Related { op, left, right } => {
            spans(left, out);
            spans(right, out);
            out.push(format!("of each trace what `{}` leaves of the two", op.text()));
        }
    }
}

/// Adds what is done; false if a part of it is not answered.
fn numbers(metrics: &Metrics, out: &mut Vec<String>) -> bool {
    match metrics {
        Metrics::Literal(literal) => {
            out.push(format!("the number {literal}"));
            true
        }
        Metrics::Of { spans, function, by } => {
            stages(spans, out);
            let by: Vec<String> = by.iter().map(ToString::to_string).collect();
            let each = if by.is_empty() { String::new() } else { format!(", for each {}", by.join(", ")) };
            out.push(format!("{function} of each time step{each}"));
            answered(spans)
        }
        Metrics::Binary { op, left, right } => {
            let runs = numbers(left, out) & numbers(right, out);
            out.push(format!("the first `{}` the second, at each time", op.text()));
            runs
        }
        Metrics::Then { of, steps } => {
            let runs = numbers(of, out);
            out.extend(steps.iter().map(|step| format!("of these {step}")));
            runs
        }
    }
}

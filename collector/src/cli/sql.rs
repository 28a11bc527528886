//! SQL to a running server.

use std::io::Read as _;
use std::path::PathBuf;

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::{Common, fetch, table};
use super::file::save;
use super::{End, OK, Terminal, printable};
use crate::Error;

/// The longest query that is read from standard input.
const MAX_QUERY: u64 = 256 << 10;

/// Asks in SQL: PostgreSQL's dialect over the tables spans, logs and metrics.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals sql \"SELECT attributes->>'gen_ai.agent.name' AS agent, COUNT(*) AS requests, AVG(duration_ms) AS avg_duration\n      FROM spans WHERE attributes->>'gen_ai.agent.name' IS NOT NULL GROUP BY agent\"\n  agentvitals sql \"SELECT * FROM spans WHERE status = 'error' AND start_time > now() - interval '1 hour'\" --format csv\n  agentvitals sql \"DESCRIBE spans\"\n\nIt only reads. A server has SQL if it was built with `--features sql`."
)]
pub(super) struct SqlArguments {
    /// The query; - reads it from standard input
    query: String,
    /// How rows are written: table, json, csv or parquet
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    /// Into this file in place of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// At most so many rows, up to 1000000
    #[arg(long, default_value_t = 10_000)]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Deserialize)]
struct Answer {
    columns: Vec<Column>,
    rows: Vec<Map<String, Value>>,
    more: bool,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
}

pub(super) fn sql(arguments: &SqlArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let format = if arguments.common.json { "json" } else { &arguments.format };
    let asked = match format {
        "table" => "json",
        "json" | "csv" | "parquet" => format,
        other => {
            return Err(
                Error::input(format!("--format {other:?}: expected table, json, csv or parquet")).into()
            );
        }
    };
    let path = arguments.output.as_deref().filter(|path| path.as_os_str() != "-");
    if format == "parquet" && arguments.output.is_none() {
        let what = "a Parquet file is nothing to read on a terminal; name a file with --output FILE, or --output - for standard output";
        return Err(Error::input(what).into());
    }
    let query = query(&arguments.query)?;
    let body = json!({"q": query, "limit": arguments.limit, "format": asked}).to_string();
    let answer = fetch(&arguments.common, Method::POST, "sql", body, &query)?.ok_or_else(|| {
        let url = arguments.common.url("sql");
        Error::failed(format!("{url} is not there; is it a server of another version?"))
    })?;
    let text = match format {
        "table" => shown(&answer, arguments.limit, terminal)?,
        "json" => [&answer[..], b"\n"].concat(),
        _ => answer.to_vec(),
    };
    match path {
        Some(path) => save(path, &text)?,
        None => terminal.out.write_all(&text)?,
    }
    Ok(OK)
}

fn query(argument: &str) -> Result<String, Error> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut query = String::new();
    let read = std::io::stdin().lock().take(MAX_QUERY).read_to_string(&mut query);
    read.map_err(|error| Error::input(format!("the query on standard input cannot be read: {error}")))?;
    Ok(query)
}

fn shown(answer: &[u8], limit: usize, terminal: &mut Terminal<'_>) -> Result<Vec<u8>, End> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|error| Error::failed(format!("the server answers what cannot be read: {error}")))?;
    let names: Vec<String> = answer.columns.iter().map(|column| printable(&column.name)).collect();
    let mut out = table(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for row in &answer.rows {
        let cell = |column: &Column| match row.get(&column.name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => printable(text),
            Some(other) => other.to_string(),
        };
        out.add_row(answer.columns.iter().map(cell));
    }
    if answer.more {
        writeln!(
            terminal.err,
            "These are the first {limit} rows; there are more: raise --limit, or ask for less."
        )?;
    }
    Ok(format!("{out}\n").into_bytes())
}

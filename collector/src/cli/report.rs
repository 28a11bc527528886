//! Reports and comparisons.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::client::{Common, Range, post, table, text};
use super::file::save;
use super::{End, FAILED, OK, Terminal, printable};
use crate::Error;
use crate::api::time::{parse_duration, parse_time};
use crate::query::report::{Comparison, Judged, Line, Report, ReportRequest, compare};
use crate::report;

/// Reports how agents, models and tools performed, what it cost, and what could be better.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals report --since -24h\n  agentvitals report --format html --output report.html\n  agentvitals report --every 24h --output-dir reports     # daily_YYYYMMDD.md at midnight UTC, until stopped"
)]
pub(super) struct ReportArguments {
    /// Only spans that match, in the language of span filters
    #[arg(default_value = "")]
    filter: String,
    /// How it is written
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    format: Format,
    /// Writes it to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only figures, without a look at single runs
    #[arg(long)]
    brief: bool,
    /// Writes a report of the time before each so often, until it is stopped; 24h is at midnight UTC
    #[arg(long, value_name = "DURATION", requires = "output_dir", conflicts_with_all = ["output", "since", "until"])]
    every: Option<String>,
    /// Where such reports are written
    #[arg(long, value_name = "DIR", requires = "every")]
    output_dir: Option<PathBuf>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
    Md,
    Html,
}

/// Compares two windows, two builds, or two reports in files, and says what is surely better or worse.
///
/// The exit code is 1 if something is worse, else 0.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals compare --a -48h..-24h --b -24h..now\n  agentvitals compare --by resource.service.version --a 1.2 --b 1.3 --since -24h\n  agentvitals compare before.json after.json"
)]
pub(super) struct CompareArguments {
    /// Two reports as `agentvitals report --format json` writes them
    #[arg(num_args = 0..=2, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The first: START..END, or a value of --by
    #[arg(long, value_name = "WHICH", allow_hyphen_values = true, requires = "b", conflicts_with = "files")]
    a: Option<String>,
    /// The second
    #[arg(long, value_name = "WHICH", allow_hyphen_values = true, requires = "a")]
    b: Option<String>,
    /// An attribute that tells the two apart, such as resource.service.version
    #[arg(long, value_name = "ATTRIBUTE", requires = "a")]
    by: Option<String>,
    /// How it is written
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    format: Format,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    common: Common,
}

pub(super) fn report(arguments: &ReportArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    if let (Some(every), Some(dir)) = (&arguments.every, &arguments.output_dir) {
        return again_and_again(arguments, every, dir, terminal);
    }
    let (start, end) = arguments.range.read()?;
    let request = ReportRequest { q: arguments.filter.clone(), start, end, brief: arguments.brief };
    let report: Report = post(&arguments.common, "report", &request, &request.q)?;
    let format = if arguments.common.json { Format::Json } else { arguments.format };
    let Some(path) = &arguments.output else {
        if format == Format::Table {
            show(&report, terminal)?;
        } else {
            write!(terminal.out, "{}", written(&report, format)?)?;
        }
        return Ok(OK);
    };
    let format = if format == Format::Table { Format::Md } else { format };
    save(path, written(&report, format)?.as_bytes())?;
    writeln!(terminal.err, "written to {}", path.display())?;
    Ok(OK)
}

fn written(report: &Report, format: Format) -> Result<String, Error> {
    Ok(match format {
        Format::Json => text(report)? + "\n",
        Format::Html => report::html(report),
        Format::Md | Format::Table => report::markdown(report),
    })
}

/// Writes a report at each end of a period, until it is stopped.
fn again_and_again(
    arguments: &ReportArguments,
    every: &str,
    dir: &Path,
    terminal: &mut Terminal<'_>,
) -> Result<u8, End> {
    let length = parse_duration(every).map_err(|what| Error::input(format!("--every: {what}")))?;
    if length < 60_000_000_000 {
        return Err(Error::input(format!("--every: {every:?} is too often; expected at least 1m")).into());
    }
    fs::create_dir_all(dir)
        .map_err(|error| Error::input(format!("--output-dir {}: {error}", dir.display())))?;
    loop {
        let now = crate::clock::unix_nanos();
        let end = (now.div_euclid(length) + 1).saturating_mul(length);
        std::thread::sleep(Duration::from_nanos(end.saturating_sub(now).unsigned_abs()));
        let request = ReportRequest {
            q: arguments.filter.clone(),
            start: Some(end.saturating_sub(length)),
            end: Some(end),
            brief: arguments.brief,
        };
        match post::<Report>(&arguments.common, "report", &request, &request.q) {
            Ok(report) => {
                let format = if arguments.format == Format::Table { Format::Md } else { arguments.format };
                let path = dir.join(file_name(end.saturating_sub(length), length, format));
                save(&path, written(&report, format)?.as_bytes())?;
                writeln!(terminal.out, "{}", path.display())?;
                terminal.out.flush()?;
            }
            // The next one may be had: a server that is restarted must not end the schedule.
            Err(error) => writeln!(terminal.err, "error: {}", printable(&error.to_string()))?,
        }
    }
}

/// `daily_20260131.md`, and with hours and minutes if the period is no day.
fn file_name(start: i64, length: i64, format: Format) -> String {
    let time = crate::api::time::rfc3339(start);
    let digits: String = time.chars().filter(char::is_ascii_digit).collect();
    let extension = match format {
        Format::Json => "json",
        Format::Html => "html",
        Format::Md | Format::Table => "md",
    };
    let (day, minute) = (digits.get(..8).unwrap_or(&digits), digits.get(..12).unwrap_or(&digits));
    match length {
        86_400_000_000_000 => format!("daily_{day}.{extension}"),
        _ => format!("report_{minute}.{extension}"),
    }
}

fn show(report: &Report, terminal: &mut Terminal<'_>) -> Result<(), End> {
    let totals = &report.totals;
    writeln!(
        terminal.out,
        "{} to {} UTC: {} operations, {} failed, {}",
        report::time(report.start),
        report::time(report.end),
        totals.count,
        report::percent(totals.error_rate.value),
        report::dollars(totals.cost_nano, report.costs.total.unpriced),
    )?;
    let mut section = |title: &'static str, lines: &[Line]| -> Result<(), End> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut header = report::COLUMNS;
        header[0] = title;
        let mut rows = table(&header);
        for line in lines.iter().take(20) {
            rows.add_row(report::cells(line).map(|cell| printable(&cell)));
        }
        Ok(writeln!(terminal.out, "\n{rows}")?)
    };
    section("agent", &report.agents)?;
    section("model", &report.models)?;
    section("tool", &report.tools)?;
    section("workflow", &report.workflows)?;
    for cluster in report.errors.iter().take(10) {
        let trace = cluster.trace_ids.first().map_or_else(String::new, |id| format!("  {id}"));
        let line = format!(
            "{:>6} {} {} {}{trace}",
            cluster.count, cluster.subject, cluster.error_type, cluster.message
        );
        writeln!(terminal.out, "{}", printable(&line))?;
    }
    for one in &report.recommendations {
        writeln!(
            terminal.out,
            "* {}",
            printable(&format!("{}: {} ({})", one.subject, one.advice, one.evidence))
        )?;
    }
    Ok(())
}

pub(super) fn compare_reports(arguments: &CompareArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let (a, b, names) = match (arguments.files.as_slice(), &arguments.a, &arguments.b) {
        ([a, b], ..) => (read(a)?, read(b)?, [a.display().to_string(), b.display().to_string()]),
        ([], Some(a), Some(b)) => (ask(arguments, a)?, ask(arguments, b)?, [a.to_owned(), b.to_owned()]),
        _ => {
            let expected = "expected two files, or --a and --b (see `agentvitals compare --help`)";
            return Err(Error::input(expected).into());
        }
    };
    let compared = compare(&a, &b, (&names[0], &names[1]));
    match arguments.format {
        _ if arguments.common.json => writeln!(terminal.out, "{}", text(&compared)?)?,
        Format::Json => writeln!(terminal.out, "{}", text(&compared)?)?,
        Format::Md | Format::Html => write!(terminal.out, "{}", report::comparison(&compared))?,
        Format::Table => show_comparison(&compared, terminal)?,
    }
    Ok(if compared.worse > 0 { FAILED } else { OK })
}

fn read(path: &Path) -> Result<Report, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::input(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&format!("it is no report in JSON: {error}")))
}

/// One side of a comparison, from the server.
fn ask(arguments: &CompareArguments, which: &str) -> Result<Report, Error> {
    let mut request = ReportRequest { brief: true, ..ReportRequest::default() };
    (request.start, request.end) = arguments.range.read()?;
    if let Some(by) = &arguments.by {
        let mut value = String::new();
        crate::value::write_string(which, &mut value);
        request.q = format!("{{ {by} = {value} }}");
    } else {
        let wrong =
            || Error::input(format!("{which:?} is no window: expected START..END, such as -48h..-24h"));
        let (start, end) = which.split_once("..").ok_or_else(wrong)?;
        let now = crate::clock::unix_nanos();
        let time =
            |text: &str| parse_time(text, now).map_err(|what| Error::input(format!("{which:?}: {what}")));
        (request.start, request.end) = (Some(time(start)?), Some(time(end)?));
    }
    post(&arguments.common, "report", &request, &request.q)
}

fn show_comparison(compared: &Comparison, terminal: &mut Terminal<'_>) -> Result<(), End> {
    let mut rows = table(&["", "figure", "before", "after", "n", "p", "means"]);
    let shown = compared.differences.iter().filter(|one| one.judged != Judged::NotEnoughData);
    for one in shown {
        let number = |value: f64| match one.what.as_str() {
            "error_rate" => report::percent(value),
            "p50_s" | "p95_s" => report::seconds(value),
            "cost_usd" => format!("${value:.5}"),
            _ => format!("{value:.0}"),
        };
        let p = one.p_value.map_or_else(String::new, |p| format!("{p:.3}"));
        let means = match one.judged {
            Judged::Better => "better",
            Judged::Worse => "WORSE",
            _ => "same",
        };
        let n = format!("{} / {}", one.n.0, one.n.1);
        let cells = [&one.subject, &one.what, &number(one.a), &number(one.b), &n, &p, means];
        rows.add_row(cells.map(printable));
    }
    writeln!(terminal.out, "{rows}")?;
    let few = compared.differences.iter().filter(|one| one.judged == Judged::NotEnoughData).count();
    writeln!(
        terminal.out,
        "{} worse, {} better; of {few} figures there is not enough data",
        compared.worse, compared.better
    )?;
    Ok(())
}

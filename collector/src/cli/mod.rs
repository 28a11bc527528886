//! The commands: arguments in, text and an exit code out.

mod ask;
mod client;
mod completions;
mod demo;
mod doctor;
mod explain;
mod export;
mod file;
mod health;
mod http;
mod import;
mod load;
mod report;
mod serve;
mod signals;
mod sql;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};

use clap::{Parser, Subcommand};

/// The exit code of a command that did what it was asked.
pub const OK: u8 = 0;
/// The exit code of a command that failed, or whose result is not to be trusted.
pub const FAILED: u8 = 1;
/// The exit code for wrong arguments and wrong input.
pub const WRONG_INPUT: u8 = 2;

/// Where a command writes.
#[expect(clippy::exhaustive_structs, reason = "it is made by the caller, and has nothing to add")]
pub struct Terminal<'a> {
    /// Results, and nothing else.
    pub out: &'a mut dyn Write,
    /// Progress and errors.
    pub err: &'a mut dyn Write,
    /// Whether results may have colours.
    pub colored: bool,
}

impl fmt::Debug for Terminal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("colored", &self.colored).finish_non_exhaustive()
    }
}

/// Telemetry of AI agents: see what they did, on this machine and without any setup.
#[derive(Debug, Parser)]
#[command(name = "agentvitals", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Serve(Box<serve::Arguments>),
    Spans(ask::SpansArguments),
    Count(ask::CountArguments),
    Trace(ask::TraceArguments),
    Stats(ask::StatsArguments),
    Sql(sql::SqlArguments),
    Logs(signals::LogsArguments),
    Metrics(signals::MetricsArguments),
    Health(health::HealthArguments),
    Alerts(health::AlertsArguments),
    Rules(health::RulesArguments),
    Report(report::ReportArguments),
    Compare(report::CompareArguments),
    Export(export::ExportArguments),
    Import(import::ImportArguments),
    Load(load::Arguments),
    Delete(ask::DeleteArguments),
    Doctor(doctor::DoctorArguments),
    Completions(completions::CompletionsArguments),
}

/// Runs a command line (the program's name first) and returns its exit code.
pub fn run<I, A>(arguments: I, mut terminal: Terminal<'_>) -> u8
where
    I: IntoIterator<Item = A>,
    A: Into<OsString> + Clone,
{
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error, terminal),
    };
    let result = match arguments.command {
        Command::Demo(arguments) => demo::run(arguments, &mut terminal),
        Command::Serve(arguments) => serve::run(*arguments, &mut terminal),
        Command::Spans(arguments) => ask::spans(&arguments, &mut terminal),
        Command::Count(arguments) => ask::count(&arguments, &mut terminal),
        Command::Trace(arguments) => ask::trace(&arguments, &mut terminal),
        Command::Stats(arguments) => ask::stats(&arguments, &mut terminal),
        Command::Sql(arguments) => sql::sql(&arguments, &mut terminal),
        Command::Logs(arguments) => signals::logs(&arguments, &mut terminal),
        Command::Metrics(arguments) => signals::metrics(&arguments, &mut terminal),
        Command::Health(arguments) => health::health(&arguments, &mut terminal),
        Command::Alerts(arguments) => health::alerts(&arguments, &mut terminal),
        Command::Rules(arguments) => health::rules(&arguments, &mut terminal),
        Command::Report(arguments) => report::report(&arguments, &mut terminal),
        Command::Compare(arguments) => report::compare_reports(&arguments, &mut terminal),
        Command::Export(arguments) => export::export(&arguments, &mut terminal),
        Command::Import(arguments) => import::import(&arguments, &mut terminal),
        Command::Load(arguments) => load::run(arguments, &mut terminal),
        Command::Delete(arguments) => ask::delete(&arguments, &mut terminal),
        Command::Doctor(arguments) => doctor::doctor(&arguments, &mut terminal),
        Command::Completions(arguments) => completions::completions(&arguments, &mut terminal),
    };
    match result {
        Ok(code) => code,
        Err(End::Error(error)) => {
            for line in error.to_string().lines() {
                // Nobody is left to be told that standard error is gone.
                writeln!(terminal.err, "error: {}", printable(line)).ok();
            }
            error.exit_code()
        }
        // Whoever closed the pipe has seen enough; that is no failure.
        Err(End::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => OK,
        Err(End::Output(error)) => {
            writeln!(terminal.err, "error: the result cannot be written: {error}").ok();
            FAILED
        }
    }
}

/// Help goes where results go; a wrong command line is told where errors are.
fn usage(error: &clap::Error, terminal: Terminal<'_>) -> u8 {
    let text = error.render();
    let text = if terminal.colored { text.ansi().to_string() } else { text.to_string() };
    let asked_for = !error.use_stderr();
    let to = if asked_for { terminal.out } else { terminal.err };
    to.write_all(text.as_bytes()).ok();
    if asked_for { OK } else { WRONG_INPUT }
}

/// Why a command ended early.
enum End {
    Error(crate::Error),
    Output(io::Error),
}

impl From<crate::Error> for End {
    fn from(error: crate::Error) -> Self {
        Self::Error(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Errors quote their input, and a terminal obeys control characters.
fn printable(line: &str) -> String {
    crate::show::clean(line)
}

//! `agentvitals demo`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{End, FAILED, OK, Terminal};
use crate::Error;
use crate::demo::{self, Embedded, Options, Speed, Streaming, Style, inject};

const EXAMPLES: &str = "\
Examples:
  agentvitals demo                          the built-in runs, over in seconds
  agentvitals demo --json | jq .cost_usd    one figure of the result
  agentvitals demo --runs runs.jsonl --speed max --concurrency 16
                                            recorded runs, as fast as they can be replayed
  agentvitals demo --keep                   and then ask on: agentvitals spans, stats, trace ...
  agentvitals demo --endpoint http://127.0.0.1:4317
                                            to a collector, Jaeger, ... that takes OTLP/gRPC

A file of runs has one run a line, a JSON object:
  {\"run_id\": \"r1\", \"agents\": [{\"name\": \"planner\", \"model\": \"gpt-4.1\"}],
   \"outcome\": {\"success\": true},
   \"steps\": [{\"kind\": \"model_call\", \"agent\": \"planner\", \"model\": \"gpt-4.1\", \"output_text\": \"Hi\",
              \"prompt_tokens\": 12, \"completion_tokens\": 3, \"duration_ms\": 800, \"error\": null},
             {\"kind\": \"tool_call\", \"agent\": \"planner\", \"tool\": \"search\", \"arguments\": {},
              \"result\": \"...\", \"duration_ms\": 120, \"error\": false}]}
What is not known is null or left out: tokens that were not recorded are not counted as 0, a success
that is null is neither a success nor a failure. All lines are checked before anything runs.

Exit codes: 0 all went well; 1 spans were lost, figures do not agree, or the replay failed; 2 the command
line or a line of the runs is wrong.";

/// Replay recorded agents and check that every span, metric and cent of them arrives.
///
/// Starts an OpenAI-compatible model server on loopback that answers with recorded completions, runs the
/// recorded agents against it over HTTP, exports their telemetry over OTLP/gRPC to a collector of its own, and
/// asks that what arrived. The result is verified when the runs, the spans and metrics in the store, and the
/// exporter's own count agree.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Replay the runs of this file (JSON Lines; `-` is standard input) instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    runs: Option<PathBuf>,

    /// Export to this OTLP endpoint instead of the demo's own collector
    ///
    /// What arrives there cannot be read back. The figures are then those of the agents' own side, compared with
    /// the metrics as they were collected; "exported" and "lost" are what the exporter reports; "verified" is
    /// null, or false if these disagree. The OTEL_* variables apply (headers, protocol, certificates, ...).
    /// A port of 4318 means OTLP/HTTP, any other gRPC, unless OTEL_EXPORTER_OTLP_PROTOCOL says otherwise.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// Divide recorded durations by N; `max` does not wait at all
    #[arg(long, value_name = "N|max", default_value_t = Speed::DEFAULT)]
    speed: Speed,

    /// Replay N runs at the same time
    #[arg(long, value_name = "N", default_value_t = Options::DEFAULT_CONCURRENCY)]
    concurrency: usize,

    /// Stream the models' answers
    #[arg(long, value_enum, value_name = "WHICH", default_value_t)]
    stream: Streaming,

    /// Keep what arrived in this directory; `agentvitals serve --data-dir DIR` shows it again later
    ///
    /// Without it, it is kept in a temporary directory that is removed at the end.
    #[arg(long, value_name = "DIR", conflicts_with = "endpoint")]
    data_dir: Option<PathBuf>,

    /// Go on answering questions after the replay, until Ctrl-C or SIGTERM
    ///
    /// The last line of the output is then that of `agentvitals serve`: JSON with the addresses.
    #[arg(long, conflicts_with = "endpoint")]
    keep: bool,

    /// Where questions are answered; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    api: SocketAddr,

    /// Instead of a replay: simulate traffic with these faults (TOML) and tell how true health's alarms are
    ///
    /// Each fault is a table: [[scenario]] with name, start and duration (\"20m\"), kind, target (a model, tool or
    /// agent; none is all), rate (share of calls hit, default 1) or factor. Kinds: model_error, rate_limit,
    /// slow_model, slow_tool, tool_error, loop, stall, cost, context_growth, empty_output, silence.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["endpoint", "data_dir", "keep"])]
    inject: Option<PathBuf>,

    /// Hours to simulate, after a day in which health learns what is usual
    #[arg(long, value_name = "N", default_value_t = 24.0, requires = "inject")]
    hours: f64,

    /// Agents that serve at the same time, 60 runs an hour each
    #[arg(long, value_name = "M", default_value_t = 10, requires = "inject")]
    agents: u32,

    /// The same seed gives the same result
    #[arg(long, value_name = "K", default_value_t = 1, requires = "inject")]
    seed: u64,

    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    if let Some(scenarios) = &arguments.inject {
        return inject(&arguments, scenarios, terminal);
    }
    let Arguments { runs, endpoint, speed, concurrency, stream, data_dir, keep, api, json, .. } = arguments;
    let mut options =
        Options { runs, endpoint, data_dir, speed, concurrency, streaming: stream, ..Options::default() };
    options.addresses[2] = api;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::failed(format!("no runtime can be started: {error}")))?;
    let err = &mut *terminal.err;
    let (summary, collector) = runtime.block_on(demo::run_and_keep(&options, |over, total| {
        // The result does not depend on anybody watching.
        writeln!(err, "{over} of {total} runs replayed").ok();
    }))?;
    for warning in summary.warnings() {
        writeln!(terminal.err, "warning: {}", super::printable(warning)).ok();
    }
    if json {
        let document = serde_json::to_string(&summary);
        let document = document.map_err(|error| Error::failed(format!("the result is no JSON: {error}")))?;
        writeln!(terminal.out, "{document}")?;
        for disagreement in summary.disagreements() {
            writeln!(terminal.err, "not verified: {}", super::printable(disagreement)).ok();
        }
    } else {
        let style = if terminal.colored { Style::Colored } else { Style::Plain };
        summary.write_text(terminal.out, style)?;
    }
    terminal.out.flush()?;
    if let Some(collector) = collector {
        runtime.block_on(async {
            if keep {
                wait(&collector, terminal).await?;
            }
            Ok::<_, End>(collector.stop().await?)
        })?;
    }
    let well = summary.verified() != Some(false) && summary.lost() == 0;
    Ok(if well { OK } else { FAILED })
}

/// Simulates, instead of replaying.
fn inject(arguments: &Arguments, scenarios: &Path, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let runs = demo::runs_of(arguments.runs.as_deref())?;
    let scenarios = inject::read_file(scenarios, &runs, arguments.hours)?;
    let settings = inject::Settings::new(arguments.hours, arguments.agents, arguments.seed);
    let err = &mut *terminal.err;
    let outcome = inject::simulate(&runs, &scenarios, &settings, |made, of| {
        if made % (of / 10).max(1) == 0 {
            writeln!(err, "{made} of {of} evaluations made").ok();
        }
    })?;
    let document = serde_json::to_string(&outcome);
    let document = document.map_err(|error| Error::failed(format!("the result is no JSON: {error}")))?;
    writeln!(terminal.out, "{document}")?;
    Ok(OK)
}

/// Tells how to ask on, and waits to be told to end.
async fn wait(collector: &Embedded, terminal: &mut Terminal<'_>) -> Result<(), End> {
    // Before anything is told, so that whoever reads it may end the process at once.
    let mut terminated = signal(SignalKind::terminate())?;
    let api = collector.addresses().api;
    writeln!(
        terminal.err,
        "ask on, and end it with Ctrl-C:\n  agentvitals spans '{{ status = error }}' --api {api}\n  agentvitals stats --by gen_ai.agent.name --api {api}"
    )
    .ok();
    writeln!(terminal.out, "{}", collector.ready_line()?)?;
    terminal.out.flush()?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

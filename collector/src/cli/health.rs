//! Health and alerts of a running server, and rules in a file.

use std::path::PathBuf;

use agentvitals::alert::{Phase, Preset, Rules};
use agentvitals::health::{HealthReport, Severity, Status};
use http::Method;
use serde_json::{Value, json};

use super::client::{Common, send, table, text};
use super::{End, FAILED, OK, Terminal, printable};
use crate::Error;
use crate::health::AlertsAnswer;

/// Shows how agents, models, tools and the whole are, and what is wrong with them.
///
/// The exit code is 0 if all is healthy (or nothing is known yet), 1 if something is degraded or unhealthy.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  agentvitals health\n  agentvitals health --json | jq .issues")]
pub(super) struct HealthArguments {
    #[command(flatten)]
    common: Common,
}

/// Shows alerts that are pending or firing.
///
/// The exit code is 1 if an alert fires that nobody has muted, of the given severity or worse, else 0.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals alerts --severity error || page-somebody\n  agentvitals alerts --silence alertname=health.slow_tool --for 2h --by ann\n  agentvitals alerts --acknowledge 0123456789abcdef --by ann"
)]
pub(super) struct AlertsArguments {
    /// Only as severe, or worse: info, warning, error, critical
    #[arg(long, value_name = "SEVERITY", default_value = "info", value_parser = severity)]
    severity: Severity,
    /// Also shows alerts that are over
    #[arg(long)]
    resolved: bool,
    /// Silences alerts with this label, such as alertname=health.loop; may be given more than once
    #[arg(long, value_name = "LABEL=VALUE", requires = "for", conflicts_with_all = ["acknowledge", "unsilence"])]
    silence: Vec<String>,
    /// For how long
    #[arg(long = "for", value_name = "DURATION", id = "for")]
    length: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
    /// Ends a silence
    #[arg(long, value_name = "ID", conflicts_with = "acknowledge")]
    unsilence: Option<u64>,
    /// Takes an alert on: it is told of again only when it becomes worse or is over
    #[arg(long, value_name = "ID")]
    acknowledge: Option<String>,
    /// Who
    #[arg(long, value_name = "NAME", default_value = "cli")]
    by: String,
    #[command(flatten)]
    common: Common,
}

fn severity(text: &str) -> Result<Severity, String> {
    text.parse().map_err(|error: agentvitals::Error| error.to_string())
}

/// Shows, checks or exports rules for alerts.
///
/// Rules are a TOML file: `preset` (host, relaxed, default, production, strict) and any number of `[[rule]]` with name, signal,
/// of (agent, model, tool, workflow, operation, system), one of above, at_least, below, spike, burn_rate with objective, or
/// forecast with above; window, for, severity, group, action.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals rules --preset production\n  agentvitals rules rules.toml            # checks the file\n  agentvitals rules rules.toml --prometheus > alerts.yml"
)]
pub(super) struct RulesArguments {
    /// The file
    file: Option<PathBuf>,
    /// A preset, in place of a file
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    preset: Option<String>,
    /// Writes the rules for Prometheus
    #[arg(long)]
    prometheus: bool,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

fn not_there(common: &Common, path: &str) -> Error {
    Error::failed(format!("{} is not there; is it a server of another version?", common.url(path)))
}

pub(super) fn health(arguments: &HealthArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let common = &arguments.common;
    let report: Option<HealthReport> = send(common, Method::GET, "health", String::new(), "")?;
    let report = report.ok_or_else(|| not_there(common, "health"))?;
    if common.json {
        writeln!(terminal.out, "{}", text(&report)?)?;
    } else {
        for line in report.to_string().lines() {
            writeln!(terminal.out, "{}", printable(line))?;
        }
    }
    Ok(match report.status {
        Status::Degraded | Status::Unhealthy => FAILED,
        _ => OK,
    })
}

pub(super) fn alerts(arguments: &AlertsArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let common = &arguments.common;
    if let Some((path, body)) = change(arguments)? {
        let answer: Option<Value> = send(common, Method::POST, path, body.to_string(), "")?;
        let answer = answer.ok_or_else(|| not_there(common, path))?;
        if answer.get("acknowledged").or_else(|| answer.get("ended")) == Some(&Value::Bool(false)) {
            return Err(Error::input("there is none of this id; see `agentvitals alerts --json`").into());
        }
        writeln!(terminal.out, "{answer}")?;
        return Ok(OK);
    }
    let answer: Option<AlertsAnswer> = send(common, Method::GET, "alerts", String::new(), "")?;
    let mut answer = answer.ok_or_else(|| not_there(common, "alerts"))?;
    answer.alerts.retain(|alert| alert.severity >= arguments.severity);
    answer.resolved.retain(|alert| arguments.resolved && alert.severity >= arguments.severity);
    let fires = answer.alerts.iter().any(|alert| alert.phase == Phase::Firing && alert.muted.is_none());
    if common.json {
        writeln!(terminal.out, "{}", text(&answer)?)?;
    } else {
        show(&answer, terminal)?;
    }
    if let Some(trouble) = &answer.trouble {
        writeln!(terminal.err, "note: {}", printable(trouble))?;
    }
    Ok(if fires { FAILED } else { OK })
}

fn show(answer: &AlertsAnswer, terminal: &mut Terminal<'_>) -> Result<(), End> {
    if answer.alerts.is_empty() && answer.resolved.is_empty() {
        writeln!(terminal.out, "no alerts")?;
        return Ok(());
    }
    let mut rows = table(&["id", "severity", "phase", "what", "trace"]);
    for alert in answer.alerts.iter().chain(&answer.resolved) {
        let mut what = alert.summary.clone();
        if let Some(muted) = &alert.muted {
            what = format!("{what} (muted: {muted})");
        }
        if let Some(by) = &alert.acknowledged_by {
            what = format!("{what} (taken on by {by})");
        }
        let trace = alert.trace_ids.first().map_or("", String::as_str);
        let cells = [&alert.id, alert.severity.as_str(), alert.phase.as_str(), &what, trace];
        rows.add_row(cells.map(printable));
    }
    writeln!(terminal.out, "{rows}")?;
    Ok(())
}

/// What is to be changed, if anything is.
fn change(arguments: &AlertsArguments) -> Result<Option<(&'static str, Value)>, Error> {
    let by = &arguments.by;
    if !arguments.silence.is_empty() {
        let mut matchers = serde_json::Map::new();
        for label in &arguments.silence {
            let (key, value) = label.split_once('=').ok_or_else(|| {
                Error::input(format!(
                    "--silence {label:?}: expected LABEL=VALUE, such as alertname=health.loop"
                ))
            })?;
            matchers.insert(key.to_owned(), Value::String(value.to_owned()));
        }
        let length = arguments.length.as_deref().unwrap_or_default();
        let body = json!({"matchers": matchers, "for": length, "by": by, "comment": arguments.comment});
        return Ok(Some(("alerts/silence", body)));
    }
    if let Some(id) = arguments.unsilence {
        return Ok(Some(("alerts/unsilence", json!({ "id": id }))));
    }
    Ok(arguments.acknowledge.as_ref().map(|id| ("alerts/acknowledge", json!({"id": id, "by": by}))))
}

pub(super) fn rules(arguments: &RulesArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let rules = match (&arguments.file, &arguments.preset) {
        (Some(path), _) => crate::health::read_rules(path)?,
        (None, preset) => {
            let preset = preset.as_deref().unwrap_or(Preset::Host.as_str());
            Rules::preset(
                preset.parse().map_err(|error: agentvitals::Error| Error::input(error.to_string()))?,
            )
        }
    };
    if arguments.prometheus {
        write!(terminal.out, "{}", rules.to_prometheus())?;
        return Ok(OK);
    }
    if arguments.json {
        let all: Vec<_> = rules.iter().collect();
        writeln!(terminal.out, "{}", text(&all)?)?;
        return Ok(OK);
    }
    let mut rows = table(&["name", "of", "signal", "holds if", "for", "severity", "action"]);
    for rule in rules.iter() {
        let check = serde_json::to_string(&rule.check).unwrap_or_default();
        let held = format!("{} s", rule.hold.as_secs());
        let cells = [
            &*rule.name,
            rule.of.as_str(),
            rule.signal.as_str(),
            &check,
            &held,
            rule.severity.as_str(),
            &rule.action,
        ];
        rows.add_row(cells.map(printable));
    }
    writeln!(terminal.out, "{rows}")?;
    Ok(OK)
}

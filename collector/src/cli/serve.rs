//! `agentvitals serve`: receives OTLP and keeps it, until it is told to end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use agentvitals::alert::sink::{Alertmanager, File, Slack, Webhook};
use agentvitals::health::Targets;
use tokio::signal::unix::{SignalKind, signal};

use super::{End, OK, Terminal, printable};
use crate::Error;
use crate::api::time::parse_duration;
use crate::listen::Tls;
use crate::server::{Server, Settings};
use crate::token::Token;

/// Receives spans over OTLP, keeps them, and answers questions about them.
///
/// What is acknowledged is on the disk, and survives a crash. Once it listens it prints one line of JSON with its
/// addresses; SIGTERM and Ctrl-C end it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals serve\n  agentvitals serve --data-dir ./spans --otlp-grpc 127.0.0.1:0"
)]
pub(super) struct Arguments {
    /// Where spans are kept [default: the platform's folder for the data of this program]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The address for OTLP/gRPC; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4317")]
    otlp_grpc: SocketAddr,
    /// The address for OTLP/HTTP; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4318")]
    otlp_http: SocketAddr,
    /// The address for questions, health and metrics; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:16686")]
    api: SocketAddr,
    /// A file with the token that requests and questions must bear; without one the variable AGENTVITALS_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file with the certificate that all three addresses show; they speak TLS then
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// A PEM file with its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Removes what is older, such as 30d [default: nothing]
    #[arg(long, value_name = "DURATION")]
    keep_for: Option<String>,
    /// Removes the oldest when segments take more, such as 50GB [default: nothing]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    keep_bytes: Option<u64>,
    /// How often segments are looked after, for tests
    #[arg(long, value_name = "DURATION", hide = true)]
    maintain_every: Option<String>,
    /// Keeps of metrics that are older, such as 7d, only what answers by the step need [default: all stay as they came]
    #[arg(long, value_name = "DURATION")]
    downsample_metrics_after: Option<String>,
    /// The step of which answers about older metrics stay exact, as do those of its multiples
    #[arg(long, value_name = "DURATION", default_value = "5m", requires = "downsample_metrics_after")]
    downsample_metrics_step: String,
    /// A TOML file with rules for alerts, read again when it changes (see `agentvitals rules --help`)
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// A TOML file with targets for health: error_rate, and by kind and for the host
    #[arg(long, value_name = "FILE")]
    targets: Option<PathBuf>,
    /// Posts each alert as JSON to this URL; may be given more than once
    #[arg(long, value_name = "URL")]
    alert_webhook: Vec<String>,
    /// Posts each alert to an incoming webhook of Slack
    #[arg(long, value_name = "URL")]
    alert_slack: Option<String>,
    /// Posts alerts to an Alertmanager, such as http://127.0.0.1:9093
    #[arg(long, value_name = "URL")]
    alertmanager: Option<String>,
    /// Appends each alert to this file, a line of JSON each
    #[arg(long, value_name = "FILE")]
    alert_file: Option<PathBuf>,
    /// How often health is looked at
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    health_every: String,
}

/// Bytes, with a unit.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        _ => 0,
    };
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    size.filter(|size| *size > 0).ok_or_else(|| "expected a size such as 500MB or 50GB".to_owned())
}

/// The duration that an option has.
fn duration(option: &str, text: &str) -> Result<Duration, Error> {
    let nanos = parse_duration(text).map_err(|what| Error::input(format!("{option}: {what}")))?;
    Ok(Duration::from_nanos(nanos.unsigned_abs()))
}

pub(super) fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let data_dir = match arguments.data_dir {
        Some(data_dir) => data_dir,
        None => default_dir()?,
    };
    let token = Token::find(arguments.token_file.as_deref())?;
    for (option, address) in
        [("--otlp-grpc", arguments.otlp_grpc), ("--otlp-http", arguments.otlp_http), ("--api", arguments.api)]
    {
        if !address.ip().is_loopback() && !token.is_set() {
            writeln!(
                terminal.err,
                "note: {option} {address} is open to other machines, and no token is set; set one with --token-file FILE"
            )?;
        }
    }
    let mut settings = Settings::new(data_dir);
    (settings.otlp_grpc, settings.otlp_http) = (arguments.otlp_grpc, arguments.otlp_http);
    (settings.api, settings.token) = (arguments.api, token);
    if let (Some(certificate), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) {
        settings.tls = Some(Tls::read(certificate, key)?);
    }
    settings.store.keep_for = arguments.keep_for.map(|text| duration("--keep-for", &text)).transpose()?;
    settings.store.keep_bytes = arguments.keep_bytes;
    if let Some(every) = &arguments.maintain_every {
        settings.store.maintain_every = duration("--maintain-every", every)?;
    }
    let after = arguments.downsample_metrics_after;
    let after = after.map(|text| duration("--downsample-metrics-after", &text)).transpose()?;
    settings.store.downsample_metrics_after = after;
    let step = duration("--downsample-metrics-step", &arguments.downsample_metrics_step)?;
    if step.is_zero() {
        return Err(
            Error::input("--downsample-metrics-step: 0 is no step; expected one like 1m or 5m").into()
        );
    }
    settings.store.downsample_metrics_step = step;
    settings.health.every = duration("--health-every", &arguments.health_every)?;
    if settings.health.every.is_zero() {
        return Err(Error::input("--health-every: 0 is no time at all; expected one like 10s").into());
    }
    settings.health.rules = arguments.rules;
    if let Some(path) = &arguments.targets {
        let wrong = |error: &dyn std::fmt::Display| Error::input(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
        settings.health.health.targets = Targets::parse(&text).map_err(|error| wrong(&error))?;
    }
    let wrong = |error: agentvitals::Error| Error::input(error.to_string());
    for url in &arguments.alert_webhook {
        settings.health.sinks.push(Box::new(Webhook::new(url).map_err(wrong)?));
    }
    if let Some(url) = &arguments.alert_slack {
        settings.health.sinks.push(Box::new(Slack::new(url).map_err(wrong)?));
    }
    if let Some(url) = &arguments.alertmanager {
        settings.health.sinks.push(Box::new(Alertmanager::new(url).map_err(wrong)?));
    }
    if let Some(path) = arguments.alert_file {
        settings.health.sinks.push(Box::new(File::new(path)));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything is told, so that whoever reads it may end the process at once.
        let mut terminated = signal(SignalKind::terminate())?;
        let server = Server::start(settings).await?;
        for report in server.store().reports() {
            writeln!(terminal.err, "note: {}", printable(report))?;
        }
        writeln!(terminal.out, "{}", server.ready_line()?)?;
        terminal.out.flush()?;
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        server.stop().await?;
        Ok::<_, End>(OK)
    })
}

fn default_dir() -> Result<PathBuf, Error> {
    let directories = directories::ProjectDirs::from("", "", "agentvitals");
    let told = "this system tells no folder for data; give one with --data-dir DIR";
    directories.map(|directories| directories.data_dir().to_owned()).ok_or_else(|| Error::input(told))
}

//! `agentvitals doctor`: what is wrong with telemetry, and what to do about it.

mod server;
mod versions;

use std::path::PathBuf;
use std::time::Duration;

use agentvitals::Protocol;
use serde::Serialize;
use serde_json::json;

use super::client::Common;
use super::{End, FAILED, OK, Terminal, printable};
use crate::Error;

/// How long the span of the proof may be on its way.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long it may take to give up.
const GIVE_UP: Duration = Duration::from_millis(100);

/// Looks for what is wrong: is the endpoint up, are crates of OpenTelemetry there twice, what is lost and why, does the clock differ.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  agentvitals doctor\n  OTEL_EXPORTER_OTLP_ENDPOINT=https://collector:4318 agentvitals doctor --lock ../shop/Cargo.lock\n\nOne span (agentvitals.self_test) goes to the endpoint, by the same way and the same OTEL_* variables as those of a program.\n\nExit codes: 0 nothing is wrong; 1 something is."
)]
pub(super) struct DoctorArguments {
    /// Where OTLP goes, in place of OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// grpc or http/protobuf, in place of OTEL_EXPORTER_OTLP_PROTOCOL
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// The Cargo.lock of the program [default: that of this folder, or of one above]
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Skipped,
    Warned,
    Failed,
}

impl Status {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warned => "WARNING",
            Self::Failed => "FAILED",
        }
    }
}

pub(super) fn doctor(arguments: &DoctorArguments, terminal: &mut Terminal<'_>) -> Result<u8, End> {
    let mut checks = vec![endpoint(arguments)?, versions::check(arguments.lock.as_deref())];
    checks.extend(server::checks(&arguments.common));
    let failed = checks.iter().any(|check| check.status == Status::Failed);
    if arguments.common.json {
        writeln!(terminal.out, "{}", json!({"ok": !failed, "checks": checks}))?;
    } else {
        for Check { name, status, message } in &checks {
            writeln!(terminal.out, "{:<8} {name}: {}", status.word(), printable(message))?;
        }
    }
    Ok(if failed { FAILED } else { OK })
}

/// Sends a span by the way that programs send theirs.
fn endpoint(arguments: &DoctorArguments) -> Result<Check, Error> {
    let check = |status, message: String| Check { name: "endpoint", status, message };
    let mut builder = agentvitals::builder().service_name("agentvitals-doctor");
    if let Some(endpoint) = &arguments.endpoint {
        builder = builder.endpoint(endpoint);
    }
    builder = match arguments.protocol.as_deref() {
        None => builder,
        Some("grpc") => builder.protocol(Protocol::Grpc),
        Some("http/protobuf") => builder.protocol(Protocol::HttpProtobuf),
        Some(other) => {
            return Err(Error::input(format!("--protocol {other:?}: expected grpc or http/protobuf")));
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Error::failed(error.to_string()))?;
    let tested = runtime.block_on(async {
        let telemetry = builder.build()?;
        let tested = telemetry.self_test(DEADLINE).await;
        // What was tried again until then is given up, and why is told.
        telemetry.shutdown_within(GIVE_UP).await.ok();
        let status = telemetry.status();
        let warnings = status.warnings.into_iter().map(|warning| format!("; {warning}")).collect::<String>();
        match (tested, status.export.last_error) {
            (Ok(_), _) => Ok(warnings),
            (Err(_), Some(why)) => Err(agentvitals::Error::export(format!("{why}{warnings}"))),
            (Err(error), None) => Err(error),
        }
    });
    Ok(match tested {
        Ok(warnings) if warnings.is_empty() => {
            check(Status::Ok, "a span arrived and was acknowledged".to_owned())
        }
        Ok(warnings) => check(Status::Warned, format!("a span arrived and was acknowledged{warnings}")),
        Err(error) => check(Status::Failed, error.to_string()),
    })
}

//! Checks targets and says what they are: an HTTP endpoint, MCP servers, a port.
//!
//! ```sh
//! cargo run --example probes --features probes -- --tcp 127.0.0.1:22
//! cargo run --example probes --features probes -- --http http://127.0.0.1:8080/health --mcp http://127.0.0.1:3901/mcp
//! cargo run --example probes --features probes -- --stdio 'npx @modelcontextprotocol/server-everything stdio'
//! ```
//!
//! Without an argument it checks a closure and a port of its own. The exit code is 1 if a target is not healthy.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::process::ExitCode;

use agentvitals::Clock;
use agentvitals::health::Status;
use agentvitals::probe::{Closure, Http, Mcp, ProbeConfig, Prober, Tcp};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let prober = Prober::start(Clock::system())?;
    let mut servers = Vec::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    if arguments.is_empty() {
        prober.add("closure", ProbeConfig::default(), Closure::new(|| Ok(())))?;
        prober.add("port", ProbeConfig::default(), Tcp::new(listener.local_addr()?.to_string()))?;
    }
    for pair in arguments.chunks(2) {
        let [kind, target] = pair else {
            return Err("expected --http, --tcp, --mcp or --stdio, each with a target".into());
        };
        let config = ProbeConfig::default();
        match kind.as_str() {
            "--http" => prober.add(target.as_str(), config, Http::get(target)?)?,
            "--tcp" => prober.add(target.as_str(), config, Tcp::new(target))?,
            "--mcp" | "--stdio" => {
                let mut words = target.split_whitespace();
                let server = match kind.as_str() {
                    "--mcp" => Mcp::http(target)?,
                    _ => Mcp::stdio(words.next().unwrap_or(""), words),
                };
                servers.push((target.clone(), server.clone()));
                prober.add(target.as_str(), config, server)?;
            }
            other => {
                return Err(
                    format!("{other:?} is not known: expected --http, --tcp, --mcp or --stdio").into()
                );
            }
        }
    }
    let mut all_healthy = true;
    for target in prober.targets() {
        let health = prober.perform_health_check(&target.name)?;
        all_healthy &= health.status == Status::Healthy;
        println!("{}", serde_json::to_string(&health)?);
    }
    for (target, server) in servers {
        println!("{target}: {}", serde_json::to_string(&server.report())?);
    }
    Ok(if all_healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

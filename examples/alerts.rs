//! An agent whose tool begins to fail: what health says, which alerts come of it, and where they go.
//!
//! ```sh
//! cargo run --example alerts --features webhooks -- --webhook http://127.0.0.1:8080/hook
//! cargo run --example alerts --features webhooks -- --alertmanager http://127.0.0.1:9093 --hold 5
//! cargo run --example alerts --features webhooks -- --prometheus > alerts.yml
//! ```
//!
//! Time is moved by hand, so that two hours pass in a moment.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::error::Error;
use std::time::{Duration, SystemTime};

use agentvitals::alert::sink::{Alertmanager, Events, Slack, Webhook};
use agentvitals::alert::{Preset, Rules};
use agentvitals::{Clock, ManualClock, Measured, Telemetry};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).map(String::as_str)
    };
    if arguments.iter().any(|argument| argument == "--prometheus") {
        println!("{}", Rules::preset(Preset::Production).to_prometheus());
        return Ok(());
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (clock, hand) = Clock::manual();
    // The alerts' times are the clock's: near the real ones, so that an Alertmanager does not take them for old.
    let start = SystemTime::now().duration_since(clock.wall())?;
    hand.advance(start.saturating_sub(Duration::from_secs(130 * 60)));
    let mut builder = agentvitals::builder()
        .without_export()
        .clock(clock)
        .health_interval(Duration::ZERO)
        .alert_sink(Events::new());
    if let Some(url) = argument("--webhook") {
        builder = builder.alert_sink(Webhook::new(url)?.bearer("t0ken")?);
    }
    if let Some(url) = argument("--slack") {
        builder = builder.alert_sink(Slack::new(url)?);
    }
    if let Some(url) = argument("--alertmanager") {
        builder = builder.alert_sink(Alertmanager::new(url)?);
    }
    let vitals = builder.build()?;

    minutes(&vitals, &hand, 120, 0);
    minutes(&vitals, &hand, 5, 8);
    println!("{}", vitals.health());
    for alert in vitals.alerts() {
        println!("{alert}");
    }
    wait(&vitals, 2);
    std::thread::sleep(Duration::from_secs(argument("--hold").unwrap_or("0").parse()?));
    minutes(&vitals, &hand, 20, 0);
    wait(&vitals, 3);
    println!("{}", serde_json::to_string(&vitals.alert_delivery())?);
    Ok(())
}

/// Minutes with ten calls each, of which so many fail.
fn minutes(vitals: &Telemetry, hand: &ManualClock, minutes: u32, failing: u32) {
    for _ in 0..minutes {
        for call in 0..10 {
            let call_of = Measured::tool_call("search").agent("planner").duration(Duration::from_millis(200));
            vitals.record(&if call < failing { call_of.error_type("timeout") } else { call_of });
        }
        hand.advance(Duration::from_secs(60));
        let _ = vitals.health();
    }
}

/// Until every sink has got so many notices, or given them up.
fn wait(vitals: &Telemetry, notices: u64) {
    for _ in 0..300 {
        let stats = vitals.alert_delivery();
        if stats.values().all(|sink| sink.delivered + sink.failed >= notices) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

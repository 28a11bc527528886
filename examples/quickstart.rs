//! The quickstart: one line of set-up, and an agent written with plain `tracing` has traces, metrics and cost.
//!
//! `cargo run --example quickstart` needs nothing installed: it shows what it sent to a receiver of its own. With
//! `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317` it sends to your collector, Jaeger, Phoenix, ... instead.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use agentvitals::testing::{OtlpReceiver, tree};
use agentvitals::{RecordOperation as _, Response, Usage};
use tracing::{Span, instrument};

/// The agent: a loop around a model and a tool. `err` puts an error that is returned on the span.
#[instrument(fields(gen_ai.operation.name = "invoke_agent", gen_ai.agent.name = "planner"), err)]
async fn plan(task: &str) -> Result<String, std::io::Error> {
    let city = ask_model(task).await;
    let weather = get_weather(&city).await?;
    Ok(ask_model(&format!("{task} It has {weather}.")).await)
}

/// A model call. Here a sleep stands for the model; put your client's request in its place.
#[instrument(skip_all, fields(
    gen_ai.operation.name = "chat", gen_ai.provider.name = "openai", gen_ai.request.model = "gpt-4o-mini",
    gen_ai.response.id, gen_ai.response.model, gen_ai.response.finish_reasons,
    gen_ai.usage.input_tokens, gen_ai.usage.output_tokens))]
async fn ask_model(prompt: &str) -> String {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let span = Span::current();
    span.record_usage(Usage::new(prompt.len() as u64, 12));
    span.record_response(
        &Response::new().id("chatcmpl-1").model("gpt-4o-mini-2024-07-18").finish_reason("stop"),
    );
    if prompt.contains("Atlantis") { "Atlantis".to_owned() } else { "Paris".to_owned() }
}

/// A tool.
#[instrument(fields(gen_ai.operation.name = "execute_tool", gen_ai.tool.name = "get_weather"), err)]
async fn get_weather(city: &str) -> Result<&'static str, std::io::Error> {
    tokio::time::sleep(Duration::from_millis(5)).await;
    if city == "Atlantis" { Err(std::io::Error::other("no such city")) } else { Ok("21 C") }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Only for this example, so that there is somewhere to send to.
    let receiver = match std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT") {
        Some(_) => None,
        None => Some(OtlpReceiver::start()?),
    };
    let mut builder = agentvitals::builder().service_name("quickstart");
    if let Some(receiver) = &receiver {
        builder = builder.endpoint(receiver.endpoint());
    }

    // This is all that a program has to add: `let vitals = agentvitals::builder().install()?;`
    let vitals = builder.install()?;

    for task in ["What shall I wear in Paris?", "What shall I wear in Atlantis?"] {
        match plan(task).await {
            Ok(answer) => println!("{task} -> {answer}"),
            Err(error) => println!("{task} -> {error}"),
        }
    }

    println!("\n{}", vitals.cost());
    // Sends what is left, within a deadline, and tells what was sent and what was lost.
    let report = vitals.shutdown().await?;
    println!("{report}");
    if let Some(receiver) = &receiver {
        println!("\nThe receiver has these traces:\n{}", tree(&receiver.spans()));
        println!("and these metrics of the GenAI conventions:");
        let names: std::collections::BTreeSet<String> =
            receiver.metrics().into_iter().map(|point| point.name).collect();
        for name in names.iter().filter(|name| name.starts_with("gen_ai.")) {
            println!("  {name}");
        }
    }
    if report.is_complete() { Ok(()) } else { Err("not every span arrived".into()) }
}

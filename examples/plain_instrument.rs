//! A service with nothing but `#[instrument]`: no macro, trait or type of agentvitals outside of `main`.
//!
//! `cargo run --example plain_instrument` prints its spans and metrics as JSON lines. Leave out
//! `OTEL_TRACES_EXPORTER=console` and `OTEL_METRICS_EXPORTER=console` (set in `main`) to send over OTLP.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use tracing::{Span, field::Empty, instrument};

/// An ordinary function of the service: an ordinary span around the agent's.
#[instrument(fields(user.id = %user))]
async fn handle_request(user: &str, question: &str) -> Result<String, std::io::Error> {
    tracing::info!("question received");
    support(question).await
}

/// The names of the fields are those of OpenTelemetry's GenAI conventions; they make the span an agent's run.
#[instrument(skip_all, err, fields(gen_ai.operation.name = "invoke_agent", gen_ai.agent.name = "support"))]
async fn support(question: &str) -> Result<String, std::io::Error> {
    let text = chat("gpt-4o", question).await?;
    let found = search_orders(&text).await;
    chat("gpt-4o", &found).await
}

/// What is known only after the call is declared empty and recorded later.
#[instrument(skip(prompt), err, fields(
    gen_ai.operation.name = "chat", gen_ai.provider.name = "openai", gen_ai.request.model = model,
    gen_ai.response.model = Empty, gen_ai.response.finish_reasons = Empty,
    gen_ai.usage.input_tokens = Empty, gen_ai.usage.output_tokens = Empty, error.type = Empty))]
async fn chat(model: &str, prompt: &str) -> Result<String, std::io::Error> {
    // A sleep stands for the model.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let span = Span::current();
    if prompt.contains("break") {
        // The class of an error, of low cardinality: the same on the span and on the metric.
        span.record("error.type", "429");
        return Err(std::io::Error::other("the model is overloaded"));
    }
    span.record("gen_ai.response.model", "gpt-4o-2024-08-06");
    span.record("gen_ai.response.finish_reasons", "stop");
    span.record("gen_ai.usage.input_tokens", 180);
    span.record("gen_ai.usage.output_tokens", 25);
    Ok("order 7".to_owned())
}

#[instrument(skip_all, fields(gen_ai.operation.name = "execute_tool", gen_ai.tool.name = "search_orders"))]
async fn search_orders(query: &str) -> String {
    // A task that is spawned stays in the trace if it is given the current span.
    let query = query.to_owned();
    let lookup = tracing::Instrument::in_current_span(async move {
        tokio::time::sleep(Duration::from_millis(3)).await;
        format!("{query}: shipped")
    });
    tokio::spawn(lookup).await.unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As if the environment had them; a variable that is set there wins.
    let setting = |name: &str| match (std::env::var(name), name) {
        (Ok(value), _) => Some(value),
        (Err(_), "OTEL_TRACES_EXPORTER" | "OTEL_METRICS_EXPORTER") => Some("console".to_owned()),
        _ => None,
    };
    let config = agentvitals::Config::from_vars(setting)?;
    let vitals = agentvitals::builder().config(config).service_name("shop").install()?;

    for (user, question) in [("u1", "Where is my order?"), ("u2", "Please break.")] {
        match handle_request(user, question).await {
            Ok(answer) => println!("{user}: {answer}"),
            Err(error) => println!("{user}: {error}"),
        }
    }
    let report = vitals.shutdown().await?;
    println!("{report}");
    if report.is_complete() { Ok(()) } else { Err("not every span was exported".into()) }
}

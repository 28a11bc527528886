//! Beside an OpenTelemetry set-up that is there already: `agent_layer()` adds metrics and cost of the agents, the spans
//! go where they have always gone.
//!
//! `cargo run --example existing_otel`. Nothing has to be installed: a receiver of the testing kit is the collector.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use agentvitals::testing::{OtlpReceiver, tree};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{field::Empty, instrument};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[instrument(skip_all, err, fields(
    otel.name = "invoke_agent planner", gen_ai.operation.name = "invoke_agent", gen_ai.agent.name = "planner"))]
async fn plan(model: &str) -> Result<(), std::io::Error> {
    chat(model).await
}

/// `otel.name` and `otel.kind` are for the layer that is there; with `telemetry.layer()` they would not be needed.
#[instrument(err, fields(
    otel.name = format!("chat {model}"), otel.kind = "client",
    gen_ai.operation.name = "chat", gen_ai.provider.name = "openai", gen_ai.request.model = model,
    gen_ai.usage.input_tokens = Empty, gen_ai.usage.output_tokens = Empty))]
async fn chat(model: &str) -> Result<(), std::io::Error> {
    // A sleep stands for the model.
    tokio::time::sleep(Duration::from_millis(5)).await;
    tracing::Span::current().record("gen_ai.usage.input_tokens", 1_200);
    tracing::Span::current().record("gen_ai.usage.output_tokens", 300);
    if model == "gpt-4o" { Ok(()) } else { Err(std::io::Error::other("rate limit reached")) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let collector = OtlpReceiver::start()?;

    // What the program had before.
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(collector.endpoint())
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_resource(opentelemetry_sdk::Resource::builder().with_service_name("shop").build())
        .with_batch_exporter(exporter)
        .build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("shop"));

    // What is added. The order matters: before the OpenTelemetry layer, error classes reach the spans, too.
    let vitals = agentvitals::builder().service_name("shop").endpoint(collector.endpoint()).build()?;
    tracing_subscriber::registry().with(vitals.agent_layer()).with(spans).init();

    for model in ["gpt-4o", "gpt-4o", "gpt-4o-overloaded"] {
        let outcome = plan(model).await;
        println!("planned with {model}: {outcome:?}");
    }
    println!("\n{}", vitals.cost());
    // Says what is set up in a way that cannot work, e.g. the layers in the wrong order.
    let warnings = vitals.status().warnings;

    let report = vitals.shutdown().await?;
    provider.shutdown()?;
    let spans = collector.spans();
    println!("spans of the layer that was there:\n{}", tree(&spans));
    println!("metrics of agentvitals, exported {} times:", report.metric_exports);
    for point in collector.metric("gen_ai.client.operation.duration") {
        println!("  {} {:?}: {} calls", point.name, point.str("error.type"), point.count().unwrap_or(0));
    }
    let calls: u64 =
        collector.metric("gen_ai.client.operation.duration").iter().filter_map(|point| point.count()).sum();
    let failed = spans.iter().filter(|span| span.str("error.type") == Some("rate_limit")).count();
    if warnings.is_empty() && spans.len() == 6 && calls == 3 && failed == 2 {
        Ok(())
    } else {
        Err(format!("not as expected: {warnings:?}").into())
    }
}

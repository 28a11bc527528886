//! Traces and metrics to an OpenTelemetry Collector, or to anything else that takes OTLP.
//!
//! `cargo run --example collector` sends to `OTEL_EXPORTER_OTLP_ENDPOINT`, by default `http://localhost:4317`.
//! `OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf` (then the port is 4318) and every other `OTEL_*` variable works, too.
//! `AGENTVITALS_HISTOGRAMS=explicit` sends the buckets that the conventions name, for backends without exponential ones.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use agentvitals::{InOperation as _, Outcome, RecordOperation as _, Response, Usage};

/// A model call. A sleep stands for the model.
async fn chat(overloaded: bool) -> Result<(), std::io::Error> {
    let call = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let span = tracing::Span::current();
        if overloaded {
            let error = std::io::Error::other("429: rate limit reached");
            span.record_error(&error);
            return Err(error);
        }
        span.record_usage(Usage::new(1_200, 300).cache_read(1_024));
        span.record_response(&Response::new().model("gpt-4o-2024-08-06").finish_reason("stop"));
        Ok(())
    };
    call.in_operation(agentvitals::model_span!("chat", "openai", "gpt-4o")).await
}

async fn get_weather(city: &str) {
    let call = async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let span = tracing::Span::current();
        span.record_tool_input(city);
        span.record_tool_output("21 C");
    };
    call.in_operation(agentvitals::tool_span!("get_weather", gen_ai.tool.type = "function")).await;
}

/// The agent: its outcome is whether the task was solved, which no error tells.
async fn forecast(agent: &str, overloaded: bool) {
    let run = async {
        let span = tracing::Span::current();
        if let Err(error) = chat(overloaded).await {
            span.record_error(&error);
            return;
        }
        get_weather("Paris").await;
        span.record_outcome(if chat(false).await.is_ok() { Outcome::Success } else { Outcome::Failure });
    };
    run.in_operation(agentvitals::agent_span!(agent)).await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vitals = agentvitals::builder().service_name("collector-example").install()?;
    // Proves that something takes what is sent, before the program relies on it.
    vitals.self_test(Duration::from_secs(5)).await?;

    for overloaded in [false, false, true] {
        // Each agent run of its own: a trace.
        forecast(if overloaded { "unlucky" } else { "forecaster" }, overloaded).await;
    }
    println!("{}", vitals.cost());

    let report = vitals.shutdown().await?;
    println!("{report}");
    if report.is_complete() && report.metric_export_failures == 0 {
        Ok(())
    } else {
        Err("the collector did not take everything".into())
    }
}

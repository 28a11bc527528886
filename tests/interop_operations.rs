//! Every operation of the conventions, sent to a receiver that somebody else wrote.
//!
//! `AGENTVITALS_INTEROP_ENDPOINT` names it (`AGENTVITALS_INTEROP_PROTOCOL` is `grpc` or `http/protobuf`); what arrives
//! is judged there, by `.ci/interop-receivers`.

#![cfg(all(feature = "otlp-grpc", feature = "otlp-http"))]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::io::Write as _;
use std::time::Duration;

use agentvitals::{
    ContentCapture, InOperation as _, Protocol, RecordOperation as _, Response, StreamExt as _, Usage,
};
use futures_util::StreamExt as _;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, instrument};
use tracing_subscriber::layer::SubscriberExt as _;

fn show(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

const MESSAGES: &str = r#"[{"role":"user","parts":[{"type":"text","content":"hello"}]}]"#;
const ANSWER: &str =
    r#"[{"role":"assistant","parts":[{"type":"text","content":"hi"}],"finish_reason":"stop"}]"#;

async fn model_calls_by_macro() {
    for operation in ["chat", "generate_content", "text_completion"] {
        let span = agentvitals::model_span!(
            operation,
            "openai",
            "gpt-4o",
            gen_ai.request.max_tokens = 100,
            gen_ai.request.temperature = 0.5,
            server.address = "api.openai.com",
            server.port = 443
        );
        let call = async {
            let span = Span::current();
            span.record_input_messages(MESSAGES);
            span.record_output_messages(ANSWER);
            span.record_usage(Usage::new(1_200, 300).cache_read(1_024).reasoning(100));
            span.record_response(&Response::new().id("r-1").model("gpt-4o-2024-08-06").finish_reason("stop"));
        };
        call.in_operation(span).await;
    }
    let embeddings = agentvitals::model_span!("embeddings", "openai", "text-embedding-3-small");
    let mut usage = Usage::default();
    usage.input_tokens = Some(77);
    async { Span::current().record_usage(usage) }.in_operation(embeddings).await;
    let failed = agentvitals::model_span!("chat", "anthropic", "claude-sonnet-4-5");
    async { Span::current().record_error(&std::io::Error::other("429: rate limit reached")) }
        .in_operation(failed)
        .await;
    let streamed = agentvitals::model_span!("chat", "gcp.gemini", "gemini-2.5-flash");
    let chunks = futures_util::stream::iter(0..3).in_model_call(streamed);
    chunks.span().record_usage(Usage::new(10, 3));
    chunks.collect::<Vec<_>>().await;
}

async fn agents_by_macro() {
    let work = async {
        model_calls_by_macro().await;
        let tool =
            agentvitals::tool_span!("get_weather", gen_ai.tool.type = "function", gen_ai.tool.call.id = "c1");
        tool.record_tool_input(r#"{"city":"Paris"}"#);
        tool.record_tool_output("21 C");
        async {}.in_operation(tool).await;
        let failed = agentvitals::tool_span!("get_time");
        async { Span::current().record_error_type("timeout") }.in_operation(failed).await;
        async {}.in_operation(agentvitals::operation_span!("bookkeeping", user.id = "u1")).await;
    };
    let trip = async {
        work.in_operation(agentvitals::agent_span!("planner", gen_ai.conversation.id = "c-17")).await;
    };
    trip.in_operation(agentvitals::workflow_span!("trip")).await;
}

#[instrument(fields(gen_ai.operation.name = "invoke_agent", gen_ai.agent.name = "plain"), err)]
async fn plain_agent() -> Result<(), std::io::Error> {
    plain_chat().await;
    let memory = [
        "create_memory_store",
        "create_memory",
        "update_memory",
        "upsert_memory",
        "search_memory",
        "delete_memory",
        "delete_memory_store",
    ];
    for operation in memory {
        plain_memory(operation).await;
    }
    async {}
        .instrument(tracing::info_span!(
            "search",
            gen_ai.operation.name = "retrieval",
            gen_ai.provider.name = "openai",
            gen_ai.data_source.id = "handbook",
            gen_ai.retrieval.query.text = "holidays"
        ))
        .await;
    async {}
        .instrument(tracing::info_span!(
            "make",
            gen_ai.operation.name = "create_agent",
            gen_ai.provider.name = "openai",
            gen_ai.agent.name = "remote",
            gen_ai.agent.id = "a-1",
            gen_ai.request.model = "gpt-4o"
        ))
        .await;
    async {}
        .instrument(tracing::info_span!("plan", gen_ai.operation.name = "plan", gen_ai.agent.name = "plain"))
        .await;
    async {}
        .instrument(tracing::info_span!(
            "mcp",
            otel.kind = "client",
            mcp.method.name = "tools/call",
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = "add",
            network.transport = "pipe"
        ))
        .await;
    async {}.instrument(tracing::info_span!("mcp", mcp.method.name = "tools/list")).await;
    Err(plain_tool().await.unwrap_err())
}

#[instrument(fields(
    gen_ai.operation.name = "chat", gen_ai.provider.name = "mistral_ai", gen_ai.request.model = "mistral-large-latest",
    gen_ai.response.finish_reasons = Empty, gen_ai.usage.input_tokens = Empty, gen_ai.usage.output_tokens = Empty))]
async fn plain_chat() {
    let span = Span::current();
    span.record("gen_ai.usage.input_tokens", 5);
    span.record("gen_ai.usage.output_tokens", 6);
    // Fields have no lists; what is exported is one.
    span.record("gen_ai.response.finish_reasons", "stop");
}

#[instrument(fields(gen_ai.operation.name = operation, gen_ai.provider.name = "openai", gen_ai.memory.store.id = "m-1"))]
async fn plain_memory(operation: &str) {}

#[instrument(fields(gen_ai.operation.name = "execute_tool", gen_ai.tool.name = "lookup"), err)]
async fn plain_tool() -> Result<(), std::io::Error> {
    Err(std::io::Error::other("connection refused"))
}

/// An ordinary function above it all, as a service has.
#[instrument]
async fn handle_request() {
    agents_by_macro().await;
    plain_agent().await.unwrap_err();
}

/// Feature: L1
#[tokio::test]
async fn every_operation_arrives_at_a_receiver_of_others() {
    let Some(endpoint) = std::env::var("AGENTVITALS_INTEROP_ENDPOINT").ok() else {
        show(
            "SKIPPED every_operation_arrives_at_a_receiver_of_others: set AGENTVITALS_INTEROP_ENDPOINT to an OTLP \
             endpoint",
        );
        return;
    };
    let protocol = match std::env::var("AGENTVITALS_INTEROP_PROTOCOL").as_deref() {
        Ok("http/protobuf") => Protocol::HttpProtobuf,
        _ => Protocol::Grpc,
    };
    // Only these come from the environment, so that nothing else there matters.
    let setting = |name: &str| {
        let read = ["OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_METRICS_EXPORTER"].contains(&name);
        read.then(|| std::env::var(name).ok()).flatten()
    };
    let vitals = agentvitals::builder()
        .config(agentvitals::Config::from_vars(setting).unwrap())
        .service_name("interop")
        .endpoint(endpoint)
        .protocol(protocol)
        .content(ContentCapture::SpanAttributes)
        .build()
        .unwrap();
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(vitals.layer()));
    handle_request().await;
    drop(guard);
    let report = vitals.shutdown_within(Duration::from_secs(20)).await.unwrap();
    assert!(report.is_complete(), "{report}");
    assert_eq!(report.spans_exported, 27, "{report}");
    show(&format!("AGENTVITALS_INTEROP: {report}"));
}

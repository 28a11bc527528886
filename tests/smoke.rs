//! The whole way, once: plain spans to a real receiver.

use std::time::Duration;

use agentvitals::testing::{OtlpReceiver, TreeOptions};
use tracing::instrument;
use tracing_subscriber::layer::SubscriberExt as _;

#[instrument(fields(gen_ai.operation.name = "invoke_agent", gen_ai.agent.name = "planner"), err)]
async fn plan(fail: bool) -> Result<u32, std::io::Error> {
    chat().await;
    if fail {
        return Err(std::io::Error::other("rate limit reached"));
    }
    Ok(1)
}

#[instrument(fields(
    gen_ai.operation.name = "chat", gen_ai.provider.name = "openai", gen_ai.request.model = "gpt-4o",
    gen_ai.usage.input_tokens = tracing::field::Empty, gen_ai.usage.output_tokens = tracing::field::Empty))]
async fn chat() {
    let span = tracing::Span::current();
    span.record("gen_ai.usage.input_tokens", 1_000);
    span.record("gen_ai.usage.output_tokens", 100);
}

/// Feature: A1, A2, A4, E1, L1
#[tokio::test]
async fn plain_instrument_spans_become_genai_traces_metrics_and_cost() {
    let receiver = OtlpReceiver::start().unwrap();
    let vitals = agentvitals::builder()
        .config(agentvitals::Config::default())
        .service_name("smoke")
        .endpoint(receiver.endpoint())
        .build()
        .unwrap();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(vitals.layer()));
    plan(false).await.unwrap();
    plan(true).await.unwrap_err();
    let report = vitals.shutdown_within(Duration::from_secs(10)).await.unwrap();
    assert_eq!(report.spans_exported, 4, "{report}");
    assert_eq!(report.lost(), 0);

    let tree = TreeOptions::new().attribute("gen_ai.usage.cost.amount").render(&receiver.spans());
    assert_eq!(
        tree,
        "invoke_agent planner [internal]\n  chat gpt-4o [client] gen_ai.usage.cost.amount=0.0035\n\
         invoke_agent planner [internal] ERROR error.type=rate_limit\n  chat gpt-4o [client] gen_ai.usage.cost.amount=0.0035\n"
    );
    let count = |name: &str| receiver.metric(name).iter().filter_map(|point| point.count()).sum::<u64>();
    assert_eq!(count("gen_ai.client.operation.duration"), 2);
    assert_eq!(count("gen_ai.invoke_agent.duration"), 2);
    let cost: f64 = receiver.metric("agentvitals.cost").iter().filter_map(|point| point.value()).sum();
    assert_eq!(cost, 7_000_000.0);
    let tasks = receiver.metric("agentvitals.tasks");
    assert_eq!(tasks.len(), 2);
    assert!(vitals.status().warnings.is_empty(), "{:?}", vitals.status());
}

/// Behaviour: P6
#[test]
fn what_was_not_shut_down_is_sent_when_telemetry_is_dropped() {
    let receiver = OtlpReceiver::start().unwrap();
    let config = agentvitals::Config::default().with_endpoint(receiver.endpoint());
    let vitals = agentvitals::builder().config(config).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(vitals.layer());
    tracing::subscriber::with_default(subscriber, || drop(agentvitals::tool_span!("search").entered()));
    drop(vitals);
    assert_eq!(receiver.spans().len(), 1);
    let calls: u64 =
        receiver.metric("gen_ai.execute_tool.duration").iter().filter_map(|point| point.count()).sum();
    assert_eq!(calls, 1);
}

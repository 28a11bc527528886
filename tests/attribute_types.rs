//! The types of exported attributes are those of the conventions, whatever type the program had.

use std::time::Duration;

use agentvitals::RecordOperation as _;
use agentvitals::testing::OtlpReceiver;
use tracing::field::Empty;
use tracing_subscriber::layer::SubscriberExt as _;

/// Behaviour: P9
#[test]
fn unsigned_counts_arrive_as_integers() {
    let receiver = OtlpReceiver::start().unwrap();
    let vitals = agentvitals::builder()
        .config(agentvitals::Config::default())
        .endpoint(receiver.endpoint())
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(vitals.layer());
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!(
            "ask",
            gen_ai.operation.name = "chat",
            gen_ai.request.model = "gpt-4o",
            gen_ai.request.max_tokens = 100_u32,
            server.port = 443_u16,
            order.number = "7",
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
        );
        // As clients have them: a `u32` of a response, the length of a list.
        span.record("gen_ai.usage.input_tokens", 1_200_u32);
        span.record("gen_ai.usage.output_tokens", [(); 300].len());
        drop(span);
        let tool = agentvitals::tool_span!("get_weather");
        tool.record_tool_input("Paris");
        tool.record_retries(2);
    });
    let report = vitals.shutdown_blocking(Duration::from_secs(10)).unwrap();
    assert!(report.is_complete(), "{report}");

    let spans = receiver.spans();
    let chat = agentvitals::testing::find_span(&spans, "chat gpt-4o");
    assert_eq!(chat.int("gen_ai.usage.input_tokens"), Some(1_200), "{chat:?}");
    assert_eq!(chat.int("gen_ai.usage.output_tokens"), Some(300));
    assert_eq!(chat.int("gen_ai.request.max_tokens"), Some(100));
    assert_eq!(chat.int("server.port"), Some(443));
    assert_eq!(chat.str("order.number"), Some("7"), "a text of the program's own stays a text");
    let tool = agentvitals::testing::find_span(&spans, "execute_tool get_weather");
    assert_eq!(tool.int("agentvitals.tool.input.size"), Some(5), "{tool:?}");
    assert_eq!(tool.int("agentvitals.retry.count"), Some(2));
}

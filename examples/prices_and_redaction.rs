//! Prices of your own before the built-in ones, and message content that is captured, redacted and cut.
//!
//! `cargo run --example prices_and_redaction`. Prices can also stay in a file: `AGENTVITALS_PRICES=prices.toml`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use agentvitals::cost::{ModelPrice, PriceTable, Prices};
use agentvitals::testing::{OtlpReceiver, find_span};
use agentvitals::{ContentCapture, InOperation as _, RecordOperation as _, Usage};

/// One model call. A sleep stands for the model.
async fn ask(provider: &str, model: &str, message: &str) {
    let span = agentvitals::model_span!("chat", provider, model, user.email = "ada@example.com");
    // The JSON of the conventions: dropped, unless content is captured.
    let messages = serde_json::json!([{"role": "user", "parts": [{"type": "text", "content": message}]}]);
    span.record_input_messages(&messages.to_string());
    let call = async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        tracing::Span::current().record_usage(Usage::new(10_000, 1_000).cache_read(8_000));
    };
    call.in_operation(span).await;
}

/// Hides e-mail addresses in whatever text is about to leave the process; `None` leaves a value as it is.
fn hide_addresses(_key: &str, value: &str) -> Option<String> {
    value.contains('@').then(|| {
        let hide = |word: &str| if word.contains('@') { "[address]" } else { word }.to_owned();
        value.split(' ').map(hide).collect::<Vec<_>>().join(" ")
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Stands for your collector.
    let receiver = OtlpReceiver::start()?;
    // US dollars for a million tokens. A price below 0 or above reason is refused here, not silently at the first call.
    let own = PriceTable::new().with(ModelPrice::new("our-llama", 0.20, 0.60).cache_read(0.05))?;
    let vitals = agentvitals::builder()
        .service_name("prices")
        .endpoint(receiver.endpoint())
        .pricing(Prices::none().then(own).then(Prices::default()))
        .content(ContentCapture::SpanAttributes)
        .redact(hide_addresses)
        .install()?;

    ask("our-cluster", "our-llama", "please write to bob@example.com today").await;
    ask("openai", "gpt-4o", "what time is it?").await;
    // Nobody knows its price, so its cost is unknown, not 0, and the sum says that it is partial.
    ask("our-cluster", "our-secret-model", "hello").await;

    let cost = vitals.cost();
    println!("{cost}");
    let report = vitals.shutdown().await?;
    println!("{report}\n");

    let spans = receiver.spans();
    let own = find_span(&spans, "chat our-llama");
    for key in ["gen_ai.usage.cost.amount", "user.email", "gen_ai.input.messages"] {
        println!("{key}: {}", own.attr(key).cloned().unwrap_or_default());
    }
    // 2,000 tokens at 0.20 and 8,000 cached ones at 0.05, 1,000 at 0.60 a million.
    let price_is_right = own.float("gen_ai.usage.cost.amount") == Some(0.0014);
    let redacted = spans.iter().all(|span| !format!("{span:?}").contains("@example.com"));
    if price_is_right && redacted && cost.partial() && report.is_complete() {
        Ok(())
    } else {
        Err("not as promised".into())
    }
}

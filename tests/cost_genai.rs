//! The bundled price list: the forms of names, dates, and that our integers equal its own answers.

#![cfg(feature = "prices")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentvitals::Usage;
use agentvitals::cost::{
    GenaiPrices, ModelCall, ModelPrice, Price, PriceTable, Prices, Pricing as _, UnknownReason,
};
use genai_prices::{Calculator, PriceRequest, UsageKey};

const DAY: u64 = 86_400;

fn day(days: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(days * DAY)
}

/// 2026-05-28.
fn at() -> SystemTime {
    day(20_601)
}

/// Of a million input tokens, in the call's own tier.
fn price(provider: Option<&str>, request: Option<&str>, response: Option<&str>) -> Option<String> {
    let call = ModelCall::new(Usage::new(10_000, 1_000), at())
        .provider(provider)
        .request_model(request)
        .response_model(response);
    GenaiPrices::new().price(&call).known().map(|cost| cost.to_string())
}

/// Feature: E5
/// Behaviour: P18
#[test]
fn cached_tokens_have_their_own_price() {
    let prices = GenaiPrices::new();
    let at_provider = |provider, model, usage| {
        let call = ModelCall::new(usage, at()).provider(Some(provider)).request_model(Some(model));
        prices.price(&call).known().unwrap().to_string()
    };
    // 2,000 x 2 + 8,000 x 0.5 + 1,000 x 8, per million.
    assert_eq!(at_provider("openai", "gpt-4.1", Usage::new(10_000, 1_000).cache_read(8_000)), "$0.016");
    assert_eq!(at_provider("openai", "gpt-4.1", Usage::new(10_000, 1_000)), "$0.028");
    // Anthropic's own input tokens leave the cached ones out: 1,000 x 3 + 8,000 x 0.3 + 1,000 x 3.75 + 100 x 15.
    assert_eq!(
        at_provider("anthropic", "claude-sonnet-4-5", Usage::exclusive(1_000, 100, 8_000, 1_000)),
        "$0.01065"
    );
    // Above 200,000 input tokens Gemini costs twice as much: 300,000 x 4 + 1,000 x 18.
    assert_eq!(at_provider("gcp.gemini", "gemini-3-pro-preview", Usage::new(200_000, 1_000)), "$0.412");
    assert_eq!(at_provider("gcp.gemini", "gemini-3-pro-preview", Usage::new(300_000, 1_000)), "$1.218");
}

/// Feature: E5
#[test]
fn providers_and_models_are_understood_in_all_their_forms() {
    let gpt = Some("$0.028".to_owned());
    for (provider, model) in [
        (Some("openai"), "gpt-4.1"),
        (Some("openai"), "openai/gpt-4.1"),
        (Some("OpenAI"), "GPT-4.1-2025-04-14"),
        (Some("azure.ai.openai"), "gpt-4.1"),
        (Some("azure.ai.inference"), "azure/gpt-4.1"),
        (None, "gpt-4.1"),
        (None, "openai/gpt-4.1"),
        (None, "@openai/gpt-4.1"),
        (None, "litellm/openai/gpt-4.1"),
        (Some("my-gateway"), "openai/gpt-4.1"),
        (Some(" "), "gpt-4.1"),
    ] {
        assert_eq!(price(provider, Some(model), None), gpt, "{provider:?} {model}");
    }
    let gemini = Some("$0.032".to_owned());
    for (provider, model) in [
        (Some("gcp.gemini"), "gemini-3-pro-preview"),
        (Some("gcp.vertex_ai"), "publishers/google/models/gemini-3-pro-preview"),
        (Some("gcp.gen_ai"), "models/gemini-3-pro-preview"),
        (Some("Google AI Studio"), "google/gemini-3-pro-preview"),
        (None, "@google/gemini-3-pro-preview"),
        (None, "models/gemini-3-pro-preview"),
    ] {
        assert_eq!(price(provider, Some(model), None), gemini, "{provider:?} {model}");
    }
    for (provider, model) in [
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("x_ai", "grok-4"),
        ("x_ai", "xai/grok-4"),
        ("deepseek", "deepseek/deepseek-chat"),
        ("mistral_ai", "mistral-large-latest"),
        ("moonshot_ai", "kimi-k2-0905-preview"),
        ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("cohere", "command-r-plus"),
        ("groq", "llama-3.3-70b-versatile"),
        ("perplexity", "sonar"),
    ] {
        assert!(price(Some(provider), Some(model), None).is_some(), "{provider} {model}");
    }
}

/// Feature: E5
#[test]
fn the_model_that_answered_bills_and_the_one_asked_for_is_the_second_choice() {
    assert_eq!(price(Some("openai"), Some("gpt-4o"), Some("gpt-4.1-2025-04-14")).as_deref(), Some("$0.028"));
    assert_eq!(price(Some("openai"), Some("gpt-4.1"), Some("brand-new")).as_deref(), Some("$0.028"));
    assert_eq!(price(Some("openai"), None, Some("gpt-4.1")).as_deref(), Some("$0.028"));
}

/// A fine-tuned model recorded at 0.0 was not free.
///
/// Feature: E5, A6
#[test]
fn fine_tuned_self_hosted_and_unpriced_models_are_unknown_not_free_and_not_their_base() {
    for (provider, request, response) in [
        (Some("openai"), "ft:gpt-4.1-2025-04-14:org:name:Ab12", None),
        (Some("openai"), "gpt-4.1", Some("ft:gpt-4.1-2025-04-14:org:name:Ab12")),
        (None, "openai/ft:gpt-4o-2024-08-06:org::Ab12", Some("gpt-4o")),
        (None, "FT:gpt-4-0613:org::Ab12", None),
        // One's own servers have prices of their own.
        (Some("ollama"), "deepseek-chat", None),
        (Some("vllm"), "gpt-4o", None),
        // Not gpt-4o.
        (None, "somebody/gpt-4o", None),
        // Known to the list, without a price for tokens.
        (Some("google"), "gemma-3", None),
        (Some("groq"), "whisper-large-v3", None),
        (None, "github-copilot/gpt-4o", None),
    ] {
        let call = ModelCall::new(Usage::new(10, 10), at())
            .provider(provider)
            .request_model(Some(request))
            .response_model(response);
        let price = GenaiPrices::new().price(&call);
        assert_eq!(price, Price::Unknown(UnknownReason::ModelNotFound), "{call:?}");
    }
    let call = ModelCall::new(Usage::new(10, 10).cache_read(11), at()).request_model("gpt-4.1");
    assert_eq!(GenaiPrices::new().price(&call), Price::Unknown(UnknownReason::InconsistentUsage));
}

/// Feature: E5
#[test]
fn the_time_of_the_call_chooses_the_price() {
    // OpenAI cut o3 to a fifth on 2025-06-10.
    let prices = GenaiPrices::new();
    let of_o3 = |days| {
        let call = ModelCall::new(Usage::new(10_000, 0), day(days)).provider("openai").request_model("o3");
        prices.price(&call).known().unwrap().to_string()
    };
    assert_eq!((of_o3(20_240).as_str(), of_o3(20_250).as_str()), ("$0.1", "$0.02"));
    // Asked in any order: what is kept of one time is no answer for another.
    assert_eq!((of_o3(20_240).as_str(), of_o3(20_250).as_str()), ("$0.1", "$0.02"));
}

/// What is kept is bounded; more models than that are priced all the same.
#[test]
fn names_without_end_do_not_spoil_the_prices_of_known_models() {
    let prices = GenaiPrices::new();
    let of =
        |model: &str| prices.price(&ModelCall::new(Usage::new(10_000, 1_000), at()).request_model(model));
    for n in 0..2_500 {
        assert_eq!(of(&format!("made-up-{n}")), Price::Unknown(UnknownReason::ModelNotFound));
        if n % 500 == 0 {
            assert_eq!(of("gpt-4.1").known().unwrap().get(), 28_000_000);
        }
    }
}

/// Feature: E5
#[test]
fn ones_own_table_goes_before_the_list() {
    let own = PriceTable::new()
        .with(ModelPrice::new("gpt-4.1", 1.0, 1.0))
        .and_then(|table| table.with(ModelPrice::new("ft:gpt-4.1*", 3.0, 12.0)))
        .unwrap();
    let prices = Prices::none().then(own).then(Prices::bundled());
    prices.warm_up();
    let of = |model| {
        let call = ModelCall::new(Usage::new(10_000, 1_000), at()).request_model(Some(model));
        prices.price(&call).known().unwrap().to_string()
    };
    assert_eq!(of("gpt-4.1"), "$0.011");
    assert_eq!(of("ft:gpt-4.1-2025-04-14:org::Ab12"), "$0.042");
    assert_eq!(of("gpt-4o"), "$0.035");
}

/// Our rates are worked out from the list's totals. Over all models, dates and sizes they must give what the list
/// gives.
///
/// Feature: E5
#[test]
fn every_model_of_the_list_costs_what_the_list_says() {
    let list = Calculator::bundled();
    let mut compared = 0;
    for (provider, model) in
        list.providers().flat_map(|provider| provider.models().map(move |model| (provider.id(), model.id())))
    {
        // An hour at which some prices differ from those at midnight.
        for at in [day(19_900), day(20_601) + Duration::from_secs(10 * 3_600), day(20_750)] {
            let prices = GenaiPrices::new();
            for (input, output, read, write, reasoning) in [
                (1, 1, 0, 0, 0),
                (31_999, 7, 10_000, 11, 3),
                (128_001, 900, 99_999, 0, 0),
                (199_999, 1, 1, 1, 1),
                (200_000, 12_345, 0, 200_000, 12_000),
                (200_001, 12_345, 150_000, 50_001, 0),
                (272_001, 64_000, 7, 77, 777),
                (1_048_577, 1_000_000, 524_288, 0, 999_999),
            ] {
                let usage =
                    Usage::new(input, output).cache_read(read).cache_write(write).reasoning(reasoning);
                let call = ModelCall::new(usage, at).provider(Some(provider)).request_model(Some(model));
                let tokens = genai_prices::Usage::from([
                    (UsageKey::INPUT_TOKENS, input as f64),
                    (UsageKey::OUTPUT_TOKENS, output as f64),
                    (UsageKey::CACHE_READ_TOKENS, read as f64),
                    (UsageKey::CACHE_WRITE_TOKENS, write as f64),
                    (UsageKey::OUTPUT_REASONING_TOKENS, reasoning as f64),
                ]);
                let request = PriceRequest::new(model, &tokens).with_provider_id(provider).with_timestamp(at);
                let expected = list.calculate(&request).map(|price| price.total_price).unwrap_or_default();
                match prices.price(&call) {
                    Price::Known(cost) => {
                        compared += 1;
                        let off = (cost.usd() - expected).abs();
                        assert!(off <= 2e-9 + expected * 1e-12, "{call:?}: {cost} is not ${expected}");
                    }
                    Price::Unknown(reason) => {
                        assert_eq!(reason, UnknownReason::ModelNotFound);
                        assert!(
                            expected == 0.0 || model.contains("ft:"),
                            "{call:?}: no price, expected ${expected}"
                        );
                    }
                }
            }
        }
    }
    assert!(compared > 30_000, "only {compared} prices were compared");
}

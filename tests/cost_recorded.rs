//! Our prices against the costs of recorded runs, where the environment names such runs.

#![cfg(feature = "prices")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::io::{BufRead as _, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentvitals::Usage;
use agentvitals::cost::{CostReport, GenaiPrices, ModelCall, Price, Pricing as _, UnknownReason};
use serde_json::Value;

/// Shows what must be seen even if the test passes: the test harness keeps what the print macros write.
fn show(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// A model call of a recorded run.
struct Call {
    model: String,
    response_model: Option<String>,
    provider: Option<String>,
    usage: Usage,
    /// What was read from the cache as the recorded cost implies, where the recording does not tell.
    implied: Option<u64>,
    cost_usd: Option<f64>,
}

/// `AGENTVITALS_RUNS` names a file of recorded runs, one a line. Without it the test is skipped, visibly.
fn calls() -> Option<Vec<Call>> {
    let Some(path) = std::env::var_os("AGENTVITALS_RUNS") else {
        show(
            "SKIPPED recorded_calls_cost_what_was_recorded: set AGENTVITALS_RUNS to a file of recorded runs",
        );
        return None;
    };
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut calls = Vec::new();
    for line in file.lines() {
        let run: Value = serde_json::from_str(&line.unwrap()).unwrap();
        for step in run["steps"].as_array().unwrap() {
            if step["kind"] == "model_call" {
                calls.push(call(step));
            }
        }
    }
    Some(calls)
}

fn call(step: &Value) -> Call {
    let text = |key: &str| step[key].as_str().map(str::to_owned);
    let mut usage = Usage::default();
    usage.input_tokens = step["prompt_tokens"].as_u64();
    usage.output_tokens = step["completion_tokens"].as_u64();
    usage.cache_read_tokens = step["cached_tokens"].as_u64();
    usage.cache_write_tokens = step["cache_write_tokens"].as_u64();
    usage.reasoning_tokens = step["reasoning_tokens"].as_u64();
    Call {
        model: text("model").unwrap(),
        response_model: text("response_model"),
        provider: text("provider"),
        usage,
        implied: step["cached_tokens_implied"].as_u64(),
        cost_usd: step["cost_usd"].as_f64(),
    }
}

/// While all models of the recordings were on sale at the prices that were recorded: 2026-02-01.
fn at() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(20_485 * 86_400)
}

fn price(prices: &GenaiPrices, call: &Call, usage: Usage) -> Price {
    let call = ModelCall::new(usage, at())
        .provider(call.provider.as_deref())
        .request_model(call.model.as_str())
        .response_model(call.response_model.as_deref());
    prices.price(&call)
}

/// Feature: A6, E1, E5
/// Behaviour: P18
#[test]
fn recorded_calls_cost_what_was_recorded() {
    let Some(calls) = calls() else { return };
    let prices = GenaiPrices::new();
    let mut recorded_tokens = CostReport::by(["model"]);
    let mut implied_tokens = CostReport::by(["model"]);
    let (mut recorded, mut compared, mut wrong) = (0.0, 0, Vec::new());
    for call in &calls {
        recorded += call.cost_usd.unwrap_or(0.0);
        let with_implied = call.implied.map_or(call.usage, |read| call.usage.cache_read(read));
        let priced = price(&prices, call, with_implied);
        recorded_tokens.add(&[&call.model], &call.usage, price(&prices, call, call.usage));
        implied_tokens.add(&[&call.model], &with_implied, priced);
        if call.model.starts_with("ft:") {
            // Recorded as 0.0, which meant that nobody knew.
            assert_eq!(priced, Price::Unknown(UnknownReason::ModelNotFound));
            continue;
        }
        let Some(expected) = call.cost_usd.filter(|cost| *cost > 0.0) else { continue };
        compared += 1;
        match priced {
            Price::Known(cost) if (cost.usd() - expected).abs() <= 1e-6 => {}
            other => wrong.push(format!("{}: {other:?}, recorded ${expected}, {with_implied:?}", call.model)),
        }
    }
    let report = format!(
        "recorded ${recorded:.4}\nwith the recorded cached tokens:\n{recorded_tokens}\
         with the implied ones, too:\n{implied_tokens}"
    );
    show(&report);
    assert!(
        wrong.is_empty(),
        "{} of {compared} differ, e.g.\n{}\n{report}",
        wrong.len(),
        wrong[..wrong.len().min(10)].join("\n")
    );
    assert!(compared > 0, "no call with a recorded cost");
    // What differs is rounded away far below a cent.
    assert!((implied_tokens.total().cost.usd() - recorded).abs() < 1e-3, "{report}");
}

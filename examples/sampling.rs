//! Sampling: keep one trace of ten, all of one agent and none of another. Metrics and cost come from every run.
//!
//! `cargo run --example sampling`. The same without rules: `OTEL_TRACES_SAMPLER=parentbased_traceidratio` and
//! `OTEL_TRACES_SAMPLER_ARG=0.1`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::time::Duration;

use agentvitals::testing::OtlpReceiver;
use agentvitals::{InOperation as _, RecordOperation as _, Rule, SamplerConfig, Usage};

/// One run of an agent. A sleep stands for the model.
async fn run() {
    let call = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        tracing::Span::current().record_usage(Usage::new(1_000, 100));
    };
    call.in_operation(agentvitals::model_span!("chat", "openai", "gpt-4o-mini")).await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    const RUNS: usize = 100;
    // Stands for your collector.
    let receiver = OtlpReceiver::start()?;
    // Rules look at a trace's first span; the agent's name has to be there when the span starts.
    let sampler = SamplerConfig::ratio(0.1)
        .with_rule(Rule::agent("payments", 1.0))
        .with_rule(Rule::agent("smalltalk", 0.0));
    let vitals = agentvitals::builder()
        .service_name("sampling")
        .endpoint(receiver.endpoint())
        .sampler(sampler)
        .install()?;

    for agent in ["payments", "search", "smalltalk"] {
        for _ in 0..RUNS {
            run().in_operation(agentvitals::agent_span!(agent)).await;
        }
    }
    let cost = vitals.cost().total();
    let report = vitals.shutdown().await?;
    println!("{report}");

    let mut traces = BTreeMap::<String, usize>::new();
    for span in receiver.spans().iter().filter(|span| span.is_root()) {
        *traces.entry(span.name.clone()).or_default() += 1;
    }
    println!("traces kept: {traces:?}");
    let mut runs = BTreeMap::new();
    for point in receiver.metric("gen_ai.invoke_agent.duration") {
        runs.insert(point.str("gen_ai.agent.name").unwrap_or("?").to_owned(), point.count().unwrap_or(0));
    }
    println!("runs measured: {runs:?}");
    println!("model calls paid: {}, {} in all", cost.calls, cost.cost);

    // What is promised: all of one, none of the other, and metrics that do not know of sampling.
    let kept = |agent: &str| traces.get(&format!("invoke_agent {agent}")).copied().unwrap_or(0);
    let all_measured = runs.len() == 3 && runs.values().all(|count| *count == RUNS as u64);
    let as_promised = kept("payments") == RUNS && kept("smalltalk") == 0 && kept("search") < RUNS / 2;
    if as_promised && all_measured && cost.calls == 3 * RUNS as u64 {
        Ok(())
    } else {
        Err("not as promised".into())
    }
}

//! A streamed answer: the stream owns the model call's span until its end, so the time to the first chunk, the time
//! between chunks and the tokens are right, and an answer that nobody reads to its end is `cancellation`.
//!
//! `cargo run --example streaming`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use agentvitals::testing::{OtlpReceiver, TreeOptions};
use agentvitals::{InOperation as _, RecordOperation as _, Response, StreamExt as _, Usage};
use futures_util::{Stream, StreamExt as _};
use tracing::Span;

/// The answer of a model, piece by piece. Sleeps stand for the model; yours is the stream of your client.
fn answer(pieces: usize) -> impl Stream<Item = String> {
    futures_util::stream::unfold(0, move |at| async move {
        if at == pieces {
            // The last chunk of a real stream carries the usage. The stream is polled inside of its span.
            let span = Span::current();
            span.record_usage(Usage::new(40, pieces as u64));
            span.record_response(&Response::new().model("gpt-4o-2024-08-06").finish_reason("stop"));
            return None;
        }
        tokio::time::sleep(Duration::from_millis(if at == 0 { 30 } else { 5 })).await;
        Some((format!("piece {at} "), at + 1))
    })
}

/// Runs the agent and reads `pieces` pieces of the answer, or all of them.
async fn talk(read: Option<usize>) -> String {
    let stream = answer(6).in_model_call(agentvitals::model_span!("chat", "openai", "gpt-4o"));
    match read {
        Some(read) => stream.take(read).collect().await,
        None => stream.collect().await,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Stands for your collector.
    let receiver = OtlpReceiver::start()?;
    let vitals = agentvitals::builder().service_name("streaming").endpoint(receiver.endpoint()).install()?;

    // `in_operation` runs a future as an operation that ends when the future returns or is dropped.
    let whole = talk(None).in_operation(agentvitals::agent_span!("reader")).await;
    println!("read to its end:  {whole}");
    let part = talk(Some(2)).in_operation(agentvitals::agent_span!("impatient")).await;
    println!("given up half way: {part}");
    // A deadline that drops the future is a cancellation, too.
    let late = talk(None).in_operation(agentvitals::agent_span!("late"));
    println!("cut by a deadline: {:?}", tokio::time::timeout(Duration::from_millis(10), late).await);

    let report = vitals.shutdown().await?;
    println!("{report}\n");
    let shown = ["agentvitals.outcome", "gen_ai.usage.output_tokens", "gen_ai.response.time_to_first_chunk"];
    println!("{}", TreeOptions::new().attributes(shown).render(&receiver.spans()));
    for name in
        ["gen_ai.client.operation.time_to_first_chunk", "gen_ai.client.operation.time_per_output_chunk"]
    {
        let (mut count, mut sum) = (0, 0.0);
        for point in receiver.metric(name) {
            count += point.count().unwrap_or(0);
            sum += point.sum().unwrap_or(0.0);
        }
        println!("{name}: {count} measurements, {:.1} ms on average", 1e3 * sum / count as f64);
    }
    if report.is_complete() { Ok(()) } else { Err("not every span arrived".into()) }
}

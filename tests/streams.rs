//! Streamed answers: the wrapper owns the model's span until the end or the drop of the stream.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use agentvitals::{RecordOperation as _, StreamExt as _, Usage, model_span};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use support::Rig;

const CHAT: &str = "gen_ai.operation.name=chat gen_ai.provider.name=p gen_ai.request.model=m";

/// Chunks after so many milliseconds each.
fn chunks<'a>(rig: &'a Rig, pauses: &'a [u64]) -> impl futures_util::Stream<Item = u64> + Unpin + 'a {
    stream::iter(pauses.iter().copied().inspect(|pause| rig.advance(*pause)))
}

/// Feature: E4
/// Behaviour: P19
#[test]
fn a_stream_that_ends_has_its_first_chunk_its_gaps_and_its_speed() {
    let rig = Rig::new();
    rig.block_on(async {
        let mut answer = chunks(&rig, &[400, 100, 300, 200]).in_model_call(model_span!("chat", "p", "m"));
        while answer.next().await.is_some() {}
        answer.span().record_usage(Usage::new(50, 120));
    });
    let span = rig.only_span();
    assert_eq!(span.name, "chat m");
    assert_eq!(span.float("gen_ai.response.time_to_first_chunk"), Some(0.4));
    assert_eq!(span.bool("gen_ai.request.stream"), Some(true));
    assert_eq!((span.status_code.as_str(), span.attr("agentvitals.outcome")), ("unset", None));
    assert_eq!(rig.lines("gen_ai.client.operation.duration"), [format!("{CHAT}: count 1 sum 1")]);
    assert_eq!(
        rig.lines("gen_ai.client.operation.time_to_first_chunk"),
        [format!("{CHAT}: count 1 sum 0.4")]
    );
    assert_eq!(
        rig.lines("gen_ai.client.operation.time_per_output_chunk"),
        [format!("{CHAT}: count 3 sum 0.6")]
    );
}

/// Feature: E4, A4
/// Behaviour: P17, P19
#[test]
fn usage_that_comes_with_the_last_chunk_counts_once() {
    let rig = Rig::new();
    rig.block_on(async {
        let answer = chunks(&rig, &[400, 600]).in_model_call(model_span!("chat", "openai", "gpt-4o"));
        let span = answer.span().clone();
        answer.for_each(|_| async { span.record_usage(Usage::new(1_000, 120)) }).await;
    });
    assert_eq!(rig.sum("gen_ai.client.token.usage"), 1_120.0);
    assert_eq!(rig.count("agentvitals.response.tokens_per_second"), 1);
    assert_eq!(rig.sum("agentvitals.response.tokens_per_second"), 200.0);
    assert_eq!(rig.sum("agentvitals.cost"), 3_700_000.0);
}

/// Feature: E4, A4
/// Behaviour: P17, P19
#[test]
fn usage_that_is_recorded_after_the_last_chunk_counts_too() {
    let rig = Rig::new();
    rig.block_on(async {
        let mut answer = chunks(&rig, &[400, 600]).in_model_call(model_span!("chat", "p", "m"));
        while answer.next().await.is_some() {}
        rig.advance(5_000);
        answer.span().record_usage(Usage::new(1_000, 120));
    });
    assert_eq!(rig.sum("gen_ai.client.token.usage"), 1_120.0);
    assert_eq!(rig.lines("gen_ai.client.operation.duration"), [format!("{CHAT}: count 1 sum 1")]);
}

/// Feature: E4
/// Behaviour: P19
#[test]
fn a_stream_that_is_dropped_is_cancelled_and_keeps_what_it_knew() {
    let rig = Rig::new();
    rig.block_on(async {
        let mut answer = chunks(&rig, &[400, 100, 300]).in_model_call(model_span!("chat", "p", "m"));
        answer.next().await;
        answer.next().await;
        answer.span().record_usage(Usage::new(50, 7));
        drop(answer);
        drop(chunks(&rig, &[1]).in_model_call(model_span!("chat", "p", "never polled")));
    });
    let span = rig.span("chat m");
    assert_eq!(span.str("error.type"), Some("cancelled"));
    assert_eq!(span.str("agentvitals.outcome"), Some("cancellation"));
    assert_eq!(
        rig.lines("gen_ai.client.operation.duration"),
        [
            format!("error.type=cancelled {CHAT}: count 1 sum 0.5"),
            "error.type=cancelled gen_ai.operation.name=chat gen_ai.provider.name=p \
             gen_ai.request.model=never polled: count 1 sum 0"
                .to_owned(),
        ]
    );
    assert_eq!(rig.sum("gen_ai.client.token.usage"), 57.0);
    assert_eq!(rig.count("gen_ai.client.operation.time_to_first_chunk"), 1);
}

/// Feature: E4, A7
/// Behaviour: P19
#[test]
fn an_error_in_the_middle_of_a_stream_ends_the_call_with_it() {
    let rig = Rig::new();
    rig.block_on(async {
        let items = [Ok(1), Err(std::io::Error::other("HTTP 503")), Ok(2)];
        let mut answer = stream::iter(items).in_fallible_model_call(model_span!("chat", "p", "m"));
        while let Some(Ok(_)) = answer.next().await {}
    });
    let span = rig.only_span();
    assert_eq!((span.str("error.type"), span.status_message.as_str()), (Some("server_error"), "HTTP 503"));
    assert_eq!(span.attr("agentvitals.outcome"), None);
    assert_eq!(
        rig.lines("gen_ai.client.operation.duration"),
        [format!("error.type=server_error {CHAT}: count 1 sum 0")]
    );
}

/// Feature: E4
/// Behaviour: P19
#[test]
fn a_stream_is_inside_of_its_span_while_it_is_polled_and_not_between() {
    let rig = Rig::new();
    rig.block_on(async {
        let mut answer = stream::iter(0..3)
            .map(|_| drop(agentvitals::tool_span!("t")))
            .in_model_call(model_span!("chat", "p", "m"));
        while answer.next().await.is_some() {
            drop(tracing::info_span!("between"));
        }
    });
    let spans = rig.spans();
    assert!(agentvitals::testing::find_spans(&spans, "between").iter().all(|span| span.is_root()));
    assert!(agentvitals::testing::find_spans(&spans, "execute_tool t").iter().all(|span| !span.is_root()));
}

/// Feature: E4, N3
/// Behaviour: P19
#[test]
fn a_stream_that_panics_is_a_panic_and_no_cancellation() {
    let rig = Rig::new();
    rig.run(|| {
        let mut answer = stream::iter(0..3)
            .map(|item| if item == 1 { panic!("boom") } else { item })
            .in_model_call(model_span!("chat", "p", "m"));
        assert_eq!(answer.next().now_or_never(), Some(Some(0)));
        catch_unwind(AssertUnwindSafe(|| answer.next().now_or_never())).unwrap_err();
        // It is dropped when the panic is long over.
    });
    let span = rig.only_span();
    assert_eq!(span.str("error.type"), Some("panic"));
    assert_eq!(span.attr("agentvitals.outcome"), None);
}

/// Feature: E4
#[test]
fn progress_can_be_recorded_without_the_wrapper() {
    let rig = Rig::new();
    rig.run(|| {
        let span = tracing::info_span!(
            "w",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = "p",
            gen_ai.request.model = "m"
        );
        for pause in [250, 50, 50] {
            rig.advance(pause);
            span.record_chunk();
        }
    });
    assert_eq!(
        rig.lines("gen_ai.client.operation.time_to_first_chunk"),
        [format!("{CHAT}: count 1 sum 0.25")]
    );
    assert_eq!(
        rig.lines("gen_ai.client.operation.time_per_output_chunk"),
        [format!("{CHAT}: count 2 sum 0.1")]
    );
    assert_eq!(rig.only_span().float("gen_ai.response.time_to_first_chunk"), Some(0.25));
}

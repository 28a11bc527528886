//! Values that nobody expects. The traced program goes on, and what can be measured is.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use agentvitals::cost::{ModelCall, Price, Pricing};
use agentvitals::{RecordOperation as _, Usage, agent_span, model_span, tool_span};
use support::Rig;
use tracing::{Dispatch, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

const MODEL: &str = "gen_ai.operation.name=chat gen_ai.provider.name=p gen_ai.request.model=m";

/// Feature: N3
#[test]
fn numbers_that_are_no_counts_are_left_out_of_the_metrics() {
    let rig = Rig::new();
    rig.run(|| {
        let record = |f: &dyn Fn(&tracing::Span)| f(&model_span!("chat", "p", "m"));
        record(&|span| _ = span.record("gen_ai.usage.input_tokens", -5));
        record(&|span| _ = span.record("gen_ai.usage.input_tokens", f64::NAN));
        record(&|span| _ = span.record("gen_ai.usage.input_tokens", f64::INFINITY));
        record(&|span| _ = span.record("gen_ai.usage.input_tokens", "many"));
        record(&|span| _ = span.record("gen_ai.usage.input_tokens", true));
        record(&|span| _ = span.record("gen_ai.response.time_to_first_chunk", f64::NAN));
        record(&|span| _ = span.record("server.port", 70_000));
        record(&|span| _ = span.record("gen_ai.usage.input_tokens", 12.0));
    });
    assert_eq!(rig.lines("gen_ai.client.operation.duration"), [format!("{MODEL}: count 8 sum 0")]);
    assert_eq!(
        rig.lines("gen_ai.client.token.usage"),
        [format!("{MODEL} gen_ai.token.type=input: count 1 sum 12")]
    );
    assert_eq!(rig.count("gen_ai.client.operation.time_to_first_chunk"), 0);
    assert_eq!(rig.spans().len(), 8);
}

/// Feature: N3
/// Behaviour: P18
#[test]
fn enormous_counts_break_neither_sums_nor_prices() {
    let rig = Rig::new();
    rig.run(|| {
        agent_span!("a").in_scope(|| {
            for _ in 0..3 {
                model_span!("chat", "openai", "gpt-4o").record_usage(
                    Usage::new(u64::MAX - 1, u64::MAX)
                        .cache_read(u64::MAX)
                        .cache_write(u64::MAX)
                        .reasoning(u64::MAX),
                );
                let plain = model_span!("chat", "openai", "gpt-4o");
                plain.record("gen_ai.usage.input_tokens", u64::MAX - 1);
                plain.record("gen_ai.usage.output_tokens", u128::MAX);
            }
            let tool = info_span!(
                "w",
                gen_ai.operation.name = "execute_tool",
                agentvitals.tool.input.size = u64::MAX - 1,
                agentvitals.retry.count = u64::MAX
            );
            drop(tool);
        });
        drop(tool_span!("still works"));
    });
    assert_eq!(rig.count("gen_ai.client.operation.duration"), 6);
    assert_eq!(rig.count("gen_ai.execute_tool.duration"), 2);
    assert_eq!(rig.count("gen_ai.invoke_agent.duration"), 1);
    assert_eq!(rig.spans().len(), 9);
    assert!(rig.vitals.status().up);
    assert_eq!(rig.vitals.cost().total().calls, 6);
}

/// Feature: N3
/// Behaviour: P25
#[test]
fn names_of_any_length_and_script_are_taken_and_cut_on_metrics() {
    let rig = Rig::new();
    let long = "ü".repeat(500_000);
    rig.run(|| {
        for name in ["", " ", "агент 🤖", "quote\"back\\slash\nline", "\0", long.as_str()] {
            drop(agent_span!(name));
        }
        drop(model_span!("", "", ""));
    });
    assert_eq!(rig.count("gen_ai.invoke_agent.duration"), 6);
    let points = rig.points("gen_ai.invoke_agent.duration");
    for point in &points {
        assert!(point.str("gen_ai.agent.name").is_none_or(|name| name.len() <= 128), "{point:?}");
    }
    assert!(points.iter().any(|point| point.str("gen_ai.agent.name") == Some("агент 🤖")));
    assert!(points.iter().any(|point| point.attr("gen_ai.agent.name").is_none()), "no name, no attribute");
    let spans = rig.spans();
    assert_eq!(spans.len(), 7);
    // Attribute values are cut, and names with them.
    let longest = spans.iter().map(|span| span.name.len()).max().unwrap();
    assert!(longest < 70_000, "{longest}");
    assert!(spans.iter().any(|span| span.name == "invoke_agent"));
}

/// Feature: N3
#[test]
fn a_span_of_very_many_attributes_is_cut_and_says_so() {
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    let rig = Rig::new();
    rig.run(|| {
        let span = tool_span!("t");
        for number in 0..1_000 {
            span.set_attribute(format!("key-{number}"), "value");
        }
    });
    let span = rig.only_span();
    assert!(span.attributes.len() <= 128, "{}", span.attributes.len());
    assert!(span.dropped_attributes >= 800, "{}", span.dropped_attributes);
    assert_eq!(span.str("gen_ai.tool.name"), Some("t"));
}

/// Feature: N3, A11
#[test]
fn spans_that_are_never_closed_show_as_active_and_hold_up_nothing() {
    let rig = Rig::new();
    rig.run(|| {
        for _ in 0..100 {
            std::mem::forget(agent_span!("leaked"));
        }
        drop(agent_span!("a"));
    });
    assert_eq!(rig.vitals.active_tasks()["leaked"], 100);
    assert_eq!(rig.lines("gen_ai.invoke_agent.duration"), ["gen_ai.agent.name=a: count 1 sum 0"]);
    let report = rig.vitals.shutdown_blocking(support::DEADLINE).unwrap();
    assert_eq!(report.spans_exported, 1);
}

/// Feature: N3, A11
#[test]
fn a_span_can_be_closed_on_another_thread_than_it_was_opened_on() {
    let rig = Rig::new();
    let (outer, inner) = rig.run(|| {
        let outer = agent_span!("a");
        let inner = outer.in_scope(|| tool_span!("t"));
        (outer, inner)
    });
    // The parent's last handle goes first.
    std::thread::scope(|scope| {
        scope.spawn(|| rig.run(move || drop(outer))).join().unwrap();
        scope.spawn(|| rig.run(move || inner.in_scope(|| ()))).join().unwrap();
    });
    assert_eq!(
        agentvitals::testing::tree(&rig.spans()),
        "invoke_agent a [internal]\n  execute_tool t [internal]\n"
    );
    assert_eq!(rig.vitals.active_tasks()["a"], 0);
    assert_eq!(rig.sum("gen_ai.invoke_agent.tool_calls"), 1.0);
}

/// A value that traces while it is formatted.
struct Chatty;

impl std::fmt::Debug for Chatty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        tracing::info!("formatting");
        drop(tool_span!("formatting"));
        tracing::Span::current().record("gen_ai.request.model", "from inside");
        f.write_str("chat")
    }
}

/// Feature: N3
/// Behaviour: P11
#[test]
fn a_value_that_traces_while_it_is_formatted_blocks_nothing() {
    let rig = Rig::composed(
        |b| b,
        |vitals, _| Dispatch::new(tracing_subscriber::registry().with(vitals.agent_layer())),
    );
    let done = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            rig.run(|| {
                agent_span!("a").in_scope(|| {
                    let span = info_span!("w", gen_ai.operation.name = ?Chatty, gen_ai.request.model = tracing::field::Empty);
                    span.in_scope(|| span.record("gen_ai.operation.name", tracing::field::debug(Chatty)));
                    tracing::error!(error = ?Chatty);
                });
            });
        });
        support::wait_until("the thread is done", || run.is_finished());
        run.join()
    });
    done.unwrap();
    assert_eq!(rig.count("gen_ai.client.operation.duration"), 1);
    // What was traced while formatting may be missing: `tracing` itself leaves some of it out.
}

struct Explosive;

impl std::fmt::Display for Explosive {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("a Display that is broken")
    }
}

/// Feature: N3
/// Behaviour: P11
#[test]
fn a_value_that_panics_while_it_is_formatted_poisons_nothing() {
    let rig = Rig::composed(
        |b| b,
        |vitals, _| Dispatch::new(tracing_subscriber::registry().with(vitals.agent_layer())),
    );
    rig.run(|| {
        let span = model_span!("chat", "p", "m");
        let late =
            AssertUnwindSafe(|| span.record("gen_ai.response.model", tracing::field::display(Explosive)));
        catch_unwind(late).unwrap_err();
        catch_unwind(|| drop(info_span!("w", gen_ai.operation.name = %Explosive))).unwrap_err();
        drop(span);
        for _ in 0..200 {
            drop(model_span!("chat", "p", "m"));
        }
    });
    assert_eq!(rig.lines("gen_ai.client.operation.duration"), [format!("{MODEL}: count 201 sum 0")]);
    assert!(rig.vitals.status().up);
}

#[derive(Debug)]
struct BrokenPrices;

impl Pricing for BrokenPrices {
    fn price(&self, _: &ModelCall<'_>) -> Price {
        panic!("a price table that is broken")
    }
}

/// Feature: N3, E5
#[test]
fn prices_that_panic_are_unknown_prices_and_harm_nothing_else() {
    let rig = Rig::with(|builder| builder.pricing(BrokenPrices));
    rig.run(|| {
        for _ in 0..20_000 {
            model_span!("chat", "openai", "gpt-4o").record_usage(Usage::new(10, 1));
        }
    });
    assert_eq!(rig.count("gen_ai.client.operation.duration"), 20_000);
    assert_eq!(rig.sum("agentvitals.cost.unpriced_calls"), 20_000.0);
    assert!(rig.points("agentvitals.cost").is_empty());
    assert!(rig.vitals.status().up);
}

/// Feature: N3
#[test]
fn an_operation_may_change_its_mind_about_what_it_is() {
    let rig = Rig::new();
    rig.run(|| {
        let span = info_span!("w", gen_ai.operation.name = "plan", gen_ai.agent.name = "a");
        span.record("gen_ai.operation.name", "invoke_agent");
        assert_eq!(rig.vitals.active_tasks()["a"], 1);
    });
    assert_eq!(rig.vitals.active_tasks()["a"], 0);
    assert_eq!(rig.count("gen_ai.invoke_agent.duration"), 1);
}

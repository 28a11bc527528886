//! With other layers and filters, in every order, several times and in part.

mod support;

use agentvitals::testing::{Capture, find_span};
use agentvitals::{RecordOperation as _, Telemetry, Usage, agent_span, model_span, tool_span};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use support::{DEADLINE, Rig};
use tracing::{Dispatch, Level, info_span};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry, registry, reload};

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// A registry with one layer.
fn composed(layer: impl FnOnce(&Telemetry) -> Boxed) -> Rig {
    Rig::composed(|builder| builder, |vitals, _| Dispatch::new(registry().with(layer(vitals))))
}

fn run_one(rig: &Rig) {
    rig.run(|| {
        agent_span!("a").in_scope(|| {
            model_span!("chat", "openai", "gpt-4o").record_usage(Usage::new(1_000, 100));
            tool_span!("t").record_error_type("timeout");
        });
    });
}

/// What one run is in the metrics.
#[track_caller]
fn assert_measured(rig: &Rig) {
    assert_eq!(rig.count("gen_ai.invoke_agent.duration"), 1);
    assert_eq!(rig.lines("gen_ai.invoke_agent.tool_calls"), ["gen_ai.agent.name=a: count 1 sum 1"]);
    assert_eq!(rig.sum("gen_ai.client.token.usage"), 1_100.0);
    assert_eq!(rig.sum("agentvitals.cost"), 3_500_000.0);
    assert_eq!(
        rig.lines("gen_ai.execute_tool.duration"),
        ["error.type=timeout gen_ai.agent.name=a gen_ai.tool.name=t: count 1 sum 0"]
    );
}

const TREE: &str = "invoke_agent a [internal]\n  chat gpt-4o [client]\n  execute_tool t [internal] ERROR error.type=timeout\n";

/// Feature: L1, N5
#[test]
fn filters_hide_what_they_are_meant_to_and_nothing_else() {
    let me = module_path!();
    let filtered: Vec<(&str, Rig)> = vec![
        (
            "EnvFilter",
            Rig::composed(
                |b| b,
                |v, _| {
                    Dispatch::new(
                        registry().with(EnvFilter::new(format!("{me}=info,other=off"))).with(v.layer()),
                    )
                },
            ),
        ),
        (
            "Targets",
            Rig::composed(
                |b| b,
                |v, _| {
                    Dispatch::new(
                        registry().with(Targets::new().with_target(me, Level::INFO)).with(v.layer()),
                    )
                },
            ),
        ),
        ("per layer", composed(|v| v.layer().with_filter(EnvFilter::new("info")).boxed())),
        (
            "per layer, by field",
            composed(|v| {
                v.layer()
                    .with_filter(filter_fn(|m| m.fields().field("gen_ai.operation.name").is_some()))
                    .boxed()
            }),
        ),
        (
            "beside a filtered layer",
            Rig::composed(
                |b| b,
                |v, _| {
                    let quiet = tracing_subscriber::fmt::layer()
                        .with_writer(std::io::sink)
                        .with_filter(LevelFilter::OFF);
                    Dispatch::new(registry().with(quiet).with(v.layer()))
                },
            ),
        ),
    ];
    for (name, rig) in &filtered {
        run_one(rig);
        rig.run(|| tracing::debug_span!("hidden").in_scope(|| ()));
        assert_measured(rig);
        let spans: Vec<_> = rig.spans().into_iter().filter(|span| span.name != "hidden").collect();
        assert_eq!(agentvitals::testing::tree(&spans), TREE, "{name}");
        assert!(rig.vitals.status().attached, "{name}");
    }
}

/// Feature: L1
#[test]
fn a_span_between_that_a_filter_hides_breaks_no_chain() {
    let rig = composed(|vitals| vitals.layer().with_filter(LevelFilter::INFO).boxed());
    rig.run(|| {
        agent_span!("a").in_scope(|| {
            tracing::trace_span!("detail").in_scope(|| drop(model_span!("chat", "p", "m")));
        });
    });
    assert_eq!(agentvitals::testing::tree(&rig.spans()), "invoke_agent a [internal]\n  chat m [client]\n");
    assert_eq!(rig.lines("gen_ai.invoke_agent.inference_calls"), ["gen_ai.agent.name=a: count 1 sum 1"]);
}

/// Feature: N5
#[test]
fn what_a_filter_disables_is_not_measured_and_does_not_disturb() {
    let rig =
        Rig::composed(|b| b, |v, _| Dispatch::new(registry().with(v.layer()).with(EnvFilter::new("off"))));
    run_one(&rig);
    assert_eq!(rig.spans(), []);
    assert_eq!(rig.count("gen_ai.invoke_agent.duration"), 0);
    assert_eq!(rig.vitals.status().operations, 0);
}

/// Feature: N5
#[test]
fn a_boxed_layer_is_as_good_as_a_bare_one() {
    let rig = composed(|vitals| vitals.layer().boxed());
    run_one(&rig);
    assert_measured(&rig);
    assert_eq!(agentvitals::testing::tree(&rig.spans()), TREE);
    assert!(rig.vitals.status().warnings.is_empty(), "{:?}", rig.vitals.status().warnings);
}

/// Feature: N5
/// Behaviour: P33
#[test]
fn a_layer_wrapped_in_option_vec_or_reload_measures_or_says_what_is_wrong() {
    let wrapped: Vec<(&str, Rig)> = vec![
        ("Option", composed(|vitals| Some(vitals.layer()).boxed())),
        ("Vec", composed(|vitals| vec![vitals.layer()].boxed())),
        ("reload", composed(|vitals| reload::Layer::new(vitals.layer()).0.boxed())),
    ];
    for (name, rig) in wrapped {
        run_one(&rig);
        assert_measured(&rig);
        assert_eq!(agentvitals::testing::tree(&rig.spans()), TREE, "{name}");
        let status = rig.vitals.status();
        assert!(
            status.attached
                || status.warnings.iter().any(|warning| warning.contains("Option, Vec or reload")),
            "{name}: {status:?}"
        );
    }
    // Off is off.
    let none = composed(|_| None::<agentvitals::AgentLayer>.boxed());
    run_one(&none);
    assert!(!none.vitals.status().attached && none.vitals.status().warnings.is_empty());
}

/// An OpenTelemetry layer of the user's own, with a simple exporter.
fn own_otel_layer<S>(capture: &Capture) -> impl Layer<S> + use<S>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let provider = SdkTracerProvider::builder().with_simple_exporter(capture.clone()).build();
    tracing_opentelemetry::layer().with_tracer(provider.tracer("own"))
}

#[tracing::instrument(fields(gen_ai.operation.name = "execute_tool", gen_ai.tool.name = "t"), err)]
fn failing_tool() -> Result<(), std::io::Error> {
    Err(std::io::Error::other("rate limit reached"))
}

/// Feature: L1, N5
#[test]
fn agent_layer_works_before_an_opentelemetry_layer_of_ones_own() {
    let rig = Rig::composed(
        |b| b,
        |vitals, capture| Dispatch::new(registry().with(vitals.agent_layer()).with(own_otel_layer(capture))),
    );
    run_one(&rig);
    rig.run(|| failing_tool().unwrap_err());
    assert_eq!(rig.count("gen_ai.execute_tool.duration"), 2);
    let spans = rig.spans();
    // Its exporter gets its spans under their own names; what we know is on them.
    assert_eq!(find_span(&spans, "failing_tool").str("error.type"), Some("rate_limit"));
    assert_eq!(find_span(&spans, "model_call").int("gen_ai.usage.input_tokens"), Some(1_000));
    let status = rig.vitals.status();
    assert!(status.attached && status.warnings.is_empty(), "{status:?}");
}

/// Feature: N5
/// Behaviour: P33
#[test]
fn agent_layer_behind_an_opentelemetry_layer_measures_and_warns() {
    let rig = Rig::composed(
        |b| b,
        |vitals, capture| Dispatch::new(registry().with(own_otel_layer(capture)).with(vitals.agent_layer())),
    );
    run_one(&rig);
    rig.run(|| failing_tool().unwrap_err());
    assert_eq!(rig.count("gen_ai.execute_tool.duration"), 2);
    assert_eq!(rig.count("gen_ai.client.operation.duration"), 1);
    let warnings = rig.vitals.status().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("after the OpenTelemetry layer")), "{warnings:?}");
}

/// Behaviour: P31
#[test]
fn agent_layer_alone_measures_without_a_warning() {
    let rig = composed(|vitals| vitals.agent_layer().boxed());
    run_one(&rig);
    assert_measured(&rig);
    assert_eq!(rig.spans(), []);
    assert!(rig.vitals.status().warnings.is_empty());
}

/// Behaviour: P31
#[test]
fn a_layer_that_was_added_twice_counts_once() {
    let rig = Rig::composed(
        |b| b,
        |vitals, _| Dispatch::new(registry().with(vitals.agent_layer()).with(vitals.agent_layer())),
    );
    run_one(&rig);
    assert_measured(&rig);
    assert_eq!(rig.vitals.active_tasks()["a"], 0);
}

/// Feature: N4, N5
#[test]
fn two_telemetries_of_one_process_keep_to_themselves() {
    let (one, two) = (Rig::new(), Rig::new());
    run_one(&one);
    run_one(&two);
    run_one(&two);
    assert_measured(&one);
    assert_eq!(two.count("gen_ai.invoke_agent.duration"), 2);
    assert_eq!((one.spans().len(), two.spans().len()), (3, 6));
}

/// Feature: N4
#[test]
fn two_telemetries_can_watch_one_registry() {
    let second = std::cell::RefCell::new(None);
    let first = Rig::composed(
        |b| b,
        |vitals, _| {
            let other = agentvitals::builder()
                .config(agentvitals::Config::default())
                .without_export()
                .build()
                .unwrap();
            let dispatch = Dispatch::new(registry().with(other.agent_layer()).with(vitals.layer()));
            *second.borrow_mut() = Some(other);
            dispatch
        },
    );
    run_one(&first);
    assert_measured(&first);
    let second = second.into_inner().unwrap();
    assert_eq!(second.status().operations, 3);
    assert_eq!(second.cost().total().calls, 1);
}

/// Feature: N4
#[test]
fn a_second_install_is_a_clear_error_and_leaves_the_first_alone() {
    let install = || agentvitals::builder().config(agentvitals::Config::default()).without_export().install();
    let first = install().unwrap();
    let error = install().unwrap_err();
    assert!(error.is_install(), "{error}");
    assert!(error.to_string().contains("build()"), "{error}");
    drop(info_span!("w", gen_ai.operation.name = "chat"));
    assert_eq!(first.status().operations, 1);
    // GenAI spans count at every level, others by theirs.
    drop(tracing::trace_span!("w", gen_ai.operation.name = "chat"));
    assert!(tracing::trace_span!("w").is_disabled());
    assert_eq!(first.status().operations, 2);
}

/// Feature: N5
#[test]
fn a_disabled_sdk_exports_nothing_and_disturbs_nothing() {
    let vars = |name: &str| (name == "OTEL_SDK_DISABLED").then(|| "true".to_owned());
    let config = agentvitals::Config::from_vars(vars).unwrap();
    let rig = Rig::with(|builder| builder.config(config));
    run_one(&rig);
    assert_eq!(rig.spans(), []);
    assert_eq!(rig.all_points(), []);
    rig.vitals.shutdown_blocking(DEADLINE).unwrap();
}

/// Feature: N3
#[test]
fn telemetry_outlives_its_subscriber_and_the_subscriber_its_telemetry() {
    let vitals =
        agentvitals::builder().config(agentvitals::Config::default()).without_export().build().unwrap();
    let dispatch = Dispatch::new(registry().with(vitals.layer()));
    tracing::dispatcher::with_default(&dispatch, || drop(agent_span!("a")));
    drop(dispatch);
    assert_eq!(vitals.status().operations, 1);
    vitals.flush_blocking(DEADLINE).unwrap();

    let vitals =
        agentvitals::builder().config(agentvitals::Config::default()).without_export().build().unwrap();
    let dispatch = Dispatch::new(registry().with(vitals.layer()));
    let open = tracing::dispatcher::with_default(&dispatch, || agent_span!("a"));
    drop(vitals);
    tracing::dispatcher::with_default(&dispatch, || {
        open.record_outcome(agentvitals::Outcome::Failure);
        drop(open);
        for _ in 0..50_000 {
            agent_span!("b").in_scope(|| drop(model_span!("chat", "p", "m")));
        }
    });
}

/// Behaviour: P2
/// Feature: N3
#[test]
fn spans_that_end_after_the_shutdown_are_counted_as_lost_and_shutdown_twice_is_fine() {
    let rig = Rig::new();
    run_one(&rig);
    let report = rig.vitals.shutdown_blocking(DEADLINE).unwrap();
    assert_eq!((report.spans_exported, report.lost()), (3, 0), "{report}");
    run_one(&rig);
    let report = rig.vitals.shutdown_blocking(DEADLINE).unwrap();
    assert_eq!(report.spans_exported, 3, "{report}");
    assert_eq!(rig.vitals.status().export.lost(), 3);
}

/// Behaviour: P1
/// Feature: N4
#[test]
fn the_crates_it_was_built_against_are_at_hand_and_no_global_is_needed() {
    use agentvitals::opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    let rig = Rig::new();
    // A span of OpenTelemetry's own API, by the re-exported crate, through our provider.
    rig.vitals.tracer_provider().tracer("mine").start("by hand").end();
    assert_eq!(rig.only_span().name, "by hand");
    let global = opentelemetry::global::tracer("none").start("nowhere");
    assert!(!global.span_context().is_valid());
}

/// Behaviour: P1
#[test]
fn opentelemetrys_own_api_finds_the_span_that_is_entered() {
    use opentelemetry::trace::{Span as _, Tracer as _};
    let rig = Rig::new();
    rig.run(|| agent_span!("a").in_scope(|| rig.vitals.tracer().start("inner").end()));
    assert_eq!(agentvitals::testing::tree(&rig.spans()), "invoke_agent a [internal]\n  inner [internal]\n");
}

/// Hands on the messages of agentvitals itself.
struct OwnMessages(std::sync::mpsc::Sender<String>);

impl<S: tracing::Subscriber> Layer<S> for OwnMessages {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 = format!("{value:?}");
            }
        }
        if event.metadata().target() == "agentvitals" {
            let mut message = Message(String::new());
            event.record(&mut message);
            let _ = self.0.send(message.0);
        }
    }
}

/// Behaviour: P33
#[test]
fn a_layer_in_the_wrong_place_is_told_to_the_program_without_asking() {
    let vitals =
        agentvitals::builder().config(agentvitals::Config::default()).without_export().build().unwrap();
    let other = SdkTracerProvider::default();
    let (messages, told) = std::sync::mpsc::channel();
    let subscriber = registry()
        .with(tracing_opentelemetry::layer().with_tracer(other.tracer("mine")))
        .with(vitals.agent_layer())
        .with(OwnMessages(messages));
    tracing::subscriber::with_default(subscriber, || {
        drop(agentvitals::tool_span!("search").entered());
        let message = told.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert!(message.contains("add it before"), "{message}");
    });
}

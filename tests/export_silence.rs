//! The exporter's own HTTP stack is never traced. A test binary of its own: the subscriber is global.
#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]
#![cfg(all(feature = "otlp-grpc", feature = "otlp-http"))]

mod export_support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentvitals::Protocol;
use agentvitals::export::PipelineParts;
use export_support::{Receiver, Reply, config, end_spans, start};
use tonic::Code;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

/// Notes the thread and target of every span and event.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<Seen>>>);

/// Thread and target.
type Seen = (Option<String>, &'static str);

impl Witness {
    fn note(&self, target: &'static str) {
        let thread = std::thread::current().name().map(ToOwned::to_owned);
        self.0.lock().unwrap().push((thread, target));
    }
}

impl<S: tracing::Subscriber> Layer<S> for Witness {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _: &tracing::span::Id,
        _: Context<'_, S>,
    ) {
        self.note(attributes.metadata().target());
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        self.note(event.metadata().target());
    }
}

/// Behaviour: P12
#[test]
fn a_global_subscriber_at_trace_level_sees_nothing_of_the_exporters_threads() {
    let witness = Witness::default();
    tracing::subscriber::set_global_default(Registry::default().with(witness.clone())).unwrap();
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let script = if protocol == Protocol::Grpc {
            vec![Reply::Take, Reply::Refuse(Code::Unavailable, "again")]
        } else {
            vec![Reply::Take, Reply::Http(503, None)]
        };
        let receiver = Receiver::scripted(script);
        // By name, so that the name look-up and its threads are used as well.
        let url = receiver.url.replace("127.0.0.1", "localhost");
        let (pipeline, _provider, tracer) =
            start(&config(&url).with_protocol(protocol), PipelineParts::new());
        for _ in 0..3 {
            end_spans(&tracer, 10);
            // The exporter parks and wakes up between the flushes.
            pipeline.flush_blocking(Duration::from_secs(10)).unwrap();
        }
        assert_eq!(receiver.spans().len(), 30);
    }
    tracing::info!("seen");
    let seen = witness.0.lock().unwrap();
    let ours: Vec<_> = seen
        .iter()
        .filter(|(thread, _)| thread.as_deref().is_some_and(|t| t.starts_with("agentvitals")))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
    // The witness is awake: the receiver's HTTP stack is the same and is seen.
    assert!(seen.iter().any(|(_, target)| target.starts_with("h2")), "the receiver's h2 is seen");
    assert!(seen.iter().any(|(_, target)| *target == "export_silence"));
}

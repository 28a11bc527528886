//! Context over HTTP headers, MCP `_meta` and spawned tasks.
#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

use std::sync::{Arc, Mutex};

use agentvitals::Propagators;
use agentvitals::propagation::{extract, inject, inject_with, set_remote_parent, spawn};
use http::HeaderMap;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SimpleSpanProcessor, SpanData, SpanExporter};
use serde_json::json;
use tracing::{Instrument as _, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

#[derive(Debug, Clone, Default)]
struct Collected(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collected {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

fn traced() -> (tracing::subscriber::DefaultGuard, SdkTracerProvider, Collected) {
    let exporter = Collected::default();
    let provider =
        SdkTracerProvider::builder().with_span_processor(SimpleSpanProcessor::new(exporter.clone())).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    (guard, provider, exporter)
}

fn remote() -> Context {
    let state = TraceState::from_key_value([("vendor", "x")]).unwrap();
    let span = SpanContext::new(TraceId::from(0xabc), SpanId::from(0xdef), TraceFlags::SAMPLED, true, state);
    Context::new().with_remote_span_context(span).with_baggage([KeyValue::new("session.id", "s 1")])
}

/// Feature: L4
/// Behaviour: P27
#[test]
fn trace_state_and_baggage_travel_through_headers_and_through_json() {
    let mut headers = HeaderMap::new();
    inject(&remote(), &mut headers);
    assert_eq!(headers["traceparent"], "00-00000000000000000000000000000abc-0000000000000def-01");
    assert_eq!(headers["tracestate"], "vendor=x");
    let mut meta = serde_json::Map::new();
    meta.insert("progressToken".into(), json!(1));
    inject(&remote(), &mut meta);
    assert_eq!(meta["traceparent"], "00-00000000000000000000000000000abc-0000000000000def-01");
    for context in [extract(&headers), extract(&meta)] {
        let span = context.span().span_context().clone();
        assert_eq!((span.trace_id(), span.span_id()), (TraceId::from(0xabc), SpanId::from(0xdef)));
        assert!(span.is_remote() && span.is_sampled());
        assert_eq!(span.trace_state().get("vendor"), Some("x"));
        assert_eq!(context.baggage().get("session.id").unwrap().as_str(), "s 1");
    }
}

/// Feature: L4
#[test]
fn nothing_is_written_without_a_context_and_garbage_is_no_parent() {
    let mut headers = HeaderMap::new();
    inject(&tracing::Span::none(), &mut headers);
    inject_with(Propagators::NONE, &remote(), &mut headers);
    assert!(headers.is_empty(), "{headers:?}");
    headers.insert("traceparent", "00-zz-1-01".parse().unwrap());
    let context = extract(&headers);
    assert!(!context.span().span_context().is_valid());
    set_remote_parent(&info_span!("root"), context).unwrap();
}

/// Behaviour: P28
#[test]
fn a_remote_parent_is_taken_before_the_span_starts_and_refused_clearly_after() {
    let (_guard, _provider, exporter) = traced();
    let span = info_span!("handle");
    set_remote_parent(&span, remote()).unwrap();
    span.in_scope(|| {});
    let error = set_remote_parent(&span, remote()).unwrap_err();
    assert!(
        error.is_install()
            && error.to_string().contains("\"handle\"")
            && error.to_string().contains("too late")
    );
    drop(span);
    let spans = exporter.0.lock().unwrap().clone();
    assert_eq!(spans[0].parent_span_id, SpanId::from(0xdef));
    assert_eq!(spans[0].span_context.trace_id(), TraceId::from(0xabc));
    assert!(spans[0].parent_span_is_remote);
}

/// Behaviour: P28
#[test]
fn a_remote_parent_without_an_opentelemetry_layer_is_refused_clearly() {
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry());
    let error = set_remote_parent(&info_span!("handle"), remote()).unwrap_err().to_string();
    assert!(error.contains("layer"), "{error}");
}

/// Behaviour: P7
#[tokio::test(flavor = "current_thread")]
async fn a_spawned_task_stays_in_the_trace_of_the_span_that_spawned_it() {
    let (_guard, _provider, exporter) = traced();
    let parent = info_span!("parent");
    async {
        spawn(async { info_span!("child").in_scope(|| {}) }).await.unwrap();
    }
    .instrument(parent)
    .await;
    let spans = exporter.0.lock().unwrap().clone();
    assert_eq!(spans.len(), 2);
    assert_eq!(spans[0].name, "child");
    assert_eq!(spans[0].parent_span_id, spans[1].span_context.span_id());
}

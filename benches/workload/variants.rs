//! What is compared: each a subscriber of its own, whose spans go nowhere in the end.
#![allow(missing_docs, unreachable_pub, dead_code)]

use std::time::Duration;

use agentvitals::opentelemetry::metrics::{Counter, Histogram, MeterProvider as _};
use agentvitals::opentelemetry::trace::TracerProvider as _;
use agentvitals::opentelemetry::{InstrumentationScope, KeyValue};
use agentvitals::opentelemetry_sdk::error::OTelSdkResult;
use agentvitals::opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};
use agentvitals::opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter,
};
use agentvitals::{BatchConfig, Config, ExporterKind, SamplerConfig, Telemetry};
use tracing::Dispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// Room for all spans of a round, so that no variant is quick because it drops spans.
const QUEUE: usize = 65_536;

/// Takes spans and does nothing.
#[derive(Debug, Clone, Copy)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

/// A subscriber to measure.
pub struct Variant {
    pub name: &'static str,
    pub dispatch: Dispatch,
    /// Empties the queues between rounds.
    flush: Box<dyn Fn()>,
    _keep: Box<dyn std::any::Any>,
}

impl std::fmt::Debug for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Variant {
    fn new(
        name: &'static str,
        dispatch: Dispatch,
        flush: impl Fn() + 'static,
        keep: impl std::any::Any,
    ) -> Self {
        Self { name, dispatch, flush: Box::new(flush), _keep: Box::new(keep) }
    }

    pub fn flush(&self) {
        (self.flush)();
    }
}

/// All variants, by the names that [`by_name`] takes.
pub const NAMES: &[&str] = &[
    "none",
    "registry",
    "otel",
    "otel+naive",
    "agent_layer",
    "layer",
    "layer_sampled_out",
    "otel_sampled_out",
];

pub fn by_name(name: &'static str) -> Option<Variant> {
    Some(match name {
        "none" => Variant::new(name, Dispatch::none(), || {}, ()),
        "registry" => Variant::new(name, Dispatch::new(tracing_subscriber::registry()), || {}, ()),
        "otel" | "otel_sampled_out" => {
            let provider = bare(name == "otel_sampled_out");
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
            let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
            Variant::new(name, dispatch, flusher(&provider), provider)
        }
        "otel+naive" => {
            let provider = bare(false);
            let (meters, naive) = NaiveMetrics::new();
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
            let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer).with(naive));
            Variant::new(name, dispatch, flusher(&provider), (provider, meters))
        }
        "agent_layer" => {
            let vitals = ours(SamplerConfig::always_on());
            let dispatch = Dispatch::new(tracing_subscriber::registry().with(vitals.agent_layer()));
            measured(name, dispatch, vitals)
        }
        "layer" | "layer_sampled_out" => {
            let sampled_out = name == "layer_sampled_out";
            let vitals =
                ours(if sampled_out { SamplerConfig::always_off() } else { SamplerConfig::always_on() });
            let dispatch = Dispatch::new(tracing_subscriber::registry().with(vitals.layer()));
            measured(name, dispatch, vitals)
        }
        _ => return None,
    })
}

/// Telemetry as a user has it, but for the destination and the room for a whole round.
fn ours(sampler: SamplerConfig) -> Telemetry {
    let config = Config::default()
        .with_exporters(ExporterKind::None, ExporterKind::None)
        .with_sampler(sampler)
        .with_batch(BatchConfig::default().with_queue_spans(QUEUE).with_queue_bytes(1 << 30));
    match agentvitals::builder().config(config).span_exporter(Nowhere).build() {
        Ok(vitals) => vitals,
        Err(error) => panic!("{error}"),
    }
}

fn measured(name: &'static str, dispatch: Dispatch, vitals: Telemetry) -> Variant {
    let vitals = std::rc::Rc::new(vitals);
    let flushed = vitals.clone();
    // A flush that fails would leave spans in the queue, and the next round would be wrong.
    Variant::new(
        name,
        dispatch,
        move || assert!(flushed.flush_blocking(Duration::from_secs(10)).is_ok()),
        vitals,
    )
}

/// The stock pipeline, as most programs have it.
fn bare(sampled_out: bool) -> SdkTracerProvider {
    use agentvitals::opentelemetry_sdk::trace::Sampler;

    let batch = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
    let processor = BatchSpanProcessor::builder(Nowhere).with_batch_config(batch).build();
    let sampler = if sampled_out { Sampler::AlwaysOff } else { Sampler::AlwaysOn };
    SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(sampler)))
        .with_span_processor(processor)
        .build()
}

fn flusher(provider: &SdkTracerProvider) -> impl Fn() + 'static {
    let provider = provider.clone();
    move || assert!(provider.force_flush().is_ok())
}

/// The metrics layer that everybody writes first: it remembers fields and records with unbound instruments.
#[derive(Debug)]
struct NaiveMetrics {
    duration: Histogram<f64>,
    input: Histogram<u64>,
    output: Histogram<u64>,
    calls: Counter<u64>,
}

impl NaiveMetrics {
    fn new() -> (SdkMeterProvider, Self) {
        let meters = SdkMeterProvider::builder().with_reader(ManualReader::default()).build();
        let meter = meters.meter_with_scope(InstrumentationScope::builder("naive").build());
        let naive = Self {
            duration: meter.f64_histogram("duration").build(),
            input: meter.u64_histogram("input").build(),
            output: meter.u64_histogram("output").build(),
            calls: meter.u64_counter("calls").build(),
        };
        (meters, naive)
    }
}

#[derive(Debug, Default)]
struct Seen {
    operation: String,
    provider: String,
    model: String,
    agent: String,
    tool: String,
    input: u64,
    output: u64,
}

#[derive(Debug)]
struct Started {
    at: std::time::Instant,
    seen: Seen,
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "gen_ai.operation.name" => self.operation = value.to_owned(),
            "gen_ai.provider.name" => self.provider = value.to_owned(),
            "gen_ai.request.model" => self.model = value.to_owned(),
            "gen_ai.agent.name" => self.agent = value.to_owned(),
            "gen_ai.tool.name" => self.tool = value.to_owned(),
            _ => {}
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        match field.name() {
            "gen_ai.usage.input_tokens" => self.input = value.unsigned_abs(),
            "gen_ai.usage.output_tokens" => self.output = value.unsigned_abs(),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for NaiveMetrics {
    #[expect(clippy::disallowed_methods, reason = "this stands for somebody else's code")]
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut started = Started { at: std::time::Instant::now(), seen: Seen::default() };
        attributes.record(&mut started.seen);
        span.extensions_mut().insert(started);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(started) = span.extensions_mut().get_mut::<Started>() {
            values.record(&mut started.seen);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(started) = context.span(&id).and_then(|span| span.extensions_mut().remove::<Started>())
        else {
            return;
        };
        let seen = started.seen;
        let attributes = [
            KeyValue::new("gen_ai.operation.name", seen.operation),
            KeyValue::new("gen_ai.provider.name", seen.provider),
            KeyValue::new("gen_ai.request.model", seen.model),
            KeyValue::new("gen_ai.agent.name", seen.agent),
            KeyValue::new("gen_ai.tool.name", seen.tool),
        ];
        self.duration.record(started.at.elapsed().as_secs_f64(), &attributes);
        self.input.record(seen.input, &attributes);
        self.output.record(seen.output, &attributes);
        self.calls.add(1, &attributes);
    }
}

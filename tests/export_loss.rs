//! What is lost is counted, by reason, and never takes longer than it may.
#![cfg(feature = "otlp-grpc")]
#![expect(clippy::disallowed_methods, reason = "deadlines are checked against the real clock")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

mod export_support;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use agentvitals::export::{CostOf, CostOutcome, LossReason, Pipeline, PipelineParts, Report};
use agentvitals::{BatchConfig, Limits, Protocol};
use export_support::{Receiver, Reply, closed_port, config, end_spans, eventually, start};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{SpanBuilder, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SdkTracer, SpanData, SpanExporter};
use tokio::sync::Semaphore;
use tonic::Code;

const DEADLINE: Duration = Duration::from_secs(10);

fn batches_of(spans: usize) -> BatchConfig {
    BatchConfig::default().with_max_batch(spans).with_schedule_delay(Duration::from_secs(3600))
}

fn check_sum(report: &Report) {
    assert_eq!(report.spans_exported + report.lost(), report.spans_ended, "{report}");
}

/// Behaviour: P2, P4, P33
#[tokio::test(flavor = "current_thread")]
async fn shutdown_with_the_collector_down_ends_in_time_and_reports_every_span_as_lost() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let config = config(&closed_port()).with_protocol(protocol).with_batch(batches_of(100));
        let (pipeline, _provider, tracer) = start(&config, PipelineParts::new());
        end_spans(&tracer, 250);
        let begin = Instant::now();
        let report = pipeline.shutdown(Duration::from_secs(1)).await.unwrap();
        assert!(begin.elapsed() < Duration::from_millis(1400), "{:?}", begin.elapsed());
        assert_eq!((report.spans_exported, report.lost()), (0, 250), "{report}");
        assert_eq!(report.lost_for(LossReason::Shutdown), 250, "{report}");
        let error = report.last_error.unwrap();
        assert!(error.contains("refused"), "says why: {error}");
    }
}

/// Behaviour: P2
#[test]
fn a_collector_that_accepts_and_never_answers_does_not_hang_flush_or_shutdown() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let (pipeline, _provider, tracer) =
            start(&config(&url).with_protocol(protocol), PipelineParts::new());
        end_spans(&tracer, 5);
        let begin = Instant::now();
        let error = pipeline.flush_blocking(Duration::from_millis(300)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
        let report = pipeline.shutdown_blocking(Duration::from_millis(300)).unwrap();
        assert!(begin.elapsed() < Duration::from_millis(1000), "{:?}", begin.elapsed());
        assert_eq!((report.spans_exported, report.lost_for(LossReason::Shutdown)), (0, 5), "{report}");
    }
}

/// Behaviour: P2
#[test]
fn a_receiver_that_hangs_on_one_request_loses_that_one_to_the_export_timeout_only() {
    let receiver = Receiver::scripted([Reply::Hang]);
    let batch = batches_of(4).with_export_timeout(Duration::from_millis(200));
    let (pipeline, _provider, tracer) = start(&config(&receiver.url).with_batch(batch), PipelineParts::new());
    end_spans(&tracer, 6);
    let report = pipeline.flush_blocking(DEADLINE).unwrap();
    assert_eq!((report.spans_exported, report.lost_for(LossReason::ExportFailed)), (2, 4), "{report}");
}

/// Behaviour: P2
#[test]
fn a_flush_that_runs_out_of_time_keeps_its_spans_for_later() {
    let receiver = Receiver::scripted([Reply::RetryAfter(600)]);
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    end_spans(&tracer, 5);
    assert!(pipeline.flush_blocking(Duration::from_millis(100)).unwrap_err().is_timeout());
    assert_eq!(pipeline.shutdown_blocking(DEADLINE).unwrap().spans_exported, 5);
}

/// Behaviour: P2
#[test]
fn a_permanent_refusal_is_not_retried() {
    let receiver = Receiver::scripted([Reply::Refuse(Code::Unauthenticated, "no key")]);
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    end_spans(&tracer, 5);
    let report = pipeline.flush_blocking(DEADLINE).unwrap();
    assert_eq!(report.lost_for(LossReason::ExportFailed), 5);
    assert!(report.last_error.unwrap().contains("no key"));
    receiver.inbox(|inbox| assert_eq!(inbox.attempts, 1));
}

/// An exporter that waits for permission before each batch and counts what it gets.
#[derive(Debug, Clone)]
struct Gate {
    permits: Arc<Semaphore>,
    /// Batches that have come to it.
    come: Arc<AtomicUsize>,
    spans: Arc<std::sync::Mutex<Vec<SpanData>>>,
}

impl Gate {
    fn closed() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), come: Arc::default(), spans: Arc::default() }
    }

    fn names(&self) -> Vec<String> {
        self.spans.lock().unwrap().iter().map(|span| span.name.to_string()).collect()
    }
}

impl SpanExporter for Gate {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.come.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        self.spans.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// Behaviour: P4
#[test]
fn a_burst_into_a_full_queue_loses_and_counts_exactly_what_did_not_fit() {
    let gate = Gate::closed();
    let config = config("http://127.0.0.1:1").with_batch(batches_of(64).with_queue_spans(256));
    let (pipeline, _provider, tracer) = start(&config, PipelineParts::new().with_span_exporter(gate.clone()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| end_spans(&tracer, 5000));
        }
    });
    gate.permits.add_permits(1000);
    let report = pipeline.shutdown_blocking(DEADLINE).unwrap();
    assert_eq!(report.spans_ended, 20_000);
    check_sum(&report);
    assert_eq!(report.spans_exported as usize, gate.spans.lock().unwrap().len());
    // At most one batch is in the exporter's hands while the queue is full of others.
    assert!((256..=256 + 64).contains(&report.spans_exported), "{report}");
    assert_eq!(report.lost(), report.lost_for(LossReason::QueueFull));
}

/// Behaviour: P4
#[test]
fn the_queue_is_bounded_by_bytes_as_well() {
    let gate = Gate::closed();
    let config = config("http://127.0.0.1:1").with_batch(batches_of(512).with_queue_bytes(1 << 20));
    let (pipeline, _provider, tracer) = start(&config, PipelineParts::new().with_span_exporter(gate.clone()));
    for _ in 0..100 {
        let builder =
            SpanBuilder::from_name("big").with_attributes([KeyValue::new("text", "x".repeat(50_000))]);
        drop(tracer.build(builder));
    }
    gate.permits.add_permits(1000);
    let report = pipeline.shutdown_blocking(DEADLINE).unwrap();
    check_sum(&report);
    // 1 MiB in the queue, and up to half of it in the exporter's hands.
    assert!((15..=35).contains(&report.spans_exported), "{report}");
}

fn child_of(tracer: &SdkTracer, parent: &Context, name: &'static str, status: Status) {
    let span = tracer.build_with_context(SpanBuilder::from_name(name), parent);
    let context = Context::new().with_span(span);
    context.span().set_status(status);
    context.span().end();
}

/// Behaviour: P4
#[test]
fn a_full_queue_gives_up_ordinary_spans_for_errors_and_roots_and_never_the_other_way_round() {
    let gate = Gate::closed();
    let config = config("http://127.0.0.1:1").with_batch(batches_of(10).with_queue_spans(10));
    let (pipeline, _provider, tracer) = start(&config, PipelineParts::new().with_span_exporter(gate.clone()));
    let root = Context::new().with_span(tracer.build(SpanBuilder::from_name("root")));
    // The first batch goes to the exporter, which waits.
    for _ in 0..10 {
        child_of(&tracer, &root, "first", Status::Unset);
    }
    eventually("the first batch is taken", || gate.come.load(Ordering::SeqCst) == 1);
    // From here on the exporter takes nothing, so the queue fills up.
    for _ in 0..10 {
        child_of(&tracer, &root, "ordinary", Status::Unset);
    }
    assert_eq!(pipeline.stats().spans_lost_total(), 0);
    child_of(&tracer, &root, "ordinary", Status::Unset);
    let lost = pipeline.stats().spans_lost(LossReason::QueueFull);
    assert_eq!(lost, 1);
    for _ in 0..3 {
        child_of(&tracer, &root, "failed", Status::error("no"));
    }
    root.span().end();
    child_of(&tracer, &root, "late", Status::Unset);
    assert_eq!(pipeline.stats().spans_lost(LossReason::QueueFull), lost + 5);
    gate.permits.add_permits(1000);
    let report = pipeline.shutdown_blocking(DEADLINE).unwrap();
    check_sum(&report);
    let names = gate.names();
    let count = |name: &str| names.iter().filter(|other| *other == name).count();
    assert_eq!((count("failed"), count("root"), count("late")), (3, 1, 0), "{names:?}");
}

/// Behaviour: P4, P6
#[test]
fn a_span_that_ends_after_the_shutdown_is_counted_as_lost_by_it() {
    let receiver = Receiver::start();
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    end_spans(&tracer, 2);
    pipeline.shutdown_blocking(DEADLINE).unwrap();
    end_spans(&tracer, 3);
    let report = pipeline.shutdown_blocking(DEADLINE).unwrap();
    assert_eq!((report.spans_exported, report.lost_for(LossReason::Shutdown)), (2, 3), "{report}");
    check_sum(&report);
}

/// Behaviour: P2, P4
#[test]
fn no_span_goes_uncounted_when_threads_end_spans_while_the_pipeline_shuts_down() {
    for _ in 0..8 {
        let receiver = Receiver::start();
        let (pipeline, _provider, tracer) = start(
            &config(&receiver.url).with_batch(batches_of(16).with_queue_spans(64)),
            PipelineParts::new(),
        );
        let stats = pipeline.stats();
        let ended = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    // Until well after the queue was closed, so that spans end before, during and after the shutdown.
                    while stats.spans_lost(LossReason::Shutdown) < 10 {
                        end_spans(&tracer, 4);
                        ended.fetch_add(4, Ordering::Relaxed);
                        // A pause, since threads that never rest keep the exporter and the receiver from two cores: each
                        // of the round trips then takes many turns of the scheduler.
                        std::thread::park_timeout(Duration::from_micros(20));
                    }
                });
            }
            eventually("some batches", || stats.spans_exported() > 50);
            pipeline.shutdown_blocking(DEADLINE).unwrap();
        });
        let report = stats.report();
        check_sum(&report);
        assert_eq!(report.spans_ended as usize, ended.into_inner());
        assert_eq!(receiver.spans().len() as u64, report.spans_exported);
        assert!(report.spans_exported > 50 && report.lost_for(LossReason::Shutdown) >= 10, "{report}");
    }
}

#[derive(Debug)]
struct PanicOnce(AtomicUsize);

impl CostOf for PanicOnce {
    fn cost(&self, _span: &SpanData) -> CostOutcome {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) > 0, "the price table is broken");
        CostOutcome::NoUsage
    }
}

/// Behaviour: P3, P4, P33
#[test]
fn a_panic_on_the_exporters_thread_loses_its_batch_only_and_is_counted() {
    let receiver = Receiver::start();
    let parts = PipelineParts::new().with_cost(Arc::new(PanicOnce(AtomicUsize::new(0))));
    let (pipeline, _provider, tracer) = start(&config(&receiver.url).with_batch(batches_of(4)), parts);
    for _ in 0..4 {
        let builder =
            SpanBuilder::from_name("call").with_attributes([KeyValue::new("gen_ai.operation.name", "chat")]);
        drop(tracer.build(builder));
    }
    eventually("the panic", || pipeline.stats().worker_panics() == 1);
    eventually("the loss", || pipeline.stats().spans_lost(LossReason::WorkerPanic) == 4);
    assert!(!pipeline.stats().up(), "down until it has worked again");
    assert!(pipeline.stats().last_error().unwrap().contains("the price table is broken"));
    end_spans(&tracer, 5);
    let report = pipeline.flush_blocking(DEADLINE).unwrap();
    assert!(pipeline.stats().up());
    assert_eq!((report.spans_exported, report.lost_for(LossReason::WorkerPanic)), (5, 4), "{report}");
    check_sum(&report);
}

/// Behaviour: P3
#[test]
fn an_exporter_that_panics_or_fails_does_not_take_the_pipeline_with_it() {
    #[derive(Debug, Default)]
    struct Broken(AtomicUsize);
    impl SpanExporter for Broken {
        async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("no reactor running"),
                1 => Err(OTelSdkError::InternalFailure("not today".into())),
                _ => Ok(()),
            }
        }
    }
    let config = config("http://127.0.0.1:1").with_batch(batches_of(10));
    let (pipeline, _provider, tracer) =
        start(&config, PipelineParts::new().with_span_exporter(Broken::default()));
    end_spans(&tracer, 30);
    let report = pipeline.flush_blocking(DEADLINE).unwrap();
    let lost = (report.lost_for(LossReason::WorkerPanic), report.lost_for(LossReason::ExportFailed));
    assert_eq!((lost, report.spans_exported), ((10, 10), 10), "{report}");
}

/// Behaviour: P2, P3
#[test]
fn an_observer_that_always_panics_hangs_neither_flush_nor_shutdown() {
    let receiver = Receiver::start();
    let parts = PipelineParts::new().with_observer(Arc::new(|_| panic!("observer")));
    let config = config(&receiver.url);
    let pipeline = Pipeline::start(&config, Resource::builder_empty().build(), parts).unwrap();
    let meters = SdkMeterProvider::builder().with_reader(pipeline.reader()).build();
    meters.meter("test").u64_counter("calls").build().add(1, &[]);
    let begin = Instant::now();
    assert!(pipeline.flush_blocking(DEADLINE).unwrap_err().is_export());
    let report = pipeline.shutdown_blocking(DEADLINE).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!((report.worker_panics, report.metric_export_failures), (2, 2), "{report}");
}

/// Behaviour: P2
#[test]
fn a_hook_that_blocks_for_ever_cannot_hang_the_caller() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let parts = PipelineParts::new().with_redactor(Arc::new(move |_, _| {
        let _ = blocked.lock().unwrap().recv();
        None
    }));
    let receiver = Receiver::start();
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), parts);
    end_spans(&tracer, 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let begin = Instant::now();
    let error = runtime.block_on(pipeline.flush(Duration::from_millis(100))).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    drop(release);
}

/// Behaviour: P20
#[test]
fn big_values_are_cut_and_big_batches_are_split_below_the_limit_of_the_receiver() {
    const MAX: usize = 1 << 20;
    let receiver = Receiver::start();
    let config = config(&receiver.url)
        .with_batch(BatchConfig::default().with_max_request_bytes(MAX))
        .with_limits(Limits::default().with_value_bytes(32 << 10));
    let (pipeline, _provider, tracer) = start(&config, PipelineParts::new());
    for _ in 0..200 {
        let builder =
            SpanBuilder::from_name("big").with_attributes([KeyValue::new("text", "é".repeat(50_000))]);
        drop(tracer.build(builder));
    }
    let report = pipeline.flush_blocking(DEADLINE).unwrap();
    assert_eq!((report.spans_exported, report.lost(), report.values_truncated), (200, 0, 200), "{report}");
    receiver.inbox(|inbox| {
        let sizes = inbox.sizes();
        assert!(sizes.iter().all(|size| *size <= MAX), "{sizes:?}");
        assert!(
            sizes.len() >= 7 && sizes[..6].iter().all(|size| *size > MAX * 9 / 10),
            "well filled: {sizes:?}"
        );
        let text = format!("{:?}", inbox.spans()[0].attributes);
        assert!(text.contains("é…[truncated ") && text.contains(" bytes]"));
    });
}

/// Behaviour: P20
#[test]
fn a_span_too_large_for_any_request_is_cut_harder_and_only_then_lost() {
    let receiver = Receiver::start();
    let config = config(&receiver.url).with_batch(BatchConfig::default().with_max_request_bytes(64 << 10));
    let (pipeline, _provider, tracer) = start(&config, PipelineParts::new());
    let with = |count: usize, length: usize| {
        let attributes = (0..count).map(|i| KeyValue::new(format!("a.{i}"), "x".repeat(length)));
        drop(tracer.build(SpanBuilder::from_name("large").with_attributes(attributes)));
    };
    with(20, 60_000);
    let numbers: Vec<i64> = (0..20_000).map(|n| n << 40).collect();
    let array = opentelemetry::Value::Array(numbers.into());
    drop(tracer.build(SpanBuilder::from_name("hopeless").with_attributes([KeyValue::new("numbers", array)])));
    with(1, 10);
    let report = pipeline.flush_blocking(DEADLINE).unwrap();
    assert_eq!((report.spans_exported, report.lost_for(LossReason::TooLarge)), (2, 1), "{report}");
    assert!(receiver.inbox(|inbox| inbox.sizes().iter().all(|size| *size <= 64 << 10)));
}

/// Behaviour: P20
#[test]
fn a_receiver_with_a_smaller_limit_gets_halves_until_they_fit() {
    let refuse = Reply::Refuse(Code::ResourceExhausted, "grpc: received message larger than max (9 vs. 4)");
    let receiver = Receiver::scripted([refuse.clone(), Reply::Take, refuse]);
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    end_spans(&tracer, 9);
    let report = pipeline.flush_blocking(DEADLINE).unwrap();
    assert_eq!((report.spans_exported, report.lost()), (9, 0), "{report}");
    let names: std::collections::BTreeSet<String> =
        receiver.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names.len(), 9, "each span once");
    receiver.inbox(|inbox| assert_eq!((inbox.attempts, inbox.requests.len()), (5, 3)));
}

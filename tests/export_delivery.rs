//! Spans and metrics arrive: over real sockets, on every kind of runtime, through errors that pass.
#![cfg(all(feature = "otlp-grpc", feature = "otlp-http"))]
#![expect(clippy::disallowed_methods, reason = "deadlines are checked against the real clock")]

mod export_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agentvitals::export::{LossReason, Pipeline, PipelineParts};
use agentvitals::{BatchConfig, Compression, ExporterKind, Protocol};
use export_support::{Receiver, Reply, config, end_spans, start};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tonic::Code;

const DEADLINE: Duration = Duration::from_secs(10);

/// Behaviour: P2
#[tokio::test(flavor = "current_thread")]
async fn shutdown_on_a_current_thread_runtime_delivers_every_span() {
    let receiver = Receiver::start();
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    end_spans(&tracer, 10);
    let begin = Instant::now();
    let report = pipeline.shutdown(DEADLINE).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(receiver.spans().len(), 10);
    assert_eq!((report.spans_ended, report.spans_exported, report.lost()), (10, 10, 0));
    assert!(report.is_complete(), "{report}");
    let again = pipeline.shutdown(DEADLINE).await.unwrap();
    assert_eq!(again, report, "a second shutdown reports the same");
}

/// Behaviour: P2
#[test]
fn flush_and_shutdown_work_without_any_runtime_and_polled_by_a_foreign_executor() {
    let receiver = Receiver::start();
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    end_spans(&tracer, 3);
    assert_eq!(pipeline.flush_blocking(DEADLINE).unwrap().spans_exported, 3);
    end_spans(&tracer, 2);
    let report = futures_util::FutureExt::now_or_never(pipeline.flush(DEADLINE));
    assert!(report.is_none_or(|report| report.is_ok()));
    receiver.wait("5 spans although nobody awaited the flush", |inbox| inbox.spans().len() == 5);
    assert_eq!(pipeline.shutdown_blocking(DEADLINE).unwrap().spans_exported, 5);
}

/// Behaviour: P2
#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_of_a_multi_thread_runtime_flush_at_once() {
    let receiver = Receiver::start();
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    let pipeline = Arc::new(pipeline);
    let tasks = (0..20).map(|_| {
        let (pipeline, tracer) = (Arc::clone(&pipeline), tracer.clone());
        tokio::spawn(async move {
            end_spans(&tracer, 100);
            pipeline.flush(DEADLINE).await.unwrap()
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap().lost(), 0);
    }
    assert_eq!(receiver.spans().len(), 2000);
}

/// Behaviour: P5
#[test]
fn a_span_that_ended_right_before_the_flush_is_delivered_by_it() {
    let receiver = Receiver::start();
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    for round in 1..=200 {
        end_spans(&tracer, 1);
        pipeline.flush_blocking(DEADLINE).unwrap();
        assert_eq!(receiver.spans().len(), round, "the flush came back before its span had arrived");
    }
}

/// Behaviour: P2
#[test]
fn a_full_batch_and_the_schedule_delay_send_without_a_flush() {
    let receiver = Receiver::start();
    let batch = BatchConfig::default().with_max_batch(8).with_schedule_delay(Duration::from_secs(3600));
    let (_pipeline, _provider, tracer) =
        start(&config(&receiver.url).with_batch(batch), PipelineParts::new());
    end_spans(&tracer, 17);
    receiver.wait("two full batches", |inbox| inbox.spans().len() == 16);
    let batch = BatchConfig::default().with_schedule_delay(Duration::from_millis(50));
    let (_pipeline, _provider, tracer) =
        start(&config(&receiver.url).with_batch(batch), PipelineParts::new());
    end_spans(&tracer, 1);
    receiver.wait("a span after the schedule delay", |inbox| inbox.spans().len() == 17);
}

/// Behaviour: P6
#[test]
fn dropping_the_pipeline_delivers_what_it_has() {
    let receiver = Receiver::start();
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    end_spans(&tracer, 7);
    drop(pipeline);
    assert_eq!(receiver.spans().len(), 7);
}

/// Behaviour: P6
#[test]
fn a_panic_that_unwinds_through_the_guard_delivers_what_ended_before() {
    let receiver = Receiver::start();
    let url = receiver.url.clone();
    let thread = std::thread::spawn(move || {
        let (_pipeline, _provider, tracer) = start(&config(&url), PipelineParts::new());
        end_spans(&tracer, 4);
        panic!("the program fails");
    });
    assert!(thread.join().is_err());
    assert_eq!(receiver.spans().len(), 4);
}

/// Behaviour: P2
#[test]
fn errors_that_pass_are_retried_until_the_spans_are_taken_once() {
    let script = [Reply::Refuse(Code::Unavailable, "starting"), Reply::RetryAfter(10)];
    let receiver = Receiver::scripted(script);
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    end_spans(&tracer, 5);
    let report = pipeline.flush_blocking(DEADLINE).unwrap();
    assert_eq!((report.spans_exported, report.lost()), (5, 0), "{report}");
    receiver.inbox(|inbox| assert_eq!((inbox.attempts, inbox.spans().len()), (3, 5)));
}

/// Behaviour: P2
#[test]
fn the_receiver_sees_the_delay_that_it_asked_for() {
    let receiver = Receiver::scripted([Reply::RetryAfter(700)]);
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    end_spans(&tracer, 1);
    let begin = Instant::now();
    pipeline.flush_blocking(DEADLINE).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(700), "{:?}", begin.elapsed());
}

/// Behaviour: P2
#[test]
fn http_retries_what_the_specification_calls_retryable_and_nothing_else() {
    let receiver = Receiver::scripted([Reply::Http(503, Some("0")), Reply::Http(429, None), Reply::Take]);
    let config = config(&receiver.url).with_protocol(Protocol::HttpProtobuf);
    let (pipeline, _provider, tracer) = start(&config, PipelineParts::new());
    end_spans(&tracer, 3);
    assert_eq!(pipeline.flush_blocking(DEADLINE).unwrap().spans_exported, 3);
    drop(pipeline);

    let receiver = Receiver::scripted([Reply::Http(400, None)]);
    let config = export_support::config(&receiver.url).with_protocol(Protocol::HttpProtobuf);
    let (pipeline, _provider, tracer) = start(&config, PipelineParts::new());
    end_spans(&tracer, 3);
    let report = pipeline.flush_blocking(DEADLINE).unwrap();
    assert_eq!(report.lost_for(LossReason::ExportFailed), 3);
    assert!(report.last_error.unwrap().contains("400"));
    receiver.inbox(|inbox| assert_eq!(inbox.attempts, 1));
}

/// Behaviour: P2
#[test]
fn spans_that_the_receiver_rejects_are_lost_and_not_called_exported() {
    let receiver = Receiver::scripted([Reply::Partial(2)]);
    let (pipeline, _provider, tracer) = start(&config(&receiver.url), PipelineParts::new());
    end_spans(&tracer, 5);
    let report = pipeline.flush_blocking(DEADLINE).unwrap();
    assert_eq!((report.spans_exported, report.lost_for(LossReason::Rejected)), (3, 2));
    assert!(report.last_error.unwrap().contains("bad spans"));
}

/// Feature: K9
#[test]
fn headers_and_gzip_reach_the_receiver_over_both_protocols() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let receiver = Receiver::start();
        let mut config = config(&receiver.url)
            .with_protocol(protocol)
            .with_header("x-api-key", "secret")
            .with_header("a", "b");
        config.otlp.compression = Some(Compression::Gzip);
        assert!(!format!("{config:?}").contains("secret"), "Debug shows a secret");
        let (pipeline, _provider, tracer) = start(&config, PipelineParts::new());
        end_spans(&tracer, 50);
        pipeline.shutdown_blocking(DEADLINE).unwrap();
        receiver.inbox(|inbox| {
            assert_eq!(inbox.spans().len(), 50);
            let (request, headers) = &inbox.requests[0];
            assert_eq!(headers["x-api-key"], "secret");
            assert_eq!(headers["a"], "b");
            let encoding = if protocol == Protocol::Grpc { "grpc-encoding" } else { "content-encoding" };
            assert_eq!(headers[encoding], "gzip");
            let resource = request.resource_spans[0].resource.as_ref().unwrap();
            assert!(resource.attributes.iter().any(|a| a.key == "service.name"));
        });
    }
}

/// Behaviour: P2
#[test]
fn flush_and_shutdown_export_metrics_too_and_observers_see_the_same_collection() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let receiver = Receiver::start();
        let seen = Arc::new(AtomicU64::new(0));
        let before = Arc::new(AtomicU64::new(0));
        let (observed, prepared) = (Arc::clone(&seen), Arc::clone(&before));
        let parts = PipelineParts::new()
            .with_before_collect(Arc::new(move || {
                prepared.fetch_add(1, Ordering::SeqCst);
            }))
            .with_observer(Arc::new(move |metrics| {
                let count = metrics.scope_metrics().flat_map(|scope| scope.metrics()).count();
                observed.fetch_add(count as u64, Ordering::SeqCst);
            }));
        let config = config(&receiver.url)
            .with_protocol(protocol)
            .with_exporters(ExporterKind::None, ExporterKind::Otlp);
        let pipeline = Pipeline::start(&config, Resource::builder_empty().build(), parts).unwrap();
        let meters = SdkMeterProvider::builder().with_reader(pipeline.reader()).build();
        let counter = meters.meter("test").u64_counter("calls").build();
        counter.add(3, &[]);
        assert_eq!(pipeline.flush_blocking(DEADLINE).unwrap().metric_exports, 1);
        counter.add(4, &[]);
        let report = pipeline.shutdown_blocking(DEADLINE).unwrap();
        assert_eq!((report.metric_exports, report.metric_export_failures), (2, 0), "{report}");
        assert_eq!((seen.load(Ordering::SeqCst), before.load(Ordering::SeqCst)), (2, 2));
        receiver.inbox(|inbox| {
            let last = format!("{:?}", inbox.metrics[1]);
            assert!(last.contains("AsInt(7)"), "{last}");
        });
    }
}

/// Behaviour: P33
#[test]
fn metrics_are_exported_at_every_interval_and_the_pipeline_says_that_it_is_up() {
    let receiver = Receiver::start();
    let config = config(&receiver.url)
        .with_exporters(ExporterKind::Otlp, ExporterKind::Otlp)
        .with_metric_interval(Duration::from_millis(20));
    let pipeline = Pipeline::start(&config, Resource::builder_empty().build(), PipelineParts::new()).unwrap();
    let meters = SdkMeterProvider::builder().with_reader(pipeline.reader()).build();
    meters.meter("test").u64_counter("calls").build().add(1, &[]);
    receiver.wait("three exports", |inbox| inbox.metrics.len() >= 3);
    assert!(pipeline.stats().up());
    pipeline.shutdown_blocking(DEADLINE).unwrap();
    assert!(!pipeline.stats().up());
}

/// Feature: K8
#[test]
fn the_console_exporter_writes_one_json_document_a_line() {
    #[derive(Clone, Default)]
    struct Buffer(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let buffer = Buffer::default();
    let config = config("http://127.0.0.1:1").with_exporters(ExporterKind::Console, ExporterKind::Console);
    let (pipeline, _provider, tracer) = start(&config, PipelineParts::new().with_console(buffer.clone()));
    let meters = SdkMeterProvider::builder().with_reader(pipeline.reader()).build();
    meters.meter("test").f64_histogram("seconds").with_unit("s").build().record(0.5, &[]);
    end_spans(&tracer, 2);
    let report = pipeline.shutdown_blocking(DEADLINE).unwrap();
    assert_eq!((report.spans_exported, report.metric_exports), (2, 1), "{report}");
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["span"], "span 0");
    assert_eq!(lines[1]["kind"], "INTERNAL");
    assert_eq!((&lines[2]["metric"], &lines[2]["points"][0]["sum"]), (&"seconds".into(), &0.5.into()));
}

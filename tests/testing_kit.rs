//! The testing kit's receiver: what it takes from real OTLP clients, what it refuses, what it keeps.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::borrow::Cow;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use agentvitals::testing::{
    Capture, Fault, MetricCapture, OtlpReceiver, PointKind, ReceivedSpan, Signal, assert_span,
};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{
    Compression, Protocol, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, SdkMeterProvider, Stream};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};

const DEADLINE: Duration = Duration::from_secs(20);

fn span_data(name: &'static str, span_id: u64, attributes: Vec<KeyValue>) -> SpanData {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let mut events = SpanEvents::default();
    events.events.push(Event::new("retried", start, vec![KeyValue::new("attempt", 2)], 0));
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(7),
            SpanId::from(span_id),
            TraceFlags::SAMPLED,
            false,
            TraceState::from_key_value([("ot", "th:8")]).unwrap(),
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Client,
        name: Cow::Borrowed(name),
        start_time: start,
        end_time: start + Duration::from_millis(1_500),
        attributes,
        dropped_attributes_count: 3,
        events,
        links: SpanLinks::default(),
        status: Status::error("quota exceeded"),
        instrumentation_scope: InstrumentationScope::builder("agent").build(),
    }
}

fn chat_span() -> SpanData {
    span_data(
        "chat gpt-4o",
        1,
        vec![
            KeyValue::new("gen_ai.usage.input_tokens", 1_200),
            KeyValue::new("ratio", 0.5),
            KeyValue::new("stream", true),
            KeyValue::new(
                "gen_ai.response.finish_reasons",
                opentelemetry::Value::Array(vec![opentelemetry::StringValue::from("stop")].into()),
            ),
        ],
    )
}

fn grpc_exporter(receiver: &OtlpReceiver) -> opentelemetry_otlp::SpanExporter {
    opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(receiver.endpoint())
        .with_timeout(DEADLINE)
        .with_compression(Compression::Gzip)
        .build()
        .unwrap()
}

fn http_exporter(receiver: &OtlpReceiver) -> opentelemetry_otlp::SpanExporter {
    opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", receiver.endpoint()))
        .with_timeout(DEADLINE)
        .with_compression(Compression::Gzip)
        .build()
        .unwrap()
}

fn check_chat(receiver: &OtlpReceiver) {
    let spans = receiver.spans();
    let chat = assert_span!(
        spans,
        "chat gpt-4o",
        "gen_ai.usage.input_tokens" => 1_200,
        "ratio" => 0.5,
        "stream" => true,
        "gen_ai.response.finish_reasons" => vec!["stop"],
    );
    assert_eq!((chat.kind.as_str(), chat.status_code.as_str()), ("client", "error"));
    assert_eq!(chat.status_message, "quota exceeded");
    assert_eq!(chat.trace_id, "00000000000000000000000000000007");
    assert_eq!(chat.span_id, "0000000000000001");
    assert!(chat.is_root());
    assert_eq!(chat.duration(), Duration::from_millis(1_500));
    assert_eq!(chat.start_unix_nano, 1_000_000_000_000);
    assert_eq!(chat.event("retried").unwrap().attributes["attempt"], 2);
    assert_eq!(chat.trace_state, "ot=th:8");
    assert_eq!(chat.flags & 0xff, 1);
    assert_eq!(chat.dropped_attributes, 3);
    assert_eq!(chat.scope_name, "agent");
    assert_eq!(chat.resource["service.name"], "support-bot");
}

/// Feature: N2
#[tokio::test]
async fn spans_arrive_over_grpc_with_gzip() {
    let receiver = OtlpReceiver::start().unwrap();
    let mut exporter = grpc_exporter(&receiver);
    exporter.set_resource(&Resource::builder_empty().with_service_name("support-bot").build());
    exporter.export(vec![chat_span()]).await.unwrap();
    check_chat(&receiver);
    receiver.with(|received| {
        assert_eq!((received.requests(), received.trace_requests(), received.gzip_requests()), (1, 1, 1));
        assert!(received.largest_request_bytes() > 100);
        assert_eq!(received.failed_requests(), 0);
    });
}

/// Feature: N2
#[tokio::test]
async fn spans_arrive_over_http_with_gzip_on_the_same_port() {
    let receiver = OtlpReceiver::start().unwrap();
    let mut exporter = http_exporter(&receiver);
    exporter.set_resource(&Resource::builder_empty().with_service_name("support-bot").build());
    exporter.export(vec![chat_span()]).await.unwrap();
    check_chat(&receiver);
    receiver.with(|received| {
        assert_eq!((received.requests(), received.gzip_requests()), (1, 1));
        assert_eq!(received.last_headers()["content-encoding"], "gzip");
    });
}

/// Feature: N2
#[tokio::test]
async fn the_wire_and_the_capture_give_the_same_span() {
    let receiver = OtlpReceiver::start().unwrap();
    grpc_exporter(&receiver).export(vec![chat_span()]).await.unwrap();
    let capture = Capture::new();
    capture.export(vec![chat_span()]).await.unwrap();
    let [mut received] = <[ReceivedSpan; 1]>::try_from(receiver.spans()).unwrap();
    // The exporter adds the SDK's default resource where none was set.
    received.resource = capture.spans()[0].resource.clone();
    assert_eq!(capture.spans(), vec![received]);
}

fn meters(reader: impl opentelemetry_sdk::metrics::exporter::PushMetricExporter) -> SdkMeterProvider {
    let exponential = |instrument: &Instrument| {
        (instrument.name() == "sizes").then(|| {
            let aggregation =
                Aggregation::Base2ExponentialHistogram { max_size: 160, max_scale: 20, record_min_max: true };
            Stream::builder().with_aggregation(aggregation).build().unwrap()
        })
    };
    SdkMeterProvider::builder()
        .with_periodic_exporter(reader)
        .with_resource(Resource::builder_empty().with_service_name("support-bot").build())
        .with_view(exponential)
        .build()
}

fn record(provider: &SdkMeterProvider) {
    let meter = provider.meter("agent");
    let calls = meter.u64_counter("calls").with_unit("{call}").with_description("Calls made").build();
    calls.add(2, &[KeyValue::new("gen_ai.request.model", "gpt-4o")]);
    calls.add(1, &[KeyValue::new("gen_ai.request.model", "gpt-4.1")]);
    meter.i64_up_down_counter("active").build().add(-1, &[]);
    meter.f64_gauge("level").build().record(0.25, &[]);
    let durations = meter.f64_histogram("durations").with_boundaries(vec![1.0, 2.0]).build();
    durations.record(0.5, &[]);
    durations.record(5.0, &[]);
    meter.u64_histogram("sizes").build().record(1_000, &[]);
}

/// Feature: N2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_of_every_kind_arrive_and_equal_the_captured_ones() {
    let receiver = OtlpReceiver::start().unwrap();
    let exporter = opentelemetry_otlp::MetricExporter::builder()
        .with_tonic()
        .with_endpoint(receiver.endpoint())
        .with_timeout(DEADLINE)
        .build()
        .unwrap();
    let capture = MetricCapture::new();
    for provider in [meters(exporter), meters(capture.clone())] {
        record(&provider);
        provider.force_flush().unwrap();
        record(&provider);
        provider.force_flush().unwrap();
    }
    // Newest only: the second collection replaced the first.
    let calls = receiver.metric("calls");
    let of_4o = calls.iter().find(|point| point.str("gen_ai.request.model") == Some("gpt-4o")).unwrap();
    assert_eq!((calls.len(), of_4o.int_value(), of_4o.value()), (2, Some(4), Some(4.0)));
    assert_eq!((of_4o.unit.as_str(), of_4o.description.as_str()), ("{call}", "Calls made"));
    assert_eq!(
        (of_4o.temporality.as_str(), &of_4o.resource["service.name"]),
        ("cumulative", &"support-bot".into())
    );
    assert!(matches!(of_4o.kind, PointKind::Sum { monotonic: true, .. }));
    assert!(matches!(
        receiver.metric("active")[0].kind,
        PointKind::Sum { monotonic: false, integer: Some(-2), .. }
    ));
    assert_eq!(receiver.metric("level")[0].value(), Some(0.25));
    let durations = &receiver.metric("durations")[0];
    assert_eq!((durations.count(), durations.sum()), (Some(4), Some(11.0)));
    let PointKind::Histogram { ref bounds, ref bucket_counts, min, max, .. } = durations.kind else {
        panic!("{durations:?}")
    };
    assert_eq!((bounds, bucket_counts), (&vec![1.0, 2.0], &vec![2, 0, 2]));
    assert_eq!((min, max), (Some(0.5), Some(5.0)));
    let sizes = &receiver.metric("sizes")[0];
    let PointKind::ExponentialHistogram { count, ref positive_counts, zero_count, .. } = sizes.kind else {
        panic!("{sizes:?}")
    };
    assert_eq!((count, positive_counts, zero_count), (2, &vec![2], 0));
    assert!(receiver.metric("never recorded").is_empty());

    let without_times = |points: Vec<agentvitals::testing::ReceivedPoint>| {
        let mut json = serde_json::to_value(points).unwrap();
        for point in json.as_array_mut().unwrap() {
            point.as_object_mut().unwrap().retain(|key, _| !key.ends_with("_unix_nano"));
        }
        json
    };
    assert_eq!(without_times(receiver.metrics()), without_times(capture.metrics()));
}

/// Feature: N2
#[tokio::test]
async fn metrics_arrive_over_http() {
    let receiver = OtlpReceiver::start().unwrap();
    let body = prost::Message::encode_to_vec(&one_counter());
    let (status, _) = post(&receiver, "/v1/metrics", "application/x-protobuf", "", &body);
    assert_eq!(status, 200);
    assert_eq!(receiver.metric("calls")[0].int_value(), Some(5));
    assert_eq!(receiver.with(|received| received.metric_requests()), 1);
}

fn one_counter() -> opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest {
    use opentelemetry_proto::tonic::metrics::v1::{
        Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
    };
    let point =
        NumberDataPoint { value: Some(number_data_point::Value::AsInt(5)), ..NumberDataPoint::default() };
    let sum = Sum { data_points: vec![point], aggregation_temporality: 2, is_monotonic: true };
    let metric = Metric { name: "calls".into(), data: Some(metric::Data::Sum(sum)), ..Metric::default() };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    let resource = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
    opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest {
        resource_metrics: vec![resource],
    }
}

/// Sends a request by hand, as no well-behaved client would, and returns the status and the body.
fn post(
    receiver: &OtlpReceiver,
    path: &str,
    content_type: &str,
    more_headers: &str,
    body: &[u8],
) -> (u16, String) {
    let mut stream = TcpStream::connect(receiver.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: {content_type}\r\n{more_headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[test]
fn malformed_http_requests_are_refused_with_a_reason_and_harm_no_other() {
    let receiver = OtlpReceiver::builder().max_message_bytes(1_000).start().unwrap();
    let protobuf = "application/x-protobuf";
    for (path, content_type, headers, body, status, reason) in [
        ("/v1/logs", protobuf, "", &b""[..], 404, "/v1/traces"),
        ("/v1/traces", "application/json", "", b"{}", 415, "application/x-protobuf"),
        ("/v1/traces", protobuf, "", b"\xff\xff", 400, "no OTLP message"),
        ("/v1/traces", protobuf, "Content-Encoding: gzip\r\n", b"no gzip", 400, "no gzip"),
        ("/v1/traces", protobuf, "Content-Encoding: br\r\n", b"", 415, "gzip or none"),
        ("/v1/traces", protobuf, "", &[0; 5_000], 413, "larger than 1000 bytes"),
        (
            "/v1/traces",
            protobuf,
            "Content-Encoding: gzip\r\n",
            &gzip(&[0; 5_000]),
            413,
            "larger than 1000 bytes",
        ),
    ] {
        let (actual, answer) = post(&receiver, path, content_type, headers, body);
        assert!(actual == status && answer.contains(reason), "{path} {headers}: {answer}");
    }
    assert!(receiver.spans().is_empty());
    assert_eq!(receiver.with(|received| received.failed_requests()), 6);
    let body = prost::Message::encode_to_vec(&one_counter());
    assert_eq!(post(&receiver, "/v1/metrics", "application/x-protobuf; q=1", "", &body).0, 200);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_over_grpc() {
    let receiver = OtlpReceiver::builder().max_message_bytes(10_000).start().unwrap();
    // Compresses to less than the limit: what counts is the message.
    let large = span_data("large", 1, vec![KeyValue::new("text", "x".repeat(100_000))]);
    let error = grpc_exporter(&receiver).export(vec![large]).await.unwrap_err().to_string();
    assert!(!error.is_empty());
    assert!(receiver.spans().is_empty());
    assert_eq!(receiver.with(|received| received.failed_requests()), 1);
    grpc_exporter(&receiver).export(vec![chat_span()]).await.unwrap();
    assert_eq!(receiver.spans().len(), 1);
}

#[tokio::test]
async fn faults_are_met_in_order_and_only_by_their_signal() {
    let receiver = OtlpReceiver::start().unwrap();
    receiver.fail_next_of(Signal::Metrics, 1, Fault::Unavailable);
    receiver.fail_next(1, Fault::InvalidArgument);
    receiver.fail_next_of(Signal::Traces, 1, Fault::ResourceExhausted);
    let body = prost::Message::encode_to_vec(&one_counter());
    let protobuf = "application/x-protobuf";
    assert_eq!(post(&receiver, "/v1/traces", protobuf, "", b"").0, 400);
    assert_eq!(post(&receiver, "/v1/metrics", protobuf, "", &body).0, 503);
    assert_eq!(post(&receiver, "/v1/traces", protobuf, "", b"").0, 429);
    assert_eq!(post(&receiver, "/v1/traces", protobuf, "", b"").0, 200);
    assert_eq!(receiver.with(|received| (received.requests(), received.failed_requests())), (4, 3));

    receiver.fail_next(1, Fault::InvalidArgument);
    let error = grpc_exporter(&receiver).export(vec![chat_span()]).await;
    assert!(error.is_err());
    assert!(receiver.spans().is_empty());

    receiver.fail_next(9, Fault::InvalidArgument);
    receiver.clear_faults();
    grpc_exporter(&receiver).export(vec![chat_span()]).await.unwrap();
    assert_eq!(receiver.spans().len(), 1);
}

#[tokio::test]
async fn a_hanging_request_is_seen_and_ends_when_the_receiver_is_dropped() {
    let receiver = OtlpReceiver::start().unwrap();
    receiver.fail_next(1, Fault::Hang);
    let exporter = grpc_exporter(&receiver);
    let hanging = tokio::spawn(async move { exporter.export(vec![chat_span()]).await });
    receiver.wait_for_async(|received| received.requests() == 1, DEADLINE).await.unwrap();
    assert!(!hanging.is_finished());
    assert!(receiver.spans().is_empty());
    drop(receiver);
    assert!(tokio::time::timeout(DEADLINE, hanging).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn a_receiver_comes_back_on_the_port_of_a_dropped_one() {
    let receiver = OtlpReceiver::start().unwrap();
    let (address, exporter) = (receiver.address(), grpc_exporter(&receiver));
    exporter.export(vec![chat_span()]).await.unwrap();
    assert!(OtlpReceiver::start_at(address).is_err(), "the port is taken");
    drop(receiver);
    let again = OtlpReceiver::start_at(address).unwrap();
    assert_eq!(again.requests(), 0);
    grpc_exporter(&again).export(vec![chat_span()]).await.unwrap();
    assert_eq!(again.spans().len(), 1);
}

/// A current-thread runtime that is blocked cannot serve; the receiver has its own.
#[test]
fn waiting_works_without_a_runtime_and_wakes_when_the_request_comes() {
    let receiver = OtlpReceiver::start().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| post(&receiver, "/v1/traces", "application/x-protobuf", "", b""));
        receiver.wait_for(|received| received.requests() == 1, DEADLINE).unwrap();
    });
}

#[tokio::test]
async fn what_never_comes_is_reported_with_what_did_come() {
    let receiver = OtlpReceiver::start().unwrap();
    grpc_exporter(&receiver).export(vec![chat_span()]).await.unwrap();
    let short = Duration::from_millis(20);
    let expected = "not seen within 20ms; 1 requests came (0 failed) with 1 spans (1 x \"chat gpt-4o\") and 0 metric series";
    let timed_out = receiver.wait_for(|received| received.spans().len() == 2, short).unwrap_err();
    assert_eq!(timed_out.to_string(), expected);
    let timed_out = receiver.wait_for_async(|received| received.spans().len() == 2, short).await.unwrap_err();
    assert_eq!(timed_out.to_string(), expected);
}

#[tokio::test]
async fn spans_over_the_limit_are_counted_and_refused_by_partial_success() {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
    };
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    let receiver = OtlpReceiver::builder().max_spans(2).start().unwrap();
    let good = |id: u8| Span { trace_id: vec![1; 16], span_id: vec![id; 8], ..Span::default() };
    let bad = Span { trace_id: vec![1; 3], span_id: vec![1; 8], ..Span::default() };
    let scope_spans = ScopeSpans { spans: vec![bad, good(1), good(2), good(3)], ..ScopeSpans::default() };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans: vec![scope_spans], ..ResourceSpans::default() }],
    };
    let body = prost::Message::encode_to_vec(&request);
    let (status, answer) = post(&receiver, "/v1/traces", "application/x-protobuf", "", &body);
    assert_eq!(status, 200);
    let answer = answer.split_once("\r\n\r\n").unwrap().1;
    let answer: ExportTraceServiceResponse = prost::Message::decode(answer.as_bytes()).unwrap();
    let partial = answer.partial_success.unwrap();
    assert_eq!(
        (partial.rejected_spans, partial.error_message.as_str()),
        (2, "the receiver keeps at most 2 spans")
    );
    assert_eq!(receiver.with(|received| (received.spans().len(), received.refused_spans())), (2, 2));

    receiver.clear();
    assert_eq!(receiver.with(|received| (received.requests(), received.refused_spans())), (0, 0));
    assert_eq!(receiver.spans(), vec![]);
}

/// The receiver's own HTTP stack uses `tracing`; none of its spans may reach the program under test.
#[tokio::test]
async fn the_receivers_thread_traces_nothing() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    #[derive(Clone, Default)]
    struct CountsSpansOfReceiver(Arc<AtomicUsize>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for CountsSpansOfReceiver {
        fn on_new_span(
            &self,
            _: &tracing::span::Attributes<'_>,
            _: &tracing::span::Id,
            _: tracing_subscriber::layer::Context<'_, S>,
        ) {
            if std::thread::current().name() == Some("otlp-receiver") {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    use tracing_subscriber::layer::SubscriberExt as _;
    let counts = CountsSpansOfReceiver::default();
    // Global, because a thread's default would not be the default of the receiver's thread anyway.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(counts.clone())).unwrap();
    let receiver = OtlpReceiver::start().unwrap();
    grpc_exporter(&receiver).export(vec![chat_span()]).await.unwrap();
    assert_eq!(receiver.spans().len(), 1);
    assert_eq!(counts.0.load(Ordering::Relaxed), 0);
}

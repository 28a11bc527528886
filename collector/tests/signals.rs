//! Metrics and logs over the wire, who may send, and what is counted.
#![allow(clippy::unwrap_used)]

mod common;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, number_data_point,
};
use prost::Message;
use tempfile::tempdir;
use tonic::codec::CompressionEncoding;

use self::common::{Server, ask, post};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const TIME: u64 = 1_790_000_000_000_000_000;

fn logs(body: &str) -> ExportLogsServiceRequest {
    let value = Some(any_value::Value::StringValue(body.to_owned()));
    let record = LogRecord { time_unix_nano: TIME, body: Some(AnyValue { value }), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

fn metrics(value: f64) -> ExportMetricsServiceRequest {
    let point = NumberDataPoint {
        time_unix_nano: TIME,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let data = Some(Data::Gauge(Gauge { data_points: vec![point, NumberDataPoint::default()] }));
    let metric = Metric { name: "load".to_owned(), data, ..Metric::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    }
}

async fn unary<Q, A>(
    server: &Server,
    path: &'static str,
    compression: CompressionEncoding,
    message: Q,
    token: Option<&str>,
) -> Result<A, tonic::Status>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let address = format!("http://{}", server.ready["otlp_grpc"].as_str().unwrap());
    let channel = tonic::transport::Channel::from_shared(address).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel).send_compressed(compression);
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let path = http::uri::PathAndQuery::from_static(path);
    client.unary(request, path, tonic_prost::ProstCodec::default()).await.map(tonic::Response::into_inner)
}

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// The example documents of the protocol's repository, cut short: numbers of 64 bits as text, ids in hex.
const JSON_LOGS: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},
    "scopeLogs":[{"scope":{"name":"my.library","version":"1.0.0"},"logRecords":[{"timeUnixNano":"1790000000000000001",
    "observedTimeUnixNano":"1790000000000000002","severityNumber":10,"severityText":"Information",
    "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","body":{"stringValue":"Example log record"},
    "attributes":[{"key":"int.attribute","value":{"intValue":"10"}},{"key":"map.attribute","value":{"kvlistValue":{"values":
    [{"key":"some.map.key","value":{"stringValue":"some value"}}]}}},{"key":"none","value":{"arrayValue":{}}},
    {"key":"endless","value":{"doubleValue":"Infinity"}},{"key":"nothing","value":null},{"key":"empty","value":{}}]}]}]}]}"#;
const JSON_METRICS: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},
    "scopeMetrics":[{"scope":{"name":"my.library"},"metrics":[
    {"name":"my.counter","unit":"1","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{"asDouble":5,
    "startTimeUnixNano":"1790000000000000000","timeUnixNano":"1790000000000000001","attributes":[{"key":"k","value":{"stringValue":"v"}}]}]}},
    {"name":"my.int","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"asInt":"9007199254740993",
    "startTimeUnixNano":"1790000000000000000","timeUnixNano":"1790000000000000001"}]}},
    {"name":"my.histogram","histogram":{"aggregationTemporality":1,"dataPoints":[{"startTimeUnixNano":"1790000000000000000",
    "timeUnixNano":"1790000000000000001","count":"2","sum":2,"bucketCounts":["1","1"],"explicitBounds":[1],"min":0,"max":2}]}},
    {"name":"my.exponential","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[{"startTimeUnixNano":"1790000000000000000",
    "timeUnixNano":"1790000000000000001","count":"3","sum":10,"scale":0,"zeroCount":"1","positive":{"offset":1,"bucketCounts":["0","2"]},
    "min":0,"max":5,"zeroThreshold":0}]}}]}]}]}"#;

async fn get(url: &str) -> serde_json::Value {
    let body = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{url}: {}", String::from_utf8_lossy(&body)))
}

/// Feature: K9
/// Feature: L5
#[tokio::test]
async fn metrics_and_logs_are_taken_in_every_encoding_and_found() {
    let dir = tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let (to_logs, to_metrics) =
        (server.http.replace("traces", "logs"), server.http.replace("traces", "metrics"));
    assert_eq!(post(&to_logs, JSON, None, JSON_LOGS.into()).await, (200, b"{}".to_vec()));
    assert_eq!(post(&to_metrics, JSON, None, JSON_METRICS.into()).await, (200, b"{}".to_vec()));
    assert_eq!(post(&to_logs, PROTOBUF, None, logs("over http").encode_to_vec()).await, (200, Vec::new()));
    let zipped = zstd::encode_all(metrics(1.0).encode_to_vec().as_slice(), 1).unwrap();
    let (status, body) = post(&to_metrics, PROTOBUF, Some("zstd"), zipped).await;
    let partial = ExportMetricsServiceResponse::decode(body.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!((status, partial.rejected_data_points), (200, 1));
    assert!(
        partial.error_message.contains("\"load\": it has no time_unix_nano"),
        "{}",
        partial.error_message
    );
    let answer: ExportLogsServiceResponse =
        unary(&server, LOGS, CompressionEncoding::Gzip, logs("over grpc"), None).await.unwrap();
    assert_eq!(answer.partial_success, None);
    let answer: ExportMetricsServiceResponse =
        unary(&server, METRICS, CompressionEncoding::Zstd, metrics(2.0), None).await.unwrap();
    assert_eq!(answer.partial_success.unwrap().rejected_data_points, 1);

    for _ in 0..2 {
        let found = get(&server.api("/api/v1/logs?oldest_first=true")).await;
        let bodies: Vec<&str> =
            found["logs"].as_array().unwrap().iter().map(|log| log["body"].as_str().unwrap()).collect();
        assert_eq!(bodies.len(), 3);
        assert_eq!(bodies[2], "Example log record");
        let log = &found["logs"][2];
        assert_eq!(log["trace_id"], "5b8efff798038103d269b633813fc60c");
        assert_eq!(log["attributes"]["int.attribute"], 10);
        assert_eq!(log["attributes"]["map.attribute"]["some.map.key"], "some value");
        assert_eq!(log["attributes"]["none"], serde_json::json!([]));
        assert_eq!(log["attributes"]["endless"], "inf");
        assert_eq!(log["attributes"]["empty"], serde_json::Value::Null);
        let names = get(&server.api("/api/v1/metrics/names")).await;
        assert_eq!(names["metrics"].as_array().unwrap().len(), 5);
        for (name, field, value) in [
            ("my.counter", "increase", 5.0),
            ("my.int", "increase", 9_007_199_254_740_992.0),
            ("load", "max", 2.0),
        ] {
            let found = get(&server.api(&format!("/api/v1/metrics/query?name={name}"))).await;
            assert_eq!(found["groups"][0][field], value, "{found}");
        }
        let found =
            get(&server.api("/api/v1/metrics/query?name=my.exponential&by=resource.service.name")).await;
        assert_eq!(found["groups"][0]["by"][0], "my.service");
        let buckets = serde_json::json!([[-0.0, 0.0, 1], [4.0, 8.0, 2]]);
        assert_eq!(found["groups"][0]["values"]["buckets"], buckets);
        server.terminate();
        server = Server::start(dir.path());
    }
    let api = server.ready["api"].as_str().unwrap().to_owned();
    tokio::task::spawn_blocking(move || {
        let (code, out, _) = ask(&api, &["logs", "{ .int.attribute = 10 }"]);
        assert!(code == 0 && out.contains("Information my.service Example log record"), "{out}");
        let (code, out, _) = ask(&api, &["metrics"]);
        assert!(code == 0 && out.contains("my.histogram"), "{out}");
        let (code, out, _) = ask(&api, &["metrics", "my.counter", "--by", "k", "--step", "1m"]);
        assert!(code == 0 && out.contains("5.000000"), "{out}");
        let (code, _, error) = ask(&api, &["logs", "--severity", "loud"]);
        assert!(code == 2 && error.contains("\"loud\", expected trace"), "{error}");
    })
    .await
    .unwrap();
}

/// Feature: M3
#[tokio::test]
async fn with_a_token_only_those_who_bear_it_come_in() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let data = dir.path().join("data");
    let server = Server::start_with(&data, &["--token-file", file.to_str().unwrap()]);
    let client = reqwest::Client::new();
    let to_logs = server.http.replace("traces", "logs");
    for (token, expected) in [(None, 401), (Some("Bearer other"), 401), (Some("Bearer s3cret"), 200)] {
        for (url, body) in [(&to_logs, true), (&server.api("/api/v1/logs"), false)] {
            let mut request = if body {
                client.post(url).header("content-type", PROTOBUF).body(logs("x").encode_to_vec())
            } else {
                client.get(url)
            };
            if let Some(token) = token {
                request = request.header("authorization", token);
            }
            assert_eq!(request.send().await.unwrap().status().as_u16(), expected, "{url} {token:?}");
        }
    }
    let refused =
        unary::<_, ExportLogsServiceResponse>(&server, LOGS, CompressionEncoding::Gzip, logs("x"), None);
    assert_eq!(refused.await.unwrap_err().code(), tonic::Code::Unauthenticated);
    let taken = unary::<_, ExportLogsServiceResponse>(
        &server,
        LOGS,
        CompressionEncoding::Gzip,
        logs("x"),
        Some("s3cret"),
    );
    taken.await.unwrap();
    let metrics = client.get(server.api("/metrics")).header("authorization", "bearer s3cret");
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    for (transport, count) in [("http", 2), ("grpc", 1)] {
        let line = format!(
            "agentvitals_receiver_refused_total{{transport=\"{transport}\",signal=\"logs\",reason=\"unauthorized\"}} {count}\n"
        );
        assert!(metrics.contains(&line), "{metrics}");
    }
    let (api, path) = (server.ready["api"].as_str().unwrap().to_owned(), file.to_str().unwrap().to_owned());
    tokio::task::spawn_blocking(move || {
        let (code, _, error) = ask(&api, &["count"]);
        assert!(code == 1 && error.contains("Authorization: Bearer"), "{error}");
        assert_eq!(ask(&api, &["logs", "--token-file", &path]).0, 0);
        let (code, _, error) = ask(&api, &["logs", "--token-file", "/nowhere"]);
        assert!(code == 2 && error.contains("/nowhere cannot be read"), "{error}");
    })
    .await
    .unwrap();
}

/// Behaviour: P20
#[tokio::test]
async fn what_is_too_large_is_told_and_counted_over_both_transports() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    let large = logs(&"x".repeat(17 << 20));
    let (status, _) =
        post(&server.http.replace("traces", "logs"), PROTOBUF, None, large.encode_to_vec()).await;
    assert_eq!(status, 413);
    let refused =
        unary::<_, ExportLogsServiceResponse>(&server, LOGS, CompressionEncoding::Zstd, large, None);
    let refused = refused.await.unwrap_err();
    assert!(refused.message().contains("16777216"), "{refused}");
    // More than the 4 MiB that gRPC servers take unless told otherwise.
    let good = logs(&"x".repeat(15 << 20));
    let taken = unary::<_, ExportLogsServiceResponse>(&server, LOGS, CompressionEncoding::Zstd, good, None);
    taken.await.unwrap();
    let metrics = reqwest::get(server.api("/metrics")).await.unwrap().text().await.unwrap();
    for transport in ["http", "grpc"] {
        let line = format!(
            "agentvitals_receiver_refused_total{{transport=\"{transport}\",signal=\"logs\",reason=\"too_large\"}} 1\n"
        );
        assert!(metrics.contains(&line), "{metrics}");
    }
}

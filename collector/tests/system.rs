//! `GET /api/v1/metrics`: the machine, the database connections and the cache, from metrics over OTLP.
#![allow(clippy::unwrap_used)]

mod common;

use agentvitals::semconv::host::{attr, metric};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::tempdir;

use self::common::{Server, post};

const START: u64 = 1_790_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;
const MEGABYTE: f64 = 1_048_576.0;

/// How a metric counts.
#[derive(Clone, Copy)]
enum Counts {
    State,
    SinceStart,
    Deltas,
    /// A state that its process tells since a start of its own, in seconds.
    UpAndDown(u64),
}
use Counts::{Deltas, SinceStart, State, UpAndDown};

/// A metric, and its points: an attribute, seconds, a value.
type Told<'a> = (&'a str, Counts, &'a [(&'a str, &'a str, u64, f64)]);

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn request(service: &str, instance: &str, all: &[Told<'_>]) -> Vec<u8> {
    let metrics = all.iter().map(|(name, counts, points)| {
        let start = if let UpAndDown(start) = counts { START + start * SECOND } else { START };
        let point = |(key, value, seconds, number): &(&str, &str, u64, f64)| NumberDataPoint {
            start_time_unix_nano: start,
            time_unix_nano: START + seconds * SECOND,
            attributes: if key.is_empty() { Vec::new() } else { vec![attribute(key, value)] },
            value: Some(number_data_point::Value::AsDouble(*number)),
            ..NumberDataPoint::default()
        };
        let data_points = points.iter().map(point).collect();
        let sum = |aggregation_temporality, data_points| {
            let is_monotonic = !matches!(counts, UpAndDown(_));
            Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
        };
        let data = match counts {
            State => Data::Gauge(Gauge { data_points }),
            SinceStart | UpAndDown(_) => sum(2, data_points),
            Deltas => sum(1, data_points),
        };
        Metric { name: (*name).to_owned(), data: Some(data), ..Metric::default() }
    });
    let scope_metrics = vec![ScopeMetrics { metrics: metrics.collect(), ..ScopeMetrics::default() }];
    let attributes = vec![attribute("service.name", service), attribute("service.instance.id", instance)];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

async fn send(server: &Server, service: &str, instance: &str, all: &[Told<'_>]) {
    let url = server.http.replace("traces", "metrics");
    let sent = post(&url, "application/x-protobuf", None, request(service, instance, all)).await;
    assert_eq!(sent, (200, Vec::new()));
}

async fn asked(server: &Server, parameters: &str) -> Value {
    let response = reqwest::get(server.api(&format!("/api/v1/metrics{parameters}"))).await.unwrap();
    assert_eq!(response.status(), 200, "{parameters}");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn none_of(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect::<serde_json::Map<_, _>>().into()
}

const SYSTEM: [&str; 6] =
    ["cpu_percent", "memory_mb", "memory_percent", "memory_available_mb", "disk_read_mb", "disk_write_mb"];
const DATABASE: [&str; 6] =
    ["pool_size", "pool_available", "pool_active", "pool_min", "pool_max", "utilization_percent"];
const CACHE: [&str; 8] =
    ["enabled", "hits", "misses", "sets", "deletes", "errors", "total_reads", "hit_rate"];

/// Two processes of a service; what is told before the last minutes is not what is told.
async fn send_all(server: &Server) {
    let none = "";
    send(
        server,
        "bot",
        "a",
        &[
            (metric::PROCESS_CPU_UTILIZATION, State, &[(none, none, 10, 0.9), (none, none, 900, 0.125)]),
            (metric::PROCESS_MEMORY_USAGE, State, &[(none, none, 900, 100.5 * MEGABYTE)]),
            (metric::SYSTEM_MEMORY_UTILIZATION, State, &[(attr::SYSTEM_MEMORY_STATE, "used", 890, 0.3)]),
            (
                metric::PROCESS_DISK_IO,
                SinceStart,
                &[
                    (attr::DISK_IO_DIRECTION, "read", 10, MEGABYTE),
                    (attr::DISK_IO_DIRECTION, "read", 900, 3.0 * MEGABYTE),
                    (attr::DISK_IO_DIRECTION, "write", 900, 0.25 * MEGABYTE),
                ],
            ),
            // Its process started again a moment ago.
            (metric::DB_CONNECTIONS, UpAndDown(0), &[(attr::DB_CONNECTION_STATE, "idle", 850, 12.0)]),
            (
                metric::DB_CONNECTIONS,
                UpAndDown(860),
                &[
                    (attr::DB_CONNECTION_STATE, "idle", 900, 8.0),
                    (attr::DB_CONNECTION_STATE, "used", 900, 5.0),
                ],
            ),
            (metric::DB_CONNECTIONS_IDLE_MIN, State, &[(none, none, 900, 4.0)]),
            (metric::DB_CONNECTIONS_MAX, State, &[(none, none, 900, 13.0)]),
            (metric::CACHE_HITS, SinceStart, &[(none, none, 10, 3.0), (none, none, 900, 1_234.0)]),
            (metric::CACHE_MISSES, Deltas, &[(none, none, 10, 400.0), (none, none, 900, 56.0)]),
            (metric::CACHE_SETS, SinceStart, &[(none, none, 900, 789.0)]),
            (metric::CACHE_DELETES, SinceStart, &[(none, none, 100, 12.0)]),
            (metric::CACHE_ERRORS, SinceStart, &[(none, none, 900, 0.0)]),
        ],
    )
    .await;
    send(
        server,
        "bot",
        "b",
        &[
            (metric::PROCESS_CPU_UTILIZATION, State, &[(none, none, 905, 0.25)]),
            (metric::PROCESS_MEMORY_USAGE, State, &[(none, none, 905, 50.0 * MEGABYTE)]),
            (
                metric::SYSTEM_MEMORY_UTILIZATION,
                State,
                &[(attr::SYSTEM_MEMORY_STATE, "used", 905, 0.314_159)],
            ),
            (metric::SYSTEM_MEMORY_AVAILABLE, State, &[(none, none, 905, 2_048.0 * MEGABYTE)]),
        ],
    )
    .await;
    // It ended, long before the others told what they do.
    let gone: [Told<'_>; 1] = [(metric::PROCESS_MEMORY_USAGE, State, &[(none, none, 100, MEGABYTE)])];
    send(server, "bot", "c", &gone).await;
    // Another service knows the machine only.
    let machine: [Told<'_>; 3] = [
        (
            metric::SYSTEM_CPU_UTILIZATION,
            State,
            &[
                (attr::CPU_MODE, "user", 5, 0.2),
                (attr::CPU_MODE, "system", 5, 0.1),
                (attr::CPU_MODE, "idle", 5, 0.7),
            ],
        ),
        (
            metric::SYSTEM_MEMORY_USAGE,
            State,
            &[
                (attr::SYSTEM_MEMORY_STATE, "used", 5, 10.0 * MEGABYTE),
                (attr::SYSTEM_MEMORY_STATE, "free", 5, 30.0 * MEGABYTE),
            ],
        ),
        (metric::DB_CONNECTIONS, State, &[(attr::DB_CONNECTION_STATE, "used", 5, 0.0)]),
    ];
    send(server, "host", "d", &machine).await;
}

/// Feature: K3
#[tokio::test]
async fn the_newest_points_tell_how_machine_database_and_cache_are() {
    let dir = tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let empty = asked(&server, "").await;
    assert!(empty["timestamp"].as_str().unwrap().ends_with('Z'));
    for (part, names) in [("system", &SYSTEM[..]), ("database", &DATABASE), ("cache", &CACHE)] {
        assert_eq!(empty[part], none_of(names));
    }
    send_all(&server).await;
    for _ in 0..2 {
        let bot = json!({
            "timestamp": "2026-09-21T14:28:25.000Z",
            "system": {
                "cpu_percent": 37.5, "memory_mb": 150.5, "memory_percent": 31.42, "memory_available_mb": 2048.0,
                "disk_read_mb": 3.0, "disk_write_mb": 0.25
            },
            "database": {
                "pool_size": 13, "pool_available": 8, "pool_active": 5, "pool_min": 4, "pool_max": 13,
                "utilization_percent": 38.46
            },
            "cache": {
                "enabled": true, "hits": 1234, "misses": 456, "sets": 789, "deletes": 12, "errors": 0,
                "total_reads": 1690, "hit_rate": 73.02
            }
        });
        assert_eq!(asked(&server, "?service=bot").await, bot);
        // The other service's points ended long before.
        assert_eq!(asked(&server, "").await, bot);
        let host = asked(&server, "?service=host").await;
        assert_eq!(
            host,
            json!({
                "timestamp": "2026-09-21T14:13:25.000Z",
                "system": {
                    "cpu_percent": 30.0, "memory_mb": 10.0, "memory_percent": 25.0, "memory_available_mb": null,
                    "disk_read_mb": null, "disk_write_mb": null
                },
                "database": {
                    "pool_size": null, "pool_available": null, "pool_active": 0, "pool_min": null,
                    "pool_max": null, "utilization_percent": null
                },
                "cache": none_of(&CACHE)
            })
        );
        // As it was after 20 seconds.
        let then = asked(&server, &format!("?service=bot&end={}", START + 20 * SECOND)).await;
        assert_eq!((&then["system"]["cpu_percent"], &then["cache"]["misses"]), (&json!(90.0), &json!(400)));
        assert_eq!((&then["cache"]["hits"], &then["cache"]["sets"]), (&json!(3), &Value::Null));
        let nobody = asked(&server, "?service=nobody").await;
        assert_eq!(nobody["database"], none_of(&DATABASE));
        server.terminate();
        server = Server::start(dir.path());
    }
    let refused = reqwest::get(server.api("/api/v1/metrics?colour=red")).await.unwrap();
    assert_eq!(refused.status(), 400);
}

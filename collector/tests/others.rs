//! The query APIs of Tempo and Jaeger, asked as their clients ask them.
#![allow(clippy::unwrap_used)]

mod common;

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::tempdir;

use self::common::{Server, post};

/// Two traces: the first of an agent of `shop` that calls a tool of `stock`, which fails; the second of another agent.
fn spans() -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = |trace: u32, id: u32, parent: &str, name: &str, rest: Value| {
        let mut span = json!({"traceId": format!("{trace:032x}"), "spanId": format!("{id:016x}"), "parentSpanId": parent,
            "name": name, "kind": 1, "status": {"code": 0}, "startTimeUnixNano": format!("{}", 1_790_000_000_000_000_000_u64 + u64::from(id) * 1_000_000),
            "endTimeUnixNano": format!("{}", 1_790_000_000_005_000_000_u64 + u64::from(id) * 1_000_000)});
        span.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        span
    };
    let of = |service: &str, spans: Value| {
        json!({"resource": {"attributes": [text("service.name", service), text("region", "eu")]},
            "scopeSpans": [{"scope": {"name": "agents", "version": "2"}, "spans": spans}]})
    };
    let counted = json!({"key": "tokens", "value": {"intValue": "42"}});
    let list = json!({"key": "reasons", "value": {"arrayValue": {"values": [{"stringValue": "stop"}, {"stringValue": "length"}]}}});
    let event = json!([{"timeUnixNano": "1790000000003000000", "name": "exception", "attributes": [text("kind of", "io")]}]);
    json!({"resourceSpans": [
        of("shop", json!([
            span(31, 1, "", "invoke_agent planner", json!({"attributes": [text("agent", "planner"), counted, list]})),
            span(32, 3, "", "invoke_agent other", json!({"attributes": [text("agent", "other")]})),
        ])),
        of("stock", json!([span(31, 2, "0000000000000001", "execute_tool look", json!({"kind": 3, "events": event,
            "status": {"code": 2, "message": "gone"}}))])),
    ]})
}

async fn served() -> (Server, tempfile::TempDir) {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    let sent = post(&server.http, "application/json", None, spans().to_string().into_bytes()).await;
    assert_eq!(sent.0, 200);
    (server, dir)
}

async fn get(server: &Server, path: &str) -> (u16, Value) {
    let response = reqwest::get(server.api(path)).await.unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Feature: K9
#[tokio::test]
async fn tempos_data_source_finds_traces_and_what_to_ask_for() {
    let (server, _dir) = served().await;
    let q = encoded("{ status = error && name =~ `execute.*` } | select(.region, statusMessage)");
    let (status, found) = get(&server, &format!("/api/search?q={q}&start=1790000000&end=1790000010")).await;
    assert_eq!(status, 200);
    let set = json!({"matched": 1, "spans": [{"spanID": "0000000000000002", "name": "execute_tool look",
        "startTimeUnixNano": "1790000000002000000", "durationNanos": "5000000", "attributes": [
            {"key": "region", "value": {"stringValue": "eu"}}, {"key": "status", "value": {"stringValue": "error"}},
            {"key": "statusMessage", "value": {"stringValue": "gone"}}]}]});
    let trace = json!({"traceID": format!("{:032x}", 31), "rootServiceName": "shop", "rootTraceName": "invoke_agent planner",
        "startTimeUnixNano": "1790000000001000000", "durationMs": 6, "spanSet": set, "spanSets": [set],
        "serviceStats": {"shop": {"spanCount": 1}, "stock": {"spanCount": 1, "errorCount": 1}}});
    assert_eq!(found["traces"], json!([trace]));

    let tags = |tags: &str| format!("/api/search?tags={}", encoded(tags));
    for (path, count) in [
        (tags("agent=PLAN tokens=42"), 1),
        (tags("region=eu"), 2),
        (tags("error=true"), 1),
        (tags("name=\"invoke_agent o\""), 1),
        (format!("{}&minDuration=6ms", tags("region=eu")), 1),
        ("/api/search".to_owned(), 2),
    ] {
        let (status, found) = get(&server, &path).await;
        assert_eq!((status, found["traces"].as_array().unwrap().len()), (200, count), "{path}");
        assert!(found["traces"][0].get("spanSet").is_none(), "{path}");
    }
    for wrong in [
        "q=%7B",
        "limit=0",
        "limit=x",
        "start=soon&end=now",
        "start=20&end=10",
        "q=%7B%7D&tags=a%3Db",
        "tags=a%3D%22",
    ] {
        let (status, message) = get(&server, &format!("/api/search?{wrong}")).await;
        assert_eq!(status, 400, "{wrong}");
        assert!(!message.as_str().unwrap().is_empty());
    }

    let (_, names) = get(&server, "/api/v2/search/tags").await;
    let of = |scope: &str| {
        names["scopes"].as_array().unwrap().iter().find(|of| of["name"] == scope).unwrap()["tags"].clone()
    };
    assert_eq!(of("span"), json!(["agent", "reasons", "tokens"]));
    assert_eq!(of("resource"), json!(["region", "service.name"]));
    assert_eq!(of("event"), json!(["kind of"]));
    assert!(of("intrinsic").as_array().unwrap().contains(&json!("rootServiceName")));
    let (_, names) =
        get(&server, &format!("/api/search/tags?scope=span&q={}", encoded("{ .agent = `other` }"))).await;
    assert_eq!(names["tagNames"], json!(["agent"]));
    let value = |kind: &str, value: &str| json!({"type": kind, "value": value});
    for (tag, wanted) in [
        (".tokens", json!([value("int", "42")])),
        ("span.agent", json!([value("string", "other"), value("string", "planner")])),
        ("reasons", json!([value("string", "length"), value("string", "stop")])),
        ("rootServiceName", json!([value("string", "shop")])),
        ("status", json!([value("keyword", "ok"), value("keyword", "error"), value("keyword", "unset")])),
        ("event:name", json!([value("string", "exception")])),
        ("duration", json!([])),
        ("trace:id", json!([])),
    ] {
        let (status, found) = get(&server, &format!("/api/v2/search/tag/{tag}/values")).await;
        assert_eq!((status, &found["tagValues"]), (200, &wanted), "{tag}");
    }
    let (_, found) =
        get(&server, &format!("/api/search/tag/agent/values?q={}", encoded("{ .tokens > 1 }"))).await;
    assert_eq!(found["tagValues"], json!(["planner"]));
    assert_eq!(get(&server, "/api/search/tags?scope=x").await.0, 400);
    assert_eq!(get(&server, "/api/v2/search/tag/a%20b/values").await.0, 400);
    assert_eq!(get(&server, "/api/echo").await, (200, json!("echo")));
    assert_eq!(get(&server, "/ready").await.0, 200);
}

/// Feature: K9
#[tokio::test]
async fn tempos_data_source_draws_numbers_over_time() {
    let (server, _dir) = served().await;
    let q = encoded("{} | count_over_time() by (resource.service.name)");
    let label = |name: &str| json!([{"key": "resource.service.name", "value": {"stringValue": name}}]);
    let (_, found) = get(&server, &format!("/api/metrics/query?q={q}&start=1789999999&end=1790000001")).await;
    assert_eq!(
        found["series"],
        json!([{"labels": label("shop"), "value": 2.0}, {"labels": label("stock"), "value": 1.0}])
    );
    let hinted = encoded("{} | rate() with (sample=true)");
    let (_, found) =
        get(&server, &format!("/api/metrics/query?q={hinted}&start=1789999999&end=1790000001")).await;
    assert_eq!(found["message"], "these hints make no difference here: sample");
    // An interval ends at its time, which is in it.
    let (_, found) =
        get(&server, &format!("/api/metrics/query_range?q={q}&start=1790000000&end=1790000001&step=2ms"))
            .await;
    let samples: Vec<(&str, f64)> = found["series"][0]["samples"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|sample| Some((sample["timestampMs"].as_str()?, sample.get("value")?.as_f64()?)))
        .collect();
    assert_eq!(samples, [("1790000000002", 1.0), ("1790000000004", 1.0)]);
    assert_eq!(found["series"][0]["samples"].as_array().unwrap().len(), 501);
    assert!(found["series"][0].get("exemplars").is_none());
    let asked =
        format!("/api/metrics/query_range?q={q}&start=1790000000&end=1790000001&step=2ms&exemplars=1");
    let (_, found) = get(&server, &asked).await;
    let exemplar = &found["series"][0]["exemplars"][0];
    assert_eq!((&exemplar["value"], &found["series"][0]["exemplars"][1]), (&json!(1.0), &Value::Null));
    assert_eq!(exemplar["labels"][0]["key"], "trace:id");
    let trace = exemplar["labels"][0]["value"]["stringValue"].as_str().unwrap();
    assert_eq!(get(&server, &format!("/api/v2/traces/{trace}")).await.0, 200);
    for wrong in [
        "q=%7B%7D",
        "q=%7B%7D%7Crate()&step=0",
        "q=%7B%7D%7Crate()&start=5&end=4",
        "q=%7B%7D%7Crate()&step=1ns",
    ] {
        assert_eq!(get(&server, &format!("/api/metrics/query_range?{wrong}")).await.0, 400, "{wrong}");
    }
}

/// Feature: K9
#[tokio::test]
async fn a_trace_is_what_was_sent_in_every_form() {
    let (server, _dir) = served().await;
    let sent: TracesData = serde_json::from_value(spans()).unwrap();
    let response = reqwest::Client::new()
        .get(server.api("/api/traces/1f"))
        .header("accept", "application/protobuf")
        .send()
        .await
        .unwrap();
    let trace = TracesData::decode(response.bytes().await.unwrap()).unwrap();
    let mut shop = sent.resource_spans[0].clone();
    shop.scope_spans[0].spans.truncate(1);
    assert_eq!(trace.resource_spans, [shop, sent.resource_spans[1].clone()]);

    // At the root in JSON is what the clients of either look for; each alone is below the name of its program.
    let (_, either) = get(&server, "/api/traces/1f").await;
    let (_, tempo) = get(&server, "/tempo/api/traces/1f").await;
    let (_, jaeger) = get(&server, "/jaeger/api/traces/1f").await;
    assert_eq!((&either["batches"], &either["data"]), (&tempo["batches"], &jaeger["data"]));
    assert!(tempo.get("data").is_none() && jaeger.get("batches").is_none());
    assert_eq!(tempo["batches"][1]["scopeSpans"][0]["spans"][0]["kind"], "SPAN_KIND_CLIENT");
    let (_, second) = get(&server, "/api/v2/traces/1f").await;
    assert_eq!(second["trace"]["resourceSpans"], tempo["batches"]);
    let (_, third) = get(&server, "/api/v3/traces/1f").await;
    let third: TracesData = serde_json::from_value(third["result"].clone()).unwrap();
    assert_eq!(third.resource_spans, trace.resource_spans);
    for (path, status) in [
        ("/api/traces/abc", 404),
        ("/tempo/api/traces/abc", 404),
        ("/jaeger/api/traces/abc", 404),
        ("/api/v3/traces/abc", 404),
        ("/api/v2/traces/abc", 200),
        ("/api/traces/xyz", 400),
    ] {
        assert_eq!(get(&server, path).await.0, status, "{path}");
    }
}

/// Feature: K9
#[tokio::test]
async fn jaegers_clients_find_spans_by_tags_wherever_they_are() {
    let (server, _dir) = served().await;
    let range = "start=1790000000000000&end=1790000001000000";
    for (service, tags, count) in [
        ("shop", json!({}), 2),
        ("shop", json!({"agent": "planner"}), 1),
        ("shop", json!({"region": "eu", "tokens": "42"}), 1),
        ("shop", json!({"reasons": "[\"stop\",\"length\"]"}), 1),
        ("shop", json!({"reasons": "[\"stop\"]"}), 0),
        ("shop", json!({"tokens": "042"}), 0),
        ("shop", json!({"error": "true"}), 0),
        ("stock", json!({"error": "true"}), 1),
        ("stock", json!({"kind of": "io", "span.kind": "client"}), 1),
        ("stock", json!({"otel.status_code": "OK"}), 0),
        ("stock", json!({"otel.scope.version": "2", "otel.status_description": "gone"}), 1),
        ("stock", json!({"agent": "planner"}), 0),
    ] {
        let path = format!("/api/traces?service={service}&{range}&tags={}", encoded(&tags.to_string()));
        let (status, found) = get(&server, &path).await;
        assert_eq!((status, found["data"].as_array().unwrap().len()), (200, count), "{service} {tags}");
    }
    for (rest, count) in [
        ("operation=execute_tool%20look", 0),
        ("tag=agent%3Aother", 1),
        ("minDuration=6ms", 0),
        ("maxDuration=5ms", 2),
        ("limit=1", 1),
        ("traceID=20&traceID=1f", 2),
    ] {
        let (_, found) = get(&server, &format!("/api/traces?service=shop&{range}&{rest}")).await;
        assert_eq!(found["data"].as_array().unwrap().len(), count, "{rest}");
    }
    // Both ends of the time are in it.
    let (_, found) =
        get(&server, "/api/traces?service=shop&start=1790000000003000&end=1790000000003000").await;
    assert_eq!(found["data"][0]["traceID"], "0000000000000020");
    let span = &found["data"][0]["spans"][0];
    assert_eq!((&span["startTime"], &span["duration"]), (&json!(1_790_000_000_003_000_u64), &json!(5_000)));

    let (_, found) = get(&server, "/api/services").await;
    assert_eq!((&found["data"], &found["total"]), (&json!(["shop", "stock"]), &json!(2)));
    let (_, found) = get(&server, "/api/operations?service=stock&spanKind=client").await;
    assert_eq!(found["data"], json!([{"name": "execute_tool look", "spanKind": "client"}]));
    let (_, found) = get(&server, "/api/services/shop/operations").await;
    assert_eq!(found["data"], json!(["invoke_agent other", "invoke_agent planner"]));
    let (_, found) = get(&server, "/api/dependencies?endTs=1790000001000&lookback=10000").await;
    assert_eq!(found["data"], json!([{"parent": "shop", "child": "stock", "callCount": 1}]));
    let (_, found) = get(
        &server,
        "/api/v3/traces?query.service_name=shop&query.attributes=%7B%22agent%22%3A%22other%22%7D\
        &query.start_time_min=2026-01-01T00:00:00Z&query.start_time_max=2027-01-01T00:00:00Z",
    )
    .await;
    assert_eq!(
        found["result"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"],
        "invoke_agent other"
    );
    for wrong in
        ["/api/traces", "/api/operations", "/api/traces?service=s&tag=k", "/api/dependencies?endTs=x"]
    {
        let (status, found) = get(&server, wrong).await;
        assert_eq!((status, &found["errors"][0]["code"]), (400, &json!(400)), "{wrong}");
    }
}

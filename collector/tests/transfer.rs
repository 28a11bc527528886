//! What one server keeps goes out into files and into another server, and is the same there.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::tempdir;

use self::common::{Server, ask, post};

fn value(value: &Value) -> Value {
    json!({"key": value.to_string(), "value": value})
}

fn attributes() -> Value {
    json!([
        value(&json!({"stringValue": "é\"\n"})),
        value(&json!({"intValue": "-9223372036854775808"})),
        value(&json!({"doubleValue": 1.0})),
        value(&json!({"doubleValue": "-Infinity"})),
        value(&json!({"boolValue": false})),
        value(&json!({"bytesValue": "AP8="})),
        value(&json!({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "x"}]}})),
        value(&json!({"kvlistValue": {"values": [{"key": "$a", "value": {"stringValue": "b"}}]}})),
    ])
}

fn resource(service: &str) -> Value {
    let name = json!({"key": "service.name", "value": {"stringValue": service}});
    json!({"attributes": [name, value(&json!({"intValue": "7"}))], "droppedAttributesCount": 2})
}

fn scope() -> Value {
    json!({"name": "scope", "version": "1", "attributes": attributes()})
}

const START: u64 = 1_790_000_000_000_000_000;

fn spans(service: &str, first: u32, count: u32) -> Value {
    let span = |id: u32| {
        json!({"traceId": format!("{:032x}", id / 3 + 1), "spanId": format!("{:016x}", id + 1), "name": format!("span {id}"),
            "traceState": "a=b", "parentSpanId": if id.is_multiple_of(3) { String::new() } else { format!("{:016x}", id - id % 3 + 1) },
            "flags": 257, "kind": id % 6, "startTimeUnixNano": (START + u64::from(id) * 1_000).to_string(),
            "endTimeUnixNano": (START + u64::from(id) * 1_001).to_string(), "attributes": attributes(), "droppedAttributesCount": 1,
            "events": [{"timeUnixNano": START.to_string(), "name": "e", "attributes": attributes(), "droppedAttributesCount": 2}],
            "droppedEventsCount": 3, "links": [{"traceId": format!("{:032x}", 900), "spanId": format!("{:016x}", 900),
                "traceState": "c=d", "attributes": attributes(), "droppedAttributesCount": 4, "flags": 5}],
            "droppedLinksCount": 6, "status": {"message": "no", "code": id % 3}})
    };
    json!({"resourceSpans": [{"resource": resource(service), "schemaUrl": "r", "scopeSpans": [{"scope": scope(), "schemaUrl": "s",
        "spans": (first..first + count).map(span).collect::<Vec<_>>()}]}]})
}

fn logs() -> Value {
    let record = json!({"timeUnixNano": START.to_string(), "observedTimeUnixNano": (START + 1).to_string(), "severityNumber": 17,
        "severityText": "ERROR", "body": {"kvlistValue": {"values": [{"key": "k", "value": {"bytesValue": "AP8="}}]}},
        "attributes": attributes(), "droppedAttributesCount": 1, "flags": 1, "traceId": format!("{:032x}", 1),
        "spanId": format!("{:016x}", 1), "eventName": "e"});
    let bare =
        json!({"timeUnixNano": (START + 2).to_string(), "observedTimeUnixNano": (START + 3).to_string()});
    json!({"resourceLogs": [{"resource": resource("one"), "schemaUrl": "r",
        "scopeLogs": [{"scope": scope(), "schemaUrl": "s", "logRecords": [record, bare]}]}]})
}

fn metrics() -> Value {
    let exemplar = json!({"timeUnixNano": START.to_string(), "asDouble": 1.5, "spanId": format!("{:016x}", 1),
        "traceId": format!("{:032x}", 1), "filteredAttributes": attributes()});
    let point = |rest: Value| {
        let mut point = json!({"startTimeUnixNano": START.to_string(), "timeUnixNano": (START + 5).to_string(),
            "attributes": attributes(), "flags": 1});
        point.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        point
    };
    let histogram = point(
        json!({"count": "3", "sum": 4.5, "bucketCounts": ["1", "2"], "explicitBounds": [1.0], "min": 0.5, "max": 2.0,
        "exemplars": [exemplar]}),
    );
    let exponential = point(
        json!({"count": "6", "sum": 4.5, "scale": -1, "zeroCount": "1", "zeroThreshold": 0.25,
        "positive": {"offset": -2, "bucketCounts": ["1", "2"]}, "negative": {"offset": 3, "bucketCounts": ["2"]}, "min": -9.0, "max": 2.0}),
    );
    let summary = point(
        json!({"count": "2", "sum": 3.0, "quantileValues": [{"quantile": 0.5, "value": 1.0}, {"quantile": 1.0, "value": "NaN"}]}),
    );
    let all = json!([
        {"name": "gauge", "description": "d", "unit": "s", "gauge": {"dataPoints": [point(json!({"asDouble": 1.5})), point(json!({"asInt": "-7"}))]},
            "metadata": [value(&json!({"boolValue": true}))]},
        {"name": "sum", "sum": {"dataPoints": [point(json!({"asInt": "7"}))], "aggregationTemporality": 2, "isMonotonic": true}},
        {"name": "histogram", "histogram": {"dataPoints": [histogram], "aggregationTemporality": 1}},
        {"name": "exponential", "exponentialHistogram": {"dataPoints": [exponential], "aggregationTemporality": 2}},
        {"name": "summary", "summary": {"dataPoints": [summary]}},
    ]);
    json!({"resourceMetrics": [{"resource": resource("one"), "schemaUrl": "r",
        "scopeMetrics": [{"scope": scope(), "schemaUrl": "s", "metrics": all}]}]})
}

async fn filled(dir: &Path) -> Server {
    let server = Server::start(dir);
    // Two resources, more spans than a request takes.
    for (signal, body) in [
        ("traces", spans("one", 0, 1_200)),
        ("traces", spans("two", 1_200, 3)),
        ("logs", logs()),
        ("metrics", metrics()),
    ] {
        let url = server.http.replace("traces", signal);
        let (status, answer) = post(&url, "application/json", None, body.to_string().into()).await;
        assert_eq!((status, String::from_utf8_lossy(&answer).into_owned()), (200, "{}".to_owned()));
    }
    server
}

/// Attributes have no order.
fn sorted(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                sorted(member);
                if let (true, Value::Array(pairs)) = (name == "attributes", member) {
                    pairs.sort_by_key(|pair| pair["key"].to_string());
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(sorted),
        _ => {}
    }
}

/// Every record with its resource and scope, in order.
fn records(lines: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in lines.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        sorted(&mut line);
        for (resources, scopes, records) in [
            ("resourceSpans", "scopeSpans", "spans"),
            ("resourceLogs", "scopeLogs", "logRecords"),
            ("resourceMetrics", "scopeMetrics", "metrics"),
        ] {
            for of in line[resources].as_array().into_iter().flatten() {
                for scoped in of[scopes].as_array().unwrap() {
                    for record in scoped[records].as_array().unwrap() {
                        let origin =
                            [&of["resource"], &of["schemaUrl"], &scoped["scope"], &scoped["schemaUrl"]];
                        out.push(format!("{record} {origin:?}"));
                    }
                }
            }
        }
    }
    out.sort();
    out
}

fn exported(server: &Server, arguments: &[&str]) -> String {
    let (code, out, told) = ask(server.ready["api"].as_str().unwrap(), &[&["export"], arguments].concat());
    assert_eq!(code, 0, "{told}");
    out
}

fn import(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    let endpoint = server.http.strip_suffix("/v1/traces").unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_agentvitals"))
        .args(["import", "--endpoint", endpoint])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_out_and_into_another_server_as_it_came() {
    let dir = tempdir().unwrap();
    let server = filled(&dir.path().join("one")).await;
    for (table, sent) in [
        ("spans", vec![spans("one", 0, 1_200), spans("two", 1_200, 3)]),
        ("logs", vec![logs()]),
        ("metrics", vec![metrics()]),
    ] {
        let wanted = sent.iter().map(|request| format!("{request}\n")).collect::<String>();
        let lines = exported(&server, &["--table", table]);
        let (found, wanted) = (records(&lines), records(&wanted));
        // Zeros are left out, as protobuf has it.
        let plain = |records: &[String]| {
            records
                .iter()
                .map(|record| {
                    record
                        .replace(r#""kind":0,"#, "")
                        .replace(r#","parentSpanId":"""#, "")
                        .replace(r#""code":0,"#, "")
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(plain(&found), plain(&wanted), "{table}");

        let file = dir.path().join(format!("{table}.jsonl"));
        exported(&server, &["--table", table, "--output", file.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), lines);
    }
    let parquet = dir.path().join("spans.parquet");
    exported(&server, &["--format", "parquet", "--output", parquet.to_str().unwrap()]);
    let files: Vec<String> = ["spans", "logs", "metrics"].map(|table| format!("{table}.jsonl")).to_vec();
    let files: Vec<_> = files.iter().map(|file| dir.path().join(file).to_str().unwrap().to_owned()).collect();

    let other = Server::start(&dir.path().join("two"));
    let (code, out, told) = import(&other, &[&files[0], &files[1], &files[2], "--json"]);
    let counts =
        |spans: u64, logs: u64, points: u64| json!({"spans": spans, "logs": logs, "metric_points": points});
    assert_eq!(code, 0, "{told}");
    let wanted = json!({"sent": counts(1_203, 2, 6), "rejected": counts(0, 0, 0), "reason": null});
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), wanted);
    for table in ["spans", "logs", "metrics"] {
        let of = |server| records(&exported(server, &["--table", table]));
        assert_eq!(of(&other), of(&server), "{table}");
    }
    // Twice is once, and Parquet is the same as lines.
    assert_eq!(import(&other, &[parquet.to_str().unwrap()]).1, "sent 1203 spans; rejected nothing\n");
    let third = Server::start(&dir.path().join("three"));
    assert_eq!(import(&third, &[parquet.to_str().unwrap()]).0, 0);
    let of = |server| records(&exported(server, &[]));
    assert_eq!(of(&third), of(&server));
    assert_eq!(of(&other), of(&server));

    // A filter, and a time range.
    let some = exported(&server, &["{ resource.service.name = \"two\" && kind = server }"]);
    assert_eq!(records(&some).len(), 1);
    let none = exported(&server, &["--since", "2001-01-01T00:00:00Z", "--until", "2001-01-02T00:00:00Z"]);
    assert_eq!(none, "");
}

/// What the API of Jaeger answers is what its users have as files.
#[tokio::test(flavor = "multi_thread")]
async fn jaegers_files_come_back_as_they_went() {
    let dir = tempdir().unwrap();
    let server = filled(&dir.path().join("one")).await;
    let trace = async |server: &Server| {
        let url = server.api("/jaeger/api/traces/191");
        reqwest::get(url).await.unwrap().text().await.unwrap()
    };
    let text = trace(&server).await;
    let file = dir.path().join("trace.json");
    std::fs::write(&file, &text).unwrap();
    let other = Server::start(&dir.path().join("two"));
    assert_eq!(import(&other, &[file.to_str().unwrap()]).1, "sent 3 spans; rejected nothing\n");
    let back: Value = serde_json::from_str(&trace(&other).await).unwrap();
    assert_eq!(back["data"], serde_json::from_str::<Value>(&text).unwrap()["data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_told() {
    let dir = tempdir().unwrap();
    let server = filled(&dir.path().join("one")).await;
    let api = server.ready["api"].as_str().unwrap();
    let file = dir.path().join("out");
    let output = file.to_str().unwrap();
    for (wrong, told) in [
        (&["--table", "traces"][..], "expected spans, logs or metrics"),
        (&["--format", "csv"], "expected otlp or parquet"),
        (&["--format", "parquet"], "needs a name"),
        (&["--format", "parquet", "--table", "logs", "--output", output], "is of spans"),
        (&["{", "--output", output], "^"),
        (&["--since", "soon"], "--since"),
    ] {
        let (code, out, error) = ask(api, &[&["export"], wrong].concat());
        assert!(code == 2 && out.is_empty() && error.contains(told), "{wrong:?}: {error}");
        assert!(!file.exists());
    }
    // One span of two is none.
    let spans = json!({"resourceSpans": [{"scopeSpans": [{"spans": [
        {"traceId": format!("{:032x}", 7), "spanId": format!("{:016x}", 7), "name": "a", "startTimeUnixNano": "1", "endTimeUnixNano": "2"},
        {"traceId": "", "spanId": format!("{:016x}", 8), "name": "b"}]}]}]});
    std::fs::write(&file, spans.to_string()).unwrap();
    let (code, out, _) = import(&server, &[output]);
    assert!(code == 1 && out.contains("sent 2 spans; rejected 1 spans") && out.contains("trace_id"), "{out}");
    let (code, _, told) = import(&server, &[dir.path().join("nothing").to_str().unwrap()]);
    assert!(code == 2 && told.contains("nothing"), "{told}");
    // Nobody is there.
    let ended = Command::new(env!("CARGO_BIN_EXE_agentvitals"))
        .args(["import", "--endpoint", "http://127.0.0.1:9", output])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
}

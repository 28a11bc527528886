//! The client of the SDK: the same questions about the same spans to every backend, one answer.
//!
//! Always: the collector by each of its three APIs. With `AGENTVITALS_JAEGER` or `AGENTVITALS_TEMPO` (the address of its queries and
//! that of OTLP/HTTP, a comma between) and `AGENTVITALS_CLICKHOUSE` (the address of its HTTP interface) those too, which must be
//! empty. The spans are of September 2026: a Tempo shows them at once only with a long `ingestion_time_range_slack` (of
//! `live_store.wal` and `storage.trace.wal`) and a long `query_backend_after` (of `query_frontend.search`).
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::time::Duration;

use agentvitals::query::{
    Client, Filter, FoundSpan, Kind, SpanQuery, Status, attribute, duration, kind, name, resource_attribute,
    service, span_attribute, status, status_message,
};
use serde_json::{Value, json};
use tempfile::tempdir;

use self::common::{Server, ask, post};

const START: i64 = 1_790_000_000_000_000_000;
const SPANS: i64 = 120;

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn at(number: i64) -> usize {
    usize::try_from(number).unwrap()
}

/// Traces of three spans each: an agent, its model call, its tool; of two services in turn.
fn span(id: i64) -> Value {
    let role = id % 3;
    let mut attributes = vec![
        text("gen_ai.agent.name", ["planner", "writer", "the \"critic\""][at(id / 3 % 3)]),
        json!({"key": "number", "value": {"intValue": id.to_string()}}),
        json!({"key": "half", "value": {"doubleValue": 0.5 * id as f64}}),
    ];
    if role == 1 {
        attributes.push(json!({"key": "streamed", "value": {"boolValue": id % 2 == 0}}));
        attributes.push(text("code", &(id % 5).to_string()));
    }
    if role == 2 {
        attributes.push(text("region", "of the span"));
    }
    let status =
        if id % 7 == 0 { json!({"code": 2, "message": "it's gone"}) } else { json!({"code": id % 2}) };
    let (names, kinds) = (["invoke_agent", "chat", "execute_tool look"], [1, 3, 1]);
    // Whole microseconds, which Jaeger keeps.
    let start = START + id * 1_000_000;
    json!({"traceId": format!("{:032x}", id / 3 + 1), "spanId": format!("{:016x}", id + 1),
        "parentSpanId": if role == 0 { String::new() } else { format!("{:016x}", id - role + 1) },
        "name": names[at(role)], "kind": kinds[at(role)],
        "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + (id % 10 + 1) * 100_000).to_string(),
        "attributes": attributes, "status": status})
}

fn request() -> Value {
    let of = |service: &str, odd: i64| {
        let spans: Vec<Value> = (0..SPANS).filter(|id| id / 3 % 2 == odd).map(span).collect();
        json!({"resource": {"attributes": [text("service.name", service), text("region", "eu")]},
            "scopeSpans": [{"scope": {"name": "agents"}, "spans": spans}]})
    };
    json!({"resourceSpans": [of("shop", 0), of("stock", 1)]})
}

fn millis(millis: i64) -> i64 {
    START + millis * 1_000_000
}

/// Questions, and how many spans they find.
/// Filters as texts, each part of the grammar that every backend can be asked.
const TEXTS: [(&str, usize); 16] = [
    ("{ }", 120),
    ("{ name = `chat` }", 40),
    ("{ span:name =~ \"execute_tool .*\" && resource.service.name = \"stock\" }", 20),
    ("{ kind = client || status = error }", 52),
    ("{ status != error && span:kind != client || .number < 10 }", 72),
    ("{ status != error && (kind != client || .number < 10) }", 70),
    ("{ statusMessage = \"it's gone\" }", 18),
    ("{ duration >= 900us && duration < 1ms }", 12),
    ("{ 900000 < duration }", 12),
    ("{ .gen_ai.agent.name = \"the \\\"critic\\\"\" }", 39),
    ("{ 100 <= .number && .half < 55.0 }", 10),
    ("{ .number > 100ns }", 19),
    ("{ .streamed }", 20),
    ("{ .streamed != nil && .streamed != true }", 20),
    ("{ .\"region\" = \"eu\" && span.region = nil }", 80),
    ("{ .nothing !~ `x.*` }", 0),
];

fn questions() -> Vec<(SpanQuery, usize)> {
    let texts = TEXTS.iter().map(|(text, count)| (text.parse::<Filter>().unwrap(), *count));
    let of = |filter: Filter| SpanQuery::new().filter(filter).since(START).until(millis(SPANS)).limit(1_000);
    let micros = Duration::from_micros;
    let mut all = vec![
        (of(Filter::All), 120),
        (of(Filter::All).limit(7), 7),
        (of(Filter::All).since(millis(10)).until(millis(20)), 10),
        (of(Filter::All).since(millis(10)).until(millis(10)), 0),
        (of(service().eq("shop")), 60),
        (of(service().eq("nobody")), 0),
        (of(service().matches("s.o.k")), 60),
        (of(name().eq("chat")), 40),
        (of(name().ne("chat")), 80),
        (of(name().matches("execute_tool .*")), 40),
        (of(name().not_matches("execute_tool .*") & service().eq("stock")), 40),
        (of(kind().eq(Kind::Client)), 40),
        (of(kind().ne(Kind::Client) & status().eq(Status::Error)), 12),
        (of(status().eq(Status::Error)), 18),
        (of(status().eq(Status::Unset)), 51),
        (of(status().ne(Status::Error)), 102),
        (of(status_message().eq("it's gone")), 18),
        (of(status_message().matches("it's.*") | name().eq("chat")), 52),
        (of(duration().gt(micros(900))), 12),
        (of(duration().ge(micros(900)) & duration().lt(micros(1_000))), 12),
        (of(attribute("gen_ai.agent.name").eq("planner")), 42),
        (of(attribute("gen_ai.agent.name").eq("the \"critic\"")), 39),
        (of(span_attribute("gen_ai.agent.name").ne("planner")), 78),
        (of(attribute("number").eq(17)), 1),
        (of(attribute("number").ge(100) & attribute("half").lt(55.0)), 10),
        (of(attribute("half").eq(17)), 1),
        (of(attribute("streamed").eq(true)), 20),
        (of(attribute("streamed").ne(true)), 20),
        (of(attribute("streamed").exists()), 40),
        (of(attribute("streamed").missing()), 80),
        (of(attribute("code").eq("3")), 8),
        (of(attribute("code").gt("3")), 8),
        (of(attribute("region").eq("eu")), 80),
        (of(attribute("region").eq("of the span")), 40),
        (of(resource_attribute("region").eq("eu")), 120),
        (of(span_attribute("region").missing()), 80),
        (of((attribute("number").lt(10) | attribute("number").gt(110)) & service().eq("shop")), 9),
        (of(attribute("nothing").eq("x")), 0),
        (of(attribute("nothing").ne("x")), 0),
        (of(attribute("nothing").missing() & name().eq("chat")).limit(3), 3),
    ];
    all.extend(texts.map(|(filter, count)| (of(filter), count)));
    all
}

/// What backends may keep in their own ways is left out: types of values.
fn plain(spans: &[FoundSpan], as_text: bool) -> Vec<Value> {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone().into(),
        // ClickHouse's exporter writes 1 for 1.0.
        Value::Number(number) if as_text => match number.as_f64().filter(|number| number.fract() == 0.0) {
            Some(whole) => format!("{whole}").into(),
            None => number.to_string().into(),
        },
        other if as_text => other.to_string().into(),
        other => other.clone(),
    };
    let plain = |span: &FoundSpan| {
        let mut span = serde_json::to_value(span).unwrap();
        for member in ["attributes", "resource"] {
            for value in span[member].as_object_mut().unwrap().values_mut() {
                *value = shown(value);
            }
        }
        span
    };
    spans.iter().map(plain).collect()
}

async fn compare(wanted: &Client, other: &Client, backend: &str, as_text: bool) {
    for (query, count) in questions() {
        let shown = format!("{backend}: {} from {query:?}", query.traceql());
        let wanted =
            wanted.spans(&query).await.unwrap_or_else(|error| panic!("the collector: {shown}: {error}"));
        assert_eq!(wanted.len(), count, "{shown}");
        let found = other.spans(&query).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(plain(&found, as_text), plain(&wanted, as_text), "{shown}");
    }
    for id in ["1", &format!("{:032x}", 40), "ffff"] {
        let (wanted, found) = (wanted.trace(id).await.unwrap(), other.trace(id).await.unwrap());
        assert_eq!(wanted.len(), if id == "ffff" { 0 } else { 3 });
        assert_eq!(plain(&found, as_text), plain(&wanted, as_text), "{backend}: the trace {id}");
    }
}

async fn served() -> (Server, tempfile::TempDir) {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    assert_eq!(post(&server.http, "application/json", None, request().to_string().into()).await.0, 200);
    (server, dir)
}

/// Feature: K9
#[tokio::test(flavor = "multi_thread")]
async fn the_collector_answers_the_same_by_each_api() {
    let (server, _dir) = served().await;
    let collector = Client::collector(&server.api("")).unwrap();
    // What the server itself takes the texts for.
    for (text, count) in TEXTS {
        let (code, out, error) = ask(&server.api(""), &["count", text, "--json"]);
        assert_eq!(code, 0, "{text}: {error}");
        let counted: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(counted["count"], count, "{text}");
    }
    compare(&collector, &Client::tempo(&server.api("/tempo")).unwrap(), "Tempo's API", false).await;
    compare(&collector, &Client::jaeger(&server.api("/jaeger")).unwrap(), "Jaeger's API", false).await;
}

/// Sends the spans to a backend and waits until it shows them.
async fn filled(variable: &str, client: fn(&str) -> Result<Client, agentvitals::Error>) -> Option<Client> {
    let Ok(addresses) = std::env::var(variable) else {
        eprintln!("SKIPPED: {variable} is not set");
        return None;
    };
    let (queries, otlp) = addresses.split_once(',').unwrap();
    let sent =
        post(&format!("{otlp}/v1/traces"), "application/json", None, request().to_string().into()).await;
    assert_eq!(sent.0, 200);
    let client = client(queries).unwrap();
    let all = SpanQuery::new().since(START).until(millis(SPANS)).limit(1_000);
    for _ in 0..300 {
        if client.spans(&all).await.is_ok_and(|found| found.len() == 120) {
            return Some(client);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{queries} does not show the spans");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_jaeger_answers_the_same() {
    if let Some(jaeger) = filled("AGENTVITALS_JAEGER", Client::jaeger).await {
        let (server, _dir) = served().await;
        compare(&Client::collector(&server.api("")).unwrap(), &jaeger, "Jaeger", false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_tempo_answers_the_same() {
    if let Some(tempo) = filled("AGENTVITALS_TEMPO", Client::tempo).await {
        let (server, _dir) = served().await;
        compare(&Client::collector(&server.api("")).unwrap(), &tempo, "Tempo", false).await;
    }
}

/// The table of the exporter of the OpenTelemetry Collector, without its codecs and indexes, which change no answer.
const TABLE: &str = "CREATE TABLE otel_traces (Timestamp DateTime64(9), TraceId String, SpanId String, ParentSpanId String, \
    TraceState String, SpanName LowCardinality(String), SpanKind LowCardinality(String), ServiceName LowCardinality(String), \
    ResourceAttributes Map(LowCardinality(String), String), ScopeName String, ScopeVersion String, \
    SpanAttributes Map(LowCardinality(String), String), Duration UInt64, StatusCode LowCardinality(String), StatusMessage String) \
    ENGINE = MergeTree ORDER BY (ServiceName, SpanName, toDateTime(Timestamp), Timestamp)";

/// The rows that the exporter writes.
fn rows() -> String {
    let value = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let texts = |pairs: &Value| -> Value {
        let pair = |pair: &Value| {
            let of = pair["value"].as_object().unwrap().values().next().unwrap();
            // As Go writes numbers.
            let of = of.as_f64().map_or_else(|| value(of), |number| format!("{number}"));
            (pair["key"].as_str().unwrap().to_owned(), Value::from(of))
        };
        Value::Object(pairs.as_array().unwrap().iter().map(pair).collect())
    };
    let mut out = String::new();
    for of in request()["resourceSpans"].as_array().unwrap() {
        let resource = texts(&of["resource"]["attributes"]);
        for span in of["scopeSpans"][0]["spans"].as_array().unwrap() {
            let nanos = |name: &str| span[name].as_str().unwrap().parse::<i64>().unwrap();
            let start = nanos("startTimeUnixNano");
            let statuses = ["Unset", "Ok", "Error"];
            let row = json!({"Timestamp": format!("{}.{:09}", start / 1_000_000_000, start % 1_000_000_000),
                "TraceId": span["traceId"], "SpanId": span["spanId"], "ParentSpanId": span["parentSpanId"], "SpanName": span["name"],
                "SpanKind": if span["kind"] == 3 { "Client" } else { "Internal" }, "ServiceName": resource["service.name"],
                "ResourceAttributes": resource, "SpanAttributes": texts(&span["attributes"]),
                "Duration": nanos("endTimeUnixNano") - start, "StatusMessage": span["status"]["message"].as_str().unwrap_or_default(),
                "StatusCode": statuses[at(span["status"]["code"].as_i64().unwrap())]});
            out += &format!("{row}\n");
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_clickhouse_answers_the_same() {
    let Ok(address) = std::env::var("AGENTVITALS_CLICKHOUSE") else {
        eprintln!("SKIPPED: AGENTVITALS_CLICKHOUSE is not set");
        return;
    };
    for statement in [TABLE.to_owned(), format!("INSERT INTO otel_traces FORMAT JSONEachRow\n{}", rows())] {
        let (status, told) = post(&address, "text/plain", None, statement.into()).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&told));
    }
    let (server, _dir) = served().await;
    let clickhouse = Client::clickhouse(&address).unwrap();
    compare(&Client::collector(&server.api("")).unwrap(), &clickhouse, "ClickHouse", true).await;
    let missing = Client::clickhouse(&address).unwrap().table("nothing.otel_traces").unwrap();
    assert!(missing.spans(&SpanQuery::new()).await.unwrap_err().is_backend());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_an_error_and_no_answer() {
    let (server, _dir) = served().await;
    let address = server.api("");
    let query = SpanQuery::new();
    // A token that is missing, a server that is none of these, nobody.
    let error = Client::clickhouse(&address).unwrap().spans(&query).await.unwrap_err();
    assert!(error.is_backend() && error.to_string().contains(&address), "{error}");
    let error = Client::collector("http://127.0.0.1:9").unwrap().spans(&query).await.unwrap_err();
    assert!(error.is_backend() && error.to_string().contains("127.0.0.1:9"), "{error}");
    for client in [Client::collector(&address), Client::tempo(&address), Client::jaeger(&address)] {
        let client = client.unwrap();
        let wrong = query.clone().filter(name().matches("("));
        assert!(client.spans(&wrong).await.is_err());
        assert!(client.trace("no id").await.unwrap_err().is_config());
    }
    // A header that cannot be one, without its value, which may be a secret.
    for (name, value) in [("a b", "hidden"), ("authorization", "hidden\n")] {
        let error = Client::jaeger(&address).unwrap().header(name, value).unwrap_err();
        assert!(error.is_config() && error.to_string().contains(name), "{error}");
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}

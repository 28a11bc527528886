//! The third version of Jaeger's API over gRPC, asked by a client of gRPC.
//!
//! With `AGENTVITALS_JAEGER_GRPC` (the address of its gRPC queries and that of OTLP/HTTP, a comma between) a real and empty Jaeger is
//! asked the same, and must answer the same.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message;
use serde_json::{Value, json};
use tempfile::tempdir;
use tonic::Code;
use tonic_prost::ProstCodec;

use self::common::{Server, post};

#[derive(Clone, PartialEq, Message)]
struct GetTrace {
    #[prost(string, tag = "1")]
    trace_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Find {
    #[prost(message, optional, tag = "1")]
    query: Option<Query>,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(string, tag = "1")]
    service_name: String,
    #[prost(string, tag = "2")]
    operation_name: String,
    #[prost(map = "string, string", tag = "3")]
    attributes: HashMap<String, String>,
    #[prost(message, optional, tag = "4")]
    start_time_min: Option<Time>,
    #[prost(message, optional, tag = "5")]
    start_time_max: Option<Time>,
    #[prost(message, optional, tag = "6")]
    duration_min: Option<Time>,
    #[prost(int32, tag = "8")]
    search_depth: i32,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(string, repeated, tag = "1")]
    services: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct OperationsOf {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(string, tag = "2")]
    span_kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct Operations {
    #[prost(message, repeated, tag = "1")]
    operations: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    span_kind: String,
}

type Client = tonic::client::Grpc<tonic::transport::Channel>;

async fn client(address: &str) -> Client {
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}")).unwrap();
    Client::new(channel.connect().await.unwrap())
}

async fn one<Q, A>(client: &mut Client, method: &'static str, asked: Q) -> Result<A, tonic::Status>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    client.ready().await.unwrap();
    let codec = ProstCodec::<Q, A>::default();
    let answer = client.unary(tonic::Request::new(asked), PathAndQuery::from_static(method), codec).await;
    answer.map(tonic::Response::into_inner)
}

/// The spans of each message, by their ids.
async fn traces<Q: Message + Default + 'static>(
    client: &mut Client,
    method: &'static str,
    asked: Q,
) -> Result<Vec<Vec<Span>>, tonic::Status> {
    client.ready().await.unwrap();
    let codec = ProstCodec::<Q, TracesData>::default();
    let path = PathAndQuery::from_static(method);
    let mut stream = client.server_streaming(tonic::Request::new(asked), path, codec).await?.into_inner();
    let mut out = Vec::new();
    while let Some(message) = stream.message().await? {
        let scopes = message.resource_spans.into_iter().flat_map(|of| of.scope_spans);
        let mut spans: Vec<Span> = scopes.flat_map(|of| of.spans).collect();
        for span in &mut spans {
            span.attributes.sort_by(|a, b| a.key.cmp(&b.key));
            // Jaeger sets none where there was none.
            span.status = span.status.take().filter(|status| *status != Default::default());
            span.flags = 0;
        }
        spans.sort_by(|a, b| a.span_id.cmp(&b.span_id));
        out.push(spans);
    }
    out.sort_by(|a, b| a[0].trace_id.cmp(&b[0].trace_id));
    Ok(out)
}

fn request() -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = |id: u64, parent: u64| {
        let start = 1_790_000_000_000_000_000 + id * 1_000_000;
        json!({"traceId": format!("{:032x}", id / 2 + 1), "spanId": format!("{:016x}", id + 1), "name": if parent > 0 { "chat" } else { "run" },
            "parentSpanId": if parent > 0 { format!("{parent:016x}") } else { String::new() }, "kind": if parent > 0 { 3 } else { 1 },
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + (id + 1) * 1_000_000).to_string(),
            "attributes": [text("agent", if id < 4 { "planner" } else { "writer" }), {"key": "n", "value": {"intValue": id.to_string()}}],
            "status": if id == 3 { json!({"code": 2, "message": "no"}) } else { json!({}) }})
    };
    let spans: Vec<Value> = (0..6).map(|id| span(id, if id % 2 == 1 { id } else { 0 })).collect();
    json!({"resourceSpans": [{"resource": {"attributes": [text("service.name", "shop")]}, "scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]}]})
}

const FIND: &str = "/jaeger.api_v3.QueryService/FindTraces";
const TRACE: &str = "/jaeger.api_v3.QueryService/GetTrace";

fn query() -> Query {
    Query {
        service_name: "shop".to_owned(),
        start_time_min: Some(Time { seconds: 1_790_000_000, nanos: 0 }),
        start_time_max: Some(Time { seconds: 1_790_000_001, nanos: 0 }),
        search_depth: 10,
        ..Query::default()
    }
}

async fn operations(client: &mut Client, span_kind: &str) -> Vec<Operation> {
    let asked = OperationsOf { service: "shop".to_owned(), span_kind: span_kind.to_owned() };
    let mut found: Operations =
        one(client, "/jaeger.api_v3.QueryService/GetOperations", asked).await.unwrap();
    found.operations.sort_by(|a, b| a.name.cmp(&b.name));
    found.operations
}

/// Every answer as text, so that those of two servers can be compared.
async fn all(client: &mut Client) -> Vec<String> {
    let mut told = Vec::new();
    let services: Services =
        one(client, "/jaeger.api_v3.QueryService/GetServices", Nothing {}).await.unwrap();
    told.push(format!("{:?}", services.services));
    // Badger, which Jaeger has here, keeps no kinds of operations.
    let names: Vec<String> = operations(client, "").await.into_iter().map(|of| of.name).collect();
    told.push(format!("{names:?}"));
    let attributes = |key: &str, value: &str| HashMap::from([(key.to_owned(), value.to_owned())]);
    for query in [
        query(),
        Query { operation_name: "chat".to_owned(), ..query() },
        Query { attributes: attributes("agent", "writer"), ..query() },
        Query { attributes: attributes("n", "3"), ..query() },
        Query { duration_min: Some(Time { seconds: 0, nanos: 5_000_000 }), ..query() },
        Query { start_time_min: Some(Time { seconds: 1_790_000_000, nanos: 4_000_000 }), ..query() },
    ] {
        told.push(format!("{:?}", traces(client, FIND, Find { query: Some(query) }).await.unwrap()));
    }
    for id in [format!("{:032x}", 2), "3".to_owned()] {
        told.push(format!("{:?}", traces(client, TRACE, GetTrace { trace_id: id }).await.unwrap()));
    }
    told
}

async fn served() -> (Server, tempfile::TempDir) {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    assert_eq!(post(&server.http, "application/json", None, request().to_string().into()).await.0, 200);
    (server, dir)
}

/// Feature: K9
#[tokio::test(flavor = "multi_thread")]
async fn the_third_version_is_answered_over_grpc() {
    let (server, _dir) = served().await;
    let mut client = client(server.ready["api"].as_str().unwrap()).await;
    let told = all(&mut client).await;
    assert_eq!(told[0], "[\"shop\"]");
    assert_eq!(told[1], "[\"chat\", \"run\"]");
    let calls = Operation { name: "chat".to_owned(), span_kind: "client".to_owned() };
    assert_eq!(operations(&mut client, "client").await, [calls]);
    let traces_of = |place: usize| told[place].matches("trace_id: [").count();
    // Two spans of each trace.
    assert_eq!([2, 3, 4, 5, 6, 7].map(traces_of), [6, 6, 2, 2, 2, 2], "{told:#?}");

    let missing = traces(&mut client, TRACE, GetTrace { trace_id: "ff".to_owned() }).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let wrong = traces(&mut client, TRACE, GetTrace { trace_id: "no id".to_owned() }).await.unwrap_err();
    assert!(wrong.code() == Code::InvalidArgument && wrong.message().contains("no id"), "{wrong}");
    let wrong = traces(&mut client, FIND, Find { query: None }).await.unwrap_err();
    assert_eq!((wrong.code(), wrong.message()), (Code::InvalidArgument, "missing query"));
    let unknown: Result<Nothing, _> =
        one(&mut client, "/jaeger.api_v3.QueryService/GetNothing", Nothing {}).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_jaeger_answers_the_same_over_grpc() {
    let Ok(addresses) = std::env::var("AGENTVITALS_JAEGER_GRPC") else {
        eprintln!("SKIPPED: AGENTVITALS_JAEGER_GRPC is not set");
        return;
    };
    let (queries, otlp) = addresses.split_once(',').unwrap();
    let sent =
        post(&format!("{otlp}/v1/traces"), "application/json", None, request().to_string().into()).await;
    assert_eq!(sent.0, 200);
    let mut theirs = client(queries).await;
    // Jaeger does not say when it has written what it took; the comparison tells if it never does.
    for _ in 0..300 {
        let found = traces(&mut theirs, FIND, Find { query: Some(query()) }).await;
        if found.is_ok_and(|found| found.len() == 3) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (server, _dir) = served().await;
    let mut ours = client(server.ready["api"].as_str().unwrap()).await;
    assert_eq!(all(&mut ours).await, all(&mut theirs).await);
}

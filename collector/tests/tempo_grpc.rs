//! Tempo's API over gRPC (`tempopb.StreamingQuerier`), asked by a client of gRPC: each answer is that over HTTP.
//!
//! With `AGENTVITALS_TEMPO_GRPC` (the address of the gRPC of a real Tempo) that must take the same questions.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use http::uri::PathAndQuery;
use prost::Message;
use prost::bytes::{Buf as _, BufMut as _};
use serde_json::{Value, json};
use tempfile::tempdir;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

use self::common::{Server, post};

#[derive(Clone, PartialEq, Message)]
struct Search {
    #[prost(map = "string, string", tag = "1")]
    tags: HashMap<String, String>,
    #[prost(uint32, tag = "2")]
    min_duration_ms: u32,
    #[prost(uint32, tag = "4")]
    limit: u32,
    #[prost(uint32, tag = "5")]
    start: u32,
    #[prost(uint32, tag = "6")]
    end: u32,
    #[prost(string, tag = "8")]
    query: String,
    #[prost(uint32, tag = "9")]
    spans_per_span_set: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Tags {
    #[prost(string, tag = "1")]
    scope: String,
    #[prost(string, tag = "2")]
    query: String,
    #[prost(uint32, tag = "3")]
    start: u32,
    #[prost(uint32, tag = "4")]
    end: u32,
    #[prost(uint32, tag = "5")]
    most: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Values {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(string, tag = "2")]
    query: String,
    #[prost(uint32, tag = "4")]
    start: u32,
    #[prost(uint32, tag = "5")]
    end: u32,
    #[prost(uint32, tag = "6")]
    most: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(string, tag = "1")]
    query: String,
    #[prost(uint64, tag = "2")]
    start: u64,
    #[prost(uint64, tag = "3")]
    end: u64,
    #[prost(uint64, tag = "4")]
    step: u64,
}

/// Messages as bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

type Client = tonic::client::Grpc<tonic::transport::Channel>;

async fn client(address: &str) -> Client {
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}")).unwrap();
    Client::new(channel.connect().await.unwrap())
}

/// The messages of an answer.
async fn asked(client: &mut Client, method: &str, message: Vec<u8>) -> Result<Vec<Vec<u8>>, Status> {
    client.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/tempopb.StreamingQuerier/{method}")).unwrap();
    let mut stream = client.server_streaming(tonic::Request::new(message), path, Raw).await?.into_inner();
    let mut out = Vec::new();
    while let Some(message) = stream.message().await? {
        out.push(message);
    }
    Ok(out)
}

const SECOND: u64 = 1_000_000_000;

/// A time of today, as a real Tempo wants it for numbers over time.
static START: LazyLock<u32> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    u32::try_from(now).unwrap() - 600
});

fn request() -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = |id: u64| {
        let start = u64::from(*START) * SECOND + id * 1_000_000;
        json!({"traceId": format!("{:032x}", id / 2 + 1), "spanId": format!("{:016x}", id + 1),
            "parentSpanId": if id % 2 == 1 { format!("{id:016x}") } else { String::new() },
            "name": if id % 2 == 1 { "chat" } else { "run" }, "kind": 1,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + (id + 1) * 1_000_000).to_string(),
            "attributes": [text("agent", if id < 4 { "planner" } else { "a \"writer\"" })],
            "status": {"code": if id == 3 { 2 } else { 0 }}})
    };
    let spans: Vec<Value> = (0..6).map(span).collect();
    json!({"resourceSpans": [{"resource": {"attributes": [text("service.name", "shop")]}, "scopeSpans": [{"spans": spans}]}]})
}

/// Each question: the method and its message, and the path over HTTP.
fn questions() -> Vec<(&'static str, Vec<u8>, String)> {
    let (start, end) = (*START, *START + 60);
    let range = format!("start={start}&end={end}");
    let nanos = (u64::from(start) * SECOND, u64::from(end) * SECOND);
    let search = Search { start, end, ..Search::default() };
    let tags = |scope: &str, most| {
        let (scope, query) = (scope.to_owned(), String::new());
        Tags { scope, query, start, end, most }.encode_to_vec()
    };
    let values = |tag: &str, query: &str, most| {
        let (tag, query) = (tag.to_owned(), query.to_owned());
        Values { tag, query, start, end, most }.encode_to_vec()
    };
    let rate = "{ name = `chat` } | rate() by (span.agent)".to_owned();
    let over = Query { query: rate, start: nanos.0, end: nanos.1, step: 10 * SECOND };
    let by = "%7B%20name%20%3D%20%60chat%60%20%7D%20%7C%20rate()%20by%20(span.agent)";
    let related = Search {
        query: "{ name = `run` } > { status = error } | count() > 0".to_owned(),
        limit: 5,
        spans_per_span_set: 1,
        ..search.clone()
    };
    let quoted = HashMap::from([("agent".to_owned(), "a \"writer\"".to_owned())]);
    let by_tags = Search { tags: quoted, min_duration_ms: 2, ..search };
    vec![
        (
            "Search",
            related.encode_to_vec(),
            format!(
                "/api/search?q=%7Bname%3D%60run%60%7D%3E%7Bstatus%3Derror%7D%7Ccount()%3E0&limit=5&spss=1&{range}"
            ),
        ),
        (
            "Search",
            by_tags.encode_to_vec(),
            format!("/api/search?tags=agent%3D%22a%20%5C%22writer%5C%22%22&minDuration=2ms&{range}"),
        ),
        ("SearchTags", tags("span", 0), format!("/api/search/tags?scope=span&{range}")),
        ("SearchTagsV2", tags("", 2), format!("/api/v2/search/tags?limit=2&{range}")),
        ("SearchTagValues", values("agent", "", 0), format!("/api/search/tag/agent/values?{range}")),
        (
            "SearchTagValuesV2",
            values("span.agent", "{ status = error }", 10),
            format!("/api/v2/search/tag/span.agent/values?q=%7Bstatus%3Derror%7D&limit=10&{range}"),
        ),
        (
            "MetricsQueryRange",
            over.encode_to_vec(),
            format!("/api/metrics/query_range?q={by}&step=10s&{range}"),
        ),
        (
            "MetricsQueryInstant",
            Query { step: 0, ..over }.encode_to_vec(),
            format!("/api/metrics/query?q={by}&{range}"),
        ),
    ]
}

#[tokio::test]
async fn grpc_answers_what_http_answers() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    assert_eq!(post(&server.http, "application/json", None, request().to_string().into()).await.0, 200);
    let mut ours = client(&server.api("").trim_start_matches("http://").replace('/', "")).await;
    let plain = reqwest::Client::new();
    for (method, message, path) in questions() {
        let messages = asked(&mut ours, method, message).await.unwrap();
        let request = plain.get(server.api(&path)).header("accept", "application/protobuf");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let body = response.bytes().await.unwrap();
        assert!(!body.is_empty(), "{path}");
        assert_eq!(messages, [body.to_vec()], "{method}");
    }
    let wrong = Search { query: "{ name = }".to_owned(), ..Search::default() }.encode_to_vec();
    let refused = asked(&mut ours, "Search", wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("at byte 9"), "{refused}");
    assert_eq!(asked(&mut ours, "Searches", Vec::new()).await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(asked(&mut ours, "Search", vec![0xff]).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_real_tempo_takes_the_same_questions() {
    let Ok(address) = std::env::var("AGENTVITALS_TEMPO_GRPC") else { return };
    let mut tempo = client(&address).await;
    for (method, message, _) in questions() {
        asked(&mut tempo, method, message).await.unwrap_or_else(|status| panic!("{method}: {status}"));
    }
}

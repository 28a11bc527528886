//! The model server, asked over a plain socket: what any client of the chat completions API gets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::time::Duration;

use agentvitals_collector::demo::{ModelServer, Speed, runs};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const RUNS: &str = r#"{"run_id":"r","agents":[{"name":"a"}],"outcome":{"success":null},"steps":[
{"kind":"model_call","agent":"a","model":"m-1","response_model":"m-1-0101","response_id":"cmpl-1","output_text":"Grüße aus Zürich 🙂, and some more words.","finish_reason":"stop","prompt_tokens":120,"completion_tokens":30,"cached_tokens":64,"reasoning_tokens":8,"duration_ms":100},
{"kind":"tool_call","agent":"a","tool":"t"},
{"kind":"model_call","agent":"a","model":"m-1","output_text":null,"tool_calls":[{"id":"c1","name":"find","arguments":{"q":"x"}},{"id":null,"name":"stop","arguments":{}}],"finish_reason":"tool_calls"},
{"kind":"model_call","agent":"a","model":"m-1","error":{"type":"rate_limit_error","message":"slow down"}},
{"kind":"model_call","agent":"a","model":"m-1","error":{"type":"api_error","message":"oh no"}},
{"kind":"model_call","agent":"a","model":"m-1","output_text":"??","prompt_tokens":0,"completion_tokens":2,"error":{"type":"format_error","message":"unusable"}}]}"#;

async fn server() -> ModelServer {
    let runs = runs::read(RUNS.replace('\n', "").as_bytes(), "test").unwrap();
    ModelServer::start(runs.into(), Speed::MAX).await.unwrap()
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The data of the events of a streamed answer.
    fn events(&self) -> Vec<&str> {
        assert!(self.head.contains("content-type: text/event-stream"), "{}", self.head);
        self.body.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
    }
}

/// One request over a connection of its own.
async fn send(server: &ModelServer, path: &str, headers: &str, body: &str) -> Answer {
    let url = server.base_url();
    let address = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/v1")).unwrap();
    let exchange = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let text = tokio::time::timeout(Duration::from_secs(10), exchange).await.expect("no answer in time");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() };
    Answer { status, head: head.to_ascii_lowercase(), body }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].strip_prefix("\r\n").unwrap();
    }
}

async fn ask(server: &ModelServer, step: &str, more: Value) -> Answer {
    let mut body = json!({"model": "m-1", "messages": [{"role": "user", "content": "hi"}]});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    let headers = format!("x-replay-run: 0\r\nx-replay-step: {step}\r\ncontent-type: application/json\r\n");
    send(server, "/v1/chat/completions", &headers, &body.to_string()).await
}

#[tokio::test]
async fn a_recorded_answer_comes_back_whole_with_its_usage() {
    let server = server().await;
    let answer = ask(&server, "0", json!({})).await;
    assert_eq!(answer.status, 200);
    let expected = json!({
        "id": "cmpl-1", "object": "chat.completion", "model": "m-1-0101",
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Grüße aus Zürich 🙂, and some more words."},
        }],
        "usage": {
            "prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 8},
        },
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(server.answered(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_streamed_answer_comes_in_chunks_with_usage_at_the_end() {
    let server = server().await;
    let streamed = json!({"stream": true, "stream_options": {"include_usage": true}});
    let answer = ask(&server, "0", streamed).await;
    let mut events = answer.events();
    assert_eq!(events.pop(), Some("[DONE]"));
    let chunks: Vec<Value> = events.iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == "cmpl-1"));
    let pieces: Vec<_> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert!(pieces.len() > 3, "{pieces:?}");
    assert_eq!(pieces.concat(), "Grüße aus Zürich 🙂, and some more words.");
    let [.., end, usage] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert_eq!(end["choices"][0]["finish_reason"], "stop");
    assert_eq!((&usage["choices"], &usage["usage"]["prompt_tokens"]), (&json!([]), &json!(120)));

    let without = ask(&server, "0", json!({"stream": true})).await;
    assert!(without.events().iter().all(|data| !data.contains("usage")), "{}", without.body);
}

#[tokio::test]
async fn tool_calls_are_answered_and_what_was_not_recorded_is_left_out() {
    let server = server().await;
    let whole = ask(&server, "2", json!({})).await.json();
    let message = &whole["choices"][0]["message"];
    let find =
        json!({"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{\"q\":\"x\"}"}});
    assert_eq!(message["tool_calls"][0], find);
    assert_eq!(message["content"], Value::Null);
    for absent in ["usage", "id", "model"] {
        assert_eq!(whole.get(absent), None, "{absent}");
    }
    assert_eq!(message["tool_calls"][1].get("id"), None);

    let streamed =
        ask(&server, "2", json!({"stream": true, "stream_options": {"include_usage": true}})).await;
    let deltas: Vec<Value> =
        streamed.events().iter().filter_map(|data| serde_json::from_str(data).ok()).collect();
    let calls: Vec<_> = deltas
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array())
        .flatten()
        .collect();
    assert_eq!(calls.len(), 2, "{deltas:?}");
    assert_eq!((&calls[1]["index"], &calls[1]["function"]["name"]), (&json!(1), &json!("stop")));
    assert!(!streamed.body.contains("usage"), "{}", streamed.body);
}

#[tokio::test]
async fn a_refused_call_has_the_status_of_its_error_and_an_unusable_answer_is_an_answer() {
    let server = server().await;
    for (step, status, kind) in [("3", 429, "rate_limit_error"), ("4", 500, "api_error")] {
        for stream in [false, true] {
            let answer = ask(&server, step, json!({"stream": stream})).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.json()["error"]["type"], kind);
        }
    }
    let unusable = ask(&server, "5", json!({})).await;
    assert_eq!(unusable.status, 200);
    assert_eq!(
        unusable.json()["usage"],
        json!({"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2})
    );
}

#[tokio::test]
async fn a_request_that_cannot_be_answered_is_told_why() {
    let server = server().await;
    let path = "/v1/chat/completions";
    let good = r#"{"model":"m-1","messages":[{}]}"#;
    let at = |run: &str, step: &str| format!("x-replay-run: {run}\r\nx-replay-step: {step}\r\n");
    let cases = [
        (path, String::new(), good, 400, "x-replay-run is missing"),
        (path, "x-replay-run: 0\r\n".to_owned(), good, 400, "x-replay-step is missing"),
        (path, at("zero", "0"), good, 400, "expected a position"),
        (path, at("0", "-1"), good, 400, "expected a position"),
        (path, at("1", "0"), good, 400, "there is no step 0 in run 1"),
        (path, at("0", "6"), good, 400, "there is no step 6 in run 0"),
        (path, at("0", "1"), good, 400, "is a tool call"),
        (path, at("0", "0"), "{", 400, "no chat completion request"),
        (path, at("0", "0"), r#"{"model":"m-1"}"#, 400, "missing field `messages`"),
        (path, at("0", "0"), r#"{"model":"m-1","messages":[]}"#, 400, "`messages` is empty"),
        (path, at("0", "0"), r#"{"model":"m-2","messages":[{}]}"#, 404, "asked for \\\"m-1\\\""),
        ("/v1/embeddings", at("0", "0"), good, 404, "/v1/chat/completions"),
    ];
    for (path, headers, body, status, told) in cases {
        let answer = send(&server, path, &headers, body).await;
        assert_eq!(answer.status, status, "{body} {}", answer.body);
        assert!(answer.body.contains(told), "{} has no {told}", answer.body);
        assert!(answer.json()["error"]["message"].is_string());
    }
    assert_eq!(server.answered(), 0);
}

//! Streamable HTTP: a POST each, answered by JSON or by a stream of events.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde_json::Value;

use super::exchange::{MODERN, Reply, Wire, answer_of};
use crate::http_client::Client;
use crate::probe::Failure;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

pub(super) struct Stream {
    client: Client,
    url: Uri,
    headers: HeaderMap,
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

impl Stream {
    pub(super) fn new(client: Client, url: Uri, mut headers: HeaderMap) -> Self {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        Self { client, url, headers, session: None, version: None }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.extend(self.session.clone().map(|session| (SESSION, session)));
        headers.extend(self.version.clone().map(|version| (VERSION, version)));
        headers
    }

    /// Ends the session, if there is one: a server keeps it for minutes otherwise.
    pub(super) async fn end(self) {
        if self.session.is_some() {
            // It goes on its own without.
            let _ = self.client.send(Method::DELETE, self.url.clone(), self.headers(), Vec::new()).await;
        }
    }
}

/// The answer of an id in what has been read of a body: as JSON, or as the data of events.
fn find(body: &[u8], events: bool, id: &Value) -> Option<Reply> {
    if !events {
        return answer_of(&serde_json::from_slice(body).ok()?, id);
    }
    let text = std::str::from_utf8(body).ok()?;
    // An event is whole at the empty line that ends it.
    let text = text.replace("\r\n", "\n");
    let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
    whole.split("\n\n").find_map(|event| {
        let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
        let data: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        answer_of(&serde_json::from_str(&data.join("\n")).ok()?, id)
    })
}

impl Wire for Stream {
    async fn call(&mut self, request: Value, modern: bool, name: Option<&str>) -> Result<Reply, Failure> {
        let id = request["id"].clone();
        let mut headers = self.headers();
        if modern {
            headers.insert(VERSION, HeaderValue::from_static(MODERN));
            let text = |text: &str| HeaderValue::from_str(text).ok();
            headers.extend(request["method"].as_str().and_then(text).map(|method| (METHOD, method)));
            headers.extend(name.and_then(text).map(|name| (NAME, name)));
        }
        // Which of the two it is shows in the body: neither begins as the other does.
        let events = |body: &[u8]| !body.trim_ascii_start().starts_with(b"{");
        let enough = |body: &[u8]| events(body) && find(body, true, &id).is_some();
        let sent =
            self.client.send_until(Method::POST, self.url.clone(), headers, request.to_string(), enough);
        let answer = sent.await.map_err(|why| Failure::new("unreachable", why))?;
        if let Some(session) = answer.headers.get(SESSION) {
            self.session = Some(session.clone());
        }
        let reply = find(&answer.body, events(&answer.body), &id);
        if let (Some(Reply::Result(result)), "initialize") =
            (&reply, request["method"].as_str().unwrap_or(""))
        {
            self.version = result["protocolVersion"].as_str().and_then(|version| version.parse().ok());
        }
        if answer.status.is_server_error() || answer.status == StatusCode::UNAUTHORIZED {
            return Err(Failure::new("status", format!("answered {}", answer.status)));
        }
        match reply {
            Some(reply) => Ok(reply),
            None if answer.status.is_success() => Err(Failure::new(
                "protocol",
                format!("no answer to {} in what was answered", request["method"]),
            )),
            None => Ok(Reply::Error(format!("answered {}", answer.status))),
        }
    }

    async fn notify(&mut self, notification: Value) -> Result<(), Failure> {
        let sent = self.client.send(Method::POST, self.url.clone(), self.headers(), notification.to_string());
        let answer = sent.await.map_err(|why| Failure::new("unreachable", why))?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(Failure::new("status", format!("a notification was answered {}", answer.status))),
        }
    }
}

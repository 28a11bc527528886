//! The agents' client of the chat completions API: plain HTTP, streamed or not.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::model_server::{RUN_HEADER, STEP_HEADER};
use super::sse::Events;
use crate::Error;

/// What a call may take longer than recorded before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A client of one model server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
}

/// One call.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) model: &'a str,
    pub(super) messages: Vec<Value>,
    pub(super) stream: bool,
    /// Which recorded call this is: position of the run, position of the step.
    pub(super) recorded: (usize, usize),
    /// How long the answer is expected to take.
    pub(super) expected: Duration,
}

/// What a model answered. What the answer did not say is `None`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Completion {
    pub(super) id: Option<String>,
    pub(super) model: Option<String>,
    pub(super) text: String,
    pub(super) tool_calls: Vec<Value>,
    pub(super) finish_reason: Option<String>,
    pub(super) usage: Option<Usage>,
}

/// Tokens in the words of the API.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Clone, Copy)]
pub(super) struct Usage {
    pub(super) prompt_tokens: Option<u64>,
    pub(super) completion_tokens: Option<u64>,
    #[serde(default)]
    pub(super) prompt_tokens_details: PromptDetails,
    #[serde(default)]
    pub(super) completion_tokens_details: CompletionDetails,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize, Clone, Copy)]
pub(super) struct PromptDetails {
    pub(super) cached_tokens: Option<u64>,
    pub(super) cache_write_tokens: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize, Clone, Copy)]
pub(super) struct CompletionDetails {
    pub(super) reasoning_tokens: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum CallError {
    /// The provider refused, in its own words.
    Refused { status: u16, kind: String, message: String },
    /// There was no answer, or none that could be understood.
    Broken(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, kind, message } => write!(f, "HTTP {status}: {kind}: {message}"),
            Self::Broken(what) => f.write_str(what),
        }
    }
}

impl From<String> for CallError {
    fn from(what: String) -> Self {
        Self::Broken(what)
    }
}

impl Client {
    pub(super) fn new(base_url: &str) -> Result<Self, Error> {
        // Whatever proxy the environment names is not for loopback.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(10)).build();
        let http = http.map_err(|error| Error::failed(format!("the HTTP client cannot start: {error}")))?;
        Ok(Self { http, url: format!("{base_url}/chat/completions") })
    }

    /// Makes a call. `chunk` is told of every piece of content of a streamed answer as it arrives.
    pub(super) async fn complete(
        &self,
        request: Request<'_>,
        chunk: impl FnMut(),
    ) -> Result<Completion, CallError> {
        let mut body =
            json!({"model": request.model, "messages": request.messages, "stream": request.stream});
        if request.stream {
            body["stream_options"] = json!({"include_usage": true});
        }
        let (run, step) = request.recorded;
        let sent = self.http.post(&self.url).header(RUN_HEADER, run).header(STEP_HEADER, step);
        let sent = sent.header("content-type", "application/json").body(body.to_string());
        let response =
            sent.timeout(request.expected.saturating_add(PATIENCE)).send().await.map_err(broken)?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(status.as_u16(), &whole_body(response).await?));
        }
        if request.stream {
            return read_stream(response, chunk).await;
        }
        let body = whole_body(response).await?;
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| format!("not an answer: {error}"))?;
        let mut completion = Completion::default();
        completion.add(answer);
        Ok(completion)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err wants it")]
fn broken(error: reqwest::Error) -> CallError {
    // The chain of causes says what happened, the outermost error only where.
    let mut what = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        what = format!("{what}: {error}");
        cause = error.source();
    }
    CallError::Broken(what)
}

async fn whole_body(mut response: reqwest::Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(broken)? {
        if body.len() + bytes.len() > MAX_ANSWER_BYTES {
            return Err(format!("an answer of more than {MAX_ANSWER_BYTES} bytes").into());
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

async fn read_stream(
    mut response: reqwest::Response,
    mut chunk: impl FnMut(),
) -> Result<Completion, CallError> {
    let (mut events, mut completion, mut done) = (Events::default(), Completion::default(), false);
    while let Some(bytes) = response.chunk().await.map_err(broken)? {
        events.feed(&bytes, |data| {
            if data == "[DONE]" {
                done = true;
                return Ok(());
            }
            let answer: Answer =
                serde_json::from_str(data).map_err(|error| format!("not a chunk: {error}"))?;
            if completion.add(answer) {
                chunk();
            }
            Ok::<_, CallError>(())
        })?;
    }
    if done { Ok(completion) } else { Err("the stream ended before its end".to_owned().into()) }
}

fn refused(status: u16, body: &[u8]) -> CallError {
    #[derive(Deserialize)]
    struct Body {
        error: Details,
    }
    #[derive(Deserialize)]
    struct Details {
        #[serde(rename = "type")]
        kind: String,
        message: String,
    }
    match serde_json::from_slice::<Body>(body) {
        Ok(Body { error }) => CallError::Refused { status, kind: error.kind, message: error.message },
        Err(_) => {
            let message = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
            CallError::Refused { status, kind: status.to_string(), message }
        }
    }
}

/// A whole answer or one chunk of it: the API gives `message` in the one and `delta` in the other.
#[derive(Deserialize)]
struct Answer {
    id: Option<String>,
    model: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(alias = "delta")]
    message: Content,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    content: Option<String>,
    #[serde(default)]
    tool_calls: Vec<Value>,
}

impl Completion {
    /// Adds what an answer or a chunk says; returns whether there was content in it.
    fn add(&mut self, answer: Answer) -> bool {
        self.id = answer.id.or_else(|| self.id.take());
        self.model = answer.model.or_else(|| self.model.take());
        self.usage = answer.usage.or(self.usage);
        let mut content = false;
        for choice in answer.choices {
            self.finish_reason = choice.finish_reason.or_else(|| self.finish_reason.take());
            let text = choice.message.content.unwrap_or_default();
            content |= !text.is_empty() || !choice.message.tool_calls.is_empty();
            self.text.push_str(&text);
            self.tool_calls.extend(choice.message.tool_calls);
        }
        content
    }
}

//! Asking a running server through its API.

use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{Table, presets};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::api::time::parse_time;
use crate::token::Token;

/// Longer than the server gives a question.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What all questions have.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Where the server answers
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:16686")]
    pub(super) api: String,
    /// A file with the server's token; without one the variable AGENTVITALS_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl Common {
    /// The address of a path of the API.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.api)
    }
}

/// The time range of a question.
#[derive(Debug, clap::Args)]
pub(super) struct Range {
    /// From this time on: -1h, 2026-01-31T12:00:00Z, or nanoseconds since 1970
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
}

impl Range {
    /// Its start and end, where they are given.
    pub(super) fn read(&self) -> Result<(Option<i64>, Option<i64>), Error> {
        let now = crate::clock::unix_nanos();
        let time = |option: &str, text: &Option<String>| {
            let read = text.as_deref().map(|text| parse_time(text, now)).transpose();
            read.map_err(|what| Error::input(format!("{option}: {what}")))
        };
        Ok((time("--since", &self.since)?, time("--until", &self.until)?))
    }
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

pub(super) fn text(answer: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(answer).map_err(|error| Error::failed(error.to_string()))
}

/// Asks with a JSON document.
pub(super) fn post<A: DeserializeOwned>(
    common: &Common,
    path: &str,
    request: &impl Serialize,
    query: &str,
) -> Result<A, Error> {
    let url = common.url(path);
    let body = text(request)?;
    let answer = send(
        common,
        |client| client.post(&url).header("content-type", "application/json").body(body),
        query,
    )?;
    answer.ok_or_else(|| Error::failed(format!("{url} is not there; is it a server of another version?")))
}

/// Asks, and reads the answer; none if there is nothing at the path.
pub(super) fn send<A: DeserializeOwned>(
    common: &Common,
    request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
    query: &str,
) -> Result<Option<A>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::failed(error.to_string()))?;
    let api = &common.api;
    let token = Token::find(common.token_file.as_deref())?;
    let unreachable = |error: reqwest::Error| {
        Error::failed(format!(
            "no server answers at {api} ({error}); start one with `agentvitals serve`, or name it with --api ADDR"
        ))
    };
    let (status, body) = runtime.block_on(async {
        // Not through a proxy: the server is on this machine or near.
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().map_err(unreachable)?;
        let mut request = request(&client);
        if let Some(header) = token.header() {
            request = request.header("authorization", header);
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        Ok::<_, Error>((status, response.bytes().await.map_err(unreachable)?))
    })?;
    match status {
        200 => serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| Error::failed(format!("{api} answers what cannot be read: {error}"))),
        404 => Ok(None),
        status => Err(refused(status, &body, query)),
    }
}

fn refused(status: u16, body: &[u8], query: &str) -> Error {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let mut message =
        error["message"].as_str().map_or_else(|| format!("the server answers {status}"), str::to_owned);
    if let Some(at) =
        error["at"].as_u64().and_then(|at| usize::try_from(at).ok()).filter(|&at| query.is_char_boundary(at))
    {
        let before = query[..at].chars().count();
        message = format!("{message}\n  {query}\n  {}^", " ".repeat(before));
    }
    if status == 400 { Error::input(message) } else { Error::failed(message) }
}

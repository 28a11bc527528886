//! Asking a running server through its API.

use std::path::PathBuf;

use bytes::Bytes;
use comfy_table::{Table, presets};
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::http::{Http, Response};
use crate::Error;
use crate::api::time::parse_time;

/// What all questions have.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Where the server answers
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:16686")]
    pub(super) api: String,
    /// A file with the server's token; without one the variable AGENTVITALS_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file with the certificate that a server under TLS (`--api https://HOST:PORT`) is known by
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl Common {
    /// What speaks HTTP to the server.
    pub(super) fn http(&self) -> Result<Http, Error> {
        Http::new(self.token_file.as_deref(), self.tls_ca.as_deref())
    }

    /// The address of a path of the API.
    pub(super) fn url(&self, path: &str) -> String {
        let api = self.api.trim_end_matches('/');
        let scheme = if api.contains("://") { "" } else { "http://" };
        format!("{scheme}{api}/api/v1/{path}")
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
    let body = text(request)?;
    let answer = send(common, Method::POST, path, body, query)?;
    let url = common.url(path);
    answer.ok_or_else(|| Error::failed(format!("{url} is not there; is it a server of another version?")))
}

/// Asks, and reads the answer; none if there is nothing at the path.
pub(super) fn send<A: DeserializeOwned>(
    common: &Common,
    method: Method,
    path: &str,
    body: String,
    query: &str,
) -> Result<Option<A>, Error> {
    let api = &common.api;
    let answer = fetch(common, method, path, body, query)?;
    let read = answer.map(|body| serde_json::from_slice(&body)).transpose();
    read.map_err(|error| Error::failed(format!("{api} answers what cannot be read: {error}")))
}

/// Asks; none if there is nothing at the path.
pub(super) fn fetch(
    common: &Common,
    method: Method,
    path: &str,
    body: String,
    query: &str,
) -> Result<Option<Bytes>, Error> {
    let http = common.http()?;
    let Response { status, body, .. } =
        http.send(method, &common.url(path), "application/json", body.into())?;
    match status {
        200 => Ok(Some(body)),
        404 => Ok(None),
        status => Err(refused(status, &body, query)),
    }
}

pub(super) fn refused(status: u16, body: &[u8], query: &str) -> Error {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let mut message =
        error["message"].as_str().map_or_else(|| format!("the server answers {status}"), str::to_owned);
    let at = error["at"].as_u64().and_then(|at| usize::try_from(at).ok());
    message = pointed(message, at, query);
    if status == 400 { Error::input(message) } else { Error::failed(message) }
}

/// What is wrong, with the query and a mark below the place.
pub(super) fn pointed(message: String, at: Option<usize>, query: &str) -> String {
    match at.filter(|&at| query.is_char_boundary(at)) {
        Some(at) => format!("{message}\n  {query}\n  {}^", " ".repeat(query[..at].chars().count())),
        None => message,
    }
}

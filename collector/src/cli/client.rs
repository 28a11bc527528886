//! Asking a running server through its API.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use comfy_table::{Table, presets};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

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
    /// A PEM file with the certificate that a server under TLS (`--api https://HOST:PORT`) is known by
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl Common {
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::failed(error.to_string()))?;
    let api = &common.api;
    let url = common.url(path);
    let mut request = Request::builder().method(method).uri(&url).header("content-type", "application/json");
    if let Some(header) = Token::find(common.token_file.as_deref())?.header() {
        request = request.header("authorization", header);
    }
    let request = request.body(Full::new(Bytes::from(body)));
    let request = request.map_err(|error| Error::input(format!("--api {api:?} is no address: {error}")))?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls(common.tls_ca.as_deref())?)
        .https_or_http()
        .enable_http1()
        .build();
    let asked = async {
        let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
        let response = client.request(request).await.map_err(|error| unreachable(api, &error))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| unreachable(api, &error))?;
        Ok::<_, Error>((status, body.to_bytes()))
    };
    let asked = runtime.block_on(async { tokio::time::timeout(TIMEOUT, asked).await });
    let (status, body) = asked
        .map_err(|_| Error::failed(format!("{api} did not answer within {} s", TIMEOUT.as_secs())))??;
    match status {
        200 => serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| Error::failed(format!("{api} answers what cannot be read: {error}"))),
        404 => Ok(None),
        status => Err(refused(status, &body, query)),
    }
}

fn unreachable(api: &str, error: &dyn std::error::Error) -> Error {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        why = format!("{why}: {error}");
        source = error.source();
    }
    Error::failed(format!(
        "no server answers at {api} ({why}); start one with `agentvitals serve`, or name it with --api ADDR"
    ))
}

/// Trusts the certificates of a file, and no others: there is no list of the system's here.
fn tls(ca: Option<&std::path::Path>) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let wrong = |why: &dyn std::fmt::Display| Error::input(format!("--tls-ca {}: {why}", path.display()));
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        let certificates: Vec<CertificateDer<'static>> = read.map_err(|error| wrong(&error))?;
        if certificates.is_empty() {
            return Err(wrong(&"it has no certificate; expected a PEM file with one"));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Error::failed(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn refused(status: u16, body: &[u8], query: &str) -> Error {
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

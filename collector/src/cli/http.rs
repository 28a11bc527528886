//! HTTP for commands: one request at a time, over TLS where an address asks for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::runtime::Runtime;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::End;
use crate::Error;
use crate::token::Token;

/// Longer than the server gives a question.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client with a token and the certificates that it trusts.
pub(super) struct Http {
    runtime: Runtime,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    authorization: Option<String>,
}

/// An answer.
pub(super) struct Response {
    pub(super) status: u16,
    /// What the header `Retry-After` asks for.
    pub(super) retry_after: Option<Duration>,
    /// What the header `Date` says, in seconds since 1970.
    pub(super) date: Option<i64>,
    pub(super) body: Bytes,
}

impl Http {
    /// With the token of a file or of the environment, and the certificates of a file.
    pub(super) fn new(token_file: Option<&Path>, tls_ca: Option<&Path>) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::failed(error.to_string()))?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls(tls_ca)?).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { runtime, client, authorization: Token::find(token_file)?.header() })
    }

    /// Sends a request and waits for all of the answer.
    pub(super) fn send(
        &self,
        method: Method,
        url: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Response, Error> {
        let request = self.request(method, url, content_type, body)?;
        let answered = async {
            let response = self.client.request(request).await.map_err(|error| unreachable(url, &error))?;
            let status = response.status().as_u16();
            let after =
                response.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
            let date = response.headers().get("date").and_then(|date| seconds(date.to_str().ok()?));
            let body = response.into_body().collect().await.map_err(|error| unreachable(url, &error))?;
            Ok(Response { status, retry_after: after.map(Duration::from_secs), date, body: body.to_bytes() })
        };
        self.runtime
            .block_on(async { tokio::time::timeout(TIMEOUT, answered).await })
            .map_err(|_| late(url))?
    }

    /// Asks for what is long, and calls with each piece of it as it comes; an answer other than 200 is returned whole.
    pub(super) fn stream(
        &self,
        url: &str,
        each: &mut dyn FnMut(Bytes) -> Result<(), End>,
    ) -> Result<Option<Response>, End> {
        let request = self.request(Method::GET, url, "application/json", Bytes::new())?;
        self.runtime.block_on(async {
            let response = tokio::time::timeout(TIMEOUT, self.client.request(request)).await;
            let response = response.map_err(|_| late(url))?.map_err(|error| unreachable(url, &error))?;
            let status = response.status().as_u16();
            let mut body = response.into_body();
            if status != 200 {
                let body = body.collect().await.map_err(|error| unreachable(url, &error))?.to_bytes();
                return Ok(Some(Response { status, retry_after: None, date: None, body }));
            }
            while let Some(frame) =
                tokio::time::timeout(TIMEOUT, body.frame()).await.map_err(|_| late(url))?
            {
                let frame = frame.map_err(|error| {
                    Error::failed(format!(
                        "{url} broke the answer off; what came is not all of it: {}",
                        why(&error)
                    ))
                })?;
                if let Ok(piece) = frame.into_data() {
                    each(piece)?;
                }
            }
            Ok(None)
        })
    }

    /// Waits.
    pub(super) fn wait(&self, time: Duration) {
        self.runtime.block_on(tokio::time::sleep(time));
    }

    fn request(
        &self,
        method: Method,
        url: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder().method(method).uri(url).header("content-type", content_type);
        if let Some(header) = &self.authorization {
            request = request.header("authorization", header);
        }
        request.body(Full::new(body)).map_err(|error| {
            Error::input(format!("{url:?} is no address: {error}; expected HOST:PORT or a URL"))
        })
    }
}

fn seconds(date: &str) -> Option<i64> {
    let date = httpdate::parse_http_date(date).ok()?;
    i64::try_from(date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()
}

fn why(error: &dyn std::error::Error) -> String {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        why = format!("{why}: {error}");
        source = error.source();
    }
    why
}

fn unreachable(url: &str, error: &dyn std::error::Error) -> Error {
    Error::failed(format!(
        "no server answers at {} ({}); start one with `agentvitals serve`, or name it with --api or --endpoint",
        origin(url),
        why(error)
    ))
}

fn late(url: &str) -> Error {
    Error::failed(format!("{} did not answer within {} s", origin(url), TIMEOUT.as_secs()))
}

/// The address without the path.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..end]
}

/// Trusts the certificates of a file, and no others: there is no list of the system's here.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, Error> {
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

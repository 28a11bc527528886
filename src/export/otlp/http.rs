//! OTLP over HTTP/1.1 with protobuf bodies.

use std::error::Error as _;
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::bytes::Bytes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::read_pem;
use super::retry::Attempt;
use crate::Error;
use crate::config::{Compression, Destination};

/// More than any OTLP response needs.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
    gzip: bool,
    timeout: Duration,
}

impl Http {
    pub(super) fn new(destination: &Destination) -> Result<Self, Error> {
        let url = &destination.url;
        let refuse =
            |error: &dyn fmt::Display| Error::config(format!("endpoint {url:?} cannot be used: {error}"));
        let uri: Uri = url.parse().map_err(|error| refuse(&error))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(destination.timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(destination)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        // Redirects are not followed: they would carry API keys to hosts that nobody configured.
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(1)
            .build(connector);
        let gzip = destination.compression == Compression::Gzip;
        let mut headers = HeaderMap::new();
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("agentvitals/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in destination.headers.iter() {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| refuse(&error))?;
            let mut value = HeaderValue::from_str(value).map_err(|error| refuse(&error))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(Self { client, uri, headers, gzip, timeout: destination.timeout })
    }

    pub(super) async fn send(&mut self, body: Bytes) -> Result<Bytes, Attempt> {
        match tokio::time::timeout(self.timeout, self.attempt(body)).await {
            Ok(result) => result,
            Err(_) => {
                Err(Attempt::Retry { after: None, message: format!("no answer within {:?}", self.timeout) })
            }
        }
    }

    async fn attempt(&self, body: Bytes) -> Result<Bytes, Attempt> {
        let body = if self.gzip { compress(&body)? } else { body };
        let mut request = Request::post(self.uri.clone())
            .body(Full::new(body))
            .map_err(|error| Attempt::Refused(error.to_string()))?;
        request.headers_mut().extend(self.headers.clone());
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| Attempt::Retry { after: None, message: chain(&error) })?;
        let (parts, body) = response.into_parts();
        let bytes = Limited::new(body, MAX_RESPONSE_BYTES).collect().await.map(|body| body.to_bytes());
        if parts.status.is_success() {
            // The receiver has taken the request, whatever became of the rest of its answer.
            return Ok(bytes.unwrap_or_default());
        }
        Err(classify(parts.status, &parts.headers, &bytes.unwrap_or_default()))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("uri", &self.uri).finish_non_exhaustive()
    }
}

fn compress(body: &[u8]) -> Result<Bytes, Attempt> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .map(Bytes::from)
        .map_err(|error| Attempt::Refused(format!("gzip: {error}")))
}

/// What the OTLP specification says about each status.
fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Attempt {
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
    let printable = !text.is_empty() && !text.chars().any(char::is_control);
    let message = if printable { format!("HTTP {status}: {text}") } else { format!("HTTP {status}") };
    match status.as_u16() {
        429 | 502 | 503 | 504 => {
            let after = headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs);
            Attempt::Retry { after, message }
        }
        413 => Attempt::TooLarge(message),
        300..=399 => Attempt::Refused(format!("{message}; redirects are not followed, set the final URL")),
        _ => Attempt::Refused(message),
    }
}

fn chain(error: &hyper_util::client::legacy::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}

fn tls(destination: &Destination) -> Result<ClientConfig, Error> {
    let refuse =
        |what: &str, error: &dyn fmt::Display| Error::config(format!("{what} cannot be used: {error}"));
    let mut roots = RootCertStore::empty();
    if let Some(path) = &destination.certificate {
        const NAME: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
        let pem = read_pem(NAME, path, "CERTIFICATE")?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| refuse(NAME, &error))?;
            roots.add(certificate).map_err(|error| refuse(NAME, &error))?;
        }
    } else if destination.tls {
        // Read only when needed: it takes milliseconds.
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
    }
    // The provider is passed on, not installed: the process may have chosen another one for itself.
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse("TLS", &error))?
        .with_root_certificates(roots);
    let Some((key, chain)) = &destination.client_identity else {
        return Ok(builder.with_no_client_auth());
    };
    const KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";
    const CHAIN: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&read_pem(CHAIN, chain, "CERTIFICATE")?).collect();
    let chain = chain.map_err(|error| refuse(CHAIN, &error))?;
    let key = PrivateKeyDer::from_pem_slice(&read_pem(KEY, key, "PRIVATE KEY")?)
        .map_err(|error| refuse(KEY, &error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| refuse(CHAIN, &error))
}

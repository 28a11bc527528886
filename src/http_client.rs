//! The client behind what speaks HTTP to programs of others: sinks of alerts, probes.
//!
//! hyper, as for the export: a client library of its own would decide about TLS for the whole program by its features.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::bytes::Bytes;

use crate::Error;

/// More than any answer to a sink or probe needs.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// An HTTP client. Redirects are not followed, since a credential in a header must not go where a server says.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    client: Legacy<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    most: usize,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    #[cfg_attr(
        not(any(feature = "webhooks", feature = "probes")),
        expect(dead_code, reason = "questions do not read them")
    )]
    pub(crate) headers: HeaderMap,
    /// At most so many bytes of it as are taken; all of it up to where it was enough.
    #[cfg_attr(
        not(any(feature = "probes", feature = "query")),
        expect(dead_code, reason = "sinks do not read what is answered")
    )]
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// With this deadline for a whole request.
    ///
    /// # Errors
    /// The certificates of the system cannot be used ([`Error::is_config`]).
    pub(crate) fn new(timeout: Duration) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::config(format!("no HTTP client can be made: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Legacy::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { client, timeout, most: MAX_ANSWER_BYTES })
    }

    /// The same, with answers of up to so many bytes.
    #[cfg(feature = "query")]
    pub(crate) fn with_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Sends a request and reads the answer to its end. The error says why there is no answer, without the address, whose path may be a secret.
    pub(crate) async fn send(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        self.send_until(method, uri, headers, body, |_| false).await
    }

    /// [`send`](Self::send), until what has been read so far is enough: a stream of events need not end.
    pub(crate) async fn send_until(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: impl Into<Bytes>,
        mut enough: impl FnMut(&[u8]) -> bool,
    ) -> Result<Answer, String> {
        let mut request = Request::new(Full::new(body.into()));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        let answered = async {
            let response = self.client.request(request).await.map_err(|error| {
                let mut why = "cannot be reached".to_owned();
                let mut source = error.source();
                while let Some(error) = source {
                    why = error.to_string();
                    source = error.source();
                }
                why
            })?;
            let (parts, mut body) = response.into_parts();
            let mut read = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
                let Ok(data) = frame.into_data() else { continue };
                if read.len() + data.len() > self.most {
                    return Err(format!("the answer is longer than {} bytes", self.most));
                }
                read.extend_from_slice(&data);
                if enough(&read) {
                    break;
                }
            }
            Ok(Answer { status: parts.status, headers: parts.headers, body: read })
        };
        tokio::time::timeout(self.timeout, answered)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {:?}", self.timeout)))
    }
}

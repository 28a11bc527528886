//! Where OTLP requests go: general settings, settings of one signal, and what the two make together.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::{Scheme, Uri};
use http::{HeaderName, HeaderValue};

use crate::Error;

/// A kind of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    /// The path that OTLP over HTTP adds to a general endpoint.
    pub fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// What the names of this signal's variables have in them.
    fn infix(self) -> &'static str {
        match self {
            Self::Traces => "TRACES_",
            Self::Metrics => "METRICS_",
        }
    }
}

/// How OTLP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// gRPC (`grpc`).
    Grpc,
    /// HTTP/1.1 with protobuf bodies (`http/protobuf`).
    HttpProtobuf,
}

/// How request bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// With gzip: a fifth of the bytes, at about 10 µs of the exporter's time a span.
    Gzip,
}

/// Headers of OTLP requests. Their values may be secrets, so `Debug` shows the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    pub(crate) fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        self.0.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
        self.0.push((name, value.into()));
    }

    /// The pairs of name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, _)| (name, "***"))).finish()
    }
}

/// OTLP settings, each of which may be unset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtlpSettings {
    /// The URL. A general one gets `/v1/traces` or `/v1/metrics` appended when the protocol is HTTP, one of a
    /// single signal is used as it is.
    pub endpoint: Option<String>,
    /// The protocol. Unset: gRPC, but HTTP when the endpoint's port is 4318.
    pub protocol: Option<Protocol>,
    /// Headers of every request.
    pub headers: Option<Headers>,
    /// Longest time of one attempt to send a request.
    pub timeout: Option<Duration>,
    /// Compression of request bodies.
    pub compression: Option<Compression>,
    /// Whether an endpoint without a scheme (gRPC only) is spoken to without TLS.
    pub insecure: Option<bool>,
    /// A file of PEM certificates to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// The client's private key, a PEM file.
    pub client_key: Option<PathBuf>,
    /// The client's certificate chain, a PEM file.
    pub client_certificate: Option<PathBuf>,
}

/// A resolved destination of one signal; see [`Config::destination`](super::Config::destination).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Destination {
    /// The whole URL, path included when the protocol is HTTP.
    pub url: String,
    /// The protocol.
    pub protocol: Protocol,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Headers of every request.
    pub headers: Headers,
    /// Longest time of one attempt to send a request.
    pub timeout: Duration,
    /// Compression of request bodies.
    pub compression: Compression,
    /// A file of PEM certificates to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// The client's private key and its certificate chain, PEM files.
    pub client_identity: Option<(PathBuf, PathBuf)>,
}

impl Destination {
    /// `http://localhost:4317`, the endpoint over gRPC when none is set.
    pub const GRPC_ENDPOINT: &str = "http://localhost:4317";
    /// `http://localhost:4318`, the endpoint over HTTP when none is set.
    pub const HTTP_ENDPOINT: &str = "http://localhost:4318";
    /// 10 s for one attempt, as the specification has it.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
}

/// A signal's own settings over the general ones.
pub(super) fn resolve(
    general: &OtlpSettings,
    own: &OtlpSettings,
    signal: Signal,
) -> Result<Destination, Error> {
    let endpoint = own.endpoint.as_ref().or(general.endpoint.as_ref());
    let protocol = own.protocol.or(general.protocol).unwrap_or_else(|| default_protocol(endpoint));
    let insecure = own.insecure.or(general.insecure).unwrap_or(false);
    let url = match (&own.endpoint, &general.endpoint, protocol) {
        (Some(own), _, Protocol::HttpProtobuf) => parse_url(own, protocol, insecure)?,
        (None, Some(general), Protocol::HttpProtobuf) => {
            append(&parse_url(general, protocol, insecure)?, signal)
        }
        (None, None, Protocol::HttpProtobuf) => append(Destination::HTTP_ENDPOINT, signal),
        (Some(url), _, Protocol::Grpc) | (None, Some(url), Protocol::Grpc) => {
            parse_url(url, protocol, insecure)?
        }
        (None, None, Protocol::Grpc) => Destination::GRPC_ENDPOINT.to_owned(),
    };
    let tls = url.starts_with("https://");
    // The variable at fault: a signal's own setting goes before the general one.
    let variable = |own_is_set: bool, suffix: &str| {
        let signal = if own_is_set { signal.infix() } else { "" };
        format!("OTEL_EXPORTER_OTLP_{signal}{suffix}")
    };
    let certificate = own.certificate.as_ref().or(general.certificate.as_ref()).cloned();
    let key = own.client_key.as_ref().or(general.client_key.as_ref()).cloned();
    let chain = own.client_certificate.as_ref().or(general.client_certificate.as_ref()).cloned();
    let alone = |set: String, path: &PathBuf, missing: &str| {
        Error::config(format!(
            "{set} is {path:?}, expected with OTEL_EXPORTER_OTLP_{missing}, which is not set; set both"
        ))
    };
    let key_name = variable(own.client_key.is_some(), "CLIENT_KEY");
    let client_identity = match (key, chain) {
        (Some(key), Some(chain)) => Some((key, chain)),
        (None, None) => None,
        (Some(key), None) => return Err(alone(key_name, &key, "CLIENT_CERTIFICATE")),
        (None, Some(chain)) => {
            let chain_name = variable(own.client_certificate.is_some(), "CLIENT_CERTIFICATE");
            return Err(alone(chain_name, &chain, "CLIENT_KEY"));
        }
    };
    if !tls && (certificate.is_some() || client_identity.is_some()) {
        let name = match &certificate {
            Some(_) => variable(own.certificate.is_some(), "CERTIFICATE"),
            None => key_name,
        };
        return Err(Error::config(format!(
            "{name} is set, but endpoint {url:?} is not https; expected https:// or no certificates and keys"
        )));
    }
    Ok(Destination {
        url,
        protocol,
        tls,
        headers: own.headers.clone().or_else(|| general.headers.clone()).unwrap_or_default(),
        timeout: own.timeout.or(general.timeout).unwrap_or(Destination::TIMEOUT),
        compression: own.compression.or(general.compression).unwrap_or(Compression::None),
        certificate,
        client_identity,
    })
}

fn default_protocol(endpoint: Option<&String>) -> Protocol {
    let port = endpoint.and_then(|url| url.parse::<Uri>().ok()).and_then(|uri| uri.port_u16());
    if port == Some(4318) { Protocol::HttpProtobuf } else { Protocol::Grpc }
}

/// Checks a URL. gRPC endpoints may lack the scheme; then `insecure` decides.
pub(super) fn parse_url(url: &str, protocol: Protocol, insecure: bool) -> Result<String, Error> {
    let refuse = |why: &str| {
        Error::config(format!(
            "endpoint {url:?} {why}; expected a URL like http://localhost:4317 (gRPC) or http://localhost:4318 (HTTP)"
        ))
    };
    let text = if url.contains("://") {
        url.to_owned()
    } else if protocol == Protocol::Grpc {
        format!("{}://{url}", if insecure { "http" } else { "https" })
    } else {
        return Err(refuse("has no scheme"));
    };
    let uri: Uri = text.parse().map_err(|error| refuse(&format!("is no URL ({error})")))?;
    if ![Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme()) {
        return Err(refuse("is neither http nor https"));
    }
    match uri.authority() {
        None => Err(refuse("has no host")),
        Some(authority) if authority.host().is_empty() => Err(refuse("has no host")),
        Some(authority) if authority.as_str().contains('@') => {
            // Not shown: it holds a password.
            Err(Error::config(
                "the endpoint holds a user name or password, expected none; send them as a header \
                 (OTEL_EXPORTER_OTLP_HEADERS)",
            ))
        }
        Some(_) => Ok(text),
    }
}

fn append(base: &str, signal: Signal) -> String {
    format!("{}{}", base.trim_end_matches('/'), signal.path())
}

/// Checks a header; the value is not shown.
pub(super) fn check_header(name: &str, value: &str) -> Result<(), String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no header name"))?;
    HeaderValue::from_str(value)
        .map_err(|_| format!("the value of {name:?} has characters that no header may have"))?;
    Ok(())
}

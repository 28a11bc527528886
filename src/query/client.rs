//! Clients of what keeps spans.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use super::{FoundSpan, SpanQuery, clickhouse, collector, jaeger, tempo};
use crate::Error;
use crate::http_client::Client as Http;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const MAX_ANSWER: usize = 256 << 20;

/// Asks one backend. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) http: Http,
    /// Without a `/` at its end.
    pub(super) url: String,
    headers: HeaderMap,
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Collector,
    Tempo,
    Jaeger,
    ClickHouse { table: String },
}

impl Client {
    fn new(url: &str, backend: Backend) -> Result<Self, Error> {
        let url = url.trim_end_matches('/').to_owned();
        let uri: Uri =
            url.parse().map_err(|error| Error::config(format!("{url:?} is no address: {error}")))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(Error::config(format!(
                "{url:?} is no address, expected http://HOST:PORT or https://HOST:PORT"
            )));
        }
        let http = Http::new(TIMEOUT)?.with_most(MAX_ANSWER);
        Ok(Self { http, url, headers: HeaderMap::new(), backend })
    }

    /// The API of `agentvitals serve`: `http://127.0.0.1:16686`.
    ///
    /// # Errors
    /// The address is none ([`Error::is_config`]).
    pub fn collector(url: &str) -> Result<Self, Error> {
        Self::new(url, Backend::Collector)
    }

    /// Grafana Tempo: `http://127.0.0.1:3200`. For several tenants, name one by the [header](Self::header) `X-Scope-OrgID`.
    ///
    /// # Errors
    /// The address is none ([`Error::is_config`]).
    pub fn tempo(url: &str) -> Result<Self, Error> {
        Self::new(url, Backend::Tempo)
    }

    /// Jaeger's query service: `http://127.0.0.1:16686`.
    ///
    /// # Errors
    /// The address is none ([`Error::is_config`]).
    pub fn jaeger(url: &str) -> Result<Self, Error> {
        Self::new(url, Backend::Jaeger)
    }

    /// ClickHouse over HTTP, `http://127.0.0.1:8123`, with the table that the OpenTelemetry Collector's exporter writes:
    /// `otel_traces`, or another by [`table`](Self::table). A user and password are the [headers](Self::header)
    /// `X-ClickHouse-User` and `X-ClickHouse-Key`.
    ///
    /// # Errors
    /// The address is none ([`Error::is_config`]).
    pub fn clickhouse(url: &str) -> Result<Self, Error> {
        Self::new(url, Backend::ClickHouse { table: "otel_traces".to_owned() })
    }

    /// The table of ClickHouse, such as `traces.otel_traces`.
    ///
    /// # Errors
    /// It is no name of a table, or the backend has none ([`Error::is_config`]).
    pub fn table(mut self, name: &str) -> Result<Self, Error> {
        let plain =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let Backend::ClickHouse { table } = &mut self.backend else {
            return Err(Error::config(format!("the table {name:?}: only ClickHouse has tables")));
        };
        if name.split('.').count() > 2 || !name.split('.').all(plain) {
            return Err(Error::config(format!(
                "{name:?} is no name of a table, expected DATABASE.TABLE or TABLE"
            )));
        }
        name.clone_into(table);
        Ok(self)
    }

    /// A header of every request, such as `Authorization` with `Bearer TOKEN`.
    ///
    /// # Errors
    /// It cannot be a header ([`Error::is_config`]); the error does not tell the value.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, Error> {
        let name: HeaderName =
            name.parse().map_err(|_| Error::config(format!("{name:?} cannot be the name of a header")))?;
        let mut value: HeaderValue = value
            .parse()
            .map_err(|_| Error::config(format!("the value of the header {name} cannot be one")))?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }

    /// The spans that a query wants, the newest first.
    ///
    /// # Errors
    /// The backend does not answer or hands out less than there is ([`Error::is_backend`]), or a regular expression is none
    /// ([`Error::is_config`]).
    pub async fn spans(&self, query: &SpanQuery) -> Result<Vec<FoundSpan>, Error> {
        match &self.backend {
            Backend::Collector => collector::spans(self, query).await,
            Backend::Tempo => tempo::spans(self, query).await,
            Backend::Jaeger => jaeger::spans(self, query).await,
            Backend::ClickHouse { table } => clickhouse::spans(self, table, query).await,
        }
    }

    /// The spans of a trace by its id in hex, by start; none if it is not there.
    ///
    /// # Errors
    /// The id is none ([`Error::is_config`]), or the backend does not answer ([`Error::is_backend`]).
    pub async fn trace(&self, id: &str) -> Result<Vec<FoundSpan>, Error> {
        let hex = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hex {
            return Err(Error::config(format!("{id:?} is no trace id, expected up to 32 hex digits")));
        }
        let id = format!("{:0>32}", id.to_ascii_lowercase());
        let mut spans = match &self.backend {
            Backend::Collector => collector::trace(self, &id).await?,
            Backend::Tempo => tempo::trace(self, &id).await?,
            Backend::Jaeger => jaeger::trace(self, &id).await?,
            Backend::ClickHouse { table } => clickhouse::trace(self, table, &id).await?,
        };
        spans.sort_by(|a, b| {
            a.start_unix_nano.cmp(&b.start_unix_nano).then_with(|| a.span_id.cmp(&b.span_id))
        });
        Ok(spans)
    }

    /// Asks a path with parameters; none if there is nothing (404).
    pub(super) async fn get<A: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<Option<A>, Error> {
        let encoded = |(name, value): &(&str, String)| {
            format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
        };
        let parameters: Vec<String> = parameters.iter().map(encoded).collect();
        let sign = if parameters.is_empty() { "" } else { "?" };
        self.ask(Method::GET, &format!("{path}{sign}{}", parameters.join("&")), String::new())
            .await?
            .map(|body| serde_json::from_slice(&body).map_err(|error| self.unreadable(&error.to_string())))
            .transpose()
    }

    /// Asks a path with a body; none if there is nothing (404).
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Option<Vec<u8>>, Error> {
        let url = format!("{}{path}", self.url);
        let uri: Uri =
            url.parse().map_err(|error| Error::config(format!("{url:?} is no address: {error}")))?;
        let mut headers = self.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let type_of = if body.starts_with('{') { "application/json" } else { "text/plain" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(type_of));
        let answer = self.http.send(method, uri, headers, body).await;
        let answer = answer.map_err(|why| Error::backend(format!("{}: {why}", self.url)))?;
        match answer.status.as_u16() {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            status => {
                let told = String::from_utf8_lossy(&answer.body);
                let told: String = told.trim().chars().take(500).collect();
                Err(Error::backend(format!("{} answers {status}: {told}", self.url)))
            }
        }
    }

    pub(super) fn unreadable(&self, why: &str) -> Error {
        Error::backend(format!("{} answers what cannot be read: {why}", self.url))
    }
}

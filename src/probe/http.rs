//! HTTP endpoints.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::{Checking, Failure, Probe, ProbeConfig};
use crate::Error;
use crate::http_client::Client;

/// Asks an HTTP endpoint; a status that is expected ([`ProbeConfig::expected_status_codes`]) is a success, and, if that is
/// asked for, a body that contains some text. Redirects are not followed.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    method: Method,
    url: Uri,
    headers: HeaderMap,
    contains: Option<String>,
}

pub(super) fn url(text: &str) -> Result<Uri, Error> {
    let url: Uri = text.parse().map_err(|error| {
        Error::config(format!("probe: {text:?} is no URL ({error}): expected http:// or https://"))
    })?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
        return Err(Error::config(format!(
            "probe: {text:?} is no URL: expected http:// or https:// and a host"
        )));
    }
    Ok(url)
}

pub(super) fn header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Error> {
    let wrong =
        || Error::config(format!("probe: the header {name:?} has a name or value that no header may have"));
    let name: HeaderName = name.parse().map_err(|_| wrong())?;
    let mut value: HeaderValue = value.parse().map_err(|_| wrong())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

impl Http {
    /// `GET` of this URL.
    ///
    /// # Errors
    /// A URL that is none ([`Error::is_config`]).
    pub fn get(address: &str) -> Result<Self, Error> {
        // The deadline is that of the check.
        let client = Client::new(std::time::Duration::from_secs(3_600))?;
        Ok(Self {
            client,
            method: Method::GET,
            url: url(address)?,
            headers: HeaderMap::new(),
            contains: None,
        })
    }

    /// Another method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// With this header.
    ///
    /// # Errors
    /// A name or value that no header may have ([`Error::is_config`]).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, Error> {
        header(&mut self.headers, name, value)?;
        Ok(self)
    }

    /// The body must contain this.
    #[must_use]
    pub fn contains(mut self, text: impl Into<String>) -> Self {
        self.contains = Some(text.into());
        self
    }
}

impl Probe for Http {
    fn check<'a>(&'a self, config: &'a ProbeConfig) -> Checking<'a> {
        Box::pin(async move {
            let wanted = self.contains.as_deref().unwrap_or("").as_bytes();
            let has =
                |body: &[u8]| wanted.is_empty() || body.windows(wanted.len()).any(|part| part == wanted);
            let (method, url, headers) = (self.method.clone(), self.url.clone(), self.headers.clone());
            // An endless body is no failure once it has said enough.
            let answer = self.client.send_until(method, url, headers, Vec::new(), has).await;
            let answer = answer.map_err(|why| Failure::new("unreachable", why))?;
            let status = answer.status.as_u16();
            if !config.expected_status_codes.contains(&status) {
                let expected = &config.expected_status_codes;
                return Err(Failure::new("status", format!("answered {status}, expected {expected:?}")));
            }
            if !has(&answer.body) {
                return Err(Failure::new(
                    "protocol",
                    format!("the answer has no {:?}", self.contains.as_deref().unwrap_or("")),
                ));
            }
            Ok(())
        })
    }
}

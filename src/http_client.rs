//! The client behind what speaks HTTP to programs of others: sinks of alerts, probes.

use std::time::Duration;

use crate::Error;

/// A client with this deadline for a whole request. TLS is rustls with ring; redirects are not followed, since a
/// credential in a header must not go where a server says.
pub(crate) fn client(timeout: Duration) -> Result<reqwest::Client, Error> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let failed =
        |error: &dyn std::fmt::Display| Error::config(format!("no HTTP client can be made: {error}"));
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .build()
        .map_err(|error| failed(&error))
}

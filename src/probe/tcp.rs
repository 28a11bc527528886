//! Whether somebody listens.

use super::{Checking, Failure, Probe, ProbeConfig};

/// Connects to `host:port`, and closes.
#[derive(Debug, Clone)]
pub struct Tcp(String);

impl Tcp {
    /// An address such as `127.0.0.1:5432`.
    pub fn new(address: impl Into<String>) -> Self {
        Self(address.into())
    }
}

impl Probe for Tcp {
    fn check<'a>(&'a self, _config: &'a ProbeConfig) -> Checking<'a> {
        Box::pin(async move {
            let connected = tokio::net::TcpStream::connect(&self.0).await;
            connected.map(drop).map_err(|error| Failure::new("unreachable", format!("{}: {error}", self.0)))
        })
    }
}

//! MCP servers, of both generations of the protocol, over streamable HTTP and stdio.
//!
//! The newer generation (revision 2026-07-28) has no session and no ping: `server/discover` says what the server can do. An
//! older server refuses it, and is asked the older way: `initialize`, `notifications/initialized`, `ping`.

mod exchange;
mod stdio;
mod stream;

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::{Checking, Failure, Probe, ProbeConfig, http as over_http};
use crate::Error;
use crate::http_client::Client;

/// Which generation of the protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum McpGeneration {
    /// With `initialize`, sessions and `ping`: revisions up to 2025-11-25.
    Legacy,
    /// With `server/discover`: revision 2026-07-28 and later.
    Modern,
}

/// What a server said of itself at the newest check.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct McpReport {
    /// Its generation.
    pub generation: McpGeneration,
    /// The revision that is spoken.
    pub protocol_version: String,
    /// Its name, if it told one.
    pub server: Option<String>,
    /// How many tools it has.
    pub tools: usize,
}

#[derive(Debug, Clone)]
struct Endpoint {
    client: Client,
    url: http::Uri,
    headers: HeaderMap,
}

#[derive(Debug, Clone)]
enum Where {
    Http(Box<Endpoint>),
    Stdio { program: String, arguments: Vec<String> },
}

/// Checks an MCP server: that it answers, lists its tools, and, if that is asked for, that a tool call works.
#[derive(Debug, Clone)]
pub struct Mcp {
    to: Where,
    call: Option<(String, Value)>,
    newest: Arc<Mutex<Option<McpReport>>>,
}

impl Mcp {
    fn of(to: Where) -> Self {
        Self { to, call: None, newest: Arc::default() }
    }

    /// A server over streamable HTTP, e.g. `http://127.0.0.1:8080/mcp`.
    ///
    /// # Errors
    /// A URL that is none ([`Error::is_config`]).
    pub fn http(url: &str) -> Result<Self, Error> {
        let client = Client::new(std::time::Duration::from_secs(3_600))?;
        Ok(Self::of(Where::Http(Box::new(Endpoint {
            client,
            url: over_http::url(url)?,
            headers: HeaderMap::new(),
        }))))
    }

    /// A server that is started for each check and speaks over its standard input and output.
    pub fn stdio(program: impl Into<String>, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self::of(Where::Stdio { program: program.into(), arguments })
    }

    /// With this header, e.g. for authentication; without effect over stdio.
    ///
    /// # Errors
    /// A name or value that no header may have ([`Error::is_config`]).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, Error> {
        if let Where::Http(to) = &mut self.to {
            over_http::header(&mut to.headers, name, value)?;
        }
        Ok(self)
    }

    /// Calls this tool too; a result that says that it is an error (`isError`) is a failure.
    #[must_use]
    pub fn call_tool(mut self, tool: impl Into<String>, arguments: Value) -> Self {
        self.call = Some((tool.into(), arguments));
        self
    }

    /// What the server said at the newest check that succeeded; of all clones.
    pub fn report(&self) -> Option<McpReport> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(&self) -> Result<McpReport, Failure> {
        let call = self.call.as_ref();
        match &self.to {
            Where::Http(to) => {
                let mut wire = stream::Stream::new(to.client.clone(), to.url.clone(), to.headers.clone());
                let report = exchange::talk(&mut wire, call).await;
                wire.end().await;
                report
            }
            Where::Stdio { program, arguments } => {
                let mut wire = stdio::Stdio::start(program, arguments)?;
                let report = exchange::talk(&mut wire, call).await;
                wire.end().await;
                report
            }
        }
    }
}

impl Probe for Mcp {
    fn check<'a>(&'a self, _config: &'a ProbeConfig) -> Checking<'a> {
        Box::pin(async move {
            let report = self.ask().await?;
            *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
            Ok(())
        })
    }
}

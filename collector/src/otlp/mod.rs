//! OTLP over gRPC and HTTP: decompresses, bounds sizes, and hands requests to [`crate::ingest::Ingest`].

mod budget;
mod counters;
mod grpc;
mod http;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use self::budget::Budget;
pub use self::counters::{Counted, Counters, Reason, Transport};
use crate::Error;
use crate::ingest::{Accepted, Ingest, Refusal, Signal};
use crate::listen::{Incoming, Tls};
use crate::token::Token;

/// See [`crate::fuzzing`].
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing {
    use bytes::Bytes;

    use crate::ingest::Signal;

    /// The protobuf of a JSON request.
    pub(crate) fn json(signal: Signal, body: &[u8]) -> Result<Bytes, String> {
        crate::otlpjson::decode(signal, body)
    }
}

/// How long requests in flight may take once the receiver is told to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long a request may take to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// JSON bodies that are turned into protobuf at the same time; others wait.
const MAX_CONVERTING: usize = 2;
const TOKEN_EXPECTED: &str = "expected the header `authorization: Bearer <token>` with this server's token";

/// Where to listen, and how much is taken.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The address for OTLP/gRPC; port 0 picks a free one.
    pub grpc: SocketAddr,
    /// The address for OTLP/HTTP; port 0 picks a free one.
    pub http: SocketAddr,
    /// Bytes of one request at most, after decompression.
    pub max_request: usize,
    /// Bytes that requests in flight take at most, on both addresses together; more are refused as overload.
    pub max_in_flight: usize,
    /// What requests must bear.
    pub token: Token,
    /// What both addresses show of themselves; without it they speak in the clear.
    pub tls: Option<Tls>,
}

impl Config {
    /// The addresses, with the default bounds: 16 MiB a request, 256 MiB all of those in flight.
    pub const fn new(grpc: SocketAddr, http: SocketAddr) -> Self {
        Self { grpc, http, max_request: 16 << 20, max_in_flight: 256 << 20, token: Token::none(), tls: None }
    }
}

/// What both transports share.
#[derive(Clone)]
struct Shared {
    ingest: Arc<dyn Ingest>,
    budget: Budget,
    /// One for each JSON body that is read at the same time: it takes many times its length.
    converting: Arc<Semaphore>,
    max_request: usize,
    token: Token,
    counters: Counters,
}

impl Shared {
    /// Hands a request on, and counts what became of it.
    async fn take(&self, transport: Transport, signal: Signal, request: Bytes) -> Result<Accepted, Refusal> {
        let bytes = request.len();
        let answer = self.ingest.ingest(signal, request).await;
        match &answer {
            Ok(_) => self.counters.taken(transport, signal, bytes),
            Err(refusal) => self.counters.refused(transport, signal, refusal.into()),
        }
        answer
    }
}

/// A receiver that listens.
pub struct Receiver {
    grpc: TcpListener,
    http: TcpListener,
    addresses: (SocketAddr, SocketAddr),
    tls: Option<Tls>,
    shared: Shared,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Receiver {
    /// Listens on both addresses; what arrives before [`Self::run`] waits.
    ///
    /// # Errors
    /// When one of them cannot be listened on, most often since another program does; it is named.
    pub async fn bind(config: Config, ingest: Arc<dyn Ingest>) -> Result<Self, Error> {
        let (grpc, grpc_address) = listen(config.grpc, "--otlp-grpc").await?;
        let (http, http_address) = listen(config.http, "--otlp-http").await?;
        let budget = Budget::new(config.max_in_flight);
        let Config { max_request, token, tls, .. } = config;
        let converting = Arc::new(Semaphore::new(MAX_CONVERTING));
        let shared = Shared { ingest, budget, converting, max_request, token, counters: Counters::default() };
        Ok(Self { grpc, http, addresses: (grpc_address, http_address), tls, shared })
    }

    /// Where it listens for OTLP/gRPC.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.addresses.0
    }

    /// Where it listens for OTLP/HTTP.
    pub fn http_addr(&self) -> SocketAddr {
        self.addresses.1
    }

    /// What was taken and refused so far; it goes on counting.
    pub fn counters(&self) -> Counters {
        self.shared.counters.clone()
    }

    /// Takes requests until `shutdown` is done, then ends those in flight, for ten seconds at most.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let (end, ending) = watch::channel(false);
        let failed = |error: std::io::Error| Error::failed(format!("a receiver cannot start: {error}"));
        let protocols = |protocols| self.tls.as_ref().map(|tls: &Tls| tls.protocols(protocols));
        let grpc = Incoming::new(self.grpc, protocols(&[b"h2"]).as_ref()).map_err(failed)?;
        let http = Incoming::new(self.http, protocols(&[b"h2", b"http/1.1"]).as_ref()).map_err(failed)?;
        let grpc = tokio::spawn(grpc::serve(grpc, self.shared.clone(), ended(ending.clone())));
        let http = tokio::spawn(http::serve(http, self.shared, ended(ending)));
        shutdown.await;
        end.send(true).ok();
        let both = async { tokio::join!(grpc, http) };
        let Ok((grpc, http)) = tokio::time::timeout(GRACE, both).await else { return Ok(()) };
        for result in [grpc, http] {
            result.map_err(|error| Error::failed(format!("a receiver ended early: {error}")))??;
        }
        Ok(())
    }
}

async fn ended(mut ending: watch::Receiver<bool>) {
    // The sender is gone when the receiver is: that is an end as well.
    ending.wait_for(|&ending| ending).await.ok();
}

/// Listens on an address, or tells which option has to be another.
async fn listen(address: SocketAddr, option: &str) -> Result<(TcpListener, SocketAddr), Error> {
    let told = |error: &std::io::Error| {
        Error::failed(format!(
            "cannot listen on {address}: {error}; choose another address with {option} (port 0 picks a free one)"
        ))
    };
    let listener = TcpListener::bind(address).await.map_err(|error| told(&error))?;
    let bound = listener.local_addr().map_err(|error| told(&error))?;
    Ok((listener, bound))
}

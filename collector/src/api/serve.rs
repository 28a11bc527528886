//! Listening.

use std::future::{Future, IntoFuture as _};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{ApiState, router};
use crate::Error;
use crate::listen::{Incoming, Tls};

/// How long requests that are going on may take to end when the server is stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Listens on an address; port 0 is a free one.
///
/// # Errors
/// When the address is taken or not this machine's; the error names it and the option that sets it.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::failed(format!(
            "the API cannot listen on {address}: {error}; name another address with --api (port 0 is a free one)"
        ))
    })
}

/// Serves the API until `shutdown` is over, and then until the requests that are going on are answered, for up
/// to 5 seconds.
///
/// # Errors
/// When the listener fails.
pub async fn run(
    listener: TcpListener,
    tls: Option<&Tls>,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let protocols: [&[u8]; 2] = [b"h2", b"http/1.1"];
    let tls = tls.map(|tls| tls.protocols(&protocols));
    let listener = Incoming::new(listener, tls.as_ref())
        .map_err(|error| Error::failed(format!("the API cannot start: {error}")))?;
    let (closing, closed) = oneshot::channel::<()>();
    let serve = axum::serve(listener, router(state)).with_graceful_shutdown(async move {
        shutdown.await;
        closing.send(()).ok();
    });
    tokio::select! {
        ended = serve.into_future() => ended.map_err(|error| Error::failed(format!("the API stopped: {error}"))),
        () = async {
            closed.await.ok();
            tokio::time::sleep(STOP_TIMEOUT).await;
        } => Ok(()),
    }
}

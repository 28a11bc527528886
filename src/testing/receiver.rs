//! A real OTLP receiver inside the test's own process.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::fault::{Fault, Signal};
use super::point::ReceivedPoint;
use super::serve;
use super::span::ReceivedSpan;
use super::store::Received;

/// An OTLP receiver for spans and metrics: OTLP/gRPC and OTLP/HTTP with protobuf bodies, on one port of the
/// loopback interface.
///
/// It has a thread and a runtime of its own, so it works in plain functions, in `#[tokio::test]` and on
/// current-thread runtimes that are blocked; and its thread records no spans, so it never shows up in the
/// traces under test. Dropping it stops it and closes its port.
///
/// ```
/// use agentvitals::testing::OtlpReceiver;
/// let receiver = OtlpReceiver::start()?;
/// assert!(receiver.endpoint().starts_with("http://127.0.0.1:"));
/// assert_eq!(receiver.requests(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct OtlpReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Settings of an [`OtlpReceiver`].
#[derive(Debug, Clone)]
pub struct OtlpReceiverBuilder {
    address: SocketAddr,
    max_message_bytes: usize,
    max_spans: usize,
    max_series: usize,
}

/// What the server's thread and the test share.
#[derive(Debug)]
pub(super) struct Shared {
    received: Mutex<Received>,
    changed: Condvar,
    /// The same event for those who wait asynchronously.
    version: watch::Sender<u64>,
    pub(super) max_message_bytes: usize,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Received> {
        // A question that panicked while it looked did not change anything: the data is whole.
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what was received, then wakes everybody who waits.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Received) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        self.version.send_modify(|version| *version = version.wrapping_add(1));
        result
    }
}

impl OtlpReceiver {
    /// Bytes of one uncompressed request that a receiver takes by default: 16 MiB.
    pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
    /// Spans that a receiver keeps by default.
    pub const DEFAULT_MAX_SPANS: usize = 1_000_000;
    /// Metric series that a receiver keeps by default.
    pub const DEFAULT_MAX_SERIES: usize = 100_000;

    /// Starts a receiver on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If no port, thread or runtime can be had.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Starts a receiver on this address, e.g. to come back where another one was stopped.
    ///
    /// # Errors
    /// If the address is taken or not this machine's, or no thread or runtime can be had.
    pub fn start_at(address: SocketAddr) -> io::Result<Self> {
        Self::builder().address(address).start()
    }

    /// A receiver with other limits or another address.
    ///
    /// ```
    /// use agentvitals::testing::OtlpReceiver;
    /// let receiver = OtlpReceiver::builder().max_message_bytes(4 * 1024 * 1024).max_spans(10).start()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn builder() -> OtlpReceiverBuilder {
        OtlpReceiverBuilder {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            max_message_bytes: Self::DEFAULT_MAX_MESSAGE_BYTES,
            max_spans: Self::DEFAULT_MAX_SPANS,
            max_series: Self::DEFAULT_MAX_SERIES,
        }
    }

    /// Where it listens: `http://127.0.0.1:PORT`, for OTLP/gRPC and as the base of OTLP/HTTP.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The spans that arrived, in their order. Copies them: see [`Self::with`] for a look without.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.shared.lock().spans().to_vec()
    }

    /// The newest point of every series, sorted by name, then attributes.
    pub fn metrics(&self) -> Vec<ReceivedPoint> {
        self.shared.lock().points().cloned().collect()
    }

    /// The newest point of every series of one metric; empty if it never arrived.
    pub fn metric(&self, name: &str) -> Vec<ReceivedPoint> {
        self.shared.lock().metric(name).cloned().collect()
    }

    /// Requests that arrived, those that met a [`Fault`] included.
    pub fn requests(&self) -> usize {
        self.shared.lock().requests()
    }

    /// Bytes of the largest request that was taken, uncompressed.
    pub fn largest_request_bytes(&self) -> usize {
        self.shared.lock().largest_request_bytes()
    }

    /// Looks at everything received. The server waits meanwhile, so be quick.
    pub fn with<T>(&self, look: impl FnOnce(&Received) -> T) -> T {
        look(&self.shared.lock())
    }

    /// Waits until `question` is true of what was received. It is asked at once and after each request.
    ///
    /// # Errors
    /// [`TimedOut`], which says what there was, when `timeout` has passed.
    pub fn wait_for(
        &self,
        mut question: impl FnMut(&Received) -> bool,
        timeout: Duration,
    ) -> Result<(), TimedOut> {
        let received = self.shared.lock();
        let (received, _) = self
            .shared
            .changed
            .wait_timeout_while(received, timeout, |received| !question(received))
            .unwrap_or_else(PoisonError::into_inner);
        // Not what the condition variable says of the time: an answer that came with the last tick counts.
        if question(&received) { Ok(()) } else { Err(TimedOut::new(&received, timeout)) }
    }

    /// [`Self::wait_for`] for asynchronous tests: waits without blocking the thread. Needs a tokio runtime with
    /// its timer enabled, as that of `#[tokio::test]` is.
    ///
    /// # Errors
    /// [`TimedOut`], which says what there was, when `timeout` has passed.
    pub async fn wait_for_async(
        &self,
        mut question: impl FnMut(&Received) -> bool,
        timeout: Duration,
    ) -> Result<(), TimedOut> {
        let mut version = self.shared.version.subscribe();
        let wait = async {
            while !question(&self.shared.lock()) {
                if version.changed().await.is_err() {
                    break;
                }
            }
        };
        match tokio::time::timeout(timeout, wait).await {
            Ok(()) => Ok(()),
            Err(_) => Err(TimedOut::new(&self.shared.lock(), timeout)),
        }
    }

    /// Forgets everything received, the counts and the faults to come.
    pub fn clear(&self) {
        self.shared.change(Received::clear);
    }

    /// Answers the next requests of any kind with a fault. Faults are met in the order in which they were
    /// planned.
    pub fn fail_next(&self, requests: usize, fault: Fault) {
        self.shared.lock().faults.plan(None, requests, fault);
    }

    /// Answers the next requests of one kind with a fault: the others are not disturbed.
    pub fn fail_next_of(&self, signal: Signal, requests: usize, fault: Fault) {
        self.shared.lock().faults.plan(Some(signal), requests, fault);
    }

    /// Forgets the faults to come. Requests that hang go on hanging.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It fails only if the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the server's thread has shown itself in the test's output.
            let _ = thread.join();
        }
    }
}

impl OtlpReceiverBuilder {
    /// Where to listen. By default a free port of 127.0.0.1.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Bytes of one uncompressed request that are taken; larger ones are refused as the OpenTelemetry Collector
    /// refuses them. By default [`OtlpReceiver::DEFAULT_MAX_MESSAGE_BYTES`].
    #[must_use]
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Spans that are kept; further ones are counted and refused by partial success. By default
    /// [`OtlpReceiver::DEFAULT_MAX_SPANS`].
    #[must_use]
    pub fn max_spans(mut self, spans: usize) -> Self {
        self.max_spans = spans;
        self
    }

    /// Metric series that are kept; points of further ones are counted and refused by partial success. By
    /// default [`OtlpReceiver::DEFAULT_MAX_SERIES`].
    #[must_use]
    pub fn max_series(mut self, series: usize) -> Self {
        self.max_series = series;
        self
    }

    /// Starts the receiver; it takes requests when this returns.
    ///
    /// # Errors
    /// If the address is taken or not this machine's, or no thread or runtime can be had.
    pub fn start(self) -> io::Result<OtlpReceiver> {
        // Bound here, not in the thread, so that the error reaches the caller and no request comes too early.
        let listener = TcpListener::bind(self.address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared {
            received: Mutex::new(Received::new(self.max_spans, self.max_series)),
            changed: Condvar::new(),
            version: watch::Sender::new(0),
            max_message_bytes: self.max_message_bytes,
        });
        let (stop, stopped) = oneshot::channel();
        let for_server = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("otlp-receiver".to_owned()).spawn(move || {
            // Its HTTP stack uses `tracing` too: those spans are not the test's.
            tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), || {
                runtime.block_on(serve::run(listener, for_server, stopped));
                // Here, not at the end of the thread: closing connections traces, too.
                drop(runtime);
            });
        })?;
        Ok(OtlpReceiver { address, shared, stop: Some(stop), thread: Some(thread) })
    }
}

/// What was waited for did not happen in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedOut {
    message: String,
}

impl TimedOut {
    fn new(received: &Received, timeout: Duration) -> Self {
        let mut names = std::collections::BTreeMap::<&str, usize>::new();
        for span in received.spans() {
            *names.entry(&span.name).or_default() += 1;
        }
        let names: Vec<_> =
            names.iter().take(20).map(|(name, count)| format!("{count} x {name:?}")).collect();
        let message = format!(
            "not seen within {timeout:?}; {} requests came ({} failed) with {} spans ({}) and {} metric series",
            received.requests(),
            received.failed_requests(),
            received.spans().len(),
            names.join(", "),
            received.points().count()
        );
        Self { message }
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TimedOut {}

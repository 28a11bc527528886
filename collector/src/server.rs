//! The whole collector in one value: store, receivers, API. `agentvitals serve` is this, and so is the demo.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Error;
use crate::api::{self, ApiState, Readiness, Sample};
use crate::clock;
use crate::health::{self, Feed, Watch};
use crate::listen::Tls;
use crate::otlp::{Config, Counters, Receiver};
use crate::query::Table;
use crate::query::exec::{Limits, Prepared, Queries};
use crate::query::report::ReportRequest;
use crate::store::{Figures, Options, Store};
use crate::token::Token;

/// How often it is looked what reports can be prepared of, at most.
const PREPARE_EVERY: Duration = Duration::from_secs(2);

/// Where a server keeps its data and listens.
#[derive(Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Where data is kept.
    pub data_dir: PathBuf,
    /// The address for OTLP/gRPC; port 0 picks a free one.
    pub otlp_grpc: SocketAddr,
    /// The address for OTLP/HTTP, likewise.
    pub otlp_http: SocketAddr,
    /// The address for questions, likewise.
    pub api: SocketAddr,
    /// What requests and questions must bear.
    pub token: Token,
    /// What all addresses show of themselves; without it they speak in the clear.
    pub tls: Option<Tls>,
    /// How the store works.
    pub store: Options,
    /// How health is watched.
    pub health: health::Settings,
}

impl Settings {
    /// Data in this directory, free ports on loopback, no token.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            data_dir: data_dir.into(),
            otlp_grpc: free,
            otlp_http: free,
            api: free,
            token: Token::none(),
            tls: None,
            store: Options::default(),
            health: health::Settings::default(),
        }
    }
}

/// Where a server listens: the line that it prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Addresses {
    /// Always true: it listens.
    pub ready: bool,
    /// Takes OTLP/gRPC.
    pub otlp_grpc: SocketAddr,
    /// Takes OTLP/HTTP.
    pub otlp_http: SocketAddr,
    /// Answers questions.
    pub api: SocketAddr,
    /// Where data is kept.
    pub data_dir: PathBuf,
}

/// A server that runs on the runtime on which it was started.
#[derive(Debug)]
pub struct Server {
    store: Arc<Store>,
    watch: Arc<Watch>,
    queries: Queries,
    prepared: watch::Receiver<u64>,
    addresses: Addresses,
    end: watch::Sender<bool>,
    tasks: [JoinHandle<Result<(), Error>>; 4],
}

impl Server {
    /// Opens the store, and listens.
    ///
    /// # Errors
    /// When the data directory or an address cannot be had; it is named.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let Settings { data_dir, otlp_grpc, otlp_http, api, token, tls, store, health } = settings;
        let opened = data_dir.clone();
        let store = tokio::task::spawn_blocking(move || Store::open(&opened, store)).await;
        let store =
            store.map_err(|error| Error::failed(format!("the store cannot be opened: {error}")))??;
        let store = Arc::new(store);
        let every = health.every;
        let watch = Arc::new(Watch::open(&data_dir, health)?);
        let feed = Arc::new(Feed::new(Arc::clone(&store) as _, Arc::clone(&watch)));
        let mut config = Config::new(otlp_grpc, otlp_http);
        config.token = token.clone();
        config.tls = tls.clone();
        let receiver = Receiver::bind(config, feed as _).await?;
        let questions = api::bind(api).await?;
        let addresses = Addresses {
            ready: true,
            otlp_grpc: receiver.grpc_addr(),
            otlp_http: receiver.http_addr(),
            api: questions.local_addr().map_err(|error| Error::failed(error.to_string()))?,
            data_dir: data_dir.canonicalize().unwrap_or(data_dir),
        };
        let (end, ending) = watch::channel(false);
        let ended = |mut ending: watch::Receiver<bool>| async move {
            // The sender is gone when the server is: that is an end as well.
            ending.wait_for(|&ending| ending).await.ok();
        };
        let queries = Queries::new(Arc::clone(&store) as _, Limits::default());
        let (preparing, prepared) = watch::channel(0);
        let shown = Shown {
            store: Arc::clone(&store),
            watch: Arc::clone(&watch),
            queries: queries.clone(),
            received: receiver.counters(),
            prepared: prepared.clone(),
        };
        let state = shown.state().token(token);
        let closed = ended(ending.clone());
        let answering = tokio::spawn(async move { api::run(questions, tls.as_ref(), state, closed).await });
        let looking = tokio::spawn(look(Arc::clone(&watch), queries.clone(), every, ended(ending.clone())));
        let preparing = tokio::spawn(prepare(queries.clone(), preparing, ended(ending.clone())));
        let receiving = tokio::spawn(receiver.run(ended(ending)));
        let tasks = [receiving, answering, looking, preparing];
        Ok(Self { store, watch, queries, prepared, addresses, end, tasks })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The addresses as one line of JSON.
    ///
    /// # Errors
    /// When the path of the data directory is no text.
    pub fn ready_line(&self) -> Result<String, Error> {
        serde_json::to_string(&self.addresses).map_err(|error| Error::failed(error.to_string()))
    }

    /// What it keeps.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Health and alerts of what it receives.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Answers about what it keeps.
    pub fn queries(&self) -> Queries {
        self.queries.clone()
    }

    /// How many rows were read ahead of time for the report of the last day, and when there are more.
    pub fn prepared(&self) -> watch::Receiver<u64> {
        self.prepared.clone()
    }

    /// Takes nothing more, ends what is going on, and closes the store.
    ///
    /// # Errors
    /// When a part of it had failed.
    pub async fn stop(self) -> Result<(), Error> {
        self.end.send(true).ok();
        let mut ended = Ok(());
        for task in self.tasks {
            let result =
                task.await.map_err(|error| Error::failed(format!("the server ended early: {error}")));
            if let Err(error) = result.and_then(|result| result) {
                ended = Err(error);
            }
        }
        let store = self.store;
        // It waits for the disk.
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        closed.map_err(|error| Error::failed(format!("the store cannot be closed: {error}")))?;
        ended
    }
}

/// Looks at health until the end.
async fn look(
    watch: Arc<Watch>,
    queries: Queries,
    every: Duration,
    ended: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut interval = tokio::time::interval(every);
    // After a pause of the machine one look says as much as many.
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => return Ok(()),
            _ = interval.tick() => {}
        }
        let (watch, queries) = (Arc::clone(&watch), queries.clone());
        let looked = tokio::task::spawn_blocking(move || {
            watch.look(Some(&queries));
        });
        looked.await.map_err(|error| Error::failed(format!("health broke: {error}")))?;
    }
}

/// Reads ahead of time what the report of the last day is made of, whenever there is more on disk, until the end. `read` tells
/// how many rows that were. However much comes in, it takes at most a tenth of the time of one core.
async fn prepare(
    queries: Queries,
    read: watch::Sender<u64>,
    ended: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut prepared = Prepared::default();
    tokio::pin!(ended);
    loop {
        let began = clock::now();
        let control = Arc::new(queries.patient_control());
        let (asked, bounds) = (queries.clone(), Arc::clone(&control));
        let mut preparing = tokio::task::spawn_blocking(move || {
            // What cannot be read is told to whoever asks about it.
            asked.prepare_report(&ReportRequest::default(), &mut prepared, &bounds).ok();
            prepared
        });
        let done = tokio::select! {
            () = &mut ended => {
                control.cancel();
                preparing.await.ok();
                return Ok(());
            }
            done = &mut preparing => done,
        };
        prepared = done.map_err(|error| Error::failed(format!("reports cannot be prepared: {error}")))?;
        read.send_replace(prepared.rows());
        let pause = began.elapsed().saturating_mul(9).max(PREPARE_EVERY);
        tokio::select! {
            () = &mut ended => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What the API shows.
struct Shown {
    store: Arc<Store>,
    watch: Arc<Watch>,
    queries: Queries,
    received: Counters,
    /// Rows that were read ahead of time.
    prepared: watch::Receiver<u64>,
}

impl Shown {
    fn state(self) -> ApiState {
        let Self { store, watch, queries, received, prepared } = self;
        let firing = Arc::clone(&watch);
        let [metrics, readiness, deletion] = [Arc::clone(&store), Arc::clone(&store), store];
        ApiState::new(Arc::new(queries))
            .watch(watch)
            .metrics(move || {
                let mut samples = samples(&metrics);
                samples.push(Sample::gauge(
                    "agentvitals_alerts_firing",
                    "Alerts that fire and that nobody has muted.",
                    firing.firing() as f64,
                ));
                samples.push(Sample::counter(
                    "agentvitals_report_rows_prepared_total",
                    "Rows that were read ahead of time for the report of the last day.",
                    *prepared.borrow() as f64,
                ));
                samples.extend(receiver_samples(&received));
                samples
            })
            .deletion(move |service| deletion.delete_service(service))
            .readiness(move || readiness.figures().trouble.map_or(Readiness::Ready, Readiness::NotReady))
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has doubles")]
fn samples(store: &Store) -> Vec<Sample> {
    let figures = store.figures();
    let gauge = |name, help, value: u64| Sample::gauge(name, help, value as f64);
    let counter = |name, help, value: u64| Sample::counter(name, help, value as f64);
    let mut samples = vec![counter(
        "agentvitals_store_requests_overloaded_total",
        "Requests that were refused as overload.",
        figures.overloaded,
    )];
    samples.extend(log_samples(&figures));
    samples.extend([
        counter(
            "agentvitals_store_segments_expired_total",
            "Segments that were removed for their age or for room.",
            figures.expired,
        ),
        counter(
            "agentvitals_store_segments_compacted_total",
            "Segments that were put together into larger ones.",
            figures.compacted,
        ),
        counter(
            "agentvitals_store_segments_downsampled_total",
            "Segments of metrics that were downsampled.",
            figures.downsampled,
        ),
        counter(
            "agentvitals_store_points_downsampled_total",
            "Data points that went since fewer give the same answers at the step.",
            figures.downsampled_points,
        ),
        gauge("agentvitals_store_spans_pending", "Spans that are not over.", figures.pending),
        counter(
            "agentvitals_store_spans_pending_dropped_total",
            "Spans that were not over and are forgotten, since there were too many.",
            figures.pending_dropped,
        ),
        gauge(
            "agentvitals_store_maintenance_failing",
            "1 if segments could not be removed, downsampled or put together the last time.",
            u64::from(figures.maintenance.is_some()),
        ),
    ]);
    for table in Table::ALL {
        let figures = figures.table(table);
        let of_table = [
            gauge("agentvitals_store_rows", "Spans, log records and data points.", figures.rows),
            gauge("agentvitals_store_rows_in_memory", "Those in memory and in the log.", figures.in_memory),
            gauge("agentvitals_store_segments", "Segments.", figures.segments),
            gauge("agentvitals_store_segment_bytes", "Bytes of the segments.", figures.segment_bytes),
            counter("agentvitals_store_rows_accepted_total", "Rows that were taken.", figures.accepted),
            counter(
                "agentvitals_store_rows_rejected_total",
                "Records that were refused as being none.",
                figures.rejected,
            ),
            counter(
                "agentvitals_store_rows_repeated_total",
                "Rows that came again and were kept once.",
                figures.repeated,
            ),
        ];
        samples.extend(of_table.map(|sample| sample.label("table", table.name())));
    }
    if let Some(bytes) = figures.disk_bytes {
        samples.push(gauge("agentvitals_store_disk_bytes", "Bytes of the data directory.", bytes));
    }
    samples
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has doubles")]
fn log_samples(figures: &Figures) -> [Sample; 8] {
    let log = &figures.log;
    let counter = |name, help, value: u64| Sample::counter(name, help, value as f64);
    let gauge = |name, help, value: f64| Sample::gauge(name, help, value);
    [
        counter("agentvitals_log_syncs_total", "Syncs of the log to the disk.", log.syncs),
        counter("agentvitals_log_requests_total", "Requests that they made durable.", log.requests),
        counter("agentvitals_log_bytes_total", "Bytes of these.", log.bytes),
        Sample::counter(
            "agentvitals_log_sync_seconds_total",
            "Seconds that writing and syncing took.",
            log.sync_nanos as f64 / 1e9,
        ),
        gauge(
            "agentvitals_log_slowest_sync_seconds",
            "Seconds of the slowest since the start.",
            log.slowest_nanos as f64 / 1e9,
        ),
        gauge(
            "agentvitals_log_largest_sync_requests",
            "Requests of the largest since the start.",
            log.largest_sync as f64,
        ),
        gauge("agentvitals_log_waiting_bytes", "Bytes that wait for the disk.", log.waiting_bytes as f64),
        counter("agentvitals_log_refused_total", "Requests that could not be written.", log.refused),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has doubles")]
fn receiver_samples(received: &Counters) -> Vec<Sample> {
    let mut samples = Vec::new();
    for counted in received.read() {
        let labelled = |sample: Sample| {
            sample.label("transport", counted.transport.name()).label("signal", counted.signal.name())
        };
        samples.push(labelled(Sample::counter(
            "agentvitals_receiver_requests_total",
            "Requests that were acknowledged.",
            counted.requests as f64,
        )));
        samples.push(labelled(Sample::counter(
            "agentvitals_receiver_bytes_total",
            "Their bytes, decompressed.",
            counted.bytes as f64,
        )));
        for (reason, count) in counted.refused {
            let refused = Sample::counter(
                "agentvitals_receiver_refused_total",
                "Requests that were refused, by reason.",
                count as f64,
            );
            samples.push(labelled(refused).label("reason", reason.name()));
        }
    }
    samples
}

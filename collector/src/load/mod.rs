//! A load of GenAI traces on an OTLP endpoint: what is acknowledged, how fast, and how long each request waits.
//!
//! Everything follows from a seed: whoever knows it, and which requests were acknowledged, knows every id that must be
//! there ([`trace_id`], [`span_id`]).

mod ids;
mod report;
mod send;
mod spans;
mod template;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::Error;
use crate::ingest::Ingest;
use crate::token::Token;
use report::Tally;
use send::{Outcome, Sender};
use template::Template;

pub use ids::{span_id, trace_id};
pub use report::{Latency, Report};
pub use spans::SPANS_PER_TRACE;

/// Looks that requests have: agents, models, durations and errors are drawn once for each.
const LOOKS: u64 = 32;
/// Nanoseconds from one trace to the next when there is no rate.
const GAP: u64 = 100_000;
/// Attempts at one request.
const ATTEMPTS: u32 = 60;

/// How requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[expect(clippy::exhaustive_enums, reason = "the transports of OTLP")]
pub enum Protocol {
    /// OTLP/gRPC.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf.
    Http,
}

/// How requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[expect(clippy::exhaustive_enums, reason = "the compressions that OTLP has")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By gzip.
    Gzip,
    /// By zstd.
    Zstd,
}

/// What takes requests in this process.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "a value with a way to be shown")]
pub struct Direct(pub Arc<dyn Ingest>);

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Direct")
    }
}

/// What is sent, where and how fast.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where OTLP goes, such as `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// What takes the requests in place of the endpoint: for what it takes without a network.
    pub direct: Option<Direct>,
    /// How requests are sent.
    pub protocol: Protocol,
    /// How they are compressed.
    pub compression: Compression,
    /// What they bear.
    pub token: Token,
    /// Spans of all, if there is a limit; rounded up to whole traces.
    pub spans: Option<u64>,
    /// How long it goes on, if there is a limit.
    pub duration: Option<Duration>,
    /// Spans a second; 0 for as many as are acknowledged.
    pub rate: u64,
    /// Spans of a request; rounded up to whole traces.
    pub batch: u64,
    /// Connections.
    pub connections: usize,
    /// Requests on their way over each.
    pub in_flight: usize,
    /// What all ids follow from.
    pub seed: u64,
    /// A line is written here for each request when it is acknowledged: the number of its first trace, and how many
    /// follow.
    pub ids: Option<PathBuf>,
}

impl Options {
    /// 100,000 spans to this endpoint, as fast as they are acknowledged.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            direct: None,
            protocol: Protocol::Grpc,
            compression: Compression::None,
            token: Token::none(),
            spans: Some(100_000),
            duration: None,
            rate: 0,
            batch: 512,
            connections: 2,
            in_flight: 2,
            seed: 1,
            ids: None,
        }
    }
}

/// What the workers share.
struct Shared {
    options: Options,
    templates: Vec<Template>,
    /// The next request.
    next: AtomicU64,
    traces: Option<u64>,
    began: Instant,
    /// When the first trace starts, and the nanoseconds from one to the next.
    first_start: u64,
    gap: u64,
    ended: AtomicBool,
    tally: Mutex<Tally>,
    ids: Option<Mutex<std::fs::File>>,
    failed: Mutex<Option<Error>>,
}

/// Sends, until all is sent, the time is over, or `stop` is done. `progress` is told what was done so far, once a second.
///
/// # Errors
/// When the options make no sense, nothing takes OTLP at the endpoint, or the file of ids cannot be written.
pub async fn run(
    options: Options,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(&Report),
) -> Result<Report, Error> {
    check(&options)?;
    let senders = Sender::all(&options).await?;
    let shared = Arc::new(Shared::new(options)?);
    let mut workers = tokio::task::JoinSet::new();
    for sender in senders {
        for _ in 0..shared.options.in_flight {
            workers.spawn(work(Arc::clone(&shared), sender.clone()));
        }
    }
    let deadline = shared.options.duration.map(|duration| shared.began + duration);
    let over = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let mut tick = tokio::time::interval_at(shared.began + Duration::from_secs(1), Duration::from_secs(1));
    tokio::pin!(over, stop);
    loop {
        tokio::select! {
            ended = workers.join_next() => match ended {
                None => break,
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(Error::failed(format!("a sender broke: {error}"))),
            },
            () = &mut over, if !shared.ended() => shared.end(),
            () = &mut stop, if !shared.ended() => shared.end(),
            _ = tick.tick() => progress(&shared.report()),
        }
    }
    match lock(&shared.failed).take() {
        Some(error) => Err(error),
        None => Ok(shared.report()),
    }
}

fn check(options: &Options) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::input(what));
    if options.direct.is_none() && !options.endpoint.contains("://") {
        let endpoint = &options.endpoint;
        return wrong(format!("--endpoint {endpoint:?} is no URL, expected one like http://127.0.0.1:4317"));
    }
    if !(1..=1_024).contains(&options.connections) || !(1..=256).contains(&options.in_flight) {
        return wrong("--connections may be 1 to 1024, --in-flight 1 to 256".to_owned());
    }
    if !(1..=100_000).contains(&options.batch) {
        return wrong(format!("--batch {} may be 1 to 100000 spans", options.batch));
    }
    if options.spans == Some(0) {
        return wrong("--spans 0: there is nothing to send".to_owned());
    }
    Ok(())
}

impl Shared {
    fn new(options: Options) -> Result<Self, Error> {
        let ids = options.ids.as_ref().map(|path| {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            file.map_err(|error| Error::input(format!("--ids {}: {error}", path.display())))
        });
        let traces = options.spans.map(|spans| spans.div_ceil(SPANS_PER_TRACE));
        // With a rate, traces are as far apart as they are sent; without, as if they had come until now.
        let gap = match options.rate {
            0 => GAP,
            rate => SPANS_PER_TRACE.saturating_mul(1_000_000_000) / rate,
        };
        let now = crate::clock::unix_nanos().cast_unsigned();
        let per_request = options.batch.div_ceil(SPANS_PER_TRACE).min(traces.unwrap_or(u64::MAX));
        let templates =
            (0..LOOKS).map(|look| Template::new(per_request, ids::mix(options.seed) ^ look)).collect();
        Ok(Self {
            templates,
            next: AtomicU64::new(0),
            traces,
            ids: ids.transpose()?.map(Mutex::new),
            first_start: now.saturating_sub(if options.rate == 0 { traces.unwrap_or(0) * gap } else { 0 }),
            gap,
            began: Instant::now(),
            ended: AtomicBool::new(false),
            tally: Mutex::new(Tally::default()),
            failed: Mutex::new(None),
            options,
        })
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The next request: its first trace, its traces, its bytes, and when it is due.
    fn request(&self) -> Option<(u64, u64, Bytes, Instant)> {
        if self.ended() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let template = &self.templates[(number % LOOKS) as usize];
        let first = number * template.traces;
        let left =
            self.traces.map_or(template.traces, |traces| traces.saturating_sub(first).min(template.traces));
        if left == 0 {
            return None;
        }
        // By the schedule and not by the one before, so that a wait is not carried on.
        let due = match self.options.rate {
            0 => self.began,
            rate => self.began + Duration::from_secs_f64((first * SPANS_PER_TRACE) as f64 / rate as f64),
        };
        let start = self.first_start + first * self.gap;
        let seed = self.options.seed;
        let bytes = if left == template.traces {
            template.copy(seed, first, start, self.gap)
        } else {
            Template::new(left, ids::mix(seed)).copy(seed, first, start, self.gap)
        };
        Some((first, left, bytes, due))
    }

    /// Notes what was acknowledged, before it is counted.
    fn note(&self, first: u64, traces: u64) -> bool {
        let Some(ids) = &self.ids else { return true };
        let written = lock(ids).write_all(format!("{first} {traces}\n").as_bytes());
        if let Err(error) = written {
            *lock(&self.failed) = Some(Error::failed(format!("the file of ids cannot be written: {error}")));
            self.end();
            return false;
        }
        true
    }

    fn report(&self) -> Report {
        lock(&self.tally).report(self.options.seed, self.began.elapsed())
    }
}

async fn work(shared: Arc<Shared>, mut sender: Sender) {
    while let Some((first, traces, body, due)) = shared.request() {
        if shared.options.rate > 0 {
            tokio::time::sleep_until(due).await;
        }
        // With a rate a request waits from when it was due: that it was sent late is the endpoint's doing too.
        let since = if shared.options.rate > 0 { due } else { Instant::now() };
        let (spans, bytes) = (traces * SPANS_PER_TRACE, body.len() as u64);
        let mut attempts = 0;
        loop {
            attempts += 1;
            match sender.send(body.clone()).await {
                Outcome::Taken { rejected } => {
                    if !shared.note(first, traces) {
                        return;
                    }
                    lock(&shared.tally).taken(spans, rejected, bytes, since.elapsed());
                    break;
                }
                Outcome::Later(why, after) => {
                    lock(&shared.tally).retried(why);
                    if attempts >= ATTEMPTS || shared.ended() {
                        lock(&shared.tally).refused(spans, why.to_owned());
                        break;
                    }
                    tokio::time::sleep(after).await;
                }
                Outcome::Refused(why) => {
                    lock(&shared.tally).refused(spans, why);
                    break;
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

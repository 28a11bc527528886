//! An OpenAI-compatible model server on loopback that answers with recorded completions.
//!
//! `POST /v1/chat/completions`, streamed or not, as any client of that API knows it. Which recorded call a
//! request stands for is told by two headers, [`RUN_HEADER`] and [`STEP_HEADER`]: what a model answered cannot
//! be found by what it was asked, because agents ask the same thing twice and are answered differently.

mod answer;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream::{self, StreamExt as _};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Speed;
use super::runs::{Action, ModelCall, Run};
use crate::Error;

/// The header with the run's position among the runs, from 0. (Ids of runs need not fit into a header.)
pub const RUN_HEADER: &str = "x-replay-run";
/// The header with the step's position in its run, from 0.
pub const STEP_HEADER: &str = "x-replay-step";

/// The longest request that is read.
const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// How long calls that are going on may take to end when the server is stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// A running model server. It ends with [`stop`](Self::stop) or when it is dropped.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    replay: Arc<Replay>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

#[derive(Debug)]
struct Replay {
    runs: Arc<[Run]>,
    speed: Speed,
    answered: AtomicU64,
}

impl ModelServer {
    /// Starts a server for `runs` on a free port of the loopback interface. A call takes its recorded time,
    /// divided by `speed`.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn start(runs: Arc<[Run]>, speed: Speed) -> Result<Self, Error> {
        let failed = |error| Error::failed(format!("the model server cannot listen on 127.0.0.1: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let replay = Arc::new(Replay { runs, speed, answered: AtomicU64::new(0) });
        let routes = Router::new()
            .route("/v1/chat/completions", post(complete))
            .fallback(|| async {
                answer::refusal(StatusCode::NOT_FOUND, "not_found", "POST /v1/chat/completions")
            })
            .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
            .with_state(Arc::clone(&replay));
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = axum::serve(listener, routes).with_graceful_shutdown(async {
            // A dropped sender is a dropped server.
            stopped.await.ok();
        });
        let task = tokio::spawn(serve.into_future());
        Ok(Self { address, replay, stop, task })
    }

    /// The base URL, to which clients add `/chat/completions`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Recorded calls that were answered so far, refused ones included.
    pub fn answered(&self) -> u64 {
        self.replay.answered.load(Ordering::Relaxed)
    }

    /// Ends the server: no new calls, and a moment for those that are going on.
    pub async fn stop(mut self) {
        self.stop.send(()).ok();
        if tokio::time::timeout(STOP_TIMEOUT, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// What the server reads of a request; the rest of it is the client's own affair.
#[derive(Deserialize)]
struct Request {
    model: String,
    messages: Vec<serde_json::Value>,
    #[serde(default)]
    stream: bool,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

async fn complete(State(replay): State<Arc<Replay>>, headers: HeaderMap, body: Bytes) -> Response {
    let invalid = |what: &str| answer::refusal(StatusCode::BAD_REQUEST, "invalid_request_error", what);
    let request: Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return invalid(&format!("the body is no chat completion request: {error}")),
    };
    if request.messages.is_empty() {
        return invalid("`messages` is empty");
    }
    let (call, recorded) = match replay.find(&headers) {
        Ok(found) => found,
        Err(what) => return invalid(&what),
    };
    if request.model != call.model {
        let what = format!("the recorded call asked for {:?}, this one for {:?}", call.model, request.model);
        return answer::refusal(StatusCode::NOT_FOUND, "model_not_found", &what);
    }
    replay.answered.fetch_add(1, Ordering::Relaxed);
    let wait = replay.speed.scale(recorded);
    if let Some(error) = call.error.as_ref().filter(|_| !call.was_answered()) {
        sleep(wait).await;
        let status = if error.kind.contains("rate_limit") {
            StatusCode::TOO_MANY_REQUESTS
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        return answer::refusal(status, &error.kind, &error.message);
    }
    if request.stream {
        let with_usage = request.stream_options.is_some_and(|options| options.include_usage);
        return streamed(answer::chunks(call, with_usage), wait);
    }
    sleep(wait).await;
    ([(header::CONTENT_TYPE, "application/json")], answer::whole(call).to_string()).into_response()
}

impl Replay {
    fn find(&self, headers: &HeaderMap) -> Result<(&ModelCall, Option<Duration>), String> {
        let position = |name: &str| {
            let value = headers.get(name).ok_or_else(|| format!("the header {name} is missing"))?;
            let number = value.to_str().ok().and_then(|text| text.parse::<usize>().ok());
            number.ok_or_else(|| format!("the header {name} is {value:?}, expected a position from 0"))
        };
        let (run, step) = (position(RUN_HEADER)?, position(STEP_HEADER)?);
        let recorded = self.runs.get(run).and_then(|run| run.steps.get(step));
        match recorded.map(|step| (&step.action, step.duration)) {
            Some((Action::Model(call), duration)) => Ok((call, duration)),
            Some((Action::Tool(_), _)) => Err(format!("step {step} of run {run} is a tool call")),
            None => Err(format!("there is no step {step} in run {run}, there are {} runs", self.runs.len())),
        }
    }
}

/// Sends the chunks as server-sent events: a third of the time to the first, the rest of it between the others.
fn streamed(chunks: Vec<String>, total: Duration) -> Response {
    let first = total / 3;
    let later = (total - first) / u32::try_from(chunks.len()).unwrap_or(u32::MAX).max(1);
    let events = stream::iter(chunks.into_iter().enumerate()).then(move |(n, data)| async move {
        let wait = if n == 0 { first } else { later };
        // Timers have a resolution of a millisecond: a zero sleep would still yield, and cost a tick.
        if !wait.is_zero() {
            sleep(wait).await;
        }
        Ok::<_, Infallible>(Event::default().data(data))
    });
    Sse::new(events).into_response()
}

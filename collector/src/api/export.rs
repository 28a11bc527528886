//! Everything that matches as lines of OTLP/JSON, while it is read.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::ApiState;
use super::error::ApiError;
use super::routes::{CancelOnDrop, Parameters, by_parameters};
use crate::ingest::Signal;
use crate::otlpjson;
use crate::query::QueryError;
use crate::query::engine::{Flow, Table};
use crate::query::request::ExportRequest;

/// Lines that are written ahead of whoever reads them.
const AHEAD: usize = 4;

/// A line is a request of OTLP with up to a thousand records. An error after the first line breaks the answer off, so that nobody
/// takes it for all.
pub(super) async fn export(
    State(state): State<ApiState>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let request: ExportRequest = by_parameters(parameters)?;
    let permit = Arc::clone(&state.running).try_acquire_owned().map_err(|_| ApiError::Busy(state.most))?;
    let control = Arc::new(state.answers.patient_control());
    let guard = CancelOnDrop(Arc::clone(&control));
    let (to, mut lines) = mpsc::channel::<Result<Bytes, QueryError>>(AHEAD);
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let signal = signal(request.table);
        let read = state.answers.export(&request, &control, &mut |records| {
            let line = line(signal, &records)?;
            Ok(if to.blocking_send(Ok(line)).is_ok() { Flow::Continue } else { Flow::Stop })
        });
        if let Err(error) = read {
            to.blocking_send(Err(error)).ok();
        }
    });
    let first = lines.recv().await.transpose()?;
    let rest = ReceiverStream::new(lines);
    let all = futures_util::stream::iter(first.map(Ok)).chain(rest).map(move |line| {
        let _ = &guard;
        line
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(all)).into_response())
}

const fn signal(table: Table) -> Signal {
    match table {
        Table::Spans => Signal::Traces,
        Table::Logs => Signal::Logs,
        Table::Metrics => Signal::Metrics,
    }
}

fn line(signal: Signal, records: &[u8]) -> Result<Bytes, QueryError> {
    let mut line = String::with_capacity(records.len() * 3);
    otlpjson::write(signal, records, &mut line).map_err(QueryError::Failed)?;
    line.push('\n');
    Ok(line.into())
}

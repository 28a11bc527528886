//! A request as rows of its table.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::logs::{self, LogRow};
use super::points::{self, PointRow};
use super::recent::Recent;
use super::spans::chunk::{Chunk, Row};
use super::spans::{self, fields::Decoded};
use super::state::Contents;
use crate::clock;
use crate::ingest::Signal;
use crate::query::Table;

/// What the log calls a request of spans.
const SPANS: u8 = 1;
/// A request of metrics.
const METRICS: u8 = 2;
/// The time at which it was received (i64, nanoseconds since 1970), and a request of log records.
const LOGS: u8 = 3;

/// The table of a kind of record of the log.
pub(super) const fn table_of(kind: u8) -> Option<Table> {
    match kind {
        SPANS => Some(Table::Spans),
        METRICS => Some(Table::Metrics),
        LOGS => Some(Table::Logs),
        _ => None,
    }
}

/// A request as the log has it: its kind and payload.
pub(super) fn record(signal: Signal, request: Bytes) -> (u8, Bytes) {
    match signal {
        Signal::Traces => (SPANS, request),
        Signal::Metrics => (METRICS, request),
        // Log records need not tell a time, and must have the same one when the log is read again.
        Signal::Logs => {
            let mut payload = BytesMut::with_capacity(8 + request.len());
            payload.put_i64_le(clock::unix_nanos());
            payload.extend_from_slice(&request);
            (LOGS, payload.freeze())
        }
    }
}

/// The request in a record's payload.
pub(super) fn request(kind: u8, payload: &[u8]) -> &[u8] {
    if kind == LOGS { payload.get(8..).unwrap_or_default() } else { payload }
}

/// The rows of one request.
#[derive(Debug)]
pub(super) enum Batch {
    Spans(Chunk<Row>),
    Logs(Chunk<LogRow>),
    Points(Chunk<PointRow>),
}

/// A request that was decoded.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) batch: Batch,
    /// Records that are none.
    pub(super) rejected: u64,
    /// Why, for the first of them.
    pub(super) reason: String,
}

fn read<R>(decoded: Decoded<R>, batch: impl FnOnce(Chunk<R>) -> Batch) -> Read {
    Read { batch: batch(decoded.chunk), rejected: decoded.rejected, reason: decoded.reason }
}

/// Decodes a record of the log.
///
/// # Errors
/// When it is none of its kind.
pub(super) fn decode(kind: u8, mut payload: Bytes) -> Result<Read, String> {
    match kind {
        SPANS => Ok(read(spans::decode::decode(payload)?, Batch::Spans)),
        METRICS => Ok(read(points::decode::decode(payload)?, Batch::Points)),
        LOGS => {
            let received = payload.first_chunk().copied().map(i64::from_le_bytes);
            let received = received.ok_or("the record has no time of receipt")?;
            Ok(read(logs::decode::decode(payload.split_off(8), received)?, Batch::Logs))
        }
        other => Err(format!("records of kind {other} are not known")),
    }
}

impl Batch {
    pub(super) const fn table(&self) -> Table {
        match self {
            Self::Spans(_) => Table::Spans,
            Self::Logs(_) => Table::Logs,
            Self::Points(_) => Table::Metrics,
        }
    }

    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Spans(chunk) => chunk.rows.len(),
            Self::Logs(chunk) => chunk.rows.len(),
            Self::Points(chunk) => chunk.rows.len(),
        }
    }

    /// Puts into memory what did not come lately, of this generation of the log; returns how many rows that were.
    pub(super) fn keep(self, contents: &mut Contents, recent: &mut Recent, generation: u64) -> usize {
        let before = self.rows();
        match self {
            Self::Spans(mut chunk) => {
                contents.pending.take(&mut chunk);
                chunk.rows.retain(|row| recent.insert(row.identity(), generation));
                let kept = chunk.rows.len();
                contents.push(chunk);
                kept
            }
            // These have no ids of their own: what is known again is the request.
            Self::Logs(chunk) => {
                let new = chunk.rows.first().is_some_and(|row| recent.insert(row.batch, generation));
                if new {
                    contents.push(chunk);
                }
                if new { before } else { 0 }
            }
            Self::Points(chunk) => {
                let new = chunk.rows.first().is_some_and(|row| recent.insert(row.batch, generation));
                if new {
                    contents.push(chunk);
                }
                if new { before } else { 0 }
            }
        }
    }
}

//! The bounded queue between the traced threads and the exporter's thread.
//!
//! Spans wait in chunks of one batch each. A push is one short critical section that moves the span; taking a
//! batch is one move of a chunk, however many spans it has, so the exporter never holds the lock for long.
//! Emptied chunks come back to be filled again: in steady state the queue does not allocate.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::{SpanId, Status};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Notify;

use super::stats::{ExportStats, LossReason};
use crate::config::BatchConfig;
use crate::semconv::attr;

/// How many of the oldest spans are looked at for one that may make room.
const EVICTION_SCAN: usize = 64;
/// Emptied chunks that are kept.
const SPARE_CHUNKS: usize = 4;

#[derive(Debug)]
pub(crate) struct SpanQueue {
    state: Mutex<State>,
    /// Told when a batch is full or half of the bytes are taken. Not told of single spans: waking a thread
    /// costs the traced one more than the push, and the exporter looks by itself at every schedule delay.
    wake: Notify,
    stats: Arc<ExportStats>,
    max_spans: usize,
    max_bytes: usize,
    max_batch: usize,
    /// Whether there is anywhere for spans to go; without, they are neither kept nor counted.
    enabled: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Full or sealed chunks, oldest first.
    chunks: VecDeque<Chunk>,
    /// The chunk that is being filled.
    current: Vec<Item>,
    spare: Vec<Vec<Item>>,
    spans: usize,
    bytes: usize,
    /// Number of the next chunk to be sealed.
    next_chunk: u64,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) number: u64,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    span: SpanData,
    bytes: usize,
}

impl SpanQueue {
    pub(crate) fn new(config: &BatchConfig, enabled: bool, stats: Arc<ExportStats>) -> Self {
        let capacity = if enabled { config.max_batch } else { 0 };
        let state = State { current: Vec::with_capacity(capacity), ..State::default() };
        Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            stats,
            max_spans: config.queue_spans,
            max_bytes: config.queue_bytes,
            max_batch: config.max_batch,
            enabled,
        }
    }

    /// Nothing under the lock can panic half-way, so a poisoned lock is a whole one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a span that ended. Every span is counted here, and every one that does not stay is counted lost.
    pub(crate) fn push(&self, span: SpanData) {
        if !self.enabled {
            return;
        }
        self.stats.add_ended();
        let bytes = approximate_bytes(&span);
        let mut refused = None;
        let mut evicted = Vec::new();
        let mut wake = false;
        {
            let mut state = self.lock();
            if state.closed {
                drop(state);
                self.stats.add_lost(LossReason::Shutdown, 1);
                return;
            }
            let fits = |state: &State| {
                state.spans < self.max_spans && state.bytes.saturating_add(bytes) <= self.max_bytes
            };
            if !fits(&state) && is_important(&span) && bytes <= self.max_bytes {
                while !fits(&state) {
                    let Some(victim) = state.evict() else { break };
                    evicted.push(victim);
                }
            }
            if fits(&state) {
                state.spans += 1;
                state.bytes += bytes;
                let half_before = (state.bytes - bytes) * 2 >= self.max_bytes;
                state.current.push(Item { span, bytes });
                if state.current.len() >= self.max_batch
                    || (!half_before && state.bytes * 2 >= self.max_bytes)
                {
                    state.seal(self.max_batch);
                    wake = true;
                }
            } else {
                refused = Some(span);
            }
        }
        // What was dropped is freed and counted outside of the lock.
        let lost = evicted.len() + usize::from(refused.is_some());
        if lost > 0 {
            self.stats.add_lost(LossReason::QueueFull, lost as u64);
        }
        if wake {
            self.wake.notify_one();
        }
    }

    /// Waits until there may be something to do.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Closes the chunk that is being filled, so that all spans that ended before are in chunks up to the
    /// number that is returned.
    pub(crate) fn seal(&self) -> u64 {
        let mut state = self.lock();
        state.seal(self.max_batch);
        state.next_chunk
    }

    /// Takes the oldest sealed chunk.
    pub(crate) fn take(&self) -> Option<Chunk> {
        let mut state = self.lock();
        let chunk = state.chunks.pop_front()?;
        state.spans -= chunk.items.len();
        state.bytes -= chunk.items.iter().map(|item| item.bytes).sum::<usize>();
        Some(chunk)
    }

    /// The number of the oldest chunk that has not been taken.
    pub(crate) fn oldest(&self) -> u64 {
        let state = self.lock();
        state.chunks.front().map_or(state.next_chunk, |chunk| chunk.number)
    }

    /// Turns a chunk into its spans and keeps its memory.
    pub(crate) fn unpack(&self, mut chunk: Chunk) -> Vec<SpanData> {
        let spans = chunk.items.drain(..).map(|item| item.span).collect();
        if chunk.items.capacity() >= self.max_batch {
            let mut state = self.lock();
            if state.spare.len() < SPARE_CHUNKS {
                state.spare.push(chunk.items);
            }
        }
        spans
    }

    /// Refuses all spans from now on. What waits can still be taken.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.seal(self.max_batch);
        state.closed = true;
    }

    /// Empties the queue and says how many spans were in it.
    pub(crate) fn discard(&self) -> u64 {
        let mut state = self.lock();
        let count = state.spans;
        let chunks = mem::take(&mut state.chunks);
        let current = mem::take(&mut state.current);
        state.spans = 0;
        state.bytes = 0;
        drop(state);
        drop((chunks, current));
        count as u64
    }
}

impl State {
    fn seal(&mut self, capacity: usize) {
        if self.current.is_empty() {
            return;
        }
        let fresh = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(capacity));
        let mut items = mem::replace(&mut self.current, fresh);
        if items.len() * 4 < capacity {
            // Many flushes in a row must not hold a whole batch of memory each.
            items.shrink_to_fit();
        }
        self.chunks.push_back(Chunk { number: self.next_chunk, items });
        self.next_chunk += 1;
    }

    /// Removes one of the oldest spans that is neither an error nor a root.
    fn evict(&mut self) -> Option<Item> {
        let mut looked_at = 0;
        for items in self.chunks.iter_mut().map(|chunk| &mut chunk.items).chain([&mut self.current]) {
            let scan = items.len().min(EVICTION_SCAN - looked_at);
            if let Some(index) = items[..scan].iter().position(|item| !is_important(&item.span)) {
                // Order within a batch matters only to rollups, whose sums a lost span breaks anyway.
                let item = items.swap_remove(index);
                self.spans -= 1;
                self.bytes -= item.bytes;
                return Some(item);
            }
            looked_at += scan;
            if looked_at >= EVICTION_SCAN {
                break;
            }
        }
        None
    }
}

/// Whether a span is kept when others must go: errors, and the spans that traces hang on.
fn is_important(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
        || span.parent_span_id == SpanId::INVALID
        || span.parent_span_is_remote
        || span.attributes.iter().any(|attribute| attribute.key.as_str() == attr::ERROR_TYPE)
}

/// About as many bytes as a span takes in memory and in a request; exact enough for a limit, and cheap.
pub(crate) fn approximate_bytes(span: &SpanData) -> usize {
    let mut bytes = size_of::<Item>() + span.name.len() + attribute_bytes(&span.attributes);
    for event in &span.events.events {
        bytes += 64 + event.name.len() + attribute_bytes(&event.attributes);
    }
    for link in &span.links.links {
        bytes += 96 + attribute_bytes(&link.attributes);
    }
    if let Status::Error { description } = &span.status {
        bytes += description.len();
    }
    bytes
}

fn attribute_bytes(attributes: &[KeyValue]) -> usize {
    attributes.iter().map(|attribute| 48 + attribute.key.as_str().len() + value_bytes(&attribute.value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.as_str().len(),
        Value::Array(Array::String(texts)) => texts.iter().map(|text| 24 + text.as_str().len()).sum(),
        Value::Array(Array::Bool(values)) => values.len(),
        Value::Array(Array::I64(values)) => values.len() * 8,
        Value::Array(Array::F64(values)) => values.len() * 8,
        _ => 8,
    }
}

//! What is received goes to the store, and metrics that it has taken to the views as well.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::Watch;
use crate::ingest::{Ingest, Reply, Signal};

/// Requests that are remembered, so that one that is sent again counts once.
const REMEMBERED: usize = 8_192;

/// Takes requests for a store, and shows metrics to a [`Watch`].
pub struct Feed {
    store: Arc<dyn Ingest>,
    watch: Arc<Watch>,
    seen: Mutex<VecDeque<u64>>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("watch", &self.watch).finish_non_exhaustive()
    }
}

impl Feed {
    /// In front of this store.
    pub fn new(store: Arc<dyn Ingest>, watch: Arc<Watch>) -> Self {
        Self { store, watch, seen: Mutex::default() }
    }

    /// Whether these bytes come for the first time.
    fn is_new(&self, request: &[u8]) -> bool {
        let hash = xxh3_64(request);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&hash) {
            return false;
        }
        if seen.len() >= REMEMBERED {
            seen.pop_front();
        }
        seen.push_back(hash);
        true
    }
}

impl Ingest for Feed {
    fn ingest(&self, signal: Signal, request: Bytes) -> Reply<'_> {
        if signal != Signal::Metrics {
            return self.store.ingest(signal, request);
        }
        Box::pin(async move {
            let shown = request.clone();
            // What the store does not take, nobody is told of: the sender sends it again.
            let accepted = self.store.ingest(signal, request).await?;
            if self.is_new(&shown) {
                self.watch.take_in(&shown);
            }
            Ok(accepted)
        })
    }
}

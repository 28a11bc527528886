//! How much memory requests in flight take together. Small ones do not keep each other out, however many there are, and
//! large ones are refused before they are too many.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyStream, StreamBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;

/// What is counted as one.
const UNIT: usize = 1 << 10;
/// What a request takes before any of it has come.
const FIRST: usize = 16 << 10;
/// How long a sender should wait when there is no room.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// What it is told then.
pub(super) const NO_ROOM: &str = "too much is in flight";

/// Bytes that requests in flight may take.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    /// Room for a request; none if there is none.
    pub(super) fn begin(&self) -> Option<Held> {
        let permit = Arc::clone(&self.0).try_acquire_many_owned(units(FIRST)).ok()?;
        let taken = Taken { budget: Arc::clone(&self.0), permit };
        Some(Held(Arc::new(Mutex::new(taken))))
    }
}

#[derive(Debug)]
struct Taken {
    budget: Arc<Semaphore>,
    permit: OwnedSemaphorePermit,
}

/// What a request takes, until the last of these is dropped.
#[derive(Debug, Clone)]
pub(super) struct Held(Arc<Mutex<Taken>>);

impl Held {
    /// Takes room for so many bytes in all; whether there was.
    pub(super) fn grow(&self, bytes: usize) -> bool {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = units(bytes) as usize;
        let more = wanted.saturating_sub(taken.permit.num_permits());
        if more == 0 {
            return true;
        }
        match Arc::clone(&taken.budget).try_acquire_many_owned(u32::try_from(more).unwrap_or(u32::MAX)) {
            Ok(permit) => {
                taken.permit.merge(permit);
                true
            }
            Err(_) => false,
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// The body of a request, which takes room as it comes; where there is none it ends with this status.
pub(super) fn metered(
    body: Body,
    held: Held,
    no_room: impl Fn() -> Status + Send + 'static,
) -> impl http_body::Body<Data = Bytes, Error = Status> {
    let mut length = 0_usize;
    StreamBody::new(BodyStream::new(body).map(move |frame| {
        let frame = frame?;
        length = length.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if held.grow(length) { Ok(frame) } else { Err(no_room()) }
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn many_small_requests_have_room_and_large_ones_are_bounded_together() {
        let budget = Budget::new(64 << 20);
        let mut small: Vec<Held> = (0..3_000).map(|_| budget.begin().unwrap()).collect();
        let large = budget.begin().unwrap();
        assert!(large.grow(16 << 20) && large.grow(1));
        let other = budget.begin().unwrap();
        assert!(!other.grow(16 << 20), "48 MB are taken");
        small.truncate(10);
        assert!(other.grow(16 << 20) && other.grow(16 << 20));
        drop((large, other, small));
        assert!(budget.begin().unwrap().grow(64 << 20), "all is given back");
        assert!(!budget.begin().unwrap().grow((64 << 20) + 1));
    }
}

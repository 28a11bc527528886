//! Reads parts on as many threads as there are cores.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow_array::RecordBatch;

use crate::query::engine::{Control, Flow, Part, QueryError};

/// Calls `each` with every batch; one accumulator a thread. Returns them, and how many spans were looked at.
pub(super) fn fold<T: Default + Send>(
    parts: &[Box<dyn Part>],
    control: &Control,
    each: impl Fn(&mut T, &RecordBatch) -> Result<(), QueryError> + Sync,
) -> Result<(Vec<T>, u64), QueryError> {
    let (next, scanned) = (AtomicUsize::new(0), AtomicU64::new(0));
    // The largest first, so that no thread begins a large one when the others are about to end.
    let mut order: Vec<&dyn Part> = parts.iter().map(|part| &**part).collect();
    order.sort_by_key(|part| Reverse(part.rows()));
    let work = || {
        let mut all = T::default();
        while let Some(part) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let read = part.read(control, &mut |batch| {
                control.check()?;
                each(&mut all, batch)?;
                Ok(Flow::Continue)
            })?;
            scanned.fetch_add(read, Ordering::Relaxed);
        }
        Ok(all)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(parts.len().max(1));
    let all: Result<Vec<T>, QueryError> = if threads == 1 {
        work().map(|one| vec![one])
    } else {
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let failed = |_| QueryError::Failed("a thread of the query ended early".to_owned());
            others.into_iter().map(|other| other.join().map_err(failed)?).collect()
        })
    };
    Ok((all?, scanned.load(Ordering::Relaxed)))
}

//! Reads parts on as many threads as there are cores.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow_array::RecordBatch;

use super::memo::{Known, Memo, Partial};
use crate::query::engine::{Control, Flow, Part, QueryError};

/// Calls `each` with every batch; one accumulator a thread. Returns them, and how many spans were looked at.
pub(super) fn fold<T: Default + Send>(
    parts: &[Box<dyn Part>],
    control: &Control,
    each: impl Fn(&mut T, &RecordBatch) -> Result<(), QueryError> + Sync,
) -> Result<(Vec<T>, u64), QueryError> {
    by_part(parts, |all, part| read(part, control, all, &each))
}

/// The same, but of what was found out before nothing is read again: `question` tells all that `each` depends on but for the
/// scan's time. Returns all that is known, in parts; the spans that were looked at then count.
pub(super) fn fold_known<T: Partial>(
    parts: &[Box<dyn Part>],
    (memo, question): (&Memo, &Arc<str>),
    control: &Control,
    each: impl Fn(&mut T, &RecordBatch) -> Result<(), QueryError> + Sync,
) -> Result<(Vec<Arc<T>>, u64), QueryError> {
    let held = AtomicUsize::new(0);
    let each = |(known, rest): &mut (Vec<Arc<T>>, T), part: &dyn Part| {
        let Some(identity) = part.identity() else { return read(part, control, rest, &each) };
        control.check()?;
        let found = match memo.get(identity, question) {
            Some(found) => found,
            None => {
                let mut found = T::default();
                let rows = read(part, control, &mut found, &each)?;
                // What has no room among what is kept takes the least memory if it is put together at once.
                let bytes = found.bytes();
                if !memo.has_room(bytes, held.fetch_add(bytes, Ordering::Relaxed) + bytes) {
                    rest.absorb(&found, control)?;
                    control.give_memory(bytes);
                    return Ok(rows);
                }
                found.seal();
                let found = Known { partial: Arc::new(found), rows };
                memo.put(identity, question, &found);
                found
            }
        };
        known.push(found.partial);
        Ok(found.rows)
    };
    let (all, scanned) = by_part_then(parts, each, |(_, rest)| rest.seal())?;
    let all = all.into_iter().flat_map(|(known, rest)| known.into_iter().chain([Arc::new(rest)]));
    Ok((all.collect(), scanned))
}

/// Calls `each` with every batch of a part; returns how many spans were looked at.
pub(super) fn read<T>(
    part: &dyn Part,
    control: &Control,
    all: &mut T,
    each: &impl Fn(&mut T, &RecordBatch) -> Result<(), QueryError>,
) -> Result<u64, QueryError> {
    part.read(control, &mut |batch| {
        control.check()?;
        each(all, batch)?;
        Ok(Flow::Continue)
    })
}

/// Calls `each` with every part, and adds up what it returns; one accumulator a thread.
pub(super) fn by_part<T: Default + Send>(
    parts: &[Box<dyn Part>],
    each: impl Fn(&mut T, &dyn Part) -> Result<u64, QueryError> + Sync,
) -> Result<(Vec<T>, u64), QueryError> {
    by_part_then(parts, each, |_| ())
}

/// The same; calls `end` with each accumulator when there is nothing more to add to it.
fn by_part_then<T: Default + Send>(
    parts: &[Box<dyn Part>],
    each: impl Fn(&mut T, &dyn Part) -> Result<u64, QueryError> + Sync,
    end: impl Fn(&mut T) + Sync,
) -> Result<(Vec<T>, u64), QueryError> {
    let (next, scanned) = (AtomicUsize::new(0), AtomicU64::new(0));
    // The largest first, so that no thread begins a large one when the others are about to end.
    let mut order: Vec<&dyn Part> = parts.iter().map(|part| &**part).collect();
    order.sort_by_key(|part| Reverse(part.rows()));
    let work = &|| {
        let mut all = T::default();
        while let Some(part) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            scanned.fetch_add(each(&mut all, *part)?, Ordering::Relaxed);
        }
        end(&mut all);
        Ok(all)
    };
    let threads = threads().min(parts.len().max(1));
    let all = joined((0..threads).map(|_| work).collect())?;
    Ok((all, scanned.load(Ordering::Relaxed)))
}

/// Calls with parts of the items, one after the other, each of at least so many; returns what it made of each, in order.
pub(super) fn in_parts<T: Send, R: Send>(
    mut items: Vec<T>,
    least: usize,
    work: impl Fn(Vec<T>) -> Result<R, QueryError> + Sync,
) -> Result<Vec<R>, QueryError> {
    let parts = threads().min(items.len() / least.max(1)).max(1);
    let size = items.len().div_ceil(parts).max(1);
    let mut all = Vec::with_capacity(parts);
    while items.len() > size {
        let rest = items.split_off(size);
        all.push(std::mem::replace(&mut items, rest));
    }
    all.push(items);
    let work = &work;
    joined(all.into_iter().map(|items| move || work(items)).collect())
}

/// What two make, each on a thread of its own if there is more than one core.
pub(super) fn both<A: Send, B>(
    first: impl FnOnce() -> Result<A, QueryError> + Send,
    second: impl FnOnce() -> Result<B, QueryError>,
) -> Result<(A, B), QueryError> {
    if threads() == 1 {
        return Ok((first()?, second()?));
    }
    std::thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        Ok((first.join().map_err(|_| ended_early())??, second?))
    })
}

fn ended_early() -> QueryError {
    QueryError::Failed("a thread of the query ended early".to_owned())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What each makes, on a thread of its own if there are several.
fn joined<R: Send>(work: Vec<impl FnOnce() -> Result<R, QueryError> + Send>) -> Result<Vec<R>, QueryError> {
    if work.len() == 1 {
        return work.into_iter().map(|work| work()).collect();
    }
    std::thread::scope(|scope| {
        let others: Vec<_> = work.into_iter().map(|work| scope.spawn(work)).collect();
        others.into_iter().map(|other| other.join().map_err(|_| ended_early())?).collect()
    })
}

//! How the latest traces of a search are found without a look at all of them.
//!
//! Time is read in windows, the newest first. A trace began no later than the first of its spans that was seen, so candidates are
//! looked up in the order of these: once as many are found as are wanted, and none of those that wait can have begun later, they
//! are the latest of all that began since the window's start. A trace that began since then is among the candidates, as all of its
//! spans have been seen; if those found began since then too, nothing older has to be read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashSet;

use super::read::{Candidates, TraceId};
use super::search::{FIRST, Found, Search};
use crate::query::engine::{QueryError, TimeRange};

/// Spans of the first window (few in tests, so that there are several), and how many times as many there are in each further one
/// and all before it.
const WINDOW: u64 = if cfg!(test) { 1 << 6 } else { 1 << 16 };
const WIDER: u64 = 4;
/// Windows at most; the last has all that is left.
const WINDOWS: usize = 5;
/// The same where it can be asked how spans are related, which takes as long as to read a large part of them.
const WINDOWS_RELATED: usize = 3;
/// Traces that are looked up at first.
const FEW: usize = if cfg!(test) { 4 } else { 32 };

/// What is known while the latest traces are looked for.
#[derive(Default)]
struct Progress {
    seen: Candidates,
    /// Those that were looked up.
    done: HashSet<TraceId>,
    /// The latest that were found.
    found: Vec<Found>,
    /// Of some of them not all that is shown was read.
    lacking: bool,
}

impl Search<'_> {
    /// The latest traces that are found, with all that is shown of them.
    pub(super) fn latest(&mut self) -> Result<Vec<Found>, QueryError> {
        let mut progress = Progress::default();
        self.reader.choose(self.wide())?;
        let most = if self.reader.related { WINDOWS_RELATED } else { WINDOWS };
        let windows = self.reader.windows(self.wide(), WINDOW, WIDER, most)?;
        for (number, window) in windows.iter().enumerate() {
            let is_last = number + 1 == windows.len();
            self.see(&mut progress, *window, is_last)?;
            let from = if is_last { i64::MIN } else { window.from };
            if self.look_up(&mut progress, from)? {
                break;
            }
        }
        let found = progress.found;
        if !progress.lacking {
            return Ok(found);
        }
        let ids: Vec<TraceId> = found.iter().map(|(trace, _)| trace.id).collect();
        self.give_back(&found);
        let mut found = self.look(&ids, &self.program.fields)?.found;
        in_order(&mut found);
        Ok(found)
    }

    /// Adds the candidates of a window. Before all that is left is read for what may not be there, it is asked how spans are related.
    fn see(&mut self, progress: &mut Progress, window: TimeRange, is_last: bool) -> Result<(), QueryError> {
        let wide = self.wide();
        let related = if is_last { self.reader.related(wide, &mut self.scanned)? } else { None };
        let Some(related) = related else {
            return self.reader.add_all(&mut progress.seen, window, &mut self.scanned);
        };
        self.reader.forget(&mut progress.seen);
        progress.seen = related;
        Ok(())
    }

    /// Looks up candidates of which all spans since a time were seen. Returns whether what is found is the answer; if not, it may
    /// not have looked up all of them.
    fn look_up(&mut self, progress: &mut Progress, from: i64) -> Result<bool, QueryError> {
        let all_seen = from == i64::MIN;
        let mut waiting = BinaryHeap::from(self.reader.waiting(&progress.seen, &progress.done));
        let (mut size, mut looked_up) = (self.limit.saturating_mul(2).clamp(FEW, FIRST), 0);
        while let Some(&(next, _)) = waiting.peek() {
            if self.last(progress).is_some_and(|last| last > next) {
                break;
            }
            let ids: Vec<TraceId> = (0..size).map_while(|_| waiting.pop()).map(|(_, id)| id).collect();
            // Of a few traces all is read at once: that is quicker than to read them twice.
            let few = looked_up == 0 && !progress.lacking;
            let fields =
                if few { &self.program.fields[..] } else { &self.program.fields[..self.program.telling] };
            progress.lacking |= !few;
            let looked = self.look(&ids, fields)?;
            looked_up += ids.len();
            size = if size < FIRST { (size * 4).min(FIRST) } else { self.fit(looked.bytes, ids.len()) };
            progress.done.extend(ids);
            progress.found.extend(looked.found);
            in_order(&mut progress.found);
            self.give_back(&progress.found.split_off(progress.found.len().min(self.limit)));
            if !all_seen {
                // Where most began earlier, or after the time that is asked for, more has to be read first. So it has where few
                // are found of many.
                let of_use =
                    looked.starts.iter().filter(|start| (from..self.time.to).contains(start)).count();
                if of_use * 2 < looked.starts.len() || looked_up >= FIRST.max(2 * self.limit) {
                    break;
                }
                size = size.min(FIRST);
            }
        }
        let next = waiting.peek().map(|(next, _)| *next);
        let none_later = |last: i64| last >= from && next.is_none_or(|next| last > next);
        Ok(self.last(progress).map_or(all_seen, none_later))
    }

    /// When the last of the traces that are wanted began, if all of them are found.
    fn last(&self, progress: &Progress) -> Option<i64> {
        let full = progress.found.len() == self.limit;
        progress.found.last().filter(|_| full).map(|(trace, _)| trace.start())
    }
}

fn in_order(found: &mut [Found]) {
    found.sort_by_key(|(trace, _)| (Reverse(trace.start()), trace.id));
}

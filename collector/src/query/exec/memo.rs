//! What was found out about parts that do not change, kept for the next time that the same is asked: of a report that is made
//! every minute only what has come since is read.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::{DefaultHashBuilder, HashMap};

use crate::query::engine::{Control, QueryError};

/// Bytes that are kept at most.
const MOST_BYTES: usize = 64 << 20;
/// Bytes of an entry besides what was found out and the question: of what matches nothing there is nothing else.
const ENTRY_BYTES: usize = 256;

/// What a question comes to in a part of the rows.
pub(super) trait Partial: Default + Send + Sync + 'static {
    /// The bytes that were taken of the question's memory for it.
    fn bytes(&self) -> usize;

    /// Adds what it comes to in other rows.
    fn absorb(&mut self, other: &Self, control: &Control) -> Result<(), QueryError>;

    /// Nothing more is added.
    fn seal(&mut self);
}

/// Something that was found out, and of how many rows.
pub(super) struct Known<T: ?Sized> {
    pub(super) partial: Arc<T>,
    pub(super) rows: u64,
}

impl<T: ?Sized> Clone for Known<T> {
    fn clone(&self) -> Self {
        Self { partial: self.partial.clone(), rows: self.rows }
    }
}

/// Partial answers by part and question. What was not used for longest goes first when there is no room.
pub(super) struct Memo {
    kept: Mutex<Kept>,
    /// Hashes names in what is kept: the same has the same hash in all of it.
    hasher: DefaultHashBuilder,
    /// Bytes that are kept at most.
    most: usize,
}

impl Default for Memo {
    fn default() -> Self {
        Self::of(MOST_BYTES)
    }
}

#[derive(Default)]
struct Kept {
    entries: HashMap<(u64, Arc<str>), Entry>,
    bytes: usize,
    /// How often something was looked for or kept.
    uses: u64,
}

struct Entry {
    known: Known<dyn Any + Send + Sync>,
    bytes: usize,
    used: u64,
}

impl Memo {
    pub(super) fn of(most: usize) -> Self {
        Self { kept: Mutex::default(), hasher: DefaultHashBuilder::default(), most }
    }

    pub(super) const fn hasher(&self) -> &DefaultHashBuilder {
        &self.hasher
    }

    /// Bytes that are kept at most.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// Whether there is room for so many bytes of one part, if so many are kept of all that a question is about. What takes a
    /// large part of the room is not kept: it would push out all else.
    pub(super) const fn has_room(&self, bytes: usize, of_all: usize) -> bool {
        bytes <= self.most / 4 && of_all <= self.most
    }

    /// What is known of a part; `question` has to tell everything that it depends on, and of which kind it is.
    pub(super) fn get<T: Partial>(&self, part: u64, question: &Arc<str>) -> Option<Known<T>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let uses = kept.uses;
        let entry = kept.entries.get_mut(&(part, question.clone()))?;
        entry.used = uses;
        let Known { partial, rows } = entry.known.clone();
        Some(Known { partial: partial.downcast().ok()?, rows })
    }

    pub(super) fn put<T: Partial>(&self, part: u64, question: &Arc<str>, known: &Known<T>) {
        let Known { partial, rows } = known.clone();
        let bytes = partial.bytes() + question.len() + ENTRY_BYTES;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let entry = Entry { known: Known { partial, rows }, bytes, used: kept.uses };
        kept.bytes += bytes;
        if let Some(before) = kept.entries.insert((part, question.clone()), entry) {
            kept.bytes -= before.bytes;
        }
        kept.make_room(self.most);
    }
}

impl Kept {
    /// Makes room for some more at once, since it is a look at all.
    fn make_room(&mut self, most: usize) {
        if self.bytes <= most {
            return;
        }
        let mut oldest: Vec<(u64, usize)> =
            self.entries.values().map(|entry| (entry.used, entry.bytes)).collect();
        oldest.sort_unstable();
        let mut from = 0;
        for (used, bytes) in oldest {
            if self.bytes <= most / 8 * 7 {
                break;
            }
            self.bytes -= bytes;
            from = used + 1;
        }
        self.entries.retain(|_, entry| entry.used >= from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Sum(u64, usize);

    impl Partial for Sum {
        fn bytes(&self) -> usize {
            self.1
        }

        fn absorb(&mut self, other: &Self, _: &Control) -> Result<(), QueryError> {
            self.0 += other.0;
            Ok(())
        }

        fn seal(&mut self) {}
    }

    #[test]
    fn what_was_not_used_for_longest_goes_when_there_is_no_room() {
        let question: Arc<str> = "sum".into();
        let of_one = 100 + question.len() + ENTRY_BYTES;
        let memo = Memo::of(8 * of_one);
        let put =
            |part: u64| memo.put(part, &question, &Known { partial: Arc::new(Sum(part, 100)), rows: 3 });
        let known =
            || -> Vec<u64> { (0..20).filter(|part| memo.get::<Sum>(*part, &question).is_some()).collect() };
        assert!(memo.has_room(2 * of_one, 8 * of_one));
        assert!(!memo.has_room(2 * of_one + 1, 2 * of_one + 1) && !memo.has_room(1, 8 * of_one + 1));
        (1..=8).for_each(put);
        assert_eq!(known(), [1, 2, 3, 4, 5, 6, 7, 8], "all of them have room");
        assert!(memo.get::<Sum>(1, &question).is_some());
        put(9);
        assert_eq!(known(), [1, 4, 5, 6, 7, 8, 9], "there is room for another one then");
        put(10);
        // The same again takes no more.
        put(10);
        assert_eq!(known(), [1, 4, 5, 6, 7, 8, 9, 10]);
        let known = memo.get::<Sum>(4, &question).unwrap();
        assert!(*known.partial == Sum(4, 100) && known.rows == 3);
        assert!(memo.get::<Sum>(4, &"another".into()).is_none());
    }
}

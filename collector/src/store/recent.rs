//! Which spans and requests came lately, so that what a sender sends again is kept once.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashSet;

/// How many identities are remembered at least, unless told otherwise; twice as many at most. One takes about ten bytes.
pub(super) const REMEMBERED: usize = 2_000_000;

/// Identities are hashes already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Set = HashSet<u64, BuildHasherDefault<Identity>>;

/// The identities of what came lately, and since when they are all there.
#[derive(Debug)]
pub(super) struct Recent {
    now: Set,
    before: Set,
    size: usize,
    /// The generation of the log in which `now` was begun.
    begun: u64,
    /// What is in this generation or in an earlier one may be forgotten.
    forgotten: u64,
}

impl Recent {
    /// Remembers so many identities at least.
    pub(super) fn new(size: usize) -> Self {
        Self { now: Set::default(), before: Set::default(), size, begun: 0, forgotten: 0 }
    }

    /// Remembers an identity that is in this generation of the log; whether it is new.
    pub(super) fn insert(&mut self, identity: u64, generation: u64) -> bool {
        if self.before.contains(&identity) || !self.now.insert(identity) {
            return false;
        }
        if self.now.len() >= self.size {
            // What is left was begun when the set was that takes the place of the one that goes.
            self.forgotten = self.forgotten.max(self.begun);
            self.begun = generation;
            self.before = std::mem::take(&mut self.now);
        }
        true
    }

    /// How many more it would remember without forgetting any.
    pub(super) fn room(&self) -> usize {
        self.size - self.now.len()
    }

    /// What is in this generation or in an earlier one may be forgotten: of that, segments have to be asked.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// What is in this generation or in an earlier one was never remembered.
    pub(super) fn forget_until(&mut self, generation: u64) {
        self.forgotten = self.forgotten.max(generation);
    }

    /// Forgets everything, all of which is in this generation or in an earlier one.
    pub(super) fn clear(&mut self, generation: u64) {
        *self = Self { begun: generation, forgotten: generation, ..Self::new(self.size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_lately_is_known_and_what_is_long_past_is_told_to_be_forgotten() {
        let size = 1_000;
        let mut recent = Recent::new(size);
        assert!(recent.insert(7, 1) && !recent.insert(7, 1));
        // A generation of the log for each hundred.
        let identity = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 << 63;
        for number in 0..10 * size as u64 {
            let generation = 1 + number / 100;
            assert!(recent.insert(identity(number), generation));
            // Whatever is in a later generation is known.
            let first = recent.forgotten() * 100;
            assert!((first..=number).all(|known| !recent.insert(identity(known), generation)), "{number}");
            assert!(number - first <= 2 * size as u64 + 100, "{number}: {first}");
        }
        assert!(recent.insert(7, 100), "the first is forgotten after twice as many");
        recent.clear(100);
        assert!(recent.forgotten() == 100 && recent.insert(identity(9_999), 101));
    }
}

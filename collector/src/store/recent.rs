//! Which spans and requests came lately, so that what a sender sends again is kept once.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashSet;

/// How many identities are remembered at least; twice as many at most. One takes about ten bytes.
const REMEMBERED: usize = 2_000_000;

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

/// The identities of what came lately.
#[derive(Debug)]
pub(super) struct Recent {
    now: Set,
    before: Set,
    remembered: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self::of(REMEMBERED)
    }
}

impl Recent {
    /// Remembers at least so many.
    pub(super) fn of(remembered: usize) -> Self {
        Self { now: Set::default(), before: Set::default(), remembered }
    }

    /// Remembers an identity; whether it is new.
    pub(super) fn insert(&mut self, identity: u64) -> bool {
        if self.before.contains(&identity) || !self.now.insert(identity) {
            return false;
        }
        if self.now.len() >= self.remembered {
            self.before = std::mem::take(&mut self.now);
        }
        true
    }

    /// How many more it would remember without forgetting any.
    pub(super) fn room(&self) -> usize {
        self.remembered - self.now.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_lately_is_known_and_what_is_long_past_is_forgotten() {
        let mut recent = Recent::default();
        assert!(recent.insert(7) && !recent.insert(7));
        for identity in 0..2 * REMEMBERED as u64 {
            recent.insert(identity.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 << 63);
        }
        assert!(recent.insert(7), "the first is forgotten after twice as many");
    }
}

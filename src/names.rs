//! Names of low cardinality as small numbers.
//!
//! A metric series is found by the names in it: model, agent, tool, error class. Comparing and hashing texts for
//! every operation would cost more than the rest of the record, and keeping them would allocate. So each name is
//! turned into a number once and is a number from then on.
//!
//! The table is one for the process and never shrinks, and is therefore bounded: [`MAX_NAMES`] names of at most
//! [`MAX_NAME_BYTES`] bytes (about 6 MB if all are used). A name beyond that becomes [`Name::OTHER`], and is
//! counted in [`refused`].

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, PoisonError, RwLock};

/// How many different names the process can hold.
pub(crate) const MAX_NAMES: usize = 32_768;
/// Longer names are cut here, so that no text of unknown size becomes a metric attribute.
pub(crate) const MAX_NAME_BYTES: usize = 128;

/// A name, or its absence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Name(u32);

impl Name {
    /// No name was given.
    pub const NONE: Self = Self(0);
    /// The name that stands for all names that are too many for the process.
    pub const OTHER: Self = Self(1);

    /// The number of `text`; the empty text is [`Name::NONE`].
    ///
    /// Allocates only when this process sees the name for the first time.
    #[inline]
    pub fn new(text: &str) -> Self {
        if text.is_empty() {
            return Self::NONE;
        }
        CACHE.with(|cache| {
            let slot = &cache[hash(text) & (CACHE_SLOTS - 1)];
            let (cached, name) = slot.get();
            if cached == text {
                return name;
            }
            let (interned, name) = intern(text);
            slot.set((interned, name));
            name
        })
    }

    /// Whether no name was given.
    #[inline]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Whether a name was given.
    #[inline]
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }

    /// This name, or `other` if there is none.
    #[inline]
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.is_none() { other } else { self }
    }

    /// The text. Takes a lock: not for the hot path.
    pub fn as_str(self) -> &'static str {
        let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
        table.texts.get(self.0 as usize).copied().unwrap_or_default()
    }

    /// The text, if a name was given. Takes a lock only then.
    pub fn as_str_if_some(self) -> Option<&'static str> {
        self.is_some().then(|| self.as_str())
    }

    /// The number, for hashing.
    #[inline]
    pub(crate) fn id(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// How many names were refused because the table is full.
pub(crate) fn refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

const CACHE_SLOTS: usize = 256;

thread_local! {
    static CACHE: [Cell<(&'static str, Name)>; CACHE_SLOTS] = const { [const { Cell::new(("", Name::NONE)) }; CACHE_SLOTS] };
}

struct Table {
    numbers: HashMap<&'static str, Name>,
    texts: Vec<&'static str>,
}

static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(|| {
    RwLock::new(Table { numbers: HashMap::from([("other", Name::OTHER)]), texts: vec!["", "other"] })
});
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Mixes the length with the first and the last bytes: names differ there, and a collision costs only a look-up.
#[inline]
fn hash(text: &str) -> usize {
    let bytes = text.as_bytes();
    let n = bytes.len();
    let (first, last) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => {
            let short = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            (short, short)
        }
    };
    let mixed = (first ^ 0xa076_1d64_78bd_642f)
        .wrapping_mul(last.rotate_left(23) ^ (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    (mixed >> 40) as usize
}

#[cold]
#[inline(never)]
fn intern(text: &str) -> (&'static str, Name) {
    let text = cut(text);
    if let Some((known, name)) =
        TABLE.read().unwrap_or_else(PoisonError::into_inner).numbers.get_key_value(text)
    {
        return (*known, *name);
    }
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, name)) = table.numbers.get_key_value(text) {
        return (*known, *name);
    }
    if table.texts.len() >= MAX_NAMES {
        REFUSED.fetch_add(1, Ordering::Relaxed);
        return ("", Name::OTHER);
    }
    let kept: &'static str = Box::leak(Box::from(text));
    let name = Name(table.texts.len() as u32);
    table.texts.push(kept);
    table.numbers.insert(kept, name);
    (kept, name)
}

/// The longest prefix of at most [`MAX_NAME_BYTES`] bytes that ends at a character.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_NAME_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_number_and_gives_its_text_back() {
        let name = Name::new("gpt-4o-mini");
        assert_eq!(name, Name::new(&String::from("gpt-4o-mini")));
        assert_ne!(name, Name::new("gpt-4o-maxi"));
        assert_eq!(name.as_str(), "gpt-4o-mini");
        assert_eq!(std::thread::spawn(|| Name::new("gpt-4o-mini")).join().unwrap(), name);
    }

    #[test]
    fn no_text_is_no_name() {
        assert!(Name::new("").is_none());
        assert_eq!(Name::NONE.or(Name::OTHER), Name::OTHER);
        assert_eq!(Name::NONE.as_str(), "");
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let long = "ü".repeat(MAX_NAME_BYTES);
        let name = Name::new(&long);
        assert_eq!(name.as_str(), "ü".repeat(MAX_NAME_BYTES / 2));
        assert_eq!(name, Name::new(&long));
    }
}

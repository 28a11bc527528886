//! What model calls used, by whom: there may be as many spenders as conversations.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::read::Call;
use crate::query::engine::{Control, QueryError};
use crate::query::exec::parallel;

/// Bytes of a spender besides its name.
const SPENDER_BYTES: usize = size_of::<Spender>() + 8;
/// Ranges of hashes that are put together one by one: what is in one stays in the processor's cache.
const RANGES: u64 = 256;
/// Spenders that are worth another thread.
const MANY: usize = 1 << 14;

/// What model calls of one spender used.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::query::exec) struct Spent {
    pub(in crate::query::exec) requests: u64,
    pub(in crate::query::exec) tokens: u64,
    pub(in crate::query::exec) cost_nano: u64,
    /// Calls without a cost that have not failed: what is refused is not billed.
    pub(in crate::query::exec) unpriced: u64,
}

impl Spent {
    pub(super) fn add(&mut self, call: &Call) {
        self.requests += 1;
        self.tokens = self.tokens.saturating_add(call.input).saturating_add(call.output);
        match call.cost {
            Some((_, nano)) => self.cost_nano = self.cost_nano.saturating_add(nano),
            None => self.unpriced += u64::from(!call.failed),
        }
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.cost_nano = self.cost_nano.saturating_add(other.cost_nano);
        self.unpriced += other.unpriced;
    }
}

#[derive(Clone, Copy)]
struct Spender {
    hash: u64,
    /// Where its name begins and ends in those of all.
    name: (u32, u32),
    spent: Spent,
}

/// What the model calls of each spender used.
#[derive(Clone, Default)]
pub(super) struct Spenders {
    all: Vec<Spender>,
    /// Their names, in the order of these once they are sorted: they are read one after the other then.
    names: String,
    /// The places of all by their hashes, until they are sorted by these.
    places: HashTable<u32>,
}

impl Spenders {
    /// Adds what a spender used; returns how many bytes more it takes. All names have to be hashed alike.
    pub(super) fn add(
        &mut self,
        name: &str,
        more: &Spent,
        hasher: &DefaultHashBuilder,
    ) -> Result<usize, QueryError> {
        self.add_hashed(hasher.hash_one(name), name, more)
    }

    fn add_hashed(&mut self, hash: u64, name: &str, more: &Spent) -> Result<usize, QueryError> {
        let Self { all, names, places } = self;
        let is_same = |place: &u32| {
            let known: &Spender = &all[*place as usize];
            known.hash == hash && text(names, known.name) == name
        };
        if let Some(place) = places.find(hash, is_same) {
            all[*place as usize].spent.merge(more);
            return Ok(0);
        }
        let (from, to) = (names.len(), names.len() + name.len());
        // A count of spenders fits where the bytes of their names do, but for those without a name.
        let number = |number: usize| u32::try_from(number).map_err(|_| too_much());
        let (place, at) = (number(all.len())?, (number(from)?, number(to)?));
        places.insert_unique(hash, place, |place| all[*place as usize].hash);
        names.push_str(name);
        all.push(Spender { hash, name: at, spent: *more });
        Ok(SPENDER_BYTES + name.len())
    }

    /// Adds all of others; returns how many bytes more it takes.
    pub(super) fn absorb(&mut self, other: &Self) -> Result<usize, QueryError> {
        let all = other.all.iter();
        all.map(|other_one| self.add_hashed(other_one.hash, other.name(other_one), &other_one.spent)).sum()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.all.len() * SPENDER_BYTES + self.names.len()
    }

    /// Sorts them, to be put together with others; none is to be added any more.
    pub(super) fn seal(&mut self) {
        self.places = HashTable::new();
        self.all.sort_unstable_by_key(|spender| spender.hash);
        self.all.shrink_to_fit();
        let mut names = String::with_capacity(self.names.len());
        for Spender { name, .. } in &mut self.all {
            let from = names.len();
            names.push_str(text(&self.names, *name));
            // As many bytes as before: their number fits.
            let [from, to] = [from, names.len()].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
            *name = (from, to);
        }
        self.names = names;
    }

    fn name(&self, spender: &Spender) -> &str {
        text(&self.names, spender.name)
    }

    /// Those with a hash in this range, of lists that are sealed.
    fn range(&self, range: u64) -> &[Spender] {
        let place = |range: u64| match range.checked_mul(u64::MAX / RANGES + 1) {
            Some(first) => self.all.partition_point(|spender| spender.hash < first),
            None => self.all.len(),
        };
        &self.all[place(range)..place(range + 1)]
    }
}

fn text(names: &str, (from, to): (u32, u32)) -> &str {
    names.get(from as usize..to as usize).unwrap_or_default()
}

/// More names than can be told apart by 32 bits.
const fn too_much() -> QueryError {
    QueryError::TooMuchMemory { limit: u32::MAX as usize }
}

/// What spenders used in all, of lists that are sealed.
pub(super) fn merged<'a>(
    lists: &[&'a Spenders],
    control: &Control,
) -> Result<Vec<(&'a str, Spent)>, QueryError> {
    let all: usize = lists.iter().map(|list| list.all.len()).sum();
    let least = usize::try_from(RANGES).unwrap_or(usize::MAX) * MANY / all.max(1);
    let found = parallel::in_parts((0..RANGES).collect(), least, |ranges| {
        let (mut found, mut of_range) = (Vec::new(), HashTable::<(u64, usize)>::new());
        for range in ranges {
            control.check()?;
            of_range.clear();
            let before = found.len();
            for list in lists {
                for spender in list.range(range) {
                    let (hash, name) = (spender.hash, list.name(spender));
                    let is_same = |(known, place): &(u64, usize)| {
                        let (known_name, _): &(&str, Spent) = &found[*place];
                        *known == hash && *known_name == name
                    };
                    if let Some((_, place)) = of_range.find(hash, is_same) {
                        found[*place].1.merge(&spender.spent);
                        continue;
                    }
                    of_range.insert_unique(hash, (hash, found.len()), |(hash, _)| *hash);
                    found.push((name, spender.spent));
                }
            }
            control.take_memory((found.len() - before) * size_of::<(&str, Spent)>())?;
        }
        Ok(found)
    })?;
    Ok(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn lists_come_to_what_one_map_of_all_comes_to() {
        let (hasher, control) = (DefaultHashBuilder::default(), Control::new(None, 64 << 20));
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        let mut lists = vec![Spenders::default(), Spenders::default(), Spenders::default()];
        for number in 0..30_000_u64 {
            let name = format!("c-{}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 20_000);
            *expected.entry(name.clone()).or_default() += number;
            let more = Spent { tokens: number, ..Spent::default() };
            let list = &mut lists[usize::try_from(number % 3).unwrap()];
            let before = list.bytes();
            assert_eq!(list.add(&name, &more, &hasher).unwrap(), list.bytes() - before);
        }
        // One list of two of them, as what has no room of its own.
        let more = lists.pop().unwrap();
        assert!(lists[0].absorb(&more).unwrap() > 0);
        lists.push(Spenders::default());
        lists.iter_mut().for_each(Spenders::seal);
        let found = merged(&lists.iter().collect::<Vec<_>>(), &control).unwrap();
        assert_eq!(found.len(), expected.len());
        let found: BTreeMap<String, u64> =
            found.into_iter().map(|(name, spent)| (name.to_owned(), spent.tokens)).collect();
        assert_eq!(found, expected);
        assert!(merged(&[], &control).unwrap().is_empty());
    }

    #[test]
    fn ranges_have_every_hash_once() {
        let ends = [0, 1, (1 << 56) - 1, 1 << 56, u64::MAX / 2, u64::MAX - (1 << 56), u64::MAX - 1, u64::MAX];
        let mut list = Spenders::default();
        for hash in ends {
            list.add_hashed(hash, &hash.to_string(), &Spent::default()).unwrap();
        }
        list.seal();
        let all: Vec<u64> = (0..RANGES).flat_map(|range| list.range(range)).map(|of| of.hash).collect();
        assert_eq!(all, ends);
    }
}

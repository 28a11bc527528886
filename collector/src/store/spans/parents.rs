//! Where the parent of each span is among the rows beside it.

use std::hash::BuildHasher as _;

use arrow_array::Int32Array;
use hashbrown::{DefaultHashBuilder, HashSet, HashTable};

/// A span by the ids of its trace and its own.
type Id = ([u8; 16], [u8; 8]);

/// How many rows after each span its parent is; 0 if it is not among them, or is not the only one with its id; null if it has
/// none. Spans are told by their ids and that of the parent, zeros for none.
pub(super) fn offsets(spans: impl Iterator<Item = (Id, [u8; 8])>) -> Int32Array {
    let spans: Vec<(Id, [u8; 8])> = spans.collect();
    let hasher = DefaultHashBuilder::default();
    let hash = |id: &Id| hasher.hash_one((u128::from_le_bytes(id.0), u64::from_le_bytes(id.1)));
    let id = |row: u32| &spans[row as usize].0;
    let (mut rows, mut twice) = (HashTable::<u32>::with_capacity(spans.len()), HashSet::new());
    for (row, (own, _)) in (0..).zip(&spans) {
        let hashed = hash(own);
        if rows.find(hashed, |known| id(*known) == own).is_some() {
            twice.insert(*own);
        } else {
            rows.insert_unique(hashed, row, |known| hash(id(*known)));
        }
    }
    let offset = |(row, ((trace, _), parent)): (i64, &(Id, [u8; 8]))| {
        if *parent == [0; 8] {
            return None;
        }
        let parent = (*trace, *parent);
        let found = rows.find(hash(&parent), |known| *id(*known) == parent);
        let found = found.filter(|_| twice.is_empty() || !twice.contains(&parent));
        Some(found.and_then(|found| i32::try_from(i64::from(*found) - row).ok()).unwrap_or(0))
    };
    (0..).zip(&spans).map(offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_in_its_own_trace_if_it_is_the_only_one() {
        let span = |trace, span, parent| (([trace; 16], [span; 8]), [parent; 8]);
        let spans = [
            span(1, 1, 0),
            span(1, 2, 1),
            span(2, 2, 1),
            span(1, 4, 5),
            span(1, 5, 9),
            span(1, 6, 6),
            span(2, 7, 0),
            span(2, 7, 0),
            span(2, 8, 7),
        ];
        let offsets: Vec<Option<i32>> = offsets(spans.into_iter()).iter().collect();
        let expected = [None, Some(-1), Some(0), Some(1), Some(0), Some(0), None, None, Some(0)];
        assert_eq!(offsets, expected);
    }
}

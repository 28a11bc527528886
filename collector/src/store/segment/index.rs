//! The index of a segment: for each block of rows the range of its times and durations, and a bloom filter over every
//! `key = value` in it; and one filter over the whole segment.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampNanosecondType};
use xxhash_rust::xxh3::xxh3_64;

use super::BLOCK;
use super::entries::{Entries, Scope, key_hash, pair_hash, trace_entry, value_hash};
use crate::query::{Must, TimeRange};
use crate::value::Value;

const MAGIC: &[u8; 8] = b"AVINDEX2";
/// Bits of a filter for each entry; with 9 probes one in 800 is taken for there by mistake.
const BITS: usize = 14;
const PROBES: u64 = 9;

/// Conditions as hashes: of each row at least one must be there.
#[derive(Debug, Default)]
pub(in crate::store) struct Tests {
    any: Vec<Vec<u64>>,
    at_least: i64,
    at_most: Option<i64>,
}

impl Tests {
    /// What of these conditions an index can tell.
    pub(in crate::store) fn of(must: &[Must]) -> Self {
        let mut tests = Self::default();
        for must in must {
            match must {
                Must::DurationAtLeast(duration) => tests.at_least = tests.at_least.max(*duration),
                Must::DurationAtMost(duration) => {
                    tests.at_most = Some(tests.at_most.map_or(*duration, |most| most.min(*duration)));
                }
                must => {
                    let mut hashes = Vec::new();
                    if hashes_of(must, &mut hashes) {
                        tests.any.push(hashes);
                    }
                }
            }
        }
        tests
    }
}

/// Appends the hashes of which one must be there; false if the condition is not in the index.
fn hashes_of(must: &Must, out: &mut Vec<u64>) -> bool {
    let intrinsic = |name: &str, value: &[u8]| pair_hash(key_hash(Scope::Intrinsic, name), value);
    let valued = |scope, key: &str, value: &Value| value_hash(key_hash(scope, key), value);
    let hash = match must {
        Must::AnyOf(any) => return any.iter().all(|must| hashes_of(must, out)),
        Must::Trace(id) => Some(trace_entry(id)),
        Must::Root => Some(intrinsic("root", b"")),
        Must::Service(service) => Some(intrinsic("service", service.as_bytes())),
        Must::Name(name) => Some(intrinsic("name", name.as_bytes())),
        Must::Kind(kind) => Some(intrinsic("kind", &kind.to_le_bytes())),
        Must::Status(status) => Some(intrinsic("status", &status.to_le_bytes())),
        Must::Attribute(key, value) => valued(Scope::Span, key, value),
        Must::Resource(key, value) => valued(Scope::Resource, key, value),
        Must::Scope(key, value) => valued(Scope::Instrumentation, key, value),
        Must::Event(key, value) => valued(Scope::Event, key, value),
        Must::EventName(name) => Some(intrinsic("event", name.as_bytes())),
        Must::Link(key, value) => valued(Scope::Link, key, value),
        Must::LinkTrace(id) => Some(intrinsic("link", hex::encode(id).as_bytes())),
        _ => None,
    };
    out.extend(hash);
    hash.is_some()
}

/// One block of rows.
#[derive(Debug, Clone, Copy)]
struct Block {
    start: (i64, i64),
    duration: (i64, i64),
    word: u32,
    words: u32,
}

/// The index of a segment.
#[derive(Debug)]
pub(in crate::store) struct Index {
    rows: u64,
    /// The blocks, and one for the whole segment.
    blocks: Vec<Block>,
    words: Vec<u64>,
}

impl Index {
    /// The index of rows that are sorted by this column.
    pub(in crate::store) fn build(batch: &RecordBatch, time: &str) -> Self {
        let rows = batch.num_rows();
        let mut index = Self { rows: rows as u64, blocks: Vec::new(), words: Vec::new() };
        let mut entries = Entries::of(batch);
        let mut all: Vec<u64> = Vec::new();
        let times = |name: &str| batch.column_by_name(name);
        for first in (0..rows).step_by(BLOCK) {
            let end = (first + BLOCK).min(rows);
            let mut hashes = entries.hashes(first, end);
            hashes.sort_unstable();
            hashes.dedup();
            let start = times(time).map_or((0, 0), |column| {
                let column = column.as_primitive::<TimestampNanosecondType>();
                (column.value(first), column.value(end - 1))
            });
            let duration = times("duration_ns").map_or((0, i64::MAX), |column| {
                let values = &column.as_primitive::<Int64Type>().values()[first..end];
                (values.iter().min().copied().unwrap_or(0), values.iter().max().copied().unwrap_or(0))
            });
            index.add(start, duration, &hashes);
            all.extend(hashes);
        }
        all.sort_unstable();
        all.dedup();
        let whole = |of: fn(&Block) -> (i64, i64)| {
            let low = index.blocks.iter().map(|block| of(block).0).min().unwrap_or(0);
            (low, index.blocks.iter().map(|block| of(block).1).max().unwrap_or(0))
        };
        let (start, duration) = (whole(|block| block.start), whole(|block| block.duration));
        index.add(start, duration, &all);
        index
    }

    fn add(&mut self, start: (i64, i64), duration: (i64, i64), hashes: &[u64]) {
        let words = hashes.len() * BITS / 64 + 1;
        let word = self.words.len();
        self.words.resize(word + words, 0);
        for &hash in hashes {
            for bit in probes(hash, words) {
                self.words[word + bit / 64] |= 1 << (bit % 64);
            }
        }
        let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        self.blocks.push(Block { start, duration, word: number(word), words: number(words) });
    }

    fn has(&self, block: &Block, hash: u64) -> bool {
        let word = block.word as usize;
        probes(hash, block.words as usize).all(|bit| self.words[word + bit / 64] >> (bit % 64) & 1 == 1)
    }

    fn may_match(&self, block: &Block, tests: &Tests, time: TimeRange) -> bool {
        block.start.1 >= time.from
            && block.start.0 < time.to
            && block.duration.1 >= tests.at_least
            && tests.at_most.is_none_or(|most| block.duration.0 <= most)
            && tests.any.iter().all(|any| any.iter().any(|&hash| self.has(block, hash)))
    }

    /// The blocks that may hold what is looked for.
    pub(in crate::store) fn blocks(&self, tests: &Tests, time: TimeRange) -> Vec<u32> {
        let Some((whole, blocks)) = self.blocks.split_last() else { return Vec::new() };
        if !self.may_match(whole, tests, time) {
            return Vec::new();
        }
        // Of hundreds of traces one is taken for there by mistake in every second block: only those that the segment may have
        // are looked for in its blocks.
        let likely = |any: &Vec<u64>| any.iter().copied().filter(|&hash| self.has(whole, hash)).collect();
        let tests = Tests { any: tests.any.iter().map(likely).collect(), ..*tests };
        (0_u32..)
            .zip(blocks)
            .filter(|(_, block)| self.may_match(block, &tests, time))
            .map(|(number, _)| number)
            .collect()
    }

    /// The blocks that may hold one of these entries, at its time, in order.
    pub(in crate::store) fn blocks_of(&self, entries: impl Iterator<Item = (i64, u64)>) -> Vec<u32> {
        let Some((whole, blocks)) = self.blocks.split_last() else { return Vec::new() };
        let mut found = vec![false; blocks.len()];
        for (time, hash) in entries.filter(|&(_, hash)| self.has(whole, hash)) {
            // Blocks are in the order of time.
            let first = blocks.partition_point(|block| block.start.1 < time);
            for (block, found) in blocks.iter().zip(&mut found).skip(first) {
                if block.start.0 > time {
                    break;
                }
                *found = *found || self.has(block, hash);
            }
        }
        (0_u32..).zip(found).filter(|&(_, found)| found).map(|(block, _)| block).collect()
    }

    /// Whether the column `attributes` may hold a key.
    pub(in crate::store) fn may_be_residual(&self, key: &str) -> bool {
        self.blocks.last().is_some_and(|whole| self.has(whole, key_hash(Scope::Residual, key)))
    }

    /// The first and the last start.
    pub(in crate::store) fn times(&self) -> (i64, i64) {
        self.blocks.last().map_or((0, 0), |whole| whole.start)
    }

    /// The first and the last start of a block.
    pub(in crate::store) fn block_times(&self, block: u32) -> (i64, i64) {
        self.blocks[block as usize].start
    }

    /// The bytes of the file.
    pub(in crate::store) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + self.blocks.len() * 40 + self.words.len() * 8);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&(self.blocks.len() as u64).to_le_bytes());
        for block in &self.blocks {
            for number in [block.start.0, block.start.1, block.duration.0, block.duration.1] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&block.word.to_le_bytes());
            out.extend_from_slice(&block.words.to_le_bytes());
        }
        for word in &self.words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let sum = xxh3_64(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// The index of a file's bytes; `None` unless it is whole, and that of so many rows.
    pub(in crate::store) fn parse(bytes: &[u8], rows: u64) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<8>()?;
        if xxh3_64(body) != u64::from_le_bytes(*sum) {
            return None;
        }
        let rest = body.strip_prefix(MAGIC)?;
        let (read_rows, rest) = number(rest)?;
        let (count, mut rest) = number(rest)?;
        if read_rows != rows || count != rows.div_ceil(BLOCK as u64) + 1 {
            return None;
        }
        let mut blocks = Vec::with_capacity(usize::try_from(count).ok()?);
        for _ in 0..count {
            let mut numbers = [0_i64; 4];
            for slot in &mut numbers {
                let (value, after) = number(rest)?;
                (*slot, rest) = (value.cast_signed(), after);
            }
            let (place, after) = number(rest)?;
            rest = after;
            let (word, words) = (u32::try_from(place & 0xffff_ffff).ok()?, u32::try_from(place >> 32).ok()?);
            blocks.push(Block {
                start: (numbers[0], numbers[1]),
                duration: (numbers[2], numbers[3]),
                word,
                words,
            });
        }
        let (chunks, left) = rest.as_chunks::<8>();
        let words: Vec<u64> = chunks.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let inside =
            |block: &Block| block.words > 0 && block.word as usize + block.words as usize <= words.len();
        (left.is_empty() && blocks.iter().all(inside)).then_some(Self { rows, blocks, words })
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*first), rest))
}

fn probes(hash: u64, words: usize) -> impl Iterator<Item = usize> {
    let (first, step) = (hash & 0xffff_ffff, hash >> 32 | 1);
    let bits = words as u64 * 64;
    (0..PROBES).map(move |probe| {
        let mixed = first.wrapping_add(probe.wrapping_mul(step)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        usize::try_from((mixed * bits) >> 32).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many traces at once are found where they are, and hardly looked for elsewhere.
    #[test]
    fn many_traces_are_looked_for_where_they_may_be() {
        let id = |number: u64| {
            let mut id = [7; 16];
            id[8..].copy_from_slice(&xxh3_64(&number.to_le_bytes()).to_le_bytes());
            id
        };
        let (blocks, of_each) = (64_u64, 256);
        let mut index = Index { rows: blocks * BLOCK as u64, blocks: Vec::new(), words: Vec::new() };
        let hash = |number: u64| trace_entry(&id(number));
        let mut all = Vec::new();
        for block in 0..blocks {
            let hashes: Vec<u64> = (0..of_each).map(|place| hash(block * of_each + place)).collect();
            index.add((0, 1), (0, 1), &hashes);
            all.extend(hashes);
        }
        index.add((0, 1), (0, 1), &all);
        let find = |ids: std::ops::Range<u64>| {
            let any = ids.map(|number| Must::Trace(id(number))).collect();
            index.blocks(&Tests::of(&[Must::AnyOf(any)]), TimeRange::ALL)
        };
        let there = find(3 * of_each..5 * of_each);
        assert!(there.contains(&3) && there.contains(&4));
        // They are in two of the blocks; of the 512 traces each may seem to be in another by mistake.
        assert!(there.len() < 48, "{} blocks", there.len());
        let elsewhere = find(1_000_000..1_000_512);
        assert!(elsewhere.len() <= 4, "{} blocks", elsewhere.len());
    }
}

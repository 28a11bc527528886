//! How often an attribute has each of its values, in a selection of spans and in all others.

use std::hash::Hash;

use hashbrown::HashMap;

use crate::query::engine::{Control, QueryError};
use crate::value::write_string;

/// Values of an attribute that are told apart at most; of an attribute with more the ones that came first count, and it is said.
const MOST_VALUES: usize = 10_000;

/// The values of an attribute by number, and how often they are there by interval and side: cell 2 i + s is that of both.
pub(super) struct Values {
    /// The numbers by values as JSON.
    known: HashMap<String, u32>,
    /// The same by what columns have: to find a value again takes no text of it.
    ints: HashMap<i64, u32>,
    doubles: HashMap<u64, u32>,
    texts: HashMap<Box<str>, u32>,
    /// Of each interval those of each value, as far as some are there: most intervals have none where spans are of a short time.
    counts: Vec<Vec<[u64; 2]>>,
    totals: Vec<[u64; 2]>,
    /// Whether there are more than are told apart.
    pub(super) too_many: bool,
}

impl Values {
    pub(super) fn new(intervals: usize, control: &Control) -> Result<Self, QueryError> {
        control.take_memory(intervals * (size_of::<Vec<[u64; 2]>>() + size_of::<[u64; 2]>()))?;
        Ok(Self {
            known: HashMap::new(),
            ints: HashMap::new(),
            doubles: HashMap::new(),
            texts: HashMap::new(),
            counts: vec![Vec::new(); intervals],
            totals: vec![[0; 2]; intervals],
            too_many: false,
        })
    }

    /// The number of a value as JSON; none if there are too many before it.
    pub(super) fn number(&mut self, text: String, control: &Control) -> Result<Option<u32>, QueryError> {
        if let Some(&number) = self.known.get(&text) {
            return Ok(Some(number));
        }
        if self.is_full() {
            self.too_many = true;
            return Ok(None);
        }
        control.take_memory(3 * text.len() + 64)?;
        let number = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        self.known.insert(text, number);
        Ok(Some(number))
    }

    fn is_full(&self) -> bool {
        self.known.len() >= MOST_VALUES
    }

    pub(super) fn int(&mut self, value: i64, control: &Control) -> Result<Option<u32>, QueryError> {
        if let Some(&number) = self.ints.get(&value) {
            return Ok(Some(number));
        }
        let number = self.new_of(|| value.to_string(), control)?;
        remember(&mut self.ints, value, number, control)
    }

    pub(super) fn double(&mut self, value: f64, control: &Control) -> Result<Option<u32>, QueryError> {
        if let Some(&number) = self.doubles.get(&value.to_bits()) {
            return Ok(Some(number));
        }
        let text = || {
            serde_json::Number::from_f64(value).map_or_else(|| format!("\"{value}\""), |of| of.to_string())
        };
        let number = self.new_of(text, control)?;
        remember(&mut self.doubles, value.to_bits(), number, control)
    }

    pub(super) fn text(&mut self, value: &str, control: &Control) -> Result<Option<u32>, QueryError> {
        if let Some(&number) = self.texts.get(value) {
            return Ok(Some(number));
        }
        let text = || {
            let mut text = String::with_capacity(value.len() + 2);
            write_string(value, &mut text);
            text
        };
        let number = self.new_of(text, control)?;
        if number.is_none() {
            return Ok(None);
        }
        control.take_memory(value.len())?;
        remember(&mut self.texts, value.into(), number, control)
    }

    /// The number of a value that a column has for the first time. Once there are too many it is not asked whether it is known from
    /// elsewhere, such as from a segment without a column for it: that would take a text for each row.
    fn new_of(
        &mut self,
        text: impl FnOnce() -> String,
        control: &Control,
    ) -> Result<Option<u32>, QueryError> {
        if self.is_full() {
            self.too_many = true;
            return Ok(None);
        }
        self.number(text(), control)
    }

    /// Counts a value in a cell, and in the total even if it has no number.
    pub(super) fn count(
        &mut self,
        number: Option<u32>,
        cell: usize,
        control: &Control,
    ) -> Result<(), QueryError> {
        let (interval, side) = (cell / 2, cell % 2);
        self.totals[interval][side] += 1;
        if let Some(number) = number {
            at(&mut self.counts[interval], number as usize, control)?[side] += 1;
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: Self, control: &Control) -> Result<(), QueryError> {
        self.too_many |= other.too_many;
        self.totals.iter_mut().zip(&other.totals).for_each(|(ours, theirs)| add(ours, *theirs));
        for (text, theirs) in other.known {
            let Some(ours) = self.number(text, control)? else { continue };
            for (counts, others) in self.counts.iter_mut().zip(&other.counts) {
                if let Some(&count) = others.get(theirs as usize).filter(|count| **count != [0; 2]) {
                    add(at(counts, ours as usize, control)?, count);
                }
            }
        }
        Ok(())
    }

    /// How many spans of a side have a value, by interval.
    pub(super) fn total(&self, side: usize) -> Vec<u64> {
        self.totals.iter().map(|sides| sides[side]).collect()
    }

    /// The values that spans of a side have, the most frequent first, as JSON: how many, which, and its number.
    pub(super) fn ranked(&self, side: usize) -> Vec<(u64, &str, u32)> {
        let mut sums = vec![0; self.known.len()];
        for counts in &self.counts {
            counts.iter().zip(&mut sums).for_each(|(sides, sum)| *sum += sides[side]);
        }
        let all = self.known.iter().map(|(text, number)| (sums[*number as usize], text.as_str(), *number));
        let mut ranked: Vec<(u64, &str, u32)> = all.filter(|(sum, ..)| *sum > 0).collect();
        ranked.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        ranked
    }

    /// How many spans of a side have a value, by interval.
    pub(super) fn of(&self, number: u32, side: usize) -> Vec<u64> {
        let of = |counts: &Vec<[u64; 2]>| counts.get(number as usize).map_or(0, |sides| sides[side]);
        self.counts.iter().map(of).collect()
    }
}

fn add(ours: &mut [u64; 2], theirs: [u64; 2]) {
    ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
}

/// The counts of a value in an interval.
fn at<'a>(
    counts: &'a mut Vec<[u64; 2]>,
    number: usize,
    control: &Control,
) -> Result<&'a mut [u64; 2], QueryError> {
    if number >= counts.len() {
        // Half as many again, so that this is not done for each of them.
        let length = (number + 1).max(counts.len() + counts.len() / 2);
        control.take_memory((length - counts.len()) * size_of::<[u64; 2]>())?;
        counts.resize(length, [0; 2]);
    }
    Ok(&mut counts[number])
}

fn remember<K: Hash + Eq>(
    known: &mut HashMap<K, u32>,
    key: K,
    number: Option<u32>,
    control: &Control,
) -> Result<Option<u32>, QueryError> {
    if let Some(number) = number {
        control.take_memory(2 * size_of::<(K, u32)>())?;
        known.insert(key, number);
    }
    Ok(number)
}

//! How often an attribute has each of its values, in a selection of spans and in all others.

use std::hash::Hash;

use hashbrown::HashMap;

use crate::query::engine::{Control, QueryError};
use crate::value::write_string;

/// Values of an attribute that are told apart at most; of an attribute with more the ones that came first count, and it is said.
const MOST_VALUES: usize = 10_000;

/// The values of an attribute by number, and how often they are there: cells are by interval, and in each by side.
pub(super) struct Values {
    /// The numbers by values as JSON.
    known: HashMap<String, u32>,
    /// The same by what columns have: to find a value again takes no text of it.
    ints: HashMap<i64, u32>,
    doubles: HashMap<u64, u32>,
    texts: HashMap<Box<str>, u32>,
    /// The cells of each value.
    counts: Vec<u64>,
    totals: Vec<u64>,
    /// Whether there are more than are told apart.
    pub(super) too_many: bool,
}

impl Values {
    pub(super) fn new(intervals: usize, control: &Control) -> Result<Self, QueryError> {
        control.take_memory(2 * intervals * size_of::<u64>())?;
        Ok(Self {
            known: HashMap::new(),
            ints: HashMap::new(),
            doubles: HashMap::new(),
            texts: HashMap::new(),
            counts: Vec::new(),
            totals: vec![0; 2 * intervals],
            too_many: false,
        })
    }

    const fn cells(&self) -> usize {
        self.totals.len()
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
        control.take_memory(3 * text.len() + 64 + self.cells() * size_of::<u64>())?;
        let number = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        self.known.insert(text, number);
        self.counts.resize(self.counts.len() + self.cells(), 0);
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
    pub(super) fn count(&mut self, number: Option<u32>, cell: usize) {
        self.totals[cell] += 1;
        if let Some(number) = number {
            let first = number as usize * self.cells();
            self.counts[first + cell] += 1;
        }
    }

    pub(super) fn merge(&mut self, other: Self, control: &Control) -> Result<(), QueryError> {
        self.too_many |= other.too_many;
        let cells = self.cells();
        self.totals.iter_mut().zip(&other.totals).for_each(|(ours, theirs)| *ours += theirs);
        for (text, number) in other.known {
            if let Some(ours) = self.number(text, control)? {
                let (ours, theirs) = (ours as usize * cells, number as usize * cells);
                let ours = self.counts[ours..ours + cells].iter_mut();
                ours.zip(&other.counts[theirs..theirs + cells]).for_each(|(ours, theirs)| *ours += theirs);
            }
        }
        Ok(())
    }

    /// How many spans of a side have a value, by interval.
    pub(super) fn total(&self, side: usize) -> Vec<u64> {
        of_side(&self.totals, side)
    }

    /// The values that spans of a side have: how many, which, and how many by interval.
    pub(super) fn of_side(&self, side: usize) -> Vec<(u64, &str, Vec<u64>)> {
        let all = self.known.iter().map(|(text, number)| {
            let first = *number as usize * self.cells();
            let counts = of_side(&self.counts[first..first + self.cells()], side);
            (counts.iter().sum(), text.as_str(), counts)
        });
        all.filter(|(sum, ..)| *sum > 0).collect()
    }
}

fn of_side(cells: &[u64], side: usize) -> Vec<u64> {
    cells.iter().copied().skip(side).step_by(2).collect()
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

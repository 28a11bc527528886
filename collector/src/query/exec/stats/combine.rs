//! Which step of time a row is in, and which combination of values it has, by number.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use hashbrown::HashMap;

/// Combinations of values that are numbered by a table at most; more of them by a map.
const MAX_TABLE: usize = 1 << 16;

/// The number of each row's step, and the starts of the steps by number.
pub(super) fn steps(batch: &RecordBatch, step: i64, rows: &[u32]) -> (Vec<u32>, Vec<i64>) {
    let column =
        batch.column_by_name("start").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let Some(column) = column else { return (vec![0; rows.len()], vec![0]) };
    let (times, mut numbers, mut starts) = (column.values(), HashMap::new(), Vec::new());
    // Rows are sorted by time in most batches, so most have the step of the row before.
    let mut last = (0, None);
    let codes = rows
        .iter()
        .map(|&row| {
            let time = times[row as usize];
            if last.1.is_some_and(|start: i64| (0..step).contains(&time.wrapping_sub(start))) {
                return last.0;
            }
            let start = time.div_euclid(step).saturating_mul(step);
            let number = *numbers.entry(start).or_insert_with(|| {
                starts.push(start);
                u32::try_from(starts.len() - 1).unwrap_or(0)
            });
            last = (number, Some(start));
            number
        })
        .collect();
    (codes, starts)
}

/// Combinations of values by number.
pub(in crate::query::exec) struct Combined {
    /// The number of each row's combination.
    pub(in crate::query::exec) numbers: Vec<u32>,
    /// The place of the first row that has a combination, by its number.
    pub(in crate::query::exec) firsts: Vec<usize>,
}

impl Combined {
    pub(in crate::query::exec) fn new(rows: usize) -> Self {
        Self { numbers: vec![0; rows], firsts: vec![0] }
    }

    /// Combines with one value more of each row, of so many that there are.
    pub(in crate::query::exec) fn with(&mut self, codes: &[u32], values: usize) {
        let size = self.firsts.len() * values;
        let (mut table, mut map) = (vec![u32::MAX; if size <= MAX_TABLE { size } else { 0 }], HashMap::new());
        let mut firsts = Vec::new();
        for (row, (number, &code)) in self.numbers.iter_mut().zip(codes).enumerate() {
            let pair = *number as usize * values + code as usize;
            let known = match table.get_mut(pair) {
                Some(known) => known,
                None => map.entry(pair).or_insert(u32::MAX),
            };
            if *known == u32::MAX {
                *known = u32::try_from(firsts.len()).unwrap_or(0);
                firsts.push(row);
            }
            *number = *known;
        }
        self.firsts = firsts;
    }
}

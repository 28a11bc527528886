//! Rows as columns: which attributes get a column of their own, and the Arrow batch.

use std::sync::Arc;

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{ArrowError, Field, Schema};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::chunk::{Cell, Chunk, NONE, Pool, Record};
use super::column::{Column, Kind, dictionary};
use crate::query::{Columns, SpanColumn};
use crate::value::{write_double, write_int, write_string};

/// Attributes with a column of their own, at most.
const MAX_COLUMNS: usize = 96;

/// Where a row is: its chunk, and its place there.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct At {
    pub(in crate::store) chunk: u32,
    pub(in crate::store) row: u32,
}

/// A batch, and what is not in its types.
#[derive(Debug)]
pub(in crate::store) struct Assembled {
    pub(in crate::store) batch: RecordBatch,
    /// Keys of the columns `a:<key>` that the column `attributes` never holds.
    pub(in crate::store) pure: Vec<String>,
}

/// The rows of chunks as a batch, in the order given.
pub(in crate::store) fn assemble<R: Record>(
    chunks: &[&Chunk<R>],
    rows: &[At],
    columns: &Columns,
) -> Result<Assembled, ArrowError> {
    let texts = Texts::of(chunks);
    let source = Source { chunks, rows, texts: &texts };
    let mut made = Made::default();
    let wanted = |name: &str| match columns {
        Columns::All => true,
        Columns::Some(columns) => {
            columns.iter().any(|column| matches!(column, SpanColumn::Fixed(n) if *n == name))
        }
    };
    R::columns(&source, &wanted, &mut made)?;
    let plan = source.plan(columns);
    if !plan.keys.is_empty() || plan.residual {
        source.attributes(&plan, &mut made);
    }
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let schema = Arc::new(Schema::new(made.fields));
    let batch = RecordBatch::try_new_with_options(schema, made.arrays, &options)?;
    Ok(Assembled { batch, pure: plan.pure() })
}

/// The columns made so far.
#[derive(Default)]
pub(in crate::store) struct Made {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Made {
    /// Adds one.
    pub(in crate::store) fn add(&mut self, name: &str, nullable: bool, array: ArrayRef) {
        self.fields.push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
    }
}

/// The texts of several chunks under one number each.
struct Texts<'a> {
    of: Vec<&'a str>,
    /// By chunk and number there; empty when there is one chunk, whose numbers are used as they are.
    numbers: Vec<Vec<u32>>,
}

impl<'a> Texts<'a> {
    fn of<R>(chunks: &[&'a Chunk<R>]) -> Self {
        let all = |pool: &'a Pool| {
            (0..pool.len()).map(move |number| pool.get(u32::try_from(number).unwrap_or(NONE)))
        };
        if let [one] = chunks {
            return Self { of: all(&one.pool).collect(), numbers: Vec::new() };
        }
        let total = chunks.iter().map(|chunk| chunk.pool.len()).sum();
        // Numbers only, and room for all of them at once: most texts are there once, and this is done for each segment.
        let mut seen: HashTable<u32> = HashTable::with_capacity(total);
        let mut of: Vec<&'a str> = Vec::with_capacity(total);
        let mut hashes: Vec<u64> = Vec::with_capacity(total);
        let numbers = chunks
            .iter()
            .map(|chunk| {
                let number = |text: &'a str| {
                    let hash = xxh3_64(text.as_bytes());
                    let same = |&number: &u32| hashes[number as usize] == hash && of[number as usize] == text;
                    if let Some(&number) = seen.find(hash, same) {
                        return number;
                    }
                    let number = u32::try_from(of.len()).unwrap_or(NONE);
                    of.push(text);
                    hashes.push(hash);
                    seen.insert_unique(hash, number, |&number| hashes[number as usize]);
                    number
                };
                all(&chunk.pool).map(number).collect()
            })
            .collect();
        Self { of, numbers }
    }

    fn number(&self, chunk: u32, number: u32) -> u32 {
        if number == NONE {
            return NONE;
        }
        self.numbers.get(chunk as usize).map_or(number, |numbers| numbers[number as usize])
    }
}

/// Which attributes get a column, by the number of the key.
struct Plan<'a> {
    keys: Vec<(u32, &'a str, Kind, bool)>,
    residual: bool,
    /// Whether keys without a column go to the residual; when only some keys are asked for, the others do not.
    others: bool,
    wanted: Option<Vec<u32>>,
}

impl Plan<'_> {
    fn pure(&self) -> Vec<String> {
        self.keys.iter().filter(|key| key.3).map(|key| key.1.to_owned()).collect()
    }
}

/// Rows of chunks, in order.
pub(in crate::store) struct Source<'a, R> {
    chunks: &'a [&'a Chunk<R>],
    rows: &'a [At],
    texts: &'a Texts<'a>,
}

impl<'a, R: Record> Source<'a, R> {
    fn rows(&self) -> impl Iterator<Item = (u32, &'a Chunk<R>, &'a R)> + '_ {
        self.rows.iter().map(|at| {
            let chunk = self.chunks[at.chunk as usize];
            (at.chunk, chunk, &chunk.rows[at.row as usize])
        })
    }

    /// The rows.
    pub(in crate::store) fn records(&self) -> impl Iterator<Item = &'a R> + '_ {
        self.rows().map(|(_, _, row)| row)
    }

    /// How many there are.
    pub(in crate::store) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// A column of texts that repeat.
    pub(in crate::store) fn dictionary(&self, of: impl Fn(&R) -> u32) -> ArrayRef {
        let numbers: Vec<u32> =
            self.rows().map(|(chunk, _, row)| self.texts.number(chunk, of(row))).collect();
        dictionary(&numbers, &self.texts.of)
    }

    /// A column of texts that hardly repeat.
    pub(in crate::store) fn plain(&self, of: impl Fn(&R) -> u32) -> ArrayRef {
        let text = |(_, chunk, row): (u32, &'a Chunk<R>, &'a R)| {
            let number = of(row);
            (number != NONE).then(|| chunk.pool.get(number))
        };
        Arc::new(self.rows().map(text).collect::<StringArray>())
    }

    /// How often each key has each kind of value, and so which keys get a column.
    fn plan(&self, columns: &Columns) -> Plan<'a> {
        let wanted: Option<Vec<&str>> = match columns {
            Columns::All => None,
            Columns::Some(columns) if columns.contains(&SpanColumn::Attributes) => None,
            Columns::Some(columns) => Some(
                columns
                    .iter()
                    .filter_map(|column| match column {
                        SpanColumn::Attribute(key) => Some(key.as_str()),
                        _ => None,
                    })
                    .collect(),
            ),
        };
        if wanted.as_ref().is_some_and(Vec::is_empty) {
            return Plan { keys: Vec::new(), residual: false, others: false, wanted: Some(Vec::new()) };
        }
        // By the number of the key, where in the counts it is: there are few keys, and many attributes.
        let mut places = vec![NONE; self.texts.of.len()];
        let mut counts: Vec<(u32, [u32; 5])> = Vec::new();
        for (at, chunk, row) in self.rows() {
            for attribute in chunk.attributes(row) {
                let kind = match attribute.cell {
                    Cell::Text(_) => 0,
                    Cell::Int(_) => 1,
                    Cell::Double(_) => 2,
                    Cell::Bool(_) => 3,
                    Cell::Json(_) => 4,
                };
                let key = self.texts.number(at, attribute.key);
                let place = &mut places[key as usize];
                if *place == NONE {
                    *place = u32::try_from(counts.len()).unwrap_or(NONE);
                    counts.push((key, [0; 5]));
                }
                counts[*place as usize].1[kind] += 1;
            }
        }
        let is_wanted = |key: &str| wanted.as_ref().is_none_or(|wanted| wanted.contains(&key));
        counts.retain(|&(key, _)| is_wanted(self.texts.of[key as usize]));
        let least = u32::try_from(self.rows.len() / 100).unwrap_or(NONE).max(1);
        let mut keys: Vec<(u32, u32, &'a str, Kind, bool)> = counts
            .iter()
            .filter_map(|&(key, kinds)| {
                let (kind, &most) = kinds[..4].iter().enumerate().max_by_key(|(_, count)| **count)?;
                let kind = [Kind::Text, Kind::Int, Kind::Double, Kind::Bool][kind];
                let pure = kinds.iter().sum::<u32>() == most;
                (most >= least).then(|| (most, key, self.texts.of[key as usize], kind, pure))
            })
            .collect();
        keys.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.2.cmp(b.2)));
        keys.truncate(MAX_COLUMNS);
        let residual = counts.len() > keys.len() || keys.iter().any(|key| !key.4);
        keys.sort_unstable_by_key(|key| key.2);
        let mut wanted = wanted.map(|_| counts.iter().map(|(key, _)| *key).collect::<Vec<u32>>());
        if let Some(wanted) = &mut wanted {
            wanted.sort_unstable();
        }
        let keys = keys.into_iter().map(|(_, key, text, kind, pure)| (key, text, kind, pure)).collect();
        Plan { keys, residual, others: wanted.is_none(), wanted }
    }

    fn attributes(&self, plan: &Plan<'_>, made: &mut Made) {
        let mut places = vec![NONE; self.texts.of.len()];
        let mut columns: Vec<Column> = Vec::with_capacity(plan.keys.len());
        for (place, &(key, _, kind, _)) in plan.keys.iter().enumerate() {
            places[key as usize] = u32::try_from(place).unwrap_or(NONE);
            columns.push(Column::new(kind, self.rows.len()));
        }
        let (mut residual, mut ends, mut valid) = (String::new(), vec![0_i32], Vec::new());
        let keep = |key: u32| {
            plan.others || plan.wanted.as_ref().is_some_and(|wanted| wanted.binary_search(&key).is_ok())
        };
        for (index, (at, chunk, row)) in self.rows().enumerate() {
            let before = residual.len();
            for attribute in chunk.attributes(row) {
                let key = self.texts.number(at, attribute.key);
                let place = places[key as usize];
                let placed = place != NONE
                    && columns[place as usize]
                        .put(index, attribute.cell, |number| self.texts.number(at, number));
                if !placed && plan.residual && keep(key) {
                    residual.push(if residual.len() == before { '{' } else { ',' });
                    write_string(self.texts.of[key as usize], &mut residual);
                    residual.push(':');
                    write_cell(attribute.cell, &chunk.pool, &mut residual);
                }
            }
            if plan.residual {
                let some = residual.len() > before;
                if some {
                    residual.push('}');
                }
                valid.push(some);
                ends.push(i32::try_from(residual.len()).unwrap_or(i32::MAX));
            }
        }
        for (column, &(_, name, ..)) in columns.into_iter().zip(&plan.keys) {
            made.add(&format!("a:{name}"), true, column.finish(&self.texts.of));
        }
        if plan.residual {
            let offsets = arrow_buffer::OffsetBuffer::new(ends.into());
            let nulls = arrow_buffer::NullBuffer::from(valid);
            made.add(
                "attributes",
                true,
                Arc::new(StringArray::new(offsets, residual.into_bytes().into(), Some(nulls))),
            );
        }
    }
}

fn write_cell(cell: Cell, pool: &Pool, out: &mut String) {
    match cell {
        Cell::Text(number) => write_string(pool.get(number), out),
        Cell::Int(value) => write_int(value, out),
        Cell::Double(value) => write_double(value, out),
        Cell::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Cell::Json(number) => out.push_str(pool.get(number)),
    }
}

/// A column of ids.
pub(in crate::store) fn ids<const N: usize>(
    ids: impl Iterator<Item = Option<[u8; N]>>,
    rows: usize,
) -> Result<ArrayRef, ArrowError> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(rows, i32::try_from(N).unwrap_or(0));
    for id in ids {
        match id {
            Some(id) => builder.append_value(id)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

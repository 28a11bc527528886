//! Records in memory: rows of one size, with every text in a pool of the chunk, so that a record needs few bytes and a
//! value is compared as a number.

use std::fmt::Debug;

use arrow_schema::ArrowError;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::assemble::{Made, Source};
use super::disassemble::Reading;
use crate::query::Table;

/// No text, no such thing.
pub(in crate::store) const NONE: u32 = u32::MAX;

/// Texts by number; the same text has the same number.
#[derive(Debug, Default, Clone)]
pub(in crate::store) struct Pool {
    bytes: String,
    ends: Vec<u32>,
    numbers: HashTable<u32>,
}

impl Pool {
    /// The number of a text, a new one if need be; `None` when the pool is full (4 GB).
    pub(in crate::store) fn intern(&mut self, text: &str) -> Option<u32> {
        let hash = xxh3_64(text.as_bytes());
        let (bytes, ends) = (&self.bytes, &self.ends);
        if let Some(&number) = self.numbers.find(hash, |&number| slice(bytes, ends, number) == text) {
            return Some(number);
        }
        let number = self.push(text)?;
        let (bytes, ends) = (&self.bytes, &self.ends);
        self.numbers.insert_unique(hash, number, |&number| xxh3_64(slice(bytes, ends, number).as_bytes()));
        Some(number)
    }

    /// A number for a text that is not looked for, nor shared.
    pub(in crate::store) fn push(&mut self, text: &str) -> Option<u32> {
        let number = u32::try_from(self.ends.len()).ok().filter(|&number| number != NONE)?;
        let end = u32::try_from(self.bytes.len() + text.len()).ok()?;
        self.bytes.push_str(text);
        self.ends.push(end);
        Some(number)
    }

    /// The number of a text that is there.
    pub(in crate::store) fn find(&self, text: &str) -> Option<u32> {
        let (bytes, ends) = (&self.bytes, &self.ends);
        self.numbers.find(xxh3_64(text.as_bytes()), |&number| slice(bytes, ends, number) == text).copied()
    }

    /// The text of a number; empty for [`NONE`].
    pub(in crate::store) fn get(&self, number: u32) -> &str {
        if number == NONE { "" } else { slice(&self.bytes, &self.ends, number) }
    }

    /// How many texts there are.
    pub(in crate::store) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes that it takes, about.
    pub(in crate::store) fn size(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * 4 + self.numbers.capacity() * 5
    }

    fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

fn slice<'a>(bytes: &'a str, ends: &[u32], number: u32) -> &'a str {
    let number = number as usize;
    let start = if number == 0 { 0 } else { ends[number - 1] as usize };
    &bytes[start..ends[number] as usize]
}

/// The value of an attribute: a number, or the number of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::store) enum Cell {
    /// A text by its number.
    Text(u32),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// A boolean.
    Bool(bool),
    /// Anything else: its text as in [`crate::value`], by its number.
    Json(u32),
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Attribute {
    pub(in crate::store) key: u32,
    pub(in crate::store) cell: Cell,
}

/// One row of a table; texts by number.
pub(in crate::store) trait Record: Copy + Debug + Send + Sync + 'static {
    /// The table whose rows these are.
    const TABLE: Table;

    /// What the rows are sorted by, in nanoseconds since 1970.
    fn time(&self) -> i64;

    /// The place of its first attribute, and how many there are.
    fn attributes(&self) -> (u32, u32);

    /// Calls with every number of a text, those of attributes left out.
    fn texts(&mut self, each: &mut dyn FnMut(&mut u32));

    /// The trace; zeros for none.
    fn trace_id(&self) -> [u8; 16];

    /// The span; zeros for none.
    fn span_id(&self) -> [u8; 8];

    /// The service's name.
    fn service(&self) -> u32;

    /// The name.
    fn name(&self) -> u32;

    /// The text of the resource, and of the scope.
    fn origin(&self) -> (u32, u32);

    /// The row, if it is a span.
    fn as_span(&self) -> Option<&Row> {
        None
    }

    /// Adds the columns that are wanted, other than attributes.
    fn columns(
        source: &Source<'_, Self>,
        wanted: &dyn Fn(&str) -> bool,
        made: &mut Made,
    ) -> Result<(), ArrowError>;

    /// A row as it is in columns, without attributes; `None` when the pool is full.
    fn read(reading: &mut Reading<'_>, pool: &mut Pool, row: usize) -> Option<Self>;
    /// Its attributes are these now.
    fn set_attributes(&mut self, first: u32, count: u32);
}

/// One span; texts by number.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Row {
    pub(in crate::store) trace_id: [u8; 16],
    pub(in crate::store) span_id: [u8; 8],
    /// Zeros for a root.
    pub(in crate::store) parent: [u8; 8],
    pub(in crate::store) start: i64,
    pub(in crate::store) duration: i64,
    pub(in crate::store) service: u32,
    pub(in crate::store) name: u32,
    pub(in crate::store) message: u32,
    pub(in crate::store) trace_state: u32,
    pub(in crate::store) resource: u32,
    pub(in crate::store) scope: u32,
    pub(in crate::store) events: u32,
    pub(in crate::store) links: u32,
    pub(in crate::store) first_attribute: u32,
    pub(in crate::store) attributes: u32,
    pub(in crate::store) flags: u32,
    pub(in crate::store) dropped: [u32; 3],
    pub(in crate::store) kind: i8,
    pub(in crate::store) status: i8,
}

impl Row {
    /// What tells whether two spans are the same one, sent twice.
    pub(in crate::store) fn identity(&self) -> u64 {
        identity(&self.trace_id, &self.span_id, self.start, self.duration, self.kind)
    }
}

/// As [`Row::identity`], of a span that is read from a segment.
pub(in crate::store) fn identity(
    trace: &[u8; 16],
    span: &[u8; 8],
    start: i64,
    duration: i64,
    kind: i8,
) -> u64 {
    let mut bytes = [0_u8; 41];
    bytes[..16].copy_from_slice(trace);
    bytes[16..24].copy_from_slice(span);
    bytes[24..32].copy_from_slice(&start.to_le_bytes());
    bytes[32..40].copy_from_slice(&duration.to_le_bytes());
    bytes[40] = kind.to_le_bytes()[0];
    xxh3_64(&bytes)
}

/// The rows of one request, or of some small ones.
#[derive(Debug, Clone)]
pub(in crate::store) struct Chunk<R = Row> {
    pub(in crate::store) rows: Vec<R>,
    pub(in crate::store) attributes: Vec<Attribute>,
    pub(in crate::store) pool: Pool,
}

impl<R> Default for Chunk<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), attributes: Vec::new(), pool: Pool::default() }
    }
}

impl<R: Record> Chunk<R> {
    /// The attributes of a row.
    pub(in crate::store) fn attributes(&self, row: &R) -> &[Attribute] {
        let (first, count) = row.attributes();
        let first = first as usize;
        &self.attributes[first..first + count as usize]
    }

    /// The value of a row's attribute by the number of its key.
    pub(in crate::store) fn cell(&self, row: &R, key: u32) -> Option<Cell> {
        self.attributes(row).iter().find(|attribute| attribute.key == key).map(|attribute| attribute.cell)
    }

    /// Bytes that it takes, about.
    pub(in crate::store) fn size(&self) -> usize {
        self.rows.capacity() * size_of::<R>()
            + self.attributes.capacity() * size_of::<Attribute>()
            + self.pool.size()
    }

    /// Gives back what was taken for growth.
    pub(in crate::store) fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.attributes.shrink_to_fit();
        self.pool.shrink();
    }

    /// Takes the rows of another chunk; false, and nothing is taken, when there is no room.
    pub(in crate::store) fn absorb(&mut self, other: &Self) -> bool {
        self.absorb_rows(other, &other.rows)
    }

    /// Takes some rows of another chunk; false, and nothing is taken, when there is no room.
    pub(in crate::store) fn absorb_rows(&mut self, other: &Self, rows: &[R]) -> bool {
        let room = u32::MAX as usize;
        if self.pool.bytes.len() + other.pool.bytes.len() >= room
            || self.attributes.len() + other.attributes.len() >= room
        {
            return false;
        }
        let mut numbers = vec![NONE; other.pool.len()];
        let mut number = |pool: &mut Pool, old: u32| {
            if old == NONE {
                return NONE;
            }
            let slot = &mut numbers[old as usize];
            if *slot == NONE {
                *slot = pool.intern(other.pool.get(old)).unwrap_or(NONE);
            }
            *slot
        };
        for row in rows {
            let first_attribute = u32::try_from(self.attributes.len()).unwrap_or(NONE);
            for attribute in other.attributes(row) {
                let cell = match attribute.cell {
                    Cell::Text(old) => Cell::Text(number(&mut self.pool, old)),
                    Cell::Json(old) => Cell::Json(number(&mut self.pool, old)),
                    cell => cell,
                };
                let key = number(&mut self.pool, attribute.key);
                self.attributes.push(Attribute { key, cell });
            }
            let mut row = *row;
            row.set_attributes(first_attribute, row.attributes().1);
            row.texts(&mut |text| *text = number(&mut self.pool, *text));
            self.rows.push(row);
        }
        true
    }
}

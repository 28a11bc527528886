//! The spans of some traces, by trace.

use std::hash::BuildHasher as _;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::read::{Reader, TraceId};
use super::spansets::owned;
use super::tree::{Row, SpanId, Trace};
use crate::query::engine::{Columns, Flow, Must, Order, QueryError, Scan, SpanColumn, Table, TimeRange};
use crate::query::exec::render::Keys;
use crate::query::exec::{bind, parallel};
use crate::query::traceql::{Datum, Field};

/// Up to so many traces are looked up in the index; for more, all spans of the time are read.
const MOST_LOOKED_UP: usize = 512;
/// Bits for each trace that is wanted: one in so many of those that are not has to be looked for in the table.
const BITS: usize = 16;
/// Traces that are put together at a time: few enough for their spans to stay in the processor's cache.
const TOGETHER: usize = 4096;

/// A span that was read, and the number of its trace.
type Numbered = (u32, Row);

/// Spans by the place of their trace, as one thread read them.
type Placed = Vec<Vec<Numbered>>;

/// The spans of some of the traces that were asked for.
pub(super) struct Together {
    /// The number of the first of them, and how many they are.
    first: usize,
    count: usize,
    /// As each of the threads read them.
    spans: Vec<Vec<Numbered>>,
}

impl Together {
    /// The spans of each trace, by its number in what was asked for.
    pub(super) fn traces(self) -> impl Iterator<Item = (usize, Vec<Row>)> {
        let mut counts = vec![0; self.count];
        let place = |number: u32| number as usize % TOGETHER;
        self.spans.iter().flatten().for_each(|(number, _)| counts[place(*number)] += 1);
        let mut rows: Vec<Vec<Row>> = counts.into_iter().map(Vec::with_capacity).collect();
        for (number, row) in self.spans.into_iter().flatten() {
            rows[place(number)].push(row);
        }
        (self.first..).zip(rows).filter(|(_, rows)| !rows.is_empty())
    }
}

/// Traces that are wanted, by number.
struct Wanted<'a> {
    ids: &'a [TraceId],
    /// The numbers by the hashes of ids: these alone take a sixth of what a map with the ids takes, and more of it is in the
    /// processor's cache.
    numbers: HashTable<u32>,
    /// A bit is set for each of them. Where most spans are of other traces, this is much quicker than the table.
    bits: Vec<u64>,
    shift: u32,
    /// With a seed of its own, so that nobody can send ids that are all in one place.
    hasher: DefaultHashBuilder,
}

impl<'a> Wanted<'a> {
    fn new(ids: &'a [TraceId]) -> Self {
        let count = ids.len().saturating_mul(BITS).next_power_of_two().max(64);
        let shift = u64::BITS - count.trailing_zeros();
        let (hasher, bits) = (DefaultHashBuilder::default(), vec![0; count / 64]);
        let mut wanted = Self { ids, numbers: HashTable::with_capacity(ids.len()), bits, shift, hasher };
        for (id, number) in ids.iter().zip(0..) {
            let hash = wanted.hash(id);
            let place = wanted.place(hash);
            wanted.bits[place / 64] |= 1 << (place % 64);
            let again = |number: &u32| wanted.hasher.hash_one(u128::from_le_bytes(ids[*number as usize]));
            wanted.numbers.insert_unique(hash, number, again);
        }
        wanted
    }

    fn hash(&self, id: &TraceId) -> u64 {
        self.hasher.hash_one(u128::from_le_bytes(*id))
    }

    fn place(&self, hash: u64) -> usize {
        usize::try_from(hash >> self.shift).unwrap_or(0)
    }

    fn number(&self, id: &TraceId) -> Option<u32> {
        let hash = self.hash(id);
        let place = self.place(hash);
        if self.bits[place / 64] >> (place % 64) & 1 == 0 {
            return None;
        }
        self.numbers.find(hash, |number| self.ids[*number as usize] == *id).copied()
    }
}

fn span_id(bytes: [u8; 8]) -> Option<SpanId> {
    SpanId::new(u64::from_be_bytes(bytes))
}

/// What is read of spans.
struct Reading<'a> {
    reader: &'a Reader<'a>,
    wanted: Wanted<'a>,
    /// The fields that single spans have.
    own: Vec<Field>,
    /// Where each of the fields that are asked for is in these.
    places: Vec<Option<usize>>,
    /// How many of them are read of spans that fulfil none of `left`.
    telling: usize,
    left: Option<u64>,
}

impl<'a> Reading<'a> {
    fn new(reader: &'a Reader<'a>, ids: &'a [TraceId], fields: &[Field]) -> Self {
        let own: Vec<Field> = fields.iter().filter(|field| field.is_of_one_span()).cloned().collect();
        let places = fields.iter().map(|field| own.iter().position(|known| known == field)).collect();
        // What other spans have may be needed to tell what a field is.
        let alone = reader.only_left && own.len() == fields.len();
        let (telling, left) = (reader.program.telling, alone.then(|| reader.program.left()));
        Self { reader, wanted: Wanted::new(ids), own, places, telling, left }
    }

    fn columns(&self) -> Result<Columns, QueryError> {
        let fixed = ["trace_id", "span_id", "parent_span_id", "start", "duration_ns"];
        let columns: Vec<SpanColumn> = Reader::columns(&self.reader.program.leaves, &fixed, &self.own)?;
        Ok(Columns::Some(columns))
    }

    /// Adds the spans of a batch; returns about how many bytes they take.
    fn read(&self, all: &mut Placed, batch: &RecordBatch) -> Result<usize, QueryError> {
        all.resize_with(self.wanted.ids.len().div_ceil(TOGETHER), Vec::new);
        let keys = Keys::new(batch)?;
        let (ids, _) = keys.trace_ids().as_chunks();
        let numbered = (0..).zip(ids).filter_map(|(row, id)| Some((row, self.wanted.number(id)?)));
        let (rows, numbers): (Vec<u32>, Vec<u32>) = numbered.unzip();
        if rows.is_empty() {
            return Ok(0);
        }
        let masks = self.reader.fulfilled(batch, &rows)?;
        let bound = bind::Bound::new(&self.own, batch)?;
        let parents = batch.column_by_name("parent_span_id").and_then(|of| of.as_fixed_size_binary_opt());
        let mut bytes = 0;
        for (row, number) in rows.into_iter().zip(numbers) {
            let row = row as usize;
            let value =
                |place: &Option<usize>| place.map_or(Datum::Nil, |place| owned(bound.value(place, row)));
            let is_left = self.left.is_none_or(|left| masks[row] & left != 0);
            let places = if is_left { &self.places[..] } else { &self.places[..self.telling] };
            let values: Box<[Datum<'static>]> = places.iter().map(value).collect();
            let Some(id) = span_id(keys.span_id(row)) else { continue };
            let parent = parents.filter(|parents| !parents.is_null(row));
            let row = Row {
                id,
                parent: parent.and_then(|parents| span_id(parents.value(row).try_into().ok()?)),
                start: keys.start(row),
                duration: keys.duration(row),
                fulfils: masks[row],
                values,
            };
            bytes += row_size(&row);
            all[number as usize / TOGETHER].push((number, row));
        }
        Ok(bytes)
    }
}

impl Reader<'_> {
    /// The spans of some traces, with these fields as far as single spans have them; of many traces, those of a time only.
    pub(super) fn rows(
        &self,
        ids: &[TraceId],
        fields: &[Field],
        time: TimeRange,
        scanned: &mut u64,
    ) -> Result<Vec<Together>, QueryError> {
        let reading = Reading::new(self, ids, fields);
        let looked_up = ids.len() <= MOST_LOOKED_UP;
        let must = if looked_up {
            vec![Must::AnyOf(ids.iter().copied().map(Must::Trace).collect())]
        } else {
            Vec::new()
        };
        let time = if looked_up { TimeRange::ALL } else { time };
        let scan = Scan { table: Table::Spans, time, must, columns: reading.columns()?, order: Order::Any };
        let parts = self.queries.engine.parts(&scan)?;
        let (mut all, read) = parallel::fold(&parts, self.control, |all: &mut Placed, batch| {
            self.control.take_memory(reading.read(all, batch)?)
        })?;
        *scanned += read;
        let together = (0..ids.len()).step_by(TOGETHER).enumerate().map(|(place, first)| {
            let spans = all.iter_mut().filter_map(|all| all.get_mut(place)).map(std::mem::take);
            Together { first, count: TOGETHER.min(ids.len() - first), spans: spans.collect() }
        });
        Ok(together.collect())
    }

    /// About how many bytes the spans of these traces take, by those that one of the parts has.
    pub(super) fn weight(
        &self,
        ids: &[TraceId],
        fields: &[Field],
        time: TimeRange,
    ) -> Result<usize, QueryError> {
        let reading = Reading::new(self, ids, fields);
        let columns = reading.columns()?;
        let scan = Scan { table: Table::Spans, time, must: Vec::new(), columns, order: Order::Any };
        let parts = self.queries.engine.parts(&scan)?;
        let (mut rows, mut bytes) = (0, 0);
        if let Some(part) = parts.get(parts.len() / 2) {
            rows = part.rows();
            part.read(self.control, &mut |batch| {
                bytes += reading.read(&mut Placed::new(), batch)?;
                Ok(Flow::Continue)
            })?;
        }
        let all: u64 = parts.iter().map(|part| part.rows()).sum();
        Ok(bytes.saturating_mul(usize::try_from(all / rows.max(1) + 1).unwrap_or(usize::MAX)))
    }
}

/// Bytes of a value, about.
fn size(value: &Datum<'_>) -> usize {
    size_of::<Datum<'_>>()
        + match value {
            Datum::Text(text) => text.len(),
            Datum::List(values) | Datum::Each(values) => values.iter().map(size).sum(),
            _ => 0,
        }
}

/// Bytes of a span that was read, about.
fn row_size(row: &Row) -> usize {
    size_of::<Numbered>() + row.values.iter().map(size).sum::<usize>()
}

/// Bytes of a trace, about.
pub(super) fn trace_size(trace: &Trace) -> usize {
    trace.rows.iter().map(row_size).sum()
}

//! Reads a segment: the blocks that may match, the columns that are asked for.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int8Type, Int32Type, Int64Type, TimestampNanosecondType, UInt64Type};
use arrow_array::{Array as _, ArrayRef, DictionaryArray, RecordBatch, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::errors::ParquetError;

use super::{BLOCK, Index, Segment};
use crate::query::engine::{Flow, Names, Visit};
use crate::query::{Columns, Control, Must, Order, Part, QueryError, Scan, SpanColumn, Table};
use crate::store::spans::chunk::identity;

/// Blocks that are read at once at most, when rows are wanted in order.
const MOST_BLOCKS: usize = 16;
/// So few are read at once in any case. What is looked for is rare then, so most are needed; and each time that reading begins
/// anew, every column's dictionary is read, and a decompressor is made for it.
const FEW_BLOCKS: usize = 32;

/// The blocks of a segment that may hold what a scan looks for.
#[derive(Debug)]
pub(in crate::store) struct SegmentPart {
    segment: Arc<Segment>,
    scan: Scan,
    blocks: Vec<u32>,
}

impl SegmentPart {
    pub(super) fn new(segment: Arc<Segment>, scan: Scan, blocks: Vec<u32>) -> Self {
        Self { segment, scan, blocks }
    }

    /// The places of the columns in the file.
    fn columns(&self) -> Option<Vec<usize>> {
        let Columns::Some(columns) = &self.scan.columns else { return None };
        let schema = self.segment.metadata.schema();
        let mut places = Vec::new();
        let mut add = |name: &str| places.extend(schema.index_of(name).ok());
        for column in columns {
            match column {
                SpanColumn::Fixed(name) => add(name),
                SpanColumn::Attribute(key) => {
                    add(&format!("a:{key}"));
                    if !self.segment.pure.contains(key) && self.segment.index.may_be_residual(key) {
                        add("attributes");
                    }
                }
                SpanColumn::Attributes => {
                    let all = schema
                        .fields()
                        .iter()
                        .filter(|field| field.name().starts_with("a:") || field.name() == "attributes");
                    all.for_each(|field| add(field.name()));
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        Some(places)
    }

    /// The rows of a block that are in the time range: the rows of a segment are sorted by it.
    fn rows_of(&self, block: u32, file: &File) -> Result<(usize, usize), QueryError> {
        let (first, end) = self.segment.rows_of(block);
        let (time, (low, high)) = (self.scan.time, self.segment.index.block_times(block));
        if time.contains(low) && time.contains(high) {
            return Ok((first, end));
        }
        let place = self
            .segment
            .metadata
            .schema()
            .index_of(self.segment.table.time_column())
            .map_err(|error| failed(&self.segment, &error))?;
        let mut below = first;
        let mut inside = 0;
        for batch in reader(file, &self.segment.metadata, Some(&[place]), Some(vec![(first, end)]), BLOCK)
            .map_err(|error| failed(&self.segment, &error))?
        {
            let batch = batch.map_err(|error| failed(&self.segment, &error))?;
            let starts = batch.column(0).as_primitive::<TimestampNanosecondType>().values();
            below += starts.iter().filter(|&&start| start < time.from).count();
            inside += starts.iter().filter(|&&start| time.contains(start)).count();
        }
        Ok((below, below + inside))
    }

    /// The rows of these that belong to one of the traces.
    fn rows_of_traces(
        &self,
        file: &File,
        ranges: &[(usize, usize)],
        traces: &[&[u8; 16]],
    ) -> Result<Vec<(usize, usize)>, QueryError> {
        let told = |error: &dyn std::fmt::Display| failed(&self.segment, error);
        let place = self.segment.metadata.schema().index_of("trace_id").map_err(|error| told(&error))?;
        let mut rows = ranges.iter().flat_map(|&(first, end)| first..end);
        let reader = reader(file, &self.segment.metadata, Some(&[place]), Some(ranges.to_owned()), 4 * BLOCK);
        let mut found: Vec<(usize, usize)> = Vec::new();
        for batch in reader.map_err(|error| told(&error))? {
            let batch = batch.map_err(|error| told(&error))?;
            let ids = batch.column(0).as_fixed_size_binary();
            for (id, row) in (0..ids.len()).map(|place| ids.value(place)).zip(rows.by_ref()) {
                match found.last_mut() {
                    _ if !traces.iter().any(|trace| trace.as_slice() == id) => {}
                    Some(last) if last.1 == row => last.1 = row + 1,
                    _ => found.push((row, row + 1)),
                }
            }
        }
        Ok(found)
    }

    fn read_blocks(
        &self,
        file: &File,
        columns: Option<&[usize]>,
        blocks: &[u32],
        visit: &mut dyn FnMut(RecordBatch) -> Result<Flow, QueryError>,
    ) -> Result<(u64, Flow), QueryError> {
        let mut ranges: Vec<(usize, usize)> = Vec::with_capacity(blocks.len());
        for &block in blocks {
            let (first, end) = self.rows_of(block, file)?;
            match ranges.last_mut() {
                Some(last) if last.1 == first => last.1 = end,
                _ if first < end => ranges.push((first, end)),
                _ => {}
            }
        }
        // All columns of some rows: which ones, one column tells, and the others are read of these only.
        if columns.is_none()
            && let Some(traces) = traces(&self.scan.must)
        {
            ranges = self.rows_of_traces(file, &ranges, &traces)?;
        }
        let mut rows = 0;
        if ranges.is_empty() {
            return Ok((rows, Flow::Continue));
        }
        let size = if self.scan.order == Order::Any { 4 * BLOCK } else { BLOCK };
        let reader = reader(file, &self.segment.metadata, columns, Some(ranges), size)
            .map_err(|error| failed(&self.segment, &error))?;
        for batch in reader {
            let batch = batch.map_err(|error| failed(&self.segment, &error))?;
            rows += batch.num_rows() as u64;
            if visit(batch)? == Flow::Stop {
                return Ok((rows, Flow::Stop));
            }
        }
        Ok((rows, Flow::Continue))
    }
}

impl Part for SegmentPart {
    fn times(&self) -> (i64, i64) {
        let times = self.blocks.iter().map(|&block| self.segment.index.block_times(block));
        times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_else(|| self.segment.index.times())
    }

    fn rows(&self) -> u64 {
        self.segment.rows
    }

    fn to_read(&self) -> u64 {
        (self.blocks.len() as u64 * BLOCK as u64).min(self.segment.rows)
    }

    fn identity(&self) -> Option<u64> {
        self.is_in_time().then_some(self.segment.id)
    }

    fn names(&self) -> Option<Arc<Names>> {
        if self.is_whole() { self.segment.names.clone() } else { None }
    }

    fn values(&self, column: &SpanColumn) -> Option<RecordBatch> {
        if !self.is_whole() {
            return None;
        }
        let name = match column {
            SpanColumn::Fixed(name) => (*name).to_owned(),
            SpanColumn::Attribute(key) if self.segment.pure.contains(key) => format!("a:{key}"),
            SpanColumn::Attribute(_) | SpanColumn::Attributes => return None,
        };
        let texts = self.segment.values.get(&name)?;
        let column: DictionaryArray<Int32Type> = texts.iter().map(String::as_str).collect();
        RecordBatch::try_from_iter([(name, Arc::new(column) as ArrayRef)]).ok()
    }

    fn read(&self, control: &Control, visit: &mut Visit<'_>) -> Result<u64, QueryError> {
        guarded(&self.segment.path, || self.read_rows(control, visit))?
    }
}

impl SegmentPart {
    /// Whether all rows of the segment are in the scan.
    fn is_whole(&self) -> bool {
        self.scan.must.is_empty() && self.is_in_time()
    }

    /// Whether all rows of the segment are of the scan's time.
    fn is_in_time(&self) -> bool {
        let (first, last) = self.segment.index.times();
        self.scan.time.contains(first) && self.scan.time.contains(last)
    }

    fn read_rows(&self, control: &Control, visit: &mut Visit<'_>) -> Result<u64, QueryError> {
        let file = File::open(&self.segment.path).map_err(|error| failed(&self.segment, &error))?;
        let columns = self.columns();
        let columns = columns.as_deref();
        if self.scan.order != Order::NewestFirst {
            let (rows, _) = self.read_blocks(&file, columns, &self.blocks, &mut |batch| {
                control.check()?;
                visit(&batch)
            })?;
            return Ok(rows);
        }
        // The newest first: a few blocks at once from the end, more and more of them, each read turned round.
        let (mut rows, mut left) = (0, self.blocks.as_slice());
        let mut at_once = if left.len() <= FEW_BLOCKS { left.len() } else { 1 };
        while !left.is_empty() {
            control.check()?;
            let (rest, blocks) = left.split_at(left.len().saturating_sub(at_once));
            let mut batches = Vec::new();
            let (read, _) = self.read_blocks(&file, columns, blocks, &mut |batch| {
                batches.push(batch);
                Ok(Flow::Continue)
            })?;
            rows += read;
            if let Some(first) = batches.first() {
                let batch = concat_batches(&first.schema(), &batches)
                    .map_err(|error| failed(&self.segment, &error))?;
                let turned = u32::try_from(batch.num_rows())
                    .map(|rows| UInt32Array::from_iter_values((0..rows).rev()));
                let turned = turned.map_err(|error| failed(&self.segment, &error))?;
                let batch =
                    take_record_batch(&batch, &turned).map_err(|error| failed(&self.segment, &error))?;
                if visit(&batch)? == Flow::Stop {
                    break;
                }
            }
            (left, at_once) = (rest, (at_once * 2).min(MOST_BLOCKS));
        }
        Ok(rows)
    }
}

/// The traces to one of which every row belongs, if a scan asks for some.
fn traces(must: &[Must]) -> Option<Vec<&[u8; 16]>> {
    fn trace(must: &Must) -> Option<&[u8; 16]> {
        match must {
            Must::Trace(id) => Some(id),
            _ => None,
        }
    }
    must.iter().find_map(|must| match must {
        Must::AnyOf(any) => any.iter().map(trace).collect(),
        must => Some(vec![trace(must)?]),
    })
}

/// Does what reads a file. The reader of Parquet panics on some files that are damaged: that is an error of this file, and
/// no end of whatever reads it.
pub(super) fn guarded<T>(path: &Path, read: impl FnOnce() -> T) -> Result<T, QueryError> {
    std::panic::catch_unwind(AssertUnwindSafe(read)).map_err(|_| {
        QueryError::Failed(format!(
            "{}: the file is damaged; move it away to go on without it",
            path.display()
        ))
    })
}

fn failed(segment: &Segment, error: &dyn std::fmt::Display) -> QueryError {
    QueryError::Failed(format!("{}: {error}", segment.path.display()))
}

fn reader(
    file: &File,
    metadata: &ArrowReaderMetadata,
    columns: Option<&[usize]>,
    ranges: Option<Vec<(usize, usize)>>,
    batch: usize,
) -> Result<ParquetRecordBatchReader, ParquetError> {
    let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.try_clone()?, metadata.clone())
        .with_batch_size(batch);
    if let Some(columns) = columns {
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    if let Some(ranges) = ranges {
        let mut selectors = Vec::with_capacity(ranges.len() * 2);
        let mut at = 0;
        for (first, end) in ranges {
            if first > at {
                selectors.push(RowSelector::skip(first - at));
            }
            selectors.push(RowSelector::select(end - first));
            at = end;
        }
        builder = builder.with_row_selection(RowSelection::from(selectors));
    }
    builder.build()
}

/// The index of a segment that lost its own.
pub(super) fn index_of(
    file: &File,
    metadata: &ArrowReaderMetadata,
    table: Table,
) -> Result<Index, ParquetError> {
    let batches = reader(file, metadata, None, None, 16 * BLOCK)?.collect::<Result<Vec<_>, _>>()?;
    Ok(Index::build(&concat_batches(metadata.schema(), &batches)?, table.time_column()))
}

/// Calls with all rows, all columns of them.
pub(in crate::store) fn each_batch(
    segment: &Segment,
    mut f: impl FnMut(&RecordBatch) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    guarded(&segment.path, || read_batches(segment, &mut f))?
}

fn read_batches(
    segment: &Segment,
    f: &mut dyn FnMut(&RecordBatch) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    let file = File::open(&segment.path).map_err(|error| failed(segment, &error))?;
    let reader =
        reader(&file, &segment.metadata, None, None, 4 * BLOCK).map_err(|error| failed(segment, &error))?;
    for batch in reader {
        f(&batch.map_err(|error| failed(segment, &error))?)?;
    }
    Ok(())
}

/// Calls with what tells each span, or each request of other records, from others: of all, or of these blocks.
pub(in crate::store) fn identities(
    segment: &Segment,
    blocks: Option<&[u32]>,
    mut f: impl FnMut(u64),
) -> Result<(), QueryError> {
    if blocks.is_none() {
        segment.merged().into_iter().for_each(&mut f);
    }
    guarded(&segment.path, || read_identities(segment, blocks, &mut f))?
}

fn read_identities(
    segment: &Segment,
    blocks: Option<&[u32]>,
    f: &mut dyn FnMut(u64),
) -> Result<(), QueryError> {
    let told = |error: &dyn std::fmt::Display| failed(segment, error);
    let file = File::open(&segment.path).map_err(|error| told(&error))?;
    let schema = segment.metadata.schema();
    let names: &[&str] = match segment.table {
        Table::Spans => &["trace_id", "span_id", "kind", "start", "duration_ns"],
        Table::Logs | Table::Metrics => &["batch"],
    };
    let places = names.iter().map(|name| schema.index_of(name));
    let places = places.collect::<Result<Vec<usize>, _>>().map_err(|error| told(&error))?;
    let ranges = blocks.map(|blocks| blocks.iter().map(|&block| segment.rows_of(block)).collect());
    let reader =
        reader(&file, &segment.metadata, Some(&places), ranges, 4 * BLOCK).map_err(|error| told(&error))?;
    let mut last = None;
    for batch in reader {
        let batch = batch.map_err(|error| told(&error))?;
        let column =
            |name: &str| batch.column_by_name(name).ok_or_else(|| told(&format!("lacks the column {name}")));
        if segment.table != Table::Spans {
            for &batch in column("batch")?.as_primitive::<UInt64Type>().values() {
                if last != Some(batch) {
                    f(batch);
                    last = Some(batch);
                }
            }
            continue;
        }
        let (traces, spans) =
            (column("trace_id")?.as_fixed_size_binary(), column("span_id")?.as_fixed_size_binary());
        let kinds = column("kind")?.as_primitive::<Int8Type>();
        let starts = column("start")?.as_primitive::<TimestampNanosecondType>();
        let durations = column("duration_ns")?.as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            if let (Ok(trace), Ok(span)) = (traces.value(row).try_into(), spans.value(row).try_into()) {
                f(identity(trace, span, starts.value(row), durations.value(row), kinds.value(row)));
            }
        }
    }
    Ok(())
}

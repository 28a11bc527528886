//! Tables of the store for DataFusion: what is asked of them, and their rows as streams.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

use super::columns::{self, Column};
use super::filters::{self, Asked};
use crate::query::engine::{Control, Engine, Flow, Order, Part, QueryError, Scan, Table};

/// Batches that a partition reads ahead.
const AHEAD: usize = 2;

/// What all tables of a question share.
#[derive(Clone)]
pub(super) struct Reading {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) control: Arc<Control>,
    pub(super) scanned: Arc<AtomicU64>,
}

/// A table.
#[derive(Clone)]
pub(super) struct SqlTable {
    table: Table,
    columns: Vec<Column>,
    schema: SchemaRef,
    reading: Reading,
}

impl fmt::Debug for SqlTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlTable").field("table", &self.table).finish_non_exhaustive()
    }
}

impl SqlTable {
    pub(super) fn new(table: Table, reading: Reading) -> Self {
        let columns = columns::of(table);
        Self { table, schema: columns::schema(&columns), columns, reading }
    }

    /// The same with more columns after its own.
    pub(super) fn with(&self, more: impl Iterator<Item = Column>) -> Self {
        let mut columns = self.columns.clone();
        for column in more {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        Self { table: self.table, schema: columns::schema(&columns), columns, reading: self.reading.clone() }
    }

    /// Which rows these are.
    pub(super) const fn table(&self) -> Table {
        self.table
    }

    /// What reads them.
    pub(super) const fn reading(&self) -> &Reading {
        &self.reading
    }

    /// A column by its name.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Where a column is.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub(super) const fn asked(&self) -> Asked<'_> {
        Asked { table: self.table, columns: self.columns.as_slice() }
    }
}

#[async_trait]
impl TableProvider for SqlTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let asked = self.asked();
        let kind = |filter: &&Expr| match asked.tells(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(kind).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns: Arc<[Column]> = match projection {
            Some(places) => places.iter().filter_map(|&place| self.columns.get(place)).cloned().collect(),
            None => self.columns.iter().cloned().collect(),
        };
        let (time, must) = filters::asked(&self.asked(), filters);
        let scan = Scan {
            table: self.table,
            time,
            must,
            columns: columns::needed(self.table, &columns),
            order: Order::Any,
        };
        let schema = columns::schema(&columns);
        let made = Arc::clone(&schema);
        let convert: Convert = Arc::new(move || {
            let (columns, schema) = (Arc::clone(&columns), Arc::clone(&made));
            Box::new(move |batch| batch.map(|batch| columns::batch(&columns, &schema, batch)).transpose())
        });
        plan(&self.reading, &scan, state, &schema, limit, &convert)
    }
}

/// Makes what goes on of what was read, a batch at a time; called without one at the end.
pub(super) type Converter =
    Box<dyn FnMut(Option<&RecordBatch>) -> std::result::Result<Option<RecordBatch>, QueryError> + Send>;

/// A converter for each reader.
pub(super) type Convert = Arc<dyn Fn() -> Converter + Send + Sync>;

/// Reads a scan with as many readers as there are partitions.
pub(super) fn plan(
    reading: &Reading,
    scan: &Scan,
    state: &dyn Session,
    schema: &SchemaRef,
    limit: Option<usize>,
    convert: &Convert,
) -> Result<Arc<dyn ExecutionPlan>> {
    let parts = reading.engine.parts(scan).map_err(external)?;
    let partition = |parts| {
        let (convert, schema, reading) = (Arc::clone(convert), Arc::clone(schema), reading.clone());
        Arc::new(Partition { parts: Arc::new(parts), convert, schema, reading }) as Arc<dyn PartitionStream>
    };
    let partitions = shared_out(parts, state.config().target_partitions()).into_iter().map(partition);
    let plan =
        StreamingTableExec::try_new(Arc::clone(schema), partitions.collect(), None, None, false, limit)?;
    Ok(Arc::new(plan))
}

/// Parts to as many readers, about as many rows to each.
fn shared_out(mut parts: Vec<Box<dyn Part>>, readers: usize) -> Vec<Vec<Box<dyn Part>>> {
    parts.sort_by_key(|part| part.rows());
    let readers = readers.clamp(1, parts.len().max(1));
    let mut shares: Vec<(u64, Vec<Box<dyn Part>>)> = (0..readers).map(|_| (0, Vec::new())).collect();
    while let Some(part) = parts.pop() {
        if let Some((rows, share)) = shares.iter_mut().min_by_key(|(rows, _)| *rows) {
            *rows += part.rows();
            share.push(part);
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

/// What one reader reads.
struct Partition {
    parts: Arc<Vec<Box<dyn Part>>>,
    convert: Convert,
    schema: SchemaRef,
    reading: Reading,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), AHEAD);
        let (to, parts, reading) = (stream.tx(), Arc::clone(&self.parts), self.reading.clone());
        let convert = Arc::clone(&self.convert);
        stream.spawn_blocking(move || {
            let mut convert = convert();
            let mut wanted = true;
            for part in parts.iter() {
                let read = part.read(&reading.control, &mut |batch| {
                    reading.control.check()?;
                    if let Some(batch) = convert(Some(batch))? {
                        wanted = to.blocking_send(Ok(batch)).is_ok();
                    }
                    Ok(if wanted { Flow::Continue } else { Flow::Stop })
                });
                reading.scanned.fetch_add(read.map_err(external)?, Ordering::Relaxed);
                if !wanted {
                    return Ok(());
                }
            }
            if let Some(batch) = convert(None).map_err(external)? {
                to.blocking_send(Ok(batch)).ok();
            }
            Ok(())
        });
        stream.build()
    }
}

/// An error of ours on its way through DataFusion.
fn external(error: QueryError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

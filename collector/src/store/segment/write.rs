//! Writes a segment: sorted by start, the index first, so that a segment is there with its index or not at all.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::DataType;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::{BLOCK, Downsampled, Index, MERGED, NAMES, Name, PURE, STEP, Segment, VALUES};
use crate::query::Columns;
use crate::query::engine::Names;
use crate::store::disk;
use crate::store::spans::assemble::{Assembled, At, assemble};
use crate::store::spans::chunk::{Chunk, Record};
use crate::store::spans::names::names;

const ROW_GROUP: usize = 65_536;
/// Different texts of a column that the footer lists at most, and bytes of all of them.
const MOST_VALUES: usize = 256;
const MOST_BYTES: usize = 64 << 10;

/// Writes the rows of chunks, as the segment of this name. It is durable when this returns.
pub(in crate::store) fn write<R: Record>(
    dir: &Path,
    name: Name,
    chunks: &[&Chunk<R>],
) -> io::Result<Segment> {
    write_as(dir, name, chunks, &Downsampled::default())
}

/// The same of points that were downsampled.
pub(in crate::store) fn write_as<R: Record>(
    dir: &Path,
    name: Name,
    chunks: &[&Chunk<R>],
    downsampled: &Downsampled,
) -> io::Result<Segment> {
    let mut order: Vec<(i64, At)> = Vec::with_capacity(chunks.iter().map(|chunk| chunk.rows.len()).sum());
    for (place, chunk) in (0_u32..).zip(chunks) {
        order.extend(
            (0_u32..).zip(&chunk.rows).map(|(row, record)| (record.time(), At { chunk: place, row })),
        );
    }
    order.sort_unstable_by_key(|(time, at)| (*time, at.chunk, at.row));
    let rows: Vec<At> = order.into_iter().map(|(_, at)| at).collect();
    let assembled = assemble(chunks, &rows, &Columns::All).map_err(io::Error::other)?;
    drop(rows);
    let footer = footer(&assembled, names(chunks).as_ref(), downsampled);

    let target = name.path(dir);
    let beside = target.with_extension("idx");
    let unfinished = disk::temporary(&target);
    // The index and the rows are made of the same columns, so neither waits for the other.
    let (index, rows) = std::thread::scope(|scope| {
        let index = scope.spawn(|| {
            let index = Index::build(&assembled.batch, R::TABLE.time_column());
            disk::write_atomically(&beside, &index.to_bytes())
        });
        let rows = write_parquet(&unfinished, &assembled.batch, footer);
        (index.join().unwrap_or_else(|_| Err(io::Error::other("the index cannot be made"))), rows)
    });
    match index.and(rows).and_then(|()| disk::publish(&unfinished, &target)) {
        Ok(()) => Segment::open(R::TABLE, target),
        Err(error) => {
            // What is left of it would only take room on a disk that may be full.
            let _ = std::fs::remove_file(&unfinished);
            let _ = std::fs::remove_file(&beside);
            Err(error)
        }
    }
}

/// The different texts of columns that have few, as JSON.
fn values(batch: &RecordBatch) -> String {
    let (mut all, mut room) = (BTreeMap::new(), MOST_BYTES);
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() else { continue };
        let Some(texts) = dictionary.values().as_string_opt::<i32>() else { continue };
        let bytes = texts.values().len() + 4 * texts.len();
        if texts.len() <= MOST_VALUES && bytes <= room {
            room -= bytes;
            all.insert(field.name().clone(), texts.iter().flatten().map(str::to_owned).collect::<Vec<_>>());
        }
    }
    serde_json::to_string(&all).unwrap_or_default()
}

/// What readers of Parquet are not told by the columns.
fn footer(assembled: &Assembled, names: Option<&Names>, downsampled: &Downsampled) -> Vec<KeyValue> {
    let mut entries = vec![(PURE, serde_json::to_string(&assembled.pure).unwrap_or_default())];
    entries.push((VALUES, values(&assembled.batch)));
    entries.extend(names.map(|names| (NAMES, serde_json::to_string(names).unwrap_or_default())));
    entries.extend(downsampled.step.map(|step| (STEP, step.to_string())));
    if !downsampled.merged.is_empty() {
        let bytes: Vec<u8> = downsampled.merged.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        entries.push((MERGED, STANDARD.encode(bytes)));
    }
    entries.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
}

fn write_parquet(path: &Path, batch: &RecordBatch, footer: Vec<KeyValue>) -> io::Result<()> {
    let told = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = open.map_err(|error| disk::named(path, &error))?;
    let properties = properties(batch, footer);
    let mut writer = ArrowWriter::try_new(&file, batch.schema(), Some(properties)).map_err(|e| told(&e))?;
    writer.write(batch).map_err(|error| io_error(error, path))?;
    writer.close().map_err(|error| io_error(error, path))?;
    file.sync_all().map_err(|error| disk::named(path, &error))
}

/// An error of the disk stays one, so that a full one is known.
fn io_error(error: parquet::errors::ParquetError, path: &Path) -> io::Error {
    match error {
        parquet::errors::ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => disk::named(path, &error),
            Err(inner) => io::Error::other(format!("{}: {inner}", path.display())),
        },
        error => io::Error::other(format!("{}: {error}", path.display())),
    }
}

fn properties(batch: &RecordBatch, footer: Vec<KeyValue>) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("agentvitals ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_data_page_row_count_limit(BLOCK)
        .set_write_batch_size(BLOCK)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(footer));
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let path = || ColumnPath::from(vec![field.name().clone()]);
        match field.name().as_str() {
            "start" | "time" => {
                properties = properties
                    .set_column_statistics_enabled(path(), EnabledStatistics::Page)
                    .set_column_dictionary_enabled(path(), false)
                    .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
            }
            "duration_ns" | "parent_offset" => {
                properties = properties
                    .set_column_dictionary_enabled(path(), false)
                    .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
            }
            "span_id" | "attributes" | "events" | "links" | "body" | "buckets" | "exemplars" => {
                properties = properties
                    .set_column_dictionary_enabled(path(), false)
                    .set_column_statistics_enabled(path(), EnabledStatistics::None);
            }
            // Ids repeat within a trace, that is within a page; a dictionary of a whole row group is large and read whole.
            _ if matches!(column.data_type(), DataType::Utf8 | DataType::Float64) => {
                properties = properties.set_column_dictionary_enabled(path(), false);
            }
            _ => {}
        }
    }
    properties.build()
}

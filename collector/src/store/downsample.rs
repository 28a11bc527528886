//! Old metrics with fewer points, which give the same answers at a time step and at multiples of it.
//!
//! Which points go is for [`thin`] to say; here segments become others by it. As in compaction, only segments whose
//! generations the log has no more are replaced, what replaces them is written whole before, and they go when nobody
//! reads them.

use std::io;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets as Side;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogramDataPoint, HistogramDataPoint};

use super::ingest::Shared;
use super::open;
use super::points::decode::{explicit, exponential};
use super::points::{Number, PointRow};
use super::segment::{self, Downsampled, Name, Segment};
use super::spans::chunk::{Chunk, NONE};
use super::spans::disassemble::disassemble;
use crate::clock;
use crate::query::engine::Flow;
use crate::query::exec::metrics::{point_columns, points};
use crate::query::metrics::{Buckets, Counting, Exponential, Fate, Point, Reading, Shape, thin};
use crate::query::{Columns, Control, Order, QueryError, Scan, Table, TimeRange};

/// Times further apart than this, and than a step, are looked for in other segments on their own: between them may lie
/// years, when the clock of a sender is wrong.
const APART: i64 = 3_600 * 1_000_000_000;
/// Ranges of time that are looked for on their own, at most.
const MOST_RANGES: usize = 64;

impl Shared {
    /// Downsamples what is old enough and was not yet, neighbours together as far as they are small.
    pub(super) fn downsample(&self) -> io::Result<()> {
        let Some(after) = self.options.downsample_metrics_after else { return Ok(()) };
        let nanos = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let step = nanos(self.options.downsample_metrics_step).max(1);
        let newest = clock::unix_nanos().saturating_sub(nanos(after));
        let (mut group, mut rows): (Vec<Arc<Segment>>, u64) = (Vec::new(), 0);
        for segment in self.settled(Table::Metrics)? {
            let due = segment.step().is_none() && segment.newest() < newest;
            if !due || rows + segment.rows > self.options.segment_rows as u64 {
                self.downsample_group(&group, step)?;
                (group, rows) = (Vec::new(), 0);
            }
            if due {
                rows += segment.rows;
                group.push(segment);
            }
        }
        self.downsample_group(&group, step)
    }

    fn downsample_group(&self, group: &[Arc<Segment>], step: i64) -> io::Result<()> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
        if self.state.lock().closing {
            return Ok(());
        }
        let (mut chunk, mut all) = (Chunk::<PointRow>::default(), Vec::new());
        for segment in group {
            segment::each_batch(segment, |batch| {
                all.extend(points(batch)?);
                let room = disassemble(batch, |_| true, &mut chunk);
                room.then_some(()).ok_or_else(full)
            })
            .map_err(io::Error::other)?;
        }
        let others = self.times_of_others(group, &all, step).map_err(io::Error::other)?;
        let before = chunk.rows.len();
        let merged = apply(&mut chunk, &thin(&all, step, &others)).map_err(io::Error::other)?;
        let gone = (before - chunk.rows.len()) as u64;
        // Of several segments one is made whose name no other has; one alone is written anew.
        let revision = if group.len() == 1 { first.name.revision + 1 } else { 0 };
        let name = Name { generations: (first.name.generations.0, last.name.generations.1), revision };
        let dir = open::segments_dir(&self.dir, Table::Metrics);
        let downsampled = Downsampled { step: Some(step), merged };
        let written = segment::write_as(&dir, name, &[&chunk], &downsampled)?;
        if self.state.lock().replace(Table::Metrics, group, Some(written)) {
            self.maintained.add_downsampled(group.len(), gone);
        }
        Ok(())
    }

    /// By series, the times of points that other segments and memory have where this group has some too. Senders whose
    /// points come in order have none but at the ends of a group.
    fn times_of_others(
        &self,
        group: &[Arc<Segment>],
        all: &[Option<Point>],
        step: i64,
    ) -> Result<HashMap<u64, Vec<i64>>, QueryError> {
        let cumulative = || all.iter().flatten().filter(|point| point.counting() == Counting::Cumulative);
        let series: HashSet<u64> = cumulative().map(|point| point.series).collect();
        let mut others: HashMap<u64, Vec<i64>> = HashMap::new();
        let control = Control::new(None, usize::MAX);
        for time in ranges(cumulative().map(|point| point.time).collect(), step) {
            let columns = Columns::Some(point_columns());
            let scan = Scan { table: Table::Metrics, time, must: Vec::new(), columns, order: Order::Any };
            for part in self.parts_of::<PointRow>(&scan, group) {
                part.read(&control, &mut |batch| {
                    for point in points(batch)?.into_iter().flatten() {
                        if series.contains(&point.series) && time.contains(point.time) {
                            others.entry(point.series).or_default().push(point.time);
                        }
                    }
                    Ok(Flow::Continue)
                })?;
            }
        }
        others.values_mut().for_each(|times| times.sort_unstable());
        Ok(others)
    }
}

fn full() -> QueryError {
    QueryError::Failed("segments hold more text than fits".to_owned())
}

/// The ranges that these times lie in.
fn ranges(mut times: Vec<i64>, step: i64) -> Vec<TimeRange> {
    times.sort_unstable();
    let runs = times.chunk_by(|a, b| b.saturating_sub(*a) <= step.max(APART));
    let runs: Vec<TimeRange> = runs
        .filter_map(|run| Some(TimeRange { from: *run.first()?, to: run.last()?.saturating_add(1) }))
        .collect();
    match (runs.first(), runs.last()) {
        (Some(first), Some(last)) if runs.len() > MOST_RANGES => {
            vec![TimeRange { from: first.from, to: last.to }]
        }
        _ => runs,
    }
}

/// Does to the rows what was decided. Returns the requests that no row is left of, though others have what they counted.
fn apply(chunk: &mut Chunk<PointRow>, fates: &[Fate]) -> Result<Vec<u64>, QueryError> {
    let mut added: HashMap<usize, Vec<PointRow>> = HashMap::new();
    for (row, fate) in chunk.rows.iter().zip(fates) {
        if let Fate::Added(place) = fate {
            added.entry(*place).or_default().push(*row);
        }
    }
    let mut rows = Vec::with_capacity(chunk.rows.len());
    for (place, fate) in fates.iter().enumerate() {
        let row = chunk.rows[place];
        match fate {
            Fate::Stays => rows.push(row),
            Fate::Sum(sum) => {
                let others = added.get(&place).map_or(&[][..], Vec::as_slice);
                rows.push(summed(chunk, row, others, sum)?);
            }
            Fate::Goes | Fate::Added(_) => {}
        }
    }
    let left: HashSet<u64> = rows.iter().map(|row| row.batch).collect();
    let gone = added.values().flatten().map(|row| row.batch).filter(|batch| !left.contains(batch));
    let mut gone: Vec<u64> = gone.collect();
    gone.sort_unstable();
    gone.dedup();
    chunk.rows = rows;
    Ok(gone)
}

/// A row with what it and others counted.
fn summed(
    chunk: &mut Chunk<PointRow>,
    mut row: PointRow,
    others: &[PointRow],
    sum: &Reading,
) -> Result<PointRow, QueryError> {
    // It counts from where the first of them did.
    let starts = others.iter().chain([&row]).map(|row| row.start_time);
    row.start_time = starts.min().unwrap_or(row.start_time);
    match sum {
        Reading::Number(sum) => {
            let integer = |row: &PointRow| match row.number {
                Number::Int(value) => Some(value),
                _ => None,
            };
            let others = others.iter().map(integer);
            let integers =
                others.chain([integer(&row)]).try_fold(0_i64, |sum, value| sum.checked_add(value?));
            row.number = integers.map_or(Number::Double(*sum), Number::Int);
        }
        Reading::Values(sum) => {
            (row.count, row.sum) = (Some(sum.count), sum.sum);
            (row.min, row.max) = (sum.min, sum.max);
            let mut text = String::new();
            shape(&sum.shape, &mut text).map_err(QueryError::Failed)?;
            if !text.is_empty() {
                row.buckets = chunk.pool.push(&text).filter(|text| *text != NONE).ok_or_else(full)?;
            }
        }
    }
    Ok(row)
}

/// The text of buckets, as it is written of points that come in.
fn shape(shape: &Shape, text: &mut String) -> Result<(), String> {
    match shape {
        Shape::Unknown => {}
        Shape::Explicit { bounds, counts } => {
            let point = HistogramDataPoint {
                explicit_bounds: bounds.clone(),
                bucket_counts: counts.clone(),
                ..HistogramDataPoint::default()
            };
            explicit(&point, text)?;
        }
        Shape::Exponential(histogram) => exponential(&exponential_point(histogram), text),
    }
    Ok(())
}

fn exponential_point(histogram: &Exponential) -> ExponentialHistogramDataPoint {
    let side = |buckets: &Buckets| {
        let (offset, counts) = buckets.parts();
        Some(Side { offset: i32::try_from(offset).unwrap_or_default(), bucket_counts: counts.collect() })
    };
    let ((zero_count, zero_threshold), [positive, negative]) = (histogram.zero(), histogram.sides());
    ExponentialHistogramDataPoint {
        scale: histogram.scale(),
        zero_count,
        zero_threshold,
        positive: side(positive),
        negative: side(negative),
        ..ExponentialHistogramDataPoint::default()
    }
}

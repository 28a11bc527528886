//! The newest points of some metrics, and of which series they are.

use arrow_array::RecordBatch;
use hashbrown::HashMap;
use serde_json::{Map, Value as Json};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::super::metrics::{PointColumns, point_columns};
use super::super::render::Rows;
use super::super::{Plan, Queries, parallel};
use crate::query::engine::{Columns, Control, Must, Order, QueryError, Scan, SpanColumn, Table, TimeRange};
use crate::query::metrics::{Counting, Reading};
use crate::query::system::SystemRequest;

const MINUTE: i64 = 60 * 1_000_000_000;
/// A series whose newest point is so much older than that of its metric has ended.
const ENDED: i64 = 5 * MINUTE;
/// How far back is looked first; each look goes so many times as far as the one before.
const FIRST: i64 = 10 * MINUTE;
const FURTHER: i64 = 8;
/// Bytes of a series while the answer is made.
const SERIES_BYTES: usize = 400;

/// The newest point of a series.
#[derive(Debug, Clone)]
pub(super) struct Newest {
    pub(super) time: i64,
    pub(super) value: f64,
    pub(super) attributes: Map<String, Json>,
    /// Tells the resource that it is of from others.
    pub(super) resource: u64,
    counting: Counting,
}

/// Series by what tells them apart.
type Series = HashMap<u64, Newest>;

/// What tells a series from others of its metric. Since when it counts does not: what a process told before it started
/// again is over.
fn series(resource: &str, scope: &str, attributes: &Map<String, Json>) -> u64 {
    let mut hash = Xxh3::new();
    for text in [resource, scope] {
        hash.update(text.as_bytes());
        hash.update(&[0xff]);
    }
    for (key, value) in attributes {
        hash.update(key.as_bytes());
        hash.update(&[0xff]);
        hash.update(value.to_string().as_bytes());
        hash.update(&[0xff]);
    }
    hash.digest()
}

/// Reads metrics by their names.
struct Reader<'a> {
    queries: &'a Queries,
    request: &'a SystemRequest,
    control: &'a Control,
}

/// The series of each metric that had not ended when the newest point of the metric came. Deltas of a series are added
/// up, so that its value is what it counted since it started.
pub(super) fn newest<'n>(
    queries: &Queries,
    request: &SystemRequest,
    names: &[&'n str],
    control: &Control,
) -> Result<HashMap<&'n str, Vec<Newest>>, QueryError> {
    let range = Plan::of(Table::Metrics, "", request.start, request.end)?.time;
    let reader = Reader { queries, request, control };
    let mut found: HashMap<&'n str, Series> = HashMap::new();
    let mut missing = names.to_vec();
    let parts = queries.engine.parts(&reader.scan(&missing, range))?;
    let oldest = parts.iter().map(|part| part.times().0).min();
    let newest = parts.iter().map(|part| part.times().1).max();
    drop(parts);
    let (Some(oldest), Some(newest)) = (oldest, newest) else { return Ok(HashMap::new()) };
    let (mut to, mut length) = (newest.saturating_add(1).min(range.to), FIRST);
    while to > oldest.max(range.from) && !missing.is_empty() {
        let from = to.saturating_sub(length).max(oldest).max(range.from);
        // What ended before the newest point is told apart from what goes on by looking further than for that point.
        let look = TimeRange { from: from.saturating_sub(ENDED).max(range.from), to };
        for (name, mut series) in reader.read(&missing, look, Reader::latest)? {
            let newest = series.values().map(|point| point.time).max().unwrap_or(i64::MIN);
            if newest >= from {
                series.retain(|_, point| point.time >= newest.saturating_sub(ENDED));
                found.insert(name, series);
            }
        }
        missing.retain(|name| !found.contains_key(name));
        (to, length) = (from, length.saturating_mul(FURTHER));
    }
    reader.add_up(&mut found, range)?;
    Ok(found.into_iter().map(|(name, series)| (name, series.into_values().collect())).collect())
}

impl Reader<'_> {
    fn scan(&self, names: &[&str], time: TimeRange) -> Scan {
        let mut must = vec![Must::AnyOf(names.iter().map(|name| Must::Name((*name).to_owned())).collect())];
        must.extend(self.request.service.clone().map(Must::Service));
        let mut columns = point_columns();
        columns.push(SpanColumn::Fixed("service"));
        Scan { table: Table::Metrics, time, must, columns: Columns::Some(columns), order: Order::Any }
    }

    /// The series of metrics in a time, their points put together by `join`.
    fn read<'n>(
        &self,
        names: &[&'n str],
        time: TimeRange,
        join: fn(&mut Newest, &Newest),
    ) -> Result<HashMap<&'n str, Series>, QueryError> {
        type Found<'n> = HashMap<&'n str, Series>;
        let parts = self.queries.engine.parts(&self.scan(names, time))?;
        let (all, _) = parallel::fold(&parts, self.control, |found: &mut Found<'n>, batch| {
            self.read_batch(names, batch, &mut |name, series, point| {
                Self::put(found.entry(name).or_default(), series, point, join);
            })
        })?;
        let mut merged = Found::new();
        for (name, series) in all.into_iter().flatten() {
            let known = merged.entry(name).or_default();
            series.into_iter().for_each(|(series, point)| Self::put(known, series, point, join));
        }
        Ok(merged)
    }

    fn put(known: &mut Series, series: u64, point: Newest, join: fn(&mut Newest, &Newest)) {
        match known.get_mut(&series) {
            Some(known) => join(known, &point),
            None => {
                known.insert(series, point);
            }
        }
    }

    fn latest(known: &mut Newest, point: &Newest) {
        if known.time <= point.time {
            // Of one series all else is the same.
            (known.time, known.value) = (point.time, point.value);
        }
    }

    fn sum(known: &mut Newest, point: &Newest) {
        known.value += point.value;
    }

    fn read_batch<'n>(
        &self,
        names: &[&'n str],
        batch: &RecordBatch,
        each: &mut dyn FnMut(&'n str, u64, Newest),
    ) -> Result<(), QueryError> {
        let rows = Rows::new(batch);
        let columns = PointColumns::of(&rows)?;
        for row in 0..batch.num_rows() {
            let Some(name) = names.iter().find(|name| **name == rows.text("name", row)) else { continue };
            let of_service = |service: &String| service == rows.text("service", row);
            if !self.request.service.as_ref().is_none_or(of_service) {
                continue;
            }
            let Some(point) = columns.point(&rows, row) else { continue };
            let Reading::Number(value) = point.reading else { continue };
            self.control.take_memory(SERIES_BYTES)?;
            let (resource, attributes) = (rows.text("resource", row), rows.attributes(row));
            let newest = Newest {
                time: point.time,
                value,
                resource: xxh3_64(resource.as_bytes()),
                counting: point.counting(),
                attributes,
            };
            each(name, series(resource, rows.text("scope", row), &newest.attributes), newest);
            self.control.give_memory(SERIES_BYTES);
        }
        Ok(())
    }

    /// Gives series of deltas the sum of all of them.
    fn add_up(&self, found: &mut HashMap<&str, Series>, time: TimeRange) -> Result<(), QueryError> {
        let delta = |series: &Series| series.values().any(|point| point.counting == Counting::Delta);
        let names: Vec<&str> =
            found.iter().filter(|(_, series)| delta(series)).map(|(name, _)| *name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let sums = self.read(&names, time, Self::sum)?;
        for (name, series) in found {
            for (id, point) in series.iter_mut().filter(|(_, point)| point.counting == Counting::Delta) {
                let sum = sums.get(name).and_then(|sums| sums.get(id));
                point.value = sum.map_or(point.value, |sum| sum.value);
            }
        }
        Ok(())
    }
}

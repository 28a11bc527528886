//! The points before a time range that its first ones are compared with.

use hashbrown::HashMap;

use super::super::{Queries, parallel};
use super::read::Newest;
use crate::query::engine::{Control, QueryError, Scan, TimeRange};
use crate::query::metrics::{Counting, Point};

/// How far back is looked first, in nanoseconds: a few intervals of what sends often.
const FIRST: i64 = 5 * 60 * 1_000_000_000;
/// Each look goes so many times as far as the one before.
const FURTHER: i64 = 8;

/// For each cumulative series of the points of a scan the last point before its time, and how many points were looked
/// at. What is older than that is not read, nor is what is older than the start of a series: it has no points there.
pub(super) fn points(
    queries: &Queries,
    scan: &Scan,
    name: &str,
    inside: &[Point],
    control: &Control,
) -> Result<(Vec<Point>, u64), QueryError> {
    let from = scan.time.from;
    let (mut found, mut scanned) = (Vec::new(), 0);
    let cumulative = inside.iter().filter(|point| point.counting() == Counting::Cumulative);
    let began = |point: &Point| (point.series, point.start.unwrap_or(i64::MIN));
    let mut wanted: HashMap<u64, i64> = cumulative.map(began).filter(|(_, start)| *start < from).collect();
    if wanted.is_empty() {
        return Ok((found, scanned));
    }
    let parts = |time: TimeRange| queries.engine.parts(&Scan { time, ..scan.clone() });
    let all = parts(TimeRange { from: i64::MIN, to: from })?;
    let Some(oldest) = all.iter().map(|part| part.times().0).min() else { return Ok((found, scanned)) };
    drop(all);
    let (mut to, mut length) = (from, FIRST);
    while to > oldest && !wanted.is_empty() {
        let first = wanted.values().copied().min().unwrap_or(oldest).max(oldest);
        let time = TimeRange { from: to.saturating_sub(length).max(first), to };
        let newest = Newest { name, wanted: &wanted };
        let (all, read) =
            parallel::fold(&parts(time)?, control, |points: &mut HashMap<u64, Point>, batch| {
                newest.read(batch, points)
            })?;
        scanned += read;
        let mut latest: HashMap<u64, Point> = HashMap::new();
        for (series, point) in all.into_iter().flatten() {
            if latest.get(&series).is_none_or(|known| known.time < point.time) {
                latest.insert(series, point);
            }
        }
        wanted.retain(|series, start| *start < time.from && !latest.contains_key(series));
        found.extend(latest.into_values());
        (to, length) = (time.from, length.saturating_mul(FURTHER));
    }
    Ok((found, scanned))
}

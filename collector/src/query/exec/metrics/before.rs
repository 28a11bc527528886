//! The points before a time range that its first ones are compared with.

use hashbrown::HashMap;

use super::super::{Queries, parallel};
use super::read::{Collected, Newest};
use crate::query::engine::{Control, QueryError, Scan, TimeRange};
use crate::query::metrics::Point;

/// How far back is looked first, in nanoseconds: a few intervals of what sends often.
const FIRST: i64 = 5 * 60 * 1_000_000_000;
/// Each look goes so many times as far as the one before.
const FURTHER: i64 = 8;

/// So many series are looked for by their attributes, which the index knows, once most have been found: a series may be
/// new, though its process is not, and then there is nothing to find.
const FEW: usize = 16;

/// For each cumulative series of what was read the last point before the time of a scan, and how many points were looked
/// at. What is older than that is not read, nor is what is older than the start of a series: it has no points there.
pub(super) fn points(
    queries: &Queries,
    scan: &Scan,
    name: &str,
    inside: &Collected,
    control: &Control,
) -> Result<(Vec<Point>, u64), QueryError> {
    let from = scan.time.from;
    let (mut found, mut scanned) = (Vec::new(), 0);
    let begun = inside.points.iter().filter(|point| inside.begun.contains_key(&point.series));
    let mut wanted: HashMap<u64, i64> =
        begun.map(|point| (point.series, point.start.unwrap_or(i64::MIN))).collect();
    if wanted.is_empty() {
        return Ok((found, scanned));
    }
    let earlier = Scan { time: TimeRange { from: i64::MIN, to: from }, ..scan.clone() };
    let oldest = queries.engine.parts(&earlier)?.iter().map(|part| part.times().0).min();
    let Some(oldest) = oldest else { return Ok((found, scanned)) };
    let (mut to, mut length) = (from, FIRST);
    while to > oldest && !wanted.is_empty() {
        let first = wanted.values().copied().min().unwrap_or(oldest).max(oldest);
        let time = TimeRange { from: to.saturating_sub(length).max(first), to };
        let look = Scan { time, ..scan.clone() };
        let mut parts = Vec::new();
        if to == from || wanted.len() > FEW {
            parts = queries.engine.parts(&look)?;
        } else {
            for series in wanted.keys() {
                let mut look = look.clone();
                look.must.extend(inside.begun.get(series).into_iter().flatten().cloned());
                parts.extend(queries.engine.parts(&look)?);
            }
        }
        let newest = Newest { name, wanted: &wanted };
        let (all, read) = parallel::fold(&parts, control, |points: &mut HashMap<u64, Point>, batch| {
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

//! Metrics by group and step, and which there are.

mod before;
mod figures;
mod read;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use hashbrown::HashMap;

use self::figures::Figures;
pub(super) use self::read::PointColumns;
use self::read::{Collected, Reader};
pub(crate) use self::read::{point_columns, points};
use super::render::Rows;
use super::{Plan, Queries, check, parallel};
use crate::query::engine::{Columns, Control, Must, Order, QueryError, Scan, SpanColumn, Table, TimeRange};
use crate::query::metrics::{Kind, Point, Reading, increases};
use crate::query::signals::{
    MetricAnswer, MetricGroup, MetricName, MetricNamesAnswer, MetricNamesRequest, MetricRequest,
};

/// What points are put together by: the number of the group, the step, the kind, and what shapes must have in common.
type Key = (usize, Option<i64>, Kind, String);

pub(super) fn names(
    queries: &Queries,
    request: &MetricNamesRequest,
    control: &Control,
) -> Result<MetricNamesAnswer, QueryError> {
    let plan = Plan::of(Table::Metrics, "", request.start, request.end)?;
    let columns = ["name", "unit", "type", "description", "time"].map(SpanColumn::Fixed).to_vec();
    let parts = queries.engine.parts(&plan.scan(Columns::Some(columns), Order::Any))?;
    type Found = BTreeMap<(String, String, String), MetricName>;
    let (all, scanned) = parallel::fold(&parts, control, |found: &mut Found, batch| {
        let rows = Rows::new(batch);
        let times = rows.column("time")?.as_primitive::<TimestampNanosecondType>();
        for row in 0..batch.num_rows() {
            let [name, kind, unit] = ["name", "type", "unit"].map(|column| rows.text(column, row).to_owned());
            let metric = found.entry((name.clone(), kind.clone(), unit.clone())).or_insert_with(|| {
                let description = rows.text("description", row).to_owned();
                MetricName { name, kind, unit, description, points: 0, last_unix_nano: i64::MIN }
            });
            metric.points += 1;
            metric.last_unix_nano = metric.last_unix_nano.max(times.value(row));
        }
        Ok(())
    })?;
    let mut merged = Found::new();
    for (key, metric) in all.into_iter().flatten() {
        match merged.get_mut(&key) {
            Some(known) => {
                known.points += metric.points;
                known.last_unix_nano = known.last_unix_nano.max(metric.last_unix_nano);
            }
            None => {
                merged.insert(key, metric);
            }
        }
    }
    Ok(MetricNamesAnswer { metrics: merged.into_values().collect(), complete: true, scanned })
}

pub(super) fn answer(
    queries: &Queries,
    request: &MetricRequest,
    control: &Control,
) -> Result<MetricAnswer, QueryError> {
    let limit = super::bounds(request.limit, request.step)?;
    if request.name.is_empty() {
        return Err(QueryError::invalid("name is missing: which metric is asked for?"));
    }
    let by = super::grouped_by(&request.by)?;
    by.iter().try_for_each(|field| check(Table::Metrics, field))?;
    let plan = Plan::of(Table::Metrics, &request.q, request.start, request.end)?;
    let mut must = plan.must.clone();
    must.push(Must::Name(request.name.clone()));
    let columns = Columns::Some(point_columns());
    let scan = Scan { table: Table::Metrics, time: plan.time, must, columns, order: Order::Any };
    let parts = queries.engine.parts(&scan)?;
    let reader = Reader { plan: &plan, name: &request.name, by: &by, control };
    let (all, mut scanned) =
        parallel::fold(&parts, control, |collected: &mut Collected, batch| reader.read(batch, collected))?;
    let mut collected = Collected::default();
    all.into_iter().for_each(|part| collected.merge(part));
    control.check()?;
    let (earlier, read) = before::points(queries, &scan, &request.name, &collected, control)?;
    scanned += read;
    collected.points.extend(earlier);
    let groups = grouped(collected.points, plan.time, request.step);
    Ok(finish(request, groups, &collected.groups, limit, scanned))
}

/// What points come to in a time range, by what they are put together by.
fn grouped(points: Vec<Point>, time: TimeRange, step: Option<i64>) -> HashMap<Key, Figures> {
    let mut groups: HashMap<Key, Figures> = HashMap::new();
    for increase in increases(points).into_iter().filter(|increase| time.contains(increase.time)) {
        let step = step.map(|step| increase.time.div_euclid(step) * step);
        let shape = match &increase.reading {
            Reading::Number(_) => String::new(),
            Reading::Values(values) => values.shape.key(),
        };
        groups.entry((increase.group, step, increase.kind, shape)).or_default().add(increase);
    }
    groups
}

fn finish(
    request: &MetricRequest,
    groups: HashMap<Key, Figures>,
    keys: &[(String, String)],
    limit: usize,
    scanned: u64,
) -> MetricAnswer {
    let seconds = request
        .step
        .or_else(|| request.end.zip(request.start).map(|(end, start)| end.saturating_sub(start)))
        .filter(|&length| length > 0)
        .map(|length| length as f64 / 1e9);
    // Groups by what they are grouped by, so that a limit keeps or leaves out all steps of one.
    let mut totals: HashMap<usize, u64> = HashMap::new();
    for ((group, ..), figures) in &groups {
        *totals.entry(*group).or_default() += figures.points;
    }
    let mut order: Vec<(usize, u64)> = totals.into_iter().collect();
    order.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| keys[a.0].cmp(&keys[b.0])));
    let ranks: HashMap<usize, usize> =
        order.iter().take(limit).enumerate().map(|(rank, (group, _))| (*group, rank)).collect();
    let mut out: Vec<(Key, MetricGroup)> = groups
        .into_iter()
        .filter_map(|((group, step, kind, shape), figures)| {
            let rank = *ranks.get(&group)?;
            let (by, unit) = &keys[group];
            let begun = MetricGroup {
                by: serde_json::from_str(by).unwrap_or_default(),
                step,
                kind: kind.name().to_owned(),
                unit: unit.clone(),
                ..MetricGroup::default()
            };
            Some(((rank, step, kind, shape), figures.group(kind, begun, seconds)))
        })
        .collect();
    out.sort_by(|a, b| a.0.cmp(&b.0));
    MetricAnswer {
        name: request.name.clone(),
        groups: out.into_iter().map(|(_, group)| group).collect(),
        left_out: order.len().saturating_sub(limit) as u64,
        complete: true,
        scanned,
    }
}

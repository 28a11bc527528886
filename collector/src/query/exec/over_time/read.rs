//! Spans into groups: of a single filter straight from the columns, of whole traces trace by trace.

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array as _, RecordBatch};

use super::series::{Grid, Groups, measured};
use crate::query::engine::{Columns, Control, Order, QueryError, SpanColumn, Table};
use crate::query::exec::coded::Coded;
use crate::query::exec::filter::Condition;
use crate::query::exec::render::Rows;
use crate::query::exec::stats::Combined;
use crate::query::exec::{Plan, Queries, bind, parallel, traces};
use crate::query::traceql::{Datum, Field, Filter, Function, Pipeline};

pub(super) fn read(
    queries: &Queries,
    grid: Grid,
    spans: &Pipeline,
    function: &Function,
    by: &[Field],
    control: &Control,
) -> Result<(Groups, u64), QueryError> {
    let fields: Vec<Field> = by.iter().chain(measured(function)).cloned().collect();
    let single = spans.single().filter(|filter| {
        let mut all = filter.fields().into_iter().chain(fields.iter().cloned());
        all.all(|field| field.is_of_one_span())
    });
    match single {
        Some(filter) => columns(queries, grid, &filter, function, by, &fields, control),
        None => {
            let mut groups = Groups::default();
            // Most have what the one before has.
            let mut last: Option<(Vec<Datum<'static>>, usize)> = None;
            let scanned = traces::each(queries, spans, &fields, grid.range(), control, |left, values| {
                let (by, value) = values.split_at(by.len());
                let place = match &last {
                    Some((known, place)) if known == by => *place,
                    _ => groups.place(by.to_vec(), grid, control)?,
                };
                if last.as_ref().is_none_or(|(_, known)| *known != place) {
                    last = Some((by.to_vec(), place));
                }
                let value = value.first().unwrap_or(&Datum::Nil);
                if groups.add(place, grid.interval(left.start), function, value) && grid.exemplars > 0 {
                    groups.seen(place, (left.start, left.trace), function, value, grid);
                }
                Ok(())
            })?;
            Ok((groups, scanned))
        }
    }
}

fn columns(
    queries: &Queries,
    grid: Grid,
    filter: &Filter,
    function: &Function,
    by: &[Field],
    fields: &[Field],
    control: &Control,
) -> Result<(Groups, u64), QueryError> {
    let condition = Condition::new(filter)?;
    let mut columns = bind::columns(condition.fields())?;
    columns.extend(bind::columns(fields)?);
    columns.push(SpanColumn::Fixed("start"));
    columns.extend((grid.exemplars > 0).then_some(SpanColumn::Fixed("trace_id")));
    columns.sort_unstable();
    columns.dedup();
    let (time, must) = (grid.range(), filter.musts());
    let plan = Plan { table: Table::Spans, condition, time, must, columns };
    let parts = queries.engine.parts(&plan.scan(Columns::Some(plan.columns.clone()), Order::Any))?;
    let (found, scanned) = parallel::fold(&parts, control, |groups: &mut Groups, batch| {
        add(groups, batch, &plan.rows(batch)?, grid, function, by.len(), fields, control)
    })?;
    let mut all = Groups::default();
    for groups in found {
        all.merge(groups, grid, control)?;
    }
    Ok((all, scanned))
}

#[expect(clippy::too_many_arguments, reason = "what is counted, and where")]
fn add(
    groups: &mut Groups,
    batch: &RecordBatch,
    rows: &[u32],
    grid: Grid,
    function: &Function,
    by: usize,
    fields: &[Field],
    control: &Control,
) -> Result<(), QueryError> {
    let bound = bind::Bound::new(fields, batch)?;
    let starts = Rows::new(batch).column("start")?.as_primitive::<TimestampNanosecondType>();
    let coded: Vec<Coded<'_>> =
        (0..by).filter_map(|place| bound.source(place).map(|source| Coded::of_any(source, rows))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut together = Combined::new(rows.len());
    coded.iter().for_each(|of| together.with(&of.codes, of.values.len()));
    let place = |&first: &usize| {
        let values = coded.iter().map(|of| owned(&of.values[of.codes[first] as usize]));
        groups.place(values.collect(), grid, control)
    };
    let places = together.firsts.iter().map(place).collect::<Result<Vec<usize>, _>>()?;
    let traces = batch.column_by_name("trace_id").filter(|_| grid.exemplars > 0);
    let traces = traces.and_then(|column| column.as_fixed_size_binary_opt());
    let (ints, mut interval) = (bound.ints(by), grid.intervals());
    for (&row, number) in rows.iter().zip(together.numbers) {
        let row = row as usize;
        let value = match ints {
            Some(ints) if ints.is_valid(row) => Datum::Int(ints.value(row)),
            Some(_) => Datum::Nil,
            None if fields.len() > by => bound.value(by, row),
            None => Datum::Nil,
        };
        let (place, start) = (places[number as usize], starts.value(row));
        if groups.add(place, interval(start), function, &value)
            && let Some(trace) = traces.and_then(|traces| traces.value(row).try_into().ok())
        {
            groups.seen(place, (start, trace), function, &value, grid);
        }
    }
    Ok(())
}

fn owned(value: &Datum<'_>) -> Datum<'static> {
    traces::owned(bind::borrowed(value))
}

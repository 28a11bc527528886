//! Spans into groups: of a single filter straight from the columns, of whole traces trace by trace.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use hashbrown::HashMap;

use super::series::{Grid, Groups};
use crate::query::engine::{Columns, Control, Order, QueryError, SpanColumn, Table};
use crate::query::exec::coded::Coded;
use crate::query::exec::filter::Condition;
use crate::query::exec::render::Rows;
use crate::query::exec::{Plan, Queries, bind, parallel, traces};
use crate::query::traceql::{Datum, Field, Filter, Function, Pipeline};

/// The value that a function looks at.
const fn measured(function: &Function) -> Option<&Field> {
    match function {
        Function::OverTime(_, field)
        | Function::HistogramOverTime(field)
        | Function::QuantileOverTime(field, _) => Some(field),
        _ => None,
    }
}

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
        Some(filter) => columns(queries, grid, filter, function, by, &fields, control),
        None => {
            let mut groups = Groups::default();
            let scanned = traces::each(queries, spans, &fields, grid.range(), control, |left, values| {
                let (by, value) = values.split_at(by.len());
                let place = groups.place(by.to_vec(), grid, control)?;
                groups.add(place, grid.interval(left.start), function, value.first().unwrap_or(&Datum::Nil));
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
    // The place of each combination of values that this batch has. Neighbours are often alike.
    let mut known: HashMap<Vec<u32>, usize> = HashMap::new();
    let (mut codes, mut last) = (vec![0; coded.len()], None);
    for (at, row) in rows.iter().map(|&row| row as usize).enumerate() {
        let mut alike = true;
        for (code, of) in codes.iter_mut().zip(&coded) {
            alike &= *code == of.codes[at];
            *code = of.codes[at];
        }
        let found = last.filter(|_| alike).or_else(|| known.get(&codes).copied());
        let place = match found {
            Some(place) => place,
            None => {
                let values = codes.iter().zip(&coded).map(|(&code, of)| owned(&of.values[code as usize]));
                let place = groups.place(values.collect(), grid, control)?;
                known.insert(codes.clone(), place);
                place
            }
        };
        last = Some(place);
        let value = if fields.len() > by { bound.value(by, row) } else { Datum::Nil };
        groups.add(place, grid.interval(starts.value(row)), function, &value);
    }
    Ok(())
}

fn owned(value: &Datum<'_>) -> Datum<'static> {
    traces::owned(bind::borrowed(value))
}

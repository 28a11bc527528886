//! Spans into groups: of a single filter straight from the columns, of whole traces trace by trace.

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array as _, RecordBatch};

use super::related::Related;
use super::roots::{self, Roots};
use super::series::{Grid, Groups, measured};
use crate::query::engine::{Columns, Control, Order, QueryError, SpanColumn, Table};
use crate::query::exec::coded::Coded;
use crate::query::exec::filter::Condition;
use crate::query::exec::render::Rows;
use crate::query::exec::stats::Combined;
use crate::query::exec::traces::ancestry::Set;
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
    let mut scanned = 0;
    let single = spans.single().filter(|filter| filter.fields().iter().all(Field::is_of_one_span));
    // Spans of which it is left open by the parts whether they count; none if all are.
    let (mut groups, mut open) = (Groups::default(), None);
    let set = Set::of(spans);
    let alone = single.is_some() || set.is_some();
    let columned =
        if alone { Columned::new(queries, grid, function, by, control, &mut scanned)? } else { None };
    if let Some(columned) = columned {
        if let Some(filter) = single {
            let (groups, read) = columned.read(queries, &filter)?;
            return Ok((groups, scanned + read));
        }
        // Where the index leaves few traces, to look at these is less than to read all columns.
        let set = if traces::are_few(queries, spans, grid.range(), control)? { None } else { set };
        let related = set.map(|set| Related::new(&columned, set)).transpose()?;
        if let Some(told) = related.map(|related| related.read(queries)).transpose()?.flatten() {
            scanned += told.scanned;
            if told.open.is_empty() {
                return Ok((told.groups, scanned));
            }
            (groups, open) = (told.groups, Some(told.open));
        }
    }
    let fields: Vec<Field> = by.iter().chain(measured(function)).cloned().collect();
    // Most have what the one before has.
    let mut last: Option<(Vec<Datum<'static>>, usize)> = None;
    let only = open.as_ref().map(|open| open.iter().map(|(trace, _)| *trace).collect());
    let read = traces::each(queries, spans, &fields, only, grid.range(), control, |left, values| {
        if open.as_ref().is_some_and(|open| !open.contains(&(left.trace, left.span.get().to_be_bytes()))) {
            return Ok(());
        }
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
    Ok((groups, scanned + read))
}

/// Numbers that a look at each span alone tells, and at the root of its trace.
pub(super) struct Columned<'a> {
    pub(super) grid: Grid,
    function: &'a Function,
    by: &'a [Field],
    /// What is measured, or nothing.
    measured: Vec<Field>,
    /// What is told of roots, if they are grouped by.
    roots: Option<Roots>,
    pub(super) control: &'a Control,
}

impl<'a> Columned<'a> {
    /// Nothing if what is grouped by or measured is told by other spans of the traces.
    fn new(
        queries: &Queries,
        grid: Grid,
        function: &'a Function,
        by: &'a [Field],
        control: &'a Control,
        scanned: &mut u64,
    ) -> Result<Option<Self>, QueryError> {
        let measured: Vec<Field> = measured(function).cloned().into_iter().collect();
        let of_roots = by.iter().any(|field| roots::place(field).is_some());
        let by_alone = by.iter().all(|field| field.is_of_one_span() || roots::place(field).is_some());
        if !by_alone || !measured.iter().all(Field::is_of_one_span) {
            return Ok(None);
        }
        let roots =
            if of_roots { Roots::read(queries, grid.range(), usize::MAX, control, scanned)? } else { None };
        // Without the memory for all roots the traces are read in parts.
        if of_roots && roots.is_none() {
            return Ok(None);
        }
        Ok(Some(Self { grid, function, by, measured, roots, control }))
    }

    /// The columns of what is counted.
    pub(super) fn columns(&self) -> Result<Vec<SpanColumn>, QueryError> {
        let own: Vec<Field> = self.by.iter().filter(|field| field.is_of_one_span()).cloned().collect();
        let mut columns = bind::columns(&own)?;
        columns.extend(bind::columns(&self.measured)?);
        columns.push(SpanColumn::Fixed("start"));
        let traces = self.grid.exemplars > 0 || self.roots.is_some();
        columns.extend(traces.then_some(SpanColumn::Fixed("trace_id")));
        Ok(columns)
    }

    fn read(&self, queries: &Queries, filter: &Filter) -> Result<(Groups, u64), QueryError> {
        let condition = Condition::new(filter)?;
        let mut columns = self.columns()?;
        columns.extend(bind::columns(condition.fields())?);
        columns.sort_unstable();
        columns.dedup();
        let (time, must) = (self.grid.range(), filter.musts());
        let plan = Plan { table: Table::Spans, condition, time, must, columns };
        let parts = queries.engine.parts(&plan.scan(Columns::Some(plan.columns.clone()), Order::Any))?;
        let (found, scanned) = parallel::fold(&parts, self.control, |groups: &mut Groups, batch| {
            self.add(groups, batch, &plan.rows(batch)?)
        })?;
        let mut all = Groups::default();
        for groups in found {
            all.merge(groups, self.grid, self.control)?;
        }
        Ok((all, scanned))
    }

    pub(super) fn add(
        &self,
        groups: &mut Groups,
        batch: &RecordBatch,
        rows: &[u32],
    ) -> Result<(), QueryError> {
        if rows.is_empty() {
            return Ok(());
        }
        let Self { grid, function, control, .. } = *self;
        let sources = self.by.iter().map(|field| match roots::place(field) {
            Some(_) => Ok(None),
            None => bind::Bound::new(std::slice::from_ref(field), batch).map(Some),
        });
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let told = self.roots.as_ref().map(|roots| roots.coded(batch, rows)).transpose()?;
        let mut coded: Vec<Coded<'_>> = Vec::with_capacity(self.by.len());
        for (field, bound) in self.by.iter().zip(&sources) {
            if let Some(source) = bound.as_ref().and_then(|bound| bound.source(0)) {
                coded.push(Coded::of_any(source, rows));
            } else if let Some((told, place)) = told.as_ref().zip(roots::place(field)) {
                coded.push(told[place].clone());
            }
        }
        let mut together = Combined::new(rows.len());
        coded.iter().for_each(|of| together.with(&of.codes, of.values.len()));
        let place = |&first: &usize| {
            let values = coded.iter().map(|of| owned(&of.values[of.codes[first] as usize]));
            groups.place(values.collect(), grid, control)
        };
        let places = together.firsts.iter().map(place).collect::<Result<Vec<usize>, _>>()?;
        let starts = Rows::new(batch).column("start")?.as_primitive::<TimestampNanosecondType>();
        let traces = batch.column_by_name("trace_id").filter(|_| grid.exemplars > 0);
        let traces = traces.and_then(|column| column.as_fixed_size_binary_opt());
        let bound = bind::Bound::new(&self.measured, batch)?;
        let (ints, mut interval) = (bound.ints(0), grid.intervals());
        for (&row, number) in rows.iter().zip(together.numbers) {
            let row = row as usize;
            let value = match ints {
                Some(ints) if ints.is_valid(row) => Datum::Int(ints.value(row)),
                Some(_) => Datum::Nil,
                None => bound.value(0, row),
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
}

fn owned(value: &Datum<'_>) -> Datum<'static> {
    traces::owned(bind::borrowed(value))
}

//! Intervals, what is counted in each, and the series that it makes.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use serde_json::Value as Json;

use super::exemplars::{Exemplars, Seen};
use super::powers::{Powers, largest, power, value_at};
use crate::query::engine::{Control, QueryError, TimeRange};
use crate::query::exec::stats;
use crate::query::go_duration;
use crate::query::over_time::{OverTimeRequest, Series};
use crate::query::traceql::{Aggregate, Datum, Expr, Field, Function, Intrinsic, is_duration};

/// Intervals of a series at most.
const MOST_INTERVALS: i64 = 11_000;
/// Exemplars of a series at most.
pub(super) const MOST_EXEMPLARS: usize = 100;
/// The label of a series that is not grouped.
pub(super) const NAME: &str = "__name__";
const SECOND: f64 = 1e9;

/// The intervals of a question: each ends at its time, which is in it, and the first begins a step before its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    first: i64,
    /// The length of an interval.
    step: i64,
    count: usize,
    /// Whether there is one over all of the time, with both of its ends.
    single: bool,
    /// How many exemplars each series has at most.
    pub(super) exemplars: usize,
}

impl Grid {
    pub(super) fn new(request: &OverTimeRequest) -> Result<Self, QueryError> {
        let OverTimeRequest { start, end, step, .. } = *request;
        if start >= end {
            return Err(QueryError::invalid(format!(
                "the time range ends ({end}) before it starts ({start})"
            )));
        }
        let Some(step) = step else {
            return Ok(Self {
                first: end,
                step: end.saturating_sub(start),
                count: 1,
                single: true,
                exemplars: 0,
            });
        };
        if step <= 0 {
            return Err(QueryError::invalid(format!("step is {step} ns, expected more than 0")));
        }
        let exemplars = request.exemplars.min(MOST_EXEMPLARS);
        let first = start - start.rem_euclid(step);
        let count = end.saturating_sub(first).saturating_add(step - 1) / step + 1;
        if count > MOST_INTERVALS {
            return Err(QueryError::invalid(format!(
                "{count} intervals were asked for, at most {MOST_INTERVALS} are answered; ask for a longer step"
            )));
        }
        Ok(Self { first, step, count: usize::try_from(count).unwrap_or(0), single: false, exemplars })
    }

    /// The ends of the intervals.
    pub(super) fn times(self) -> impl Iterator<Item = i64> {
        (0_i64..)
            .take(self.count)
            .map(move |place| self.first.saturating_add(self.step.saturating_mul(place)))
    }

    /// When spans started that count.
    pub(super) fn range(self) -> TimeRange {
        let last = self.times().last().unwrap_or(self.first);
        let from = self.first.saturating_sub(self.step).saturating_add(i64::from(!self.single));
        TimeRange { from, to: last.saturating_add(1) }
    }

    /// The intervals of times that are in the range. Rows are sorted by time in most batches, so most have that of the one before.
    pub(super) fn intervals(self) -> impl FnMut(i64) -> usize {
        // Times after the first and up to the second are in the third.
        let mut last = (0, 0, 0);
        move |time| {
            if time <= last.0 || time > last.1 {
                let place = self.interval(time);
                let end =
                    self.first.saturating_add(self.step.saturating_mul(i64::try_from(place).unwrap_or(0)));
                last = (end.saturating_sub(self.step), end, place);
            }
            last.2
        }
    }

    /// The part of the time that a time is in, and how many parts there are, if each has so many exemplars.
    pub(super) fn part(self, time: i64, of_each: usize) -> Option<(usize, usize)> {
        if self.exemplars == 0 {
            return None;
        }
        let (range, parts) = (self.range(), self.exemplars.div_ceil(of_each));
        let width = range.to.abs_diff(range.from) / parts as u64 + 1;
        let part = usize::try_from(time.abs_diff(range.from) / width).unwrap_or(0);
        Some((part.min(parts - 1), parts))
    }

    /// The end of the interval of a time.
    pub(super) fn end(self, time: i64) -> i64 {
        let place = i64::try_from(self.interval(time)).unwrap_or(0);
        self.first.saturating_add(self.step.saturating_mul(place))
    }

    /// The interval of a time that is in the range.
    pub(super) fn interval(self, time: i64) -> usize {
        if self.single {
            return 0;
        }
        let after = time.saturating_sub(self.first).saturating_add(self.step - 1);
        usize::try_from(after.div_euclid(self.step)).unwrap_or(0).min(self.count - 1)
    }
}

/// What is counted in an interval.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    buckets: Powers,
}

impl Cell {
    fn add(&mut self, value: f64) {
        if self.count == 0 {
            (self.min, self.max) = (value, value);
        }
        self.count += 1;
        self.sum += value;
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
    }

    fn merge(&mut self, other: &Self) {
        if self.count == 0 {
            (self.min, self.max) = (other.min, other.max);
        } else if other.count > 0 {
            (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
        }
        self.count += other.count;
        self.sum += other.sum;
        other.buckets.iter().for_each(|(power, count)| self.buckets.add(power, count));
    }
}

/// What is counted, by the values of what is grouped by.
#[derive(Default)]
pub(super) struct Groups {
    places: HashMap<String, usize>,
    all: Vec<Group>,
}

#[derive(Default)]
struct Group {
    by: Vec<Datum<'static>>,
    cells: Vec<Cell>,
    exemplars: Exemplars,
}

impl Groups {
    /// The place of a group, a new one if need be.
    pub(super) fn place(
        &mut self,
        values: Vec<Datum<'static>>,
        grid: Grid,
        control: &Control,
    ) -> Result<usize, QueryError> {
        let values: Vec<Datum<'static>> = values.into_iter().map(Datum::alone).collect();
        let mut key = String::new();
        for value in &values {
            stats::write(value, &mut key);
            key.push(',');
        }
        if let Some(&place) = self.places.get(&key) {
            return Ok(place);
        }
        let exemplars = grid.exemplars * size_of::<Option<Seen>>();
        control.take_memory(grid.count * size_of::<Cell>() + 2 * key.len() + exemplars)?;
        self.places.insert(key, self.all.len());
        let cells = vec![Cell::default(); grid.count];
        self.all.push(Group { by: values, cells, exemplars: Exemplars::default() });
        Ok(self.all.len() - 1)
    }

    /// Counts a span; one that lacks what is asked for is left aside. Returns whether it is not.
    pub(super) fn add(
        &mut self,
        place: usize,
        interval: usize,
        function: &Function,
        value: &Datum<'_>,
    ) -> bool {
        if let (Datum::Each(values), Some(_)) = (value, measured(function)) {
            let added = values.iter().filter(|value| self.add(place, interval, function, value));
            return added.count() > 0;
        }
        let cell = &mut self.all[place].cells[interval];
        match function {
            Function::HistogramOverTime(_) | Function::QuantileOverTime(..) => match power(value) {
                Some(power) => cell.buckets.add(power, 1),
                None => return false,
            },
            Function::OverTime(..) => match as_float(value) {
                Some(number) => cell.add(number),
                None => return false,
            },
            _ => cell.count += 1,
        }
        true
    }

    /// Notes a span that was counted.
    pub(super) fn seen(
        &mut self,
        place: usize,
        (start, trace): (i64, [u8; 16]),
        function: &Function,
        value: &Datum<'_>,
        grid: Grid,
    ) {
        let value = match value {
            // Of several events that of one stands for the span.
            Datum::Each(values) => values.iter().find_map(as_float),
            value => as_float(value),
        };
        let value = measured(function).and_then(|field| Some(value? / unit(function, field)));
        self.all[place].exemplars.add(Seen { start, trace, value }, grid);
    }

    pub(super) fn merge(&mut self, other: Self, grid: Grid, control: &Control) -> Result<(), QueryError> {
        for Group { by, cells, exemplars } in other.all {
            let place = self.place(by, grid, control)?;
            let known = &mut self.all[place];
            known.cells.iter_mut().zip(&cells).for_each(|(known, cell)| known.merge(cell));
            known.exemplars.merge(&exemplars, grid);
        }
        Ok(())
    }

    /// The series of a function.
    pub(super) fn finish(mut self, grid: Grid, function: &Function, by: &[Field]) -> Vec<Series> {
        let mut out = Vec::new();
        // Of no span at all the number is 0, if it is not that of something.
        if self.all.is_empty()
            && by.is_empty()
            && matches!(function, Function::Rate | Function::CountOverTime)
        {
            self.all.push(Group { cells: vec![Cell::default(); grid.count], ..Group::default() });
        }
        for Group { by: values, cells, exemplars } in self.all {
            let labels = labels(by, &values, function);
            let all = exemplars.in_order();
            let mut push = |labels, is_of: &dyn Fn(&Seen) -> bool, number: &dyn Fn(&Cell) -> Option<f64>| {
                let samples = grid.times().zip(&cells);
                let samples = samples.filter_map(|(time, cell)| Some((time, number(cell)?))).collect();
                let exemplars = all.iter().filter(|seen| is_of(seen)).map(Seen::shown).collect();
                out.push(Series { labels, samples, exemplars });
            };
            let with = |name: &str, value: Json| {
                let mut labels = labels.clone();
                labels.retain(|(name, _)| name != NAME);
                labels.push((name.to_owned(), value));
                labels
            };
            match function {
                Function::HistogramOverTime(field) => {
                    let powers: BTreeSet<i32> =
                        cells.iter().flat_map(|cell| cell.buckets.iter()).map(|(power, _)| power).collect();
                    for power in powers {
                        let end = largest(power) / unit(function, field);
                        let is_of = |seen: &Seen| {
                            seen.value.is_some_and(|value| value <= end && (value > end / 2.0 || power == 1))
                        };
                        push(with("__bucket", end.into()), &is_of, &|cell| {
                            Some(counted(cell.buckets.get(power)))
                        });
                    }
                }
                Function::QuantileOverTime(field, quantiles) => {
                    if cells.iter().all(|cell| cell.buckets.is_empty()) {
                        continue;
                    }
                    let at = |quantile: f64, cell: &Cell| {
                        value_at(quantile, &cell.buckets) / unit(function, field)
                    };
                    let mut sorted = quantiles.clone();
                    sorted.sort_by(f64::total_cmp);
                    // The least that is not below it.
                    let owner = |seen: &Seen| {
                        let cell = &cells[grid.interval(seen.start)];
                        let above =
                            |quantile: &&f64| seen.value.is_some_and(|value| at(**quantile, cell) >= value);
                        sorted.iter().find(above).or_else(|| sorted.last()).copied()
                    };
                    for &quantile in quantiles {
                        push(with("p", quantile.into()), &|seen| owner(seen) == Some(quantile), &|cell| {
                            Some(at(quantile, cell))
                        });
                    }
                }
                Function::OverTime(aggregate, field) => push(labels.clone(), &|_| true, &|cell| {
                    (cell.count > 0).then(|| aggregated(*aggregate, cell) / unit(function, field))
                }),
                Function::Rate => {
                    push(labels.clone(), &|_| true, &|cell| Some(counted(cell.count) / (seconds(grid.step))));
                }
                _ => push(labels.clone(), &|_| true, &|cell| Some(counted(cell.count))),
            }
        }
        out
    }
}

#[expect(clippy::cast_precision_loss, reason = "as the language has numbers")]
const fn as_float(value: &Datum<'_>) -> Option<f64> {
    match value {
        Datum::Int(number) => Some(*number as f64),
        Datum::Float(number) => Some(*number),
        _ => None,
    }
}

fn aggregated(aggregate: Aggregate, cell: &Cell) -> f64 {
    match aggregate {
        Aggregate::Min => cell.min,
        Aggregate::Max => cell.max,
        Aggregate::Sum => cell.sum,
        Aggregate::Avg => cell.sum / counted(cell.count),
    }
}

#[expect(clippy::cast_precision_loss, reason = "an answer has doubles")]
pub(super) const fn counted(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "an answer has doubles")]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / SECOND
}

/// By what values are divided: those that are nanoseconds are shown as seconds.
const fn unit(function: &Function, field: &Field) -> f64 {
    // As in Tempo: the least, the most, the mean and the sum of a trace's time and of that since the start are nanoseconds.
    let is_seconds = match function {
        Function::OverTime(..) => matches!(field, Field::Intrinsic(Intrinsic::Duration)),
        _ => field.is_duration(),
    };
    if is_seconds { SECOND } else { 1.0 }
}

/// What a function measures, if it does not count.
pub(super) const fn measured(function: &Function) -> Option<&Field> {
    match function {
        Function::OverTime(_, field)
        | Function::HistogramOverTime(field)
        | Function::QuantileOverTime(field, _) => Some(field),
        _ => None,
    }
}

/// The values that are there; if none is, the first, but not beside a bucket or a quantile, as in Tempo; of what is not
/// grouped, the name of the function.
fn labels(by: &[Field], values: &[Datum<'static>], function: &Function) -> Vec<(String, Json)> {
    let label = |(field, value): (&Field, &Datum<'static>)| {
        let mut text = String::new();
        stats::write(value, &mut text);
        let shown = match value {
            Datum::Nil if field.is_always_text() => "".into(),
            Datum::Int(nanos) if is_duration(&Expr::Field(field.clone())) => go_duration(*nanos).into(),
            _ => serde_json::from_str(&text).unwrap_or_default(),
        };
        (field.to_string(), shown)
    };
    let all: Vec<(String, Json)> = by.iter().zip(values).map(label).collect();
    let there: Vec<(String, Json)> = all.iter().filter(|(_, value)| !value.is_null()).cloned().collect();
    let has_own = matches!(function, Function::HistogramOverTime(_) | Function::QuantileOverTime(..));
    if !there.is_empty() || (has_own && !all.is_empty()) {
        return there;
    }
    match all.into_iter().next() {
        Some(first) => vec![first],
        None => vec![(NAME.to_owned(), name(function).into())],
    }
}

fn name(function: &Function) -> String {
    match function {
        Function::Rate => "rate".to_owned(),
        Function::OverTime(aggregate, _) => format!("{}_over_time", aggregate.text()),
        Function::HistogramOverTime(_) => "histogram_over_time".to_owned(),
        Function::QuantileOverTime(..) => "quantile_over_time".to_owned(),
        _ => "count_over_time".to_owned(),
    }
}

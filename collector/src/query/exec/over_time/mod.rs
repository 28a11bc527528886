//! Numbers over time, as TraceQL metrics have them (Tempo 3.0).

mod combine;
mod compare;
mod exemplars;
mod powers;
mod read;
mod related;
mod roots;
mod series;
mod values;

#[cfg(test)]
pub(super) mod related_tests;
#[cfg(test)]
mod tests;

use self::series::{Grid, Groups, MOST_EXEMPLARS};
use super::Queries;
use crate::query::engine::{Control, QueryError};
use crate::query::over_time::{OverTimeAnswer, OverTimeRequest, Series};
use crate::query::traceql::{Body, Function, Hint, Literal, Metrics, parse};

pub(super) fn answer(
    queries: &Queries,
    request: &OverTimeRequest,
    control: &Control,
) -> Result<OverTimeAnswer, QueryError> {
    let query = parse(&request.q)?;
    let Body::Metrics(metrics) = &query.body else {
        return Err(QueryError::invalid(
            "the query finds spans, and no numbers over time; end it with a function such as `| rate()`",
        ));
    };
    let (hinted, ignored): (Vec<&Hint>, Vec<&Hint>) =
        query.hints.iter().partition(|hint| exemplars(hint).is_some());
    let ignored_hints = ignored.iter().map(|hint| hint.name.clone()).collect();
    let hinted = hinted.last().and_then(|hint| exemplars(hint));
    let grid =
        Grid::new(&OverTimeRequest { exemplars: hinted.unwrap_or(request.exemplars), ..request.clone() })?;
    let mut asked = Asked { queries, grid, control, scanned: 0 };
    let mut series = match asked.series(metrics)? {
        Numbers::Series(series) => series,
        Numbers::Same(number) => {
            let samples = grid.times().map(|time| (time, number)).collect();
            vec![Series { samples, ..Series::default() }]
        }
    };
    // Which attributes have more values than are shown `compare` tells by series without numbers.
    series.retain(|series| {
        !series.samples.is_empty()
            || matches!(metrics, Metrics::Of { function: Function::Compare { .. }, .. })
    });
    series.iter_mut().for_each(|series| led(series, grid));
    series.sort_by_key(combine::key);
    Ok(OverTimeAnswer { series, ignored_hints, scanned: asked.scanned })
}

/// How many exemplars a hint asks for, if it does.
fn exemplars(hint: &Hint) -> Option<usize> {
    match hint.value {
        _ if hint.name != "exemplars" => None,
        Literal::Bool(wanted) => Some(if wanted { MOST_EXEMPLARS } else { 0 }),
        Literal::Int(most) => Some(usize::try_from(most).unwrap_or(0)),
        _ => None,
    }
}

/// Leaves the exemplars of intervals that have a number, which is the value of those that have none of their own.
fn led(series: &mut Series, grid: Grid) {
    let samples = &series.samples;
    series.exemplars.retain_mut(|exemplar| {
        let end = grid.end(exemplar.time);
        let Ok(place) = samples.binary_search_by_key(&end, |(time, _)| *time) else { return false };
        if exemplar.value.is_nan() {
            exemplar.value = samples[place].1;
        }
        true
    });
    series.exemplars.truncate(grid.exemplars);
}

/// What a part of a query comes to.
enum Numbers {
    /// The same number at all times.
    Same(f64),
    Series(Vec<Series>),
}

struct Asked<'a> {
    queries: &'a Queries,
    grid: Grid,
    control: &'a Control,
    scanned: u64,
}

impl Asked<'_> {
    fn series(&mut self, metrics: &Metrics) -> Result<Numbers, QueryError> {
        Ok(match metrics {
            Metrics::Literal(literal) => Numbers::Same(combine::number(literal)),
            Metrics::Of { spans, function: Function::Compare { filter, top, between }, .. } => {
                let top = usize::try_from(*top).unwrap_or(1);
                let compared = compare::Compared { spans, selection: filter, between: *between, top };
                let (series, scanned) = compare::series(self.queries, self.grid, &compared, self.control)?;
                self.scanned += scanned;
                Numbers::Series(series)
            }
            Metrics::Of { spans, function, by } => {
                let (groups, scanned): (Groups, u64) =
                    read::read(self.queries, self.grid, spans, function, by, self.control)?;
                self.scanned += scanned;
                Numbers::Series(groups.finish(self.grid, function, by))
            }
            Metrics::Binary { op, left, right } => {
                combine::joined(*op, self.series(left)?, self.series(right)?)
            }
            Metrics::Then { of, steps } => {
                let mut numbers = self.series(of)?;
                for step in steps {
                    numbers = combine::second(step, numbers);
                }
                numbers
            }
        })
    }
}

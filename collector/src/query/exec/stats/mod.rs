//! Figures by group.

mod combine;
mod prepare;
mod read;
mod spenders;

use std::sync::Arc;

use hashbrown::HashMap;
use serde_json::Value as Json;

pub(super) use self::combine::Combined;
pub use self::prepare::Prepared;
pub(super) use self::prepare::prepare;
use self::read::{Groups, Key, Read};
pub(super) use self::spenders::Spent;
use super::figures::Figures;
use super::{Plan, Queries, bind, parallel};
use crate::query::engine::{Columns, Control, Order, Part, QueryError, SpanColumn};
use crate::query::request::{Group, StatsAnswer, StatsRequest};
use crate::query::traceql::{Datum, Field};

pub(super) fn answer(
    queries: &Queries,
    request: &StatsRequest,
    control: &Control,
) -> Result<StatsAnswer, QueryError> {
    let limit = super::bounds(request.limit, request.step)?;
    let ask = Ask { by: super::grouped_by(&request.by)?, step: request.step, ..Ask::default() };
    let (read, scanned) = read(queries, request, &Wanted { asks: &[ask], spenders: &[] }, control)?;
    Ok(finish(&alone(read, control)?, request, limit, scanned))
}

/// How spans are grouped.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    /// By these.
    pub(super) by: Vec<Field>,
    /// By the start of the time step that they started in.
    pub(super) step: Option<i64>,
    /// Only those that failed, and when that was.
    pub(super) errors: bool,
    /// And, after these, by who or what performed them: which field tells it depends on the operation, which is the first that is
    /// grouped by.
    pub(super) performers: Vec<(&'static str, Field)>,
    /// And in which traces: the newest of them.
    pub(super) traces: bool,
}

/// The spans of a request grouped in several ways, and what model calls used by spender, all in one pass over them.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) asks: &'a [Ask],
    pub(super) spenders: &'a [Field],
}

/// The figures of one group.
pub(super) struct Grouped {
    /// The values of what is grouped by, in its order.
    pub(super) by: Vec<Json>,
    /// The start of the time step.
    pub(super) step: Option<i64>,
    pub(super) figures: Figures,
}

/// Groups of several ways, and what spenders used.
pub(super) struct Answers {
    /// The groups of each ask.
    pub(super) groups: Vec<Vec<Grouped>>,
    pub(super) scanned: u64,
    read: Vec<Arc<Read>>,
}

impl Answers {
    /// What the model calls of each spender used, by the place of the field that tells it; in no order.
    pub(super) fn spenders(&self, place: usize, control: &Control) -> Result<Vec<(&str, Spent)>, QueryError> {
        let lists: Vec<_> = self.read.iter().filter_map(|read| read.spenders.get(place)).collect();
        spenders::merged(&lists, control)
    }
}

/// What is wanted of the spans of a request. What the request itself is grouped by does not count.
pub(super) fn grouped(
    queries: &Queries,
    request: &StatsRequest,
    wanted: &Wanted<'_>,
    control: &Control,
) -> Result<Answers, QueryError> {
    let (read, scanned) = read(queries, request, wanted, control)?;
    let groups = (0..wanted.asks.len()).map(|way| groups(&read, way, control).map(shown));
    let groups = groups.collect::<Result<_, _>>()?;
    Ok(Answers { groups, scanned, read })
}

/// The groups of a way, of all that was read.
fn groups(read: &[Arc<Read>], way: usize, control: &Control) -> Result<Groups, QueryError> {
    let mut all = Groups::default();
    for groups in read.iter().filter_map(|read| read.ways.get(way)) {
        control.take_memory(all.merge(groups))?;
    }
    Ok(all)
}

/// The same of the only way. What nobody else needs is not copied: there may be many groups.
fn alone(read: Vec<Arc<Read>>, control: &Control) -> Result<Groups, QueryError> {
    let (mut all, mut kept) = (Groups::default(), Vec::new());
    for read in read {
        match Arc::try_unwrap(read) {
            Ok(Read { ways, .. }) => {
                for mut groups in ways {
                    if groups.figures.len() > all.figures.len() {
                        std::mem::swap(&mut all, &mut groups);
                    }
                    // Its memory was taken when it was read.
                    all.merge(&groups);
                }
            }
            Err(read) => kept.push(read),
        }
    }
    for groups in kept.iter().flat_map(|read| &read.ways) {
        control.take_memory(all.merge(groups))?;
    }
    Ok(all)
}

fn shown(Groups { places, figures }: Groups) -> Vec<Grouped> {
    let mut keys: Vec<Option<Key>> = figures.iter().map(|_| None).collect();
    for (key, place) in places {
        keys[place] = Some(key);
    }
    let groups = keys.into_iter().zip(figures).filter_map(|(key, figures)| {
        let (by, step) = key?;
        Some(Grouped { by: serde_json::from_str(&by).unwrap_or_default(), step, figures })
    });
    groups.collect()
}

fn read(
    queries: &Queries,
    request: &StatsRequest,
    wanted: &Wanted<'_>,
    control: &Control,
) -> Result<(Vec<Arc<Read>>, u64), QueryError> {
    let plan = Plan::new(&request.q, request.start, request.end)?;
    let Reading { reader, parts, question } = Reading::new(queries, &plan, request, wanted, control)?;
    let known = (&*queries.memo, &question);
    parallel::fold_known(&parts, known, control, |all: &mut Read, batch| reader.read(all, batch))
}

/// How what is wanted is read, of which parts, and under which name it is kept.
struct Reading<'a> {
    reader: read::Reader<'a>,
    parts: Vec<Box<dyn Part>>,
    question: Arc<str>,
}

impl<'a> Reading<'a> {
    fn new(
        queries: &'a Queries,
        plan: &'a Plan,
        request: &StatsRequest,
        wanted: &Wanted<'_>,
        control: &'a Control,
    ) -> Result<Self, QueryError> {
        let Wanted { asks, spenders } = wanted;
        let reader = read::Reader::new(plan, wanted, queries.memo.hasher(), control);
        let mut columns = bind::columns(reader.fields())?;
        columns.extend(plan.columns.iter().cloned());
        if asks.iter().any(|ask| ask.step.is_some() || ask.errors) {
            columns.push(SpanColumn::Fixed("start"));
        }
        if asks.iter().any(|ask| ask.traces) {
            columns.push(SpanColumn::Fixed("trace_id"));
        }
        columns.sort_unstable();
        columns.dedup();
        let parts = queries.engine.parts(&plan.scan(Columns::Some(columns), Order::Any))?;
        // Times of the request are those of the scan; where steps begin depends on their length alone.
        let question = format!("figures of {:?} {asks:?} {spenders:?}", request.q).into();
        Ok(Self { reader, parts, question })
    }
}

fn finish(groups: &Groups, request: &StatsRequest, limit: usize, scanned: u64) -> StatsAnswer {
    #[expect(clippy::cast_precision_loss, reason = "seconds of a rate")]
    let seconds = request
        .step
        .or_else(|| request.end.zip(request.start).map(|(end, start)| end.saturating_sub(start)))
        .filter(|&length| length > 0)
        .map(|length| length as f64 / 1e9);
    // Groups by what they are grouped by, so that a limit keeps or leaves out all steps of one.
    let mut totals: HashMap<&str, u64> = HashMap::new();
    for ((by, _), &place) in &groups.places {
        *totals.entry(by.as_str()).or_default() += groups.figures[place].count;
    }
    let mut order: Vec<(&str, u64)> = totals.iter().map(|(by, count)| (*by, *count)).collect();
    order.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let left_out = order.len().saturating_sub(limit) as u64;
    let ranks: HashMap<&str, usize> =
        order.iter().take(limit).enumerate().map(|(rank, (by, _))| (*by, rank)).collect();
    let mut out: Vec<(usize, Group)> = groups
        .places
        .iter()
        .filter_map(|((by, step), &place)| {
            let rank = *ranks.get(by.as_str())?;
            let by = serde_json::from_str(by).unwrap_or_default();
            Some((rank, groups.figures[place].group(by, *step, seconds)))
        })
        .collect();
    out.sort_by_key(|(rank, group)| (*rank, group.step));
    StatsAnswer {
        groups: out.into_iter().map(|(_, group)| group).collect(),
        left_out,
        complete: true,
        scanned,
    }
}

/// A value as JSON.
pub(super) fn write(datum: &Datum<'_>, out: &mut String) {
    match datum {
        Datum::Nil => out.push_str("null"),
        Datum::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Datum::Int(number) => crate::value::write_int(*number, out),
        Datum::Float(number) => {
            let number =
                serde_json::Number::from_f64(*number).map_or_else(|| number.to_string().into(), Json::Number);
            out.push_str(&number.to_string());
        }
        Datum::Text(text) => crate::value::write_string(text, out),
        Datum::Status(number) => {
            let name = ["unset", "ok", "error"].get(usize::try_from(*number).unwrap_or(0));
            crate::value::write_string(name.unwrap_or(&"unset"), out);
        }
        Datum::Kind(number) => {
            let names = ["unspecified", "internal", "server", "client", "producer", "consumer"];
            crate::value::write_string(
                names.get(usize::try_from(*number).unwrap_or(0)).unwrap_or(&"unspecified"),
                out,
            );
        }
        Datum::List(values) | Datum::Each(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(value, out);
            }
            out.push(']');
        }
    }
}

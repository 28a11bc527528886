//! What the stages of a pipeline leave of a trace.

use hashbrown::HashMap;

use super::plan::{Number, Program, Set, Step, Value};
use super::tree::{Places, Trace};
use crate::query::engine::{QueryError, TimeRange};
use crate::query::exec::bind::borrowed;
use crate::query::traceql::{Aggregate, BinaryOp, Datum, Row, SpansetOp, arithmetic, compare};

/// Spans of a trace, and what was found out about them together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Spans {
    pub(super) places: Places,
    pub(super) told: Vec<(String, Told)>,
}

/// A value, and whether it is a time in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) value: Datum<'static>,
    pub(super) is_duration: bool,
}

/// A span of a trace, as an expression sees it.
struct View<'a> {
    values: &'a [Datum<'static>],
    fields: &'a [usize],
}

impl Row for View<'_> {
    fn value(&self, field: usize) -> Datum<'_> {
        let place = self.fields.get(field).copied().unwrap_or(usize::MAX);
        self.values.get(place).map_or(Datum::Nil, borrowed)
    }
}

impl Value {
    /// What a span has for it.
    pub(super) fn of(&self, values: &[Datum<'static>]) -> Datum<'static> {
        owned(self.compiled.value(&View { values, fields: &self.fields }))
    }

    pub(super) fn holds(&self, values: &[Datum<'static>]) -> bool {
        self.compiled.matches(&View { values, fields: &self.fields })
    }
}

/// A value that borrows nothing.
pub(in crate::query::exec) fn owned(datum: Datum<'_>) -> Datum<'static> {
    match datum {
        Datum::Nil => Datum::Nil,
        Datum::Bool(value) => Datum::Bool(value),
        Datum::Int(number) => Datum::Int(number),
        Datum::Float(number) => Datum::Float(number),
        Datum::Text(text) => Datum::Text(text.into_owned().into()),
        Datum::Status(status) => Datum::Status(status),
        Datum::Kind(kind) => Datum::Kind(kind),
        Datum::List(values) => Datum::List(values.into_iter().map(owned).collect()),
        Datum::Each(values) => Datum::Each(values.into_iter().map(owned).collect()),
    }
}

/// The sets that a trace has in the answer; none if it is not in it. Only spans that started then count.
pub(super) fn evaluate(
    program: &Program,
    trace: &Trace,
    started: TimeRange,
) -> Result<Vec<Spans>, QueryError> {
    let mut places = trace.all();
    places.retain(|at| started.contains(trace.row(*at).start));
    let all = Spans { places, told: Vec::new() };
    run(&program.steps, trace, vec![all])
}

fn run(steps: &[Step], trace: &Trace, mut sets: Vec<Spans>) -> Result<Vec<Spans>, QueryError> {
    for step in steps {
        if sets.is_empty() {
            break;
        }
        sets = match step {
            Step::Spans(set) => {
                let mut out = Vec::new();
                for spans in &sets {
                    out.extend(set.within(trace, spans)?);
                }
                out
            }
            Step::Where { op, left, right, .. } => {
                let mut out = Vec::new();
                for mut spans in sets {
                    if is_kept(trace, &mut spans, *op, left, right)? {
                        out.push(spans);
                    }
                }
                out
            }
            Step::By(value, label) => {
                sets.into_iter().flat_map(|spans| grouped(trace, &spans, value, label)).collect()
            }
            Step::Coalesce => {
                let mut places: Places = sets.into_iter().flat_map(|spans| spans.places).collect();
                places.sort_unstable();
                places.dedup();
                vec![Spans { places, told: Vec::new() }]
            }
        };
    }
    sets.retain(|spans| !spans.places.is_empty());
    Ok(sets)
}

impl Set {
    /// The sets that are in some spans.
    fn within(&self, trace: &Trace, spans: &Spans) -> Result<Vec<Spans>, QueryError> {
        let one = |places: Places| {
            let told = spans.told.clone();
            if places.is_empty() { Vec::new() } else { vec![Spans { places, told }] }
        };
        Ok(match self {
            Self::Leaf(leaf, _) => {
                let fulfils = |at: &u32| trace.row(*at).fulfils >> leaf & 1 == 1;
                one(spans.places.iter().copied().filter(fulfils).collect())
            }
            Self::Pipeline(steps) => run(steps, trace, vec![spans.clone()])?,
            Self::Related(op, left, right) => {
                let (left, right) = (left.within(trace, spans)?, right.within(trace, spans)?);
                let flat = |sets: &[Spans]| -> Places {
                    sets.iter().flat_map(|set| set.places.iter().copied()).collect()
                };
                match op {
                    SpansetOp::And if left.is_empty() || right.is_empty() => Vec::new(),
                    SpansetOp::And | SpansetOp::Or => one(trace.related(*op, &flat(&left), &flat(&right))),
                    _ if left.len() > 1 || right.len() > 1 => {
                        return Err(QueryError::invalid(format!(
                            "`{}` relates single sets, and `by(..)` made several; write `coalesce()` after it",
                            op.text()
                        )));
                    }
                    _ => one(trace.related(*op, &flat(&left), &flat(&right))),
                }
            }
        })
    }
}

fn is_kept(
    trace: &Trace,
    spans: &mut Spans,
    op: BinaryOp,
    left: &Number,
    right: &Number,
) -> Result<bool, QueryError> {
    let (Some(left), Some(right)) = (left.of(trace, spans)?, right.of(trace, spans)?) else {
        return Ok(false);
    };
    Ok(compare(op, &left, &right))
}

impl Number {
    /// The number of some spans; none if nothing has it.
    fn of(&self, trace: &Trace, spans: &mut Spans) -> Result<Option<Datum<'static>>, QueryError> {
        Ok(match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Count => {
                let count = Datum::Int(i64::try_from(spans.places.len()).unwrap_or(i64::MAX));
                let told = Told { value: count.clone(), is_duration: false };
                spans.told.push(("count()".to_owned(), told));
                Some(count)
            }
            Self::Aggregate(aggregate, value, label) => {
                let values = spans.places.iter().map(|at| value.of(&trace.row(*at).values));
                // Of events and links each counts.
                let values = values.flat_map(|value| {
                    let (several, one) = match value {
                        Datum::Each(values) => (values, None),
                        value => (Vec::new(), Some(value)),
                    };
                    several.into_iter().chain(one)
                });
                let Some(number) = aggregated(*aggregate, values) else { return Ok(None) };
                let told = Told { value: number.clone(), is_duration: value.is_duration };
                spans.told.push((label.clone(), told));
                Some(number)
            }
            Self::Of(steps, number) => {
                let all = Spans { places: spans.places.clone(), told: Vec::new() };
                let mut places: Places =
                    run(steps, trace, vec![all])?.into_iter().flat_map(|spans| spans.places).collect();
                places.sort_unstable();
                places.dedup();
                if places.is_empty() {
                    return Ok(None);
                }
                number.of(trace, &mut Spans { places, told: Vec::new() })?
            }
            Self::Binary { op, left, right, times } => {
                let (left, right) = (left.of(trace, spans)?, right.of(trace, spans)?);
                left.zip(right).map(|(left, right)| arithmetic(*op, &left, &right, *times))
            }
        })
    }
}

/// What is made of the values that are there.
#[expect(clippy::cast_precision_loss, reason = "a mean, as Tempo has it")]
fn aggregated(aggregate: Aggregate, values: impl Iterator<Item = Datum<'static>>) -> Option<Datum<'static>> {
    let mut count = 0_u64;
    let values = values.filter(|value| matches!(value, Datum::Int(_) | Datum::Float(_)));
    let all = values.inspect(|_| count += 1).reduce(|a, b| match aggregate {
        Aggregate::Min if compare(BinaryOp::Less, &b, &a) => b,
        Aggregate::Max if compare(BinaryOp::Greater, &b, &a) => b,
        Aggregate::Min | Aggregate::Max => a,
        Aggregate::Avg | Aggregate::Sum => arithmetic(BinaryOp::Add, &a, &b, false),
    })?;
    if aggregate != Aggregate::Avg {
        return Some(all);
    }
    let sum = match all {
        Datum::Int(sum) => sum as f64,
        Datum::Float(sum) => sum,
        _ => return None,
    };
    Some(Datum::Float(sum / count as f64))
}

/// One set for each value, in the order of their first spans.
fn grouped(trace: &Trace, spans: &Spans, value: &Value, label: &str) -> Vec<Spans> {
    let (mut sets, mut known): (Vec<Spans>, HashMap<String, usize>) = (Vec::new(), HashMap::new());
    for &at in &spans.places {
        let of = value.of(&trace.row(at).values).alone();
        let mut key = String::new();
        crate::query::exec::stats::write(&of, &mut key);
        let place = *known.entry(key).or_insert_with(|| {
            let mut told = spans.told.clone();
            told.push((label.to_owned(), Told { value: of, is_duration: value.is_duration }));
            sets.push(Spans { places: Vec::new(), told });
            sets.len() - 1
        });
        sets[place].places.push(at);
    }
    sets
}

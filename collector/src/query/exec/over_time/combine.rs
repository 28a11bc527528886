//! What is done with series: arithmetic, the largest and smallest, comparisons.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Numbers;
use super::series::NAME;
use crate::query::over_time::Series;
use crate::query::traceql::{BinaryOp, Literal, Second};

/// A number as series have them: times are seconds.
#[expect(clippy::cast_precision_loss, reason = "series have doubles")]
pub(super) fn number(literal: &Literal) -> f64 {
    match literal {
        Literal::Int(number) => *number as f64,
        Literal::Float(number) => *number,
        Literal::Duration(nanos) => *nanos as f64 / 1e9,
        _ => f64::NAN,
    }
}

/// What series are sorted by.
pub(super) fn key(series: &Series) -> String {
    serde_json::to_string(&series.labels).unwrap_or_default()
}

/// What two series must share to be put together: all labels but the name.
fn shared(series: &Series) -> String {
    let mut labels: Vec<_> = series.labels.iter().filter(|(name, _)| name != NAME).collect();
    labels.sort_by(|a, b| a.0.cmp(&b.0));
    serde_json::to_string(&labels).unwrap_or_default()
}

fn calculated(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        _ => f64::NAN,
    }
}

pub(super) fn joined(op: BinaryOp, left: Numbers, right: Numbers) -> Numbers {
    match (left, right) {
        (Numbers::Same(left), Numbers::Same(right)) => Numbers::Same(calculated(op, left, right)),
        (Numbers::Series(left), Numbers::Same(right)) => {
            Numbers::Series(each(left, |value| calculated(op, value, right)))
        }
        (Numbers::Same(left), Numbers::Series(right)) => {
            Numbers::Series(each(right, |value| calculated(op, left, value)))
        }
        (Numbers::Series(left), Numbers::Series(right)) => Numbers::Series(pairs(op, &left, &right)),
    }
}

fn each(mut series: Vec<Series>, of: impl Fn(f64) -> f64) -> Vec<Series> {
    for one in &mut series {
        one.samples.iter_mut().for_each(|(_, value)| *value = of(*value));
        one.samples.retain(|(_, value)| !value.is_nan());
    }
    series
}

/// Those with the same labels; one without labels goes with each of the others.
fn pairs(op: BinaryOp, left: &[Series], right: &[Series]) -> Vec<Series> {
    let mut out = Vec::new();
    let bare = |series: &Series| series.labels.iter().all(|(name, _)| name == NAME);
    for a in left {
        for b in right {
            if shared(a) == shared(b) || bare(a) || bare(b) {
                out.push(pair(op, a, b));
            }
        }
    }
    out
}

fn pair(op: BinaryOp, a: &Series, b: &Series) -> Series {
    let named = |series: &Series| {
        series
            .labels
            .iter()
            .find(|(name, _)| name == NAME)
            .and_then(|(_, name)| name.as_str().map(str::to_owned))
    };
    let fuller = if a.labels.iter().any(|(name, _)| name != NAME) { a } else { b };
    let mut labels: Vec<_> = fuller.labels.iter().filter(|(name, _)| name != NAME).cloned().collect();
    if let (true, Some(first), Some(second)) = (labels.is_empty(), named(a), named(b)) {
        labels.push((NAME.to_owned(), format!("({first} {} {second})", op.text()).into()));
    }
    let known: BTreeMap<i64, f64> = b.samples.iter().copied().collect();
    let samples = a.samples.iter().filter_map(|(time, value)| {
        let value = calculated(op, *value, *known.get(time)?);
        (!value.is_nan()).then_some((*time, value))
    });
    Series { labels, samples: samples.collect(), exemplars: Vec::new() }
}

/// A second stage.
pub(super) fn second(step: &Second, numbers: Numbers) -> Numbers {
    let Numbers::Series(mut series) = numbers else { return numbers };
    match step {
        Second::Where(op, literal) => {
            let right = number(literal);
            for one in &mut series {
                one.samples.retain(|(_, value)| holds(*op, *value, right));
            }
        }
        Second::TopK(most) => best(&mut series, *most, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))),
        Second::BottomK(most) => best(&mut series, *most, |a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))),
    }
    series.retain(|one| !one.samples.is_empty());
    Numbers::Series(series)
}

fn holds(op: BinaryOp, left: f64, right: f64) -> bool {
    match left.partial_cmp(&right) {
        Some(order) => match op {
            BinaryOp::Eq => order == Ordering::Equal,
            BinaryOp::NotEq => order != Ordering::Equal,
            BinaryOp::Less => order == Ordering::Less,
            BinaryOp::LessEq => order != Ordering::Greater,
            BinaryOp::Greater => order == Ordering::Greater,
            _ => order != Ordering::Less,
        },
        None => false,
    }
}

/// Leaves at each time the samples of so many series, the first in this order of values and of places by labels.
fn best(series: &mut [Series], most: i64, order: impl Fn(&(f64, usize), &(f64, usize)) -> Ordering) {
    series.sort_by_key(key);
    let mut at: BTreeMap<i64, Vec<(f64, usize)>> = BTreeMap::new();
    for (place, one) in series.iter().enumerate() {
        one.samples.iter().for_each(|(time, value)| at.entry(*time).or_default().push((*value, place)));
    }
    for values in at.values_mut() {
        values.sort_by(&order);
        values.truncate(usize::try_from(most).unwrap_or(0));
    }
    for (place, one) in series.iter_mut().enumerate() {
        one.samples.retain(|(time, _)| at[time].iter().any(|(_, kept)| *kept == place));
    }
}

//! What conditions of SQL tell about rows that are worth reading. All of it is checked again afterwards: it serves to leave
//! out what cannot match.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::columns::{Base, Column, From};
use super::json::member_as_text;
use crate::query::engine::{Must, Table, TimeRange};
use crate::query::exec::render::{KINDS, STATUSES};
use crate::value::Value;

/// The times and equalities that conditions ask for.
pub(super) fn asked<'a>(
    table: &Asked<'_>,
    conditions: impl IntoIterator<Item = &'a Expr>,
) -> (TimeRange, Vec<Must>) {
    let (mut time, mut must) = (TimeRange::ALL, Vec::new());
    for condition in conditions {
        if let Some(bound) = table.time(condition) {
            time = TimeRange { from: time.from.max(bound.from), to: time.to.min(bound.to) };
        }
        must.extend(table.must(condition));
    }
    // A range without a time in it is one that ends where it begins.
    (TimeRange { from: time.from.min(time.to), to: time.to }, must)
}

/// A table that conditions are about.
pub(super) struct Asked<'a> {
    pub(super) table: Table,
    pub(super) columns: &'a [Column],
}

impl Asked<'_> {
    /// Whether a condition tells anything.
    pub(super) fn tells(&self, condition: &Expr) -> bool {
        self.time(condition).is_some() || self.must(condition).is_some()
    }

    fn column(&self, expr: &Expr) -> Option<From> {
        match expr {
            Expr::Alias(alias) => self.column(&alias.expr),
            Expr::Column(column) => {
                Some(self.columns.iter().find(|known| known.name == column.name)?.from.clone())
            }
            other => {
                let (column, key) = member_as_text(other)?;
                Some(From::Attribute(Base::named(&column.name)?, key.to_owned()))
            }
        }
    }

    /// The column, the operator as if the column stood on its left, and the value.
    fn compared<'e>(&self, expr: &'e Expr) -> Option<(From, Operator, &'e ScalarValue)> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
        match (left.as_ref(), right.as_ref()) {
            (column, Expr::Literal(value, _)) => Some((self.column(column)?, *op, value)),
            (Expr::Literal(value, _), column) => Some((self.column(column)?, op.swap()?, value)),
            _ => None,
        }
    }

    /// The times that a condition of the time allows, exactly.
    pub(super) fn time(&self, expr: &Expr) -> Option<TimeRange> {
        let (From::Time(name), op, value) = self.compared(expr)? else { return None };
        let &ScalarValue::TimestampNanosecond(Some(at), _) = value else { return None };
        if name != self.table.time_column() {
            return None;
        }
        Some(match op {
            Operator::Gt => TimeRange { from: at.saturating_add(1), to: i64::MAX },
            Operator::GtEq => TimeRange { from: at, to: i64::MAX },
            Operator::Lt => TimeRange { from: i64::MIN, to: at },
            Operator::LtEq => TimeRange { from: i64::MIN, to: at.saturating_add(1) },
            Operator::Eq => TimeRange { from: at, to: at.saturating_add(1) },
            _ => return None,
        })
    }

    fn must(&self, expr: &Expr) -> Option<Must> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Some(Must::AnyOf(vec![self.must(left)?, self.must(right)?]))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.must(left).or_else(|| self.must(right))
            }
            Expr::InList(InList { expr, list, negated: false }) => {
                let column = self.column(expr)?;
                let values = list.iter().map(|value| match value {
                    Expr::Literal(value, _) => equal(&column, value.try_as_str()??),
                    _ => None,
                });
                values.collect::<Option<Vec<_>>>().map(Must::AnyOf)
            }
            Expr::IsNull(inner) if self.column(inner) == Some(From::Hex("parent_span_id")) => {
                Some(Must::Root)
            }
            _ => match self.compared(expr)? {
                (column, Operator::Eq, value) => equal(&column, value.try_as_str()??),
                (column, op, value) => duration(&column, op, value),
            },
        }
    }
}

/// A column that is a text.
fn equal(column: &From, text: &str) -> Option<Must> {
    let small = |names: &[&str]| i8::try_from(names.iter().position(|name| *name == text)?).ok();
    match column {
        From::Text("service") => Some(Must::Service(text.to_owned())),
        From::Text("name") => Some(Must::Name(text.to_owned())),
        From::Hex("trace_id") => Some(Must::Trace(hex::decode(text).ok()?.try_into().ok()?)),
        From::Hex("span_id") => Some(Must::Span(hex::decode(text).ok()?.try_into().ok()?)),
        From::Named("kind", _) => Some(Must::Kind(small(&KINDS)?)),
        From::Named("status", _) => Some(Must::Status(small(&STATUSES)?)),
        From::Attribute(base, key) => {
            let must = |value| match base {
                Base::Attributes => Must::Attribute(key.clone(), value),
                Base::Resource => Must::Resource(key.clone(), value),
            };
            Some(Must::AnyOf(values(text)?.into_iter().map(must).collect()))
        }
        _ => None,
    }
}

/// The values that `->>` shows as this text; none if they cannot be told, as those of lists and objects.
fn values(text: &str) -> Option<Vec<Value>> {
    if text.starts_with(['[', '{']) {
        return None;
    }
    let mut values = vec![Value::String(text.to_owned())];
    match Value::parse(text) {
        Some(value @ (Value::Int(_) | Value::Double(_) | Value::Bool(_))) => values.push(value),
        // What is shown of a value that JSON has not, or of bytes, looks like any text.
        _ if matches!(text, "NaN" | "inf" | "-inf") => return None,
        _ if STANDARD.decode(text).is_ok_and(|bytes| !bytes.is_empty()) => return None,
        _ => {}
    }
    Some(values)
}

fn duration(column: &From, op: Operator, value: &ScalarValue) -> Option<Must> {
    // A microsecond to spare for what is lost when milliseconds are rounded.
    let nanos = match (column, value) {
        (From::Millis, ScalarValue::Float64(Some(millis))) if millis.abs() < 1e12 => millis * 1e6,
        (From::Whole("duration_ns"), ScalarValue::Int64(Some(nanos))) => *nanos as f64,
        _ => return None,
    };
    match op {
        Operator::Gt | Operator::GtEq => {
            Some(Must::DurationAtLeast((nanos.floor() as i64).saturating_sub(1024)))
        }
        Operator::Lt | Operator::LtEq => {
            Some(Must::DurationAtMost((nanos.ceil() as i64).saturating_add(1024)))
        }
        _ => None,
    }
}

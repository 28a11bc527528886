//! Whether a span fulfils a filter.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

use super::ast::{BinaryOp, Expr, Field, Filter, Literal};
use crate::query::QueryError;

/// Bytes of a compiled regular expression at most.
const REGEX_SIZE: usize = 1 << 20;

/// What a span has for a field.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the types of the language")]
pub enum Datum<'a> {
    /// Nothing.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer; durations are nanoseconds.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// OTLP's number of a status.
    Status(i8),
    /// OTLP's number of a kind.
    Kind(i8),
    /// Several values, such as those of an array or of all events: a comparison holds if it holds for one of them.
    List(Vec<Self>),
}

/// A span, as a filter sees it.
pub trait Row {
    /// The value of the field with this number in [`Compiled::fields`].
    fn value(&self, field: usize) -> Datum<'_>;
}

/// A filter that can be put to many spans.
#[derive(Debug)]
pub struct Compiled {
    node: Option<Node>,
    fields: Vec<Field>,
}

#[derive(Debug)]
enum Node {
    Value(Datum<'static>),
    Field(usize),
    Not(Box<Self>),
    Negate(Box<Self>),
    Regex { of: Box<Self>, regex: Regex, negated: bool },
    Binary(BinaryOp, Box<Self>, Box<Self>),
}

/// The expression of a pattern, which has to match a whole text, as in Tempo.
pub(super) fn regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(REGEX_SIZE)
        .build()
        .map_err(|error| format!("{pattern:?} is no regular expression: {error}"))
}

impl Filter {
    /// Makes it ready for many spans.
    ///
    /// # Errors
    /// When a regular expression is none.
    pub fn compile(&self) -> Result<Compiled, QueryError> {
        let fields = self.fields();
        let node = self.expr.as_ref().map(|expr| Node::of(expr, &fields)).transpose()?;
        Ok(Compiled { node, fields })
    }
}

impl Compiled {
    /// The fields that it asks spans for.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether a span fulfils it.
    pub fn matches(&self, row: &impl Row) -> bool {
        self.node.as_ref().is_none_or(|node| truth(&node.value(row)))
    }
}

fn truth(datum: &Datum<'_>) -> bool {
    match datum {
        Datum::Bool(value) => *value,
        Datum::List(values) => values.iter().any(truth),
        _ => false,
    }
}

impl Node {
    fn of(expr: &Expr, fields: &[Field]) -> Result<Self, QueryError> {
        Ok(match expr {
            Expr::Literal(literal) => Self::Value(datum(literal)),
            Expr::Field(field) => {
                Self::Field(fields.iter().position(|known| known == field).unwrap_or(usize::MAX))
            }
            Expr::Not(inner) => Self::Not(Box::new(Self::of(inner, fields)?)),
            Expr::Negate(inner) => Self::Negate(Box::new(Self::of(inner, fields)?)),
            Expr::Binary { op: op @ (BinaryOp::Regex | BinaryOp::NotRegex), left, right } => {
                let Expr::Literal(Literal::String(pattern)) = &**right else {
                    return Err(QueryError::invalid("a regular expression is a text in quotes"));
                };
                let of = Box::new(Self::of(left, fields)?);
                Self::Regex {
                    of,
                    regex: regex(pattern).map_err(QueryError::invalid)?,
                    negated: *op == BinaryOp::NotRegex,
                }
            }
            Expr::Binary { op, left, right } => {
                Self::Binary(*op, Box::new(Self::of(left, fields)?), Box::new(Self::of(right, fields)?))
            }
        })
    }

    fn value<'a>(&'a self, row: &'a impl Row) -> Datum<'a> {
        match self {
            Self::Value(value) => value.clone(),
            Self::Field(field) => row.value(*field),
            Self::Not(inner) => match inner.value(row) {
                Datum::Bool(value) => Datum::Bool(!value),
                _ => Datum::Bool(false),
            },
            Self::Negate(inner) => match inner.value(row) {
                Datum::Int(number) => Datum::Int(number.saturating_neg()),
                Datum::Float(number) => Datum::Float(-number),
                _ => Datum::Nil,
            },
            Self::Regex { of, regex, negated } => Datum::Bool(any(&of.value(row), &|datum| match datum {
                Datum::Text(text) => regex.is_match(text) != *negated,
                _ => false,
            })),
            Self::Binary(BinaryOp::And, left, right) => {
                Datum::Bool(truth(&left.value(row)) && truth(&right.value(row)))
            }
            Self::Binary(BinaryOp::Or, left, right) => {
                Datum::Bool(truth(&left.value(row)) || truth(&right.value(row)))
            }
            Self::Binary(op, left, right) => {
                let (left, right) = (left.value(row), right.value(row));
                match op {
                    BinaryOp::Add
                    | BinaryOp::Sub
                    | BinaryOp::Mul
                    | BinaryOp::Div
                    | BinaryOp::Mod
                    | BinaryOp::Pow => arithmetic(*op, &left, &right),
                    op => Datum::Bool(any(&left, &|left| any(&right, &|right| compare(*op, left, right)))),
                }
            }
        }
    }
}

fn datum(literal: &Literal) -> Datum<'static> {
    match literal {
        Literal::String(text) => Datum::Text(Cow::Owned(text.clone())),
        Literal::Int(number) | Literal::Duration(number) => Datum::Int(*number),
        Literal::Float(number) => Datum::Float(*number),
        Literal::Bool(value) => Datum::Bool(*value),
        Literal::Status(status) => Datum::Status(*status),
        Literal::Kind(kind) => Datum::Kind(*kind),
        Literal::Nil => Datum::Nil,
    }
}

fn any(datum: &Datum<'_>, test: &impl Fn(&Datum<'_>) -> bool) -> bool {
    match datum {
        Datum::List(values) => values.iter().any(test),
        datum => test(datum),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of different types are compared as doubles, as in Tempo"
)]
fn order(left: &Datum<'_>, right: &Datum<'_>) -> Option<std::cmp::Ordering> {
    match (left, right) {
        (Datum::Int(a), Datum::Int(b)) => Some(a.cmp(b)),
        (Datum::Int(a), Datum::Float(b)) => (*a as f64).partial_cmp(b),
        (Datum::Float(a), Datum::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Datum::Float(a), Datum::Float(b)) => a.partial_cmp(b),
        (Datum::Text(a), Datum::Text(b)) => Some(a.cmp(b)),
        (Datum::Bool(a), Datum::Bool(b)) => Some(a.cmp(b)),
        (Datum::Status(a), Datum::Status(b)) | (Datum::Kind(a), Datum::Kind(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn compare(op: BinaryOp, left: &Datum<'_>, right: &Datum<'_>) -> bool {
    if matches!((left, right), (Datum::Nil, _) | (_, Datum::Nil)) {
        let both = matches!((left, right), (Datum::Nil, Datum::Nil));
        // Only a `nil` that is written tells whether something is there; its other side is never one by chance.
        return match op {
            BinaryOp::Eq => both,
            BinaryOp::NotEq => !both && matches!(right, Datum::Nil),
            _ => false,
        };
    }
    let Some(order) = order(left, right) else { return false };
    match op {
        BinaryOp::Eq => order.is_eq(),
        BinaryOp::NotEq => order.is_ne(),
        BinaryOp::Less => order.is_lt(),
        BinaryOp::LessEq => order.is_le(),
        BinaryOp::Greater => order.is_gt(),
        BinaryOp::GreaterEq => order.is_ge(),
        _ => false,
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of different types are added as doubles")]
fn arithmetic(op: BinaryOp, left: &Datum<'_>, right: &Datum<'_>) -> Datum<'static> {
    if let (Datum::Int(a), Datum::Int(b)) = (left, right) {
        let whole = match op {
            BinaryOp::Add => a.checked_add(*b),
            BinaryOp::Sub => a.checked_sub(*b),
            BinaryOp::Mul => a.checked_mul(*b),
            BinaryOp::Div => a.checked_div(*b),
            BinaryOp::Mod => a.checked_rem(*b),
            _ => u32::try_from(*b).ok().and_then(|b| a.checked_pow(b)),
        };
        if let Some(whole) = whole {
            return Datum::Int(whole);
        }
    }
    let number = |datum: &Datum<'_>| match datum {
        Datum::Int(number) => Some(*number as f64),
        Datum::Float(number) => Some(*number),
        _ => None,
    };
    let (Some(a), Some(b)) = (number(left), number(right)) else { return Datum::Nil };
    let result = match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        _ => a.powf(b),
    };
    if result.is_finite() { Datum::Float(result) } else { Datum::Nil }
}

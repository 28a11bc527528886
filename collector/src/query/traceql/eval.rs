//! Whether a span fulfils a filter.

use std::borrow::Cow;

use regex::Regex;

use super::ast::{BinaryOp, Expr, Filter, Literal};
use super::field::{Field, Intrinsic};
use super::pattern::regex;
use crate::query::QueryError;

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
    /// The elements of an array: a comparison holds if it holds for one of them, and `!=` and `!~` if they hold for all.
    List(Vec<Self>),
    /// What each of several events or links has: a comparison holds if it holds for one of them, whichever it is.
    Each(Vec<Self>),
}

impl Datum<'_> {
    /// A single element as the value that it is, as Tempo shows it.
    pub(crate) fn alone(self) -> Self {
        match self {
            Self::List(mut values) | Self::Each(mut values) if values.len() == 1 => values.remove(0),
            other => other,
        }
    }
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
    /// A field that is an empty text where a span has none.
    Always(usize),
    Not(Box<Self>),
    Negate(Box<Self>),
    /// Whether something is there.
    Exists {
        of: Box<Self>,
        negated: bool,
    },
    Regex {
        of: Box<Self>,
        regex: Regex,
        negated: bool,
    },
    /// `times`: one of them is a duration.
    Arithmetic {
        op: BinaryOp,
        left: Box<Self>,
        right: Box<Self>,
        times: bool,
    },
    Binary(BinaryOp, Box<Self>, Box<Self>),
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

    /// What a span has for it: of a condition true or false, of another expression its value.
    pub fn value<'a>(&'a self, row: &'a impl Row) -> Datum<'a> {
        self.node.as_ref().map_or(Datum::Nil, |node| node.value(row))
    }

    /// Whether a span fulfils it.
    pub fn matches(&self, row: &impl Row) -> bool {
        self.node.as_ref().is_none_or(|node| truth(&node.value(row)))
    }
}

fn truth(datum: &Datum<'_>) -> bool {
    match datum {
        Datum::Bool(value) => *value,
        Datum::List(values) | Datum::Each(values) => values.iter().any(truth),
        _ => false,
    }
}

impl Node {
    fn of(expr: &Expr, fields: &[Field]) -> Result<Self, QueryError> {
        Ok(match expr {
            Expr::Literal(literal) => Self::Value(datum(literal)),
            Expr::Field(field) => {
                let place = fields.iter().position(|known| known == field).unwrap_or(usize::MAX);
                if field.is_always_text() { Self::Always(place) } else { Self::Field(place) }
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
            Expr::Binary { op: op @ (BinaryOp::Eq | BinaryOp::NotEq), left, right }
                if is_nil(left) || is_nil(right) =>
            {
                let of = if is_nil(right) { left } else { right };
                // Nil itself neither is there nor is missing.
                if is_nil(of) {
                    return Ok(Self::Value(Datum::Bool(false)));
                }
                let of = match (Self::of(of, fields)?, &**of) {
                    // That of a root is empty where it is compared, and still is none.
                    (Self::Always(place), Expr::Field(Field::Intrinsic(Intrinsic::ParentId))) => {
                        Self::Field(place)
                    }
                    (of, _) => of,
                };
                Self::Exists { of: Box::new(of), negated: *op == BinaryOp::Eq }
            }
            Expr::Binary { op, left, right } => {
                let times = is_duration(left) || is_duration(right);
                let (left, right) = (Box::new(Self::of(left, fields)?), Box::new(Self::of(right, fields)?));
                if op.is_arithmetic() {
                    Self::Arithmetic { op: *op, left, right, times }
                } else {
                    Self::Binary(*op, left, right)
                }
            }
        })
    }

    fn value<'a>(&'a self, row: &'a impl Row) -> Datum<'a> {
        match self {
            Self::Value(value) => value.clone(),
            Self::Field(field) => row.value(*field),
            Self::Always(field) => match row.value(*field) {
                Datum::Nil => Datum::Text(Cow::Borrowed("")),
                value => value,
            },
            Self::Not(inner) => match inner.value(row) {
                Datum::Bool(value) => Datum::Bool(!value),
                _ => Datum::Bool(false),
            },
            Self::Negate(inner) => negated(&inner.value(row)),
            Self::Exists { of, negated } => Datum::Bool((of.value(row) == Datum::Nil) == *negated),
            Self::Regex { of, regex, negated } => {
                let holds = |datum: &Datum<'_>| match datum {
                    Datum::Text(text) => regex.is_match(text) != *negated,
                    _ => false,
                };
                Datum::Bool(any_or_all(*negated, &of.value(row), &holds))
            }
            Self::Arithmetic { op, left, right, times } => {
                arithmetic(*op, &left.value(row), &right.value(row), *times)
            }
            Self::Binary(BinaryOp::And, left, right) => {
                Datum::Bool(truth(&left.value(row)) && truth(&right.value(row)))
            }
            Self::Binary(BinaryOp::Or, left, right) => {
                Datum::Bool(truth(&left.value(row)) || truth(&right.value(row)))
            }
            Self::Binary(op, left, right) => {
                let (left, right, all) = (left.value(row), right.value(row), *op == BinaryOp::NotEq);
                Datum::Bool(any_or_all(all, &left, &|left| {
                    any_or_all(all, &right, &|right| compare(*op, left, right))
                }))
            }
        }
    }
}

fn negated(datum: &Datum<'_>) -> Datum<'static> {
    match datum {
        Datum::Int(number) => Datum::Int(number.saturating_neg()),
        Datum::Float(number) => Datum::Float(-number),
        Datum::Each(values) => Datum::Each(values.iter().map(negated).collect()),
        _ => Datum::Nil,
    }
}

fn is_nil(expr: &Expr) -> bool {
    *expr == Expr::Literal(Literal::Nil)
}

/// Whether it is a time in nanoseconds. What is made of one by arithmetic is a plain number.
pub(crate) fn is_duration(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(Literal::Duration(_)) => true,
        Expr::Field(field) => field.is_duration(),
        Expr::Negate(inner) => is_duration(inner),
        _ => false,
    }
}

/// What a literal says.
pub(crate) fn datum(literal: &Literal) -> Datum<'static> {
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

/// Whether a test holds for one of the values, or for all of them.
fn any_or_all(all: bool, datum: &Datum<'_>, test: &dyn Fn(&Datum<'_>) -> bool) -> bool {
    match datum {
        Datum::List(values) if all => values.iter().all(test),
        Datum::List(values) => values.iter().any(test),
        Datum::Each(values) => values.iter().any(|value| any_or_all(all, value, test)),
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

/// Whether two values compare so.
pub(crate) fn compare(op: BinaryOp, left: &Datum<'_>, right: &Datum<'_>) -> bool {
    // Nothing is compared with what is missing, nor with what has another type.
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
/// What two numbers make; `times` if one of them is a time.
pub(crate) fn arithmetic(op: BinaryOp, left: &Datum<'_>, right: &Datum<'_>, times: bool) -> Datum<'static> {
    // Of events and links each has a result of its own.
    match (left, right) {
        (Datum::Each(values), other) => {
            return Datum::Each(values.iter().map(|value| arithmetic(op, value, other, times)).collect());
        }
        (other, Datum::Each(values)) => {
            return Datum::Each(values.iter().map(|value| arithmetic(op, other, value, times)).collect());
        }
        _ => {}
    }
    // Integers make integers, `5 / 2 = 2`; with times it is `1s / 2 = 0.5s` and `3s / 2s = 1.5`.
    if let (Datum::Int(a), Datum::Int(b), false) = (left, right, times) {
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
        if *b == 0 && matches!(op, BinaryOp::Div | BinaryOp::Mod) {
            return Datum::Nil;
        }
    }
    let number = |datum: &Datum<'_>| match datum {
        Datum::Int(number) => Some(*number as f64),
        Datum::Float(number) => Some(*number),
        _ => None,
    };
    let (Some(a), Some(b)) = (number(left), number(right)) else { return Datum::Nil };
    Datum::Float(match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        _ => a.powf(b),
    })
}

//! Which rows of a batch fulfil a filter: found out value by value where rows share values, else row by row.

use std::borrow::Cow;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int8Type, Int32Type};

use super::bind::{Bound, Source};
use super::coded::Coded;
use crate::query::engine::QueryError;
use crate::query::traceql::{BinaryOp, Compiled, Datum, Expr, Field, Filter, Intrinsic, Literal, Row};

/// A filter that can be put to batches.
pub(super) struct Condition {
    node: Option<Node>,
    fields: Vec<Field>,
}

enum Node {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    /// A condition, and where in the fields of the filter its own are.
    Leaf {
        compiled: Compiled,
        fields: Vec<usize>,
        /// The condition, if it compares its only field with an integer.
        integer: Option<(BinaryOp, i64)>,
        /// Whether its only field is to be there, if that is the condition.
        present: Option<bool>,
    },
}

impl Condition {
    pub(super) fn new(filter: &Filter) -> Result<Self, QueryError> {
        let fields = filter.fields();
        let node = filter.expr.as_ref().map(|expr| Node::of(expr, &fields)).transpose()?;
        Ok(Self { node, fields })
    }

    /// Whether every row fulfils it.
    pub(super) const fn is_of_all(&self) -> bool {
        self.node.is_none()
    }

    /// The fields that it asks rows for.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Leaves of the rows those that fulfil it; `bound` is that of its fields.
    pub(super) fn keep(&self, bound: &Bound<'_>, rows: &mut Vec<u32>) {
        if let Some(node) = &self.node {
            node.keep(bound, rows);
        }
    }
}

impl Node {
    fn of(expr: &Expr, all: &[Field]) -> Result<Self, QueryError> {
        let part = |expr: &Expr| Self::of(expr, all).map(Box::new);
        match expr {
            Expr::Binary { op: BinaryOp::And, left, right } => Ok(Self::And(part(left)?, part(right)?)),
            Expr::Binary { op: BinaryOp::Or, left, right } => Ok(Self::Or(part(left)?, part(right)?)),
            expr => {
                let compiled = Filter { expr: Some(expr.clone()) }.compile()?;
                let place = |field| all.iter().position(|known| known == field).unwrap_or(usize::MAX);
                let fields = compiled.fields().iter().map(place).collect();
                Ok(Self::Leaf { compiled, fields, integer: integer(expr), present: present(expr) })
            }
        }
    }

    fn keep(&self, bound: &Bound<'_>, rows: &mut Vec<u32>) {
        match self {
            Self::And(left, right) => {
                left.keep(bound, rows);
                if !rows.is_empty() {
                    right.keep(bound, rows);
                }
            }
            Self::Or(left, right) => {
                let mut found = rows.clone();
                left.keep(bound, &mut found);
                let mut known = found.iter().copied().peekable();
                let mut others = rows.clone();
                others.retain(|row| known.next_if_eq(row).is_none());
                right.keep(bound, &mut others);
                let (mut left, mut right) = (found.into_iter().peekable(), others.into_iter().peekable());
                // Both are in the order of the rows, and no row is in both.
                rows.retain(|row| left.next_if_eq(row).is_some() || right.next_if_eq(row).is_some());
            }
            Self::Leaf { compiled, fields, integer, present } => {
                if let &[field] = fields.as_slice() {
                    if let (Some((op, number)), Some(column)) = (*integer, bound.ints(field)) {
                        let values = column.values();
                        let holds = |row: u32| compare(op, values[row as usize], number);
                        match column.nulls() {
                            None => rows.retain(|&row| holds(row)),
                            Some(nulls) => rows.retain(|&row| nulls.is_valid(row as usize) && holds(row)),
                        }
                        return;
                    }
                    if let (Some(present), Some(column)) = (*present, bound.column(field)) {
                        match column.nulls() {
                            None if present => {}
                            None => rows.clear(),
                            Some(nulls) => rows.retain(|&row| nulls.is_valid(row as usize) == present),
                        }
                        return;
                    }
                    if bound.source(field).is_some_and(|source| keep_coded(source, compiled, rows)) {
                        return;
                    }
                    if let Some(coded) = bound.source(field).and_then(|source| Coded::of(source, rows)) {
                        let holds: Vec<bool> =
                            coded.values.iter().map(|value| compiled.matches(&One(value))).collect();
                        let mut codes = coded.codes.iter();
                        rows.retain(|_| codes.next().is_some_and(|&code| holds[code as usize]));
                        return;
                    }
                }
                let matches = |row: u32| compiled.matches(&Mapped { bound, fields, row: row as usize });
                // Without fields it is the same for all, as in `{ nestedSetParent < 0 && true }`.
                match rows.first() {
                    Some(&first) if fields.is_empty() => {
                        if !matches(first) {
                            rows.clear();
                        }
                    }
                    _ => rows.retain(|&row| matches(row)),
                }
            }
        }
    }
}

/// Leaves rows by the numbers that their columns have for texts and statuses: what holds for each of these is found out once, and
/// no row is given a number of its own, which takes longer than all else. Not if there are many values for so few rows: most may not be in use.
fn keep_coded(source: &Source<'_>, compiled: &Compiled, rows: &mut Vec<u32>) -> bool {
    let holds = |value: &Datum<'_>| compiled.matches(&One(value));
    match source {
        Source::Texts(column, texts) if texts.len() <= rows.len() / 8 => {
            let keys = column.as_dictionary::<Int32Type>().keys();
            let of_nil = holds(&Datum::Nil);
            let of_text =
                |text: Option<&str>| text.map_or(of_nil, |text| holds(&Datum::Text(Cow::Borrowed(text))));
            let held: Vec<bool> = texts.iter().map(of_text).collect();
            let values = keys.values();
            let is_held = |row: u32| {
                usize::try_from(values[row as usize])
                    .ok()
                    .and_then(|key| held.get(key).copied())
                    .unwrap_or(of_nil)
            };
            match keys.nulls() {
                None => rows.retain(|&row| is_held(row)),
                Some(nulls) => {
                    rows.retain(|&row| if nulls.is_valid(row as usize) { is_held(row) } else { of_nil });
                }
            }
            true
        }
        Source::Status(column) if column.null_count() == 0 => {
            let statuses = column.as_primitive::<Int8Type>().values();
            let mut held = [None; 256];
            rows.retain(|&row| {
                let status = statuses[row as usize];
                let known = &mut held[usize::from(status.cast_unsigned())];
                *known.get_or_insert_with(|| holds(&Datum::Status(status)))
            });
            true
        }
        _ => false,
    }
}

/// A comparison of a duration or an attribute with an integer, that is false where there is none.
fn integer(expr: &Expr) -> Option<(BinaryOp, i64)> {
    let Expr::Binary { op, left, right } = expr else { return None };
    let known = matches!(
        op,
        BinaryOp::Eq
            | BinaryOp::NotEq
            | BinaryOp::Less
            | BinaryOp::LessEq
            | BinaryOp::Greater
            | BinaryOp::GreaterEq
    );
    match (&**left, &**right) {
        (
            Expr::Field(Field::Attribute { .. } | Field::Intrinsic(Intrinsic::Duration)),
            Expr::Literal(Literal::Int(number) | Literal::Duration(number)),
        ) if known => Some((*op, *number)),
        _ => None,
    }
}

/// Whether an attribute or an id is asked to be there.
fn present(expr: &Expr) -> Option<bool> {
    let Expr::Binary { op: op @ (BinaryOp::Eq | BinaryOp::NotEq), left, right } = expr else { return None };
    let is_field = matches!(
        **left,
        Expr::Field(Field::Attribute { .. } | Field::Intrinsic(Intrinsic::ParentId | Intrinsic::Duration))
    );
    (is_field && **right == Expr::Literal(Literal::Nil)).then_some(*op == BinaryOp::NotEq)
}

const fn compare(op: BinaryOp, left: i64, right: i64) -> bool {
    match op {
        BinaryOp::Eq => left == right,
        BinaryOp::NotEq => left != right,
        BinaryOp::Less => left < right,
        BinaryOp::LessEq => left <= right,
        BinaryOp::Greater => left > right,
        _ => left >= right,
    }
}

/// A row that has one value.
struct One<'a>(&'a Datum<'a>);

impl Row for One<'_> {
    fn value(&self, _: usize) -> Datum<'_> {
        super::bind::borrowed(self.0)
    }
}

/// A row, as a part of a filter sees it.
struct Mapped<'a> {
    bound: &'a Bound<'a>,
    fields: &'a [usize],
    row: usize,
}

impl Row for Mapped<'_> {
    fn value(&self, field: usize) -> Datum<'_> {
        self.fields.get(field).map_or(Datum::Nil, |&field| self.bound.value(field, self.row))
    }
}

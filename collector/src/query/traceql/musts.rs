//! What a span must have to fulfil a filter: for the index.

use super::ast::{BinaryOp, Expr, Filter, Literal};
use super::field::{Field, Intrinsic, Scope};
use crate::query::Must;
use crate::value::Value;

impl Filter {
    /// Conditions that every span which fulfils the filter fulfils.
    pub fn musts(&self) -> Vec<Must> {
        self.expr.as_ref().map_or_else(Vec::new, of)
    }
}

fn of(expr: &Expr) -> Vec<Must> {
    match expr {
        Expr::Field(field) => attribute(field, &Value::Bool(true)).into_iter().collect(),
        Expr::Binary { op: BinaryOp::And, left, right } => {
            let mut musts = of(left);
            musts.extend(of(right));
            musts
        }
        Expr::Binary { op: BinaryOp::Or, left, right } => {
            match (of(left).into_iter().next(), of(right).into_iter().next()) {
                (Some(left), Some(right)) => vec![Must::AnyOf(vec![left, right])],
                _ => Vec::new(),
            }
        }
        Expr::Binary { op, left, right } => match (&**left, &**right) {
            (Expr::Field(field), Expr::Literal(literal)) => {
                compared(*op, field, literal).into_iter().collect()
            }
            (Expr::Literal(literal), Expr::Field(field)) => {
                turned(*op).and_then(|op| compared(op, field, literal)).into_iter().collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The operator with its sides exchanged.
const fn turned(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Eq => BinaryOp::Eq,
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEq => BinaryOp::GreaterEq,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEq => BinaryOp::LessEq,
        _ => return None,
    })
}

fn compared(op: BinaryOp, field: &Field, literal: &Literal) -> Option<Must> {
    if let (Field::Intrinsic(Intrinsic::Duration), Literal::Duration(nanos) | Literal::Int(nanos)) =
        (field, literal)
    {
        return match op {
            BinaryOp::Greater => Some(Must::DurationAtLeast(nanos.saturating_add(1))),
            BinaryOp::GreaterEq => Some(Must::DurationAtLeast(*nanos)),
            BinaryOp::Less => Some(Must::DurationAtMost(nanos.saturating_sub(1))),
            BinaryOp::LessEq => Some(Must::DurationAtMost(*nanos)),
            _ => None,
        };
    }
    if op != BinaryOp::Eq {
        return None;
    }
    match (field, literal) {
        (Field::Intrinsic(Intrinsic::Status), Literal::Status(status)) => Some(Must::Status(*status)),
        (Field::Intrinsic(Intrinsic::Kind), Literal::Kind(kind)) => Some(Must::Kind(*kind)),
        (Field::Intrinsic(Intrinsic::Name), Literal::String(name)) => Some(Must::Name(name.clone())),
        (Field::Intrinsic(Intrinsic::EventName), Literal::String(name)) => {
            Some(Must::EventName(name.clone()))
        }
        (Field::Intrinsic(Intrinsic::TraceId), Literal::String(id)) => id_of(id).map(Must::Trace),
        (Field::Intrinsic(Intrinsic::SpanId), Literal::String(id)) => id_of(id).map(Must::Span),
        (Field::Intrinsic(Intrinsic::LinkTraceId), Literal::String(id)) => id_of(id).map(Must::LinkTrace),
        (Field::Intrinsic(Intrinsic::ParentId), Literal::Nil) => Some(Must::Root),
        (field, literal) => attribute(field, &value(literal)?),
    }
}

/// An id of hex digits in the form in which ids are compared: lower case, whole.
fn id_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut id = [0; N];
    (text.bytes().all(|byte| !byte.is_ascii_uppercase()) && hex::decode_to_slice(text, &mut id).is_ok())
        .then_some(id)
}

fn value(literal: &Literal) -> Option<Value> {
    Some(match literal {
        Literal::String(text) => Value::String(text.clone()),
        Literal::Int(number) | Literal::Duration(number) => Value::Int(*number),
        Literal::Float(number) => Value::Double(*number),
        Literal::Bool(value) => Value::Bool(*value),
        _ => return None,
    })
}

fn attribute(field: &Field, value: &Value) -> Option<Must> {
    let Field::Attribute { scope, key } = field else { return None };
    // Those that lack it have this too.
    if field.is_always_text() && *value == Value::String(String::new()) {
        return None;
    }
    let (key, value) = (key.clone(), value.clone());
    Some(match scope {
        Scope::Any => {
            Must::AnyOf(vec![Must::Attribute(key.clone(), value.clone()), Must::Resource(key, value)])
        }
        Scope::Span => Must::Attribute(key, value),
        Scope::Resource => Must::Resource(key, value),
        Scope::Event => Must::Event(key, value),
        Scope::Link => Must::Link(key, value),
        Scope::Instrumentation => Must::Scope(key, value),
        Scope::Parent | Scope::ParentSpan | Scope::ParentResource => return None,
    })
}

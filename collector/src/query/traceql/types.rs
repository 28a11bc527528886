//! What is known of a part of a condition before any span is seen, and what operators take.

use super::ast::{BinaryOp, Expr, Literal};
use super::field::{Field, Intrinsic, Scope};
use super::lexer::error;
use crate::query::QueryError;

/// A type of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Whatever a span has.
    Dynamic,
    Bool,
    Number,
    Text,
    Status,
    Kind,
    Nil,
}

impl Type {
    pub(super) const fn shown(self) -> &'static str {
        match self {
            Self::Dynamic => "an attribute",
            Self::Bool => "true or false",
            Self::Number => "a number or a duration",
            Self::Text => "a text",
            Self::Status => "a status (error, ok, unset)",
            Self::Kind => "a kind (client, server, internal, producer, consumer, unspecified)",
            Self::Nil => "nil",
        }
    }

    pub(super) const fn of(literal: &Literal) -> Self {
        match literal {
            Literal::String(_) => Self::Text,
            Literal::Int(_) | Literal::Float(_) | Literal::Duration(_) => Self::Number,
            Literal::Bool(_) => Self::Bool,
            Literal::Status(_) => Self::Status,
            Literal::Kind(_) => Self::Kind,
            Literal::Nil => Self::Nil,
        }
    }

    pub(super) const fn of_field(field: &Field) -> Self {
        let Field::Intrinsic(intrinsic) = field else { return Self::Dynamic };
        match intrinsic {
            Intrinsic::Duration
            | Intrinsic::TraceDuration
            | Intrinsic::EventTimeSinceStart
            | Intrinsic::ChildCount
            | Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent => Self::Number,
            Intrinsic::Status => Self::Status,
            Intrinsic::Kind => Self::Kind,
            Intrinsic::Parent => Self::Dynamic,
            _ => Self::Text,
        }
    }

    /// Whether a span may turn out to have a value of one of these types.
    fn may_be(self, types: &[Self]) -> bool {
        self == Self::Dynamic || types.contains(&self)
    }
}

/// The type of two parts with an operator between them, if it takes them.
pub(super) fn check(op: BinaryOp, left: Type, right: Type, at: usize) -> Result<Type, QueryError> {
    use BinaryOp as Op;
    let both = |types: &[Type]| left.may_be(types) && right.may_be(types);
    let fits = match op {
        Op::And | Op::Or => both(&[Type::Bool]),
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Mod | Op::Pow => both(&[Type::Number]),
        Op::Regex | Op::NotRegex => both(&[Type::Text]),
        Op::Less | Op::LessEq | Op::Greater | Op::GreaterEq => both(&[Type::Number]) || both(&[Type::Text]),
        Op::Eq | Op::NotEq => {
            let loose = |kind| matches!(kind, Type::Dynamic | Type::Nil);
            left == right || loose(left) || loose(right)
        }
    };
    if !fits {
        let message = format!("`{}` cannot stand between {} and {}", op.text(), left.shown(), right.shown());
        return Err(error(at, message));
    }
    Ok(match op {
        _ if !op.is_arithmetic() => Type::Bool,
        _ if left == Type::Dynamic => right,
        _ => left,
    })
}

/// The type of a part with a sign before it, if it can have one.
pub(super) fn check_sign(sign: char, takes: Type, of: Type, at: usize) -> Result<Type, QueryError> {
    if of.may_be(&[takes]) {
        return Ok(of);
    }
    Err(error(at, format!("`{sign}` is for {}, this is {}", takes.shown(), of.shown())))
}

/// `= nil` asks whether something is missing, and some things never are. A root has no parent, so the id of that may be.
pub(super) fn check_nil(op: BinaryOp, of: &Expr, at: usize) -> Result<(), QueryError> {
    let Expr::Field(field) = of else { return Ok(()) };
    let always = match field {
        Field::Intrinsic(Intrinsic::ParentId) => false,
        Field::Intrinsic(_) => true,
        Field::Attribute { scope, key } => *scope == Scope::Resource && key == "service.name",
    };
    if always && op == BinaryOp::Eq {
        return Err(error(at, format!("`{field}` is never nil")));
    }
    Ok(())
}

pub(super) fn check_regex(right: &Expr, at: usize) -> Result<(), QueryError> {
    let Expr::Literal(Literal::String(pattern)) = right else {
        return Err(error(at, "a regular expression is a text in quotes"));
    };
    super::pattern::regex(pattern).map(|_| ()).map_err(|message| error(at, message))
}

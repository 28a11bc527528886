//! Roots, which single spans tell of.

use super::ast::{BinaryOp, Expr, Filter, Literal};
use super::field::{Field, Intrinsic};

impl Filter {
    /// The filter with `nestedSetParent < 0`, which is how Tempo's users and Grafana ask for roots, as `span:parentID = nil`. Other
    /// spans have a number of at least 0 there.
    pub(crate) fn with_roots(&self) -> Self {
        Self { expr: self.expr.clone().map(with_roots) }
    }
}

fn with_roots(expr: Expr) -> Expr {
    match expr {
        Expr::Not(inner) => Expr::Not(Box::new(with_roots(*inner))),
        Expr::Binary { op, left, right } => {
            let number = match &*right {
                Expr::Literal(Literal::Int(0)) => Some(0),
                Expr::Negate(inner) if **inner == Expr::Literal(Literal::Int(1)) => Some(-1),
                _ => None,
            };
            let root = match (op, number) {
                (BinaryOp::Less, Some(0)) | (BinaryOp::LessEq | BinaryOp::Eq, Some(-1)) => Some(BinaryOp::Eq),
                (BinaryOp::GreaterEq, Some(0)) | (BinaryOp::Greater | BinaryOp::NotEq, Some(-1)) => {
                    Some(BinaryOp::NotEq)
                }
                _ => None,
            };
            match root.filter(|_| *left == Expr::Field(Field::Intrinsic(Intrinsic::NestedSetParent))) {
                Some(op) => Expr::Binary {
                    op,
                    left: Box::new(Expr::Field(Field::Intrinsic(Intrinsic::ParentId))),
                    right: Box::new(Expr::Literal(Literal::Nil)),
                },
                None => Expr::Binary {
                    op,
                    left: Box::new(with_roots(*left)),
                    right: Box::new(with_roots(*right)),
                },
            }
        }
        other => other,
    }
}

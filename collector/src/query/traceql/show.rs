//! Queries as texts that parse to the same query: parentheses stand only where a part binds looser than what is around it,
//! so that a long chain stays as flat as it was written.

use std::fmt;

use super::ast::{BinaryOp, Expr, Filter, KINDS, Literal, NEGATE, NOT, STATUSES};
use super::query::{Body, Function, Hint, Metrics, Pipeline, Query, Scalar, Second, Spanset, Stage};

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => {
                let mut out = String::new();
                crate::value::write_string(text, &mut out);
                f.write_str(&out)
            }
            // The number without its sign would not fit.
            Self::Int(i64::MIN) => f.write_str("minInt"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) if number.fract() == 0.0 => write!(f, "{number:.1}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Duration(nanos) => write!(f, "{nanos}ns"),
            Self::Status(status) => f.write_str(named(&STATUSES, *status)),
            Self::Kind(kind) => f.write_str(named(&KINDS, *kind)),
            Self::Nil => f.write_str("nil"),
        }
    }
}

fn named(names: &[&'static str], number: i8) -> &'static str {
    usize::try_from(number).ok().and_then(|number| names.get(number)).copied().unwrap_or(names[0])
}

/// Two parts around an operator, each in parentheses if it binds looser than this.
fn around(
    f: &mut fmt::Formatter<'_>,
    (left, left_binds): (&dyn fmt::Display, u8),
    (op, binds, right_least): (&str, u8, u8),
    (right, right_binds): (&dyn fmt::Display, u8),
) -> fmt::Result {
    // What groups from the right needs parentheses on its left.
    let left_least = if right_least == binds { binds + 1 } else { binds };
    if left_binds < left_least {
        write!(f, "({left})")?
    } else {
        write!(f, "{left}")?
    }
    write!(f, " {op} ")?;
    if right_binds < right_least { write!(f, "({right})") } else { write!(f, "{right}") }
}

fn binary(
    f: &mut fmt::Formatter<'_>,
    op: BinaryOp,
    left: (&dyn fmt::Display, u8),
    right: (&dyn fmt::Display, u8),
) -> fmt::Result {
    around(f, left, (op.text(), op.precedence(), op.right_precedence()), right)
}

impl Expr {
    /// How tight it holds together.
    const fn binds(&self) -> u8 {
        match self {
            Self::Literal(_) | Self::Field(_) => u8::MAX,
            Self::Not(_) => NOT,
            Self::Negate(_) => NEGATE,
            Self::Binary { op, .. } => op.precedence(),
        }
    }
}

impl Expr {
    /// A part of a chain of `&&` or `||`; only what comes first in it may be a chain of the other without parentheses.
    fn chained(&self, f: &mut fmt::Formatter<'_>, op: BinaryOp, first: bool) -> fmt::Result {
        match self {
            Self::Binary { op: known, left, right } if *known == op => {
                left.chained(f, op, first)?;
                write!(f, " {} ", op.text())?;
                right.chained(f, op, false)
            }
            part if !first && part.binds() <= op.precedence() => write!(f, "({part})"),
            part => write!(f, "{part}"),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefixed = |f: &mut fmt::Formatter<'_>, sign: &str, inner: &Self| match inner {
            Self::Binary { .. } => write!(f, "{sign}({inner})"),
            inner => write!(f, "{sign}{inner}"),
        };
        match self {
            Self::Literal(literal) => write!(f, "{literal}"),
            Self::Field(field) => write!(f, "{field}"),
            Self::Not(inner) => prefixed(f, "!", inner),
            Self::Negate(inner) => prefixed(f, "-", inner),
            Self::Binary { op: op @ (BinaryOp::And | BinaryOp::Or), left, right } => {
                // Chains are trees of any shape, and are shown as they are written.
                left.chained(f, *op, true)?;
                write!(f, " {} ", op.text())?;
                right.chained(f, *op, false)
            }
            Self::Binary { op, left, right } => {
                binary(f, *op, (&**left, left.binds()), (&**right, right.binds()))
            }
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.expr {
            None => f.write_str("{}"),
            Some(expr) => write!(f, "{{ {expr} }}"),
        }
    }
}

/// Parts with something between them.
fn joined<T: fmt::Display>(f: &mut fmt::Formatter<'_>, parts: &[T], between: &str) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        write!(f, "{}{part}", if place == 0 { "" } else { between })?;
    }
    Ok(())
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.body {
            Body::Spans(pipeline) => write!(f, "{pipeline}")?,
            Body::Metrics(metrics) => write!(f, "{metrics}")?,
        }
        if self.hints.is_empty() {
            return Ok(());
        }
        f.write_str(" with (")?;
        joined(f, &self.hints, ", ")?;
        f.write_str(")")
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name, self.value)
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(f, &self.stages, " | ")
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spans(spans) => write!(f, "{spans}"),
            Self::Where { op, left, right } => write!(f, "{left} {} {right}", op.text()),
            Self::By(expr) => write!(f, "by({expr})"),
            Self::Coalesce => f.write_str("coalesce()"),
            Self::Select(fields) => {
                f.write_str("select(")?;
                joined(f, fields, ", ")?;
                f.write_str(")")
            }
        }
    }
}

impl Spanset {
    const fn binds(&self) -> u8 {
        match self {
            Self::Related { op, .. } => op.precedence(),
            _ => u8::MAX,
        }
    }
}

impl fmt::Display for Spanset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(filter) => write!(f, "{filter}"),
            Self::Pipeline(pipeline) => write!(f, "({pipeline})"),
            Self::Related { op, left, right } => {
                let binds = op.precedence();
                around(f, (&**left, left.binds()), (op.text(), binds, binds + 1), (&**right, right.binds()))
            }
        }
    }
}

impl Scalar {
    const fn binds(&self) -> u8 {
        match self {
            Self::Binary { op, .. } => op.precedence(),
            _ => u8::MAX,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => write!(f, "{literal}"),
            Self::Count => f.write_str("count()"),
            Self::Aggregate { aggregate, of } => write!(f, "{}({of})", aggregate.text()),
            Self::Of { spans, scalar } => write!(f, "({spans} | {scalar})"),
            Self::Binary { op, left, right } => {
                binary(f, *op, (&**left, left.binds()), (&**right, right.binds()))
            }
        }
    }
}

impl Metrics {
    /// A pipeline is a part of arithmetic only in parentheses.
    const fn binds(&self) -> u8 {
        match self {
            Self::Literal(_) => u8::MAX,
            Self::Binary { op, .. } => op.precedence(),
            Self::Of { .. } | Self::Then { .. } => 0,
        }
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => write!(f, "{literal}"),
            Self::Of { spans, function, by } => {
                write!(f, "{spans} | {function}")?;
                if by.is_empty() {
                    return Ok(());
                }
                f.write_str(" by (")?;
                joined(f, by, ", ")?;
                f.write_str(")")
            }
            Self::Binary { op, left, right } => {
                binary(f, *op, (&**left, left.binds()), (&**right, right.binds()))
            }
            Self::Then { of, steps } => {
                if matches!(**of, Self::Then { .. }) {
                    write!(f, "({of})")?
                } else {
                    write!(f, "{of}")?
                }
                steps.iter().try_for_each(|step| write!(f, " {step}"))
            }
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate => f.write_str("rate()"),
            Self::CountOverTime => f.write_str("count_over_time()"),
            Self::OverTime(aggregate, field) => write!(f, "{}_over_time({field})", aggregate.text()),
            Self::HistogramOverTime(field) => write!(f, "histogram_over_time({field})"),
            Self::QuantileOverTime(field, quantiles) => {
                write!(f, "quantile_over_time({field}")?;
                quantiles.iter().try_for_each(|quantile| write!(f, ", {quantile}"))?;
                f.write_str(")")
            }
            Self::Compare { filter, top, between } => {
                write!(f, "compare({filter}, {top}")?;
                if let Some((from, to)) = between {
                    write!(f, ", {from}, {to}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopK(number) => write!(f, "| topk({number})"),
            Self::BottomK(number) => write!(f, "| bottomk({number})"),
            Self::Where(op, literal) => write!(f, "{} {literal}", op.text()),
        }
    }
}

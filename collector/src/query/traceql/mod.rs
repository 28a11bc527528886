//! TraceQL, the query language of Grafana Tempo. All of the language is parsed (as of Tempo 3.0), and all of it is answered, up to
//! [`MOST_FILTERS`] span filters: span filters, `{ .gen_ai.agent.name = "planner" && duration > 2s }`, by a look at single spans; how
//! spans are related and pipelines by a look at whole traces; metrics by both.
//!
//! The types follow Tempo's: an attribute has whatever type a span gives it, and a comparison of different types is
//! false; intrinsics and literals have types that are checked when a query is parsed. A comparison with an attribute
//! that a span lacks is false, `!=` included; `= nil` and `!= nil` ask whether it is there. Of an array `=` wants one
//! element, and `!=` wants all of them.

mod ast;
mod eval;
mod field;
mod lexer;
mod literal;
mod metrics;
mod musts;
mod parser;
mod pattern;
mod pipeline;
mod query;
mod roots;
mod show;
mod types;

pub use ast::{BinaryOp, Expr, Filter, Literal};
pub use eval::{Compiled, Datum, Row};
pub(crate) use eval::{arithmetic, compare, datum, is_duration};
pub(crate) use field::intrinsic_names;
pub use field::{Field, Intrinsic, Scope};
pub use parser::{parse, parse_field, parse_filter};
pub use query::{
    Aggregate, Body, Function, Hint, MOST_FILTERS, Metrics, Pipeline, Query, Scalar, Second, Spanset,
    SpansetOp, Stage,
};

#[cfg(test)]
mod grammar_tests;
#[cfg(test)]
mod tests;

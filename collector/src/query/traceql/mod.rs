//! The span filter of TraceQL, the query language of Grafana Tempo: `{ .gen_ai.agent.name = "planner" && duration > 2s }`.
//!
//! The types follow Tempo's: an attribute has whatever type a span gives it, and a comparison of different types is
//! false; intrinsics and literals have types that are checked when a filter is parsed. A comparison with an attribute
//! that a span lacks is false, `!=` included; `= nil` and `!= nil` ask whether it is there.

mod ast;
mod eval;
mod lexer;
mod musts;
mod parser;

pub use ast::{BinaryOp, Expr, Field, Filter, Intrinsic, Literal, Scope};
pub use eval::{Compiled, Datum, Row};
pub use parser::{parse_field, parse_filter};

#[cfg(test)]
mod tests;

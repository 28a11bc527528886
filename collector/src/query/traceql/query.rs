//! What a whole query is made of: sets of spans and how they are related, pipelines of stages, metrics.

use super::ast::{BinaryOp, Expr, Filter, Literal};
use super::field::Field;

/// A query.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Query {
    /// What it asks for.
    pub body: Body,
    /// `with (name = value)`: how it should be answered.
    pub hints: Vec<Hint>,
}

/// What a query asks for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// Spans.
    Spans(Pipeline),
    /// Numbers over time.
    Metrics(Metrics),
}

/// `name = value` of `with (..)`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Hint {
    /// What it is about.
    pub name: String,
    /// What it says.
    pub value: Literal,
}

/// Stages with `|` between them, each of which has the spans that the one before left; at least one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Pipeline {
    /// The stages in order.
    pub stages: Vec<Stage>,
}

/// A stage of a pipeline.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Stage {
    /// Keeps these.
    Spans(Spanset),
    /// `count() > 2`: keeps the sets whose numbers compare so.
    Where {
        /// How they are compared.
        op: BinaryOp,
        /// What is before the operator.
        left: Scalar,
        /// What is after it.
        right: Scalar,
    },
    /// `by(.key)`: one set for each value.
    By(Expr),
    /// `coalesce()`: one set of all.
    Coalesce,
    /// `select(.key)`: shows these too.
    Select(Vec<Field>),
}

/// A set of spans of a trace.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Spanset {
    /// Those that fulfil a filter.
    Filter(Filter),
    /// What a pipeline in parentheses leaves.
    Pipeline(Pipeline),
    /// Two sets and how they are related.
    Related {
        /// The relation.
        op: SpansetOp,
        /// The set before it.
        left: Box<Self>,
        /// The set after it.
        right: Box<Self>,
    },
}

/// How two sets of spans are related. The relations of a tree give the spans after them, their negations those after
/// them for which the relation does not hold, and their unions the spans of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the relations of the language")]
#[expect(missing_docs, reason = "the names say it")]
pub enum SpansetOp {
    And,
    Or,
    Child,
    Parent,
    Descendant,
    Ancestor,
    Sibling,
    NotChild,
    NotParent,
    NotDescendant,
    NotAncestor,
    NotSibling,
    UnionChild,
    UnionParent,
    UnionDescendant,
    UnionAncestor,
    UnionSibling,
}

impl SpansetOp {
    /// As it is written.
    pub const fn text(self) -> &'static str {
        match self {
            Self::And => "&&",
            Self::Or => "||",
            Self::Child => ">",
            Self::Parent => "<",
            Self::Descendant => ">>",
            Self::Ancestor => "<<",
            Self::Sibling => "~",
            Self::NotChild => "!>",
            Self::NotParent => "!<",
            Self::NotDescendant => "!>>",
            Self::NotAncestor => "!<<",
            Self::NotSibling => "!~",
            Self::UnionChild => "&>",
            Self::UnionParent => "&<",
            Self::UnionDescendant => "&>>",
            Self::UnionAncestor => "&<<",
            Self::UnionSibling => "&~",
        }
    }

    /// Whether it keeps the spans for which its relation does not hold.
    pub const fn is_negated(self) -> bool {
        matches!(
            self,
            Self::NotChild | Self::NotParent | Self::NotDescendant | Self::NotAncestor | Self::NotSibling
        )
    }

    /// Whether it keeps the spans of both sides.
    pub const fn is_union(self) -> bool {
        matches!(
            self,
            Self::UnionChild
                | Self::UnionParent
                | Self::UnionDescendant
                | Self::UnionAncestor
                | Self::UnionSibling
        )
    }

    /// What binds tighter has a larger number, on the scale of [`BinaryOp`].
    pub(super) const fn precedence(self) -> u8 {
        if matches!(self, Self::And | Self::Or) { 1 } else { 3 }
    }

    /// The relation that is written as an operator of filters is.
    pub(super) const fn written_as(op: BinaryOp) -> Option<Self> {
        Some(match op {
            BinaryOp::And => Self::And,
            BinaryOp::Or => Self::Or,
            BinaryOp::Greater => Self::Child,
            BinaryOp::Less => Self::Parent,
            BinaryOp::NotRegex => Self::NotSibling,
            _ => return None,
        })
    }
}

/// A number that is made of the spans of a set.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Scalar {
    /// A number that is written.
    Literal(Literal),
    /// `count()`
    Count,
    /// `max(duration)`
    Aggregate {
        /// What is made of the values.
        aggregate: Aggregate,
        /// The value of each span.
        of: Expr,
    },
    /// `({ .key } | count())`: of the spans that a pipeline leaves.
    Of {
        /// The pipeline.
        spans: Pipeline,
        /// The number.
        scalar: Box<Self>,
    },
    /// Two numbers and an operator of arithmetic.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// The number before it.
        left: Box<Self>,
        /// The number after it.
        right: Box<Self>,
    },
}

/// What is made of the values of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the aggregates of the language")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Aggregate {
    Min,
    Max,
    Avg,
    Sum,
}

impl Aggregate {
    /// As it is written.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
            Self::Sum => "sum",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Min, Self::Max, Self::Avg, Self::Sum].into_iter().find(|known| known.text() == name)
    }
}

/// Numbers over time.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Metrics {
    /// A number that is written.
    Literal(Literal),
    /// `{ .key } | rate() by (.other)`
    Of {
        /// The spans.
        spans: Pipeline,
        /// What is made of them.
        function: Function,
        /// One series for each value of these.
        by: Vec<Field>,
    },
    /// Two of them and an operator of arithmetic.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// What is before it.
        left: Box<Self>,
        /// What is after it.
        right: Box<Self>,
    },
    /// What is left of them.
    Then {
        /// Of these.
        of: Box<Self>,
        /// One after the other; at least one.
        steps: Vec<Second>,
    },
}

/// What is made of the spans of a time step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the language")]
pub enum Function {
    Rate,
    CountOverTime,
    /// `min_over_time` and its like: an aggregate of a field.
    OverTime(Aggregate, Field),
    HistogramOverTime(Field),
    QuantileOverTime(Field, Vec<f64>),
    /// The attributes in which the spans of a filter are unlike the others.
    Compare {
        filter: Filter,
        /// Values of each attribute at most.
        top: i64,
        /// From when to when, in nanoseconds since 1970.
        between: Option<(i64, i64)>,
    },
}

/// A second stage of metrics.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Second {
    /// `topk(n)`: the series with the largest values.
    TopK(i64),
    /// `bottomk(n)`: those with the smallest.
    BottomK(i64),
    /// `> 5`: the values that compare so.
    Where(BinaryOp, Literal),
}

/// Span filters of a pipeline that are answered at most.
pub const MOST_FILTERS: usize = 64;

impl Pipeline {
    /// How many span filters it has.
    pub fn filters(&self) -> usize {
        fn of_scalar(scalar: &Scalar) -> usize {
            match scalar {
                Scalar::Of { spans, scalar } => spans.filters() + of_scalar(scalar),
                Scalar::Binary { left, right, .. } => of_scalar(left) + of_scalar(right),
                _ => 0,
            }
        }
        fn of_set(set: &Spanset) -> usize {
            match set {
                Spanset::Filter(_) => 1,
                Spanset::Pipeline(pipeline) => pipeline.filters(),
                Spanset::Related { left, right, .. } => of_set(left) + of_set(right),
            }
        }
        let of = |stage: &Stage| match stage {
            Stage::Spans(set) => of_set(set),
            Stage::Where { left, right, .. } => of_scalar(left) + of_scalar(right),
            _ => 0,
        };
        self.stages.iter().map(of).sum()
    }

    /// The filter, if it is nothing else: what is shown beside it changes no answer.
    ///
    /// Questions about roots are ones of single spans in it.
    pub fn single(&self) -> Option<Filter> {
        let mut stages = self.stages.iter().filter(|stage| !matches!(stage, Stage::Select(_)));
        match (stages.next(), stages.next()) {
            (Some(Stage::Spans(Spanset::Filter(filter))), None) => Some(filter.with_roots()),
            _ => None,
        }
    }
}

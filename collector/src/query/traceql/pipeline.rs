//! What stands between the pipes of a query and around its filters: sets of spans, stages, numbers, metrics.
//!
//! Which of them an operator or parentheses make depends on what they stand between, so all are read as a [`Part`], by one
//! ladder of precedences, and put together by `combine`.

use super::ast::{BinaryOp, Literal};
use super::lexer::{Token, error};
use super::parser::{Parser, unknown};
use super::query::{Aggregate, Body, Hint, Metrics, Pipeline, Query, Scalar, Spanset, SpansetOp, Stage};
use super::types::Type;
use crate::query::QueryError;

/// A part of a query.
pub(super) enum Part {
    /// A number that is written.
    Number(Literal),
    /// A number with an aggregate in it.
    Scalar(Scalar),
    /// Such a number of pipelines in parentheses.
    OfPipelines(Scalar),
    Spans(Spanset),
    /// A stage that is no set of spans.
    Stage(Stage),
    /// Several stages.
    Pipeline(Pipeline),
    /// Several stages and a number of what they leave, which wants parentheses.
    Unclosed(Pipeline, Scalar),
    Metrics(Metrics),
}

impl Part {
    pub(super) const fn shown(&self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Scalar(_) | Self::OfPipelines(_) | Self::Unclosed(..) => "a number of spans",
            Self::Spans(_) => "a set of spans",
            Self::Stage(_) | Self::Pipeline(_) => "a stage of a pipeline",
            Self::Metrics(_) => "a metric",
        }
    }

    /// What it is in parentheses.
    fn closed(self, at: usize) -> Result<Self, QueryError> {
        Ok(match self {
            Self::Stage(Stage::Coalesce) => return Err(coalesce_first(at)),
            Self::Stage(stage) => Self::Spans(Spanset::Pipeline(Pipeline { stages: vec![stage] })),
            Self::Pipeline(pipeline) => Self::Spans(Spanset::Pipeline(pipeline)),
            Self::Unclosed(spans, scalar) => {
                Self::OfPipelines(Scalar::Of { spans, scalar: Box::new(scalar) })
            }
            other => other,
        })
    }
}

fn coalesce_first(at: usize) -> QueryError {
    error(at, "`coalesce()` puts together what the stages before it made, and there are none")
}

impl Parser {
    /// All tokens.
    pub(super) fn query(&mut self) -> Result<Query, QueryError> {
        let all = |stage| Body::Spans(Pipeline { stages: vec![stage] });
        if self.peek() == &Token::End {
            let filter = super::ast::Filter { expr: None };
            return Ok(Query { body: all(Stage::Spans(Spanset::Filter(filter))), hints: Vec::new() });
        }
        let at = self.at();
        let body = match self.pipe()? {
            Part::Spans(spans) => all(Stage::Spans(spans)),
            Part::Stage(Stage::Coalesce) => return Err(coalesce_first(at)),
            Part::Stage(stage) => all(stage),
            Part::Pipeline(pipeline) => Body::Spans(pipeline),
            Part::Metrics(metrics) => Body::Metrics(metrics),
            part @ (Part::Number(_) | Part::Scalar(_) | Part::OfPipelines(_) | Part::Unclosed(..)) => {
                let message = format!(
                    "the query is {}, which has to be compared with another, as in `{{ status = error }} | count() > 2`",
                    part.shown()
                );
                return Err(error(at, message));
            }
        };
        let mut hints = Vec::new();
        while self.is_name("with") {
            self.hints(&mut hints)?;
        }
        if self.peek() == &Token::End {
            return Ok(Query { body, hints });
        }
        Err(self.unexpected("expected an operator, `|`, or the end of the query"))
    }

    fn hints(&mut self, hints: &mut Vec<Hint>) -> Result<(), QueryError> {
        self.take();
        self.expect(&Token::OpenParen, "expected `(` after `with`")?;
        loop {
            let (token, at) = self.take();
            let name = match token {
                Token::Name(name) if !name.contains(['.', ':']) => name,
                other => {
                    return Err(error(at, format!("found {}: expected the name of a hint", other.shown())));
                }
            };
            self.expect(&Token::Op(BinaryOp::Eq), "expected `=` after the name of a hint")?;
            let value = self.literal("expected the value of a hint")?;
            hints.push(Hint { name, value });
            if !self.took(&Token::Comma) {
                break;
            }
        }
        self.expect(&Token::CloseParen, "expected `,` or `)` after a hint")
    }

    /// Parts with `|` between them.
    fn pipe(&mut self) -> Result<Part, QueryError> {
        let at = self.at();
        let first = match self.element(0)? {
            Part::Metrics(metrics) => return self.seconds(metrics).map(Part::Metrics),
            first if self.peek() != &Token::Pipe => return Ok(first),
            Part::Spans(spans) => Stage::Spans(spans),
            Part::Stage(Stage::Coalesce) => return Err(coalesce_first(at)),
            Part::Stage(stage) => stage,
            other => return Err(error(at, format!("{} is no stage of a pipeline", other.shown()))),
        };
        let mut pipeline = Pipeline { stages: vec![first] };
        while self.peek() == &Token::Pipe {
            self.beyond(self.at(), "pipelines");
            self.take();
            if let Some(function) = self.function()? {
                let by = self.by(&function)?;
                return self.seconds(Metrics::Of { spans: pipeline, function, by }).map(Part::Metrics);
            }
            let at = self.at();
            match self.element(0)? {
                Part::Spans(spans) => pipeline.stages.push(Stage::Spans(spans)),
                Part::Stage(stage) => pipeline.stages.push(stage),
                Part::Scalar(scalar @ (Scalar::Count | Scalar::Aggregate { .. })) => {
                    return Ok(Part::Unclosed(pipeline, scalar));
                }
                other => {
                    let message = format!(
                        "{} is no stage of a pipeline; a stage is a filter, a comparison such as `count() > 2`, `by`, `select` or `coalesce`",
                        other.shown()
                    );
                    return Err(error(at, message));
                }
            }
        }
        Ok(Part::Pipeline(pipeline))
    }

    /// A part without pipes, whose operators all bind at least so tight.
    pub(super) fn element(&mut self, least: u8) -> Result<Part, QueryError> {
        self.enter()?;
        let mut left = self.operand()?;
        loop {
            let (binds, right_least, shared, relation) = match *self.peek() {
                Token::Op(op) => {
                    (op.precedence(), op.right_precedence(), Some(op), SpansetOp::written_as(op))
                }
                Token::Relation(op) => (op.precedence(), op.precedence() + 1, None, Some(op)),
                _ => break,
            };
            // What metrics are compared with filters them: a second stage.
            let filters = matches!(left, Part::Metrics(_)) && shared.is_some_and(BinaryOp::is_comparison);
            if binds < least || filters {
                break;
            }
            self.count_operator()?;
            let (token, at) = self.take();
            if matches!(left, Part::Spans(_)) && relation.is_some() {
                self.beyond(at, "relations between filters");
            }
            let right = self.element(right_least)?;
            left = combine((shared, relation), left, right, (&token, at))?;
        }
        self.leave();
        Ok(left)
    }

    fn operand(&mut self) -> Result<Part, QueryError> {
        let at = self.at();
        match self.peek() {
            Token::Open => self.filter().map(|filter| Part::Spans(Spanset::Filter(filter))),
            Token::OpenParen => {
                self.take();
                self.enter()?;
                let part = self.pipe()?;
                self.leave();
                self.expect(&Token::CloseParen, "expected an operator, `|` or `)`")?;
                part.closed(at)
            }
            Token::Op(BinaryOp::Sub) => {
                self.take();
                self.enter()?;
                let number = match self.operand()? {
                    Part::Number(number) => negated(&number),
                    _ => None,
                };
                self.leave();
                number.map(Part::Number).ok_or_else(|| error(at, "`-` stands before a number here"))
            }
            Token::Int(_) | Token::Float(_) | Token::Duration(_) => {
                self.beyond(at, "numbers and metrics");
                self.literal("expected a number").map(Part::Number)
            }
            Token::Name(name) => {
                let name = name.clone();
                self.called(&name, at)
            }
            _ => Err(self.unexpected(self.wanted())),
        }
    }

    const fn wanted(&self) -> &'static str {
        if self.is_at_start() {
            "a query begins with `{`, as in `{ status = error }`"
        } else {
            "expected a filter such as `{ status = error }`, a number, or a stage such as `count() > 2`"
        }
    }

    /// What begins with a name.
    fn called(&mut self, name: &str, at: usize) -> Result<Part, QueryError> {
        let known =
            matches!(name, "count" | "by" | "select" | "coalesce") || Aggregate::named(name).is_some();
        if !known {
            if super::metrics::FUNCTIONS.contains(&name) {
                return Err(error(
                    at,
                    format!("`{name}` stands after `|`, as in `{{ status = error }} | rate()`"),
                ));
            }
            if matches!(name, "topk" | "bottomk") {
                return Err(error(at, format!("`{name}` is for metrics, as in `{{}} | rate() | {name}(5)`")));
            }
            if matches!(self.peek_second(), Token::OpenParen) {
                return Err(error(at, format!("there is no `{name}(..)`")));
            }
            return Err(self.unexpected(self.wanted()));
        }
        self.beyond(at, "pipelines");
        self.take();
        self.expect(&Token::OpenParen, &format!("expected `(` after `{name}`"))?;
        let part = match name {
            "count" => Part::Scalar(Scalar::Count),
            "coalesce" => Part::Stage(Stage::Coalesce),
            "select" => Part::Stage(Stage::Select(self.fields()?)),
            "by" => {
                let at = self.at();
                let (expr, _) = self.expr(0)?;
                if !expr.reads_span() {
                    return Err(error(
                        at,
                        "spans are grouped by what they have, and this is the same for all",
                    ));
                }
                Part::Stage(Stage::By(expr))
            }
            name => {
                let aggregate = Aggregate::named(name).ok_or_else(|| unknown(name, at))?;
                let at = self.at();
                let (of, kind) = self.expr(0)?;
                if !matches!(kind, Type::Number | Type::Dynamic) {
                    return Err(error(at, format!("`{name}` is for numbers, this is {}", kind.shown())));
                }
                if !of.reads_span() {
                    return Err(error(
                        at,
                        format!("`{name}` is of what spans have, and this is the same for all"),
                    ));
                }
                Part::Scalar(Scalar::Aggregate { aggregate, of })
            }
        };
        self.expect(&Token::CloseParen, "expected an operator or `)`")?;
        Ok(part)
    }

    /// Attributes and intrinsics with commas between them.
    pub(super) fn fields(&mut self) -> Result<Vec<super::Field>, QueryError> {
        let mut fields = vec![self.field()?];
        while self.took(&Token::Comma) {
            fields.push(self.field()?);
        }
        Ok(fields)
    }
}

fn negated(number: &Literal) -> Option<Literal> {
    Some(match number {
        Literal::Int(number) => Literal::Int(number.checked_neg()?),
        Literal::Float(number) => Literal::Float(-number),
        Literal::Duration(nanos) => Literal::Duration(nanos.checked_neg()?),
        _ => return None,
    })
}

/// Two parts with an operator between them.
fn combine(
    (op, relation): (Option<BinaryOp>, Option<SpansetOp>),
    left: Part,
    right: Part,
    (token, at): (&Token, usize),
) -> Result<Part, QueryError> {
    let arithmetic = op.filter(|op| op.is_arithmetic());
    let simple = arithmetic.filter(|op| !matches!(op, BinaryOp::Mod | BinaryOp::Pow));
    let comparison = op.filter(|op| op.is_comparison());
    let shown = (left.shown(), right.shown());
    let boxed = |left, right| (Box::new(left), Box::new(right));
    Ok(match (left, right) {
        (Part::Spans(left), Part::Spans(right)) if let Some(op) = relation => {
            Part::Spans(Spanset::Related { op, left: Box::new(left), right: Box::new(right) })
        }
        (Part::Number(left), Part::Number(right)) => match simple {
            Some(op) => Part::Number(super::metrics::folded(op, &left, &right, at)?),
            None => {
                let message = format!(
                    "{} between two numbers: one has to be of spans, such as `count()`",
                    token.shown()
                );
                return Err(error(at, message));
            }
        },
        (left @ (Part::Scalar(_) | Part::Number(_)), right @ (Part::Scalar(_) | Part::Number(_)))
            if arithmetic.or(comparison).is_some() =>
        {
            let (left, right) = (scalar(left), scalar(right));
            match (arithmetic, comparison) {
                (Some(op), _) => {
                    let (left, right) = boxed(left, right);
                    Part::Scalar(Scalar::Binary { op, left, right })
                }
                (None, op) => Part::Stage(Stage::Where { op: op.unwrap_or(BinaryOp::Eq), left, right }),
            }
        }
        (Part::OfPipelines(left), Part::OfPipelines(right)) if let Some(op) = arithmetic => {
            let (left, right) = boxed(left, right);
            Part::OfPipelines(Scalar::Binary { op, left, right })
        }
        (Part::OfPipelines(left), right @ (Part::OfPipelines(_) | Part::Number(_)))
            if let Some(op) = comparison =>
        {
            Part::Stage(Stage::Where { op, left, right: scalar(right) })
        }
        (left @ (Part::Metrics(_) | Part::Number(_)), right @ (Part::Metrics(_) | Part::Number(_)))
            if let Some(op) = simple =>
        {
            let (left, right) = (super::metrics::operand(left, at)?, super::metrics::operand(right, at)?);
            Part::Metrics(Metrics::Binary { op, left: Box::new(left), right: Box::new(right) })
        }
        _ => {
            let message = format!("{} cannot stand between {} and {}", token.shown(), shown.0, shown.1);
            return Err(error(at, message));
        }
    })
}

fn scalar(part: Part) -> Scalar {
    match part {
        Part::Scalar(scalar) | Part::OfPipelines(scalar) => scalar,
        Part::Number(number) => Scalar::Literal(number),
        // Nobody asks.
        _ => Scalar::Count,
    }
}

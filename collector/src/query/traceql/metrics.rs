//! Metrics: functions over time, what is done with their series, and arithmetic.

use super::ast::{BinaryOp, Literal};
use super::lexer::{Token, error};
use super::parser::Parser;
use super::pipeline::Part;
use super::query::{Aggregate, Function, Metrics, Second};
use crate::query::QueryError;

/// The functions over time.
pub(super) const FUNCTIONS: &[&str] = &[
    "rate",
    "count_over_time",
    "min_over_time",
    "max_over_time",
    "avg_over_time",
    "sum_over_time",
    "histogram_over_time",
    "quantile_over_time",
    "compare",
];
/// Values of each attribute that `compare` shows if it is not told how many.
const TOP: i64 = 10;
/// The most that it shows.
const MOST_TOP: i64 = 1_000;

impl Parser {
    /// A function over time, if one is next.
    pub(super) fn function(&mut self) -> Result<Option<Function>, QueryError> {
        let Token::Name(name) = self.peek().clone() else { return Ok(None) };
        if !FUNCTIONS.contains(&name.as_str()) {
            return Ok(None);
        }
        self.take();
        self.expect(&Token::OpenParen, &format!("expected `(` after `{name}`"))?;
        let function = match name.as_str() {
            "rate" => Function::Rate,
            "count_over_time" => Function::CountOverTime,
            "histogram_over_time" => Function::HistogramOverTime(self.field()?),
            "quantile_over_time" => Function::QuantileOverTime(self.field()?, self.quantiles()?),
            "compare" => self.compare()?,
            name => {
                let aggregate = name.strip_suffix("_over_time").and_then(Aggregate::named);
                let aggregate = aggregate.ok_or_else(|| self.unexpected("expected a function over time"))?;
                Function::OverTime(aggregate, self.field()?)
            }
        };
        self.expect(&Token::CloseParen, "expected `)`")?;
        Ok(Some(function))
    }

    /// `, 0.5, 0.99`
    fn quantiles(&mut self) -> Result<Vec<f64>, QueryError> {
        let mut quantiles = Vec::new();
        while self.took(&Token::Comma) {
            let (token, at) = self.take();
            let quantile = match token {
                #[expect(clippy::cast_precision_loss, reason = "only 0 and 1 are taken")]
                Token::Int(number) => number as f64,
                Token::Float(number) => number,
                other => return Err(error(at, format!("found {}: expected a quantile", other.shown()))),
            };
            if !(0.0..=1.0).contains(&quantile) {
                return Err(error(at, format!("a quantile is from 0 to 1, this is {quantile}")));
            }
            quantiles.push(quantile);
        }
        if quantiles.is_empty() {
            return Err(self.unexpected("expected `,` and a quantile such as `0.95`"));
        }
        Ok(quantiles)
    }

    /// The arguments of `compare`.
    fn compare(&mut self) -> Result<Function, QueryError> {
        let filter = self.filter()?;
        let (mut top, mut between) = (TOP, None);
        if self.took(&Token::Comma) {
            let at = self.at();
            top = self.whole()?;
            if !(1..=MOST_TOP).contains(&top) {
                return Err(error(at, format!("`compare` shows 1 to {MOST_TOP} values, not {top}")));
            }
            if self.took(&Token::Comma) {
                let at = self.at();
                let from = self.whole()?;
                self.expect(&Token::Comma, "expected `,` and the end of the time")?;
                let to = self.whole()?;
                // Without times is written with zeros too.
                if (from, to) != (0, 0) {
                    if from <= 0 || to <= from {
                        return Err(error(
                            at,
                            "expected two times in nanoseconds since 1970, the earlier one first",
                        ));
                    }
                    between = Some((from, to));
                }
            }
        }
        Ok(Function::Compare { filter, top, between })
    }

    fn whole(&mut self) -> Result<i64, QueryError> {
        match self.take() {
            (Token::Int(number), _) => Ok(number),
            (other, at) => Err(error(at, format!("found {}: expected a whole number", other.shown()))),
        }
    }

    /// `by (.key, .other)`, if it is next.
    pub(super) fn by(&mut self, function: &Function) -> Result<Vec<super::Field>, QueryError> {
        if !self.is_name("by") {
            return Ok(Vec::new());
        }
        if matches!(function, Function::Compare { .. }) {
            return Err(self.unexpected("`compare` groups by every attribute"));
        }
        self.take();
        self.expect(&Token::OpenParen, "expected `(` after `by`")?;
        let fields = self.fields()?;
        self.expect(&Token::CloseParen, "expected `,` or `)`")?;
        Ok(fields)
    }

    /// The second stages that follow metrics.
    pub(super) fn seconds(&mut self, metrics: Metrics) -> Result<Metrics, QueryError> {
        let mut steps = Vec::new();
        loop {
            let at = self.at();
            let step = match self.peek() {
                Token::Pipe => {
                    self.take();
                    self.ranked()?
                }
                &Token::Op(op) if op.is_comparison() => {
                    self.take();
                    let value = self.at();
                    match self.element(op.right_precedence())? {
                        Part::Number(number) => Second::Where(op, number),
                        other => {
                            let message =
                                format!("metrics are compared with a number, this is {}", other.shown());
                            return Err(error(value, message));
                        }
                    }
                }
                _ => break,
            };
            if metrics.compares() {
                return Err(error(at, "`compare` stands last: nothing is made of what it finds"));
            }
            steps.push(step);
        }
        if steps.is_empty() {
            return Ok(metrics);
        }
        Ok(Metrics::Then { of: Box::new(metrics), steps })
    }

    fn ranked(&mut self) -> Result<Second, QueryError> {
        let make = if self.is_name("topk") {
            Second::TopK
        } else if self.is_name("bottomk") {
            Second::BottomK
        } else {
            return Err(self.unexpected("after a metric come `topk`, `bottomk` or a comparison"));
        };
        self.take();
        self.expect(&Token::OpenParen, "expected `(`")?;
        let at = self.at();
        let number = self.whole()?;
        if number < 1 {
            return Err(error(at, format!("found `{number}`: expected how many series, at least 1")));
        }
        self.expect(&Token::CloseParen, "expected `)`")?;
        Ok(make(number))
    }
}

impl Metrics {
    /// Whether it is the table that `compare` makes.
    const fn compares(&self) -> bool {
        matches!(self, Self::Of { function: Function::Compare { .. }, .. })
    }
}

/// A part as one side of arithmetic with metrics.
pub(super) fn operand(part: Part, at: usize) -> Result<Metrics, QueryError> {
    match part {
        Part::Metrics(metrics) if metrics.compares() => {
            Err(error(at, "`compare` stands last: nothing is made of what it finds"))
        }
        Part::Metrics(metrics) => Ok(metrics),
        Part::Number(Literal::Duration(_)) => {
            Err(error(at, "metrics are no times: a duration cannot stand here"))
        }
        Part::Number(number) => Ok(Metrics::Literal(number)),
        other => Err(error(at, format!("metrics cannot be put together with {}", other.shown()))),
    }
}

/// The number that two numbers and an operator are.
pub(super) fn folded(
    op: BinaryOp,
    left: &Literal,
    right: &Literal,
    at: usize,
) -> Result<Literal, QueryError> {
    #[expect(clippy::cast_precision_loss, reason = "an integer beside a float is a float")]
    let float = |literal: &Literal| match literal {
        Literal::Int(number) => Some(*number as f64),
        Literal::Float(number) => Some(*number),
        _ => None,
    };
    let (Some(a), Some(b)) = (float(left), float(right)) else {
        return Err(error(at, format!("`{}` between numbers takes no duration", op.text())));
    };
    let result = if let (Literal::Int(a), Literal::Int(b)) = (left, right) {
        match op {
            BinaryOp::Add => a.checked_add(*b),
            BinaryOp::Sub => a.checked_sub(*b),
            BinaryOp::Mul => a.checked_mul(*b),
            _ => a.checked_div(*b),
        }
        // The least has no form in which it could be shown.
        .filter(|number| *number != i64::MIN)
        .map(Literal::Int)
    } else {
        let number = match op {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            _ => a / b,
        };
        number.is_finite().then_some(Literal::Float(number))
    };
    result.ok_or_else(|| error(at, "there is no number for the result"))
}

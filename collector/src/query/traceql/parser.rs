//! Tokens as a query: what all parsers of its parts share, and conditions.

use super::ast::{BinaryOp, Expr, Filter, INTS, KINDS, Literal, NEGATE, NOT, STATUSES};
use super::field::{Field, INTRINSICS, Intrinsic, Scope};
use super::lexer::{Token, error, in_key, tokens};
use super::query::{Body, Query, Spanset, Stage};
use super::types::{Type, check, check_nil, check_regex, check_sign};
use crate::query::QueryError;

/// Bytes of a query at most.
const MAX_LENGTH: usize = 16 << 10;
/// How deep it may be nested.
const MAX_DEPTH: usize = 64;
/// How high the tree of a condition may be: whatever goes through it goes as deep, on stacks that are not large.
const MAX_HEIGHT: usize = 128;
/// Operators of a query at most.
const MAX_OPERATORS: usize = 1_000;

/// Parses a query, such as `{ status = error } | rate() by (.gen_ai.agent.name)`; an empty text asks for all spans.
///
/// # Errors
/// What is wrong, and at which byte.
pub fn parse(query: &str) -> Result<Query, QueryError> {
    parsed(query).map(|(query, _)| query)
}

/// Parses one span filter, such as `{ status = error }`; an empty text is the filter of all spans.
///
/// # Errors
/// What is wrong, and at which byte; [`QueryError::Unsupported`] for a query that is more than what can be told of each
/// span alone.
pub fn parse_filter(query: &str) -> Result<Filter, QueryError> {
    let (query, parser) = parsed(query)?;
    let unsupported = |at, message: String| QueryError::Unsupported { message, at: Some(at) };
    if let Some((at, what)) = parser.beyond {
        let message = format!(
            "{what} are TraceQL, but not answered here, where each span is looked at alone; a search for traces answers relations and pipelines"
        );
        return Err(unsupported(at, message));
    }
    // Hints tell how to answer; the answer to a filter is the same without them.
    let Body::Spans(mut pipeline) = query.body else { return Err(QueryError::invalid("no span filter")) };
    let Some(Stage::Spans(Spanset::Filter(filter))) = pipeline.stages.pop() else {
        return Err(QueryError::invalid("no span filter"));
    };
    let filter = filter.with_roots();
    if let Some(field) = filter.fields().into_iter().find(|field| !field.is_of_one_span()) {
        let at = parser.fields.iter().find(|(known, _)| *known == field).map_or(0, |(_, at)| *at);
        let message = format!(
            "`{field}` is TraceQL, but not answered here, where each span is looked at alone: it needs other spans of the trace, as a search for traces has them"
        );
        return Err(unsupported(at, message));
    }
    Ok(filter)
}

fn parsed(query: &str) -> Result<(Query, Parser), QueryError> {
    if query.len() > MAX_LENGTH {
        let message = format!("the query has {} bytes, at most {MAX_LENGTH} are taken", query.len());
        return Err(QueryError::invalid(message));
    }
    let mut parser = Parser {
        tokens: tokens(query)?,
        next: 0,
        depth: 0,
        operators: 0,
        height: 0,
        beyond: None,
        fields: Vec::new(),
    };
    let query = parser.query()?;
    Ok((query, parser))
}

/// Parses what can be grouped by: an attribute or an intrinsic. A plain key is taken as an attribute.
///
/// # Errors
/// When the text is neither.
pub fn parse_field(text: &str) -> Result<Field, QueryError> {
    let text = text.trim();
    let any = |key: &str| Field::Attribute { scope: Scope::Any, key: key.to_owned() };
    match tokens(text).as_deref() {
        Ok([(Token::Attribute(scope, key), _), (Token::End, _)]) => {
            Ok(Field::Attribute { scope: *scope, key: key.clone() })
        }
        Ok([(Token::Name(name), _), (Token::End, _)]) => {
            Ok(Field::intrinsic(name).unwrap_or_else(|| any(name)))
        }
        _ if !text.is_empty() && text.chars().all(in_key) => Ok(any(text)),
        _ => Err(QueryError::invalid(format!(
            "{text:?} is no attribute; write one as .gen_ai.agent.name, resource.service.name or name"
        ))),
    }
}

/// A parser and what it saw.
pub(super) struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
    operators: usize,
    /// How high the condition is that was parsed last.
    height: usize,
    /// Where it is more than a lone filter for the first time, and by what.
    beyond: Option<(usize, &'static str)>,
    /// The fields and where they are.
    fields: Vec<(Field, usize)>,
}

impl Parser {
    pub(super) fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(token, _)| token)
    }

    /// The token after the next one.
    pub(super) fn peek_second(&self) -> &Token {
        self.tokens.get(self.next + 1).map_or(&Token::End, |(token, _)| token)
    }

    /// Whether this name is next.
    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Token::Name(known) if known == name)
    }

    pub(super) fn at(&self) -> usize {
        self.tokens.get(self.next).or_else(|| self.tokens.last()).map_or(0, |(_, at)| *at)
    }

    pub(super) fn take(&mut self) -> (Token, usize) {
        let token = self.tokens.get(self.next).cloned().unwrap_or_else(|| (Token::End, self.at()));
        self.next += 1;
        token
    }

    /// Takes a token if it is next.
    pub(super) fn took(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        self.next += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, token: &Token, otherwise: &str) -> Result<(), QueryError> {
        if self.took(token) { Ok(()) } else { Err(self.unexpected(otherwise)) }
    }

    /// Whether nothing was taken so far.
    pub(super) const fn is_at_start(&self) -> bool {
        self.next == 0
    }

    /// The next token is not what should be here.
    pub(super) fn unexpected(&self, expected: &str) -> QueryError {
        error(self.at(), format!("found {}: {expected}", self.peek().shown()))
    }

    /// Notes that the query is more than a lone filter.
    pub(super) fn beyond(&mut self, at: usize, what: &'static str) {
        self.beyond.get_or_insert((at, what));
    }

    /// One level deeper.
    pub(super) fn enter(&mut self) -> Result<(), QueryError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(error(self.at(), format!("the query is nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    pub(super) const fn leave(&mut self) {
        self.depth -= 1;
    }

    /// One operator more.
    pub(super) fn count_operator(&mut self) -> Result<(), QueryError> {
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            return Err(error(self.at(), format!("the query has more than {MAX_OPERATORS} operators")));
        }
        Ok(())
    }

    /// `{ .. }`
    pub(super) fn filter(&mut self) -> Result<Filter, QueryError> {
        self.expect(&Token::Open, "expected a filter such as `{ status = error }`")?;
        if self.took(&Token::Close) {
            return Ok(Filter { expr: None });
        }
        let at = self.at();
        let (expr, kind) = self.expr(0)?;
        self.expect(&Token::Close, "expected an operator or `}`")?;
        if !matches!(kind, Type::Bool | Type::Dynamic) {
            return Err(error(at, format!("a filter is true or false, this is {}", kind.shown())));
        }
        Ok(Filter { expr: Some(expr) })
    }

    /// A part whose operators all bind at least so tight.
    pub(super) fn expr(&mut self, least: u8) -> Result<(Expr, Type), QueryError> {
        self.enter()?;
        let (mut left, mut kind) = self.unary()?;
        while let &Token::Op(op) = self.peek() {
            if op.precedence() < least {
                break;
            }
            if matches!(op, BinaryOp::And | BinaryOp::Or) {
                (left, kind) = self.chain(op, left, kind)?;
                continue;
            }
            let height = self.height;
            self.count_operator()?;
            let (_, at) = self.take();
            let (right, right_kind) = self.expr(op.right_precedence())?;
            self.rise(height.max(self.height) + 1)?;
            kind = check(op, kind, right_kind, at)?;
            if matches!(op, BinaryOp::Regex | BinaryOp::NotRegex) {
                check_regex(&right, at)?;
            }
            if left == Expr::Literal(Literal::Nil) || right == Expr::Literal(Literal::Nil) {
                check_nil(op, &left, at)?;
                check_nil(op, &right, at)?;
            }
            left = compared(op, left, right);
        }
        self.leave();
        Ok((left, kind))
    }

    /// The parts of a chain of one operator, of which `first` is already there. A long list of alternatives becomes a
    /// tree that is not high.
    fn chain(&mut self, op: BinaryOp, first: Expr, mut kind: Type) -> Result<(Expr, Type), QueryError> {
        let (mut parts, mut height) = (first.links(op), self.height);
        while self.peek() == &Token::Op(op) {
            self.count_operator()?;
            let (_, at) = self.take();
            let (right, right_kind) = self.expr(op.right_precedence())?;
            kind = check(op, kind, right_kind, at)?;
            height = height.max(self.height);
            parts.extend(right.links(op));
        }
        self.rise(height + parts.len().ilog2() as usize + 1)?;
        Ok((balanced(op, parts), kind))
    }

    /// Notes how high the condition is that was just parsed.
    fn rise(&mut self, height: usize) -> Result<(), QueryError> {
        self.height = height;
        if height > MAX_HEIGHT {
            return Err(error(self.at(), format!("the condition is nested deeper than {MAX_HEIGHT}")));
        }
        Ok(())
    }

    fn unary(&mut self) -> Result<(Expr, Type), QueryError> {
        let at = self.at();
        self.height = 1;
        match self.peek() {
            Token::Not => {
                self.next += 1;
                let (inner, kind) = self.expr(NOT)?;
                self.height += 1;
                Ok((Expr::Not(Box::new(inner)), check_sign('!', Type::Bool, kind, at)?))
            }
            Token::Op(BinaryOp::Sub) => {
                self.next += 1;
                let (inner, kind) = self.expr(NEGATE + 1)?;
                self.height += 1;
                Ok((Expr::Negate(Box::new(inner)), check_sign('-', Type::Number, kind, at)?))
            }
            Token::OpenParen => {
                self.next += 1;
                let inner = self.expr(0)?;
                self.expect(&Token::CloseParen, "expected an operator or `)`")?;
                Ok(inner)
            }
            Token::Attribute(..) => self.field().map(|field| (Expr::Field(field), Type::Dynamic)),
            Token::Name(name) if Field::intrinsic(name).is_some() => {
                let field = self.field()?;
                let kind = Type::of_field(&field);
                Ok((Expr::Field(field), kind))
            }
            _ => {
                let literal = self.literal(
                    "expected an attribute such as `.gen_ai.agent.name`, an intrinsic such as `status`, or a value",
                )?;
                let kind = Type::of(&literal);
                Ok((Expr::Literal(literal), kind))
            }
        }
    }

    /// An attribute or an intrinsic.
    pub(super) fn field(&mut self) -> Result<Field, QueryError> {
        let field = match self.peek() {
            Token::Attribute(scope, key) => Field::Attribute { scope: *scope, key: key.clone() },
            Token::Name(name) => Field::intrinsic(name).ok_or_else(|| unknown(name, self.at()))?,
            _ => {
                return Err(
                    self.unexpected("expected an attribute such as `.gen_ai.agent.name`, or an intrinsic")
                );
            }
        };
        let (_, at) = self.take();
        self.fields.push((field.clone(), at));
        Ok(field)
    }

    /// A value that is written.
    pub(super) fn literal(&mut self, otherwise: &str) -> Result<Literal, QueryError> {
        let literal = match self.peek() {
            Token::Text(text) => Literal::String(text.clone()),
            Token::Int(number) => Literal::Int(*number),
            Token::Float(number) => Literal::Float(*number),
            Token::Duration(nanos) => Literal::Duration(*nanos),
            Token::Name(name) => named(name).ok_or_else(|| unknown(name, self.at()))?,
            _ => return Err(self.unexpected(otherwise)),
        };
        self.next += 1;
        Ok(literal)
    }
}

/// Parts with one operator between them, as a tree that is as flat as can be.
fn balanced(op: BinaryOp, mut parts: Vec<Expr>) -> Expr {
    let right = parts.split_off(parts.len().div_ceil(2));
    match (parts.len(), right.is_empty()) {
        (1, true) => parts.pop().unwrap_or(Expr::Literal(Literal::Nil)),
        _ => Expr::Binary { op, left: Box::new(balanced(op, parts)), right: Box::new(balanced(op, right)) },
    }
}

/// Two parts with an operator between them; ids that are compared are written out, so that `trace:id = "1f"` finds the
/// trace 0..01f.
fn compared(op: BinaryOp, mut left: Expr, mut right: Expr) -> Expr {
    if matches!(op, BinaryOp::Eq | BinaryOp::NotEq) {
        match (&mut left, &mut right) {
            (Expr::Field(field), Expr::Literal(Literal::String(text)))
            | (Expr::Literal(Literal::String(text)), Expr::Field(field)) => {
                let digits = text.trim_start_matches('0');
                let hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if let Some(length) = field.id_digits().filter(|&length| hex && digits.len() <= length)
                    && !text.is_empty()
                {
                    let root = digits.is_empty() && *field == Field::Intrinsic(Intrinsic::ParentId);
                    *text = if root { String::new() } else { format!("{digits:0>length$}") };
                }
            }
            _ => {}
        }
    }
    Expr::Binary { op, left: Box::new(left), right: Box::new(right) }
}

/// The value that has a name.
fn named(name: &str) -> Option<Literal> {
    let number =
        |names: &[&str]| names.iter().position(|known| *known == name).and_then(|at| i8::try_from(at).ok());
    match name {
        "true" => Some(Literal::Bool(true)),
        "false" => Some(Literal::Bool(false)),
        "nil" => Some(Literal::Nil),
        _ => INTS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, number)| Literal::Int(*number))
            .or_else(|| number(&STATUSES).map(Literal::Status))
            .or_else(|| number(&KINDS).map(Literal::Kind)),
    }
}

pub(super) fn unknown(name: &str, at: usize) -> QueryError {
    let same = |known: &&(&str, Intrinsic)| known.0.eq_ignore_ascii_case(name);
    let meant = INTRINSICS.iter().find(same).map_or_else(
        || format!("`.{name}` (an attribute), or \"{name}\" (a text)"),
        |known| format!("`{}`", known.0),
    );
    error(at, format!("`{name}` is not known; did you mean {meant}?"))
}

//! Tokens as a filter, and whether its types fit.

use super::ast::{BinaryOp, Expr, Field, Filter, INTRINSICS, Intrinsic, KINDS, Literal, STATUSES, Scope};
use super::lexer::{Token, error, in_key, tokens};
use crate::query::QueryError;

/// Bytes of a query at most.
const MAX_LENGTH: usize = 16 << 10;
/// How deep it may be nested.
const MAX_DEPTH: usize = 64;

/// Parses one span filter, such as `{ status = error }`; an empty text is the filter of all spans.
///
/// # Errors
/// What is wrong, and at which byte.
pub fn parse_filter(query: &str) -> Result<Filter, QueryError> {
    if query.len() > MAX_LENGTH {
        return Err(QueryError::invalid(format!(
            "the query has {} bytes, at most {MAX_LENGTH} are taken",
            query.len()
        )));
    }
    let mut parser = Parser { tokens: tokens(query)?, next: 0, depth: 0 };
    if parser.peek() == &Token::End {
        return Ok(Filter { expr: None });
    }
    parser.expect(&Token::Open, "a filter begins with `{`, as in `{ status = error }`")?;
    let mut expr = None;
    if parser.peek() != &Token::Close {
        let at = parser.at();
        let (parsed, kind) = parser.expr(0)?;
        if !matches!(kind, Type::Bool | Type::Dynamic) {
            return Err(error(at, format!("a filter is true or false, this is {}", kind.shown())));
        }
        expr = Some(parsed);
    }
    parser.expect(&Token::Close, "expected an operator or `}`")?;
    match parser.peek() {
        Token::End => Ok(Filter { expr }),
        other => {
            let message = format!(
                "found {} after the filter; one span filter is answered here, not pipelines and not relations between filters",
                other.shown()
            );
            Err(error(parser.at(), message))
        }
    }
}

/// Parses what can be grouped by: an attribute or an intrinsic. A plain key is taken as an attribute.
///
/// # Errors
/// When the text is neither.
pub fn parse_field(text: &str) -> Result<Field, QueryError> {
    let text = text.trim();
    match tokens(text)?.as_slice() {
        [(Token::Attribute(scope, key), _), (Token::End, _)] => Ok(attribute(scope, key)),
        [(Token::Name(name), _), (Token::End, _)] => {
            Ok(intrinsic(name).unwrap_or_else(|| attribute("", name)))
        }
        _ if !text.is_empty() && text.chars().all(in_key) => Ok(attribute("", text)),
        _ => Err(QueryError::invalid(format!(
            "{text:?} is no attribute; write one as .gen_ai.agent.name, resource.service.name or name"
        ))),
    }
}

fn intrinsic(name: &str) -> Option<Field> {
    INTRINSICS.iter().find(|(known, _)| *known == name).map(|(_, intrinsic)| Field::Intrinsic(*intrinsic))
}

fn attribute(scope: &str, key: &str) -> Field {
    let scope = match scope {
        "span" => Scope::Span,
        "resource" => Scope::Resource,
        "event" => Scope::Event,
        "link" => Scope::Link,
        "instrumentation" => Scope::Instrumentation,
        "parent" => Scope::Parent,
        _ => Scope::Any,
    };
    Field::Attribute { scope, key: key.to_owned() }
}

/// What is known of a part before any span is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Dynamic,
    Bool,
    Number,
    Text,
    Status,
    Kind,
    Nil,
}

impl Type {
    const fn shown(self) -> &'static str {
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

    const fn of(literal: &Literal) -> Self {
        match literal {
            Literal::String(_) => Self::Text,
            Literal::Int(_) | Literal::Float(_) | Literal::Duration(_) => Self::Number,
            Literal::Bool(_) => Self::Bool,
            Literal::Status(_) => Self::Status,
            Literal::Kind(_) => Self::Kind,
            Literal::Nil => Self::Nil,
        }
    }

    const fn of_field(field: &Field) -> Self {
        match field {
            Field::Attribute { .. } => Self::Dynamic,
            Field::Intrinsic(
                Intrinsic::Duration | Intrinsic::TraceDuration | Intrinsic::EventTimeSinceStart,
            ) => Self::Number,
            Field::Intrinsic(Intrinsic::Status) => Self::Status,
            Field::Intrinsic(Intrinsic::Kind) => Self::Kind,
            Field::Intrinsic(_) => Self::Text,
        }
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(token, _)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).or_else(|| self.tokens.last()).map_or(0, |(_, at)| *at)
    }

    fn take(&mut self) -> (Token, usize) {
        let token = self.tokens.get(self.next).cloned().unwrap_or_else(|| (Token::End, self.at()));
        self.next += 1;
        token
    }

    fn expect(&mut self, token: &Token, otherwise: &str) -> Result<(), QueryError> {
        if self.peek() == token {
            self.next += 1;
            return Ok(());
        }
        Err(error(self.at(), format!("found {}: {otherwise}", self.peek().shown())))
    }

    /// A part whose operators all bind at least so tight.
    fn expr(&mut self, least: u8) -> Result<(Expr, Type), QueryError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(error(self.at(), format!("the filter is nested deeper than {MAX_DEPTH}")));
        }
        let (mut left, mut kind) = self.unary()?;
        while let &Token::Op(op) = self.peek() {
            if op.precedence() < least {
                break;
            }
            let (_, at) = self.take();
            // All but the power are grouped from the left.
            let next = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let (right, right_kind) = self.expr(next)?;
            kind = check(op, kind, right_kind, at)?;
            if matches!(op, BinaryOp::Regex | BinaryOp::NotRegex) {
                check_regex(&right, at)?;
            }
            left = Expr::Binary { op, left: Box::new(left), right: Box::new(right) };
        }
        self.depth -= 1;
        Ok((left, kind))
    }

    fn unary(&mut self) -> Result<(Expr, Type), QueryError> {
        let (token, at) = self.take();
        let typed = |literal: Literal| {
            let kind = Type::of(&literal);
            Ok((Expr::Literal(literal), kind))
        };
        match token {
            Token::Not => {
                let (inner, kind) = self.expr(5)?;
                match kind {
                    Type::Bool | Type::Dynamic => Ok((Expr::Not(Box::new(inner)), Type::Bool)),
                    other => {
                        Err(error(at, format!("`!` is for what is true or false, this is {}", other.shown())))
                    }
                }
            }
            Token::Op(BinaryOp::Sub) => {
                let (inner, kind) = self.expr(5)?;
                match kind {
                    Type::Number | Type::Dynamic => Ok((Expr::Negate(Box::new(inner)), kind)),
                    other => Err(error(at, format!("`-` is for numbers, this is {}", other.shown()))),
                }
            }
            Token::OpenParen => {
                let inner = self.expr(0)?;
                self.expect(&Token::CloseParen, "expected an operator or `)`")?;
                Ok(inner)
            }
            Token::Text(text) => typed(Literal::String(text)),
            Token::Int(number) => typed(Literal::Int(number)),
            Token::Float(number) => typed(Literal::Float(number)),
            Token::Duration(nanos) => typed(Literal::Duration(nanos)),
            Token::Attribute(scope, key) => Ok((Expr::Field(attribute(&scope, &key)), Type::Dynamic)),
            Token::Name(name) => named(&name, at),
            other => Err(error(
                at,
                format!(
                    "found {}: expected an attribute such as `.gen_ai.agent.name`, an intrinsic such as `status`, or a value",
                    other.shown()
                ),
            )),
        }
    }
}

fn named(name: &str, at: usize) -> Result<(Expr, Type), QueryError> {
    let number =
        |names: &[&str]| names.iter().position(|known| *known == name).and_then(|at| i8::try_from(at).ok());
    let literal = match name {
        "true" => Some(Literal::Bool(true)),
        "false" => Some(Literal::Bool(false)),
        "nil" => Some(Literal::Nil),
        _ => number(&STATUSES).map(Literal::Status).or_else(|| number(&KINDS).map(Literal::Kind)),
    };
    if let Some(literal) = literal {
        let kind = Type::of(&literal);
        return Ok((Expr::Literal(literal), kind));
    }
    if let Some(field) = intrinsic(name) {
        let kind = Type::of_field(&field);
        return Ok((Expr::Field(field), kind));
    }
    let same = |known: &&(&str, Intrinsic)| known.0.eq_ignore_ascii_case(name);
    let meant = INTRINSICS.iter().find(same).map_or_else(
        || format!("`.{name}` (an attribute), or \"{name}\" (a text)"),
        |known| format!("`{}`", known.0),
    );
    Err(error(at, format!("`{name}` is not known; did you mean {meant}?")))
}

fn check(op: BinaryOp, left: Type, right: Type, at: usize) -> Result<Type, QueryError> {
    use BinaryOp as Op;
    let either =
        |kinds: &[Type]| [left, right].iter().all(|kind| *kind == Type::Dynamic || kinds.contains(kind));
    let (fits, result) = match op {
        Op::And | Op::Or => (either(&[Type::Bool]), Type::Bool),
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Mod | Op::Pow => (either(&[Type::Number]), Type::Number),
        Op::Regex | Op::NotRegex => (either(&[Type::Text]), Type::Bool),
        Op::Less | Op::LessEq | Op::Greater | Op::GreaterEq => {
            (either(&[Type::Number]) || either(&[Type::Text]), Type::Bool)
        }
        Op::Eq | Op::NotEq => {
            let loose = |kind| matches!(kind, Type::Dynamic | Type::Nil);
            (left == right || loose(left) || loose(right), Type::Bool)
        }
    };
    if fits {
        return Ok(result);
    }
    Err(error(at, format!("`{}` cannot stand between {} and {}", op.text(), left.shown(), right.shown())))
}

fn check_regex(right: &Expr, at: usize) -> Result<(), QueryError> {
    let Expr::Literal(Literal::String(pattern)) = right else {
        return Err(error(at, "a regular expression is a text in quotes"));
    };
    super::eval::regex(pattern).map(|_| ()).map_err(|message| error(at, message))
}

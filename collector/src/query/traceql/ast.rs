//! What a filter is made of.

use std::fmt;

/// A span filter.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Filter {
    /// The condition; none for all spans.
    pub expr: Option<Expr>,
}

/// A condition, or a part of one.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a program that reads filters has to know all of it")]
pub enum Expr {
    /// A value.
    Literal(Literal),
    /// What a span has.
    Field(Field),
    /// `!x`
    Not(Box<Self>),
    /// `-x`
    Negate(Box<Self>),
    /// Two parts and an operator.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// The part before it.
        left: Box<Self>,
        /// The part after it.
        right: Box<Self>,
    },
}

/// An operator between two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the operators of the language")]
#[expect(missing_docs, reason = "the names say it")]
pub enum BinaryOp {
    And,
    Or,
    Eq,
    NotEq,
    Less,
    LessEq,
    Greater,
    GreaterEq,
    Regex,
    NotRegex,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
}

impl BinaryOp {
    /// As it is written.
    pub const fn text(self) -> &'static str {
        match self {
            Self::And => "&&",
            Self::Or => "||",
            Self::Eq => "=",
            Self::NotEq => "!=",
            Self::Less => "<",
            Self::LessEq => "<=",
            Self::Greater => ">",
            Self::GreaterEq => ">=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
        }
    }

    /// What binds tighter has a larger number.
    pub(super) const fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Eq | Self::NotEq | Self::Less | Self::LessEq | Self::Greater | Self::GreaterEq => 3,
            Self::Regex | Self::NotRegex => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod => 6,
            Self::Pow => 7,
        }
    }
}

/// A value that is written in a filter.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the literals of the language")]
pub enum Literal {
    /// A text.
    String(String),
    /// An integer.
    Int(i64),
    /// A number with a point.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// Nanoseconds.
    Duration(i64),
    /// OTLP's number of a status: unset 0, ok 1, error 2.
    Status(i8),
    /// OTLP's number of a kind: unspecified 0, internal 1, server 2, client 3, producer 4, consumer 5.
    Kind(i8),
    /// Nothing.
    Nil,
}

/// The statuses by OTLP's number.
pub(super) const STATUSES: [&str; 3] = ["unset", "ok", "error"];
/// The kinds by OTLP's number.
pub(super) const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];

/// Where an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the scopes of the language")]
pub enum Scope {
    /// `.key`: of the span, else of its resource.
    Any,
    /// `span.key`
    Span,
    /// `resource.key`
    Resource,
    /// `event.key`: of any event of the span.
    Event,
    /// `link.key`: of any link of the span.
    Link,
    /// `instrumentation.key`: of the instrumentation scope.
    Instrumentation,
    /// `parent.key`: of the parent span.
    Parent,
}

/// What a span has of itself or of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the language")]
pub enum Intrinsic {
    Name,
    Duration,
    Status,
    StatusMessage,
    Kind,
    TraceId,
    SpanId,
    ParentId,
    RootName,
    RootServiceName,
    TraceDuration,
    EventName,
    EventTimeSinceStart,
    LinkTraceId,
    LinkSpanId,
    ScopeName,
    ScopeVersion,
}

/// How each is written: first the spelling that is used to show it.
pub(super) const INTRINSICS: &[(&str, Intrinsic)] = &[
    ("name", Intrinsic::Name),
    ("span:name", Intrinsic::Name),
    ("duration", Intrinsic::Duration),
    ("span:duration", Intrinsic::Duration),
    ("status", Intrinsic::Status),
    ("span:status", Intrinsic::Status),
    ("statusMessage", Intrinsic::StatusMessage),
    ("span:statusMessage", Intrinsic::StatusMessage),
    ("kind", Intrinsic::Kind),
    ("span:kind", Intrinsic::Kind),
    ("trace:id", Intrinsic::TraceId),
    ("span:id", Intrinsic::SpanId),
    ("span:parentID", Intrinsic::ParentId),
    ("rootName", Intrinsic::RootName),
    ("trace:rootName", Intrinsic::RootName),
    ("rootServiceName", Intrinsic::RootServiceName),
    ("trace:rootService", Intrinsic::RootServiceName),
    ("traceDuration", Intrinsic::TraceDuration),
    ("trace:duration", Intrinsic::TraceDuration),
    ("event:name", Intrinsic::EventName),
    ("event:timeSinceStart", Intrinsic::EventTimeSinceStart),
    ("link:traceID", Intrinsic::LinkTraceId),
    ("link:spanID", Intrinsic::LinkSpanId),
    ("instrumentation:name", Intrinsic::ScopeName),
    ("instrumentation:version", Intrinsic::ScopeVersion),
];

/// What is compared: an attribute, or what every span has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no third kind")]
pub enum Field {
    /// An attribute.
    Attribute {
        /// Where it is.
        scope: Scope,
        /// Its key.
        key: String,
    },
    /// What every span has.
    Intrinsic(Intrinsic),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intrinsic(intrinsic) => {
                let name =
                    INTRINSICS.iter().find(|(_, known)| known == intrinsic).map_or("", |(name, _)| name);
                f.write_str(name)
            }
            Self::Attribute { scope, key } => {
                f.write_str(match scope {
                    Scope::Any => ".",
                    Scope::Span => "span.",
                    Scope::Resource => "resource.",
                    Scope::Event => "event.",
                    Scope::Link => "link.",
                    Scope::Instrumentation => "instrumentation.",
                    Scope::Parent => "parent.",
                })?;
                if !key.is_empty() && key.chars().all(super::lexer::in_key) {
                    f.write_str(key)
                } else {
                    write_text(f, key)
                }
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut out = String::new();
    crate::value::write_string(text, &mut out);
    f.write_str(&out)
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => write_text(f, text),
            Self::Int(number) => write!(f, "{number}"),
            // Without an exponent, which the language does not have.
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

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => write!(f, "{literal}"),
            Self::Field(field) => write!(f, "{field}"),
            Self::Not(inner) => write!(f, "!({inner})"),
            Self::Negate(inner) => write!(f, "-({inner})"),
            Self::Binary { op, left, right } => {
                let part = |f: &mut fmt::Formatter<'_>, part: &Self| match part {
                    Self::Binary { .. } => write!(f, "({part})"),
                    part => write!(f, "{part}"),
                };
                part(f, left)?;
                write!(f, " {} ", op.text())?;
                part(f, right)
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

impl Filter {
    /// The fields that it reads, each once.
    pub fn fields(&self) -> Vec<Field> {
        fn visit(expr: &Expr, out: &mut Vec<Field>) {
            match expr {
                Expr::Literal(_) => {}
                Expr::Field(field) if out.contains(field) => {}
                Expr::Field(field) => out.push(field.clone()),
                Expr::Not(inner) | Expr::Negate(inner) => visit(inner, out),
                Expr::Binary { left, right, .. } => {
                    visit(left, out);
                    visit(right, out);
                }
            }
        }
        let mut out = Vec::new();
        self.expr.iter().for_each(|expr| visit(expr, &mut out));
        out
    }
}

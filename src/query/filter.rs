//! What spans must be like.

use std::fmt;
use std::ops::{BitAnd, BitOr};
use std::time::Duration;

use regex::Regex;
use serde_json::Value as Json;

use super::span::{FoundSpan, Kind, Status};
use crate::Error;

/// A condition, or several of them. It means what the span filter of TraceQL means that it is shown as.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "whoever translates it must know all of it")]
pub enum Filter {
    /// Every span.
    All,
    /// Both.
    And(Box<Self>, Box<Self>),
    /// One of them, or both.
    Or(Box<Self>, Box<Self>),
    /// A field compared with a value. What is missing, and what has another type, does not compare.
    Compare(Field, Comparison, Value),
    /// A text that a regular expression matches, all of it; or does not, if `negated`.
    Matches {
        /// The field.
        field: Field,
        /// The regular expression, in RE2's syntax.
        regex: String,
        /// Whether it must not match.
        negated: bool,
    },
    /// A field that is there, or is missing.
    Exists(Field, bool),
}

/// How a field is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are no others")]
pub enum Comparison {
    /// `=`; of a list one element.
    Eq,
    /// `!=`; of a list every element.
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl Comparison {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }

    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }
}

/// What of a span is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever translates it must know all of it")]
pub enum Field {
    /// An attribute of the span; of its resource if the span has none of this key.
    Attribute(String),
    /// An attribute of the span.
    SpanAttribute(String),
    /// An attribute of the resource.
    ResourceAttribute(String),
    /// The name.
    Name,
    /// The kind.
    Kind,
    /// The status.
    Status,
    /// The message of the status.
    StatusMessage,
    /// How long it took.
    Duration,
}

/// An attribute of the span; of its resource if the span has none of this key.
pub fn attribute(key: impl Into<String>) -> Field {
    Field::Attribute(key.into())
}

/// An attribute of the span.
pub fn span_attribute(key: impl Into<String>) -> Field {
    Field::SpanAttribute(key.into())
}

/// An attribute of the resource.
pub fn resource_attribute(key: impl Into<String>) -> Field {
    Field::ResourceAttribute(key.into())
}

/// The service's name.
pub fn service() -> Field {
    resource_attribute(crate::semconv::resource::SERVICE_NAME)
}

/// The span's name.
pub const fn name() -> Field {
    Field::Name
}

/// The span's kind, a [`Kind`].
pub const fn kind() -> Field {
    Field::Kind
}

/// The span's status, a [`Status`].
pub const fn status() -> Field {
    Field::Status
}

/// The message of the span's status.
pub const fn status_message() -> Field {
    Field::StatusMessage
}

/// How long the span took, a [`Duration`].
pub const fn duration() -> Field {
    Field::Duration
}

impl Field {
    fn compare(self, how: Comparison, value: impl Into<Value>) -> Filter {
        Filter::Compare(self, how, value.into())
    }

    /// It is this.
    pub fn eq(self, value: impl Into<Value>) -> Filter {
        self.compare(Comparison::Eq, value)
    }

    /// It is there, is of the same type, and is not this.
    pub fn ne(self, value: impl Into<Value>) -> Filter {
        self.compare(Comparison::Ne, value)
    }

    /// It is less.
    pub fn lt(self, value: impl Into<Value>) -> Filter {
        self.compare(Comparison::Lt, value)
    }

    /// It is less or the same.
    pub fn le(self, value: impl Into<Value>) -> Filter {
        self.compare(Comparison::Le, value)
    }

    /// It is more.
    pub fn gt(self, value: impl Into<Value>) -> Filter {
        self.compare(Comparison::Gt, value)
    }

    /// It is more or the same.
    pub fn ge(self, value: impl Into<Value>) -> Filter {
        self.compare(Comparison::Ge, value)
    }

    /// It is a text that this regular expression (RE2's syntax) matches, all of it.
    pub fn matches(self, regex: impl Into<String>) -> Filter {
        Filter::Matches { field: self, regex: regex.into(), negated: false }
    }

    /// It is a text that this regular expression does not match.
    pub fn not_matches(self, regex: impl Into<String>) -> Filter {
        Filter::Matches { field: self, regex: regex.into(), negated: true }
    }

    /// It is there.
    pub const fn exists(self) -> Filter {
        Filter::Exists(self, true)
    }

    /// It is missing.
    pub const fn missing(self) -> Filter {
        Filter::Exists(self, false)
    }
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "whoever translates it must know all of it")]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// How long.
    Duration(Duration),
    /// How a span ended.
    Status(Status),
    /// Which side of a call a span is.
    Kind(Kind),
}

macro_rules! from {
    ($($from:ty => $to:expr),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                $to(value)
            }
        })*
    };
}

from! {
    &str => |text: &str| Self::Text(text.to_owned()),
    String => Self::Text,
    i64 => Self::Int,
    i32 => |number: i32| Self::Int(number.into()),
    u32 => |number: u32| Self::Int(number.into()),
    f64 => Self::Float,
    bool => Self::Bool,
    Duration => Self::Duration,
    Status => Self::Status,
    Kind => Self::Kind,
}

impl BitAnd for Filter {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (one, other) => Self::And(Box::new(one), Box::new(other)),
        }
    }
}

impl BitOr for Filter {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (one, other) => Self::Or(Box::new(one), Box::new(other)),
        }
    }
}

/// In TraceQL, braces included.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("{}"),
            some => {
                f.write_str("{ ")?;
                some.inner(f)?;
                f.write_str(" }")
            }
        }
    }
}

impl Filter {
    fn inner(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let both = |a: &Self, sign: &str, b: &Self, f: &mut fmt::Formatter<'_>| {
            f.write_str("(")?;
            a.inner(f)?;
            write!(f, " {sign} ")?;
            b.inner(f)?;
            f.write_str(")")
        };
        match self {
            Self::All => f.write_str("true"),
            Self::And(a, b) => both(a, "&&", b, f),
            Self::Or(a, b) => both(a, "||", b, f),
            Self::Compare(field, how, value) => write!(f, "{field} {} {value}", how.sign()),
            Self::Matches { field, regex, negated } => {
                write!(f, "{field} {} {}", if *negated { "!~" } else { "=~" }, Quoted(regex))
            }
            Self::Exists(field, there) => write!(f, "{field} {} nil", if *there { "!=" } else { "=" }),
        }
    }
}

/// In TraceQL.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |f: &mut fmt::Formatter<'_>, scope: &str, key: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
            if !key.is_empty() && key.chars().all(plain) {
                write!(f, "{scope}.{key}")
            } else {
                write!(f, "{scope}.{}", Quoted(key))
            }
        };
        match self {
            Self::Attribute(of) => key(f, "", of),
            Self::SpanAttribute(of) => key(f, "span", of),
            Self::ResourceAttribute(of) => key(f, "resource", of),
            Self::Name => f.write_str("name"),
            Self::Kind => f.write_str("kind"),
            Self::Status => f.write_str("status"),
            Self::StatusMessage => f.write_str("statusMessage"),
            Self::Duration => f.write_str("duration"),
        }
    }
}

/// In TraceQL.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{}", Quoted(text)),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Duration(time) => write!(f, "{}ns", time.as_nanos()),
            Self::Status(status) => write!(f, "{status}"),
            Self::Kind(kind) => write!(f, "{kind}"),
        }
    }
}

/// A text in double quotes.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// A filter that can be put to many spans.
pub(super) enum Ready<'a> {
    All,
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Compare(&'a Field, Comparison, &'a Value),
    Matches(&'a Field, Regex, bool),
    Exists(&'a Field, bool),
}

impl<'a> Ready<'a> {
    /// # Errors
    /// A regular expression is none ([`Error::is_config`]).
    pub(super) fn new(filter: &'a Filter) -> Result<Self, Error> {
        Ok(match filter {
            Filter::All => Self::All,
            Filter::And(a, b) => Self::And(Box::new(Self::new(a)?), Box::new(Self::new(b)?)),
            Filter::Or(a, b) => Self::Or(Box::new(Self::new(a)?), Box::new(Self::new(b)?)),
            Filter::Compare(field, how, value) => Self::Compare(field, *how, value),
            Filter::Matches { field, regex, negated } => {
                let made = Regex::new(&format!("^(?s:{regex})$"))
                    .map_err(|error| Error::config(format!("{regex:?} is no regular expression: {error}")))?;
                Self::Matches(field, made, *negated)
            }
            Filter::Exists(field, there) => Self::Exists(field, *there),
        })
    }

    pub(super) fn matches(&self, span: &FoundSpan) -> bool {
        match self {
            Self::All => true,
            Self::And(a, b) => a.matches(span) && b.matches(span),
            Self::Or(a, b) => a.matches(span) || b.matches(span),
            Self::Compare(field, how, value) => {
                let test = |found: &Found<'_>| order(found, value).is_some_and(|order| how.holds(order));
                each(&found(field, span), *how == Comparison::Ne, &test)
            }
            Self::Matches(field, regex, negated) => {
                let test = |found: &Found<'_>| match found {
                    Found::Json(Json::String(text)) => regex.is_match(text) != *negated,
                    Found::Text(text) => regex.is_match(text) != *negated,
                    _ => false,
                };
                each(&found(field, span), *negated, &test)
            }
            Self::Exists(field, there) => {
                let missing = match found(field, span) {
                    Found::Nothing | Found::Json(Json::Null) => true,
                    Found::Json(Json::Array(values)) => values.is_empty(),
                    _ => false,
                };
                missing != *there
            }
        }
    }
}

/// What a span has for a field.
enum Found<'a> {
    Nothing,
    Json(&'a Json),
    Text(&'a str),
    Duration(Duration),
    Status(Status),
    Kind(Kind),
}

fn found<'a>(field: &Field, span: &'a FoundSpan) -> Found<'a> {
    let of = |value: Option<&'a Json>| value.map_or(Found::Nothing, Found::Json);
    match field {
        Field::Attribute(key) => of(span.attributes.get(key).or_else(|| span.resource.get(key))),
        Field::SpanAttribute(key) => of(span.attributes.get(key)),
        Field::ResourceAttribute(key) => of(span.resource.get(key)),
        Field::Name => Found::Text(&span.name),
        Field::Kind => Found::Kind(span.kind),
        Field::Status => Found::Status(span.status),
        Field::StatusMessage => Found::Text(&span.status_message),
        Field::Duration => Found::Duration(span.duration),
    }
}

/// Of a list whether the test holds for one element, or for every element.
fn each(found: &Found<'_>, all: bool, test: &dyn Fn(&Found<'_>) -> bool) -> bool {
    match found {
        Found::Json(Json::Array(values)) if values.is_empty() => false,
        Found::Json(Json::Array(values)) if all => values.iter().all(|value| test(&Found::Json(value))),
        Found::Json(Json::Array(values)) => values.iter().any(|value| test(&Found::Json(value))),
        other => test(other),
    }
}

/// How what was found stands to a value; none if they do not compare.
fn order(found: &Found<'_>, value: &Value) -> Option<std::cmp::Ordering> {
    match (found, value) {
        (Found::Text(text), Value::Text(other)) => Some((*text).cmp(other)),
        (Found::Json(Json::String(text)), Value::Text(other)) => Some(text.as_str().cmp(other)),
        (Found::Json(Json::Bool(one)), Value::Bool(other)) => Some(one.cmp(other)),
        (Found::Json(Json::Number(number)), Value::Int(other)) => match number.as_i64() {
            Some(number) => Some(number.cmp(other)),
            #[expect(
                clippy::cast_precision_loss,
                reason = "numbers of different types are compared as doubles"
            )]
            None => number.as_f64()?.partial_cmp(&(*other as f64)),
        },
        (Found::Json(Json::Number(number)), Value::Float(other)) => number.as_f64()?.partial_cmp(other),
        (Found::Duration(time), Value::Duration(other)) => Some(time.cmp(other)),
        (Found::Status(one), Value::Status(other)) => Some((*one as u8).cmp(&(*other as u8))),
        (Found::Kind(one), Value::Kind(other)) => Some((*one as u8).cmp(&(*other as u8))),
        _ => None,
    }
}

//! What spans must be like.

use std::fmt;
use std::ops::{BitAnd, BitOr};
use std::time::Duration;

use super::span::{Kind, Status};

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

    /// The same with its sides exchanged.
    pub(super) const fn turned(self) -> Self {
        match self {
            Self::Eq => Self::Eq,
            Self::Ne => Self::Ne,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }

    pub(super) fn holds(self, order: std::cmp::Ordering) -> bool {
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
    pub(super) fn compare(self, how: Comparison, value: impl Into<Value>) -> Filter {
        let is_attribute =
            matches!(self, Self::Attribute(_) | Self::SpanAttribute(_) | Self::ResourceAttribute(_));
        let value = match value.into() {
            // Attributes are no times; in TraceQL a duration is its nanoseconds then.
            Value::Duration(time) if is_attribute => {
                Value::Int(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
            }
            value => value,
        };
        Filter::Compare(self, how, value)
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
            // A digit after the point would begin a number.
            let is_number = scope.is_empty() && key.starts_with(|c: char| c.is_ascii_digit());
            if !key.is_empty() && !is_number && key.chars().all(plain) {
                write!(f, "{scope}.{key}")
            } else {
                // Between the quotes of a key these two are all that can be escaped.
                write!(f, "{scope}.\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
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

//! What a filter is made of.

use super::field::Field;

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

/// How tight `-x` binds what follows it.
pub(super) const NEGATE: u8 = 4;
/// How tight `!x` does.
pub(super) const NOT: u8 = 5;

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

    /// What binds tighter has a larger number. `&&` and `||` bind alike, from the left, as Tempo has it: `a || b && c`
    /// is `(a || b) && c`.
    pub(super) const fn precedence(self) -> u8 {
        match self {
            Self::And | Self::Or => 1,
            Self::Eq | Self::NotEq | Self::Less | Self::LessEq | Self::Greater | Self::GreaterEq => 3,
            Self::Regex | Self::NotRegex => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod => 6,
            Self::Pow => 7,
        }
    }

    /// What the part after it has to bind at least. All but the power are grouped from the left.
    pub(super) const fn right_precedence(self) -> u8 {
        if matches!(self, Self::Pow) { self.precedence() } else { self.precedence() + 1 }
    }

    /// Whether it makes a number of two numbers.
    pub const fn is_arithmetic(self) -> bool {
        matches!(self, Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Mod | Self::Pow)
    }

    /// Whether it tells which of two numbers is larger, or whether they are the same.
    pub const fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::NotEq | Self::Less | Self::LessEq | Self::Greater | Self::GreaterEq)
    }
}

/// A value that is written in a query.
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

/// The integers that have a name.
pub(super) const INTS: [(&str, i64); 2] = [("minInt", i64::MIN), ("maxInt", i64::MAX)];

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

    /// What a look at each span alone tells of it, and whether that is all of it. What fulfils it fulfils this, too.
    pub(crate) fn of_one_span(&self) -> (Self, bool) {
        let alone = |filter: &Self| filter.fields().iter().all(Field::is_of_one_span);
        if alone(self) {
            return (self.clone(), true);
        }
        let parts = self.expr.clone().map(|expr| expr.links(BinaryOp::And)).unwrap_or_default();
        let told = parts.into_iter().filter(|part| alone(&Self { expr: Some(part.clone()) }));
        let both =
            |left, right| Expr::Binary { op: BinaryOp::And, left: Box::new(left), right: Box::new(right) };
        (Self { expr: told.reduce(both) }, false)
    }
}

impl Expr {
    /// The parts of it that are a chain of this operator, in order; itself if it is none.
    pub(crate) fn links(self, op: BinaryOp) -> Vec<Self> {
        match self {
            Self::Binary { op: known, left, right } if known == op => {
                let mut links = left.links(op);
                links.extend(right.links(op));
                links
            }
            other => vec![other],
        }
    }

    /// Whether it reads anything of a span.
    pub(super) fn reads_span(&self) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Field(_) => true,
            Self::Not(inner) | Self::Negate(inner) => inner.reads_span(),
            Self::Binary { left, right, .. } => left.reads_span() || right.reads_span(),
        }
    }
}

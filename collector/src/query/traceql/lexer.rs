//! A query as tokens with their places.

use super::ast::BinaryOp;
use super::field::Scope;
use super::literal::{number, quoted};
use super::query::SpansetOp;
use crate::query::QueryError;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Open,
    Close,
    OpenParen,
    CloseParen,
    Op(BinaryOp),
    /// A relation that is no operator of filters.
    Relation(SpansetOp),
    Not,
    Pipe,
    Comma,
    Text(String),
    Int(i64),
    Float(f64),
    Duration(i64),
    /// A name: a keyword, or an intrinsic with or without the scope before its colon.
    Name(String),
    Attribute(Scope, String),
    End,
}

impl Token {
    /// For errors.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Open => "`{`".to_owned(),
            Self::Close => "`}`".to_owned(),
            Self::OpenParen => "`(`".to_owned(),
            Self::CloseParen => "`)`".to_owned(),
            Self::Op(op) => format!("`{}`", op.text()),
            Self::Relation(op) => format!("`{}`", op.text()),
            Self::Not => "`!`".to_owned(),
            Self::Pipe => "`|`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::Text(text) => format!("the text {text:?}"),
            Self::Int(number) => format!("`{number}`"),
            Self::Float(number) => format!("`{number}`"),
            Self::Duration(nanos) => format!("the duration `{nanos}ns`"),
            Self::Name(name) => format!("`{name}`"),
            Self::Attribute(scope, key) => format!("`{}.{key}`", scope.text()),
            Self::End => "the end of the query".to_owned(),
        }
    }
}

/// Whether a character may be in the key of an attribute without quotes.
pub(super) fn in_key(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"(){},=~!<>&|^\"".contains(c)
}

pub(super) fn error(at: usize, message: impl Into<String>) -> QueryError {
    QueryError::Invalid { message: message.into(), at: Some(at) }
}

/// The tokens, and where each begins; the last one is [`Token::End`].
pub(super) fn tokens(query: &str) -> Result<Vec<(Token, usize)>, QueryError> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = query[at..].chars().next() {
        let rest = &query[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        if let Some(length) = comment(rest, at)? {
            at += length;
            continue;
        }
        let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let (token, length) = match symbol(rest) {
            Some(found) => found,
            None if c == '"' || c == '`' => {
                let (text, length) = quoted(rest).map_err(|(place, message)| error(at + place, message))?;
                (Token::Text(text), length)
            }
            None if digit(rest) || c == '.' && digit(&rest[1..]) => {
                number(rest).map_err(|message| error(at, message))?
            }
            None if c == '.' => attribute(Scope::Any, rest, 1, at)?,
            None if c.is_alphabetic() || c == '_' => name(rest, at)?,
            None => return Err(error(at, format!("{c:?} is not known here"))),
        };
        out.push((token, at));
        at += length;
    }
    out.push((Token::End, query.len()));
    Ok(out)
}

/// How long a comment is: `// to the end of the line`, or `/* to here */`.
fn comment(rest: &str, at: usize) -> Result<Option<usize>, QueryError> {
    if rest.starts_with("//") {
        return Ok(Some(rest.find('\n').unwrap_or(rest.len())));
    }
    if !rest.starts_with("/*") {
        return Ok(None);
    }
    match rest.find("*/") {
        Some(end) if end >= 2 => Ok(Some(end + 2)),
        _ => Err(error(at, "the comment that begins here does not end")),
    }
}

fn symbol(rest: &str) -> Option<(Token, usize)> {
    // What begins another stands after it.
    const SYMBOLS: &[(&str, Token)] = &[
        ("&>>", Token::Relation(SpansetOp::UnionDescendant)),
        ("&<<", Token::Relation(SpansetOp::UnionAncestor)),
        ("&>", Token::Relation(SpansetOp::UnionChild)),
        ("&<", Token::Relation(SpansetOp::UnionParent)),
        ("&~", Token::Relation(SpansetOp::UnionSibling)),
        ("!>>", Token::Relation(SpansetOp::NotDescendant)),
        ("!<<", Token::Relation(SpansetOp::NotAncestor)),
        ("!>", Token::Relation(SpansetOp::NotChild)),
        ("!<", Token::Relation(SpansetOp::NotParent)),
        (">>", Token::Relation(SpansetOp::Descendant)),
        ("<<", Token::Relation(SpansetOp::Ancestor)),
        ("~", Token::Relation(SpansetOp::Sibling)),
        ("&&", Token::Op(BinaryOp::And)),
        ("||", Token::Op(BinaryOp::Or)),
        ("=~", Token::Op(BinaryOp::Regex)),
        ("!~", Token::Op(BinaryOp::NotRegex)),
        ("!=", Token::Op(BinaryOp::NotEq)),
        ("<=", Token::Op(BinaryOp::LessEq)),
        (">=", Token::Op(BinaryOp::GreaterEq)),
        ("=", Token::Op(BinaryOp::Eq)),
        ("<", Token::Op(BinaryOp::Less)),
        (">", Token::Op(BinaryOp::Greater)),
        ("!", Token::Not),
        ("|", Token::Pipe),
        (",", Token::Comma),
        ("{", Token::Open),
        ("}", Token::Close),
        ("(", Token::OpenParen),
        (")", Token::CloseParen),
        ("+", Token::Op(BinaryOp::Add)),
        ("-", Token::Op(BinaryOp::Sub)),
        ("*", Token::Op(BinaryOp::Mul)),
        ("/", Token::Op(BinaryOp::Div)),
        ("%", Token::Op(BinaryOp::Mod)),
        ("^", Token::Op(BinaryOp::Pow)),
    ];
    SYMBOLS.iter().find(|(text, _)| rest.starts_with(text)).map(|(text, token)| (token.clone(), text.len()))
}

/// The attribute of this scope whose key begins at `from`, and how long all of it is.
fn attribute(scope: Scope, rest: &str, from: usize, at: usize) -> Result<(Token, usize), QueryError> {
    let (mut key, mut length) = (String::new(), from);
    while let Some(c) = rest[length..].chars().next() {
        if c == '"' {
            length += part_in_quotes(&rest[length..], &mut key)
                .map_err(|(place, message)| error(at + length + place, message))?;
        } else if in_key(c) {
            key.push(c);
            length += c.len_utf8();
        } else {
            break;
        }
    }
    if length == from {
        return Err(error(at, format!("expected the key of an attribute after `{}`", &rest[..from])));
    }
    Ok((Token::Attribute(scope, key), length))
}

/// A part of a key in quotes, in which only these and backslashes are escaped. Returns how long it is.
fn part_in_quotes(rest: &str, key: &mut String) -> Result<usize, (usize, &'static str)> {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok(at + 1),
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => key.push(escaped),
                _ => return Err((at, "only `\\\"` and `\\\\` are escaped in the key of an attribute")),
            },
            c => key.push(c),
        }
    }
    Err((0, "the key that begins here does not end"))
}

/// A name, with a colon if it is an intrinsic with a scope; or an attribute with its scope.
fn name(rest: &str, at: usize) -> Result<(Token, usize), QueryError> {
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let (first, after) = rest.split_at(word);
    if let Some(after) = after.strip_prefix('.')
        && let Some(scope) = Scope::named(first)
    {
        // `parent.` may be followed by the scope of the parent's attribute.
        let further = ["span", "resource"].into_iter().find(|further| {
            scope == Scope::Parent && after.strip_prefix(further).is_some_and(|rest| rest.starts_with('.'))
        });
        let scope_length = word + further.map_or(0, |further| 1 + further.len());
        let scope = Scope::named(&rest[..scope_length]).unwrap_or(scope);
        return attribute(scope, rest, scope_length + 1, at);
    }
    let mut length = word;
    if let Some(after) = after.strip_prefix(':') {
        length += 1 + after.find(|c: char| !c.is_alphanumeric()).unwrap_or(after.len());
    } else if after.starts_with('.') {
        // Not of the language; kept whole, so that the error can tell what was meant.
        length = rest.find(|c: char| !in_key(c)).unwrap_or(rest.len());
    }
    Ok((Token::Name(rest[..length].to_owned()), length))
}

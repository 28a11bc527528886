//! A query as tokens with their places.

use super::ast::BinaryOp;
use crate::query::QueryError;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Open,
    Close,
    OpenParen,
    CloseParen,
    Op(BinaryOp),
    Not,
    Pipe,
    Comma,
    Text(String),
    Int(i64),
    Float(f64),
    Duration(i64),
    /// A name: an intrinsic, a keyword, or what comes before the point of a scoped attribute.
    Name(String),
    /// `.key`, or `scope.key` with the scope.
    Attribute(String, String),
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
            Self::Not => "`!`".to_owned(),
            Self::Pipe => "`|`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::Text(text) => format!("the text {text:?}"),
            Self::Int(number) => format!("`{number}`"),
            Self::Float(number) => format!("`{number}`"),
            Self::Duration(nanos) => format!("the duration `{nanos}ns`"),
            Self::Name(name) => format!("`{name}`"),
            Self::Attribute(scope, key) => format!("`{scope}.{key}`"),
            Self::End => "the end of the query".to_owned(),
        }
    }
}

/// Whether a character may be in the key of an attribute without quotes.
pub(super) fn in_key(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"(){},=~!<>&|^\"`".contains(c)
}

const SCOPES: &[&str] = &["span", "resource", "event", "link", "instrumentation", "parent"];

pub(super) fn error(at: usize, message: impl Into<String>) -> QueryError {
    QueryError::Invalid { message: message.into(), at: Some(at) }
}

/// The tokens, and where each begins; the last one is [`Token::End`].
pub(super) fn tokens(query: &str) -> Result<Vec<(Token, usize)>, QueryError> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = query[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let rest = &query[at..];
        let (token, length) = match symbol(rest) {
            Some(found) => found,
            None if c == '"' || c == '`' => {
                let (text, length) =
                    quoted(rest).ok_or_else(|| error(at, "the text that begins here does not end"))?;
                (Token::Text(text), length)
            }
            None if c.is_ascii_digit() => number(rest).map_err(|message| error(at, message))?,
            None if c == '.' => key(&rest[1..])
                .map(|(key, length)| (Token::Attribute(String::new(), key), length + 1))
                .ok_or_else(|| error(at, "expected the key of an attribute after `.`"))?,
            None if c.is_alphabetic() || c == '_' => name(rest, at)?,
            None => return Err(error(at, format!("{c:?} is not known here"))),
        };
        out.push((token, at));
        at += length;
    }
    out.push((Token::End, query.len()));
    Ok(out)
}

fn symbol(rest: &str) -> Option<(Token, usize)> {
    const SYMBOLS: &[(&str, Token)] = &[
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

/// A text in quotes, and how long it is with them.
fn quoted(rest: &str) -> Option<(String, usize)> {
    let quote = rest.chars().next()?;
    let (mut out, mut chars) = (String::new(), rest.char_indices().skip(1));
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((out, at + 1)),
            '\\' if quote == '"' => {
                let (_, escaped) = chars.next()?;
                match escaped {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    'u' => {
                        let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        out.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                    }
                    // A regular expression's escapes are kept, as in Go only those of the language are replaced.
                    c @ ('"' | '\\') => out.push(c),
                    c => out.extend(['\\', c]),
                }
            }
            c => out.push(c),
        }
    }
    None
}

/// A number, or a duration such as `1h30m` or `1.5s`.
fn number(rest: &str) -> Result<(Token, usize), String> {
    const UNITS: &[(&str, f64)] = &[
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3_600e9),
        ("d", 86_400e9),
    ];
    let digits = |text: &str| {
        let mut point = false;
        text.find(|c: char| !(c.is_ascii_digit() || c == '.' && !std::mem::replace(&mut point, true)))
            .unwrap_or(text.len())
    };
    let first = digits(rest);
    let (mut at, mut nanos, mut units) = (0, 0.0, 0);
    loop {
        let length = digits(&rest[at..]);
        if length == 0 {
            break;
        }
        let after = &rest[at + length..];
        let Some((unit, factor)) = UNITS.iter().find(|(unit, _)| {
            after.strip_prefix(unit).is_some_and(|next| !next.starts_with(|c: char| c.is_alphabetic()))
        }) else {
            break;
        };
        let number: f64 = rest[at..at + length]
            .parse()
            .map_err(|_| format!("{:?} is no number", &rest[at..at + length]))?;
        nanos += number * factor;
        units += 1;
        at += length + unit.len();
    }
    if units > 0 {
        if nanos >= 9.2e18 {
            return Err("the duration is longer than 292 years".to_owned());
        }
        #[expect(clippy::cast_possible_truncation, reason = "it was compared above")]
        return Ok((Token::Duration(nanos.round() as i64), at));
    }
    let text = &rest[..first];
    if rest[first..].starts_with(|c: char| c.is_alphabetic()) {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '.')).unwrap_or(rest.len());
        return Err(format!(
            "{:?} is no number and no duration (units: ns, us, ms, s, m, h, d)",
            &rest[..end]
        ));
    }
    if text.contains('.') {
        return text
            .parse()
            .map(|number| (Token::Float(number), first))
            .map_err(|_| format!("{text:?} is no number"));
    }
    text.parse()
        .map(|number| (Token::Int(number), first))
        .map_err(|_| format!("{text} does not fit into 64 bits"))
}

/// The key of an attribute; parts of it may be in quotes.
fn key(rest: &str) -> Option<(String, usize)> {
    let (mut out, mut at) = (String::new(), 0);
    while let Some(c) = rest[at..].chars().next() {
        if c == '"' {
            let (text, length) = quoted(&rest[at..])?;
            out.push_str(&text);
            at += length;
        } else if in_key(c) {
            out.push(c);
            at += c.len_utf8();
        } else {
            break;
        }
    }
    (!out.is_empty()).then_some((out, at))
}

/// A name, with a colon if it is an intrinsic with a scope; or an attribute with its scope.
fn name(rest: &str, at: usize) -> Result<(Token, usize), QueryError> {
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let (scope, after) = rest.split_at(word);
    if SCOPES.contains(&scope) && after.starts_with('.') {
        let (key, length) = key(&after[1..])
            .ok_or_else(|| error(at, format!("expected the key of an attribute after `{scope}.`")))?;
        return Ok((Token::Attribute(scope.to_owned(), key), word + 1 + length));
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

//! A span filter of TraceQL as a [`Filter`]: what every backend can be asked. The rest of the language is for backends that
//! speak it, and is refused here by name.

use std::str::FromStr;
use std::time::Duration;

use super::filter::{Comparison, Field, Filter, Value};
use super::span::{Kind, Status};
use crate::Error;

/// How deep parentheses may be.
const MOST_DEEP: usize = 64;
/// Conditions of a filter at most: what walks through one goes as deep as it has conditions.
const MOST_CONDITIONS: usize = 1_000;
const STATUSES: [(&str, Status); 3] =
    [("unset", Status::Unset), ("ok", Status::Ok), ("error", Status::Error)];
const KINDS: [(&str, Kind); 6] = [
    ("unspecified", Kind::Unspecified),
    ("internal", Kind::Internal),
    ("server", Kind::Server),
    ("client", Kind::Client),
    ("producer", Kind::Producer),
    ("consumer", Kind::Consumer),
];
/// Nanoseconds of the units of a duration; of the last three only whole ones are written.
const UNITS: [(&str, u128); 10] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", DAY),
    ("w", 7 * DAY),
    ("y", 365 * DAY),
];
const DAY: u128 = 86_400_000_000_000;

/// In TraceQL, as Grafana Tempo documents it: `{ .gen_ai.agent.name = "planner" && duration > 2s }`. As there, `&&` and `||` bind
/// alike, from the left.
///
/// Fields are attributes (`.key`, `span.key`, `resource.key`) and `name`, `kind`, `status`, `statusMessage` and `duration`, the
/// last five also with `span:` before them; each is compared with a value, or with `nil`. What else the language has, relations
/// and pipelines, arithmetic, `!` and other fields, not every backend can be asked: that is an error ([`Error::is_config`]) that
/// names it and its place.
///
/// ```
/// use agentvitals::query::{Filter, attribute};
///
/// let filter: Filter = r#"{ .gen_ai.agent.name = "planner" }"#.parse()?;
/// assert_eq!(filter, attribute("gen_ai.agent.name").eq("planner"));
/// # Ok::<(), agentvitals::Error>(())
/// ```
impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { text, at: 0, deep: 0, conditions: 0 };
        if parser.is_over() {
            return Ok(Self::All);
        }
        parser.expect("{")?;
        let filter = if parser.takes("}") {
            Self::All
        } else {
            let filter = parser.conditions()?;
            parser.expect("}")?;
            filter
        };
        if !parser.is_over() {
            return Err(parser.wrong("there is more than one span filter: relations, pipelines and metrics cannot be asked of every backend"));
        }
        Ok(filter)
    }
}

/// A side of a comparison.
enum Side {
    Field(Field),
    Value(Value),
    Nil,
}

enum Sign {
    Compares(Comparison),
    Matches { negated: bool },
}

const SIGNS: [(&str, Sign); 8] = [
    ("=~", Sign::Matches { negated: false }),
    ("!~", Sign::Matches { negated: true }),
    ("!=", Sign::Compares(Comparison::Ne)),
    ("<=", Sign::Compares(Comparison::Le)),
    (">=", Sign::Compares(Comparison::Ge)),
    ("=", Sign::Compares(Comparison::Eq)),
    ("<", Sign::Compares(Comparison::Lt)),
    (">", Sign::Compares(Comparison::Gt)),
];

struct Parser<'a> {
    text: &'a str,
    at: usize,
    deep: usize,
    conditions: usize,
}

impl<'a> Parser<'a> {
    fn wrong(&self, what: &str) -> Error {
        self.wrong_at(self.at, what)
    }

    fn wrong_at(&self, at: usize, what: &str) -> Error {
        Error::config(format!("the filter `{}`, at byte {at}: {what}", self.text))
    }

    fn rest(&mut self) -> &'a str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    fn is_over(&mut self) -> bool {
        self.rest().is_empty()
    }

    fn takes(&mut self, sign: &str) -> bool {
        let there = self.rest().starts_with(sign);
        self.at += if there { sign.len() } else { 0 };
        there
    }

    fn expect(&mut self, sign: &str) -> Result<(), Error> {
        if self.takes(sign) {
            return Ok(());
        }
        let found: String = self.rest().chars().take(1).collect();
        let message = match found.as_str() {
            "" => format!("it ends where `{sign}` was expected"),
            "+" | "-" | "*" | "/" | "%" | "^" => {
                format!("`{found}` is arithmetic, which cannot be asked of every backend")
            }
            _ => format!("`{found}` where `{sign}` was expected"),
        };
        Err(self.wrong(&message))
    }

    fn conditions(&mut self) -> Result<Filter, Error> {
        let mut all = self.condition()?;
        loop {
            if self.takes("&&") {
                all = all & self.condition()?;
            } else if self.takes("||") {
                all = all | self.condition()?;
            } else {
                return Ok(all);
            }
        }
    }

    fn condition(&mut self) -> Result<Filter, Error> {
        if self.takes("(") {
            self.deep += 1;
            if self.deep > MOST_DEEP {
                return Err(self.wrong(&format!("there are parentheses more than {MOST_DEEP} deep")));
            }
            let all = self.conditions()?;
            self.expect(")")?;
            self.deep -= 1;
            return Ok(all);
        }
        let rest = self.rest();
        if rest.starts_with('!') {
            return Err(self.wrong("`!` cannot be asked of every backend; turn the comparison round"));
        }
        self.conditions += 1;
        if self.conditions > MOST_CONDITIONS {
            return Err(self.wrong(&format!("there are more than {MOST_CONDITIONS} conditions")));
        }
        let at = self.at;
        let left = self.side()?;
        let rest = self.rest();
        let sign = SIGNS.iter().find(|(text, _)| rest.starts_with(text));
        let Some((text, sign)) = sign else {
            return match left {
                Side::Value(Value::Bool(true)) => Ok(Filter::All),
                Side::Field(
                    field @ (Field::Attribute(_) | Field::SpanAttribute(_) | Field::ResourceAttribute(_)),
                ) => Ok(field.eq(true)),
                _ => Err(self.wrong_at(at, "expected a field that is compared with a value")),
            };
        };
        self.at += text.len();
        let right = self.side()?;
        self.compared(left, sign, right).map_err(|what| self.wrong_at(at, &what))
    }

    fn compared(&self, left: Side, sign: &Sign, right: Side) -> Result<Filter, String> {
        let turned = matches!(right, Side::Field(_));
        let (field, value) = match (left, right) {
            (Side::Field(_), Side::Field(_)) => {
                return Err("two fields are compared, which cannot be asked of every backend".to_owned());
            }
            (Side::Field(field), value) | (value, Side::Field(field)) => (field, value),
            _ => return Err("no field of a span is compared".to_owned()),
        };
        let is_text = !matches!(field, Field::Kind | Field::Status | Field::Duration);
        match (sign, value) {
            (Sign::Compares(Comparison::Eq), Side::Nil) => Ok(field.missing()),
            (Sign::Compares(Comparison::Ne), Side::Nil) => Ok(field.exists()),
            (Sign::Matches { negated }, Side::Value(Value::Text(regex))) if is_text && !turned => {
                Ok(if *negated { field.not_matches(regex) } else { field.matches(regex) })
            }
            (Sign::Compares(how), Side::Value(value)) => {
                let how = if turned { how.turned() } else { *how };
                let value = typed(&field, how, value)?;
                Ok(field.compare(how, value))
            }
            _ => Err(format!("{field} cannot be compared so")),
        }
    }

    fn side(&mut self) -> Result<Side, Error> {
        let rest = self.rest();
        let first = rest.chars().next();
        let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        match first {
            None => Err(self.wrong("it ends where a field or a value was expected")),
            Some('"' | '`') => self.quoted().map(|text| Side::Value(Value::Text(text))),
            Some('-') if digit(&rest[1..]) || rest[1..].starts_with('.') => {
                self.at += 1;
                self.number(true).map(Side::Value)
            }
            Some('.') if !digit(&rest[1..]) => {
                self.at += 1;
                self.key().map(|key| Side::Field(Field::Attribute(key)))
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(false).map(Side::Value),
            Some(c) if c.is_alphabetic() => self.word(),
            Some(c) => Err(self.wrong(&format!("`{c}` where a field or a value was expected"))),
        }
    }

    /// A name of a field or a value.
    fn word(&mut self) -> Result<Side, Error> {
        let (rest, at) = (self.rest(), self.at);
        for (scope, of) in
            [("span.", Field::SpanAttribute as fn(String) -> Field), ("resource.", Field::ResourceAttribute)]
        {
            if rest.starts_with(scope) {
                self.at += scope.len();
                return self.key().map(|key| Side::Field(of(key)));
            }
        }
        let length = rest.find(|c: char| !in_key(c)).unwrap_or(rest.len());
        let word = &rest[..length];
        self.at += length;
        let status =
            STATUSES.iter().find(|(name, _)| *name == word).map(|(_, status)| Value::Status(*status));
        let kind = KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| Value::Kind(*kind));
        if let Some(value) = status.or(kind) {
            return Ok(Side::Value(value));
        }
        Ok(match word.strip_prefix("span:").unwrap_or(word) {
            "true" => Side::Value(Value::Bool(true)),
            "false" => Side::Value(Value::Bool(false)),
            "nil" => Side::Nil,
            "name" => Side::Field(Field::Name),
            "kind" => Side::Field(Field::Kind),
            "status" => Side::Field(Field::Status),
            "statusMessage" => Side::Field(Field::StatusMessage),
            "duration" => Side::Field(Field::Duration),
            _ => {
                let what = format!(
                    "`{word}` is no field that every backend can be asked for: expected .key, span.key, resource.key, name, kind, status, statusMessage or duration"
                );
                return Err(self.wrong_at(at, &what));
            }
        })
    }

    /// The key of an attribute; parts of it may be in quotes.
    fn key(&mut self) -> Result<String, Error> {
        let (mut key, begin) = (String::new(), self.at);
        while let Some(c) = self.text[self.at..].chars().next() {
            if in_key(c) {
                key.push(c);
                self.at += c.len_utf8();
            } else if c == '"' {
                let mut chars = self.text[self.at + 1..].char_indices();
                loop {
                    match chars.next() {
                        Some((at, '"')) => {
                            self.at += at + 2;
                            break;
                        }
                        Some((_, '\\')) => match chars.next() {
                            Some((_, escaped @ ('"' | '\\'))) => key.push(escaped),
                            _ => {
                                return Err(self
                                    .wrong("only `\\\"` and `\\\\` are escaped in the key of an attribute"));
                            }
                        },
                        Some((_, c)) => key.push(c),
                        None => return Err(self.wrong("the key that begins here does not end")),
                    }
                }
            } else {
                break;
            }
        }
        if self.at == begin {
            return Err(self.wrong("expected the key of an attribute"));
        }
        Ok(key)
    }

    fn quoted(&mut self) -> Result<String, Error> {
        let rest = self.rest();
        let unfinished = "the text that begins here does not end";
        if let Some(raw) = rest.strip_prefix('`') {
            let end = raw.find('`').ok_or_else(|| self.wrong(unfinished))?;
            self.at += end + 2;
            return Ok(raw[..end].replace('\r', ""));
        }
        let mut out = String::new();
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(out);
                }
                '\\' => out.push(match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => c,
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, 'r')) => '\r',
                    _ => {
                        let what = "only `\\\"`, `\\\\`, `\\n`, `\\r` and `\\t` are escaped here; write the text in backticks";
                        return Err(self.wrong_at(self.at + at, what));
                    }
                }),
                c => out.push(c),
            }
        }
        Err(self.wrong(unfinished))
    }

    fn number(&mut self, negative: bool) -> Result<Value, Error> {
        let at = self.at;
        let rest = &self.text[at..];
        let is_exponent =
            |place: usize, c: char| matches!(c, '+' | '-') && rest[..place].ends_with(['e', 'E']);
        let end = rest
            .char_indices()
            .find(|&(place, c)| !(c.is_alphanumeric() || c == '.' || is_exponent(place, c)));
        let word = &rest[..end.map_or(rest.len(), |(end, _)| end)];
        self.at += word.len();
        let signed = if negative { format!("-{word}") } else { word.to_owned() };
        let what = || {
            self.wrong_at(at, &format!("{signed:?} is no number that can be held and no duration (units: ns, us, ms, s, m, h, and whole d, w, y)"))
        };
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            return signed.parse().map(Value::Int).map_err(|_| what());
        }
        let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
        if word.chars().all(plain) {
            return signed
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite())
                .map(Value::Float)
                .ok_or_else(what);
        }
        match nanos(word) {
            Some(nanos) if !negative => Ok(Value::Duration(Duration::from_nanos(nanos))),
            _ => Err(what()),
        }
    }
}

/// What a field of its own is compared with has its type.
fn typed(field: &Field, how: Comparison, value: Value) -> Result<Value, String> {
    let equals = matches!(how, Comparison::Eq | Comparison::Ne);
    match (field, value) {
        (Field::Name | Field::StatusMessage, value @ Value::Text(_))
        | (Field::Duration, value @ Value::Duration(_)) => Ok(value),
        (Field::Kind, value @ Value::Kind(_)) | (Field::Status, value @ Value::Status(_)) if equals => {
            Ok(value)
        }
        (Field::Duration, Value::Int(nanos)) if nanos >= 0 => {
            Ok(Value::Duration(Duration::from_nanos(nanos.unsigned_abs())))
        }
        (Field::Attribute(_) | Field::SpanAttribute(_) | Field::ResourceAttribute(_), value)
            if equals || !matches!(value, Value::Bool(_) | Value::Kind(_) | Value::Status(_)) =>
        {
            Ok(value)
        }
        (field, value) => Err(format!("{field} cannot be compared with {value} so")),
    }
}

fn in_key(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"(){},=~!<>&|^\"".contains(c)
}

/// Nanoseconds of `1h30m`, `1.5s` or `1d12h`.
fn nanos(mut text: &str) -> Option<u64> {
    let mut nanos = 0_u128;
    while !text.is_empty() {
        let in_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, rest) = text.split_at(text.find(|c| !in_number(c))?);
        let (unit, rest) = rest.split_at(rest.find(in_number).unwrap_or(rest.len()));
        let (_, factor) = UNITS.iter().find(|(known, _)| *known == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || *factor >= DAY && number.contains('.') {
            return None;
        }
        // No unit has more nanoseconds than these digits can tell.
        let fraction = &fraction[..fraction.len().min(18)];
        let parsed = |digits: &str| if digits.is_empty() { Some(0_u128) } else { digits.parse().ok() };
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        nanos = nanos.checked_add(parsed(whole)?.checked_mul(*factor)?)?;
        nanos = nanos.checked_add(parsed(fraction)? * factor / scale)?;
        text = rest;
    }
    u64::try_from(nanos).ok().filter(|nanos| i64::try_from(*nanos).is_ok())
}

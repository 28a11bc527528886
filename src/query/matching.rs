//! Which spans a filter lets through, of those that a backend handed out whole.

use std::time::Duration;

use regex::Regex;
use serde_json::Value as Json;

use super::filter::{Comparison, Field, Filter, Value};
use super::span::{FoundSpan, Kind, Status};
use crate::Error;

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
                let made = Regex::new(&format!("^(?s:{})$", ascii(regex)))
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

/// The pattern with `\d`, `\w`, `\s` and `\b` of ASCII only, as RE2 has them.
fn ascii(pattern: &str) -> String {
    let (mut out, mut in_class, mut chars) = (String::with_capacity(pattern.len()), false, pattern.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match (chars.next(), in_class) {
                (Some('d'), true) => out.push_str("0-9"),
                (Some('w'), true) => out.push_str("0-9A-Za-z_"),
                (Some('s'), true) => out.push_str("\\t\\n\\x0c\\r "),
                (Some(class @ ('d' | 'w' | 's' | 'D' | 'W' | 'S' | 'b')), false) => {
                    let of = match class.to_ascii_lowercase() {
                        'd' => "[0-9]",
                        'w' => "[0-9A-Za-z_]",
                        's' => "[\\t\\n\\x0c\\r ]",
                        _ => "(?-u:\\b)",
                    };
                    out.push_str(&if class.is_ascii_uppercase() {
                        of.replacen('[', "[^", 1)
                    } else {
                        of.to_owned()
                    });
                }
                (Some(other), _) => out.extend(['\\', other]),
                (None, _) => out.push('\\'),
            },
            '[' => {
                in_class = true;
                out.push(c);
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
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

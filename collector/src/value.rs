//! Attribute values, and the JSON text that holds them in the store without loss of their types.
//!
//! | value | text |
//! |---|---|
//! | string, boolean, array, empty | the JSON of the same kind |
//! | integer (`i64`) | a number without point and exponent: `42` |
//! | double | a number with a point or an exponent: `42.0`, `1e300`; `{"$double":"NaN"}`, `"inf"`, `"-inf"` |
//! | bytes | `{"$bytes":"<base64>"}` |
//! | key-value list | an object; one whose first key starts with `$` is `{"$map":{..}}` |

use std::borrow::Cow;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

/// How deep arrays and key-value lists may be nested.
pub const MAX_DEPTH: usize = 32;

/// How deep a text may be nested that holds values: they stand in lists of events, and a key-value list that is escaped
/// is one object more.
const MAX_TEXT_DEPTH: usize = 2 * MAX_DEPTH + 8;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the kinds of value that OTLP has")]
pub enum Value {
    /// No value.
    Empty,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Double(f64),
    /// A text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    Array(Vec<Self>),
    /// Values by key, in order.
    Map(Vec<(String, Self)>),
}

impl Value {
    /// Appends the text of the value.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Empty => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) => write_int(*value, out),
            Self::Double(value) => write_double(*value, out),
            Self::String(value) => write_string(value, out),
            Self::Bytes(value) => write_bytes(value, out),
            Self::Array(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                let escaped = entries.first().is_some_and(|(key, _)| key.starts_with('$'));
                if escaped {
                    out.push_str("{\"$map\":");
                }
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
                if escaped {
                    out.push('}');
                }
            }
        }
    }

    /// The text of the value.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// The value of a text; `None` for what [`Self::write`] never writes.
    pub fn parse(text: &str) -> Option<Self> {
        from_raw(serde_json::from_str::<&RawValue>(text).ok()?, 0)
    }

    /// The value as plain JSON, for an answer: bytes as base64, numbers that are none as text.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Empty => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Double(value) => serde_json::Number::from_f64(*value)
                .map_or_else(|| value.to_string().into(), serde_json::Value::Number),
            Self::String(value) => value.as_str().into(),
            Self::Bytes(value) => STANDARD.encode(value).into(),
            Self::Array(values) => values.iter().map(Self::to_json).collect(),
            Self::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
            ),
        }
    }
}

/// Appends an integer.
pub fn write_int(value: i64, out: &mut String) {
    write!(out, "{value}").ok();
}

/// Appends a double so that it is read back as one.
pub fn write_double(value: f64, out: &mut String) {
    if value.is_finite() {
        write!(out, "{value:?}").ok();
    } else {
        let name = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        };
        write!(out, "{{\"$double\":\"{name}\"}}").ok();
    }
}

/// Appends a text in quotes.
pub fn write_string(value: &str, out: &mut String) {
    out.push('"');
    let mut rest = value;
    while let Some(at) = rest.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < 0x20) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            other => {
                write!(out, "\\u{other:04x}").ok();
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends bytes.
pub fn write_bytes(value: &[u8], out: &mut String) {
    out.push_str("{\"$bytes\":\"");
    STANDARD.encode_string(value, out);
    out.push_str("\"}");
}

/// The entries of an object's text, such as the column `attributes`, in order; `None` if it is no object.
pub fn parse_map(text: &str) -> Option<Vec<(String, Value)>> {
    map_entries(serde_json::from_str::<&RawValue>(text).ok()?, 0)
}

/// Calls with the key of each entry of an object's text and its value as it is written, in the order of the text, which a map of
/// serde would lose; `None` if it is no object.
pub(crate) fn each_entry<'a>(text: &'a str, each: impl FnMut(Cow<'a, str>, &'a RawValue)) -> Option<()> {
    #[derive(serde::Deserialize)]
    struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
    struct Visitor<F>(F);
    impl<'de, F: FnMut(Cow<'de, str>, &'de RawValue)> serde::de::Visitor<'de> for Visitor<F> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                (self.0)(key, value);
            }
            Ok(())
        }
    }
    let mut texts = serde_json::Deserializer::from_str(text);
    serde::Deserializer::deserialize_map(&mut texts, Visitor(each)).ok()
}

/// The objects that stand for something else.
#[derive(serde::Deserialize)]
enum Escape {
    #[serde(rename = "$double")]
    Double(String),
    #[serde(rename = "$bytes")]
    Bytes(String),
}

fn from_raw(raw: &RawValue, depth: usize) -> Option<Value> {
    let text = raw.get();
    if depth > MAX_TEXT_DEPTH {
        return None;
    }
    Some(match text.as_bytes().first()? {
        b'n' => Value::Empty,
        b't' => Value::Bool(true),
        b'f' => Value::Bool(false),
        b'"' => Value::String(serde_json::from_str(text).ok()?),
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Value::Array(items.into_iter().map(|item| from_raw(item, depth + 1)).collect::<Option<_>>()?)
        }
        b'{' => object(raw, depth)?,
        _ if text.contains(['.', 'e', 'E']) => Value::Double(text.parse().ok()?),
        _ => Value::Int(text.parse().ok()?),
    })
}

fn object(raw: &RawValue, depth: usize) -> Option<Value> {
    let text = raw.get();
    if text.starts_with("{\"$map\":") {
        let inner = text.strip_prefix("{\"$map\":")?.strip_suffix('}')?;
        return Some(Value::Map(map_entries(serde_json::from_str::<&RawValue>(inner).ok()?, depth + 1)?));
    }
    if !text.starts_with("{\"$") {
        return Some(Value::Map(map_entries(raw, depth)?));
    }
    match serde_json::from_str(text).ok()? {
        Escape::Double(name) => Some(Value::Double(name.parse().ok()?)),
        Escape::Bytes(encoded) => Some(Value::Bytes(STANDARD.decode(encoded).ok()?)),
    }
}

fn map_entries(raw: &RawValue, depth: usize) -> Option<Vec<(String, Value)>> {
    let mut entries = Vec::new();
    each_entry(raw.get(), |key, value| {
        entries.push(from_raw(value, depth + 1).map(|value| (key.into(), value)))
    })?;
    entries.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Empty),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_filter("NaN is not equal to itself", |v| !v.is_nan()).prop_map(Value::Double),
            "\\PC*|[\\x00-\\x7f]*".prop_map(Value::String),
            proptest::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                proptest::collection::vec(("\\$?[a-z]{0,3}|\\$map|\\$bytes", inner), 0..4)
                    .prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_comes_back_with_its_type(value in value()) {
            let text = value.to_text();
            prop_assert_eq!(Value::parse(&text), Some(value), "{}", text);
        }

        #[test]
        fn no_text_panics(text in "\\PC*|[\\[\\]{}\":,$0-9a-z.]*") {
            let _ = Value::parse(&text);
        }
    }

    #[test]
    fn numbers_that_are_none_come_back() {
        for value in [f64::INFINITY, f64::NEG_INFINITY, -0.0] {
            assert_eq!(Value::parse(&Value::Double(value).to_text()), Some(Value::Double(value)));
        }
        let Some(Value::Double(back)) = Value::parse(&Value::Double(f64::NAN).to_text()) else {
            panic!("no double")
        };
        assert!(back.is_nan());
    }
}

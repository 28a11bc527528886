//! Writes the protobuf of a JSON document while it is read. Nothing of the document is kept.

use std::fmt;

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::schema::{Field, Kind, Message};

/// How the values of protobuf are told apart.
const VARINT: u32 = 0;
const EIGHT_BYTES: u32 = 1;
const LENGTH: u32 = 2;
const FOUR_BYTES: u32 = 5;

/// Appends the fields of a message.
pub(super) struct Fields<'a> {
    pub(super) of: &'static Message,
    pub(super) out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", self.of.name)
    }

    /// A value of an array that is nothing.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Name(self.of))? {
            match field {
                Some(field) => map.next_value_seed(Value { field, out: self.out })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Finds the field with a name.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(name))
    }
}

/// Appends the value of a field, with its tag.
struct Value<'a> {
    field: &'static Field,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.repeated { f.write_str("an array") } else { f.write_str(expected(self.field.kind)) }
    }

    /// `null` is what is not there.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Field { tag, kind, repeated, .. } = *self.field;
        if !repeated {
            return Err(Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let packed = !matches!(kind, Kind::Text | Kind::Hex | Kind::Base64 | Kind::Message(_));
        if packed {
            return with_length(tag, self.out, |out| {
                while seq.next_element_seed(Single { kind, tag: None, out })?.is_some() {}
                Ok(())
            });
        }
        while seq.next_element_seed(Single { kind, tag: Some(tag), out: self.out })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.single()?.visit_map(map)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.single()?.visit_bool(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.single()?.visit_i64(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.single()?.visit_u64(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.single()?.visit_f64(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.single()?.visit_str(value)
    }
}

impl<'a> Value<'a> {
    fn single<E: Error>(self) -> Result<Single<'a>, E> {
        if self.field.repeated {
            return Err(E::custom("expected an array"));
        }
        Ok(Single { kind: self.field.kind, tag: Some(self.field.tag), out: self.out })
    }
}

/// Appends one value, with its tag unless it is one of many that are packed.
struct Single<'a> {
    kind: Kind,
    tag: Option<u32>,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Single<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Single<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(expected(self.kind))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match (self.kind, self.tag) {
            (Kind::Message(_), Some(tag)) => with_length(tag, self.out, |_| Ok(())),
            _ => Err(E::invalid_type(serde::de::Unexpected::Unit, &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match (self.kind, self.tag) {
            (Kind::Message(of), Some(tag)) => {
                with_length(tag, self.out, |out| Fields { of, out }.visit_map(map))
            }
            _ => Err(Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Kind::Bool => self.varint(value.into()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            Kind::Double => self.eight_bytes(value.to_bits()),
            // 1.0 and 1e3 are whole numbers, too; an i128 holds every one that fits the field.
            _ if value.fract() == 0.0 => self.integer(value as i128),
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let wrong = |what: &Self| E::invalid_value(serde::de::Unexpected::Str(value), what);
        match self.kind {
            Kind::Text => self.bytes(value.as_bytes()),
            Kind::Hex => match hex::decode(value) {
                Ok(bytes) => self.bytes(&bytes),
                Err(_) => Err(wrong(&self)),
            },
            Kind::Base64 => match base64(value) {
                Some(bytes) => self.bytes(&bytes),
                None => Err(wrong(&self)),
            },
            Kind::Double => {
                let number = match value {
                    "NaN" => Some(f64::NAN),
                    "Infinity" => Some(f64::INFINITY),
                    "-Infinity" => Some(f64::NEG_INFINITY),
                    // Rust reads more names than JSON has.
                    _ if value.ends_with(|last: char| last.is_ascii_digit() || last == '.') => {
                        value.parse().ok()
                    }
                    _ => None,
                };
                match number {
                    Some(number) => self.eight_bytes(number.to_bits()),
                    None => Err(wrong(&self)),
                }
            }
            Kind::Bool | Kind::Message(_) => Err(E::invalid_type(serde::de::Unexpected::Str(value), &self)),
            _ => match value.parse::<i128>() {
                Ok(number) => self.integer(number),
                Err(_) => Err(wrong(&self)),
            },
        }
    }
}

impl Single<'_> {
    fn integer<E: Error>(mut self, value: i128) -> Result<(), E> {
        let kind = self.kind;
        let too_large = || E::custom(format!("{value} is out of range, expected {}", expected(kind)));
        match self.kind {
            Kind::Int => self.varint(i64::try_from(value).map_err(|_| too_large())?.cast_unsigned()),
            Kind::Signed => {
                let value = i32::try_from(value).map_err(|_| too_large())?;
                self.varint(((value << 1) ^ (value >> 31)).cast_unsigned().into())
            }
            // Ten bytes when it is negative, as protobuf wants it.
            Kind::Enumeration => {
                self.varint(i64::from(i32::try_from(value).map_err(|_| too_large())?).cast_unsigned())
            }
            Kind::Unsigned32 => self.varint(u32::try_from(value).map_err(|_| too_large())?.into()),
            Kind::Unsigned64 => self.varint(u64::try_from(value).map_err(|_| too_large())?),
            Kind::Fixed32 => {
                let value = u32::try_from(value).map_err(|_| too_large())?;
                self.tag(FOUR_BYTES);
                self.out.extend_from_slice(&value.to_le_bytes());
                Ok(())
            }
            Kind::Fixed64 => self.eight_bytes(u64::try_from(value).map_err(|_| too_large())?),
            Kind::SignedFixed64 => {
                self.eight_bytes(i64::try_from(value).map_err(|_| too_large())?.cast_unsigned())
            }
            Kind::Double => self.eight_bytes((value as f64).to_bits()),
            Kind::Text | Kind::Hex | Kind::Base64 | Kind::Bool | Kind::Message(_) => {
                Err(E::custom(format!("invalid type: the number {value}, expected {}", expected(self.kind))))
            }
        }
    }

    fn tag(&mut self, wire: u32) {
        if let Some(tag) = self.tag {
            varint((tag << 3 | wire).into(), self.out);
        }
    }

    fn varint<E>(mut self, value: u64) -> Result<(), E> {
        self.tag(VARINT);
        varint(value, self.out);
        Ok(())
    }

    fn eight_bytes<E>(mut self, value: u64) -> Result<(), E> {
        self.tag(EIGHT_BYTES);
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn bytes<E>(mut self, value: &[u8]) -> Result<(), E> {
        self.tag(LENGTH);
        varint(value.len() as u64, self.out);
        self.out.extend_from_slice(value);
        Ok(())
    }
}

/// What a value looks like.
const fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a text",
        Kind::Hex => "a text of hex digits",
        Kind::Base64 => "a text in base64",
        Kind::Bool => "true or false",
        Kind::Int | Kind::SignedFixed64 => "a whole number of 64 bits",
        Kind::Signed | Kind::Enumeration => "a whole number of 32 bits",
        Kind::Unsigned32 | Kind::Unsigned64 | Kind::Fixed32 | Kind::Fixed64 => {
            "a whole number that is not negative"
        }
        Kind::Double => "a number",
        Kind::Message(of) => of.name,
    }
}

/// With or without padding, in both alphabets, as JSON of protobuf may have it.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let engine: &GeneralPurpose = if text.contains(['-', '_']) { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
    engine.decode(text).ok()
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends what `write` writes, with a tag and the length before it.
fn with_length<E>(
    tag: u32,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    varint((tag << 3 | LENGTH).into(), out);
    let at = out.len();
    write(out)?;
    let mut length = Vec::with_capacity(10);
    varint((out.len() - at) as u64, &mut length);
    // Most are short, and what is moved is moved once for each level that it is deep.
    out.splice(at..at, length);
    Ok(())
}

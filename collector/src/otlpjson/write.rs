//! Writes the JSON of a protobuf request while it is read.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::schema::{Field, Kind, Message};
use crate::ingest::Signal;
use crate::value::write_string;

/// Appends the JSON of a request. The elements of a list must stand together, as encoders write them.
///
/// # Errors
/// When the bytes are no such request.
pub(crate) fn write(signal: Signal, request: &[u8], out: &mut String) -> Result<(), String> {
    let of = super::request(signal);
    message(of, request, out).map_err(|error| format!("the bytes are no {}: {error}", of.name))
}

type Written = Result<(), &'static str>;

const CUT: &str = "a field is cut short";

fn message(of: &Message, mut from: &[u8], out: &mut String) -> Written {
    out.push('{');
    // The list that is being written.
    let (mut open, mut first) = (None, true);
    while !from.is_empty() {
        let (tag, wire) = decode_key(&mut from).map_err(|_| CUT)?;
        let value = take(wire, &mut from)?;
        let Some(field) = of.numbered(tag) else { continue };
        if open == Some(tag) {
            out.push(',');
        } else {
            if open.take().is_some() {
                out.push(']');
            }
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            write_string(field.name, out);
            out.push(':');
            if field.repeated {
                out.push('[');
                open = Some(tag);
            }
        }
        write_value(field, wire, value, out)?;
    }
    out.push_str(if open.is_some() { "]}" } else { "}" });
    Ok(())
}

/// The bytes of a value.
fn take<'a>(wire: WireType, from: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let length = match wire {
        WireType::Varint => {
            let mut rest = *from;
            decode_varint(&mut rest).map_err(|_| CUT)?;
            from.len() - rest.len()
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => {
            usize::try_from(decode_varint(from).map_err(|_| CUT)?).map_err(|_| CUT)?
        }
        WireType::StartGroup | WireType::EndGroup => return Err("OTLP has no groups"),
    };
    let (value, rest) = from.split_at_checked(length).ok_or(CUT)?;
    *from = rest;
    Ok(value)
}

fn write_value(field: &Field, wire: WireType, mut value: &[u8], out: &mut String) -> Written {
    let text = |value| std::str::from_utf8(value).map_err(|_| "a text is not UTF-8");
    match field.kind {
        Kind::Text => write_string(text(value)?, out),
        Kind::Hex => write_string(&hex::encode(value), out),
        Kind::Base64 => write_string(&STANDARD.encode(value), out),
        Kind::Message(of) => return message(of, value, out),
        // Numbers of a list stand together without keys.
        kind if field.repeated && wire == WireType::LengthDelimited => {
            let mut first = true;
            while !value.is_empty() {
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                number(kind, &mut value, out)?;
            }
        }
        kind => number(kind, &mut value, out)?,
    }
    Ok(())
}

/// Takes a number and writes it; 64-bit integers are texts.
fn number(kind: Kind, from: &mut &[u8], out: &mut String) -> Written {
    let mut varint = || decode_varint(from).map_err(|_| CUT);
    let written = match kind {
        Kind::Bool => write!(out, "{}", varint()? != 0),
        Kind::Int => write!(out, "\"{}\"", varint()?.cast_signed()),
        // Truncated, as decoders of protobuf do.
        Kind::Enumeration => write!(out, "{}", varint()?.cast_signed() as i32),
        Kind::Signed => {
            let encoded = varint()? as u32;
            write!(out, "{}", (encoded >> 1).cast_signed() ^ -(encoded & 1).cast_signed())
        }
        Kind::Unsigned32 => write!(out, "{}", varint()? as u32),
        Kind::Unsigned64 => write!(out, "\"{}\"", varint()?),
        Kind::Fixed32 => write!(out, "{}", from.try_get_u32_le().map_err(|_| CUT)?),
        Kind::Fixed64 => write!(out, "\"{}\"", from.try_get_u64_le().map_err(|_| CUT)?),
        Kind::SignedFixed64 => write!(out, "\"{}\"", from.try_get_i64_le().map_err(|_| CUT)?),
        Kind::Double => match from.try_get_f64_le().map_err(|_| CUT)? {
            number if number.is_finite() => write!(out, "{number:?}"),
            number if number.is_nan() => write!(out, "\"NaN\""),
            number => write!(out, "\"{}Infinity\"", if number < 0.0 { "-" } else { "" }),
        },
        Kind::Text | Kind::Hex | Kind::Base64 | Kind::Message(_) => return Err("a value is no number"),
    };
    written.map_err(|_| "no memory for the text")
}

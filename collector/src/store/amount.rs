//! How much memory a request takes once it is decoded, told from its bytes: a message that says nothing takes two bytes
//! on the wire and hundreds in memory, so the length of a request bounds neither.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogramDataPoint, Metric, ResourceMetrics};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event;

use crate::ingest::Signal;

/// Bytes of decoded messages at most; with as many requests at the same time as there are cores.
const MOST: usize = 128 << 20;
/// How deep messages are followed; the decoder refuses what is nested deeper.
const MAX_DEPTH: usize = 100;

/// Messages by what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    /// Of one resource.
    Group,
    Scoped,
    Resource,
    Scope,
    Item,
    Data,
    Point,
    /// An event, a link, an exemplar, buckets.
    Part,
    KeyValue,
    AnyValue,
    List,
}

/// The message in a field, and how large it is. Fields that hold a text or bytes take what they take on the wire.
const fn child(signal: Signal, kind: Kind, field: u64) -> Option<(Kind, usize)> {
    const ATTRIBUTE: (Kind, usize) = (Kind::KeyValue, size_of::<KeyValue>());
    const VALUE: (Kind, usize) = (Kind::AnyValue, size_of::<AnyValue>());
    const PART: (Kind, usize) = (Kind::Part, size_of::<Event>());
    Some(match (kind, field) {
        (Kind::Request, 1) => (Kind::Group, size_of::<ResourceMetrics>()),
        (Kind::Group, 1) => (Kind::Resource, 0),
        (Kind::Group, 2) => (Kind::Scoped, size_of::<ResourceMetrics>()),
        (Kind::Scoped, 1) => (Kind::Scope, 0),
        (Kind::Scoped, 2) => match signal {
            Signal::Traces => (Kind::Item, size_of::<Span>()),
            Signal::Metrics => (Kind::Item, size_of::<Metric>()),
            Signal::Logs => (Kind::Item, size_of::<LogRecord>()),
        },
        (Kind::Resource, 1) | (Kind::Scope, 3) => ATTRIBUTE,
        (Kind::Item, field) => match (signal, field) {
            (Signal::Traces, 9) | (Signal::Logs, 6) | (Signal::Metrics, 12) => ATTRIBUTE,
            (Signal::Traces, 11 | 13) => PART,
            (Signal::Logs, 5) => VALUE,
            (Signal::Metrics, 5 | 7 | 9 | 10 | 11) => (Kind::Data, 0),
            _ => return None,
        },
        (Kind::Data, 1) => (Kind::Point, size_of::<ExponentialHistogramDataPoint>()),
        // Which field is which differs between the kinds of points; all of them are repeated messages or numbers.
        (Kind::Point, 1 | 5..=9 | 11) => PART,
        (Kind::Part, 3 | 4 | 7) => ATTRIBUTE,
        (Kind::KeyValue, 2) => VALUE,
        (Kind::AnyValue, 5 | 6) => (Kind::List, size_of::<Vec<AnyValue>>()),
        (Kind::List, 1) => ATTRIBUTE,
        _ => return None,
    })
}

/// Refuses a request that would take too much; what is no protobuf is left to the decoder.
pub(super) fn check(signal: Signal, request: &[u8]) -> Result<(), String> {
    // Whatever it holds: a message takes two bytes at least, and none is larger in memory than this.
    const LARGEST: usize = 512;
    const _: () =
        assert!(size_of::<Span>() <= LARGEST && size_of::<ExponentialHistogramDataPoint>() <= LARGEST);
    const _: () = assert!(size_of::<Metric>() <= LARGEST && size_of::<LogRecord>() <= LARGEST);
    if request.len() / 2 * LARGEST <= MOST {
        return Ok(());
    }
    let mut amount = 0_usize;
    walk(signal, Kind::Request, request, 0, &mut amount);
    if amount <= MOST {
        return Ok(());
    }
    let (length, most) = (request.len(), MOST >> 20);
    Err(format!(
        "the request of {length} bytes takes more than the {most} MB of memory that are taken at most; send smaller batches"
    ))
}

/// Adds up, until it is too much or the bytes are no message.
fn walk(signal: Signal, kind: Kind, mut bytes: &[u8], depth: usize, amount: &mut usize) -> Option<()> {
    while !bytes.is_empty() && *amount <= MOST {
        let tag = varint(&mut bytes)?;
        match tag & 7 {
            0 => {
                varint(&mut bytes)?;
            }
            1 => bytes = bytes.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inner, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                if let Some((kind, size)) = child(signal, kind, tag >> 3).filter(|_| depth < MAX_DEPTH) {
                    *amount = amount.saturating_add(size);
                    walk(signal, kind, inner, depth + 1, amount);
                }
            }
            5 => bytes = bytes.get(4..)?,
            _ => return None,
        }
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(field: u8, inner: &[u8]) -> Vec<u8> {
        let mut out = vec![field << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut out);
        out.extend_from_slice(inner);
        out
    }

    #[test]
    fn messages_that_say_nothing_count_as_what_they_take() {
        for (signal, item) in [
            // Spans, attributes, values of an array.
            (Signal::Traces, [18, 0].repeat(1 << 20)),
            (Signal::Traces, message(2, &[9 << 3 | 2, 0].repeat(4 << 20))),
            (Signal::Logs, message(2, &message(5, &message(5, &[10, 0].repeat(4 << 20))))),
            (Signal::Metrics, message(2, &message(5, &[10, 0].repeat(1 << 20)))),
        ] {
            let request = message(1, &message(2, &item));
            let reason = check(signal, &request).unwrap_err();
            assert!(reason.contains("smaller batches"), "{reason}");
            // A part of it is taken.
            let request = message(1, &message(2, &[18, 0].repeat(1000)));
            assert_eq!(check(signal, &request), Ok(()));
        }
        assert_eq!(check(Signal::Traces, &[255; 100]), Ok(()), "the decoder tells what is wrong with it");
    }

    #[test]
    fn a_request_of_text_takes_no_more_than_its_length() {
        let request = message(1, &message(2, &message(2, &message(5, &vec![b'x'; 15 << 20]))));
        assert_eq!(check(Signal::Traces, &request), Ok(()));
    }
}

//! Requests that are made by copying: encoding once costs what copying a thousand times does, and the generator must
//! leave the machine to whom it measures.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::ids::mix;
use super::spans::{Part, resource_spans, trace};

/// The seed, number and start that stand in a template.
const PLACE: (u64, u64) = (0x6167_656e_7476_6974, 0x0a1b_2c3d);
const PLACE_START: u64 = 0x1122_3344_5566_7788;

/// A part of a copy that is written anew.
#[derive(Debug, Clone, Copy)]
struct Slot {
    at: usize,
    /// The trace, counted from the first of the request.
    trace: u64,
    part: Part,
}

/// An encoded request of some traces.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// Traces in it.
    pub(super) traces: u64,
}

/// The trace of a span, counted from the first of the request, and the parts of the span.
type Parts = (u64, Vec<Part>);

/// The traces of a request as messages.
fn request(
    traces: u64,
    look: u64,
    seed: u64,
    first: u64,
    start: u64,
) -> (ExportTraceServiceRequest, Vec<Parts>) {
    let mut services: Vec<(u64, Vec<Span>, Vec<Parts>)> = Vec::new();
    for number in 0..traces {
        let made = trace(seed, first + number, mix(look ^ number), start);
        let place = services.iter().position(|(service, ..)| *service == made.service);
        let place = place.unwrap_or_else(|| {
            services.push((made.service, Vec::new(), Vec::new()));
            services.len() - 1
        });
        let (_, spans, parts) = &mut services[place];
        for (span, of_span) in made.spans {
            spans.push(span);
            parts.push((number, of_span));
        }
    }
    let mut parts = Vec::new();
    let mut resources = Vec::new();
    for (service, spans, of_service) in services {
        resources.push(resource_spans(service, spans));
        parts.extend(of_service);
    }
    (ExportTraceServiceRequest { resource_spans: resources }, parts)
}

impl Template {
    /// A request of so many traces, in a look of its own.
    pub(super) fn new(traces: u64, look: u64) -> Self {
        // Every trace of the template has a number of its own, so that what is found is what is looked for.
        let (message, parts) = request(traces, look, PLACE.0, PLACE.1, PLACE_START);
        let bytes = message.encode_to_vec();
        let (mut slots, mut at, mut looked_for) = (Vec::new(), 0, Vec::new());
        for (trace, of_span) in parts {
            for part in of_span {
                looked_for.clear();
                part.write(PLACE.0, PLACE.1 + trace, PLACE_START, &mut looked_for);
                let found = bytes[at..].windows(looked_for.len()).position(|window| window == looked_for);
                // It was written there a moment ago.
                let Some(found) = found else { continue };
                slots.push(Slot { at: at + found, trace, part });
                at += found + looked_for.len();
            }
        }
        Self { bytes, slots, traces }
    }

    /// A copy whose traces have the numbers from `first` on; the first starts at this time, each other one a gap later.
    pub(super) fn copy(&self, seed: u64, first: u64, start: u64, gap: u64) -> Bytes {
        let mut out = self.bytes.clone();
        let mut part = Vec::with_capacity(16);
        for slot in &self.slots {
            part.clear();
            slot.part.write(seed, first + slot.trace, start + slot.trace * gap, &mut part);
            out[slot.at..slot.at + part.len()].copy_from_slice(&part);
        }
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy is what encoding the same traces gives, but for the gaps between them.
    #[test]
    fn a_copy_is_what_encoding_would_have_given() {
        let template = Template::new(40, 7);
        let (seed, first, start) = (99, 1_000_000, 1_790_000_000_000_000_000);
        let copy = ExportTraceServiceRequest::decode(template.copy(seed, first, start, 1_000)).unwrap();
        let (mut expected, parts) = request(40, 7, seed, first, start);
        let spans =
            expected.resource_spans.iter_mut().flat_map(|r| &mut r.scope_spans).flat_map(|s| &mut s.spans);
        for (span, (trace, _)) in spans.zip(&parts) {
            span.start_time_unix_nano += trace * 1_000;
            span.end_time_unix_nano += trace * 1_000;
            span.events.iter_mut().for_each(|event| event.time_unix_nano += trace * 1_000);
        }
        assert_eq!(copy, expected);
        let slots: usize = parts.iter().map(|(_, parts)| parts.len()).sum();
        assert_eq!((template.slots.len(), parts.len()), (slots, 320));
    }
}

//! Everything that reads bytes of others, as functions that must hold whatever the bytes are: for the fuzzer
//! (`collector/fuzz`), and in every run of the tests over mutations of what is valid.

use std::io::Write as _;
use std::path::Path;

use crate::ingest::Signal;
use crate::query::traceql::{parse, parse_filter};
use crate::value::Value;

pub use crate::store::fuzzing::{otlp, segment, wal};

/// OTLP/JSON of any signal becomes protobuf that can be read, or an error.
pub fn json(bytes: &[u8]) {
    for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
        if let Ok(protobuf) = crate::otlp::fuzzing::json(signal, bytes) {
            otlp(&protobuf);
        }
    }
}

/// A query that parses is shown as a text that parses to the same; a filter can be compiled or says why not.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(query) = parse(text) {
        let shown = query.to_string();
        assert_eq!(parse(&shown).as_ref().ok(), Some(&query), "{text:?} is shown as {shown:?}");
    }
    let Ok(filter) = parse_filter(text) else { return };
    let shown = filter.to_string();
    let again = parse_filter(&shown);
    assert_eq!(again.as_ref().ok(), Some(&filter), "{text:?} is shown as {shown:?}");
    filter.musts();
    filter.compile().ok();
}

/// A value that can be read is written as a text that is read as the same.
pub fn value(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(value) = Value::parse(text) else { return };
    let written = value.to_text();
    let again = Value::parse(&written).map(|value| value.to_text());
    assert_eq!(again.as_ref(), Some(&written), "{text:?}");
}

/// Writes a file, for what reads files.
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    if let Ok(mut file) = std::fs::File::create(path) {
        file.write_all(bytes).ok();
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;

    use super::*;

    /// A stream of numbers that is the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self, below: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % below.max(1) as u64) as usize
        }

        /// Changes some bytes: flips, cuts, repeats, inserts.
        fn change(&mut self, bytes: &[u8]) -> Vec<u8> {
            let mut out = bytes.to_vec();
            for _ in 0..=self.next(4) {
                let at = self.next(out.len());
                match self.next(6) {
                    0 if !out.is_empty() => out[at] ^= 1 << self.next(8),
                    1 if !out.is_empty() => {
                        out[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'9'][self.next(8)]
                    }
                    2 => out.truncate(at),
                    3 => out.insert(at, self.next(256) as u8),
                    4 if !out.is_empty() => {
                        let end = (at + self.next(16)).min(out.len());
                        let part = out[at..end].to_vec();
                        out.splice(at..at, part);
                    }
                    _ => {
                        let end = (at + self.next(8)).min(out.len());
                        out.drain(at..end);
                    }
                }
            }
            out
        }
    }

    fn mutations(seeds: &[&[u8]], rounds: usize, mut check: impl FnMut(&[u8])) {
        let mut numbers = Numbers(0x5eed);
        for seed in seeds {
            check(seed);
            for _ in 0..rounds {
                check(&numbers.change(seed));
            }
        }
    }

    const SPANS: &[u8] = br#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"bot"}}]},
        "scopeSpans":[{"scope":{"name":"s"},"spans":[{"traceId":"0000000000000000000000000000001f","spanId":"000000000000001f",
        "name":"chat","kind":3,"startTimeUnixNano":"1790000000000000030","endTimeUnixNano":"1790000000000000031","status":{"code":2},
        "attributes":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"7"},{"kvlistValue":{"values":[{"key":"$k","value":
        {"bytesValue":"AQI="}}]}}]}}}],"events":[{"name":"e"}],"links":[{"traceId":"0000000000000000000000000000001e",
        "spanId":"000000000000001e"}]}]}]}]}"#;
    const METRICS: &[u8] = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"h","exponentialHistogram":{"aggregationTemporality":2,
        "dataPoints":[{"timeUnixNano":"1790000000000000001","count":"3","sum":10,"scale":3,"zeroCount":"1","positive":{"offset":1,
        "bucketCounts":["0","2"]},"exemplars":[{"asDouble":1,"traceId":"0000000000000000000000000000001f"}]}]}},{"name":"x","histogram":
        {"dataPoints":[{"timeUnixNano":"1","count":"2","bucketCounts":["1","1"],"explicitBounds":[1]}]}}]}]}]}"#;
    const LOGS: &[u8] = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1790000000000000001","severityNumber":10,
        "body":{"stringValue":"x"},"attributes":[{"key":"k","value":{"doubleValue":0.5}}]}]}]}]}"#;

    #[test]
    fn requests_that_were_changed_are_taken_or_refused() {
        mutations(&[SPANS, METRICS, LOGS], 3_000, json);
        let request: ExportTraceServiceRequest = serde_json::from_slice(SPANS).unwrap();
        let metrics = crate::otlp::fuzzing::json(Signal::Metrics, METRICS).unwrap();
        let logs = crate::otlp::fuzzing::json(Signal::Logs, LOGS).unwrap();
        mutations(&[&request.encode_to_vec(), &metrics, &logs], 5_000, otlp);
    }

    #[test]
    fn filters_and_values_that_were_changed_are_read_or_refused() {
        let filters: [&[u8]; 4] = [
            br#"{ .gen_ai.agent.name = "planner" && status = error && duration > 2s }"#,
            br#"{ !(span.a =~ "x.*" || resource."b c" != nil) && -1.5e3 <= .n * 2 }"#,
            br#"{ kind = client && event:name = "e" && event:timeSinceStart < 1h30m }"#,
            br"{ trace:id = `00ff` && parent.x = true }",
        ];
        mutations(&filters, 5_000, filter);
        let values: [&[u8]; 3] = [
            br#"{"a":[1,2.5,{"$double":"NaN"},"x\u0041\n",null,true],"b":{"$bytes":"AQI="}}"#,
            br#"{"$map":{"$x":{"$map":{}}}}"#,
            b"[9223372036854775807,-9223372036854775808,1e308,-0.0]",
        ];
        mutations(&values, 5_000, value);
    }

    #[test]
    fn files_that_were_changed_give_what_was_written_or_an_error() {
        // The functions themselves change a valid file by what they are given.
        let mut numbers = Numbers(0xf11e);
        for _ in 0..400 {
            let changes: Vec<u8> = (0..8 + numbers.next(40)).map(|_| numbers.next(256) as u8).collect();
            wal(&changes);
            segment(&changes);
        }
    }
}

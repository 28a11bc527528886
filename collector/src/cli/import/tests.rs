//! Files as requests.

use std::io::Write as _;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::read::{Batch, each, in_pieces};
use crate::cli::End;

fn read(text: &str) -> Result<Vec<Batch>, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let mut batches = Vec::new();
    match each(file.path(), None, &mut |batch| {
        batches.push(batch);
        Ok(())
    }) {
        Ok(()) => Ok(batches),
        Err(End::Error(error)) => Err(error.to_string()),
        Err(End::Output(error)) => panic!("{error}"),
    }
}

fn spans(batches: &[Batch]) -> Vec<Span> {
    let requests = batches.iter().map(|batch| ExportTraceServiceRequest::decode(&batch.body[..]).unwrap());
    let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|of| of.scope_spans);
    scopes.flat_map(|of| of.spans).collect()
}

#[test]
fn requests_are_cut_into_pieces_that_keep_their_origin() {
    let scoped = |name: &str, count: usize| ScopeSpans {
        spans: vec![Span { name: name.to_owned(), ..Span::default() }; count],
        schema_url: name.to_owned(),
        ..ScopeSpans::default()
    };
    let all = vec![ResourceSpans {
        scope_spans: vec![scoped("a", 1_500), scoped("b", 600), scoped("c", 0)],
        schema_url: "r".to_owned(),
        ..ResourceSpans::default()
    }];
    let mut pieces = Vec::new();
    in_pieces(all, &mut |batch| {
        let request = ExportTraceServiceRequest::decode(&batch.body[..]).unwrap();
        assert!(request.resource_spans.iter().all(|of| of.schema_url == "r"));
        let scopes = request.resource_spans.into_iter().flat_map(|of| of.scope_spans);
        pieces.push((batch.records, scopes.map(|of| (of.schema_url, of.spans.len())).collect::<Vec<_>>()));
        Ok(())
    })
    .unwrap_or_else(|_| panic!("it was sent"));
    let of = |name: &str, count| (name.to_owned(), count);
    let wanted =
        [(1_000, vec![of("a", 1_000)]), (1_000, vec![of("a", 500), of("b", 500)]), (100, vec![of("b", 100)])];
    assert_eq!(pieces, wanted);
}

#[test]
fn jaegers_json_is_read_with_all_that_it_has() {
    let text = r#"{"data":[{"traceID":"1f","spans":[{"traceID":"1f","spanID":"2","operationName":"op","startTime":1790000000000001,
        "duration":5,"references":[{"refType":"FOLLOWS_FROM","traceID":"2f","spanID":"9"},{"refType":"CHILD_OF","traceID":"1f","spanID":"1"}],
        "tags":[{"key":"span.kind","type":"string","value":"client"},{"key":"error","type":"bool","value":true},
            {"key":"otel.status_description","type":"string","value":"gone"},{"key":"n","type":"int64","value":"9007199254740993"},
            {"key":"f","type":"float64","value":"NaN"},{"key":"b","type":"binary","value":"AP8="},{"key":"t","value":"x"}],
        "logs":[{"timestamp":1790000000000002,"fields":[{"key":"event","type":"string","value":"exception"},{"key":"k","type":"bool","value":false}]}],
        "processID":"p1","warnings":null}],"processes":{"p1":{"serviceName":"shop","tags":[{"key":"region","type":"string","value":"eu"}]}}}],
        "total":0,"errors":null}"#;
    let batches = read(text).unwrap();
    assert_eq!((batches.len(), batches[0].records), (1, 1));
    let span = &spans(&batches)[0];
    assert_eq!(
        (hex::encode(&span.trace_id), hex::encode(&span.parent_span_id)),
        (format!("{:0>32}", "1f"), format!("{:0>16}", "1"))
    );
    assert_eq!((span.kind, span.status.as_ref().unwrap().code), (3, 2));
    assert_eq!(
        (span.start_time_unix_nano, span.end_time_unix_nano),
        (1_790_000_000_000_001_000, 1_790_000_000_000_006_000)
    );
    assert_eq!((span.events[0].name.as_str(), span.events[0].attributes.len()), ("exception", 1));
    assert_eq!((span.links.len(), hex::encode(&span.links[0].trace_id)), (1, format!("{:0>32}", "2f")));
    let shown = format!("{:?}", span.attributes);
    for part in
        ["IntValue(9007199254740993)", "DoubleValue(NaN)", "BytesValue([0, 255])", "StringValue(\"x\")"]
    {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, wanted) in [
        ("{\"resourceSpans\":[]}\nno", "document 2: it is no JSON"),
        ("[1]", "document 1: it is none that is known"),
        ("{\"spans\":[]}", "expected an object with resourceSpans"),
        ("{\"resourceSpans\":{}}", "document 1: "),
        ("{\"data\":[{\"traceID\":\"1\",\"spans\":[{}]}]}", "missing field `traceID`"),
        ("PAR1 but no more", "Parquet"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    assert_eq!(read("").unwrap(), []);
}

//! Requests that nobody would send who means well, and what the store makes of them.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tempfile::tempdir;

use super::spans::decode::decode;
use super::{Options, Store};
use crate::ingest::{Ingest as _, Signal};
use crate::query::exec::{Limits, Queries};
use crate::query::request::{CountRequest, SpansRequest};
use crate::value::{Value, parse_map};

/// As deep as the decoder of protobuf follows key-value lists in events.
const DEEP: usize = 30;

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn nested(depth: usize, key: &str) -> Any {
    (0..depth).fold(Any::IntValue(7), |inner, _| {
        Any::KvlistValue(KeyValueList { values: vec![attribute(key, inner)] })
    })
}

fn request(resource: Vec<KeyValue>, span: Span) -> Bytes {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: 1_790_000_000_000_000_000,
        end_time_unix_nano: 1_790_000_000_000_000_001,
        ..span
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes: resource, ..Resource::default() });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

/// A key that looks like one of the store's own marks, and values as deep as they may be.
#[test]
fn whatever_is_taken_can_be_found_and_shown_whole() {
    let deep = || nested(DEEP, "$k");
    let resource =
        vec![attribute("$double", text("a")), attribute("service.name", text("bot")), attribute("d", deep())];
    let attributes = vec![attribute("$map", text("b")), attribute("deep", deep())];
    let events = vec![Event {
        name: "e".to_owned(),
        attributes: vec![attribute("$bytes", text("c")), attribute("deep", deep())],
        ..Event::default()
    }];
    let sent = request(resource, Span { attributes, events, ..Span::default() });
    for rows in [1, 131_072] {
        let dir = tempdir().unwrap();
        let mut options = Options::default();
        (options.keep_free, options.segment_rows) = (0, rows);
        let store = std::sync::Arc::new(Store::open(dir.path(), options).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(store.ingest(Signal::Traces, sent.clone())).unwrap().accepted, 1);
        while rows == 1 && store.figures().spans.segments == 0 {
            std::thread::yield_now();
        }
        let queries = Queries::new(store.clone(), Limits::default());
        for q in [
            r#"{ resource."$double" = "a" }"#,
            r#"{ resource.service.name = "bot" }"#,
            r#"{ span."$map" = "b" }"#,
            r#"{ event."$bytes" = "c" }"#,
            r#"{ event:name = "e" }"#,
        ] {
            let request = CountRequest { q: q.to_owned(), ..CountRequest::default() };
            assert_eq!(queries.count(&request, &queries.control()).unwrap().count, 1, "{q}, {rows}");
        }
        let found = queries.spans(&SpansRequest::default(), &queries.control()).unwrap();
        let span = &found.spans[0];
        assert_eq!((&span.resource["$double"], &span.attributes["$map"]), (&"a".into(), &"b".into()));
        assert_eq!(span.events[0]["attributes"]["$bytes"], "c");
        let mut shown =
            [&span.resource["d"], &span.attributes["deep"], &span.events[0]["attributes"]["deep"]];
        for _ in 0..DEEP {
            shown = shown.map(|value| &value["$k"]);
        }
        assert_eq!(shown.map(serde_json::Value::as_i64), [Some(7); 3]);
    }
}

fn text(value: &str) -> Any {
    Any::StringValue(value.to_owned())
}

/// It ends: to look through all earlier ones for each would take hours.
#[test]
fn a_million_attributes_are_taken_each_once() {
    let many = |last: i64| -> Vec<KeyValue> {
        let numbers = (0..400_000).map(|number| attribute(&format!("{number}"), Any::IntValue(number)));
        numbers.chain([attribute("7", Any::IntValue(last))]).collect()
    };
    let event = Event { attributes: many(2), ..Event::default() };
    let span = Span { attributes: many(1), events: vec![event], ..Span::default() };
    let decoded = decode(request(many(3), span)).unwrap();
    let (chunk, row) = (&decoded.chunk, decoded.chunk.rows[0]);
    assert_eq!(chunk.attributes(&row).len(), 400_000);
    let of = |map: &[(String, Value)]| (map.len(), map.iter().find(|(key, _)| key == "7").unwrap().1.clone());
    let resource = parse_map(chunk.pool.get(row.resource)).unwrap();
    let Value::Map(resource) = &resource[0].1 else { panic!("{:?}", resource[0].0) };
    assert_eq!(of(resource), (400_000, Value::Int(3)));
    let Some(Value::Array(events)) = Value::parse(chunk.pool.get(row.events)) else { panic!("no events") };
    let Value::Map(event) = &events[0] else { panic!("no event") };
    let Value::Map(event) = &event[2].1 else { panic!("{:?}", event[2].0) };
    assert_eq!(of(event), (400_000, Value::Int(2)));
}

//! What goes out as rows comes back in.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::*;

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn attributes() -> Vec<KeyValue> {
    let any = |value| AnyValue { value: Some(value) };
    vec![
        pair("$text", Any::StringValue("\"é\"\n".to_owned())),
        pair("whole", Any::IntValue(i64::MIN)),
        pair("number", Any::DoubleValue(1.0)),
        pair("endless", Any::DoubleValue(f64::NEG_INFINITY)),
        pair("truth", Any::BoolValue(true)),
        pair("bytes", Any::BytesValue(vec![0, 255])),
        pair(
            "list",
            Any::ArrayValue(ArrayValue { values: vec![any(Any::IntValue(1)), AnyValue { value: None }] }),
        ),
        pair(
            "map",
            Any::KvlistValue(KeyValueList { values: vec![pair("$a", Any::StringValue("b".to_owned()))] }),
        ),
    ]
}

fn all() -> Vec<ResourceSpans> {
    let span = |id: u8| Span {
        trace_id: vec![id; 16],
        span_id: vec![id; 8],
        trace_state: "a=b".to_owned(),
        parent_span_id: if id == 1 { Vec::new() } else { vec![1; 8] },
        flags: 257,
        name: format!("span {id}"),
        kind: i32::from(id % 6),
        start_time_unix_nano: 1_790_000_000_000_000_001,
        end_time_unix_nano: 1_790_000_000_000_000_002,
        attributes: attributes(),
        dropped_attributes_count: 1,
        events: vec![Event {
            time_unix_nano: 7,
            name: "e".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link {
            trace_id: vec![9; 16],
            span_id: vec![9; 8],
            trace_state: "c=d".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 4,
            flags: 5,
        }],
        dropped_links_count: 6,
        status: Some(Status { message: "no".to_owned(), code: i32::from(id % 3) }),
    };
    let scoped = |name: &str, ids: [u8; 2]| ScopeSpans {
        scope: Some(InstrumentationScope {
            name: name.to_owned(),
            version: "1".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 7,
        }),
        spans: ids.map(span).to_vec(),
        schema_url: "scope".to_owned(),
    };
    let of = |service: &str, ids| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![pair("service.name", Any::StringValue(service.to_owned()))],
            dropped_attributes_count: 8,
            ..Resource::default()
        }),
        scope_spans: vec![scoped("s", ids)],
        schema_url: "resource".to_owned(),
    };
    vec![of("one", [1, 2]), of("two", [3, 4])]
}

#[test]
fn what_goes_out_comes_back() {
    let all = all();
    let batch = batch(&all).unwrap();
    assert_eq!((batch.num_rows(), batch.schema()), (4, schema()));
    assert_eq!(spans(&batch).unwrap(), all);
    assert_eq!(spans(&super::batch(&[]).unwrap()).unwrap(), []);
}

#[test]
fn rows_of_others_are_refused_with_what_is_wrong() {
    let whole = batch(&all()).unwrap();
    let without = whole.project(&(1..whole.num_columns()).collect::<Vec<_>>()).unwrap();
    assert!(spans(&without).unwrap_err().contains("no column trace_id"));
    let with = |name: &str, text: &'static str| {
        let at = schema().index_of(name).unwrap();
        let mut columns = whole.columns().to_vec();
        columns[at] = Arc::new(arrow_array::StringArray::from(vec![text; 4]));
        spans(&arrow_array::RecordBatch::try_new(schema(), columns).unwrap()).unwrap_err()
    };
    assert!(with("span_id", "xyz").contains("row 0: span_id is \"xyz\""));
    assert!(with("status", "bad").contains("unset, ok, error"));
    assert!(with("attributes", "[1]").contains("attributes is no JSON object"));
    assert!(with("events", "{}").contains("events is no JSON array"));
}

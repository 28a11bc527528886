use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use serde::Serialize;

use super::decode;
use crate::ingest::Signal;

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn attributes() -> Vec<KeyValue> {
    let list = vec![any(Value::IntValue(i64::MIN)), any(Value::DoubleValue(-0.5)), AnyValue::default()];
    let pair = |key: &str, value| KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() };
    vec![
        pair("text", any(Value::StringValue("ü\"\\\n".to_owned()))),
        pair("on", any(Value::BoolValue(true))),
        pair("off", any(Value::BoolValue(false))),
        pair("most", any(Value::IntValue(i64::MAX))),
        pair("large", any(Value::DoubleValue(1e300))),
        pair("bytes", any(Value::BytesValue(vec![0, 255, 254]))),
        pair("list", any(Value::ArrayValue(ArrayValue { values: list }))),
        pair("none", any(Value::ArrayValue(ArrayValue::default()))),
        pair(
            "map",
            any(Value::KvlistValue(KeyValueList { values: vec![pair("", any(Value::IntValue(0)))] })),
        ),
        KeyValue { key: "nothing".to_owned(), ..KeyValue::default() },
    ]
}

fn resource() -> Option<Resource> {
    let (id_keys, description_keys) = (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]);
    let entity_refs =
        vec![EntityRef { schema_url: "s".to_owned(), r#type: "host".to_owned(), id_keys, description_keys }];
    Some(Resource { attributes: attributes(), dropped_attributes_count: 3, entity_refs })
}

fn scope() -> Option<InstrumentationScope> {
    let (name, version) = ("library".to_owned(), "1.2".to_owned());
    Some(InstrumentationScope { name, version, attributes: attributes(), dropped_attributes_count: u32::MAX })
}

fn traces() -> ExportTraceServiceRequest {
    let event = Event {
        time_unix_nano: u64::MAX,
        name: "event".to_owned(),
        attributes: attributes(),
        dropped_attributes_count: 4,
    };
    let link = Link {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        trace_state: "k=v".to_owned(),
        attributes: attributes(),
        dropped_attributes_count: 5,
        flags: 0x301,
    };
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        trace_state: "a=b".to_owned(),
        parent_span_id: vec![3; 8],
        flags: u32::MAX,
        name: "chat".to_owned(),
        kind: 3,
        start_time_unix_nano: 1_790_000_000_000_000_000,
        end_time_unix_nano: 1_790_000_000_000_000_001,
        attributes: attributes(),
        dropped_attributes_count: 1,
        events: vec![event, Event::default()],
        dropped_events_count: 2,
        links: vec![link],
        dropped_links_count: 3,
        status: Some(Status { message: "no".to_owned(), code: 2 }),
    };
    let scope_spans =
        vec![ScopeSpans { scope: scope(), spans: vec![span, Span::default()], schema_url: "x".to_owned() }];
    let spans = ResourceSpans { resource: resource(), scope_spans, schema_url: "y".to_owned() };
    ExportTraceServiceRequest { resource_spans: vec![spans, ResourceSpans::default()] }
}

fn logs() -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: 1,
        observed_time_unix_nano: 2,
        severity_number: 17,
        severity_text: "ERROR".to_owned(),
        body: attributes().remove(8).value,
        attributes: attributes(),
        dropped_attributes_count: 6,
        flags: 1,
        trace_id: vec![4; 16],
        span_id: vec![5; 8],
        event_name: "deployed".to_owned(),
    };
    let scope_logs =
        vec![ScopeLogs { scope: scope(), log_records: vec![record], schema_url: "x".to_owned() }];
    let resource_logs = vec![ResourceLogs { resource: resource(), scope_logs, schema_url: "y".to_owned() }];
    ExportLogsServiceRequest { resource_logs }
}

fn exponential(exemplars: Vec<Exemplar>) -> ExponentialHistogramDataPoint {
    let buckets = |offset| Some(Buckets { offset, bucket_counts: vec![0, 1, 1 << 40] });
    ExponentialHistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: 3,
        sum: Some(2.5),
        scale: -3,
        zero_count: 4,
        positive: buckets(i32::MIN),
        negative: buckets(7),
        flags: 1,
        exemplars,
        min: Some(0.0),
        max: Some(9.0),
        zero_threshold: 0.25,
    }
}

fn metrics() -> ExportMetricsServiceRequest {
    let exemplar = |value| Exemplar {
        filtered_attributes: attributes(),
        time_unix_nano: 9,
        span_id: vec![1; 8],
        trace_id: vec![2; 16],
        value: Some(value),
    };
    let exemplars = vec![exemplar(exemplar::Value::AsDouble(0.0)), exemplar(exemplar::Value::AsInt(-1))];
    let (start_time_unix_nano, time_unix_nano, flags) = (1, 2, 1);
    let number = |value| NumberDataPoint {
        attributes: attributes(),
        start_time_unix_nano,
        time_unix_nano,
        exemplars: exemplars.clone(),
        flags,
        value: Some(value),
    };
    let numbers = vec![
        number(number_data_point::Value::AsDouble(-0.0)),
        number(number_data_point::Value::AsInt(i64::MIN)),
    ];
    let histogram = HistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano,
        time_unix_nano,
        count: u64::MAX,
        sum: Some(0.0),
        bucket_counts: vec![0, 1, u64::MAX],
        explicit_bounds: vec![-1.0, 0.0],
        exemplars: exemplars.clone(),
        flags,
        min: Some(-1.5),
        max: None,
    };
    let exponential = exponential(exemplars);
    let quantile_values = vec![ValueAtQuantile { quantile: 0.5, value: 1.0 }, ValueAtQuantile::default()];
    let summary = SummaryDataPoint {
        attributes: attributes(),
        start_time_unix_nano,
        time_unix_nano,
        count: 5,
        sum: 6.0,
        quantile_values,
        flags,
    };
    let (aggregation_temporality, is_monotonic) = (2, true);
    let metrics = [
        Data::Gauge(Gauge { data_points: numbers.clone() }),
        Data::Sum(Sum { data_points: numbers, aggregation_temporality, is_monotonic }),
        Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential],
            aggregation_temporality,
        }),
        Data::Summary(Summary { data_points: vec![summary] }),
    ];
    let metrics = metrics.map(|data| Metric {
        name: "name".to_owned(),
        description: "what".to_owned(),
        unit: "s".to_owned(),
        metadata: attributes(),
        data: Some(data),
    });
    let scope_metrics =
        vec![ScopeMetrics { scope: scope(), metrics: metrics.into(), schema_url: "x".to_owned() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: resource(), scope_metrics, schema_url: "y".to_owned() }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn same<M: Message + Default + Serialize + PartialEq + std::fmt::Debug>(signal: Signal, message: &M) {
    let json = serde_json::to_vec(message).unwrap();
    let decoded = M::decode(decode(signal, &json).unwrap()).unwrap();
    assert_eq!(&decoded, message, "{}", String::from_utf8_lossy(&json));
}

#[test]
fn every_field_of_every_message_comes_through() {
    same(Signal::Traces, &traces());
    same(Signal::Logs, &logs());
    same(Signal::Metrics, &metrics());
}

/// Reads the value of an attribute.
fn value(json: &str) -> Result<Option<AnyValue>, String> {
    let text = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{json}}}]}}]}}]}}"#);
    let request = ExportLogsServiceRequest::decode(decode(Signal::Logs, text.as_bytes())?).unwrap();
    Ok(request.resource_logs[0].scope_logs[0].log_records[0].body.clone())
}

/// The JSON of protobuf leaves out what is empty, has names for numbers that are none, and takes numbers as text.
#[test]
fn values_may_be_written_in_every_way_that_protobufs_json_knows() {
    let array = |values| Some(any(Value::ArrayValue(ArrayValue { values })));
    for (json, expected) in [
        ("null", None),
        ("{}", Some(AnyValue::default())),
        (r#"{"stringValue":null}"#, Some(AnyValue::default())),
        (r#"{"laterValue":{"a":[1,{}]}}"#, Some(AnyValue::default())),
        (r#"{"arrayValue":{}}"#, array(vec![])),
        (r#"{"arrayValue":{"values":null}}"#, array(vec![])),
        (r#"{"arrayValue":{"values":[{},null]}}"#, array(vec![AnyValue::default(); 2])),
        (r#"{"kvlistValue":{}}"#, Some(any(Value::KvlistValue(KeyValueList::default())))),
        (r#"{"intValue":"-7"}"#, Some(any(Value::IntValue(-7)))),
        (r#"{"intValue":-7}"#, Some(any(Value::IntValue(-7)))),
        (r#"{"intValue":1e3}"#, Some(any(Value::IntValue(1000)))),
        (r#"{"doubleValue":7}"#, Some(any(Value::DoubleValue(7.0)))),
        (r#"{"doubleValue":"-2.5e3"}"#, Some(any(Value::DoubleValue(-2500.0)))),
        (r#"{"doubleValue":"Infinity"}"#, Some(any(Value::DoubleValue(f64::INFINITY)))),
        (r#"{"doubleValue":"-Infinity"}"#, Some(any(Value::DoubleValue(f64::NEG_INFINITY)))),
        (r#"{"bytesValue":"-_8"}"#, Some(any(Value::BytesValue(vec![251, 255])))),
        (r#"{"bytesValue":"+/8="}"#, Some(any(Value::BytesValue(vec![251, 255])))),
    ] {
        assert_eq!(value(json), Ok(expected), "{json}");
    }
    let Ok(Some(AnyValue { value: Some(Value::DoubleValue(number)) })) = value(r#"{"doubleValue":"NaN"}"#)
    else {
        panic!("NaN is no number");
    };
    assert!(number.is_nan());
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (json, word) in [
        ("7", "expected AnyValue at line 1 column"),
        ("[]", "expected AnyValue"),
        (r#"{"intValue":"seven"}"#, "expected a whole number of 64 bits"),
        (r#"{"intValue":9223372036854775808}"#, "9223372036854775808 is out of range"),
        (r#"{"intValue":0.5}"#, "expected a whole number"),
        (r#"{"doubleValue":"inf"}"#, "expected a number"),
        (r#"{"boolValue":1}"#, "expected true or false"),
        (r#"{"boolValue":"true"}"#, "expected true or false"),
        (r#"{"stringValue":7}"#, "expected a text"),
        (r#"{"bytesValue":"?"}"#, "expected a text in base64"),
        (r#"{"arrayValue":{"values":{}}}"#, "expected an array"),
        (r#"{"arrayValue":[]}"#, "expected ArrayValue"),
    ] {
        let told = value(json).unwrap_err();
        assert!(
            told.contains(word) && told.starts_with("the body is no ExportLogsServiceRequest"),
            "{json}: {told}"
        );
    }
    let span = |json: &str| {
        let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{json}]}}]}}]}}"#);
        decode(Signal::Traces, text.as_bytes()).unwrap_err()
    };
    assert!(span(r#"{"traceId":"xyz"}"#).contains("expected a text of hex digits"));
    assert!(span(r#"{"startTimeUnixNano":-1}"#).contains("-1 is out of range"));
    assert!(span(r#"{"droppedLinksCount":4294967296}"#).contains("4294967296 is out of range"));
    assert!(span("{}}").contains("line 1"));
    assert!(decode(Signal::Traces, b"{} {}").unwrap_err().contains("trailing characters"));
}

//! Values of OTLP as values that are kept, and back.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

use crate::value::Value;

/// A key and its value.
pub(crate) fn key_value((key, value): (String, Value)) -> KeyValue {
    KeyValue { key, value: Some(any_value(value)), ..KeyValue::default() }
}

/// A value as OTLP has it.
pub(crate) fn any_value(value: Value) -> AnyValue {
    let value = match value {
        Value::Empty => None,
        Value::Bool(value) => Some(Any::BoolValue(value)),
        Value::Int(value) => Some(Any::IntValue(value)),
        Value::Double(value) => Some(Any::DoubleValue(value)),
        Value::String(value) => Some(Any::StringValue(value)),
        Value::Bytes(value) => Some(Any::BytesValue(value)),
        Value::Array(values) => {
            Some(Any::ArrayValue(ArrayValue { values: values.into_iter().map(any_value).collect() }))
        }
        Value::Map(entries) => {
            Some(Any::KvlistValue(KeyValueList { values: entries.into_iter().map(key_value).collect() }))
        }
    };
    AnyValue { value }
}

/// Keys and values as a map.
pub(crate) fn map(pairs: &[KeyValue]) -> Value {
    let of = |pair: &KeyValue| (pair.key.clone(), pair.value.as_ref().map_or(Value::Empty, of_any));
    Value::Map(pairs.iter().map(of).collect())
}

/// A value of OTLP as it is kept.
pub(crate) fn of_any(value: &AnyValue) -> Value {
    match &value.value {
        Some(Any::StringValue(text)) => Value::String(text.clone()),
        Some(Any::BoolValue(value)) => Value::Bool(*value),
        Some(Any::IntValue(number)) => Value::Int(*number),
        Some(Any::DoubleValue(number)) => Value::Double(*number),
        Some(Any::BytesValue(bytes)) => Value::Bytes(bytes.clone()),
        Some(Any::ArrayValue(of)) => Value::Array(of.values.iter().map(of_any).collect()),
        Some(Any::KvlistValue(of)) => map(&of.values),
        _ => Value::Empty,
    }
}

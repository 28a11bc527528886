//! Messages as JSON, by protobuf's mapping: what is empty is left out, 64-bit integers are texts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Map, Value as Json};

/// How ids and the names of enumerations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As OTLP has it: ids in hex, enumerations as numbers.
    Otlp,
    /// As protobuf's mapping has it, which Tempo follows: ids in base64, enumerations by name.
    Plain,
}

const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUSES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// An object while it is filled; what is empty is left out.
#[derive(Default)]
pub(crate) struct Object(Map<String, Json>);

impl Object {
    pub(crate) fn text(mut self, name: &str, text: &str) -> Self {
        if !text.is_empty() {
            self.0.insert(name.to_owned(), text.into());
        }
        self
    }

    /// A 64-bit integer.
    pub(crate) fn long(self, name: &str, number: u64) -> Self {
        if number == 0 { self } else { self.text(name, &number.to_string()) }
    }

    /// A 32-bit integer.
    pub(crate) fn count(mut self, name: &str, number: u32) -> Self {
        if number != 0 {
            self.0.insert(name.to_owned(), number.into());
        }
        self
    }

    pub(crate) fn list(self, name: &str, items: impl Iterator<Item = Json>) -> Self {
        let items: Vec<Json> = items.collect();
        if items.is_empty() { self } else { self.with(name, items.into()) }
    }

    /// A member that is there, even if it is empty.
    pub(crate) fn with(mut self, name: &str, value: Json) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn json(self) -> Json {
        Json::Object(self.0)
    }

    fn id(self, style: Style, name: &str, id: &[u8]) -> Self {
        match style {
            Style::Otlp => self.text(name, &hex::encode(id)),
            Style::Plain => self.text(name, &STANDARD.encode(id)),
        }
    }

    fn named(self, style: Style, name: &str, number: i32, names: &[&str]) -> Self {
        match (style, usize::try_from(number).ok().and_then(|number| names.get(number))) {
            _ if number == 0 => self,
            (Style::Plain, Some(known)) => self.text(name, known),
            _ => self.with(name, number.into()),
        }
    }

    fn attributes(self, attributes: &[KeyValue]) -> Self {
        self.list("attributes", attributes.iter().map(key_value))
    }
}

/// The spans of a resource.
pub(crate) fn resource_spans(spans: &ResourceSpans, style: Style) -> Json {
    let mut object = Object::default();
    if let Some(resource) = &spans.resource {
        let of = Object::default()
            .attributes(&resource.attributes)
            .count("droppedAttributesCount", resource.dropped_attributes_count);
        object = object.with("resource", of.json());
    }
    object
        .list("scopeSpans", spans.scope_spans.iter().map(|spans| scope_spans(spans, style)))
        .text("schemaUrl", &spans.schema_url)
        .json()
}

fn scope_spans(spans: &ScopeSpans, style: Style) -> Json {
    let mut object = Object::default();
    if let Some(of) = &spans.scope {
        object = object.with("scope", scope(of));
    }
    object
        .list("spans", spans.spans.iter().map(|of| span(of, style)))
        .text("schemaUrl", &spans.schema_url)
        .json()
}

fn scope(scope: &InstrumentationScope) -> Json {
    Object::default()
        .text("name", &scope.name)
        .text("version", &scope.version)
        .attributes(&scope.attributes)
        .count("droppedAttributesCount", scope.dropped_attributes_count)
        .json()
}

fn span(span: &Span, style: Style) -> Json {
    let object = Object::default()
        .id(style, "traceId", &span.trace_id)
        .id(style, "spanId", &span.span_id)
        .text("traceState", &span.trace_state)
        .id(style, "parentSpanId", &span.parent_span_id)
        .count("flags", span.flags)
        .text("name", &span.name)
        .named(style, "kind", span.kind, &KINDS)
        .long("startTimeUnixNano", span.start_time_unix_nano)
        .long("endTimeUnixNano", span.end_time_unix_nano)
        .attributes(&span.attributes)
        .count("droppedAttributesCount", span.dropped_attributes_count)
        .list("events", span.events.iter().map(event))
        .count("droppedEventsCount", span.dropped_events_count)
        .list("links", span.links.iter().map(|of| link(of, style)))
        .count("droppedLinksCount", span.dropped_links_count);
    let Some(status) = &span.status else { return object.json() };
    let of = Object::default().text("message", &status.message).named(style, "code", status.code, &STATUSES);
    object.with("status", of.json()).json()
}

fn event(event: &Event) -> Json {
    Object::default()
        .long("timeUnixNano", event.time_unix_nano)
        .text("name", &event.name)
        .attributes(&event.attributes)
        .count("droppedAttributesCount", event.dropped_attributes_count)
        .json()
}

fn link(link: &Link, style: Style) -> Json {
    Object::default()
        .id(style, "traceId", &link.trace_id)
        .id(style, "spanId", &link.span_id)
        .text("traceState", &link.trace_state)
        .attributes(&link.attributes)
        .count("droppedAttributesCount", link.dropped_attributes_count)
        .count("flags", link.flags)
        .json()
}

/// A key and its value.
pub(crate) fn key_value(pair: &KeyValue) -> Json {
    let object = Object::default().text("key", &pair.key);
    match &pair.value {
        Some(value) => object.with("value", any_value(value)).json(),
        None => object.json(),
    }
}

fn any_value(value: &AnyValue) -> Json {
    use any_value::Value as Any;
    let object = Object::default();
    let object = match &value.value {
        Some(Any::StringValue(text)) => object.with("stringValue", text.as_str().into()),
        Some(Any::BoolValue(value)) => object.with("boolValue", (*value).into()),
        Some(Any::IntValue(number)) => object.with("intValue", number.to_string().into()),
        Some(Any::DoubleValue(number)) => object.with("doubleValue", double(*number)),
        Some(Any::BytesValue(bytes)) => object.with("bytesValue", STANDARD.encode(bytes).into()),
        Some(Any::ArrayValue(of)) => object
            .with("arrayValue", Object::default().list("values", of.values.iter().map(any_value)).json()),
        Some(Any::KvlistValue(of)) => object
            .with("kvlistValue", Object::default().list("values", of.values.iter().map(key_value)).json()),
        _ => object,
    };
    object.json()
}

/// A number; those that JSON has not are texts.
pub(crate) fn double(number: f64) -> Json {
    let text = if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    serde_json::Number::from_f64(number).map_or_else(|| text.into(), Json::Number)
}

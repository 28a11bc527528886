//! The messages of OTLP with the names that their fields have in JSON, for turning JSON into protobuf and back.

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: &'static str,
    fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) tag: u32,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
}

/// How a field is written, in JSON and in protobuf.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// Bytes in hex digits, as ids are.
    Hex,
    Base64,
    Bool,
    /// `int64`.
    Int,
    /// Enumerations are numbers in OTLP/JSON.
    Enumeration,
    /// `sint32`.
    Signed,
    Unsigned32,
    Unsigned64,
    Fixed32,
    Fixed64,
    SignedFixed64,
    Double,
    Message(&'static Message),
}

impl Message {
    /// The field with a name in JSON; others are ignored, as OTLP wants it.
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The field with a number in protobuf.
    pub(super) fn numbered(&self, tag: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.tag == tag)
    }
}

const fn one(tag: u32, name: &'static str, kind: Kind) -> Field {
    Field { name, tag, kind, repeated: false }
}

const fn many(tag: u32, name: &'static str, kind: Kind) -> Field {
    Field { name, tag, kind, repeated: true }
}

macro_rules! messages {
    ($($id:ident $name:literal [$($field:expr),* $(,)?])*) => {
        $(pub(super) static $id: Message = Message { name: $name, fields: &[$($field),*] };)*
    };
}

use Kind::{
    Base64, Bool, Double, Enumeration, Fixed32, Fixed64, Hex, Int, Message as Of, Signed, SignedFixed64,
    Text, Unsigned32, Unsigned64,
};

messages! {
    TRACES "ExportTraceServiceRequest" [many(1, "resourceSpans", Of(&RESOURCE_SPANS))]
    RESOURCE_SPANS "ResourceSpans" [
        one(1, "resource", Of(&RESOURCE)), many(2, "scopeSpans", Of(&SCOPE_SPANS)), one(3, "schemaUrl", Text),
    ]
    SCOPE_SPANS "ScopeSpans" [
        one(1, "scope", Of(&SCOPE)), many(2, "spans", Of(&SPAN)), one(3, "schemaUrl", Text),
    ]
    SPAN "Span" [
        one(1, "traceId", Hex), one(2, "spanId", Hex), one(3, "traceState", Text), one(4, "parentSpanId", Hex),
        one(5, "name", Text), one(6, "kind", Enumeration), one(7, "startTimeUnixNano", Fixed64),
        one(8, "endTimeUnixNano", Fixed64), many(9, "attributes", Of(&KEY_VALUE)),
        one(10, "droppedAttributesCount", Unsigned32), many(11, "events", Of(&EVENT)),
        one(12, "droppedEventsCount", Unsigned32), many(13, "links", Of(&LINK)),
        one(14, "droppedLinksCount", Unsigned32), one(15, "status", Of(&STATUS)), one(16, "flags", Fixed32),
    ]
    EVENT "Event" [
        one(1, "timeUnixNano", Fixed64), one(2, "name", Text), many(3, "attributes", Of(&KEY_VALUE)),
        one(4, "droppedAttributesCount", Unsigned32),
    ]
    LINK "Link" [
        one(1, "traceId", Hex), one(2, "spanId", Hex), one(3, "traceState", Text),
        many(4, "attributes", Of(&KEY_VALUE)), one(5, "droppedAttributesCount", Unsigned32), one(6, "flags", Fixed32),
    ]
    STATUS "Status" [one(2, "message", Text), one(3, "code", Enumeration)]

    LOGS "ExportLogsServiceRequest" [many(1, "resourceLogs", Of(&RESOURCE_LOGS))]
    RESOURCE_LOGS "ResourceLogs" [
        one(1, "resource", Of(&RESOURCE)), many(2, "scopeLogs", Of(&SCOPE_LOGS)), one(3, "schemaUrl", Text),
    ]
    SCOPE_LOGS "ScopeLogs" [
        one(1, "scope", Of(&SCOPE)), many(2, "logRecords", Of(&LOG_RECORD)), one(3, "schemaUrl", Text),
    ]
    LOG_RECORD "LogRecord" [
        one(1, "timeUnixNano", Fixed64), one(2, "severityNumber", Enumeration), one(3, "severityText", Text),
        one(5, "body", Of(&ANY_VALUE)), many(6, "attributes", Of(&KEY_VALUE)),
        one(7, "droppedAttributesCount", Unsigned32), one(8, "flags", Fixed32), one(9, "traceId", Hex),
        one(10, "spanId", Hex), one(11, "observedTimeUnixNano", Fixed64), one(12, "eventName", Text),
    ]

    METRICS "ExportMetricsServiceRequest" [many(1, "resourceMetrics", Of(&RESOURCE_METRICS))]
    RESOURCE_METRICS "ResourceMetrics" [
        one(1, "resource", Of(&RESOURCE)), many(2, "scopeMetrics", Of(&SCOPE_METRICS)), one(3, "schemaUrl", Text),
    ]
    SCOPE_METRICS "ScopeMetrics" [
        one(1, "scope", Of(&SCOPE)), many(2, "metrics", Of(&METRIC)), one(3, "schemaUrl", Text),
    ]
    METRIC "Metric" [
        one(1, "name", Text), one(2, "description", Text), one(3, "unit", Text), one(5, "gauge", Of(&GAUGE)),
        one(7, "sum", Of(&SUM)), one(9, "histogram", Of(&HISTOGRAM)),
        one(10, "exponentialHistogram", Of(&EXPONENTIAL_HISTOGRAM)), one(11, "summary", Of(&SUMMARY)),
        many(12, "metadata", Of(&KEY_VALUE)),
    ]
    GAUGE "Gauge" [many(1, "dataPoints", Of(&NUMBER_POINT))]
    SUM "Sum" [
        many(1, "dataPoints", Of(&NUMBER_POINT)), one(2, "aggregationTemporality", Enumeration), one(3, "isMonotonic", Bool),
    ]
    HISTOGRAM "Histogram" [
        many(1, "dataPoints", Of(&HISTOGRAM_POINT)), one(2, "aggregationTemporality", Enumeration),
    ]
    EXPONENTIAL_HISTOGRAM "ExponentialHistogram" [
        many(1, "dataPoints", Of(&EXPONENTIAL_POINT)), one(2, "aggregationTemporality", Enumeration),
    ]
    SUMMARY "Summary" [many(1, "dataPoints", Of(&SUMMARY_POINT))]
    NUMBER_POINT "NumberDataPoint" [
        one(2, "startTimeUnixNano", Fixed64), one(3, "timeUnixNano", Fixed64), one(4, "asDouble", Double),
        many(5, "exemplars", Of(&EXEMPLAR)), one(6, "asInt", SignedFixed64),
        many(7, "attributes", Of(&KEY_VALUE)), one(8, "flags", Unsigned32),
    ]
    HISTOGRAM_POINT "HistogramDataPoint" [
        one(2, "startTimeUnixNano", Fixed64), one(3, "timeUnixNano", Fixed64), one(4, "count", Fixed64),
        one(5, "sum", Double), many(6, "bucketCounts", Fixed64), many(7, "explicitBounds", Double),
        many(8, "exemplars", Of(&EXEMPLAR)), many(9, "attributes", Of(&KEY_VALUE)), one(10, "flags", Unsigned32),
        one(11, "min", Double), one(12, "max", Double),
    ]
    EXPONENTIAL_POINT "ExponentialHistogramDataPoint" [
        many(1, "attributes", Of(&KEY_VALUE)), one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64), one(4, "count", Fixed64), one(5, "sum", Double), one(6, "scale", Signed),
        one(7, "zeroCount", Fixed64), one(8, "positive", Of(&BUCKETS)), one(9, "negative", Of(&BUCKETS)),
        one(10, "flags", Unsigned32), many(11, "exemplars", Of(&EXEMPLAR)), one(12, "min", Double),
        one(13, "max", Double), one(14, "zeroThreshold", Double),
    ]
    BUCKETS "Buckets" [one(1, "offset", Signed), many(2, "bucketCounts", Unsigned64)]
    SUMMARY_POINT "SummaryDataPoint" [
        one(2, "startTimeUnixNano", Fixed64), one(3, "timeUnixNano", Fixed64), one(4, "count", Fixed64),
        one(5, "sum", Double), many(6, "quantileValues", Of(&QUANTILE)), many(7, "attributes", Of(&KEY_VALUE)),
        one(8, "flags", Unsigned32),
    ]
    QUANTILE "ValueAtQuantile" [one(1, "quantile", Double), one(2, "value", Double)]
    EXEMPLAR "Exemplar" [
        one(2, "timeUnixNano", Fixed64), one(3, "asDouble", Double), one(4, "spanId", Hex), one(5, "traceId", Hex),
        one(6, "asInt", SignedFixed64), many(7, "filteredAttributes", Of(&KEY_VALUE)),
    ]

    RESOURCE "Resource" [
        many(1, "attributes", Of(&KEY_VALUE)), one(2, "droppedAttributesCount", Unsigned32),
        many(3, "entityRefs", Of(&ENTITY)),
    ]
    ENTITY "EntityRef" [
        one(1, "schemaUrl", Text), one(2, "type", Text), many(3, "idKeys", Text), many(4, "descriptionKeys", Text),
    ]
    SCOPE "InstrumentationScope" [
        one(1, "name", Text), one(2, "version", Text), many(3, "attributes", Of(&KEY_VALUE)),
        one(4, "droppedAttributesCount", Unsigned32),
    ]
    KEY_VALUE "KeyValue" [one(1, "key", Text), one(2, "value", Of(&ANY_VALUE))]
    ANY_VALUE "AnyValue" [
        one(1, "stringValue", Text), one(2, "boolValue", Bool), one(3, "intValue", Int), one(4, "doubleValue", Double),
        one(5, "arrayValue", Of(&ARRAY)), one(6, "kvlistValue", Of(&MAP)), one(7, "bytesValue", Base64),
    ]
    ARRAY "ArrayValue" [many(1, "values", Of(&ANY_VALUE))]
    MAP "KeyValueList" [many(1, "values", Of(&KEY_VALUE))]
}

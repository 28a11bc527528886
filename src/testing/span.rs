//! A span as a receiver sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Attributes by key. Integers are JSON integers, bytes are base64 text, NaN and the infinities are the texts
/// `"NaN"`, `"Infinity"` and `"-Infinity"`.
pub type Attributes = BTreeMap<String, Value>;

/// One span, as it arrived.
///
/// ```
/// use agentvitals::testing::ReceivedSpan;
/// let mut span = ReceivedSpan::default();
/// span.name = "chat gpt-4o".into();
/// span.attributes.insert("gen_ai.usage.input_tokens".into(), 12.into());
/// assert_eq!(span.int("gen_ai.usage.input_tokens"), Some(12));
/// assert_eq!(span.str("gen_ai.usage.input_tokens"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReceivedSpan {
    /// 32 lower-case hexadecimal digits.
    pub trace_id: String,
    /// 16 lower-case hexadecimal digits.
    pub span_id: String,
    /// 16 lower-case hexadecimal digits; `None` for a root.
    pub parent_span_id: Option<String>,
    /// Whether the parent lives in another process; `None` where the sender did not tell.
    pub parent_is_remote: Option<bool>,
    /// The span's name.
    pub name: String,
    /// `internal`, `client`, `server`, `producer`, `consumer` or `unspecified`.
    pub kind: String,
    /// Start, nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// End, nanoseconds since 1970.
    pub end_unix_nano: u64,
    /// The span's own attributes.
    pub attributes: Attributes,
    /// `unset`, `ok` or `error`.
    pub status_code: String,
    /// Empty unless the status is an error that says why.
    pub status_message: String,
    /// Events, in the order sent.
    pub events: Vec<ReceivedEvent>,
    /// Links, in the order sent.
    pub links: Vec<ReceivedLink>,
    /// Attributes of the resource (the service) that sent the span.
    #[serde(serialize_with = "shared")]
    pub resource: Arc<Attributes>,
    /// Name of the instrumentation scope.
    pub scope_name: String,
    /// W3C `tracestate`, empty if there is none.
    pub trace_state: String,
    /// The flags of the wire: W3C trace flags in the low byte.
    pub flags: u32,
    /// Attributes that the sender dropped.
    pub dropped_attributes: u32,
    /// Events that the sender dropped.
    pub dropped_events: u32,
    /// Links that the sender dropped.
    pub dropped_links: u32,
}

/// An event of a span.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct ReceivedEvent {
    /// The event's name.
    pub name: String,
    /// When, nanoseconds since 1970.
    pub time_unix_nano: u64,
    /// The event's attributes.
    pub attributes: Attributes,
    /// Attributes that the sender dropped.
    pub dropped_attributes: u32,
}

/// A link of a span.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct ReceivedLink {
    /// Trace that is linked to, hexadecimal.
    pub trace_id: String,
    /// Span that is linked to, hexadecimal.
    pub span_id: String,
    /// W3C `tracestate` of the linked span.
    pub trace_state: String,
    /// The link's attributes.
    pub attributes: Attributes,
    /// Attributes that the sender dropped.
    pub dropped_attributes: u32,
}

impl Default for ReceivedSpan {
    /// A span without a name or ids, of kind `internal` and status `unset`: a start for hand-made spans.
    fn default() -> Self {
        Self {
            trace_id: String::new(),
            span_id: String::new(),
            parent_span_id: None,
            parent_is_remote: None,
            name: String::new(),
            kind: "internal".to_owned(),
            start_unix_nano: 0,
            end_unix_nano: 0,
            attributes: Attributes::new(),
            status_code: "unset".to_owned(),
            status_message: String::new(),
            events: Vec::new(),
            links: Vec::new(),
            resource: Arc::new(Attributes::new()),
            scope_name: String::new(),
            trace_state: String::new(),
            flags: 0,
            dropped_attributes: 0,
            dropped_events: 0,
            dropped_links: 0,
        }
    }
}

impl ReceivedSpan {
    /// The value of an attribute.
    pub fn attr(&self, key: &str) -> Option<&Value> {
        self.attributes.get(key)
    }

    /// The value of an attribute that is a text; `None` if it is absent or no text.
    pub fn str(&self, key: &str) -> Option<&str> {
        self.attr(key)?.as_str()
    }

    /// The value of an attribute that is an integer; `None` if it is absent or no integer.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.attr(key)?.as_i64()
    }

    /// The value of an attribute that is a number; `None` if it is absent or no number.
    pub fn float(&self, key: &str) -> Option<f64> {
        self.attr(key)?.as_f64()
    }

    /// The value of an attribute that is true or false; `None` if it is absent or neither.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.attr(key)?.as_bool()
    }

    /// End minus start; zero if the span ends before it starts.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end_unix_nano.saturating_sub(self.start_unix_nano))
    }

    /// Whether the status is `error`.
    pub fn is_error(&self) -> bool {
        self.status_code == "error"
    }

    /// Whether the span has no parent.
    pub fn is_root(&self) -> bool {
        self.parent_span_id.is_none()
    }

    /// The first event of this name.
    pub fn event(&self, name: &str) -> Option<&ReceivedEvent> {
        self.events.iter().find(|event| event.name == name)
    }
}

/// Writes what is shared as if it were not: serde's own way needs a feature of serde for everybody.
pub(super) fn shared<S: Serializer>(value: &Arc<Attributes>, serializer: S) -> Result<S::Ok, S::Error> {
    value.serialize(serializer)
}

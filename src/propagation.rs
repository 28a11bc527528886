//! Context into and out of HTTP headers, JSON (MCP `_meta`) and spawned tasks.
//!
//! Context travels as W3C `traceparent`, `tracestate` and `baggage`. Nothing here reads or sets the global
//! propagator of OpenTelemetry, so nothing depends on whether, and by which version of it, one was set.
//!
//! ```
//! use agentvitals::propagation::{extract, inject, set_remote_parent};
//! // The caller:
//! let mut headers = http::HeaderMap::new();
//! inject(&tracing::Span::current(), &mut headers);
//! // The called, before its span is entered for the first time:
//! let span = tracing::info_span!("handle");
//! if let Err(error) = set_remote_parent(&span, extract(&headers)) {
//!     tracing::warn!(%error, "the trace of the caller ends here");
//! }
//! ```

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use serde_json::{Map, Value};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::{OpenTelemetrySpanExt as _, SetParentError};

use crate::Error;
use crate::config::Propagators;

/// Something that carries context from one process to another.
pub trait Carrier {
    /// The text under a key, without regard to case where the carrier has none.
    fn text(&self, key: &str) -> Option<&str>;

    /// All keys.
    fn names(&self) -> Vec<&str>;

    /// Puts a text under a key. A text that the carrier cannot hold is left out.
    fn put(&mut self, key: &str, value: String);
}

impl Carrier for HeaderMap {
    fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.to_str().ok()
    }

    fn names(&self) -> Vec<&str> {
        self.keys().map(HeaderName::as_str).collect()
    }

    fn put(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (HeaderName::from_bytes(key.as_bytes()), HeaderValue::from_str(&value))
        {
            self.insert(key, value);
        }
    }
}

/// `_meta` of an MCP request, or any other JSON object.
impl Carrier for Map<String, Value> {
    fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    fn names(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }

    fn put(&mut self, key: &str, value: String) {
        self.insert(key.to_owned(), Value::String(value));
    }
}

struct Adapter<'a, C>(&'a C);

impl<C: Carrier> Extractor for Adapter<'_, C> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.text(key)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.names()
    }
}

struct AdapterMut<'a, C>(&'a mut C);

impl<C: Carrier> Injector for AdapterMut<'_, C> {
    fn set(&mut self, key: &str, value: String) {
        // The propagator writes an empty `tracestate` when there is none; leave it out, unless it has to
        // replace one of an earlier use of the carrier.
        if !value.is_empty() || self.0.text(key).is_some() {
            self.0.put(key, value);
        }
    }
}

/// What has a context to send along: a [`Span`], or a [`Context`] itself.
pub trait HasContext {
    /// The context.
    fn otel_context(&self) -> Context;
}

impl HasContext for Span {
    fn otel_context(&self) -> Context {
        self.context()
    }
}

impl HasContext for Context {
    fn otel_context(&self) -> Context {
        self.clone()
    }
}

/// Writes the context of a span into a carrier: trace, trace state and baggage. Without a trace (no layer, or
/// the span is disabled) only the baggage is written, if there is any.
pub fn inject(from: &impl HasContext, into: &mut impl Carrier) {
    inject_with(Propagators::default(), from, into);
}

/// [`inject`] with chosen headers, as [`Config::propagators`](crate::Config::propagators) has them.
pub fn inject_with(propagators: Propagators, from: &impl HasContext, into: &mut impl Carrier) {
    let context = from.otel_context();
    let mut carrier = AdapterMut(into);
    if propagators.trace_context {
        TraceContextPropagator::new().inject_context(&context, &mut carrier);
    }
    if propagators.baggage && context.baggage().iter().next().is_some() {
        BaggagePropagator::new().inject_context(&context, &mut carrier);
    }
}

/// Reads the context that a caller sent. Without a valid `traceparent` the context has no trace, and
/// [`set_remote_parent`] leaves the span a root.
pub fn extract(from: &impl Carrier) -> Context {
    extract_with(Propagators::default(), from)
}

/// [`extract`] with chosen headers.
pub fn extract_with(propagators: Propagators, from: &impl Carrier) -> Context {
    let carrier = Adapter(from);
    let mut context = Context::new();
    if propagators.trace_context && from.text(TRACEPARENT).is_some_and(is_traceparent) {
        context = TraceContextPropagator::new().extract_with_context(&context, &carrier);
    }
    if propagators.baggage {
        context = BaggagePropagator::new().extract_with_context(&context, &carrier);
    }
    context
}

const TRACEPARENT: &str = "traceparent";

/// Whether a text has the shape that W3C Trace Context demands: 2, 32, 16 and 2 lower-case hexadecimal digits, ids that
/// are not 0, a version other than ff. The propagator of the SDK takes shorter ones too, whose ids are then not those
/// that any other participant of the trace reads.
fn is_traceparent(text: &str) -> bool {
    let mut parts = text.trim().split('-');
    let mut part = |length: usize| {
        parts.next().filter(|part| {
            part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let (Some(version), Some(trace), Some(span), Some(_flags)) = (part(2), part(32), part(16), part(2))
    else {
        return false;
    };
    let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    // Later versions may add parts.
    version != "ff" && !is_zero(trace) && !is_zero(span) && (version != "00" || parts.next().is_none())
}

/// Makes the caller's span the parent of `span`. Call it before the span is entered for the first time and
/// before it gets children: from then on its trace is fixed.
///
/// A context without a trace changes nothing and is no error. Neither is a span that a filter disabled.
///
/// # Errors
/// The span has started already, or no OpenTelemetry layer is to be found from it. The span keeps the trace
/// that it has.
pub fn set_remote_parent(span: &Span, context: Context) -> Result<(), Error> {
    let has_trace = context.span().span_context().is_valid();
    if !has_trace && context.baggage().iter().next().is_none() {
        return Ok(());
    }
    let name = span.metadata().map_or("?", |metadata| metadata.name());
    match span.set_parent(context) {
        Ok(()) | Err(SetParentError::SpanDisabled) => Ok(()),
        Err(SetParentError::AlreadyStarted) => Err(Error::install(format!(
            "the remote parent of span {name:?} came too late: it has been entered or has a child; set it right after \
             the span is made"
        ))),
        Err(error @ SetParentError::LayerNotFound) => Err(Error::install(format!(
            "the remote parent of span {name:?} cannot be set: {error}; is the layer installed, and not inside a \
             reload::Layer?"
        ))),
    }
}

/// [`tokio::spawn`] that takes the current span along, so that what the task does stays in the trace.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let task = agentvitals::propagation::spawn(async { 1 + 1 });
/// assert_eq!(task.await.unwrap(), 2);
/// # }
/// ```
///
/// # Panics
/// Outside of a tokio runtime, as `tokio::spawn` does.
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.instrument(Span::current()))
}

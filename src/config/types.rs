//! The values that settings take.

use std::time::Duration;

use crate::Error;

/// Where a signal goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExporterKind {
    /// To an OTLP endpoint.
    Otlp,
    /// To standard output, one JSON document a line.
    Console,
    /// Nowhere. Metrics are still collected for health.
    None,
}

/// Shape of the histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Histograms {
    /// Base-2 exponential buckets: exact quantiles at any scale, and mergeable.
    Exponential,
    /// The explicit buckets of the conventions, for backends that know no exponential ones.
    Explicit,
}

/// Whether message content (prompts, answers, tool arguments and results) leaves the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentCapture {
    /// It does not: the attributes are removed before export.
    Off,
    /// It leaves as span attributes, redacted and cut to size.
    SpanAttributes,
}

/// Whether sums are counted since the start or since the last export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemporalityPreference {
    /// Since the start.
    Cumulative,
    /// Since the last export; up-down counters since the start.
    Delta,
    /// As delta, but what observable counters report since the start.
    LowMemory,
}

/// Which headers carry context from service to service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Propagators {
    /// W3C `traceparent` and `tracestate`.
    pub trace_context: bool,
    /// W3C `baggage`.
    pub baggage: bool,
}

impl Propagators {
    /// Context does not travel.
    pub const NONE: Self = Self { trace_context: false, baggage: false };
}

impl Default for Propagators {
    fn default() -> Self {
        Self { trace_context: true, baggage: true }
    }
}

/// The queue between the traced threads and the exporter, and what it makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchConfig {
    /// Most spans that wait (`OTEL_BSP_MAX_QUEUE_SIZE`). Above it spans are lost and counted.
    pub queue_spans: usize,
    /// Most bytes that wait, as estimated.
    pub queue_bytes: usize,
    /// Most spans of one request (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
    pub max_batch: usize,
    /// Longest time that a span waits for its batch to fill (`OTEL_BSP_SCHEDULE_DELAY`).
    pub schedule_delay: Duration,
    /// Longest time that one batch may take, retries included (`OTEL_BSP_EXPORT_TIMEOUT`); then it is lost and
    /// counted.
    pub export_timeout: Duration,
    /// Longest time that a pipeline which is dropped without a shutdown takes to deliver what it has.
    pub drop_timeout: Duration,
    /// Most bytes of one encoded request. Receivers refuse more than 4 MiB by default.
    pub max_request_bytes: usize,
}

impl BatchConfig {
    /// 8,192 spans: four times the specification's 2,048, a burst of about one second of a busy service.
    pub const QUEUE_SPANS: usize = 8_192;
    /// 64 MiB.
    pub const QUEUE_BYTES: usize = 64 << 20;
    /// 512 spans, as the specification has it.
    pub const MAX_BATCH: usize = 512;
    /// 5 s, as the specification has it.
    pub const SCHEDULE_DELAY: Duration = Duration::from_secs(5);
    /// 30 s, as the specification has it.
    pub const EXPORT_TIMEOUT: Duration = Duration::from_secs(30);
    /// 5 s.
    pub const DROP_TIMEOUT: Duration = Duration::from_secs(5);
    /// 3.5 MiB, which leaves room below the 4 MiB of gRPC for what proxies add.
    pub const MAX_REQUEST_BYTES: usize = 7 << 19;

    /// Sets the longest queue.
    #[must_use]
    pub fn with_queue_spans(mut self, spans: usize) -> Self {
        self.queue_spans = spans;
        self
    }

    /// Sets the most bytes that wait.
    #[must_use]
    pub fn with_queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Sets the most spans of one request.
    #[must_use]
    pub fn with_max_batch(mut self, spans: usize) -> Self {
        self.max_batch = spans;
        self
    }

    /// Sets the longest time that a span waits for its batch to fill.
    #[must_use]
    pub fn with_schedule_delay(mut self, delay: Duration) -> Self {
        self.schedule_delay = delay;
        self
    }

    /// Sets the longest time that one batch may take.
    #[must_use]
    pub fn with_export_timeout(mut self, timeout: Duration) -> Self {
        self.export_timeout = timeout;
        self
    }

    /// Sets the longest time that a drop takes.
    #[must_use]
    pub fn with_drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    /// Sets the most bytes of one encoded request.
    #[must_use]
    pub fn with_max_request_bytes(mut self, bytes: usize) -> Self {
        self.max_request_bytes = bytes;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let least = |name: &str, value: usize, least: usize| {
            if value < least {
                return Err(Error::config(format!("{name} is {value}, expected at least {least}")));
            }
            Ok(())
        };
        least("queue_spans (OTEL_BSP_MAX_QUEUE_SIZE)", self.queue_spans, 1)?;
        least("max_batch (OTEL_BSP_MAX_EXPORT_BATCH_SIZE)", self.max_batch, 1)?;
        least("queue_bytes", self.queue_bytes, 64 << 10)?;
        least("max_request_bytes", self.max_request_bytes, 4 << 10)?;
        if self.max_batch > self.queue_spans {
            return Err(Error::config(format!(
                "max_batch (OTEL_BSP_MAX_EXPORT_BATCH_SIZE) is {}, expected at most queue_spans \
                 (OTEL_BSP_MAX_QUEUE_SIZE), which is {}",
                self.max_batch, self.queue_spans
            )));
        }
        if self.export_timeout.is_zero() {
            return Err(Error::config(
                "export_timeout (OTEL_BSP_EXPORT_TIMEOUT) is 0, expected more: an export without an end is not \
                 supported, since a flush never hangs",
            ));
        }
        Ok(())
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            queue_spans: Self::QUEUE_SPANS,
            queue_bytes: Self::QUEUE_BYTES,
            max_batch: Self::MAX_BATCH,
            schedule_delay: Self::SCHEDULE_DELAY,
            export_timeout: Self::EXPORT_TIMEOUT,
            drop_timeout: Self::DROP_TIMEOUT,
            max_request_bytes: Self::MAX_REQUEST_BYTES,
        }
    }
}

/// Limits on what a span holds when it is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most bytes of a text value, of an event's value, of the status description; longer ones are cut, end in
    /// `…[truncated N bytes]` and are counted (`OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, else
    /// `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`, which count characters: a limit in bytes keeps them too).
    pub value_bytes: usize,
    /// Most attributes of a span (`OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, else `OTEL_ATTRIBUTE_COUNT_LIMIT`).
    pub attributes: usize,
    /// Most events of a span (`OTEL_SPAN_EVENT_COUNT_LIMIT`).
    pub events: usize,
    /// Most links of a span (`OTEL_SPAN_LINK_COUNT_LIMIT`).
    pub links: usize,
    /// Most attributes of an event (`OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT`, else `OTEL_ATTRIBUTE_COUNT_LIMIT`).
    pub event_attributes: usize,
    /// Most attributes of a link (`OTEL_LINK_ATTRIBUTE_COUNT_LIMIT`, else `OTEL_ATTRIBUTE_COUNT_LIMIT`).
    pub link_attributes: usize,
}

impl Limits {
    /// 64 KiB a value. The specification has no limit; receivers have (4 MiB a request).
    pub const VALUE_BYTES: usize = 64 << 10;
    /// 128 attributes, events, links, as the specification has it.
    pub const COUNT: usize = 128;

    /// Sets the most bytes of a text value.
    #[must_use]
    pub fn with_value_bytes(mut self, bytes: usize) -> Self {
        self.value_bytes = bytes;
        self
    }

    /// Sets the most attributes of a span.
    #[must_use]
    pub fn with_attributes(mut self, count: usize) -> Self {
        self.attributes = count;
        self
    }

    /// Sets the most events of a span.
    #[must_use]
    pub fn with_events(mut self, count: usize) -> Self {
        self.events = count;
        self
    }

    /// Sets the most links of a span.
    #[must_use]
    pub fn with_links(mut self, count: usize) -> Self {
        self.links = count;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        // Below this not even `gen_ai.operation.name` would survive, and metrics and spans would disagree.
        if self.value_bytes < 32 {
            return Err(Error::config(format!(
                "value_bytes (OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT, OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT) is {}, \
                 expected at least 32: shorter values would cut the names of operations",
                self.value_bytes
            )));
        }
        if self.attributes < 16 {
            return Err(Error::config(format!(
                "attributes (OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, OTEL_ATTRIBUTE_COUNT_LIMIT) is {}, expected at least \
                 16: fewer would cut what makes a span a GenAI operation",
                self.attributes
            )));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            value_bytes: Self::VALUE_BYTES,
            attributes: Self::COUNT,
            events: Self::COUNT,
            links: Self::COUNT,
            event_attributes: Self::COUNT,
            link_attributes: Self::COUNT,
        }
    }
}

/// Which traces are kept, decided when their first span starts. Metrics, cost and health see every operation
/// in any case.
///
/// ```
/// use agentvitals::{Rule, SamplerConfig};
/// // One trace in ten, all of the planner's, none of the embeddings that are traces of their own.
/// let sampler = SamplerConfig::ratio(0.1)
///     .with_rule(Rule::agent("planner", 1.0))
///     .with_rule(Rule::operation("embeddings", 0.0));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SamplerConfig {
    /// What decides for a span without a parent, unless a rule matches.
    pub root: SamplerRoot,
    /// Whether a span with a parent follows it. Otherwise each span is decided like a root.
    pub parent_based: bool,
    /// Rules for roots; the first that matches decides.
    pub rules: Vec<Rule>,
}

/// What decides for a span without a parent.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum SamplerRoot {
    /// Keep all.
    AlwaysOn,
    /// Keep none.
    AlwaysOff,
    /// Keep this share of the traces, by trace id.
    Ratio(f64),
}

/// The ratio of the traces whose first span has this agent name, this operation, or both.
///
/// Only attributes that the span has when it starts count: a field that is recorded later comes too late.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// The agent's name, or any.
    pub agent: Option<String>,
    /// The operation's name (`invoke_agent`, `chat` ...), or any.
    pub operation: Option<String>,
    /// The share to keep, 0 to 1.
    pub ratio: f64,
}

impl Rule {
    /// Keeps `ratio` of the traces that start with a span of this agent.
    pub fn agent(name: impl Into<String>, ratio: f64) -> Self {
        Self { agent: Some(name.into()), operation: None, ratio }
    }

    /// Keeps `ratio` of the traces that start with this operation.
    pub fn operation(name: impl Into<String>, ratio: f64) -> Self {
        Self { agent: None, operation: Some(name.into()), ratio }
    }

    /// Narrows the rule to an operation.
    #[must_use]
    pub fn and_operation(mut self, name: impl Into<String>) -> Self {
        self.operation = Some(name.into());
        self
    }
}

impl SamplerConfig {
    /// Keeps every trace, and what the parent decided.
    pub fn always_on() -> Self {
        Self { root: SamplerRoot::AlwaysOn, parent_based: true, rules: Vec::new() }
    }

    /// Keeps no trace, but what the parent decided.
    pub fn always_off() -> Self {
        Self { root: SamplerRoot::AlwaysOff, ..Self::always_on() }
    }

    /// Keeps a share of the traces, and what the parent decided.
    pub fn ratio(ratio: f64) -> Self {
        Self { root: SamplerRoot::Ratio(ratio), ..Self::always_on() }
    }

    /// Decides for each span as if it had no parent.
    #[must_use]
    pub fn ignoring_parent(mut self) -> Self {
        self.parent_based = false;
        self
    }

    /// Adds a rule for roots; the first that matches decides.
    #[must_use]
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let check = |what: &str, ratio: f64| {
            if (0.0..=1.0).contains(&ratio) {
                return Ok(());
            }
            Err(Error::config(format!("{what} has ratio {ratio}, expected a number from 0 to 1")))
        };
        if let SamplerRoot::Ratio(ratio) = self.root {
            check("sampler", ratio)?;
        }
        for rule in &self.rules {
            if rule.agent.is_none() && rule.operation.is_none() {
                return Err(Error::config(
                    "a sampling rule names neither an agent nor an operation; use SamplerConfig::ratio for all",
                ));
            }
            let name = rule.agent.as_deref().or(rule.operation.as_deref()).unwrap_or_default();
            check(&format!("sampling rule for {name:?}"), rule.ratio)?;
        }
        Ok(())
    }
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self::always_on()
    }
}

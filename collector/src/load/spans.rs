//! The traces of the generator: a run of an agent with model calls and tools, as the GenAI conventions have it.

use agentvitals::semconv::{attr, operation};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::ids::{mix, span_id, trace_id, unique};

/// Spans of a trace.
pub const SPANS_PER_TRACE: u64 = 8;
/// Traces of one conversation.
const TRACES_PER_CONVERSATION: u64 = 5;
const CUSTOMERS: u64 = 1_000;
const SERVICES: u64 = 5;
const AGENTS: [&str; 20] = [
    "planner",
    "researcher",
    "coder",
    "reviewer",
    "support",
    "billing",
    "router",
    "critic",
    "writer",
    "editor",
    "translator",
    "analyst",
    "scraper",
    "scheduler",
    "tester",
    "deployer",
    "triage",
    "summariser",
    "tutor",
    "buyer",
];
const MODELS: [(&str, &str); 10] = [
    ("gpt-4.1", "openai"),
    ("gpt-4.1-mini", "openai"),
    ("gpt-4o", "openai"),
    ("o4-mini", "openai"),
    ("claude-sonnet-4-5", "anthropic"),
    ("claude-haiku-4-5", "anthropic"),
    ("gemini-2.5-pro", "gcp.gemini"),
    ("gemini-2.5-flash", "gcp.gemini"),
    ("mistral-large-latest", "mistral_ai"),
    ("deepseek-chat", "deepseek"),
];
const TOOLS: [&str; 8] = [
    "search",
    "fetch_page",
    "run_code",
    "read_file",
    "write_file",
    "query_database",
    "send_mail",
    "calculator",
];

/// What differs from trace to trace and is written over in a copy: all of it has one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The trace's id.
    Trace,
    /// The id of the span with this place in the trace.
    Span(u64),
    /// A time, by its nanoseconds after the start of the trace.
    Time(u64),
    /// 16 hex digits that nothing else has.
    Unique(u64),
    /// `c-` and ten digits.
    Conversation,
    /// `customer-` and four digits.
    Customer,
}

impl Part {
    /// The bytes of the part.
    pub(super) fn write(self, seed: u64, trace: u64, start: u64, out: &mut Vec<u8>) {
        match self {
            Self::Trace => out.extend_from_slice(&trace_id(seed, trace)),
            Self::Span(place) => out.extend_from_slice(&span_id(seed, trace, place)),
            Self::Time(after) => out.extend_from_slice(&start.saturating_add(after).to_le_bytes()),
            Self::Unique(place) => hex(unique(seed, trace, place), out),
            Self::Conversation => {
                out.extend_from_slice(b"c-");
                digits(trace / TRACES_PER_CONVERSATION, 10, out);
            }
            Self::Customer => {
                out.extend_from_slice(b"customer-");
                digits(unique(seed, trace, 60) % CUSTOMERS, 4, out);
            }
        }
    }

    fn text(self, seed: u64, trace: u64) -> String {
        let mut out = Vec::new();
        self.write(seed, trace, 0, &mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

fn hex(number: u64, out: &mut Vec<u8>) {
    out.extend((0..16).rev().map(|place| b"0123456789abcdef"[(number >> (place * 4) & 15) as usize]));
}

fn digits(number: u64, width: u32, out: &mut Vec<u8>) {
    out.extend((0..width).rev().map(|place| b'0' + (number / 10_u64.pow(place) % 10) as u8));
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Any::StringValue(value.into()))
}

fn int(key: &str, value: u64) -> KeyValue {
    attribute(key, Any::IntValue(value.cast_signed()))
}

/// The spans of a trace, with the parts of each in the order in which protobuf writes them.
pub(super) struct Trace {
    pub(super) service: u64,
    pub(super) spans: Vec<(Span, Vec<Part>)>,
}

/// The trace with this number. `look` decides on everything that is no [`Part`]: agent, models, tools, durations,
/// tokens, errors.
pub(super) fn trace(seed: u64, number: u64, look: u64, start: u64) -> Trace {
    let random = |place: u64, below: u64| mix(mix(look) ^ place) % below;
    let agent = AGENTS[random(1, AGENTS.len() as u64) as usize];
    let maker = Maker { seed, number, look, start, agent };
    let mut spans = Vec::new();
    let mut after = 1_000_000;
    for place in 1..SPANS_PER_TRACE {
        let (span, parts, duration) =
            if place % 2 == 1 { maker.chat(place, after) } else { maker.tool(place, after) };
        spans.push((span, parts));
        after += duration + 500_000;
    }
    spans.insert(0, maker.run(after));
    Trace { service: random(2, SERVICES), spans }
}

struct Maker {
    seed: u64,
    number: u64,
    look: u64,
    start: u64,
    agent: &'static str,
}

impl Maker {
    fn random(&self, place: u64, what: u64, below: u64) -> u64 {
        mix(mix(self.look) ^ (place << 8 | what)) % below
    }

    fn part(&self, part: Part) -> String {
        part.text(self.seed, self.number)
    }

    fn span(&self, place: u64, name: String, kind: i32, (after, duration): (u64, u64)) -> (Span, Vec<Part>) {
        let mut parts = vec![Part::Trace, Part::Span(place)];
        if place > 0 {
            parts.push(Part::Span(0));
        }
        parts.extend([Part::Time(after), Part::Time(after + duration)]);
        let span = Span {
            trace_id: trace_id(self.seed, self.number).to_vec(),
            span_id: span_id(self.seed, self.number, place).to_vec(),
            parent_span_id: if place > 0 { span_id(self.seed, self.number, 0).to_vec() } else { Vec::new() },
            name,
            kind,
            start_time_unix_nano: self.start + after,
            end_time_unix_nano: self.start + after + duration,
            flags: 0x101,
            ..Span::default()
        };
        (span, parts)
    }

    fn fail(span: &mut Span, parts: &mut Vec<Part>, kind: &str, at: u64, start: u64) {
        span.attributes.push(text(attr::ERROR_TYPE, kind));
        span.status = Some(Status { code: 2, message: format!("the call ended with {kind}") });
        span.events.push(Event {
            time_unix_nano: start + at,
            name: "exception".to_owned(),
            attributes: vec![text("exception.type", kind)],
            ..Event::default()
        });
        parts.push(Part::Time(at));
    }

    fn run(&self, duration: u64) -> (Span, Vec<Part>) {
        let name = format!("{} {}", operation::INVOKE_AGENT, self.agent);
        let (mut span, mut parts) = self.span(0, name, 1, (0, duration));
        span.attributes = vec![
            text(attr::OPERATION_NAME, operation::INVOKE_AGENT),
            text(attr::AGENT_NAME, self.agent),
            text(attr::CONVERSATION_ID, self.part(Part::Conversation)),
            text("app.customer", self.part(Part::Customer)),
            text("app.request_id", self.part(Part::Unique(0))),
        ];
        parts.extend([Part::Conversation, Part::Customer, Part::Unique(0)]);
        if self.random(0, 9, 50) == 0 {
            Self::fail(&mut span, &mut parts, "timeout", duration, self.start);
        }
        (span, parts)
    }

    fn chat(&self, place: u64, after: u64) -> (Span, Vec<Part>, u64) {
        let (model, provider) = MODELS[self.random(place, 1, MODELS.len() as u64) as usize];
        // Mostly under a second, now and then ten.
        let duration = 80_000_000 + self.random(place, 2, 900) * self.random(place, 3, 1_200) * 1_000;
        let (mut span, mut parts) =
            self.span(place, format!("{} {model}", operation::CHAT), 3, (after, duration));
        let (input, output) = (200 + self.random(place, 4, 6_000), 20 + self.random(place, 5, 800));
        let reasons =
            ArrayValue { values: vec![AnyValue { value: Some(Any::StringValue("stop".to_owned())) }] };
        span.attributes = vec![
            text(attr::OPERATION_NAME, operation::CHAT),
            text(attr::PROVIDER_NAME, provider),
            text(attr::REQUEST_MODEL, model),
            text(attr::RESPONSE_MODEL, model),
            text(attr::AGENT_NAME, self.agent),
            text(attr::CONVERSATION_ID, self.part(Part::Conversation)),
            int(attr::USAGE_INPUT_TOKENS, input),
            int(attr::USAGE_OUTPUT_TOKENS, output),
            attribute(attr::USAGE_COST_AMOUNT, Any::DoubleValue((input * 2 + output * 8) as f64 / 1e6)),
            attribute(attr::RESPONSE_FINISH_REASONS, Any::ArrayValue(reasons)),
            text(attr::RESPONSE_ID, format!("resp_{}", self.part(Part::Unique(place)))),
            text(attr::SERVER_ADDRESS, "api.example.com"),
            int(attr::SERVER_PORT, 443),
        ];
        parts.extend([Part::Conversation, Part::Unique(place)]);
        if self.random(place, 9, 50) == 0 {
            Self::fail(&mut span, &mut parts, "rate_limit", after + duration, self.start);
        }
        (span, parts, duration)
    }

    fn tool(&self, place: u64, after: u64) -> (Span, Vec<Part>, u64) {
        let tool = TOOLS[self.random(place, 1, TOOLS.len() as u64) as usize];
        let duration = 1_000_000 + self.random(place, 2, 400_000) * 1_000;
        let name = format!("{} {tool}", operation::EXECUTE_TOOL);
        let (mut span, mut parts) = self.span(place, name, 1, (after, duration));
        span.attributes = vec![
            text(attr::OPERATION_NAME, operation::EXECUTE_TOOL),
            text(attr::TOOL_NAME, tool),
            text(attr::TOOL_TYPE, "function"),
            text(attr::AGENT_NAME, self.agent),
            text(attr::CONVERSATION_ID, self.part(Part::Conversation)),
            text(attr::TOOL_CALL_ID, format!("call_{}", self.part(Part::Unique(place)))),
        ];
        parts.extend([Part::Conversation, Part::Unique(place)]);
        if self.random(place, 9, 50) == 0 {
            Self::fail(&mut span, &mut parts, "tool_error", after + duration, self.start);
        }
        (span, parts, duration)
    }
}

/// Spans of one service.
pub(super) fn resource_spans(service: u64, spans: Vec<Span>) -> ResourceSpans {
    let attributes =
        vec![text("service.name", format!("agents-{service}")), text("deployment.environment.name", "load")];
    let scope =
        InstrumentationScope { name: "agentvitals.load".to_owned(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans,
        ..ResourceSpans::default()
    }
}

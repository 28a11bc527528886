//! Answers over a real store, part of it on disk and part in memory, against what was sent.

use std::collections::BTreeSet;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::ingest::{Ingest as _, Signal};
use crate::query::engine::{Part, Visit};
use crate::query::request::SortBy;
use crate::store::tests::settle;
use crate::store::{Options, Store};

pub(super) const BASE: i64 = 1_790_000_000_000_000_000;
const SPANS: i64 = 9_000;

pub(super) fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Every third span is an agent, the next its model call, the next its tool; every tenth failed.
pub(super) fn span(number: i64) -> Span {
    let operation = ["invoke_agent", "chat", "execute_tool"][usize::try_from(number % 3).unwrap()];
    let mut attributes = vec![
        attribute("gen_ai.operation.name", Any::StringValue(operation.to_owned())),
        attribute("gen_ai.agent.name", Any::StringValue(format!("agent-{}", number % 4))),
        attribute("number", Any::IntValue(number)),
        attribute("gen_ai.usage.input_tokens", Any::IntValue(10)),
    ];
    if number == 4_321 {
        attributes.push(attribute("rare", Any::StringValue("yes".to_owned())));
    }
    if number % 1_000 == 999 {
        attributes.push(attribute("zero", Any::DoubleValue(-0.0)));
    }
    Span {
        trace_id: (u128::from((number / 3).cast_unsigned()) + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        parent_span_id: if number % 3 == 0 {
            Vec::new()
        } else {
            (number - number % 3 + 1).to_be_bytes().to_vec()
        },
        name: operation.to_owned(),
        kind: 1,
        start_time_unix_nano: (BASE + number * 1_000_000).cast_unsigned(),
        end_time_unix_nano: (BASE + number * 1_000_000 + (number % 100) * 1_000).cast_unsigned(),
        status: (number % 10 == 0).then(|| Status { code: 2, message: "failed".to_owned() }),
        attributes,
        events: told(number, "of an event")
            .map(|attributes| Event { attributes, ..Event::default() })
            .into_iter()
            .collect(),
        links: told(number, "of a link")
            .map(|attributes| Link {
                trace_id: vec![7; 16],
                span_id: vec![7; 8],
                attributes,
                ..Link::default()
            })
            .into_iter()
            .collect(),
        ..Span::default()
    }
}

/// What one of the first spans, which are on disk, and one of the last, which are not, have in their events and links.
fn told(number: i64, key: &str) -> Option<Vec<KeyValue>> {
    [17, 8_900].contains(&number).then(|| vec![attribute(&format!("{key} {number}"), Any::BoolValue(true))])
}

pub(super) fn queries() -> (TempDir, Queries) {
    let (dir, store) = stored();
    (dir, Queries::new(Arc::new(store), Limits::default()))
}

pub(super) fn stored() -> (TempDir, Store) {
    stored_of(&(0..SPANS).map(span).collect::<Vec<Span>>())
}

/// A store of these spans, which come 1,500 at a time.
pub(super) fn stored_of(spans: &[Span]) -> (TempDir, Store) {
    let dir = tempdir().unwrap();
    let options = Options { segment_rows: 4_000, keep_free: 0, ..Options::default() };
    let store = Store::open(dir.path(), options).unwrap();
    send(&store, "bot", spans);
    (dir, store)
}

/// Sends these spans of a service, 1,500 at a time.
pub(super) fn send(store: &Store, service: &str, spans: &[Span]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for spans in spans.chunks(1_500) {
        let resource = Resource {
            attributes: vec![attribute("service.name", Any::StringValue(service.to_owned()))],
            ..Resource::default()
        };
        let scope_spans = vec![ScopeSpans { spans: spans.to_vec(), ..ScopeSpans::default() }];
        let resource_spans =
            vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let taken = runtime.block_on(store.ingest(Signal::Traces, request.into())).unwrap();
        assert_eq!(taken.accepted, spans.len() as u64);
    }
}

/// A store whose parts are read by a function.
#[derive(Clone)]
pub(super) struct Through<F> {
    pub(super) store: Arc<Store>,
    pub(super) read: F,
}

struct ThroughPart<F>(Box<dyn Part>, F);

impl<F> Engine for Through<F>
where
    F: Fn(&dyn Part, &Control, &mut Visit<'_>) -> Result<u64, QueryError> + Clone + Send + Sync + 'static,
{
    fn parts(&self, scan: &Scan) -> Result<Vec<Box<dyn Part>>, QueryError> {
        let parts = self.store.parts(scan)?.into_iter();
        Ok(parts.map(|part| Box::new(ThroughPart(part, self.read.clone())) as Box<dyn Part>).collect())
    }
}

impl<F> Part for ThroughPart<F>
where
    F: Fn(&dyn Part, &Control, &mut Visit<'_>) -> Result<u64, QueryError> + Send + Sync,
{
    fn times(&self) -> (i64, i64) {
        self.0.times()
    }

    fn rows(&self) -> u64 {
        self.0.rows()
    }

    fn identity(&self) -> Option<u64> {
        self.0.identity()
    }

    fn read(&self, control: &Control, visit: &mut Visit<'_>) -> Result<u64, QueryError> {
        (self.1)(&*self.0, control, visit)
    }
}

fn count(queries: &Queries, q: &str) -> u64 {
    let request = CountRequest { q: q.to_owned(), ..CountRequest::default() };
    queries.count(&request, &queries.control()).unwrap().count
}

#[test]
fn counts_are_those_of_what_was_sent() {
    let (_dir, queries) = queries();
    for (q, expected) in [
        ("", 9_000),
        ("{}", 9_000),
        ("{ status = error }", 900),
        ("{ .gen_ai.agent.name = \"agent-1\" }", 2_250),
        ("{ .gen_ai.agent.name = \"agent-1\" && status = error }", 0),
        ("{ .gen_ai.agent.name = \"agent-2\" && status = error }", 450),
        ("{ resource.service.name = \"bot\" && name = \"chat\" }", 3_000),
        ("{ .service.name = \"bot\" && .number < 10 }", 10),
        ("{ .rare != nil }", 1),
        ("{ .rare = \"yes\" }", 1),
        ("{ .rare = \"no\" }", 0),
        ("{ span:parentID = nil }", 3_000),
        ("{ nestedSetParent < 0 }", 3_000),
        ("{ span:parentID != \"\" && statusMessage = \"\" }", 5_400),
        ("{ instrumentation:name = \"\" && resource.service.name != \"\" }", 9_000),
        ("{ duration >= 99us }", 90),
        ("{ .gen_ai.agent.name =~ \"agent-[12]\" }", 4_500),
        ("{ kind = internal && statusMessage = \"failed\" }", 900),
        ("{ .number = 17.0 || .number = 18 }", 2),
        // There are two zeros, and they are the same, in memory and in segments.
        ("{ span.zero = 0 && span.zero = 0.0 }", 9),
    ] {
        assert_eq!(count(&queries, q), expected, "{q}");
    }
    let one = CountRequest {
        start: Some(BASE + 5_000_000),
        end: Some(BASE + 8_000_000),
        ..CountRequest::default()
    };
    assert_eq!(queries.count(&one, &queries.control()).unwrap().count, 3);
    assert!(count_error(&queries, "{ rootName = \"x\" }").contains("other spans"));
}

fn count_error(queries: &Queries, q: &str) -> String {
    let request = CountRequest { q: q.to_owned(), ..CountRequest::default() };
    queries.count(&request, &queries.control()).unwrap_err().to_string()
}

#[test]
fn pages_have_every_span_once_in_order() {
    let (_dir, queries) = queries();
    for order in [SortBy::Newest, SortBy::Oldest, SortBy::Slowest] {
        let mut request = SpansRequest {
            q: "{ name = \"chat\" }".to_owned(),
            limit: Some(700),
            order,
            ..SpansRequest::default()
        };
        let (mut seen, mut before) = (BTreeSet::new(), None);
        loop {
            let answer = queries.spans(&request, &queries.control()).unwrap();
            for span in &answer.spans {
                let rank = match order {
                    SortBy::Newest => -span.start_unix_nano,
                    SortBy::Oldest => span.start_unix_nano,
                    _ => -span.duration_ns,
                };
                assert!(before.is_none_or(|before| before <= rank));
                before = Some(rank);
                assert!(seen.insert(span.attributes["number"].as_i64().unwrap()));
            }
            assert!(answer.complete);
            request.after = answer.next;
            if request.after.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..SPANS).filter(|number| number % 3 == 1).collect(), "{order:?}");
    }
    let newest = SpansRequest { limit: Some(1), ..SpansRequest::default() };
    let answer = queries.spans(&newest, &queries.control()).unwrap();
    assert_eq!(answer.spans[0].attributes["number"], SPANS - 1);
    assert!(answer.scanned < 9_000, "{}", answer.scanned);
    for wrong in [
        SpansRequest { limit: Some(0), ..newest.clone() },
        SpansRequest { after: Some("x".to_owned()), ..newest },
    ] {
        assert!(matches!(queries.spans(&wrong, &queries.control()), Err(QueryError::Invalid { .. })));
    }
}

#[test]
fn a_trace_is_whole_and_shows_what_was_sent() {
    let (_dir, queries) = queries();
    let answer = queries.trace(&TraceRequest { trace_id: "1f".to_owned() }, &queries.control()).unwrap();
    assert_eq!(
        answer.spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(),
        ["invoke_agent", "chat", "execute_tool"]
    );
    let root = &answer.spans[0];
    assert_eq!(
        (root.parent_span_id.as_deref(), root.status.as_str(), root.status_message.as_str()),
        (None, "error", "failed")
    );
    assert_eq!((root.service.as_str(), &root.resource["service.name"]), ("bot", &"bot".into()));
    assert_eq!(answer.spans[1].parent_span_id.as_ref(), Some(&root.span_id));
    assert!(queries.trace(&TraceRequest { trace_id: "no id".to_owned() }, &queries.control()).is_err());
    assert!(
        queries
            .trace(&TraceRequest { trace_id: "ffff".to_owned() }, &queries.control())
            .unwrap()
            .spans
            .is_empty()
    );
}

/// Feature: A8
#[test]
fn figures_are_those_of_the_spans() {
    let (_dir, queries) = queries();
    let request = StatsRequest { by: vec!["gen_ai.agent.name".to_owned()], ..StatsRequest::default() };
    let answer = queries.stats(&request, &queries.control()).unwrap();
    assert_eq!((answer.groups.len(), answer.scanned, answer.left_out), (4, 9_000, 0));
    for (number, group) in answer.groups.iter().enumerate() {
        assert_eq!(group.by, [format!("agent-{number}")]);
        assert_eq!((group.count, group.input_tokens, group.cost), (2_250, 7_500, None));
        assert_eq!(group.errors, if number % 2 == 0 { 450 } else { 0 });
        let exact = 48_000.0 + 1_000.0 * number as f64;
        assert!((group.duration_ns.p50 - exact).abs() <= 0.01 * exact, "{:?}", group.duration_ns);
        assert!(group.duration_ns.max >= 96_000 && group.duration_ns.min <= 3_000);
    }
    let steps = StatsRequest {
        q: "{ status = error }".to_owned(),
        step: Some(1_000_000_000),
        ..StatsRequest::default()
    };
    let answer = queries.stats(&steps, &queries.control()).unwrap();
    assert_eq!(answer.groups.len(), 9);
    assert!(
        answer
            .groups
            .iter()
            .all(|group| group.count == 100 && group.rate == Some(100.0) && group.by.is_empty())
    );
    let few = StatsRequest { by: vec![".number".to_owned()], limit: Some(2), ..StatsRequest::default() };
    let answer = queries.stats(&few, &queries.control()).unwrap();
    assert_eq!((answer.groups.len(), answer.left_out), (2, 8_998));
}

#[test]
fn quantiles_are_within_one_percent() {
    for nanos in [0, 1, 255, 256, 257, 1_000, 999_999, 123_456_789_012, i64::MAX] {
        let (middle, exact) = (figures::middle(figures::bucket(nanos)), nanos as f64);
        assert!((middle - exact).abs() <= exact * 0.01, "{nanos}: {middle}");
    }
}

#[test]
fn a_question_ends_when_it_is_told_or_needs_too_much() {
    let (_dir, mut queries) = queries();
    let control = queries.control();
    control.cancel();
    assert_eq!(queries.count(&CountRequest::default(), &control), Err(QueryError::Cancelled));
    queries.limits.timeout = Duration::ZERO;
    assert_eq!(queries.count(&CountRequest::default(), &queries.control()), Err(QueryError::TimedOut));
    assert!(!queries.spans(&SpansRequest::default(), &queries.control()).unwrap().complete);
    queries.limits = Limits { memory: 10_000, ..Limits::default() };
    let many = StatsRequest { by: vec![".number".to_owned()], ..StatsRequest::default() };
    assert_eq!(queries.stats(&many, &queries.control()), Err(QueryError::TooMuchMemory { limit: 10_000 }));
}

/// Feature: A8
/// Feature: J4
#[test]
fn conversations_and_agents_are_what_their_spans_came_to() {
    let dir = tempdir().unwrap();
    let store = Store::open(dir.path(), Options { keep_free: 0, ..Options::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // A run of two seconds with two model calls and a tool, twice in one conversation, once in another; the last failed.
    let mut spans = Vec::new();
    for (run, conversation) in [(0, "c \"1\""), (1, "c \"1\""), (2, "c2")] {
        for (place, operation) in ["invoke_agent", "chat", "chat", "execute_tool"].into_iter().enumerate() {
            let number = run * 4 + place as i64;
            let mut span = span(number);
            span.attributes = vec![
                attribute("gen_ai.operation.name", Any::StringValue(operation.to_owned())),
                attribute("gen_ai.agent.name", Any::StringValue("planner".to_owned())),
                attribute("gen_ai.conversation.id", Any::StringValue(conversation.to_owned())),
                attribute("gen_ai.usage.input_tokens", Any::IntValue(10)),
                attribute("gen_ai.usage.output_tokens", Any::IntValue(5)),
            ];
            span.end_time_unix_nano = span.start_time_unix_nano + 2_000_000_000;
            span.status = (run == 2 && place == 0).then(|| Status { code: 2, ..Status::default() });
            spans.push(span);
        }
    }
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    };
    runtime.block_on(store.ingest(Signal::Traces, request.encode_to_vec().into())).unwrap();
    let queries = Queries::new(Arc::new(store), Limits::default());
    let all = queries.conversations(&ConversationsRequest::default(), &queries.control()).unwrap();
    assert_eq!((all.conversations.len(), all.left_out, all.complete), (2, 0, true));
    let first = &all.conversations[0];
    assert_eq!((first.id.as_str(), first.spans, first.turns, first.errors), ("c \"1\"", 8, 2, 0));
    assert_eq!((first.model_calls, first.tool_calls, first.processing_seconds), (4, 2, 4.0));
    assert_eq!((first.input_tokens, first.output_tokens, first.cost), (40, 20, None));
    let one = ConversationsRequest { id: Some("c2".to_owned()), ..ConversationsRequest::default() };
    let one = queries.conversations(&one, &queries.control()).unwrap().conversations;
    assert_eq!((one.len(), one[0].turns, one[0].errors), (1, 1, 1));
    let agent = AgentRequest { id: "planner".to_owned(), ..AgentRequest::default() };
    let agent = queries.agent(&agent, &queries.control()).unwrap();
    assert_eq!((agent.performance.avg, agent.health.status.as_str()), (Some(2.0), "unknown"));
    assert!((agent.performance.success_rate.unwrap() - 200.0 / 3.0).abs() < 1e-9);
    assert_eq!((agent.usage.tasks, agent.usage.tokens, agent.usage.tool_calls), (3, 90, 3));
}

/// Which attributes there are is kept with segments and chunks: it is what their rows tell.
#[test]
fn names_that_are_kept_are_those_of_the_rows() {
    let (_dir, queries) = queries();
    let ask = |q: &str, start: Option<i64>| {
        let request = TagNamesRequest { q: q.to_owned(), start, ..TagNamesRequest::default() };
        queries.tag_names(&request, &queries.control()).unwrap()
    };
    let (kept, read) = (ask("", None), ask("{ duration >= 0ns }", None));
    assert_eq!((kept.scanned, read.scanned), (0, 9_000));
    assert_eq!(kept.scopes, read.scopes);
    assert_eq!(kept.scopes["event"], ["of an event 17", "of an event 8900"]);
    assert_eq!(kept.scopes["link"], ["of a link 17", "of a link 8900"]);
    assert!(kept.scopes["span"].contains(&"rare".to_owned()), "{kept:?}");
    // Of a part of the time its rows tell, where a segment begins before it.
    let late = ask("", Some(BASE + 4_600_000_000));
    assert!(late.scanned > 0 && !late.scopes["span"].contains(&"rare".to_owned()), "{late:?}");
    assert_eq!(late.scopes["event"], ["of an event 8900"]);
}

/// Likewise the values of columns that have few.
#[test]
fn values_that_are_kept_are_those_of_the_rows() {
    let (_dir, store) = stored();
    // All are on disk then.
    settle(&store);
    let queries = Queries::new(Arc::new(store), Limits::default());
    let ask = |q: &str, field: &str, start: Option<i64>| {
        let fields = vec![field.to_owned()];
        let request = DistinctRequest { q: q.to_owned(), fields, start, ..DistinctRequest::default() };
        queries.distinct(&request, &queries.control()).unwrap()
    };
    for (field, count) in [
        ("name", 3),
        ("span.gen_ai.agent.name", 4),
        ("resource.service.name", 1),
        ("resource.nothing", 0),
        ("span.rare", 1),
        ("span.number", 9_000),
        ("status", 2),
        (".gen_ai.agent.name", 4),
    ] {
        let (kept, read) = (ask("", field, None), ask("{ duration >= 0ns }", field, None));
        assert_eq!((kept.values.len(), &kept.values), (count, &read.values), "{field}");
        assert_eq!(read.scanned, 9_000, "{field}");
    }
    for field in ["name", "span.gen_ai.agent.name", "resource.service.name"] {
        assert_eq!(ask("", field, None).scanned, 0, "{field}");
    }
    assert_eq!(ask("", "span.number", None).scanned, 9_000);
    assert!(ask("", "name", Some(BASE + 1_000_000)).scanned >= 4_499);
}

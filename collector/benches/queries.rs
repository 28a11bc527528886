//! How long questions take over a store of many spans: `cargo bench -p agentvitals-collector --bench queries`.
//!
//! The store is in the directory `QUERIES_DIR` and is filled up to `QUERIES_SPANS` spans (10 million), once. With
//! `QUERIES_LOAD=50000` so many spans a second come in while it is asked. Words after `--` choose questions.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::type_complexity,
    clippy::manual_is_multiple_of,
    reason = "a program that measures and prints"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use agentvitals::semconv::attr;
use agentvitals_collector::ingest::{Ingest as _, Signal};
use agentvitals_collector::query::exec::{Limits, Prepared, Queries};
use agentvitals_collector::query::report::ReportRequest;
use agentvitals_collector::query::request::{CountRequest, SpansRequest, StatsRequest, TraceRequest};
use agentvitals_collector::query::search::SearchRequest;
use agentvitals_collector::store::{Options, Store};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BASE: i64 = 1_790_000_000_000_000_000;
/// Nanoseconds from one span's start to the next one's: 10 million take an hour.
const APART: i64 = 360_000;
const BATCH: i64 = 500;

type Error = Box<dyn std::error::Error>;
/// Asks, and tells how much was found.
type Question = Box<dyn Fn(&Queries, i64) -> Result<u64, Error>>;

fn mix(number: i64) -> u64 {
    let mut x = number.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ x >> 27
}

fn trace_of(number: i64) -> u128 {
    u128::from(mix(number / 8)) << 64 | u128::from(mix(number / 8 + 7))
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn attributes(number: i64, operation: &str) -> Vec<KeyValue> {
    let (random, trace) = (mix(number), mix(number / 8 + 99));
    let text = |key: &str, value: String| attribute(key, Any::StringValue(value));
    let int = |key: &str, value: u64| attribute(key, Any::IntValue(value.cast_signed()));
    let mut out = vec![
        text(attr::OPERATION_NAME, operation.to_owned()),
        text(attr::AGENT_NAME, format!("agent-{}", trace % 20)),
        text(attr::CONVERSATION_ID, format!("session-{}", trace >> 8 & 0x1_ffff)),
        text("user.id", format!("user-{}", trace >> 24 & 0x3fff)),
        text("app.request_id", format!("req-{random:016x}")),
    ];
    if operation == "chat" {
        let model = format!("model-{}", random % 10);
        let reason = AnyValue { value: Some(Any::StringValue("stop".to_owned())) };
        out.extend([
            text(attr::PROVIDER_NAME, format!("provider-{}", random % 3)),
            text(attr::REQUEST_MODEL, model.clone()),
            text(attr::RESPONSE_MODEL, model),
            int(attr::USAGE_INPUT_TOKENS, random >> 7 & 0xfff),
            int(attr::USAGE_OUTPUT_TOKENS, random >> 17 & 0x3ff),
            attribute(attr::USAGE_COST_AMOUNT, Any::DoubleValue((random >> 9 & 0xffff) as f64 / 1e6)),
            attribute(attr::RESPONSE_FINISH_REASONS, Any::ArrayValue(ArrayValue { values: vec![reason] })),
        ]);
    } else if operation == "execute_tool" {
        out.push(text(attr::TOOL_NAME, format!("tool-{}", random % 12)));
    }
    if number % 500 == 3 {
        out.push(text("app.ticket", format!("T-{}", number / 500)));
    }
    out
}

fn span(number: i64) -> Span {
    let place = number % 8;
    let operation =
        ["invoke_agent", "chat", "execute_tool", "chat", "execute_tool", "chat", "embeddings", "chat"]
            [usize::try_from(place).unwrap_or(0)];
    let random = mix(number + 5);
    let start = (BASE + number * APART).cast_unsigned();
    let duration = 1_000_000 + (random & 0xff_ffff) * (1 + (random >> 24 & 63));
    Span {
        trace_id: trace_of(number).to_be_bytes().to_vec(),
        span_id: mix(number).to_be_bytes().to_vec(),
        parent_span_id: if place == 0 { Vec::new() } else { mix(number - place).to_be_bytes().to_vec() },
        name: operation.to_owned(),
        kind: if place == 0 { 1 } else { 3 },
        start_time_unix_nano: start,
        end_time_unix_nano: start + duration,
        status: (random % 50 == 0).then(|| Status { code: 2, message: "rate limited".to_owned() }),
        attributes: attributes(number, operation),
        ..Span::default()
    }
}

fn request(first: i64) -> Vec<u8> {
    let service = format!("service-{}", first / BATCH % 4);
    let resource = Resource {
        attributes: vec![attribute("service.name", Any::StringValue(service))],
        ..Resource::default()
    };
    let scope_spans =
        vec![ScopeSpans { spans: (first..first + BATCH).map(span).collect(), ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans,
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
}

async fn fill(store: &Arc<Store>, from: i64, to: i64) -> Result<(), Error> {
    let next = Arc::new(AtomicI64::new(from));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (store, next) = (Arc::clone(store), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= to {
                    return;
                }
                let bytes = bytes::Bytes::from(request(first));
                while store.ingest(Signal::Traces, bytes.clone()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done?;
    }
    Ok(())
}

/// Sends so many spans a second until it is told to end.
async fn load(store: Arc<Store>, from: i64, rate: i64, end: Arc<AtomicBool>) -> i64 {
    let (began, mut sent) = (Instant::now(), 0);
    while !end.load(Ordering::Relaxed) {
        let due = Duration::from_nanos((sent * 1_000_000_000 / rate).cast_unsigned());
        tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
        let bytes = bytes::Bytes::from(request(from + sent));
        sent += BATCH;
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.ingest(Signal::Traces, bytes).await.is_ok() });
    }
    (sent as f64 / began.elapsed().as_secs_f64()) as i64
}

fn rss(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn window(spans: i64, brief: bool) -> ReportRequest {
    let (start, end) = (Some(BASE), Some(BASE + spans * APART));
    ReportRequest { start, end, brief, ..ReportRequest::default() }
}

fn reported(spans: i64, brief: bool) -> Question {
    Box::new(move |queries, _| Ok(queries.report(&window(spans, brief), &queries.control())?.totals.count))
}

fn searched(q: String) -> Question {
    Box::new(move |queries, _| {
        let request = SearchRequest { q: q.clone(), ..SearchRequest::default() };
        Ok(queries.search(&request, &queries.control())?.traces.len() as u64)
    })
}

/// How spans of traces are related, and what they come to.
fn searches(session: &str) -> Vec<(&'static str, Question)> {
    vec![
        ("search, parents", searched("{ name = \"invoke_agent\" } > { status = error }".to_owned())),
        (
            "search, siblings of a session",
            searched(format!("{{ .{} = \"{session}\" }} ~ {{ status = error }}", attr::CONVERSATION_ID)),
        ),
        ("search, pipeline", searched("{ status = error } | count() > 1 | avg(duration) > 100ms".to_owned())),
        ("search, rare pipeline", searched("{ name = \"chat\" } | min(duration) > 900ms".to_owned())),
        ("search, never", searched("{ name = \"chat\" } > { name = \"invoke_agent\" }".to_owned())),
    ]
}

fn questions(spans: i64) -> Vec<(&'static str, Question)> {
    fn found(q: String) -> Question {
        Box::new(move |queries, _| {
            let request = SpansRequest { q: q.clone(), ..SpansRequest::default() };
            Ok(queries.spans(&request, &queries.control())?.spans.len() as u64)
        })
    }
    fn counted(q: String) -> Question {
        Box::new(move |queries, _| {
            let request = CountRequest { q: q.clone(), ..CountRequest::default() };
            Ok(queries.count(&request, &queries.control())?.count)
        })
    }
    fn figures(q: &'static str, by: &'static str, step: Option<i64>) -> Question {
        Box::new(move |queries, _| {
            let (q, by) = (q.to_owned(), vec![by.to_owned()]);
            let request = StatsRequest { q, by, step, ..StatsRequest::default() };
            Ok(queries.stats(&request, &queries.control())?.groups.len() as u64)
        })
    }
    let middle = spans / 2 - spans / 2 % 8 + 1;
    let trace = mix(middle / 8 + 99);
    let session = format!("session-{}", trace >> 8 & 0x1_ffff);
    let mut all: Vec<(&'static str, Question)> = vec![
        ("report, brief", reported(spans, true)),
        ("report", reported(spans, false)),
        (
            "trace by id",
            Box::new(move |queries: &Queries, run| {
                let number = (mix(run) % spans.cast_unsigned()).cast_signed();
                let request = TraceRequest { trace_id: format!("{:032x}", trace_of(number)) };
                Ok(queries.trace(&request, &queries.control())?.spans.len() as u64)
            }),
        ),
        (
            "unique attribute",
            Box::new(move |queries: &Queries, run| {
                let number = (mix(run) % spans.cast_unsigned()).cast_signed();
                let q = format!("{{ .app.request_id = \"req-{:016x}\" }}", mix(number));
                let request = SpansRequest { q, ..SpansRequest::default() };
                Ok(queries.spans(&request, &queries.control())?.spans.len() as u64)
            }),
        ),
        ("session", found(format!("{{ .{} = \"{session}\" }}", attr::CONVERSATION_ID))),
        ("newest 20 of an agent", found(format!("{{ .{} = \"agent-3\" }}", attr::AGENT_NAME))),
        ("newest 20 of all", found(String::new())),
        ("newest 20 errors", found("{ status = error }".to_owned())),
        (
            "agent and session",
            found(format!(
                "{{ .{} = \"agent-{}\" && .{} = \"{session}\" }}",
                attr::AGENT_NAME,
                trace % 20,
                attr::CONVERSATION_ID
            )),
        ),
        ("undeclared attribute", found(format!("{{ .app.ticket = \"T-{}\" }}", spans / 1_000))),
        ("absent value", found("{ .app.ticket = \"nothing\" }".to_owned())),
        ("count of all", counted(String::new())),
        ("count of errors", counted("{ status = error }".to_owned())),
        ("count of slow", counted("{ duration > 1s }".to_owned())),
        ("count of an agent", counted(format!("{{ .{} = \"agent-3\" }}", attr::AGENT_NAME))),
        ("figures of all by agent", figures("", attr::AGENT_NAME, None)),
        ("figures of errors by agent", figures("{ status = error }", attr::AGENT_NAME, None)),
        (
            "figures of chat by model and minute",
            figures("{ name = \"chat\" }", attr::REQUEST_MODEL, Some(60_000_000_000)),
        ),
        ("figures of all by model and minute", figures("", attr::REQUEST_MODEL, Some(60_000_000_000))),
        ("figures of all by user", figures("", "user.id", None)),
    ];
    all.extend(searches(&session));
    all
}

fn main() -> Result<(), Error> {
    let Some(dir) = std::env::var_os("QUERIES_DIR").map(PathBuf::from) else {
        println!("QUERIES_DIR names no directory for the store, so there is nothing to ask");
        return Ok(());
    };
    let number = |name: &str, or: i64| std::env::var(name).map_or(Ok(or), |text| text.parse());
    let (spans, rate, runs) =
        (number("QUERIES_SPANS", 10_000_000)?, number("QUERIES_LOAD", 0)?, number("QUERIES_RUNS", 20)?);
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Arc::new(Store::open(&dir, Options::default())?);
    let there = i64::try_from(store.figures().spans.rows)?;
    if there < spans {
        let began = Instant::now();
        runtime.block_on(fill(&store, there, spans))?;
        println!("filled from {there} in {:.1?}", began.elapsed());
    }
    let figures = store.figures();
    println!(
        "{} spans, {} in memory, {} segments",
        figures.spans.rows, figures.spans.in_memory, figures.spans.segments
    );
    let end = Arc::new(AtomicBool::new(false));
    let from = i64::try_from(figures.spans.rows)? / BATCH * BATCH + BATCH;
    let loading = (rate > 0).then(|| runtime.spawn(load(Arc::clone(&store), from, rate, Arc::clone(&end))));
    if rate > 0 {
        std::thread::sleep(Duration::from_secs(4));
    }
    let queries = Queries::new(
        Arc::clone(&store) as _,
        Limits { timeout: Duration::from_secs(60), ..Limits::default() },
    );
    if chosen.is_empty() || chosen.iter().any(|word| word.contains("report")) {
        // As a server does on its own.
        let (began, mut prepared) = (Instant::now(), Prepared::default());
        queries.prepare_report(&window(spans, false), &mut prepared, &queries.patient_control())?;
        println!("prepared reports of {} spans in {:.1?}", prepared.rows(), began.elapsed());
    }
    println!("{:>10} {:>10} {:>10}  answer  question (ms)", "min", "p50", "p95");
    for (name, ask) in questions(spans) {
        if !chosen.is_empty() && !chosen.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let mut took = Vec::new();
        let mut answer = 0;
        for run in 0..runs {
            let began = Instant::now();
            answer = ask(&queries, run)?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
            if took.iter().sum::<f64>() > 30_000.0 {
                break;
            }
        }
        took.sort_unstable_by(f64::total_cmp);
        let (p50, p95) = (took[took.len() / 2], took[(took.len() * 95 / 100).min(took.len() - 1)]);
        println!("{:>10.2} {p50:>10.2} {p95:>10.2}  {answer:>6}  {name}", took[0]);
    }
    end.store(true, Ordering::Relaxed);
    if let Some(loading) = loading {
        println!("took {} spans a second meanwhile", runtime.block_on(loading)?);
    }
    println!("RSS {} MB, most {} MB", rss("VmRSS"), rss("VmHWM"));
    store.close();
    Ok(())
}

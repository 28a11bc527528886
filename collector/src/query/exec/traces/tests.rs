//! Searches over a real store, against what was sent: 3,000 traces of an agent, its model call and its tool.

use std::collections::BTreeMap;

use crate::query::exec::tests::queries;
use crate::query::search::{SearchAnswer, SearchRequest};

const TRACES: i64 = 3_000;

/// The traces by number, and the spans of each: 0 the agent, 1 the model call, 2 the tool.
type Answer = BTreeMap<i64, Vec<i64>>;

fn spans_of(answer: &SearchAnswer) -> Answer {
    let number = |text: &str| i64::from_str_radix(text, 16).unwrap();
    let spans = |trace: &crate::query::search::FoundTrace| {
        trace
            .sets
            .iter()
            .flat_map(|set| set.spans.iter().map(|span| (number(&span.span_id) - 1) % 3))
            .collect()
    };
    answer.traces.iter().map(|trace| (number(&trace.trace_id) - 1, spans(trace))).collect()
}

fn expected(of: impl Fn(i64) -> Vec<i64>) -> Answer {
    (0..TRACES).map(|trace| (trace, of(trace))).filter(|(_, spans)| !spans.is_empty()).collect()
}

const fn failed(trace: i64, span: i64) -> bool {
    (3 * trace + span) % 10 == 0
}

/// The spans that are wanted if a condition holds.
fn when(holds: bool, spans: &[i64]) -> Vec<i64> {
    if holds { spans.to_vec() } else { Vec::new() }
}

#[test]
fn relations_and_stages_find_what_was_sent() {
    type Of = fn(i64) -> Vec<i64>;
    let cases: &[(&str, Of)] = &[
        ("{ name = `chat` && status = error }", |t| when(failed(t, 1), &[1])),
        ("{ status = error } > { name = `chat` }", |t| when(failed(t, 0), &[1])),
        ("{ name = `invoke_agent` } >> { status = error }", |t| {
            [1, 2].into_iter().filter(|span| failed(t, *span)).collect()
        }),
        ("{ status = error } < { name = `invoke_agent` }", |t| when(failed(t, 1) || failed(t, 2), &[0])),
        ("{ status = error } << { name = `invoke_agent` }", |t| when(failed(t, 1) || failed(t, 2), &[0])),
        ("{ status = error } ~ { name = `execute_tool` }", |t| when(failed(t, 1), &[2])),
        ("{ status = error } !> { name = `chat` }", |t| when(!failed(t, 0), &[1])),
        ("{ status = error } !~ { name = `chat` }", |t| when(!failed(t, 2), &[1])),
        ("{ name = `invoke_agent` } &> { status = error }", |t| {
            let below: Vec<i64> = [1, 2].into_iter().filter(|span| failed(t, *span)).collect();
            if below.is_empty() { below } else { [vec![0], below].concat() }
        }),
        ("{ name = `chat` && status = error } && { name = `execute_tool` }", |t| when(failed(t, 1), &[1, 2])),
        ("{ name = `chat` && status = error } || { name = `execute_tool` && status = error }", |t| {
            [1, 2].into_iter().filter(|span| failed(t, *span)).collect()
        }),
        ("{ name != `chat` } | count() = 2 | { status = error }", |t| {
            [0, 2].into_iter().filter(|span| failed(t, *span)).collect()
        }),
        ("{ .number >= 0 } | sum(.number) > 26000", |t| when(9 * t + 3 > 26_000, &[0, 1, 2])),
        ("{ } | max(.number) < 10", |t| when(3 * t + 2 < 10, &[0, 1, 2])),
        ("{ parent.number < 300 && status = error }", |t| {
            [1, 2].into_iter().filter(|span| t < 100 && failed(t, *span)).collect()
        }),
        ("{ span:childCount = 2 && status = error }", |t| when(failed(t, 0), &[0])),
        ("{ rootName = `invoke_agent` && name = `chat` && status = error }", |t| when(failed(t, 1), &[1])),
        ("{ rootName = `chat` || rootServiceName = `another` }", |_| Vec::new()),
        ("{ status = error } !> { rootServiceName =~ `b.t` && name = `chat` }", |t| {
            when(!failed(t, 0), &[1])
        }),
        ("{ rootName > `chat` && .number < 9 } && { rootServiceName != `another` && status = error }", |t| {
            let failed: Vec<i64> = (0..3).filter(|span| failed(t, *span)).collect();
            if t < 3 && !failed.is_empty() { vec![0, 1, 2] } else { Vec::new() }
        }),
        ("{ nestedSetLeft = 2 && trace:rootName = `invoke_agent` && .number < 30 }", |t| when(t < 10, &[1])),
    ];
    let (_dir, queries) = queries();
    for (q, of) in cases {
        let request = SearchRequest {
            q: (*q).to_owned(),
            limit: Some(10_000),
            spans_per_set: Some(100),
            ..SearchRequest::default()
        };
        let answer = queries.search(&request, &queries.control()).unwrap();
        let (found, wanted) = (spans_of(&answer), expected(of));
        assert_eq!(found.len(), wanted.len(), "{q}");
        assert_eq!(found, wanted, "{q}");
        // A few are the latest of all.
        let answer =
            queries.search(&SearchRequest { limit: Some(5), ..request }, &queries.control()).unwrap();
        let latest: Answer = wanted.into_iter().rev().take(5).collect();
        assert_eq!(spans_of(&answer), latest, "{q}");
    }
}

/// As many filters as are answered, each of which implies another.
#[test]
fn what_is_implied_takes_no_place_from_what_is_written() {
    let (_dir, queries) = queries();
    let of = |count| SearchRequest {
        q: vec!["{ rootName = `invoke_agent` }"; count].join(" && "),
        ..SearchRequest::default()
    };
    assert_eq!(queries.search(&of(64), &queries.control()).unwrap().traces.len(), 20);
    let refused = queries.search(&of(65), &queries.control()).unwrap_err().to_string();
    assert!(refused.contains("more than 64 span filters"), "{refused}");
}

#[test]
fn sets_tell_what_was_found_out() {
    let (_dir, queries) = queries();
    let request = SearchRequest {
        q: "{ .number < 3 } | by(name) | count() = 1 | max(.number) > 0 | select(.number)".to_owned(),
        ..SearchRequest::default()
    };
    let answer = queries.search(&request, &queries.control()).unwrap();
    let told: Vec<String> =
        answer.traces[0].sets.iter().map(|set| serde_json::to_string(&set.told).unwrap()).collect();
    assert_eq!(answer.traces.len(), 1);
    assert_eq!(
        told,
        [
            r#"{"by(name)":"chat","count()":1,"max(.number)":1}"#,
            r#"{"by(name)":"execute_tool","count()":1,"max(.number)":2}"#
        ]
    );
    assert_eq!(answer.traces[0].sets[0].spans[0].fields[".number"], 1);
}

#[test]
fn spans_are_found_by_relations_too_a_page_at_a_time() {
    use crate::query::request::{SortBy, SpansRequest};
    let (_dir, queries) = queries();
    let q = "{ status = error } > { name = `chat` }";
    let wanted: Vec<i64> = (0..TRACES).filter(|trace| failed(*trace, 0)).map(|trace| 3 * trace + 1).collect();
    for (order, limit) in [(SortBy::Oldest, 70), (SortBy::Newest, 300), (SortBy::Oldest, 299)] {
        let mut request =
            SpansRequest { q: q.to_owned(), order, limit: Some(limit), ..SpansRequest::default() };
        let mut found = Vec::new();
        loop {
            let page = queries.spans(&request, &queries.control()).unwrap();
            assert!(page.spans.len() <= limit && page.complete);
            found.extend(page.spans.iter().map(|span| span.attributes["number"].as_i64().unwrap()));
            request.after = page.next;
            if request.after.is_none() {
                break;
            }
        }
        if order == SortBy::Newest {
            found.reverse();
        }
        assert_eq!(found, wanted);
    }
    let start = Some(crate::query::exec::tests::BASE + 1_000_000_000);
    let request = SpansRequest { q: q.to_owned(), start, limit: Some(1_000), ..SpansRequest::default() };
    let found = queries.spans(&request, &queries.control()).unwrap().spans;
    assert_eq!(found.len(), wanted.iter().filter(|number| **number >= 1_000).count());
    // The agent of a trace may have started before the time.
    let start = Some(crate::query::exec::tests::BASE + 31_000_000);
    let request = SpansRequest { q: q.to_owned(), start, order: SortBy::Oldest, ..SpansRequest::default() };
    let found = queries.spans(&request, &queries.control()).unwrap().spans;
    assert_eq!(found[0].attributes["number"], 31);
    let numbers = SpansRequest { q: "{} | rate()".to_owned(), ..SpansRequest::default() };
    let error = queries.spans(&numbers, &queries.control()).unwrap_err().to_string();
    assert!(error.contains("/api/metrics/query"), "{error}");
    let pending = SpansRequest { q: q.to_owned(), pending: true, ..SpansRequest::default() };
    assert!(queries.spans(&pending, &queries.control()).is_err());
}

//! Numbers over time of a real store, against what was sent: 3,000 traces of an agent, its model call and its tool, a span
//! every millisecond.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use proptest::prelude::*;
use tempfile::TempDir;

use super::series::Grid;
use crate::query::exec::tests::{BASE, attribute, queries, span, stored, stored_of};
use crate::query::over_time::{Exemplar, OverTimeRequest, Series};
use crate::query::search::SearchRequest;
use crate::query::{QueryError, exec::Limits, exec::Queries};

fn ask(queries: &Queries, q: &str, step: Option<i64>) -> Result<Vec<Series>, QueryError> {
    let (start, end) = (BASE - 1, BASE + 10_000_000_000);
    let request = OverTimeRequest { q: q.to_owned(), start, end, step, exemplars: 0 };
    queries.over_time(&request, &queries.control()).map(|answer| answer.series)
}

/// The labels' values and the only sample of each series.
fn told(queries: &Queries, q: &str) -> Vec<(String, f64)> {
    let series = ask(queries, q, None).unwrap_or_else(|error| panic!("{q}: {error}"));
    let text = |series: &Series| {
        let values = series.labels.iter().map(|(_, value)| value.to_string().replace('"', ""));
        values.collect::<Vec<_>>().join(" ")
    };
    series.iter().map(|series| (text(series), series.samples[0].1)).collect()
}

#[test]
fn numbers_are_those_of_what_was_sent() {
    let (_dir, queries) = queries();
    let cases: &[(&str, &[(&str, f64)])] = &[
        ("{} | count_over_time()", &[("count_over_time", 9_000.0)]),
        ("{ status = error } | count_over_time()", &[("count_over_time", 900.0)]),
        ("{} | rate()", &[("rate", 9_000.0 / 10.000_000_001)]),
        // As Grafana asks for the roots of traces.
        (
            "{ nestedSetParent < 0 && true } | count_over_time() by (status)",
            &[("error", 300.0), ("unset", 2_700.0)],
        ),
        (
            "{} | count_over_time() by (name)",
            &[("chat", 3_000.0), ("execute_tool", 3_000.0), ("invoke_agent", 3_000.0)],
        ),
        ("{ .rare != nil } | count_over_time() by (.rare, .nothing)", &[("yes", 1.0)]),
        ("{ .rare != nil } | count_over_time() by (.nothing)", &[("null", 1.0)]),
        ("{ .nothing = 1 } | count_over_time()", &[("count_over_time", 0.0)]),
        ("{ .nothing = 1 } | max_over_time(.number)", &[]),
        ("{} | max_over_time(.number)", &[("max_over_time", 8_999.0)]),
        ("{ .number < 10 } | sum_over_time(.number)", &[("sum_over_time", 45.0)]),
        ("{ .number < 10 } | avg_over_time(.number)", &[("avg_over_time", 4.5)]),
        ("{ duration >= 99us } | min_over_time(duration)", &[("min_over_time", 99e-6)]),
        (
            "{ .number < 17 } | histogram_over_time(.number)",
            &[("16.0", 8.0), ("2.0", 1.0), ("4.0", 2.0), ("8.0", 4.0)],
        ),
        ("{ .number < 17 } | quantile_over_time(.number, 1.0)", &[("1.0", 16.0)]),
        // Related spans: each model call of a failed agent.
        ("{ status = error } > { name = `chat` } | count_over_time() by (name)", &[("chat", 300.0)]),
        ("{ name = `chat` } | count_over_time() by (rootName)", &[("invoke_agent", 3_000.0)]),
        (
            "{ status = error } | max_over_time(.number) by (rootServiceName, name, rootName)",
            &[
                ("bot chat invoke_agent", 8_980.0),
                ("bot execute_tool invoke_agent", 8_990.0),
                ("bot invoke_agent invoke_agent", 8_970.0),
            ],
        ),
        ("{} | count_over_time() by (name) | topk(1)", &[("chat", 3_000.0)]),
        ("{} | count_over_time() by (name) | bottomk(1)", &[("invoke_agent", 3_000.0)]),
        ("{} | count_over_time() by (status) > 900", &[("unset", 8_100.0)]),
        (
            "({ status = error } | count_over_time()) / ({} | count_over_time())",
            &[("(count_over_time / count_over_time)", 0.1)],
        ),
        (
            "({ status = error } | count_over_time() by (name)) / ({} | count_over_time()) * 100",
            &[("chat", 300.0 / 90.0), ("execute_tool", 300.0 / 90.0), ("invoke_agent", 300.0 / 90.0)],
        ),
    ];
    for (q, wanted) in cases {
        let found = told(&queries, q);
        assert_eq!(found.len(), wanted.len(), "{q}: {found:?}");
        for ((name, number), (wanted_name, wanted)) in found.iter().zip(*wanted) {
            assert_eq!(name, wanted_name, "{q}");
            assert!((number - wanted).abs() < 1e-9 * wanted.abs().max(1.0), "{q}: {number}, not {wanted}");
        }
    }
}

/// Spans with a list of one text or of two, with one event, two or none, and with a number with a point.
fn with_events() -> (TempDir, Queries) {
    let texts = |texts: &[&str]| {
        let values = texts.iter().map(|text| AnyValue { value: Some(Any::StringValue((*text).to_owned())) });
        Any::ArrayValue(ArrayValue { values: values.collect() })
    };
    let event = |name: &str, after: u64, start: u64| Event {
        name: name.to_owned(),
        time_unix_nano: start + after,
        attributes: vec![attribute("level", Any::StringValue("warn".to_owned()))],
        ..Event::default()
    };
    let spans = (0..8).map(|number| {
        let mut span = span(number);
        let start = span.start_time_unix_nano;
        span.attributes.push(attribute("cost", Any::DoubleValue(0.5_f64.powi(number as i32))));
        let reasons: &[&str] = if number == 0 { &["stop", "length"] } else { &["stop"] };
        span.attributes.push(attribute("reasons", texts(reasons)));
        span.events = match number {
            0 | 1 => vec![event("exception", 3, start)],
            2 => vec![event("exception", 5, start), event("retry", 7, start)],
            _ => Vec::new(),
        };
        span
    });
    let (dir, store) = stored_of(&spans.collect::<Vec<_>>());
    (dir, Queries::new(Arc::new(store), Limits::default()))
}

#[test]
fn what_spans_have_several_of_is_shown_and_counted_one_by_one() {
    let (_dir, queries) = with_events();
    let cases: &[(&str, &[(&str, f64)])] = &[
        // A single element is a value, and numbers of events count for each event.
        ("{} | count_over_time() by (.reasons)", &[("stop", 7.0), ("[stop,length]", 1.0)]),
        (
            "{} | count_over_time() by (event:name)",
            &[("exception", 2.0), ("[exception,retry]", 1.0), ("null", 5.0)],
        ),
        ("{} | count_over_time() by (statusMessage)", &[("", 7.0), ("failed", 1.0)]),
        ("{} | max_over_time(event:timeSinceStart)", &[("max_over_time", 7.0)]),
        ("{} | sum_over_time(event:timeSinceStart)", &[("sum_over_time", 18.0)]),
        // Beside a bucket or a quantile nothing that is missing is told; their times are seconds.
        (
            "{} | histogram_over_time(event:timeSinceStart) by (event.level)",
            &[("warn 4e-9", 2.0), ("[warn,warn] 8e-9", 2.0)],
        ),
        ("{} | quantile_over_time(duration, 1.0) by (.nothing)", &[("1.0", 8.192e-6)]),
        ("{} | quantile_over_time(traceDuration, 1.0)", &[("1.0", 2.097_152e-3)]),
        // A number with a point is in the bucket of the power of two above it, and one is in its own.
        (
            "{ .cost > 0.1 } | histogram_over_time(.cost)",
            &[("0.125", 1.0), ("0.25", 1.0), ("0.5", 1.0), ("1.0", 1.0)],
        ),
        ("{} | quantile_over_time(.cost, 1.0)", &[("1.0", 1.0)]),
    ];
    for (q, wanted) in cases {
        let found = told(&queries, q);
        assert_eq!(found.len(), wanted.len(), "{q}: {found:?}");
        for ((name, number), (wanted_name, wanted)) in found.iter().zip(*wanted) {
            assert_eq!(name, wanted_name, "{q}");
            assert!((number - wanted).abs() < 1e-9 * wanted.abs(), "{q}: {number}, not {wanted}");
        }
    }
    let search = |q: &str| {
        let request = SearchRequest { q: q.to_owned(), ..SearchRequest::default() };
        let found = queries.search(&request, &queries.control()).unwrap().traces;
        let sets = found.into_iter().flat_map(|trace| trace.sets);
        sets.fold(BTreeMap::new(), |mut told, set| {
            *told.entry(set.told["by(event:name)"].to_string()).or_insert(0) += set.matched;
            told
        })
    };
    let wanted = [("\"exception\"", 2), ("[\"exception\",\"retry\"]", 1), ("null", 5)];
    assert_eq!(search("{} | by(event:name)"), wanted.map(|(name, count)| (name.to_owned(), count)).into());
}

#[test]
fn the_numbers_of_all_intervals_are_that_of_the_whole() {
    let (_dir, queries) = queries();
    for q in [
        "{} | count_over_time() by (name)",
        "{ status = error } >> { name != `` } | count_over_time() by (name)",
    ] {
        let whole = told(&queries, q);
        for step in [1_000_000_000, 77_777_777] {
            let series = ask(&queries, q, Some(step)).unwrap();
            let sums: Vec<f64> =
                series.iter().map(|one| one.samples.iter().map(|(_, value)| value).sum()).collect();
            assert_eq!(sums, whole.iter().map(|(_, value)| *value).collect::<Vec<_>>(), "{q}");
        }
    }
}

/// By the columns and by a look at whole traces.
#[test]
fn a_root_that_has_not_arrived_has_no_name() {
    let (_dir, store) = stored_of(&[span(1), span(2), span(3)]);
    let queries = Queries::new(Arc::new(store), Limits::default());
    for filter in ["{}", "{ span:childCount >= 0 }"] {
        let found = told(&queries, &format!("{filter} | count_over_time() by (rootName)"));
        assert_eq!(found, [("invoke_agent".to_owned(), 1.0), ("null".to_owned(), 2.0)], "{filter}");
    }
    assert_eq!(told(&queries, "{ rootName = `chat` } | rate()"), [("rate".to_owned(), 0.0)]);
    let found = compared(&queries, "{} | compare({ name = `chat` })");
    assert!(found.contains(&("baseline rootName".to_owned(), "invoke_agent".to_owned(), 1.0)), "{found:?}");
    assert!(!found.iter().any(|(kind, ..)| kind == "selection rootName"), "{found:?}");
}

/// The spans of 3,000 traces do not fit, so that they are read in several passes.
#[test]
fn little_memory_changes_no_number() {
    let (_dir, store) = stored();
    let store = Arc::new(store);
    let queries = |memory| Queries::new(store.clone(), Limits { memory, ..Limits::default() });
    let (plenty, little) = (queries(Limits::default().memory), queries(600 << 10));
    for q in [
        "{ name != `` } << { name = `invoke_agent` } | count_over_time() by (name)",
        "{ status = error } ~ {} | sum_over_time(.number) by (rootName, name)",
        "{ traceDuration > 2050us } | max_over_time(duration)",
    ] {
        let wanted = told(&plenty, q);
        assert!(!wanted.is_empty(), "{q}");
        assert_eq!(told(&little, q), wanted, "{q}");
        let scanned = |queries: &Queries| {
            let (start, end) = (BASE - 1, BASE + 10_000_000_000);
            let request = OverTimeRequest { q: q.to_owned(), start, end, step: None, exemplars: 0 };
            queries.over_time(&request, &queries.control()).unwrap().scanned
        };
        assert!(scanned(&little) > scanned(&plenty), "{q}");
    }
    // What parts tell by themselves needs no room for traces, and where there is not even room for a part, traces are looked at.
    let q = "{ name = `invoke_agent` } >> { name != `` } | count_over_time() by (name)";
    for memory in [600 << 10, 420 << 10] {
        assert_eq!(told(&queries(memory), q), told(&plenty, q), "{memory}");
    }
    let refused = ask(&queries(20 << 10), "{} >> {} | rate()", None);
    assert!(matches!(refused, Err(QueryError::TooMuchMemory { .. })), "{refused:?}");
}

#[test]
fn what_cannot_be_answered_is_told() {
    let (_dir, queries) = queries();
    for (q, step, wanted) in [
        ("{} | rate() | ", None, "the end of the query"),
        ("{}", None, "no numbers over time"),
        ("{} | rate()", Some(0), "step is 0"),
        ("{} | rate()", Some(1), "at most 11000"),
        (&format!("{} | rate()", ["{}"; 65].join(" && ")), None, "more than 64 span filters"),
    ] {
        let error = ask(&queries, q, step).unwrap_err().to_string();
        assert!(error.contains(wanted), "{q}: {error}");
    }
}

proptest! {
    #[test]
    fn a_time_is_in_the_interval_that_ends_next(start in 0_i64..1_000, length in 1_i64..1_000, step in 1_i64..300, at in any::<u16>()) {
        let (q, end) = (String::new(), start + length);
        let request = OverTimeRequest { q, start, end, step: Some(step), exemplars: 0 };
        let grid = Grid::new(&request).unwrap();
        let (range, times) = (grid.range(), grid.times().collect::<Vec<i64>>());
        prop_assert!(range.contains(start) && range.contains(start + length));
        let time = range.from + i64::from(at) % (range.to - range.from);
        let end = times[grid.interval(time)];
        prop_assert!(end - step < time && time <= end, "{time} in {end}");
    }
}

/// The series of `compare`: kind, attribute, value and number, in order.
fn compared(queries: &Queries, q: &str) -> Vec<(String, String, f64)> {
    let series = ask(queries, q, None).unwrap_or_else(|error| panic!("{q}: {error}"));
    let text = |value: &serde_json::Value| value.to_string().replace('"', "");
    series
        .iter()
        .map(|series| {
            let [(_, kind), (label, value)] = series.labels.as_slice() else { panic!("{series:?}") };
            let number = series.samples.first().map_or(-1.0, |sample| sample.1);
            (format!("{} {label}", text(kind)), text(value), number)
        })
        .collect()
}

#[test]
fn what_tells_a_selection_from_the_others_is_counted() {
    let (_dir, queries) = queries();
    let found = compared(&queries, "{ name != `chat` } | compare({ status = error }, 2)");
    let of = |kind: &str| -> Vec<(&str, f64)> {
        let of_kind = found.iter().filter(|(name, ..)| name == kind);
        let mut all: Vec<_> = of_kind.map(|(_, value, number)| (value.as_str(), *number)).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        all
    };
    // Of 6,000 spans that are no chats, each tenth failed: those whose numbers end with 0, which are agents' 0 and 2.
    assert_eq!(of("selection name"), [("execute_tool", 300.0), ("invoke_agent", 300.0)]);
    assert_eq!(of("baseline name"), [("execute_tool", 2_700.0), ("invoke_agent", 2_700.0)]);
    assert_eq!(of("selection_total name"), [("null", 600.0)]);
    assert_eq!(of("selection span.gen_ai.agent.name"), [("agent-0", 300.0), ("agent-2", 300.0)]);
    assert_eq!(of("baseline span.gen_ai.agent.name"), [("agent-1", 1_500.0), ("agent-3", 1_500.0)]);
    assert_eq!(of("baseline_total span.gen_ai.agent.name"), [("null", 5_400.0)]);
    assert_eq!(of("selection resource.service.name"), [("bot", 600.0)]);
    assert_eq!(of("selection rootName"), [("invoke_agent", 600.0)]);
    assert_eq!(of("baseline rootServiceName"), [("bot", 5_400.0)]);
    assert_eq!(of("baseline_total rootName"), [("null", 5_400.0)]);
    assert_eq!(of("selection statusMessage"), [("failed", 600.0)]);
    assert_eq!(of("baseline statusMessage"), []);
    assert_eq!(of("selection status"), [("error", 600.0)]);
    // There are more than two values of these.
    for label in ["span.number", "span.gen_ai.agent.name"] {
        assert_eq!(of(&format!("__too_many_values__ {label}")), [("null", -1.0)]);
    }
    assert_eq!(of("__too_many_values__ name"), []);
    assert_eq!(of("baseline span.number").len(), 2);

    // Only spans of a time are the selection; its start is not in it, its end is.
    let between =
        format!("{{}} | compare({{ status = error }}, 5, {}, {})", BASE + 10_000_000, BASE + 30_000_000);
    let found = compared(&queries, &between);
    let total = found.iter().find(|(kind, ..)| kind == "selection_total name").unwrap();
    assert!((total.2 - 2.0).abs() < f64::EPSILON, "{total:?}");

    let found = compared(
        &queries,
        "{ nestedSetParent < 0 && true } | compare({ nestedSetParent < 0 && status = error })",
    );
    let total = found.iter().find(|(kind, ..)| kind == "selection_total name").unwrap();
    assert!((total.2 - 300.0).abs() < f64::EPSILON, "{total:?}");

    // Of related spans, and a selection that whole traces tell: each tool's agent is its trace's root.
    for (q, selected, others) in [
        ("{ status = error } >> { name != `` } | compare({ name = `chat` })", 300.0, 300.0),
        (
            "{ name = `chat` } | compare({ span:childCount = 0 && rootName = `invoke_agent` && status = error })",
            300.0,
            2_700.0,
        ),
    ] {
        let found = compared(&queries, q);
        let total = |kind: &str| found.iter().find(|(name, ..)| name == kind).unwrap().2;
        let (a, b) = (total("selection_total name"), total("baseline_total name"));
        assert!((a - selected).abs() + (b - others).abs() < f64::EPSILON, "{q}: {a} and {b}");
    }
}

/// Every exemplar is a span that its series counts, of its interval, and there are some of every part of the time.
#[test]
fn exemplars_lead_from_numbers_to_traces() {
    let (_dir, queries) = queries();
    let ask = |q: &str, exemplars: usize| {
        let (start, end) = (BASE, BASE + 9_000_000_000);
        let request = OverTimeRequest { q: q.to_owned(), start, end, step: Some(1_000_000_000), exemplars };
        queries.over_time(&request, &queries.control()).unwrap()
    };
    // The number of the span that it is, by its time, if that span is in the trace that it names.
    let number = |exemplar: &Exemplar| {
        let number = (exemplar.time - BASE) / 1_000_000;
        assert_eq!(exemplar.trace_id, format!("{:032x}", number / 3 + 1));
        number
    };
    let counted = |series: &Series, exemplar: &Exemplar| {
        series.samples.iter().find(|(end, _)| exemplar.time <= *end).unwrap().1
    };
    let chats = ask("{ name = `chat` } | count_over_time() by (name)", 10);
    let found: Vec<i64> = chats.series[0].exemplars.iter().map(number).collect();
    // The newest two of each fifth of the time, which begins a second before the first span.
    let fifths: Vec<i64> = found.iter().map(|number| (number + 999) / 2_000).collect();
    assert_eq!(fifths, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4], "{found:?}");
    assert!(found.iter().all(|number| number % 3 == 1 && (number + 999) % 2_000 > 1_990), "{found:?}");
    for exemplar in &chats.series[0].exemplars {
        assert!((exemplar.value - counted(&chats.series[0], exemplar)).abs() < 1e-9);
    }
    let children = ask("{ status = error } > { name = `chat` } | max_over_time(.number)", 6);
    let found = &children.series[0].exemplars;
    assert!(found.len() == 6 && found.iter().all(|of| number(of) % 30 == 1));
    assert!(found.iter().all(|of| (of.value - number(of) as f64).abs() < 1e-9));
    for series in ask("{} | histogram_over_time(.number)", 100).series {
        let end = series.labels[0].1.as_f64().unwrap();
        assert!(series.exemplars.iter().all(|of| of.value <= end && of.value > end / 2.0), "{series:?}");
    }
    let quantiles = ask("{} | quantile_over_time(.number, 0.5, 0.9)", 20).series;
    // Two of each second, but of the one before the first span; each with the least quantile that is not below it.
    assert_eq!(quantiles.iter().map(|series| series.exemplars.len()).sum::<usize>(), 18);
    let median = quantiles.iter().find(|series| series.labels[0].1 == 0.5).unwrap();
    assert!(median.exemplars.iter().all(|of| of.value <= counted(median, of)), "{median:?}");
    // The hint goes before what is asked for, and is none that makes no difference.
    let hinted = ask("{} | rate() with (exemplars = 3, sample = true)", 0);
    assert_eq!((hinted.series[0].exemplars.len(), hinted.ignored_hints), (3, vec!["sample".to_owned()]));
    // Of 50 parts five end with the second before the first span, the last of them with that span.
    assert_eq!(ask("{} | rate() with (exemplars = true)", 0).series[0].exemplars.len(), 91);
    for none in
        ["{} | rate() with (exemplars = false)", "({} | rate()) / ({} | rate())", "{ .nothing = 1 } | rate()"]
    {
        assert!(ask(none, 10).series.iter().all(|series| series.exemplars.is_empty()), "{none}");
    }
    // What a second stage takes away has none either: each is of an interval that is left.
    let exemplars = |series: &[Series]| series.iter().map(|series| series.exemplars.len()).sum::<usize>();
    let (all, left) =
        (ask("{} | count_over_time() by (name)", 100), ask("{} | count_over_time() by (name) > 333", 100));
    assert!(exemplars(&left.series) > 0 && exemplars(&left.series) < exemplars(&all.series));
    for series in &left.series {
        for of in &series.exemplars {
            let is_of = |(end, _): &(i64, f64)| (end - 1_000_000_000 + 1..=*end).contains(&of.time);
            assert!(series.samples.iter().any(is_of), "{of:?}");
        }
    }
}

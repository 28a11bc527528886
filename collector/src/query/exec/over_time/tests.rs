//! Numbers over time of a real store, against what was sent: 3,000 traces of an agent, its model call and its tool, a span
//! every millisecond.

use proptest::prelude::*;

use super::series::Grid;
use crate::query::exec::tests::{BASE, queries};
use crate::query::over_time::{OverTimeRequest, Series};
use crate::query::{QueryError, exec::Queries};

fn ask(queries: &Queries, q: &str, step: Option<i64>) -> Result<Vec<Series>, QueryError> {
    let (start, end) = (BASE - 1, BASE + 10_000_000_000);
    let request = OverTimeRequest { q: q.to_owned(), start, end, step };
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

#[test]
fn what_cannot_be_answered_is_told() {
    let (_dir, queries) = queries();
    for (q, step, wanted) in [
        ("{} | rate() | ", None, "the end of the query"),
        ("{}", None, "no numbers over time"),
        ("{} | rate()", Some(0), "step is 0"),
        ("{} | rate()", Some(1), "at most 11000"),
        ("{} | compare({ status = error })", None, "does not answer it"),
    ] {
        let error = ask(&queries, q, step).unwrap_err().to_string();
        assert!(error.contains(wanted), "{q}: {error}");
    }
}

proptest! {
    #[test]
    fn a_time_is_in_the_interval_that_ends_next(start in 0_i64..1_000, length in 1_i64..1_000, step in 1_i64..300, at in any::<u16>()) {
        let request = OverTimeRequest { q: String::new(), start, end: start + length, step: Some(step) };
        let grid = Grid::new(&request).unwrap();
        let (range, times) = (grid.range(), grid.times().collect::<Vec<i64>>());
        prop_assert!(range.contains(start) && range.contains(start + length));
        let time = range.from + i64::from(at) % (range.to - range.from);
        let end = times[grid.interval(time)];
        prop_assert!(end - step < time && time <= end, "{time} in {end}");
    }
}

//! Searches for related spans by what parts tell of parents, against those that look at whole traces.

use std::sync::Arc;

use crate::query::exec::over_time::related_tests::{old, spans};
use crate::query::exec::tests::{BASE, stored_of};
use crate::query::exec::{Limits, Queries};
use crate::query::search::SearchRequest;

const MS: i64 = 1_000_000;

const RELATIONS: [&str; 15] =
    [">", "<", ">>", "<<", "~", "!>", "!<", "!>>", "!<<", "!~", "&>", "&<", "&>>", "&<<", "&~"];

/// More than one relation, and what is told by more than that.
const QUERIES: [&str; 21] = [
    "{ name = `a` && .number < 4 } > { name = `b` } > { status = error }",
    "({ name = `a` && .number = 3 } < { name = `b` }) > { status = error }",
    "{ .number = 1 } ~ ({ name = `b` } >> { .number = 2 })",
    "({ .number = 1 } ~ { .number = 2 }) << { .number = 3 }",
    "({ .number = 1 } &>> { .number = 2 }) > { .number = 3 }",
    "{ nestedSetParent < 0 && .number = 5 } ~ { nestedSetParent < 0 }",
    "({ .number = 1 } > { .number = 2 }) || ({ .number = 3 } < { .number = 4 })",
    "({ .number = 1 } > { .number = 2 }) || { .number = 3 && status = error }",
    "({ .number = 1 } > { .number < 5 }) && ({ .number = 3 } ~ { .number > 4 })",
    "{ .number = 8 } && ({ .number = 3 } << { .number = 4 })",
    "({ .number = 1 } && { .number = 2 }) >> { .number = 3 }",
    "({ .number = 1 } || { .number = 2 }) !>> ({ .number = 3 } > {})",
    "({ name = `a` } !~ { .number = 2 }) > { .number = 3 }",
    "({ .number < 4 } && { .number = 8 }) !>> { .number > 5 && status = error }",
    "({ .number < 4 } | count() > 1) !> { .number = 7 }",
    "({} | count() > 6) > { .number = 3 && status = error }",
    "({ .number = 1 } > {} | count() = 2 | avg(.number) > 4) >> { .number = 3 }",
    "({ .number = 1 } >> { .number = 2 }) | count() > 1 | select(.number)",
    "{ parent.number < 4 && .number = 1 } > { .number = 2 }",
    "{ .number = 1 } ~ { span:childCount > 1 && .number = 2 }",
    "{ parent.number < 6 } > { .number < 6 && status = error } > { nestedSetParent >= 0 }",
];

#[test]
fn searches_find_what_a_look_at_whole_traces_finds() {
    let pairs = RELATIONS.map(|op| {
        [
            format!("{{ .number < 3 }} {op} {{ .number > 6 }}"),
            format!("{{ .number = 1 }} {op} {{ .number = 2 && status = error }}"),
            format!("{{ nestedSetParent < 0 || .number = 5 }} {op} {{ nestedSetParent < 0 || .number = 7 }}"),
        ]
    });
    let queries = pairs.into_iter().flatten().chain(QUERIES.map(str::to_owned));
    let queries: Vec<String> = queries.collect();
    for seed in 0..2 {
        let (_dir, store) = stored_of(&spans(seed, 500, true));
        let store = Arc::new(store);
        let (quick, whole) = (Queries::new(store.clone(), Limits::default()), old(store));
        let mut empty = Vec::new();
        for q in &queries {
            for range in [None, Some((503, 1_117))] {
                for limit in [3, 10_000] {
                    let time = |place: fn((i64, i64)) -> i64| range.map(|range| BASE + place(range) * MS);
                    let request = SearchRequest {
                        q: q.clone(),
                        limit: Some(limit),
                        start: time(|range| range.0),
                        end: time(|range| range.1),
                        ..SearchRequest::default()
                    };
                    let search = |queries: &Queries| {
                        queries
                            .search(&request, &queries.control())
                            .unwrap_or_else(|error| panic!("{q}: {error}"))
                            .traces
                    };
                    let (quick, whole) = (search(&quick), search(&whole));
                    assert_eq!(quick, whole, "{request:?}, seed {seed}");
                    empty.extend((quick.is_empty() && range.is_none()).then_some(q));
                }
            }
        }
        assert!(empty.is_empty(), "nothing is found, which tells nothing: {empty:?}");
    }
}

#[test]
fn where_parts_tell_that_nothing_is_related_no_trace_is_looked_at() {
    let spans = spans(7, 4_000, false);
    let (_dir, store) = stored_of(&spans);
    let queries = Queries::new(Arc::new(store), Limits::default());
    let search = |q: &str| {
        let request = SearchRequest { q: q.to_owned(), ..SearchRequest::default() };
        let answer = queries.search(&request, &queries.control()).unwrap();
        (answer.traces.len(), answer.scanned)
    };
    let rows = spans.len() as u64;
    for q in [
        "{ name = `a` } >> { nestedSetParent < 0 }",
        "{ nestedSetParent < 0 } < { name != `d` && nestedSetParent > 99 }",
    ] {
        let (found, scanned) = search(q);
        assert!(
            found == 0 && (rows..rows + rows / 4).contains(&scanned),
            "{q}: {found}, {scanned} of {rows}"
        );
    }
}

//! What is kept of earlier answers gives the same answers, and is read no more.

use std::sync::atomic::{AtomicU64, Ordering};

use super::tests::{BASE, Through, send, span, stored};
use super::*;
use crate::query::engine::{Part, Visit};
use crate::store::Store;
use crate::store::tests::settle;

/// A store, and how many rows were read of it.
struct Counted {
    store: Arc<Store>,
    rows: Arc<AtomicU64>,
}

impl Counted {
    fn queries(&self) -> Queries {
        let rows = self.rows.clone();
        let read = move |part: &dyn Part, control: &Control, visit: &mut Visit<'_>| {
            let read = part.read(control, visit)?;
            rows.fetch_add(read, Ordering::Relaxed);
            Ok(read)
        };
        Queries::new(Arc::new(Through { store: self.store.clone(), read }), Limits::default())
    }
}

fn counted() -> (tempfile::TempDir, Counted) {
    let (dir, store) = stored();
    settle(&store);
    (dir, Counted { store: Arc::new(store), rows: Arc::default() })
}

/// Questions of several kinds, as text. How much was looked at depends on what is on disk by now.
fn asked(queries: &Queries) -> Vec<String> {
    let control = || queries.control();
    let times =
        [(None, None), (Some(BASE + 1), None), (Some(BASE + 500_000_000), Some(BASE + 7_777_000_000))];
    let mut answers = Vec::new();
    for (start, end) in times {
        for q in ["", "{ status = error }", "{ span.gen_ai.operation.name = \"chat\" && .number > 3000 }"] {
            for (by, step) in
                [(vec![], None), (vec!["name", "status"], None), (vec!["name"], Some(700_000_000))]
            {
                let by = by.into_iter().map(str::to_owned).collect();
                let request = StatsRequest { q: q.to_owned(), start, end, by, step, limit: None };
                let answer = queries.stats(&request, &control()).unwrap();
                answers.push(format!("{:?}", StatsAnswer { scanned: 0, ..answer }));
            }
        }
        for brief in [false, true] {
            let end = Some(end.unwrap_or(BASE + 20_000_000_000));
            let request = ReportRequest { q: String::new(), start, end, brief };
            let answer = queries.report(&request, &control()).unwrap();
            answers.push(format!("{:?}", Report { scanned: 0, ..answer }));
        }
    }
    answers
}

/// The identities of all parts, and their rows.
fn layout(engine: &Counted) -> Vec<(Option<u64>, u64)> {
    let scan = Plan::new("", None, None).unwrap().scan(Columns::All, Order::Any);
    engine.store.parts(&scan).unwrap().iter().map(|part| (part.identity(), part.rows())).collect()
}

/// That answers are the same; where they are not, what is about the place is told.
fn same(known: &[String], anew: &[String], when: &str) {
    for (number, (known, anew)) in known.iter().zip(anew).enumerate() {
        let differs = known.bytes().zip(anew.bytes()).position(|(a, b)| a != b);
        if let Some(at) = differs.or_else(|| (known.len() != anew.len()).then_some(0)) {
            let part = |text: &str| text.chars().skip(at.saturating_sub(100)).take(200).collect::<String>();
            panic!("question {number} {when}:\n{}\n{}", part(known), part(anew));
        }
    }
}

#[test]
fn what_is_kept_gives_the_same_answers_whatever_comes_and_goes() {
    let (_dir, engine) = counted();
    let kept = engine.queries();
    let same = |when: &str| same(&asked(&kept), &asked(&engine.queries()), when);
    same("at first");
    same("again");
    // More in memory, then on disk.
    send(&engine.store, "other", &(9_000..10_000).map(span).collect::<Vec<_>>());
    same("with more in memory");
    send(&engine.store, "other", &(10_000..16_000).map(span).collect::<Vec<_>>());
    settle(&engine.store);
    same("with more on disk");
    engine.store.delete_service("bot").unwrap();
    same("without a service");
    assert!(asked(&kept)[0].contains("count: 7000"), "{}", asked(&kept)[0]);
}

#[test]
fn what_is_kept_is_not_read_again() {
    let (_dir, engine) = counted();
    let tried = || {
        let (queries, before) = (engine.queries(), layout(&engine));
        let read = |start: i64, q: &str| {
            let before = engine.rows.load(Ordering::Relaxed);
            let request = StatsRequest { q: q.to_owned(), start: Some(start), ..StatsRequest::default() };
            let answer = queries.stats(&request, &queries.control()).unwrap();
            (engine.rows.load(Ordering::Relaxed) - before, answer.scanned)
        };
        let asked =
            [(BASE, ""), (BASE, ""), (BASE - 5, ""), (BASE + 5_000_000, ""), (BASE, "{ .number >= 0 }")];
        let reads = asked.map(|(start, q)| read(start, q));
        (layout(&engine) == before).then_some((reads, before))
    };
    // The store goes on with what it does in the background.
    let ([first, again, wider, narrower, another], layout) =
        std::iter::repeat_with(tried).flatten().next().unwrap();
    let in_memory: u64 = layout.iter().filter(|(identity, _)| identity.is_none()).map(|(_, rows)| rows).sum();
    assert!(in_memory < 5_500, "{layout:?}");
    assert_eq!(first, (9_000, 9_000));
    assert_eq!(again, (in_memory, 9_000), "only what is in memory is read again");
    assert_eq!(wider, (in_memory, 9_000), "segments that are in the time as a whole are the same");
    assert!(narrower.0 > in_memory, "of those that are not a part counts");
    assert!(another.0 > in_memory, "another filter is another question");
}

#[test]
fn without_room_nothing_is_kept_and_the_answers_are_the_same() {
    let (_dir, engine) = counted();
    let queries = Queries { memo: Arc::new(memo::Memo::of(1_000)), ..engine.queries() };
    let (first, rows) = (asked(&queries), engine.rows.load(Ordering::Relaxed));
    same(&asked(&queries), &first, "again");
    same(&first, &asked(&engine.queries()), "with room");
    assert!(engine.rows.load(Ordering::Relaxed) > 2 * rows);
}

#[test]
fn what_is_prepared_is_not_read_by_the_first_reports() {
    let (_dir, engine) = counted();
    let (start, end) = (Some(BASE - 1), Some(BASE + 100_000_000_000));
    let whole = ReportRequest { start, end, ..ReportRequest::default() };
    let brief = ReportRequest { brief: true, ..whole.clone() };
    // As long a window as it is after a question was some milliseconds on its way.
    let late = ReportRequest { end: end.map(|end| end + 7_000_000), ..brief.clone() };
    let report = |queries: &Queries, request: &ReportRequest| {
        let before = engine.rows.load(Ordering::Relaxed);
        let report = queries.report(request, &queries.control()).unwrap();
        (engine.rows.load(Ordering::Relaxed) - before, format!("{report:?}"))
    };
    let prepare = |queries: &Queries, prepared: &mut Prepared| {
        let (before, control) = (engine.rows.load(Ordering::Relaxed), queries.patient_control());
        queries.prepare_report(&whole, prepared, &control).unwrap();
        assert!(control.take_memory(queries.limits.memory).is_ok(), "all of its memory is given back");
        engine.rows.load(Ordering::Relaxed) - before
    };
    let tried = || {
        let (before, queries, anew) = (layout(&engine), engine.queries(), engine.queries());
        let mut prepared = Prepared::default();
        let read = [prepare(&queries, &mut prepared), prepare(&queries, &mut prepared), prepared.rows()];
        let known = [&brief, &late, &whole].map(|request| report(&queries, request));
        let anew = [&brief, &late, &whole].map(|request| [report(&anew, request), report(&anew, request)]);
        (layout(&engine) == before).then_some((before, read, known, anew))
    };
    // The store goes on with what it does in the background.
    let (layout, read, known, anew) = std::iter::repeat_with(tried).flatten().next().unwrap();
    let rows = |kept: bool| layout.iter().filter(|part| part.0.is_some() == kept).map(|part| part.1).sum();
    let (on_disk, in_memory): (u64, u64) = (rows(true), rows(false));
    assert_eq!(read, [on_disk, 0, on_disk], "{layout:?}");
    for ((known, anew), what) in known.iter().zip(&anew).zip(["brief", "late", "whole"]) {
        same(std::slice::from_ref(&known.1), std::slice::from_ref(&anew[0].1), what);
        assert_eq!(known.0, anew[1].0, "{what}: the first reads what the second of another one does");
    }
    assert_eq!(known[0].0, in_memory);
    assert_eq!(known[1].0, in_memory);
}

#[test]
fn what_has_no_room_is_prepared_once_at_most() {
    let (_dir, engine) = counted();
    for room in [0, 1_000, 20_000] {
        let queries = Queries { memo: Arc::new(memo::Memo::of(room)), ..engine.queries() };
        let mut prepared = Prepared::default();
        let window = ReportRequest {
            start: Some(BASE),
            end: Some(BASE + 100_000_000_000),
            ..ReportRequest::default()
        };
        let (mut rows, mut last) = (Vec::new(), Vec::new());
        while rows.len() < 3 {
            let control = queries.patient_control();
            queries.prepare_report(&window, &mut prepared, &control).unwrap();
            if std::mem::replace(&mut last, layout(&engine)) != last {
                rows.clear();
            }
            rows.push(prepared.rows());
        }
        assert!(rows[0] == rows[2], "{room}: {rows:?}");
        assert_eq!(rows[2] > 0, room > 0, "{room}");
    }
}

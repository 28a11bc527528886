//! What health costs: a step of the evaluator, a look at everything, rules, and an alert.
//!
//! `cargo bench --bench health`
#![allow(missing_docs, clippy::unwrap_used)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use agentvitals::alert::{Condition, Engine, Manager, ManagerSettings, Preset, Rules};
use agentvitals::health::{Evaluator, Monitor, Settings};
use agentvitals::views::{Numbers, Reading, Views};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn at(step: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + 60 * step)
}

/// Adds a minute of calls of so many tools; every fifth minute some fail.
fn minute(views: &Views, tools: usize, step: u64) {
    let counts = [3_u64, 4, 2, 1];
    for tool in 0..tools {
        let name = format!("tool-{tool}");
        let attributes = [
            ("gen_ai.operation.name", Cow::Borrowed("execute_tool")),
            ("gen_ai.tool.name", Cow::Borrowed(name.as_str())),
        ];
        let numbers = Numbers::Exponential {
            sum: 2.5,
            min: Some(0.1),
            max: Some(0.6),
            scale: 2,
            zeros: 0,
            offset: -10 + (tool % 3) as i32,
            counts: &counts,
        };
        let reading = Reading::new(1, "gen_ai.execute_tool.duration", &attributes, numbers).delta();
        views.add([reading], at(step));
        if step.is_multiple_of(5) {
            let failed =
                [attributes[0].clone(), attributes[1].clone(), ("error.type", Cow::Borrowed("timeout"))];
            let numbers = Numbers::Exponential {
                sum: 0.2,
                min: None,
                max: None,
                scale: 2,
                zeros: 0,
                offset: -10,
                counts: &[1],
            };
            views.add([Reading::new(1, "gen_ai.execute_tool.duration", &failed, numbers).delta()], at(step));
        }
    }
}

fn evaluator(c: &mut Criterion) {
    let views = Views::default();
    let mut evaluator = Evaluator::new();
    for step in 1..200 {
        minute(&views, 1_000, step);
        evaluator.step(&views.take(at(step)), at(step));
    }
    minute(&views, 1_000, 200);
    let moments = views.take(at(200));
    assert!(moments.len() >= 1_000, "{}", moments.len());
    c.bench_function("a step of the evaluator over 1,000 series", |b| {
        b.iter(|| black_box(evaluator.step(&moments, at(201))));
    });
}

fn look(c: &mut Criterion) {
    let views = Views::default();
    let mut monitor = Monitor::new(Settings::default());
    for step in 1..100 {
        minute(&views, 1_000, step);
        monitor.check(&views, at(step));
    }
    c.bench_function("a look at the health of 1,000 series", |b| {
        b.iter(|| black_box(monitor.check(&views, at(100))))
    });
    let report = monitor.check(&views, at(100));
    let mut engine = Engine::new(Rules::preset(Preset::Production), ManagerSettings::default());
    c.bench_function("the rules of `production` over 1,000 series", |b| {
        b.iter(|| black_box(engine.evaluate(&views, &report, at(100))));
    });
}

/// One alert: from a condition through dedupe and lifecycle to its notice.
fn alert(c: &mut Criterion) {
    let views = Views::default();
    let mut monitor = Monitor::new(Settings::default());
    for step in 1..100 {
        minute(&views, 1, step);
        monitor.check(&views, at(step));
    }
    let attributes = [
        ("gen_ai.operation.name", Cow::Borrowed("execute_tool")),
        ("gen_ai.tool.name", Cow::Borrowed("tool-0")),
        ("error.type", Cow::Borrowed("timeout")),
    ];
    let numbers = Numbers::Exponential {
        sum: 9.0,
        min: None,
        max: None,
        scale: 2,
        zeros: 0,
        offset: -8,
        counts: &[30],
    };
    views.add([Reading::new(1, "gen_ai.execute_tool.duration", &attributes, numbers).delta()], at(100));
    let report = monitor.check(&views, at(101));
    let conditions: Vec<Condition> = report.issues.iter().map(Condition::of_issue).take(1).collect();
    assert_eq!(conditions.len(), 1, "{report}");
    let mut manager = Manager::new(ManagerSettings::default());
    let matchers = BTreeMap::from([("alertname".to_owned(), "other".to_owned())]);
    manager.silence(matchers, at(1_000), "ann", "").unwrap();
    c.bench_function("an alert, from its condition to its notice", |b| {
        b.iter_batched(
            || manager.clone(),
            |mut manager| {
                let notices = manager.evaluate(&conditions, at(102));
                assert_eq!(notices.len(), 1);
                notices
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, evaluator, look, alert);
criterion_main!(benches);

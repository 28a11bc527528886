//! Views: how much they take, how exact they are, and that they add up.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use agentvitals::views::{Numbers, Reading, Sketch, Views};
use agentvitals::{Subject, SubjectKind};
use proptest::prelude::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}

/// Calls of a tool with these durations, as an exponential histogram of scale 3 has them.
fn add(views: &Views, tool: &str, error: Option<&str>, durations: &[f64], now: SystemTime) {
    let index = |value: f64| (value.log2() * 8.0).ceil() as i32 - 1;
    let offset = durations.iter().map(|value| index(*value)).min().unwrap();
    let most = durations.iter().map(|value| index(*value)).max().unwrap();
    let mut counts = vec![0; (most - offset + 1) as usize];
    durations.iter().for_each(|value| counts[(index(*value) - offset) as usize] += 1);
    let mut attributes = vec![
        ("gen_ai.operation.name", Cow::Borrowed("execute_tool")),
        ("gen_ai.tool.name", Cow::Borrowed(tool)),
        ("gen_ai.agent.name", Cow::Borrowed("planner")),
    ];
    attributes.extend(error.map(|error| ("error.type", Cow::Borrowed(error))));
    let numbers = Numbers::Exponential {
        sum: durations.iter().sum(),
        min: durations.iter().copied().reduce(f64::min),
        max: durations.iter().copied().reduce(f64::max),
        scale: 3,
        zeros: 0,
        offset,
        counts: &counts,
    };
    views.add([Reading::new(1, "gen_ai.execute_tool.duration", &attributes, numbers).delta()], now);
}

/// Feature: A3
#[test]
fn a_series_with_all_its_windows_takes_less_than_64_kib_however_durations_spread() {
    let views = Views::default();
    let mut random = 5_u64;
    let mut draw = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as f64 / (1_u64 << 31) as f64
    };
    // A day: every 20 s, 200 calls from a millisecond to 20 minutes, and four kinds of errors.
    for slot in 0..24 * 180 {
        let durations: Vec<f64> = (0..200).map(|_| 0.001 * 1_200_000_f64.powf(draw())).collect();
        let now = at(slot * 20);
        add(&views, "search", None, &durations, now);
        for error in ["timeout", "rate_limit", "server_error", "tool_error"] {
            add(&views, "search", Some(error), &durations[..5], now);
        }
    }
    let (all, most) = views.bytes();
    assert!(most <= 64 * 1024, "{most} bytes");
    assert!(all >= most);
}

/// Feature: A3
#[test]
fn series_over_the_limit_are_refused_and_counted() {
    let views = Views::new(5);
    for tool in 0..20 {
        add(&views, &format!("t{tool}"), None, &[0.1], at(60));
    }
    assert!(views.subjects().len() <= 5, "{:?}", views.subjects());
    assert!(views.refused() > 0);
}

proptest! {
    #[test]
    fn quantiles_of_sketches_are_within_what_is_stated_and_sketches_add_up(
        values in proptest::collection::vec(1e-6..1e6_f64, 1..300),
        p in 0.0..1.0_f64,
        split in 0..300_usize,
    ) {
        let (mut one, mut first, mut second) = (Sketch::default(), Sketch::default(), Sketch::default());
        for (place, value) in values.iter().enumerate() {
            one.add(*value);
            if place < split { first.add(*value) } else { second.add(*value) }
        }
        first.merge(&second);
        prop_assert_eq!(one.count(), first.count());
        prop_assert_eq!(one.quantile(p), first.quantile(p));
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = ((p * values.len() as f64).ceil() as usize).clamp(1, values.len());
        let exact = sorted[rank - 1];
        let found = one.quantile(p).unwrap();
        prop_assert!((found - exact).abs() <= Sketch::RELATIVE_ERROR * exact * 1.001, "{found} for {exact}");
        prop_assert!(Sketch::RELATIVE_ERROR <= 0.025);
    }

    #[test]
    fn windows_hold_what_came_in_them_and_nothing_older(
        counts in proptest::collection::vec((1..40_u64, 1..5_usize), 1..200),
    ) {
        let views = Views::default();
        let subject = Subject::new(SubjectKind::Tool, "search");
        let (mut now, mut came) = (0, Vec::new());
        for (passes, count) in counts {
            now += passes * 10;
            add(&views, "search", None, &vec![0.5; count], at(now));
            came.push((now, count as u64));
            for (window, slot) in [(60, 20), (300, 20), (3_600, 300), (86_400, 3_600)] {
                let seen = views.window(&subject, Duration::from_secs(window), at(now)).unwrap().count;
                let since = |age: u64| came.iter().filter(|(at, _)| now - at < age).map(|(_, count)| count).sum::<u64>();
                // Never longer than it says, and shorter by a slot at most.
                prop_assert!(seen <= since(window), "{seen} in {window} s");
                prop_assert!(seen >= since(window - slot), "{seen} in {window} s");
            }
        }
    }
}

//! Budgets: what may be spent is not passed, whoever spends at the same time, and somebody is told in time.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentvitals::alert::Phase;
use agentvitals::cost::Nanodollars;
use agentvitals::cost::budget::{Budgets, Guard, Limit, OnUnknown, Scope, Spender, Window};
use agentvitals::health::Severity;
use agentvitals::{Clock, Measured};
use proptest::prelude::*;

fn usd(usd: f64) -> Nanodollars {
    Nanodollars::from_usd(usd).unwrap()
}

/// Feature: E3
/// Behaviour: P29
#[test]
fn a_daily_budget_of_ten_dollars_warns_and_stops_and_begins_anew_the_next_day() {
    let (clock, hand) = Clock::manual();
    let budgets =
        Budgets::new([Limit::usd("daily", Scope::Overall, Window::Day, 10.0).unwrap()], clock).unwrap();
    let spender = Spender::new().agent("planner");
    assert_eq!(budgets.guard(&spender), Guard::Ok);
    budgets.record(&spender, Some(usd(7.0)), 1_000);
    assert_eq!(budgets.guard(&spender), Guard::Ok);
    budgets.record(&spender, Some(usd(1.0)), 1_000);
    let Guard::Warn(standing) = budgets.guard(&spender) else { panic!("80 %") };
    assert_eq!((standing.share, standing.spent_usd, standing.spent_tokens), (0.8, 8.0, 2_000));
    // 8 $ in 15 minutes: the other 2 are gone in less than four.
    assert!((standing.exhausted_in_s.unwrap() - 225.0).abs() < 1.0, "{standing}");
    // What the next call is expected to cost must fit.
    assert!(matches!(budgets.guard_for(&spender, usd(2.5), 0), Guard::Stop(_)));
    assert!(matches!(budgets.guard_for(&spender, usd(2.0), 0), Guard::Warn(_)));
    budgets.record(&spender, Some(usd(2.1)), 10);
    let Guard::Stop(standing) = budgets.guard(&spender) else { panic!("total > budget") };
    assert!(standing.to_string().starts_with("budget daily: 101 % spent ($10.10 of $10.00)"), "{standing}");
    // A restart does not give the day's budget anew; the next day does.
    let again =
        Budgets::new([Limit::usd("daily", Scope::Overall, Window::Day, 10.0).unwrap()], Clock::manual().0)
            .unwrap();
    again.restore(&budgets.state().unwrap()).unwrap();
    assert!(matches!(again.guard(&spender), Guard::Stop(_)));
    assert!(again.restore("{").unwrap_err().is_config());
    hand.advance(Duration::from_secs(86_400));
    assert_eq!(budgets.guard(&spender), Guard::Ok);
}

/// Feature: E3
#[test]
fn each_agent_run_and_conversation_has_its_own_account() {
    let (clock, _hand) = Clock::manual();
    let budgets = Budgets::new(
        [
            Limit::tokens("run", Scope::Run, Window::Ever, 100),
            Limit::tokens("conversation", Scope::Conversation, Window::Ever, 150),
            Limit::usd("planner", Scope::Agent, Window::Hour, 1.0)
                .unwrap()
                .only("planner")
                .on_unknown(OnUnknown::Stop),
        ],
        clock,
    )
    .unwrap();
    let one = Spender::new().run("1").conversation("c");
    let two = Spender::new().run("2").conversation("c");
    budgets.record(&one, None, 99);
    assert!(matches!(budgets.guard(&one), Guard::Warn(_)));
    assert!(matches!(budgets.guard_for(&one, Nanodollars::ZERO, 2), Guard::Stop(_)));
    assert_eq!(budgets.guard(&two), Guard::Ok);
    budgets.record(&two, None, 60);
    let Guard::Stop(standing) = budgets.guard(&two) else { panic!("both runs are of one conversation") };
    assert_eq!((&*standing.limit, standing.of.as_str(), standing.unpriced), ("conversation", "c", 2));
    budgets.record(&Spender::new().agent("writer"), None, 10);
    assert_eq!(budgets.guard(&Spender::new().agent("writer")), Guard::Ok);
    budgets.record(&Spender::new().agent("planner"), None, 10);
    let stopped = budgets.guard(&Spender::new().agent("planner"));
    assert!(
        matches!(&stopped, Guard::Stop(standing) if standing.to_string().contains("unknown")),
        "{stopped:?}"
    );
    for (limit, said) in [
        (Limit::tokens("x", Scope::Run, Window::Ever, 0), "above 0"),
        (Limit::tokens("run", Scope::Run, Window::Ever, 1), "twice"),
    ] {
        let both = [Limit::tokens("run", Scope::Run, Window::Ever, 1), limit];
        assert!(Budgets::new(both, Clock::system()).unwrap_err().to_string().contains(said));
    }
    assert!(Limit::usd("x", Scope::Run, Window::Ever, f64::NAN).unwrap_err().is_config());
}

/// Feature: E3
#[test]
fn calls_that_are_made_at_the_same_time_cannot_pass_a_limit_together() {
    let limit = Limit::usd("daily", Scope::Overall, Window::Day, 1.0).unwrap();
    let budgets = Budgets::new([limit], Clock::system()).unwrap();
    let made = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for call in 0..100 {
                    let Ok(reservation) = budgets.reserve(&Spender::new(), usd(0.01), 100) else { continue };
                    std::thread::yield_now();
                    // Every tenth is given up: what it set aside is there again.
                    if call % 10 == 0 {
                        drop(reservation);
                    } else {
                        reservation.settle(Some(usd(0.01)), 100);
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let made = made.load(Ordering::Relaxed);
    assert_eq!(made, 100, "all of it, and not more");
    assert_eq!(budgets.standings()[0].spent_usd, 1.0);
}

proptest! {
    /// Feature: E3
    #[test]
    fn what_is_spent_stays_within_the_limit_but_for_what_the_last_call_was_misjudged_by(
        calls in proptest::collection::vec((0.0..0.5_f64, 0.5..2.0_f64), 1..60),
        limit in 0.5..5.0_f64,
    ) {
        let (clock, _hand) = Clock::manual();
        let budgets = Budgets::new([Limit::usd("l", Scope::Overall, Window::Day, limit).unwrap()], clock).unwrap();
        let (mut spent, mut worst) = (Nanodollars::ZERO, 0.0_f64);
        for (expected, factor) in calls {
            if let Ok(reservation) = budgets.reserve(&Spender::new(), usd(expected), 0) {
                let cost = usd(expected * factor);
                reservation.settle(Some(cost), 0);
                spent += cost;
                worst = worst.max(expected * (factor - 1.0));
            }
        }
        prop_assert!(spent.usd() <= limit + worst + 1e-6, "{spent} of {limit}, misjudged by {worst}");
        let standings = budgets.standings();
        prop_assert_eq!(standings.first().map_or(0.0, |standing| standing.spent_usd), spent.usd());
    }
}

/// Feature: E3, G8
#[test]
fn telemetry_counts_calls_against_budgets_and_alerts_at_half_at_eighty_percent_and_at_the_end() {
    let (clock, hand) = Clock::manual();
    let limit = Limit::usd("daily", Scope::Overall, Window::Day, 10.0).unwrap();
    let budgets = Budgets::new([limit], clock.clone()).unwrap();
    let vitals = agentvitals::builder()
        .config(agentvitals::Config::default())
        .without_export()
        .clock(clock)
        .health_interval(Duration::ZERO)
        .budgets(budgets.clone())
        .build()
        .unwrap();
    let spend = |dollars: f64| {
        let call = Measured::model_call("openai", "gpt-4o").agent("planner").cost(usd(dollars));
        vitals.record(&call);
        hand.advance(Duration::from_secs(60));
    };
    let alert = || {
        let alerts = vitals.alerts();
        alerts.iter().find(|alert| &*alert.rule == "budget.daily").map(|alert| (alert.severity, alert.phase))
    };
    spend(4.0);
    assert_eq!(alert(), None);
    spend(1.5);
    assert_eq!(alert(), Some((Severity::Info, Phase::Firing)));
    spend(3.0);
    assert_eq!(alert(), Some((Severity::Warning, Phase::Firing)));
    assert!(matches!(budgets.guard(&Spender::new().agent("planner")), Guard::Warn(_)));
    spend(2.0);
    assert_eq!(alert(), Some((Severity::Error, Phase::Firing)));
    assert!(matches!(budgets.guard(&Spender::new().agent("planner")), Guard::Stop(_)));
    // What telemetry has counted is not counted again.
    budgets.record(&Spender::new().agent("planner"), Some(usd(5.0)), 0);
    assert_eq!(budgets.standings()[0].spent_usd, 10.5);
    hand.advance(Duration::from_secs(86_400));
    assert_eq!(alert(), None);
}

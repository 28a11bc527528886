//! Forecasts of small series made by hand: values, texts, errors.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::time::Duration;

use agentvitals::forecast::{
    DEFAULT_HORIZON, Direction, ExponentialSmoothing, Forecast, Holt, HoltWinters, LinearTrend, Method,
    MetricKind, MovingAverage, Options, Series, TheilSen, Tracker, Trend, forecast, forecast_linear_trend,
    forecasts,
};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn minutes(values: impl IntoIterator<Item = f64>) -> Series {
    Series::evenly(MINUTE, values).unwrap()
}

/// Noise that is no trend: it has its mean every few steps.
fn noise(at: u32) -> f64 {
    f64::from(at * 7 % 11) / 10.0 - 0.5
}

fn by(method: impl Into<Method>, series: &Series, horizon: Duration) -> Forecast {
    forecast(series, horizon, &Options::new().method(method)).unwrap()
}

/// The three methods of the classic forecaster and the others, each against its formula.
///
/// Feature: I7
#[test]
fn each_method_does_what_its_formula_says() {
    let series = minutes([5.0, 1.0, 4.0, 2.0, 8.0, 3.0, 9.0, 7.0, 6.0, 10.0]);
    let near = |found: Forecast, expected: f64| {
        assert!((found.value - expected).abs() < 1e-9, "{}: {} is not {expected}", found.method, found.value);
    };
    near(by(Method::Naive, &series, MINUTE), 10.0);
    near(by(MovingAverage::of_last(4), &series, MINUTE), (9.0 + 7.0 + 6.0 + 10.0) / 4.0);
    let smoothed = [5.0, 1.0, 4.0, 2.0, 8.0, 3.0, 9.0, 7.0, 6.0, 10.0]
        .into_iter()
        .fold(4.0, |level, value| level + 0.3 * (value - level));
    near(by(ExponentialSmoothing::with(0.3), &series, 3 * MINUTE), smoothed);
    // numpy.polyfit(range(10), values, 1)
    near(
        by(LinearTrend::of_all(), &series, 2 * MINUTE),
        0.672_727_272_727_272_7 * 11.0 + 2.472_727_272_727_272_6,
    );
    let line = minutes((0..20).map(|at| 3.0 + 0.5 * f64::from(at)));
    for method in [
        Method::from(TheilSen::of_all()),
        LinearTrend::of_last(5).into(),
        Holt::with(0.5, 0.3, 1.0).into(),
        Holt::optimised().into(),
    ] {
        let found = by(method, &line, 4 * MINUTE);
        assert!((found.value - 14.5).abs() < 1e-6, "{}: {}", found.method, found.value);
    }
    // Damped by a half, of a slope of 0.5 there is 0.25 + 0.125 + .. left, if the slope is kept at 0.5 by its errors.
    let damped = by(Holt::with(1.0, 1.0, 0.5), &line, 10 * MINUTE);
    assert!(damped.value > 12.5 && damped.value < 13.5, "{}", damped.value);
}

/// Feature: I7
#[test]
fn a_spike_does_not_bend_the_robust_line() {
    let mut values: Vec<f64> = (0..40).map(|at| 1.0 + 0.1 * f64::from(at)).collect();
    values[35] = 90.0;
    let series = minutes(values);
    let robust = by(TheilSen::of_all(), &series, 10 * MINUTE);
    assert!((robust.value - 5.9).abs() < 1e-6, "{}", robust.value);
    assert!((by(LinearTrend::of_all(), &series, 10 * MINUTE).value - 5.9).abs() > 1.0);
}

/// Feature: I7
#[test]
fn a_season_is_followed_where_there_is_one() {
    let day = |hour: u32| 10.0 + 4.0 * (std::f64::consts::TAU * f64::from(hour) / 24.0).sin();
    let series = Series::evenly(HOUR, (0..24 * 6).map(|hour| day(hour) + 0.1 * noise(hour))).unwrap();
    let options = Options::new().season(24 * HOUR);
    for hours in [3, 6, 12, 18] {
        let found = forecast(&series, hours * HOUR, &options).unwrap();
        assert!(matches!(found.method, Method::HoltWinters(_)), "{}", found.method);
        let expected = day(143 + hours);
        assert!((found.value - expected).abs() < 0.3, "{hours} h: {} is not {expected}", found.value);
    }
    // Too little for a season: an error only for who wants just this method.
    let short = Series::evenly(HOUR, (0..30).map(day)).unwrap();
    assert!(forecast(&short, 3 * HOUR, &options).is_ok());
    let error =
        forecast(&short, 3 * HOUR, &Options::new().method(HoltWinters::every(24 * HOUR))).unwrap_err();
    assert!(error.to_string().contains("2 seasons"), "{error}");
}

/// Feature: I7
#[test]
fn the_answer_of_the_classic_forecaster_is_there() {
    let series = minutes((0..120).map(|at| 0.8 + 0.01 * f64::from(at) + 0.05 * noise(at)));
    let found = forecast_linear_trend(&series, DEFAULT_HORIZON, MetricKind::Latency).unwrap();
    assert!((found.predicted_value - 2.59).abs() < 0.05, "{}", found.predicted_value);
    assert_eq!(found.trend, Trend::Rising);
    assert!(found.recommendation.contains("slower"), "{}", found.recommendation);
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["trend"], "rising");
    assert!(json["predicted_value"].is_number() && json["recommendation"].is_string());

    let falling = minutes((0..60).map(|at| 0.99 - 0.002 * f64::from(at) + 0.002 * noise(at)));
    let found = forecast_linear_trend(&falling, HOUR / 2, MetricKind::SuccessRate).unwrap();
    assert_eq!(found.trend, Trend::Falling);
    assert!(found.recommendation.contains("less succeeds"), "{}", found.recommendation);
    let flat = minutes((0..60).map(noise));
    assert_eq!(forecast_linear_trend(&flat, HOUR / 2, MetricKind::Cost).unwrap().trend, Trend::Flat);
}

/// Feature: H13
#[test]
fn a_crossing_is_told_in_one_sentence() {
    let series = minutes((0..120).map(|at| 0.3 + 0.018 * f64::from(at) + 0.2 * noise(at)));
    let options = Options::new().named("p95").unit("s").kind(MetricKind::Latency);
    let found = forecast(&series, HOUR, &options).unwrap();
    let crossing = found.passes(3.0, Direction::Above).unwrap();
    // 0.3 + 0.018 t = 3 at minute 150: 31 minutes after the last value.
    assert!((29..=33).contains(&(crossing.eta.as_secs() / 60)), "{crossing}");
    let text = crossing.to_string();
    let (begin, end) = text.split_once(" (95 %: ").unwrap();
    assert!(begin.starts_with("p95 passes 3 s in about 3") && begin.ends_with(" min"), "{text}");
    assert!(end.contains(" to ") && end.ends_with(" min)"), "{text}");
    // Beyond the horizon, or on the other side, there is none.
    assert_eq!(found.passes(9.0, Direction::Above), None);
    assert_eq!(found.passes(1.0, Direction::Below), None);
    // What has passed already says so, instead of falling silent.
    let now = found.passes(1.0, Direction::Above).unwrap();
    assert_eq!((now.eta, now.to_string()), (Duration::ZERO, "p95 passes 1 s now".to_owned()));
    let text = found.to_string();
    assert!(text.starts_with("p95 is expected at 3.5") && text.contains(" s in 60 min (95 %: "), "{text}");
    assert!(text.contains("), rising; by ") && text.ends_with(" % on average"), "{text}");
}

/// Feature: G13
#[test]
fn falling_health_is_told_before_it_is_degraded() {
    let scores = (0..48).map(|at| 97.0 - 0.5 * f64::from(at) + 2.0 * noise(at));
    let series = Series::evenly(5 * MINUTE, scores).unwrap();
    let options = Options::new().named("health of planner").kind(MetricKind::Health);
    let found = forecast(&series, 3 * HOUR, &options).unwrap();
    assert_eq!(found.trend, Trend::Falling);
    assert!(found.recommendation.contains("before the agent is degraded"), "{}", found.recommendation);
    // From 73.5 it loses 6 points an hour.
    let degraded = found.passes(60.0, Direction::Below).unwrap();
    assert!((2.0..2.6).contains(&(degraded.eta.as_secs_f64() / 3_600.0)), "{degraded}");
    // A score is never below 0, nor is its interval.
    assert!(found.path.iter().all(|at| at.low >= 0.0 && at.high <= 100.0));
    let steady = Series::evenly(5 * MINUTE, (0..48).map(|at| 97.0 + 2.0 * noise(at))).unwrap();
    let found = forecast(&steady, 3 * HOUR, &options).unwrap();
    assert_eq!((found.trend, found.passes(80.0, Direction::Below)), (Trend::Flat, None));
}

/// Feature: I7
#[test]
fn what_cannot_be_forecast_says_what_it_wants() {
    let say = |series: &Series, horizon: Duration, options: Options| {
        let error = forecast(series, horizon, &options).unwrap_err();
        assert!(error.is_config());
        error.to_string()
    };
    let few = minutes((0..5).map(f64::from));
    assert_eq!(say(&few, MINUTE, Options::new()), "5 values are too few for a forecast: expected at least 8");
    assert_eq!(
        say(&Series::new(), MINUTE, Options::new()),
        "0 values are too few for a forecast: expected at least 8"
    );
    let some = minutes((0..30).map(noise));
    assert!(say(&some, HOUR, Options::new()).contains("a horizon of 60 min with a history of 29 min"));
    assert!(say(&some, Duration::ZERO, Options::new()).contains("more than 0"));
    for (options, part) in [
        (Options::new().level(95.0), "level 95"),
        (Options::new().level(f64::NAN), "level NaN"),
        (Options::new().floor(2.0).ceiling(1.0), "the least value is 2"),
        (Options::new().floor(f64::NAN), "NaN"),
        (Options::new().step(Duration::ZERO), "0 ns"),
        (Options::new().step(20 * MINUTE), "2 steps with a value"),
        (Options::new().method(MovingAverage::of_last(0)), "at least 1"),
        (Options::new().method(LinearTrend::of_last(2)), "at least 3"),
        (Options::new().method(ExponentialSmoothing::with(1.5)), "alpha is 1.5"),
        (Options::new().method(Holt::with(0.5, f64::NAN, 1.0)), "beta is NaN"),
        (Options::new().method(HoltWinters::every(MINUTE)), "expected at least 2"),
        (Options::new().method(HoltWinters::every(HOUR)), "2 seasons"),
    ] {
        let text = say(&some, 5 * MINUTE, options);
        assert!(text.contains(part), "{text}");
    }
}

/// Feature: I7
#[test]
fn a_constant_series_stays_and_passes_nothing() {
    let found = forecast(&minutes([4.0; 30]), 10 * MINUTE, &Options::new()).unwrap();
    assert_eq!((found.value, found.low, found.high, found.trend), (4.0, 4.0, 4.0, Trend::Flat));
    assert_eq!((found.method, found.error.mae, found.error.mase), (Method::Naive, 0.0, None));
    assert_eq!(found.passes(5.0, Direction::Above), None);
    assert_eq!(found.passes(4.0, Direction::Above), None);
}

/// Feature: I7
#[test]
fn gaps_order_and_weights_do_not_spoil_a_forecast() {
    let at = |minute: u32| u64::from(minute) * 60_000_000_000;
    let value = |minute: u32| 2.0 + 0.05 * f64::from(minute);
    let mut series = Series::new();
    // Every third minute is missing, half an hour is, too, and times come in reverse and not quite even.
    for minute in (0..180_u32).rev().filter(|minute| minute % 3 != 1 && !(60..90).contains(minute)) {
        series.push(at(minute) + u64::from(minute % 5) * 1_000_000_000, value(minute)).unwrap();
    }
    // Values of next to nothing are next to nothing.
    series.push_weighted(at(100), 50.0, 1e-6).unwrap();
    for method in [LinearTrend::of_all().into(), Method::from(TheilSen::of_all()), Holt::optimised().into()] {
        let found = by(method, &series, HOUR);
        assert!((found.value - value(239)).abs() < 0.35, "{}: {}", found.method, found.value);
    }
}

/// Feature: I7
#[test]
fn all_methods_are_shown_with_the_best_first() {
    let series = minutes((0..100).map(|at| 1.0 + 0.03 * f64::from(at) + 0.3 * noise(at)));
    let all = forecasts(&series, HOUR / 2, &Options::new()).unwrap();
    assert!(all.len() >= 8 && all.is_sorted_by(|one, other| one.error.mae <= other.error.mae));
    assert!(all.iter().any(|found| found.method == Method::Naive));
    assert!(all.iter().all(|found| found.naive == all[0].naive));
    let json = serde_json::to_string(&all[0]).unwrap();
    assert_eq!(serde_json::from_str::<Forecast>(&json).unwrap().method, all[0].method);
    assert!(json.contains("\"horizon_seconds\":1800.0"), "{json}");
    let options: Options = serde_json::from_str(r#"{"level": 0.8, "season_seconds": 86400}"#).unwrap();
    assert_eq!((options.level, options.season), (0.8, Some(24 * HOUR)));
}

/// Feature: I8
#[test]
fn forecasts_are_kept_until_their_time_and_then_judged() {
    let series = minutes((0..60).map(|at| 10.0 + noise(at)));
    let found = forecast(&series, 10 * MINUTE, &Options::new()).unwrap();
    let (mut tracker, last) = (Tracker::new(), series.last().unwrap().at_ns);
    let minute = |minute: u64| last + minute * 60_000_000_000;
    tracker.track("p95", last, &found);
    assert_eq!((tracker.pending(), tracker.accuracy("p95")), (1, None));
    tracker.observe("p95", minute(9), 10.0);
    assert_eq!(tracker.pending(), 1);
    // Restarted in between.
    let text = serde_json::to_string(&tracker).unwrap();
    let mut tracker: Tracker = serde_json::from_str(&text).unwrap();
    tracker.observe("p95", minute(10), found.value + 0.5);
    let accuracy = tracker.accuracy("p95").unwrap();
    assert!((accuracy.mae - 0.5).abs() < 1e-9 && (accuracy.bias + 0.5).abs() < 1e-9, "{accuracy:?}");
    assert_eq!((accuracy.count, accuracy.coverage, tracker.pending()), (1, Some(1.0), 0));
    assert!((accuracy.mape.unwrap() - 0.5 / (found.value + 0.5)).abs() < 1e-9);
    assert!((accuracy.mase.unwrap() - 0.5 / found.scale).abs() < 1e-9);
    let numbers: Vec<_> = tracker.numbers().map(|number| (number.metric, number.series)).collect();
    assert!(numbers.contains(&("agentvitals.forecast.mape", "p95")), "{numbers:?}");
    assert_eq!(numbers.len(), 6);

    // A value far from its interval; and none near to the time.
    tracker.track("p95", minute(10), &found);
    tracker.observe("p95", minute(20), 99.0);
    assert_eq!(tracker.accuracy("p95").unwrap().coverage, Some(0.5));
    tracker.track("p95", minute(20), &found);
    tracker.observe("p95", minute(120), 10.0);
    assert_eq!((tracker.missed(), tracker.accuracy("p95").unwrap().count), (1, 2));
    // What is bounded is counted.
    for _ in 0..Tracker::MAX_PENDING + 3 {
        tracker.track("p95", minute(130), &found);
    }
    assert_eq!((tracker.pending(), tracker.evicted()), (Tracker::MAX_PENDING, 3));
    for series in 0..Tracker::MAX_SERIES {
        tracker.track(&series.to_string(), last, &found);
    }
    assert_eq!(tracker.refused(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, there is an error or finite numbers in order, and a crossing is in order, too.
    ///
    /// Feature: I7
    #[test]
    fn no_series_makes_nonsense(
        values in proptest::collection::vec((0_u64..10_000, -1e12..1e12_f64, 0.0..100.0_f64), 8..80),
        horizon in 1_u64..5_000,
        level in 0.5..0.99_f64,
    ) {
        let mut series = Series::new();
        for (second, value, weight) in values {
            series.push_weighted(second * 1_000_000_000, value, weight).unwrap();
        }
        let options = Options::new().level(level).season(Duration::from_secs(600));
        if let Ok(found) = forecast(&series, Duration::from_secs(horizon), &options) {
            for at in &found.path {
                prop_assert!(at.value.is_finite() && at.low <= at.value && at.value <= at.high, "{at:?}");
            }
            prop_assert!(found.path.windows(2).all(|pair| pair[0].after < pair[1].after));
            if let Some(crossing) = found.passes(0.0, Direction::Above) {
                prop_assert!(crossing.earliest <= crossing.eta && crossing.eta <= crossing.latest);
                prop_assert!(crossing.latest <= found.horizon);
            }
        }
    }
}

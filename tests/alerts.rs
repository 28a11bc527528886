//! Alerts: their state machine, rules over real measurements, and where they go over real HTTP.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use agentvitals::alert::{
    Action, Check, Engine, Manager, ManagerSettings, NoticeKind, Phase, Preset, Rule, Rules, Signal, sink,
};
use agentvitals::health::{Code, Severity};
use agentvitals::{Clock, ManualClock, Measured, Subject, SubjectKind, Telemetry};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}

mod machine {
    use std::sync::Arc;

    use agentvitals::alert::{Condition, Notice, Source, Verdict};
    use agentvitals::health::Severity;
    use proptest::prelude::*;

    use super::*;

    /// A condition of a rule, as JSON has it: there is no constructor for what only rules make.
    fn condition(verdict: Verdict, severity: Severity, hold: u64, keep: u64) -> Condition {
        let json = serde_json::json!({
            "source": Source::Rule, "rule": "r", "group": "r", "subject": {"kind": "agent", "name": "planner"},
            "severity": severity, "verdict": verdict, "evidence": null, "summary": "s", "advice": "",
            "trace_ids": [], "top_error": null, "hold": hold as f64, "keep_firing": keep as f64, "labels": {},
        });
        serde_json::from_value(json).unwrap()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Say(Verdict, Severity),
        Nothing,
        Silence(u64),
        Maintenance(u64),
        Acknowledge,
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        let verdict = prop_oneof![Just(Verdict::Active), Just(Verdict::Inactive), Just(Verdict::Unknown)];
        let severity = prop_oneof![Just(Severity::Warning), Just(Severity::Critical)];
        prop_oneof![
            8 => (verdict, severity).prop_map(|(verdict, severity)| Step::Say(verdict, severity)),
            1 => Just(Step::Nothing),
            1 => (1..400_u64).prop_map(Step::Silence),
            1 => (1..400_u64).prop_map(Step::Maintenance),
            1 => Just(Step::Acknowledge),
            1 => Just(Step::Restart),
        ]
    }

    fn check(steps: &[(u64, Step)], hold: u64, keep: u64) -> Result<(), TestCaseError> {
        let (mut manager, mut now) = (Manager::new(ManagerSettings::default()), 0);
        let mut active_since = None;
        // Whoever was told that it fires, and not yet that it is over.
        let mut told: Option<Severity> = None;
        for (passes, step) in steps {
            now += passes;
            let mut conditions = Vec::new();
            match step {
                Step::Say(verdict, severity) => conditions.push(condition(*verdict, *severity, hold, keep)),
                Step::Nothing => {}
                Step::Silence(time) => {
                    let matcher = BTreeMap::from([("alertname".to_owned(), "r".to_owned())]);
                    manager.silence(matcher, at(now + time), "ann", "deploy").unwrap();
                }
                Step::Maintenance(time) => {
                    manager.set_maintenance(Subject::new(SubjectKind::Agent, "planner"), at(now + time));
                }
                Step::Acknowledge => {
                    if let Some(alert) = manager.alerts().first() {
                        prop_assert!(manager.acknowledge(&alert.id, "ann"));
                    }
                }
                Step::Restart => {
                    let json = serde_json::to_string(&manager).unwrap();
                    let mut again: Manager = serde_json::from_str(&json).unwrap();
                    prop_assert_eq!(serde_json::to_string(&again).unwrap(), json);
                    // The same future, whatever comes.
                    let next = [condition(Verdict::Active, Severity::Critical, hold, keep)];
                    let mut before = manager.clone();
                    prop_assert_eq!(
                        before.evaluate(&next, at(now + 1)),
                        again.clone().evaluate(&next, at(now + 1))
                    );
                    std::mem::swap(&mut manager, &mut again);
                }
            }
            let muted_before = told;
            let notices: Vec<Notice> = manager.evaluate(&conditions, at(now));
            match step {
                Step::Say(Verdict::Active, _) => active_since = active_since.or(Some(now)),
                Step::Say(Verdict::Inactive, _) if manager.alerts().is_empty() => active_since = None,
                _ => {}
            }
            for notice in &notices {
                match notice.kind {
                    NoticeKind::Firing => {
                        prop_assert_eq!(told, None, "told twice that it fires");
                        let since = active_since.unwrap();
                        prop_assert!(now - since >= hold, "after {} s, for {hold}", now - since);
                        told = Some(notice.severity);
                    }
                    NoticeKind::Escalated => {
                        prop_assert!(told.is_some_and(|before| notice.severity > before));
                        told = Some(notice.severity);
                    }
                    NoticeKind::Resolved => {
                        prop_assert!(told.is_some(), "over without having fired");
                        prop_assert_eq!(notice.severity, Severity::Info);
                        told = None;
                    }
                    NoticeKind::Repeated => prop_assert!(told.is_some()),
                    _ => prop_assert!(false, "a kind that is not known"),
                }
            }
            prop_assert!(notices.len() <= 1, "{notices:?}");
            let firing = manager.alerts().iter().any(|alert| alert.phase == Phase::Firing);
            if told.is_some() {
                prop_assert!(
                    firing,
                    "whoever was told is told when it is over, silenced or not; {muted_before:?}"
                );
            }
            if manager.alerts().is_empty() {
                active_since = None;
            }
        }
        Ok(())
    }

    proptest! {
        /// Feature: H8
        #[test]
        fn nobody_is_told_too_early_twice_or_not_at_all(
            steps in proptest::collection::vec((1..300_u64, step()), 1..80),
            hold in 0..600_u64,
            keep in 0..300_u64,
        ) {
            check(&steps, hold, keep)?;
        }
    }

    /// Feature: H8
    #[test]
    fn what_is_not_known_starts_no_alarm_and_ends_none_before_fifteen_minutes() {
        let mut manager = Manager::new(ManagerSettings::default());
        let say = |verdict| [condition(verdict, Severity::Warning, 0, 0)];
        assert!(manager.evaluate(&say(Verdict::Unknown), at(0)).is_empty());
        assert!(manager.alerts().is_empty());
        assert_eq!(manager.evaluate(&say(Verdict::Active), at(60)).len(), 1);
        assert!(manager.evaluate(&say(Verdict::Unknown), at(959)).is_empty());
        let over = manager.evaluate(&say(Verdict::Unknown), at(960));
        assert_eq!(over[0].kind, NoticeKind::Resolved);
        assert!(over[0].message.contains("nothing is known"), "{}", over[0].message);
    }

    /// Feature: H8
    #[test]
    fn of_two_alerts_that_say_the_same_the_worse_is_told() {
        let mut manager = Manager::new(ManagerSettings::default());
        let of = |rule: &str, severity| {
            let mut condition = condition(Verdict::Active, severity, 0, 0);
            condition.rule = Arc::from(rule);
            condition.group = Arc::from("cpu");
            condition
        };
        let both = [of("cpu-high", Severity::Warning), of("cpu-critical", Severity::Critical)];
        let notices = manager.evaluate(&both, at(0));
        assert_eq!(notices.iter().map(|notice| &*notice.alert.rule).collect::<Vec<_>>(), ["cpu-critical"]);
        assert!(manager.alerts()[1].muted.as_deref().unwrap().contains("more severe"));
        // The worse is over: the other still fires, and is told of now.
        let mut high = both;
        high[1].verdict = Verdict::Inactive;
        let kinds: Vec<_> = manager.evaluate(&high, at(60)).iter().map(|notice| notice.kind).collect();
        assert_eq!(kinds, [NoticeKind::Resolved, NoticeKind::Firing]);
        assert!(manager.silence(BTreeMap::new(), at(100), "ann", "").unwrap_err().is_config());
    }
}

struct Process {
    vitals: Telemetry,
    hand: ManualClock,
}

fn process(configure: impl FnOnce(agentvitals::Builder) -> agentvitals::Builder) -> Process {
    let (clock, hand) = Clock::manual();
    let builder = agentvitals::builder()
        .config(agentvitals::Config::default())
        .without_export()
        .clock(clock)
        .health_interval(Duration::ZERO);
    Process { vitals: configure(builder).build().unwrap(), hand }
}

impl Process {
    fn minutes(&self, minutes: usize, calls: usize, failing: usize, takes: Duration) {
        for _ in 0..minutes {
            for call in 0..calls {
                let measured = Measured::agent_run("planner").duration(takes);
                self.vitals.record(&if call < failing { measured.error_type("timeout") } else { measured });
            }
            self.hand.advance(Duration::from_secs(60));
            let _ = self.vitals.health();
        }
    }

    fn firing(&self) -> Vec<String> {
        let alerts = self.vitals.alerts();
        alerts
            .iter()
            .filter(|alert| alert.phase == Phase::Firing)
            .map(|alert| alert.rule.to_string())
            .collect()
    }
}

const FAST: Duration = Duration::from_millis(500);

/// Feature: H3, H8, H9
#[test]
fn rules_fire_on_what_is_measured_and_are_told_of_by_pull_and_push() {
    let (sink, mut channel) = sink::Channel::new();
    let process = process(|builder| builder.alert_rules(Rules::preset(Preset::Default)).alert_sink(sink));
    let mut notices = process.vitals.subscribe_alerts();
    process.minutes(10, 20, 0, FAST);
    assert!(process.firing().is_empty(), "{:?}", process.firing());
    process.minutes(5, 20, 4, Duration::from_secs(4));
    let firing = process.firing();
    for rule in ["errors-agent", "p95-agent", "failures"] {
        assert!(firing.contains(&rule.to_owned()), "{rule}: {firing:?}");
    }
    let told = futures_util::FutureExt::now_or_never(notices.next()).unwrap().unwrap();
    assert_eq!((told.kind, told.alert.subject.kind), (NoticeKind::Firing, SubjectKind::Agent));
    let delivered = channel.blocking_recv().unwrap();
    assert_eq!(delivered.alert.id, told.alert.id);
    let alert = process.vitals.alerts().into_iter().find(|alert| &*alert.rule == "errors-agent").unwrap();
    assert!(
        process.vitals.acknowledge_alert(&alert.id, "ann") && !process.vitals.acknowledge_alert("x", "ann")
    );
    assert!((alert.evidence.unwrap().observed - 0.2).abs() < 0.01);
    assert!(alert.summary.starts_with("High error rate: 20.0 %"), "{}", alert.summary);
    process.minutes(70, 20, 0, FAST);
    assert!(process.firing().is_empty(), "{:?}", process.firing());
}

/// Feature: H1
#[test]
fn health_has_the_texts_of_its_source() {
    let rules = Rules::preset(Preset::Default);
    let process = process(|builder| builder.alert_rules(rules));
    process.minutes(10, 20, 0, FAST);
    process.minutes(10, 20, 16, FAST);
    let alerts = process.vitals.alerts();
    let of = |rule: &str| alerts.iter().find(|alert| &*alert.rule == rule).cloned();
    let unhealthy = of("agent-unhealthy").expect("unhealthy");
    assert_eq!(unhealthy.severity, Severity::Critical);
    assert!(unhealthy.summary.starts_with("Agent is unhealthy: "), "{}", unhealthy.summary);
    assert!(of("agent-degraded").unwrap().muted.is_some(), "the worse says the same");
}

/// Feature: H6, H12
#[test]
fn a_spike_is_one_against_its_baseline_and_events_are_counted_over_true_time() {
    let rules = Rules::new([
        Rule::new("spike", SubjectKind::Agent, Signal::ErrorRate, Check::Spike { factor: 3.0, floor: 0.05 }),
        Rule::new("slow", SubjectKind::Agent, Signal::SlowRequests, Check::Above(10.0)),
    ])
    .unwrap();
    let process = process(|builder| builder.alert_rules(rules));
    // One in ten fails always: that is no spike.
    process.minutes(30, 10, 1, FAST);
    assert!(!process.firing().contains(&"spike".to_owned()));
    process.minutes(5, 10, 5, FAST);
    assert!(process.firing().contains(&"spike".to_owned()), "{:?}", process.firing());
    // Ten slow ones in five minutes are not more than ten.
    process.minutes(10, 2, 0, Duration::from_secs(4));
    assert!(!process.firing().contains(&"slow".to_owned()));
    process.minutes(5, 4, 0, Duration::from_secs(4));
    assert!(process.firing().contains(&"slow".to_owned()));
}

/// Feature: H13
#[test]
fn a_forecast_alarms_before_the_limit_and_not_on_noise() {
    let rules = Rules::parse(
        "[[rule]]\nname = \"soon\"\nsignal = \"p95\"\nforecast = \"1h\"\nabove = 3.0\nseverity = \"warning\"\n",
    )
    .unwrap();
    let process = process(|builder| builder.alert_rules(rules));
    let mut random = 7_u64;
    let mut noise = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as f64 / (1_u64 << 31) as f64
    };
    for _ in 0..180 {
        process.minutes(1, 20, 0, Duration::from_secs_f64(1.0 + 0.3 * noise()));
        assert!(!process.firing().contains(&"soon".to_owned()), "noise");
    }
    let mut told = None;
    for minute in 0..180 {
        let p95 = 1.0 + f64::from(minute) / 60.0 + 0.1 * noise();
        process.minutes(1, 20, 0, Duration::from_secs_f64(p95));
        if let Some(alert) = process.vitals.alerts().iter().find(|alert| &*alert.rule == "soon") {
            told = Some((p95, alert.summary.clone()));
            break;
        }
    }
    let (p95, summary) = told.expect("told before it is there");
    assert!(p95 < 2.9 && summary.contains("passes 3 s in about"), "at {p95}: {summary}");
}

/// Feature: G8
#[test]
fn actions_are_taken_once_in_their_cool_down_and_not_in_a_dry_run() {
    let (send, taken) = std::sync::mpsc::channel();
    let (again, never) = (send.clone(), send.clone());
    let process = process(|builder| {
        builder
            .action(Action::on(Code::FailingRuns, "other", move |_| never.send("other").unwrap()))
            .action(
                Action::on(Code::ToolError, "circuit-breaker", move |issue| {
                    send.send(if issue.subject.name.as_ref() == "search" { "tool" } else { "?" }).unwrap();
                })
                .cool_down(Duration::from_secs(3_600)),
            )
            .action(Action::on(Code::ToolError, "dry", move |_| again.send("dry").unwrap()).dry_run(true))
            .action(Action::on(Code::ToolError, "panics", |_| panic!("a user's mistake")))
    });
    let minutes = |minutes: usize, failing: usize| {
        for _ in 0..minutes {
            for call in 0..10 {
                let call_of = Measured::tool_call("search").agent("planner").duration(FAST);
                process.vitals.record(&if call < failing { call_of.error_type("timeout") } else { call_of });
            }
            process.hand.advance(Duration::from_secs(60));
            let _ = process.vitals.health();
        }
    };
    minutes(60, 0);
    minutes(10, 9);
    assert_eq!(taken.try_iter().collect::<Vec<_>>(), ["tool"]);
}

/// Feature: H8
#[test]
fn an_engine_goes_on_after_a_restart_without_telling_twice() {
    let process = process(|builder| builder);
    process.minutes(5, 20, 10, FAST);
    let views = process.vitals.views();
    let now = at(400);
    let mut report = process.vitals.health();
    report.checked_at = now;
    let rules = || Rules::preset(Preset::Strict);
    let mut engine = Engine::new(rules(), ManagerSettings::default());
    let told = engine.evaluate(views, &report, now);
    assert!(told.iter().any(|notice| &*notice.alert.rule == "errors-agent"), "{told:?}");
    let state = engine.state().unwrap();
    let mut again = Engine::new(rules(), ManagerSettings::default());
    again.restore(&state).unwrap();
    assert_eq!(again.manager().alerts(), engine.manager().alerts());
    assert!(again.evaluate(views, &report, at(410)).is_empty(), "nobody is told twice");
    assert!(
        again
            .restore("{\"version\": 9, \"manager\": {\"entries\": {}}}")
            .unwrap_err()
            .to_string()
            .contains('9')
    );
    assert!(again.restore("nonsense").unwrap_err().is_config());
    // Rules that are gone take their alerts along.
    again.set_rules(Rules::none());
    assert!(again.manager().alerts().iter().all(|alert| alert.rule.starts_with("health.")));
}

/// Feature: H11
#[test]
fn the_same_rules_are_written_for_prometheus() {
    let yaml = Rules::preset(Preset::Production).to_prometheus();
    assert!(yaml.starts_with("groups:\n  - name: health-agent\n    interval: 30s\n"), "{yaml}");
    for part in [
        "alert: CpuHigh",
        "for: 300s",
        "alert: PoolExhausted",
        "for: 60s",
        "alert: CacheHitRateLow",
        "for: 600s",
        "severity: critical",
        "histogram_quantile(0.95, sum by (le, gen_ai_agent_name)",
        "action: 'Scale up'",
    ] {
        assert!(yaml.contains(part), "{part}\n{yaml}");
    }
    assert!(!yaml.contains("gen_ai."), "names have underscores");
}

/// Feature: H7
#[test]
fn severities_are_in_order_and_have_the_names_of_their_sources() {
    assert!(Severity::Info < Severity::Warning && Severity::Error < Severity::Critical);
    for (text, severity) in
        [("medium", Severity::Warning), ("HIGH", Severity::Error), ("Critical", Severity::Critical)]
    {
        assert_eq!(text.parse::<Severity>().unwrap(), severity);
    }
}

//! Health of a process, from what its agents did: scores, statuses, issues with traces, and what is exported.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use agentvitals::health::{Code, HealthReport, Part, Profile, Settings, Severity, Status, Targets};
use agentvitals::testing::{Capture, MetricCapture};
use agentvitals::{
    Clock, ManualClock, Measured, RecordOperation as _, Subject, SubjectKind, Telemetry, agent_span,
    tool_span,
};
use tracing_subscriber::layer::SubscriberExt as _;

struct Process {
    vitals: Telemetry,
    hand: ManualClock,
    metrics: MetricCapture,
    spans: Capture,
}

fn process(settings: Settings) -> Process {
    let (clock, hand) = Clock::manual();
    let (metrics, spans) = (MetricCapture::new(), Capture::new());
    let vitals = agentvitals::builder()
        .config(agentvitals::Config::default())
        .without_export()
        .span_exporter(spans.clone())
        .metric_exporter(metrics.clone())
        .clock(clock)
        .health(settings)
        .health_interval(Duration::ZERO)
        .build()
        .unwrap();
    Process { vitals, hand, metrics, spans }
}

impl Process {
    /// Minutes with so many calls of a tool each, of which so many fail.
    fn minutes(&self, minutes: usize, calls: usize, failing: usize) -> HealthReport {
        let mut report = self.vitals.health();
        for _ in 0..minutes {
            for call in 0..calls {
                let measured =
                    Measured::tool_call("search").agent("planner").duration(Duration::from_millis(200));
                self.vitals.record(&if call < failing { measured.error_type("timeout") } else { measured });
            }
            self.vitals.record(&Measured::agent_run("planner").duration(Duration::from_secs(2)));
            self.hand.advance(Duration::from_secs(60));
            report = self.vitals.health();
        }
        report
    }
}

fn search() -> Subject {
    Subject::new(SubjectKind::Tool, "search")
}

/// Feature: G1, G4
#[test]
fn a_tool_that_fails_is_told_of_with_its_evidence_and_recovers() {
    let process = process(Settings::default());
    let report = process.minutes(120, 10, 0);
    assert_eq!((report.status, report.score), (Status::Healthy, Some(100.0)), "{report}");
    assert!(report.issues.is_empty(), "{report}");

    let report = process.minutes(2, 10, 8);
    let issue = report.issues.iter().find(|issue| issue.code == Code::ToolError).expect("an issue");
    assert_eq!(issue.severity, Severity::Critical, "{issue}");
    assert_eq!(issue.subject, search().used_by("planner"));
    assert_eq!(issue.top_error.as_deref(), Some("timeout"));
    assert!(issue.evidence.observed > 0.7 && issue.evidence.limit < 0.05, "{:?}", issue.evidence);
    assert!(issue.evidence.samples >= 20 && issue.evidence.window_s >= 60.0, "{:?}", issue.evidence);
    assert!(!issue.advice.is_empty());
    let tool = report.component(&search()).unwrap();
    assert!(tool.score.unwrap() < 60.0, "{report}");

    let report = process.minutes(30, 10, 0);
    assert!(report.issues.is_empty(), "{report}");
    assert_eq!(report.component(&search()).unwrap().status, Status::Healthy);
    // It reads what it writes.
    let json = serde_json::to_string(&report).unwrap();
    let read: HealthReport = serde_json::from_str(&json).unwrap();
    assert_eq!((read.status, read.checked_at, read.issues.len()), (report.status, report.checked_at, 0));
    assert!(!read.differs_from(&report));
    assert!(json.contains("\"checked_at\":\"2026-01-01T"), "{json}");
}

/// Feature: G4
#[test]
fn with_fewer_than_five_samples_nothing_is_known_and_a_status_changes_at_the_second_word() {
    let process = process(Settings::default());
    for _ in 0..4 {
        process.vitals.record(&Measured::tool_call("search").error_type("timeout"));
    }
    let report = process.vitals.health();
    let tool = report.component(&search()).unwrap();
    assert_eq!((tool.status, tool.score), (Status::Unknown, None));
    for _ in 0..6 {
        process.vitals.record(&Measured::tool_call("search"));
    }
    // From unknown at once.
    let first = process.vitals.health().component(&search()).unwrap().status;
    assert_ne!(first, Status::Unknown);
    for _ in 0..200 {
        process.vitals.record(&Measured::tool_call("search"));
    }
    assert_eq!(process.vitals.health().component(&search()).unwrap().status, first, "said once");
    assert_eq!(process.vitals.health().component(&search()).unwrap().status, Status::Healthy, "said twice");
}

/// Feature: G2
#[test]
fn the_classic_profile_is_the_published_sum() {
    let mut settings = Settings::default();
    settings.profile = Profile::Classic;
    let process = process(settings);
    for call in 0..20 {
        let measured = Measured::agent_run("planner").duration(Duration::from_secs(2));
        process.vitals.record(&if call == 0 { measured.error_type("timeout") } else { measured });
    }
    let report = process.vitals.health();
    let agent = report.component(&Subject::new(SubjectKind::Agent, "planner")).unwrap();
    // 95 * 0.4 + 95 * 0.3 + 50 * 0.2 + 95 * 0.1
    assert!((agent.score.unwrap() - 86.0).abs() < 1e-9, "{agent:?}");
    let weights: Vec<(Part, f64)> = agent.terms.iter().map(|term| (term.name, term.weight)).collect();
    let expected = [(Part::Success, 40.0), (Part::Errors, 30.0), (Part::Speed, 20.0), (Part::Sessions, 10.0)];
    assert_eq!(weights, expected);
}

/// Feature: G5, G6
#[test]
fn the_whole_is_said_in_a_line_and_over_a_window() {
    let process = process(Settings::default());
    process.minutes(10, 10, 1);
    process.vitals.record(&Measured::agent_run("planner").error_type("timeout"));
    let whole = process.vitals.system_health();
    assert_eq!(whole.active_agents, 1);
    assert!((whole.success_rate.unwrap() - 10.0 / 11.0).abs() < 1e-9, "{whole:?}");
    assert_eq!(whole.uptime, Duration::from_secs(600));
    assert!((5..=7).contains(&whole.errors_in_last_5_minutes), "{whole:?}");
    let summary = process.vitals.health_summary(Duration::from_secs(3_600));
    assert!(summary.overall_health_score.unwrap() > 60.0, "{summary:?}");
    assert_eq!(summary.time_window_minutes, 60.0);
    assert_eq!(summary.checks, 12);
    assert_eq!(process.vitals.health_summary(Duration::ZERO).checks, 2, "those of this very moment");
}

/// Feature: G4, G7
#[test]
fn maintenance_is_measured_and_not_judged_and_changes_are_told_of() {
    let process = process(Settings::default());
    let mut changes = process.vitals.subscribe();
    process.minutes(120, 10, 0);
    process.vitals.maintenance(search(), Duration::from_secs(600));
    let report = process.minutes(5, 10, 10);
    let tool = report.component(&search()).unwrap();
    assert_eq!((tool.status, tool.errors > 30), (Status::Maintenance, true));
    assert!(report.issues.iter().all(|issue| issue.subject.name != search().name), "{report}");
    let told = futures_util::FutureExt::now_or_never(changes.next()).expect("told").expect("there");
    assert!(told.component(&search()).is_some());
    assert!(futures_util::FutureExt::now_or_never(changes.next()).is_none(), "nothing new");
    let report = process.minutes(6, 10, 10);
    assert!(report.issues.iter().any(|issue| issue.subject.name == search().name), "{report}");
    assert!(futures_util::FutureExt::now_or_never(changes.next()).is_some());
}

/// Feature: G14
#[test]
fn score_and_status_are_exported() {
    let process = process(Settings::default());
    process.minutes(10, 10, 0);
    process.vitals.flush_blocking(Duration::from_secs(10)).unwrap();
    let scores = process.metrics.metric("agentvitals.health.score");
    let of =
        |kind: &str| scores.iter().rev().find(|point| point.str("agentvitals.subject.kind") == Some(kind));
    assert_eq!(of("system").unwrap().value(), Some(100.0));
    assert_eq!(of("tool").unwrap().str("agentvitals.subject.name"), Some("search"));
    let statuses = process.metrics.metric("agentvitals.health.status");
    let last: Vec<(&str, Option<i64>)> = statuses
        .iter()
        .filter(|point| point.str("agentvitals.subject.kind") == Some("agent"))
        .map(|point| (point.str("agentvitals.health.state").unwrap(), point.int_value()))
        .collect();
    let newest: Vec<_> = last.iter().rev().take(5).collect();
    assert_eq!(newest.iter().filter(|(_, value)| *value == Some(1)).count(), 1, "{newest:?}");
    assert!(newest.contains(&&("healthy", Some(1))), "{newest:?}");
}

/// Feature: G15
#[test]
fn a_target_that_is_surely_missed_is_an_issue() {
    let mut settings = Settings::default();
    settings.targets = Targets::parse("[tool]\np95 = 0.1\n[agent]\np95 = 10.0\n").unwrap();
    let process = process(settings);
    let report = process.minutes(3, 20, 0);
    let missed: Vec<_> = report.issues.iter().filter(|issue| issue.code == Code::TargetMissed).collect();
    assert_eq!(missed.len(), 1, "{report}");
    assert_eq!((missed[0].subject.clone(), missed[0].evidence.limit), (search(), 0.1));
    assert!((missed[0].evidence.observed - 0.2).abs() < 0.01, "{:?}", missed[0].evidence);
    assert!(report.component(&search()).unwrap().score.unwrap() < 100.0, "latency counts");
}

/// Feature: G1
#[test]
fn issues_name_traces_that_show_them() {
    let process = process(Settings::default());
    process.minutes(120, 10, 0);
    let subscriber = tracing_subscriber::registry().with(process.vitals.layer());
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..20 {
            let agent = agent_span!("planner");
            let _in_agent = agent.enter();
            let tool = tool_span!("search");
            tool.record_error_type("timeout");
        }
    });
    process.hand.advance(Duration::from_secs(60));
    process.vitals.flush_blocking(Duration::from_secs(10)).unwrap();
    let report = process.vitals.health();
    let issue = report.issues.iter().find(|issue| issue.code == Code::ToolError).expect("an issue");
    let failed: Vec<String> = process.spans.spans().iter().map(|span| span.trace_id.clone()).collect();
    assert!(!issue.trace_ids.is_empty() && issue.trace_ids.len() <= 5, "{issue}");
    assert!(issue.trace_ids.iter().all(|trace| failed.contains(trace)), "{issue}");
}

/// Feature: A3, G5
#[test]
fn windows_and_operations_are_asked_for_by_name() {
    let process = process(Settings::default());
    process.minutes(10, 6, 0);
    let minutes = process.vitals.performance("planner", Duration::from_secs(300)).unwrap();
    let hour = process.vitals.performance("planner", Duration::from_secs(3_600)).unwrap();
    assert!((5..=6).contains(&minutes.count) && hour.count == 10, "{minutes} / {hour}");
    let search = process.vitals.operation("search").unwrap();
    assert_eq!((search.subject.kind, search.status), (SubjectKind::Tool, Status::Healthy));
    assert_eq!(search.last_hour.unwrap().count, 60);
    assert!(process.vitals.operation("nobody").is_none());
}

/// Feature: G16
#[test]
fn what_ails_agents_is_told_by_its_cause() {
    let told = |trouble: &dyn Fn(&Process, u64)| -> Vec<(Code, String)> {
        let process = process(Settings::default());
        let mut told = Vec::new();
        for minute in 0..150_u64 {
            let troubled = minute >= 120;
            for call in 0..20_u64 {
                let text = format!("call {minute} {call}");
                let tool = Measured::tool_call("search").agent("planner").arguments(&text);
                process.vitals.record(&tool.duration(Duration::from_millis(150 + call)));
                let model = Measured::model_call("openai", "gpt-4o")
                    .agent("planner")
                    .usage(agentvitals::Usage::new(1_000 + 10 * call, 100))
                    .duration(Duration::from_millis(900 + 10 * call));
                if !troubled {
                    process.vitals.record(&model);
                }
            }
            if troubled {
                trouble(&process, minute);
            }
            process.vitals.record(&Measured::agent_run("planner").duration(Duration::from_secs(3)));
            process.hand.advance(Duration::from_secs(60));
            for issue in process.vitals.health().issues {
                let one = (issue.code, issue.subject.to_string());
                if !told.contains(&one) {
                    told.push(one);
                }
            }
        }
        told
    };
    let call = |tokens: u64, answer: u64| {
        Measured::model_call("openai", "gpt-4o")
            .agent("planner")
            .usage(agentvitals::Usage::new(tokens, answer))
            .duration(Duration::from_secs(1))
    };
    let model = || "model gpt-4o of planner".to_owned();
    let grown = told(&|process, _| (0..20).for_each(|_| process.vitals.record(&call(9_000, 100))));
    assert_eq!(grown, [(Code::ContextGrowth, model())]);
    let empty = told(&|process, _| (0..20).for_each(|_| process.vitals.record(&call(1_000, 0))));
    assert_eq!(empty, [(Code::EmptyOutput, model())]);
    let refused = told(&|process, _| (0..20).for_each(|_| process.vitals.record(&call(1_000, 50).refused())));
    assert_eq!(refused, [(Code::EmptyOutput, model())]);
    let limited = told(&|process, _| {
        (0..20).for_each(|_| process.vitals.record(&call(0, 0).error_type("rate_limit")));
    });
    assert_eq!(limited, [(Code::RateLimit, model())]);
    let runaway = told(&|process, _| (0..400).for_each(|_| process.vitals.record(&call(1_000, 100))));
    assert_eq!(runaway, [(Code::Runaway, "agent planner".to_owned())]);
}

/// Feature: G16
#[test]
fn a_run_that_goes_round_in_circles_and_a_call_that_hangs_are_told_of() {
    let process = process(Settings::default());
    process.minutes(120, 10, 0);
    let subscriber = tracing_subscriber::registry().with(process.vitals.layer());
    let hanging = tracing::subscriber::with_default(subscriber, || {
        for _ in 0..3 {
            for _ in 0..6 {
                let agent = agent_span!("planner");
                let _in_agent = agent.enter();
                for _ in 0..8 {
                    drop(tool_span!("search", gen_ai.tool.call.arguments = "{\"q\":\"same\"}"));
                }
            }
            process.hand.advance(Duration::from_secs(60));
            let _ = process.vitals.health();
        }
        let agent = agent_span!("planner");
        let _in_agent = agent.enter();
        tool_span!("search")
    });
    let report = process.vitals.health();
    let codes: Vec<Code> = report.issues.iter().map(|issue| issue.code).collect();
    assert_eq!(codes, [Code::Loop], "{report}");
    // Nothing of it for a while; then the call that was begun is still open.
    let report = process.minutes(20, 10, 0);
    assert!(report.issues.iter().any(|issue| issue.code == Code::Stall), "{report}");
    drop(hanging);
    let report = process.minutes(20, 10, 0);
    assert!(report.issues.is_empty(), "{report}");
}

/// Feature: G17
#[test]
fn telemetry_that_loses_spans_says_so() {
    let (clock, hand) = Clock::manual();
    // Nobody listens there.
    let vitals = agentvitals::builder()
        .config(agentvitals::Config::default())
        .endpoint("http://127.0.0.1:9")
        .batch_delay(Duration::from_millis(1))
        .clock(clock)
        .health_interval(Duration::ZERO)
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(vitals.layer());
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..100 {
            drop(agent_span!("planner"));
        }
    });
    let report = vitals.shutdown_blocking(Duration::from_millis(200)).unwrap();
    assert_eq!(report.lost(), 100);
    hand.advance(Duration::from_secs(1));
    let health = vitals.health();
    let issue = health.issues.iter().find(|issue| issue.code == Code::TelemetryLoss);
    assert!(issue.is_some_and(|issue| issue.summary.contains("100 spans")), "{health}");
}

/// Feature: G13
#[test]
fn a_score_that_falls_is_foreseen_to_be_degraded() {
    use agentvitals::forecast::{Direction, Trend};

    let process = process(Settings::default());
    assert!(process.vitals.health_forecast(Duration::from_secs(600)).unwrap_err().is_config(), "nothing yet");
    // Ever more of the runs of an agent fail, one in a hundred more every other minute.
    for minute in 0..64_u32 {
        for run in 0..100 {
            let measured = Measured::agent_run("planner").duration(Duration::from_secs(1));
            process.vitals.record(&if run < minute / 2 { measured.error_type("timeout") } else { measured });
        }
        process.hand.advance(Duration::from_secs(60));
        let _ = process.vitals.health();
    }
    let forecast = process.vitals.health_forecast(Duration::from_secs(1_800)).unwrap();
    assert_eq!(forecast.trend, Trend::Falling, "{forecast}");
    let now = process.vitals.health().score.unwrap();
    assert!(forecast.value < now, "{forecast} from {now}");
    assert!(forecast.passes(10.0, Direction::Below).is_none(), "nobody knows that");
}

//! The same rules for Prometheus.

use std::fmt::Write as _;
use std::time::Duration;

use super::rule::{Check, Rule};
use super::rules::Rules;
use super::signal::{SLOW, Signal};
use crate::semconv::{attr, error_type, health, host, metric, unit};
use crate::views::SubjectKind;

impl Rules {
    /// The rules as a file for Prometheus (`rule_files`), on the names that it gives the metrics as they arrive over OTLP: dots
    /// become underscores, units and `_total` are appended.
    ///
    /// Spikes are compared with the mean of the hour, forecasts become `predict_linear`, which has no interval.
    pub fn to_prometheus(&self) -> String {
        let mut yaml = String::from("groups:\n  - name: health-agent\n    interval: 30s\n    rules:\n");
        for rule in self.iter() {
            let labels = by(rule.of);
            // Writing to a string cannot fail.
            let _ = write!(
                yaml,
                "      - alert: {}\n        expr: {}\n        for: {}s\n        labels:\n          severity: {}\n          \
                 subject_kind: {}\n        annotations:\n          summary: {}\n          description: {}\n          \
                 action: {}\n",
                camel(&rule.name),
                quoted(&expression(rule)),
                rule.hold.as_secs(),
                rule.severity,
                rule.of,
                quoted(&summary(rule, labels)),
                quoted(&format!(
                    "{} over {} s: {{{{ $value }}}}",
                    rule.signal.as_str(),
                    rule.window.as_secs()
                )),
                quoted(if rule.action.is_empty() { "look at its traces" } else { &rule.action }),
            );
        }
        yaml
    }
}

fn summary(rule: &Rule, labels: &str) -> String {
    let subject = if labels.is_empty() { "system".to_owned() } else { format!("{{{{ $labels.{labels} }}}}") };
    match rule.summary.as_str() {
        "" => format!("{} of {subject}", rule.signal.as_str()),
        text => text
            .replace("{subject}", &subject)
            .replace("{value}", "{{ $value }}")
            .replace("{limit}", &rule.limit().0.to_string()),
    }
}

/// YAML in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `cpu-high` becomes `CpuHigh`.
fn camel(name: &str) -> String {
    name.split(['-', '_', '.'])
        .map(|part| {
            let mut chars = part.chars();
            chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect::<String>()
        })
        .collect()
}

/// A name as Prometheus writes it.
fn underscored(name: &str) -> String {
    name.replace(['.', '-'], "_")
}

/// The label that a kind of subject is named by.
fn by(of: SubjectKind) -> &'static str {
    match of {
        SubjectKind::Agent => "gen_ai_agent_name",
        SubjectKind::Model => "gen_ai_request_model",
        SubjectKind::Tool => "gen_ai_tool_name",
        SubjectKind::Workflow => "gen_ai_workflow_name",
        SubjectKind::Operation => "agentvitals_operation",
        SubjectKind::System => "",
    }
}

/// The histogram of durations of a kind of subject.
fn durations(of: SubjectKind) -> String {
    let name = match of {
        SubjectKind::Agent | SubjectKind::System => metric::INVOKE_AGENT_DURATION,
        SubjectKind::Model => metric::OPERATION_DURATION,
        SubjectKind::Tool => metric::EXECUTE_TOOL_DURATION,
        SubjectKind::Workflow => metric::INVOKE_WORKFLOW_DURATION,
        SubjectKind::Operation => metric::OPERATION_OWN_DURATION,
    };
    format!("{}_seconds", underscored(name))
}

fn expression(rule: &Rule) -> String {
    let of = |window| value(rule, window);
    match rule.check {
        Check::Above(limit) => format!("{} > {limit}", of(rule.window)),
        Check::AtLeast(limit) => format!("{} >= {limit}", of(rule.window)),
        Check::Below(limit) => format!("{} < {limit}", of(rule.window)),
        Check::Spike { factor, floor } => {
            let now = of(rule.window);
            format!("{now} > {factor} * {} and {now} > {floor}", of(Duration::from_secs(3_600)))
        }
        Check::BurnRate { objective, factor } => {
            let limit = (1.0 - objective) * factor;
            let short = (rule.window / 12).max(Duration::from_secs(60));
            format!("{} > {limit:.6} and {} > {limit:.6}", of(rule.window), of(short))
        }
        Check::Forecast { above, horizon } => {
            let step = format!("[{}s:1m]", horizon.as_secs().max(3_600));
            format!("predict_linear(({}){step}, {}) > {above}", of(rule.window), horizon.as_secs())
        }
    }
}

/// The signal over a window, by subject.
fn value(rule: &Rule, window: Duration) -> String {
    let label = by(rule.of);
    let by = if label.is_empty() { String::new() } else { format!(" by ({label})") };
    let by_le = if label.is_empty() { " by (le)".to_owned() } else { format!(" by (le, {label})") };
    let mut selector: Vec<String> = Vec::new();
    if !rule.names.is_empty() && !label.is_empty() {
        let names: Vec<String> = rule.names.iter().map(|name| escaped(name)).collect();
        selector.push(format!("{label}=~\"{}\"", names.join("|")));
    }
    let of = |more: &str| {
        let all: Vec<&str> =
            selector.iter().map(String::as_str).chain((!more.is_empty()).then_some(more)).collect();
        if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
    };
    let window = format!("[{}s]", window.as_secs());
    let histogram = durations(rule.of);
    let error = underscored(attr::ERROR_TYPE);
    let failed = of(&format!("{error}!=\"\",{error}!=\"{}\"", error_type::CANCELLED));
    let judged = of(&format!("{error}!=\"{}\"", error_type::CANCELLED));
    let increase = |name: &str, selector: &str| format!("sum{by} (increase({name}{selector}{window}))");
    let quantile =
        |p: f64| format!("histogram_quantile({p}, sum{by_le} (rate({histogram}_bucket{}{window})))", of(""));
    let share = |selector: &str| {
        format!(
            "{} / {}",
            increase(&format!("{histogram}_count"), selector),
            increase(&format!("{histogram}_count"), &judged)
        )
    };
    match rule.signal {
        Signal::ErrorRate => share(&failed),
        Signal::SuccessRate => format!("1 - ({})", share(&failed)),
        Signal::P50 => quantile(0.5),
        Signal::P95 => quantile(0.95),
        Signal::P99 => quantile(0.99),
        Signal::Average => format!(
            "{} / {}",
            increase(&format!("{histogram}_sum"), &of("")),
            increase(&format!("{histogram}_count"), &of(""))
        ),
        Signal::FailureCount => increase(&format!("{histogram}_count"), &failed),
        Signal::SlowRequests => format!(
            "{} - {}",
            increase(&format!("{histogram}_count"), &of("")),
            increase(&format!("{histogram}_bucket"), &of(&format!("le=\"{SLOW}\"")))
        ),
        Signal::Requests => increase(&format!("{histogram}_count"), &of("")),
        Signal::CostUsd => format!(
            "{} / 1e9",
            increase(&format!("{}_{}_total", underscored(metric::COST), unit::NANO_USD), &of(""))
        ),
        Signal::Tokens => increase(&format!("{}_sum", underscored(metric::TOKEN_USAGE)), &of("")),
        Signal::Loops => increase(&format!("{}_total", underscored(health::metric::LOOPS)), &of("")),
        signal => of_the_whole(rule, signal, label, &increase),
    }
}

/// What is not of a histogram of durations: health, the host, the telemetry.
fn of_the_whole(rule: &Rule, signal: Signal, label: &str, increase: &dyn Fn(&str, &str) -> String) -> String {
    let gauge = |name: &str| format!("max ({})", underscored(name));
    match signal {
        Signal::HealthScore => {
            let name = underscored(health::metric::SCORE);
            let (kind, subject) =
                (underscored(health::attr::SUBJECT_KIND), underscored(health::attr::SUBJECT_NAME));
            match label {
                "" => format!("min ({name}{{{kind}=\"system\"}})"),
                _ => format!(
                    "label_replace(min by ({subject}) ({name}{{{kind}=\"{}\"}}), \"{label}\", \"$1\", \"{subject}\", \"(.*)\")",
                    rule.of
                ),
            }
        }
        Signal::Cpu => {
            format!("{}_ratio)", gauge(host::metric::SYSTEM_CPU_UTILIZATION).trim_end_matches(')'))
        }
        Signal::Memory => {
            format!("{}_ratio)", gauge(host::metric::SYSTEM_MEMORY_UTILIZATION).trim_end_matches(')'))
        }
        Signal::Pool => format!(
            "sum ({}{{{}=\"used\"}}) / sum ({})",
            underscored(host::metric::DB_CONNECTIONS),
            underscored(host::attr::DB_CONNECTION_STATE),
            underscored(host::metric::DB_CONNECTIONS_MAX)
        ),
        Signal::CacheHitRate => {
            let (hits, misses) = (
                increase(&format!("{}_total", underscored(host::metric::CACHE_HITS)), ""),
                increase(&format!("{}_total", underscored(host::metric::CACHE_MISSES)), ""),
            );
            format!("{hits} / ({hits} + {misses})")
        }
        Signal::CacheErrors => increase(&format!("{}_total", underscored(host::metric::CACHE_ERRORS)), ""),
        Signal::SpansLost => increase(&format!("{}_total", underscored(metric::SDK_SPANS_LOST)), ""),
        // The others are made of durations.
        _ => String::new(),
    }
}

/// A name as a regular expression that matches it alone, within a string.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if !c.is_alphanumeric() && c != '_' && c != '-' {
            text.push_str("\\\\");
        }
        text.push(c);
    }
    text
}

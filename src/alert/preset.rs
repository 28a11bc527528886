//! Rules that come with it: the numbers of the sources of the list of features.

use std::str::FromStr;
use std::time::Duration;

use super::rule::{Check, Rule};
use super::rules::Rules;
use super::signal::Signal;
use crate::Error;
use crate::health::Severity::{Critical, Error as High, Info, Warning};
use crate::views::SubjectKind::{Agent, Model, System, Tool};

/// A set of thresholds by name.
///
/// Fixed thresholds do not know what is usual: on recorded runs of real agents they ring about 3,000 times in 1,000 hours of
/// an agent, and miss half of the faults. Health's own tests, which are on without any preset, ring twice and miss 4 in 100.
/// They are for those who have agreed on such numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Preset {
    /// No threshold but those of the host: CPU, memory, connection pools, caches, slow requests.
    #[default]
    Host,
    /// Errors above 20 %, p95 above 5 s.
    Relaxed,
    /// Errors above 10 %, p95 above 3 s, health below 70, more than 10 failures in 5 minutes, spikes of errors and cost.
    Default,
    /// Success below 95 % (below 90 %: error), errors above 5 %, p95 above 2 s (above 3 s: error), health below 80.
    Production,
    /// Errors above 5 %, p95 above 3 s, more than 5 failures in 5 minutes.
    Strict,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Host, Self::Relaxed, Self::Default, Self::Production, Self::Strict];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Relaxed => "relaxed",
            Self::Default => "default",
            Self::Production => "production",
            Self::Strict => "strict",
        }
    }

    /// Its rules; those of the host are in each.
    pub(super) fn rules(self) -> Vec<Rule> {
        let mut rules = host();
        match self {
            Self::Host => {}
            Self::Relaxed => {
                rules.extend(errors(0.20));
                rules.extend(p95(5.0));
            }
            Self::Default => {
                rules.extend(errors(0.10));
                rules.extend(p95(3.0));
                rules.extend(health(70.0));
                rules.push(failures(10.0));
                rules.push(success(0.90, "low-success", High));
                rules.push(
                    Rule::new("slow-responses", Agent, Signal::Average, Check::Above(5.0))
                        .action("look at the slowest traces of the window"),
                );
                rules.extend(spikes());
            }
            Self::Production => {
                rules.extend(errors(0.05));
                rules.extend(p95(2.0));
                rules.push(
                    Rule::new("very-slow-agent", Agent, Signal::P95, Check::Above(3.0))
                        .severity(High)
                        .group("p95-agent"),
                );
                rules.extend(health(80.0));
                rules.push(success(0.95, "success-below-target", Warning).group("success"));
                rules.push(success(0.90, "low-success", High).group("success"));
            }
            Self::Strict => {
                rules.extend(errors(0.05));
                rules.extend(p95(3.0));
                rules.push(failures(5.0));
            }
        }
        rules
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == text).ok_or_else(|| {
            Error::config(format!(
                "preset {text:?} is not known: it is host, relaxed, default, production or strict"
            ))
        })
    }
}

impl Rules {
    /// The rules of a preset.
    pub fn preset(preset: Preset) -> Self {
        // Checked by a test; a rule that could not be would be left out.
        Self::new(preset.rules()).unwrap_or_default()
    }
}

/// Success below 90 % and errors above 10 % are one signal: where both are set they are one group.
fn errors(limit: f64) -> [Rule; 3] {
    [(Agent, "errors-agent"), (Model, "errors-model"), (Tool, "errors-tool")].map(|(of, name)| {
        Rule::new(name, of, Signal::ErrorRate, Check::Above(limit))
            .group(if of == Agent { "success" } else { name })
            .summary("High error rate: {value} of {subject} (limit {limit})")
            .action("read the error class and the newest failed traces")
    })
}

fn p95(limit: f64) -> [Rule; 3] {
    [(Agent, "p95-agent"), (Model, "p95-model"), (Tool, "p95-tool")].map(|(of, name)| {
        Rule::new(name, of, Signal::P95, Check::Above(limit))
            .group(name)
            .summary("p95 of {subject} is {value} (limit {limit})")
            .action("look at its slowest traces")
    })
}

/// With the texts of the agent guide.
fn health(limit: f64) -> [Rule; 2] {
    let rule =
        |name: &str, limit| Rule::new(name, Agent, Signal::HealthScore, Check::Below(limit)).group("health");
    [
        rule("agent-degraded", limit).summary("Agent health degraded: {value}/100"),
        rule("agent-unhealthy", 60.0).severity(Critical).summary("Agent is unhealthy: {value}/100"),
    ]
    .map(|rule| rule.action("read the issues of its health report"))
}

fn failures(limit: f64) -> Rule {
    Rule::new("failures", Agent, Signal::FailureCount, Check::Above(limit))
        .summary("{value} of {subject} in 5 minutes (limit {limit})")
        .action("read the newest failed traces")
}

fn success(limit: f64, name: &str, severity: crate::health::Severity) -> Rule {
    Rule::new(name, Agent, Signal::SuccessRate, Check::Below(limit))
        .severity(severity)
        .group("success")
        .summary("Low success rate: {value} of {subject} (limit {limit})")
        .action("compare failed with successful runs")
}

fn spikes() -> [Rule; 2] {
    [
        Rule::new("error-spike", Agent, Signal::ErrorRate, Check::Spike { factor: 3.0, floor: 0.05 })
            .severity(High)
            .action("read the newest failed traces"),
        Rule::new("cost-spike", Agent, Signal::CostUsd, Check::Spike { factor: 3.0, floor: 0.10 })
            .action("look at which model calls have become dearer or more"),
    ]
}

/// The table of the dashboard guide: what each is, for how long, how bad, and what to do.
fn host() -> Vec<Rule> {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let above = |name: &str, signal, limit| Rule::new(name, System, signal, Check::Above(limit));
    vec![
        above("cpu-high", Signal::Cpu, 0.80).hold(minutes(5)).group("cpu").action("Investigate load"),
        above("cpu-critical", Signal::Cpu, 0.95)
            .hold(minutes(2))
            .group("cpu")
            .severity(Critical)
            .action("Scale up"),
        above("memory-high", Signal::Memory, 0.85).hold(minutes(5)).group("memory").action("Look for leaks"),
        above("memory-critical", Signal::Memory, 0.95).group("memory").severity(Critical).action("Restart"),
        Rule::new("pool-exhausted", System, Signal::Pool, Check::AtLeast(1.0))
            .hold(minutes(1))
            .group("pool")
            .severity(Critical)
            .action("Increase the pool"),
        above("pool-high", Signal::Pool, 0.80)
            .hold(minutes(5))
            .group("pool")
            .action("Look for connections that are held long"),
        Rule::new("cache-hit-rate-low", System, Signal::CacheHitRate, Check::Below(0.30))
            .hold(minutes(10))
            .window(minutes(5))
            .action("Look at keys and lifetimes"),
        above("cache-errors", Signal::CacheErrors, 0.0).action("Check the cache server (Redis)"),
        Rule::new("slow-requests", Agent, Signal::SlowRequests, Check::Above(10.0))
            .severity(Info)
            .summary("SLOW REQUESTS: {value} of {subject} took longer than 3 s in 5 minutes")
            .action("Look at the slowest traces"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feature: H2, H3, H4, H5, H6, H10
    #[test]
    fn presets_have_the_numbers_of_their_sources() {
        let limit = |preset: Preset, name: &str| {
            let rules = Rules::new(preset.rules()).unwrap();
            let rule =
                rules.iter().find(|rule| &*rule.name == name).cloned().unwrap_or_else(|| panic!("{name}"));
            (rule.limit().0, rule.hold.as_secs(), rule.severity)
        };
        assert_eq!(limit(Preset::Relaxed, "errors-agent"), (0.20, 0, Warning));
        assert_eq!(limit(Preset::Relaxed, "p95-agent"), (5.0, 0, Warning));
        assert_eq!(limit(Preset::Default, "errors-agent"), (0.10, 0, Warning));
        assert_eq!(limit(Preset::Default, "p95-agent"), (3.0, 0, Warning));
        assert_eq!(limit(Preset::Default, "agent-degraded"), (70.0, 0, Warning));
        assert_eq!(limit(Preset::Default, "failures"), (10.0, 0, Warning));
        assert_eq!(limit(Preset::Default, "low-success"), (0.90, 0, High));
        assert_eq!(limit(Preset::Production, "success-below-target"), (0.95, 0, Warning));
        assert_eq!(limit(Preset::Production, "errors-agent"), (0.05, 0, Warning));
        assert_eq!(limit(Preset::Production, "p95-agent"), (2.0, 0, Warning));
        assert_eq!(limit(Preset::Production, "very-slow-agent"), (3.0, 0, High));
        assert_eq!(limit(Preset::Production, "agent-degraded"), (80.0, 0, Warning));
        assert_eq!(limit(Preset::Strict, "errors-agent"), (0.05, 0, Warning));
        assert_eq!(limit(Preset::Strict, "failures"), (5.0, 0, Warning));
        assert_eq!(limit(Preset::Host, "cpu-high"), (0.80, 300, Warning));
        assert_eq!(limit(Preset::Host, "cpu-critical"), (0.95, 120, Critical));
        assert_eq!(limit(Preset::Host, "memory-high"), (0.85, 300, Warning));
        assert_eq!(limit(Preset::Host, "memory-critical"), (0.95, 0, Critical));
        assert_eq!(limit(Preset::Host, "pool-exhausted"), (1.0, 60, Critical));
        assert_eq!(limit(Preset::Host, "pool-high"), (0.80, 300, Warning));
        assert_eq!(limit(Preset::Host, "cache-hit-rate-low"), (0.30, 600, Warning));
        assert_eq!(limit(Preset::Host, "cache-errors"), (0.0, 0, Warning));
        assert_eq!(limit(Preset::Host, "slow-requests"), (10.0, 0, Info));
        for preset in Preset::ALL {
            assert_eq!(preset.as_str().parse::<Preset>().unwrap(), preset);
            assert!(Rules::preset(preset).iter().count() >= 9, "{preset:?}");
        }
        assert!("lax".parse::<Preset>().unwrap_err().to_string().contains("\"lax\""));
    }
}

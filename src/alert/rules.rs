//! A set of rules, and what they say of views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::condition::{Condition, Source, Verdict};
use super::rule::{Check, Rule};
use super::signal::Signal;
use crate::Error;
use crate::forecast::{Direction, MetricKind, Options, Series, forecast};
use crate::health::{Evidence, HealthReport, quantity};
use crate::views::{Subject, SubjectKind, Views};

/// Rules that are checked at once at most.
pub(super) const MAX_RULES: usize = 1_000;
/// Subjects of spikes and forecasts that are remembered.
const MAX_REMEMBERED: usize = 10_000;
/// Half of a baseline is of the last hour, one value a minute.
const BASELINE: f64 = 1.0 / 87.0;
/// Values before a baseline says anything.
const KNOWN: u32 = 10;
/// One value a minute for baselines and forecasts.
const MINUTE: Duration = Duration::from_secs(60);
/// Values of a forecast's series that are kept: three horizons of minutes, so that what was long before says little, and
/// at least and at most so many.
const KEPT: (usize, usize) = (180, 600);
/// How often a forecast is made.
const FORECAST_EVERY: Duration = Duration::from_secs(300);

/// What is remembered of one subject for one rule.
#[derive(Debug, Clone, Default)]
struct Memory {
    at: Option<SystemTime>,
    baseline: f64,
    values: u32,
    series: Vec<(u64, f64)>,
    forecast_at: Option<SystemTime>,
    told: Option<(String, f64)>,
}

/// A set of rules. See [`Rules::parse`] for files, [`Rules::preset`](Self::preset) for what comes with it.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    memory: BTreeMap<(Arc<str>, Subject), Memory>,
}

impl Rules {
    /// No rule at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// These rules.
    ///
    /// # Errors
    /// A rule that cannot be, or two of one name ([`Error::is_config`]).
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Result<Self, Error> {
        let rules: Vec<Rule> = rules.into_iter().collect();
        if rules.len() > MAX_RULES {
            return Err(Error::config(format!("{} rules: expected at most {MAX_RULES}", rules.len())));
        }
        let mut names = BTreeSet::new();
        for rule in &rules {
            rule.check()?;
            if !names.insert(&rule.name) {
                return Err(Error::config(format!("rule {:?} is there twice", &*rule.name)));
            }
        }
        Ok(Self { rules, memory: BTreeMap::new() })
    }

    /// The rules, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Takes these rules instead; what is remembered of rules that stay, stays.
    pub fn replace(&mut self, other: Self) {
        let stays: BTreeSet<Arc<str>> = other
            .rules
            .iter()
            .filter(|rule| self.rules.contains(rule))
            .map(|rule| Arc::clone(&rule.name))
            .collect();
        self.memory.retain(|(rule, _), _| stays.contains(rule));
        self.rules = other.rules;
    }

    /// The names of the rules.
    pub(super) fn names(&self) -> BTreeSet<Arc<str>> {
        self.rules.iter().map(|rule| Arc::clone(&rule.name)).collect()
    }

    /// What the rules say of each subject that they are about.
    pub fn evaluate(&mut self, views: &Views, health: &HealthReport, now: SystemTime) -> Vec<Condition> {
        let mut subjects = views.subjects();
        let system = Subject::system();
        if !subjects.contains(&system) {
            subjects.push(system);
        }
        let mut conditions = Vec::new();
        for rule in &self.rules {
            for subject in subjects.iter().filter(|subject| rule.is_about(subject)) {
                conditions.push(condition(rule, subject, &mut self.memory, views, health, now));
            }
        }
        if self.memory.len() > MAX_REMEMBERED {
            self.memory.retain(|(_, subject), _| subjects.contains(subject));
        }
        conditions
    }
}

fn condition(
    rule: &Rule,
    subject: &Subject,
    memory: &mut BTreeMap<(Arc<str>, Subject), Memory>,
    views: &Views,
    health: &HealthReport,
    now: SystemTime,
) -> Condition {
    let read = |window| {
        let (value, samples) = rule.signal.read(views, health, subject, window, now)?;
        (rule.signal.is_count() || samples >= rule.min_samples).then_some((value, samples))
    };
    let seen = read(rule.window);
    let (limit, _) = rule.limit();
    let mut found = Found { active: seen.map(|_| false), limit, text: None };
    if let Some((value, _)) = seen {
        found.active = Some(match rule.check {
            Check::Above(limit) => value > limit,
            Check::AtLeast(limit) => value >= limit,
            Check::Below(limit) => value < limit,
            Check::BurnRate { .. } => {
                // The short window says whether it still goes on.
                let short = read((rule.window / 12).max(MINUTE));
                value > limit && short.is_some_and(|(value, _)| value > limit)
            }
            Check::Spike { factor, floor } => {
                let memory = memory.entry((Arc::clone(&rule.name), subject.clone())).or_default();
                found.limit = (memory.baseline * factor).max(floor);
                let spike = memory.values >= KNOWN && value > found.limit;
                memory.learn(value, spike, now);
                spike
            }
            Check::Forecast { above, horizon } => {
                let memory = memory.entry((Arc::clone(&rule.name), subject.clone())).or_default();
                found.text = memory.foresee(rule.signal, value, above, horizon, now);
                found.text.is_some()
            }
        });
    }
    made(rule, subject, seen, &found, health)
}

struct Found {
    active: Option<bool>,
    limit: f64,
    text: Option<String>,
}

fn made(
    rule: &Rule,
    subject: &Subject,
    seen: Option<(f64, u64)>,
    found: &Found,
    health: &HealthReport,
) -> Condition {
    let unit = rule.signal.unit();
    let value = seen.map_or(0.0, |(value, _)| value);
    let name = match subject.kind {
        SubjectKind::System => "system".to_owned(),
        _ => subject.to_string(),
    };
    let summary = match (&found.text, rule.summary.as_str()) {
        (Some(text), _) => format!("{name}: {text}"),
        (None, "") => {
            let beyond = if rule.limit().1 { "above" } else { "below" };
            let (signal, limit) = (rule.signal.as_str(), quantity(found.limit, unit));
            format!("{name}: {signal} is {}, {beyond} {limit}", quantity(value, unit))
        }
        (None, template) => template
            .replace("{subject}", &name)
            .replace("{value}", &quantity(value, unit))
            .replace("{limit}", &quantity(found.limit, unit)),
    };
    let concerned = health
        .issues
        .iter()
        .find(|issue| issue.subject.kind == subject.kind && issue.subject.name == subject.name);
    Condition {
        source: Source::Rule,
        rule: Arc::clone(&rule.name),
        group: rule.group.clone().unwrap_or_else(|| Arc::clone(&rule.name)),
        subject: subject.clone(),
        severity: rule.severity,
        verdict: match found.active {
            None => Verdict::Unknown,
            Some(true) => Verdict::Active,
            Some(false) => Verdict::Inactive,
        },
        evidence: seen.map(|(observed, samples)| Evidence {
            observed,
            limit: found.limit,
            unit: unit.into(),
            window_s: rule.window.as_secs_f64(),
            samples: if samples == u64::MAX { 1 } else { samples },
        }),
        summary,
        advice: rule.action.clone(),
        trace_ids: concerned.map(|issue| issue.trace_ids.clone()).unwrap_or_default(),
        top_error: concerned.and_then(|issue| issue.top_error.clone()),
        hold: rule.hold,
        keep_firing: rule.keep_firing,
        labels: BTreeMap::new(),
    }
}

impl Memory {
    /// Whether a minute has passed since the last value.
    fn is_due(&mut self, now: SystemTime) -> bool {
        let due = self.at.is_none_or(|at| now.duration_since(at).unwrap_or_default() >= MINUTE);
        if due {
            self.at = Some(now);
        }
        due
    }

    fn learn(&mut self, value: f64, spike: bool, now: SystemTime) {
        if spike || !self.is_due(now) {
            return;
        }
        self.values = self.values.saturating_add(1);
        // At first a plain mean.
        let weight = BASELINE.max(1.0 / f64::from(self.values));
        self.baseline += weight * (value - self.baseline);
    }

    /// What is to be told of the future: that the limit will be passed, if the forecast's interval says so.
    fn foresee(
        &mut self,
        signal: Signal,
        value: f64,
        above: f64,
        horizon: Duration,
        now: SystemTime,
    ) -> Option<String> {
        if self.is_due(now) {
            let at = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.series.push((u64::try_from(at.as_nanos()).unwrap_or(u64::MAX), value));
            let minutes = usize::try_from(horizon.as_secs() / 60).unwrap_or(usize::MAX);
            let kept = minutes.saturating_mul(3).clamp(KEPT.0, KEPT.1);
            let old = self.series.len().saturating_sub(kept);
            self.series.drain(..old);
        }
        let due =
            self.forecast_at.is_none_or(|at| now.duration_since(at).unwrap_or_default() >= FORECAST_EVERY);
        if due {
            self.forecast_at = Some(now);
            self.told = self.crossing(signal, above, horizon).map(|text| (text, value));
        }
        // What has come already is for other rules.
        self.told.as_ref().filter(|_| value <= above).map(|(text, _)| text.clone())
    }

    fn crossing(&self, signal: Signal, above: f64, horizon: Duration) -> Option<String> {
        let mut series = Series::default();
        for (at, value) in &self.series {
            series.push(*at, *value).ok()?;
        }
        let kind = match signal {
            Signal::P50 | Signal::P95 | Signal::P99 | Signal::Average => MetricKind::Latency,
            Signal::CostUsd => MetricKind::Cost,
            Signal::ErrorRate => MetricKind::ErrorRate,
            Signal::Tokens => MetricKind::Tokens,
            Signal::Requests => MetricKind::Traffic,
            Signal::Cpu | Signal::Memory | Signal::Pool => MetricKind::Saturation,
            _ => MetricKind::Other,
        };
        let options = Options::new().named(signal.as_str()).unit(signal.unit()).kind(kind);
        // Too short a history is no error here: nothing can be told yet.
        let forecast = forecast(&series, horizon.min(series.span()), &options).ok()?;
        forecast.passes(above, Direction::Above).map(|crossing| crossing.to_string())
    }
}

//! Which alerts were right, and which faults were told of.

use std::collections::BTreeMap;
use std::time::Duration;

use agentvitals::Subject;
use serde::Serialize;

use super::scenario::{Fault, Scenario};

/// An alert that came up, or that goes on.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// The kinds of faults that it may mean: one, or several for a threshold that cannot tell them apart.
    pub(super) kinds: Vec<Fault>,
    pub(super) subject: Subject,
    /// Whether it came up just now.
    pub(super) fresh: bool,
}

/// How many faults of a kind there were, and of how many was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OfKind {
    /// Faults.
    pub faults: u64,
    /// Those of which was told in time.
    pub detected: u64,
}

/// How well faults were told of.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Faults that were injected.
    pub faults: u64,
    /// Those of which an alert of the right kind on the right target told while they lasted, or within two evaluations
    /// after.
    pub detected: u64,
    /// Their share; `None` without faults.
    pub recall: Option<f64>,
    /// All other alerts.
    pub false_alarms: u64,
    /// The same in a thousand hours of an agent.
    pub false_alarms_per_1000_agent_hours: f64,
    /// How many evaluations it took to tell of a fault, the one at which it was told counted; `None` if none was.
    pub median_delay_evaluations: Option<f64>,
    /// By the kind of the fault.
    pub per_kind: BTreeMap<&'static str, OfKind>,
    /// The false alarms themselves, by what they said, with how often.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub false_alarms_by_alert: BTreeMap<String, u64>,
}

/// Compares alerts with faults.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    scenarios: &'a [Scenario],
    interval: Duration,
    /// After how many evaluations each was told of.
    delays: Vec<Option<u64>>,
    false_alarms: BTreeMap<String, u64>,
}

/// For how many evaluations after a fault it may still be told of.
const AFTER: u32 = 2;

impl<'a> Judge<'a> {
    pub(super) fn new(scenarios: &'a [Scenario], interval: Duration) -> Self {
        Self { scenarios, interval, delays: vec![None; scenarios.len()], false_alarms: BTreeMap::new() }
    }

    /// The alerts at an evaluation, `now` from the beginning of the hours that count.
    pub(super) fn evaluation(&mut self, now: Duration, told: &[Told]) {
        for alert in told {
            let mut right = false;
            for (scenario, delay) in self.scenarios.iter().zip(&mut self.delays) {
                let over = scenario.start + scenario.duration + self.interval * AFTER;
                if now <= scenario.start || now > over || !alert.is_about(scenario) {
                    continue;
                }
                right = true;
                if delay.is_none() {
                    let evaluations = (now - scenario.start).as_nanos().div_ceil(self.interval.as_nanos());
                    *delay = Some(u64::try_from(evaluations).unwrap_or(u64::MAX));
                }
            }
            if alert.fresh && !right {
                let kind = alert.kinds.first().map_or("", |kind| kind.as_str());
                *self.false_alarms.entry(format!("{kind}: {}", alert.subject)).or_default() += 1;
            }
        }
    }

    pub(super) fn verdict(&self, agent_hours: f64) -> Verdict {
        let mut verdict = Verdict {
            faults: self.scenarios.len() as u64,
            detected: self.delays.iter().flatten().count() as u64,
            false_alarms: self.false_alarms.values().sum(),
            false_alarms_by_alert: self.false_alarms.clone(),
            ..Verdict::default()
        };
        verdict.recall = (verdict.faults > 0).then(|| verdict.detected as f64 / verdict.faults as f64);
        verdict.false_alarms_per_1000_agent_hours = verdict.false_alarms as f64 * 1_000.0 / agent_hours;
        let mut delays: Vec<u64> = self.delays.iter().flatten().copied().collect();
        delays.sort_unstable();
        verdict.median_delay_evaluations = match delays.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(delays[odd / 2] as f64),
            even => Some((delays[even / 2 - 1] + delays[even / 2]) as f64 / 2.0),
        };
        for (scenario, delay) in self.scenarios.iter().zip(&self.delays) {
            let kind = verdict.per_kind.entry(scenario.kind.as_str()).or_default();
            kind.faults += 1;
            kind.detected += u64::from(delay.is_some());
        }
        verdict
    }
}

impl Told {
    /// Whether it is of the right kind and on the right target.
    fn is_about(&self, scenario: &Scenario) -> bool {
        self.kinds.contains(&scenario.kind)
            && scenario.target.as_deref().is_none_or(|target| {
                *self.subject.name == *target || self.subject.agent.as_deref() == Some(target)
            })
    }
}

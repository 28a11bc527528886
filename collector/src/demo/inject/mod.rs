//! How true alarms are: recorded runs in simulated time, with faults that are known, and what health says of them.
//!
//! Runs are drawn with replacement and arrive at random, more by day than at night. Each is a real agent's span with real
//! spans below, measured by the real SDK on a clock that is moved by hand; once a simulated minute the metrics are
//! collected and health evaluates them. A day without faults goes before, in which it learns what is usual.

mod fixed;
mod judge;
mod scenario;
mod simulation;
mod stage;
mod traffic;

use std::time::Duration;

use agentvitals::Clock;
use agentvitals::health::{Evaluator, STEP};
use serde::Serialize;
use tracing_subscriber::layer::SubscriberExt as _;

pub use self::judge::{Listed, MAX_LISTED, OfKind, Verdict};
pub use self::scenario::{Fault, Scenario, read_file};

use self::fixed::Fixed;
use self::judge::{Judge, Told};
use self::simulation::Simulation;
use super::runs::Run;
use crate::Error;

/// What is simulated.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The hours that count, above 0.
    pub hours: f64,
    /// Agents that serve at the same time.
    pub agents: u32,
    /// Runs that each of them serves an hour, in the mean.
    pub runs_per_hour: f64,
    /// The hours before, without faults, in which health learns what is usual.
    pub warm_up: Duration,
    /// The same seed gives the same result.
    pub seed: u64,
}

impl Settings {
    /// So many hours with so many agents, by this seed; all else as it is by default.
    pub fn new(hours: f64, agents: u32, seed: u64) -> Self {
        Self { hours, agents, seed, ..Self::default() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { hours: 24.0, agents: 10, runs_per_hour: 60.0, warm_up: Duration::from_secs(86_400), seed: 1 }
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// Agents times hours.
    pub agent_hours: f64,
    /// Evaluations in the hours that count: one a minute.
    pub evaluations: u64,
    /// How true the default rules are.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How true fixed thresholds of other systems are, on the same data.
    #[serde(rename = "static")]
    pub fixed: Verdict,
    /// Runs that took place, with those before the hours that count.
    pub runs: u64,
    /// Operations that were measured.
    pub operations: u64,
    /// The seed.
    pub seed: u64,
}

/// Simulates, and compares what health says with the faults. `progress` is told how many of how many evaluations are made.
///
/// # Errors
/// Settings that cannot be, or telemetry that cannot be started.
pub fn simulate(
    runs: &[Run],
    scenarios: &[Scenario],
    settings: &Settings,
    mut progress: impl FnMut(u64, u64),
) -> Result<Outcome, Error> {
    check(settings)?;
    let (clock, hand) = Clock::manual();
    let telemetry = agentvitals::Builder::default()
        .config(agentvitals::Config::default())
        .without_export()
        .clock(clock.clone())
        .build()
        .map_err(|error| Error::failed(error.to_string()))?;
    let subscriber = tracing_subscriber::registry().with(telemetry.agent_layer());
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let traffic = (settings.seed, settings.runs_per_hour * f64::from(settings.agents), settings.warm_up);
    let mut simulation = Simulation::new(runs, scenarios, &telemetry, hand, traffic);
    let mut evaluator = Evaluator::new();
    let (mut fixed, mut judge, mut fixed_judge) =
        (Fixed::default(), Judge::new(scenarios, STEP), Judge::new(scenarios, STEP));
    let before = steps(settings.warm_up);
    let counted = steps(Duration::from_secs_f64(settings.hours * 3_600.0));
    let step = STEP.as_nanos() as u64;
    for evaluation in 1..=before + counted {
        simulation.run_until(evaluation * step);
        telemetry.collect().map_err(|error| Error::failed(error.to_string()))?;
        let now = clock.wall();
        let findings = evaluator.step(&telemetry.views().take(now), now);
        let thresholds = fixed.evaluate(telemetry.views(), now);
        if evaluation > before {
            let at = STEP * u32::try_from(evaluation - before).unwrap_or(u32::MAX);
            let told: Vec<Told> = findings
                .iter()
                .map(|finding| Told {
                    kinds: Fault::ALL.into_iter().filter(|fault| fault.code() == finding.code).collect(),
                    what: finding.code.as_str(),
                    subject: finding.subject.clone(),
                    fresh: finding.since == now,
                })
                .collect();
            judge.evaluation(at, &told);
            fixed_judge.evaluation(at, &thresholds);
        }
        progress(evaluation, before + counted);
    }
    let agent_hours = f64::from(settings.agents) * settings.hours;
    Ok(Outcome {
        agent_hours,
        evaluations: counted,
        verdict: judge.verdict(agent_hours),
        fixed: fixed_judge.verdict(agent_hours),
        runs: simulation.started,
        operations: simulation.operations,
        seed: settings.seed,
    })
}

fn steps(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(STEP.as_nanos())).unwrap_or(u64::MAX)
}

fn check(settings: &Settings) -> Result<(), Error> {
    let Settings { hours, agents, runs_per_hour, .. } = settings;
    if !(*hours > 0.0 && *hours <= 10_000.0) {
        return Err(Error::input(format!("{hours} hours: expected above 0 and at most 10000")));
    }
    if !(1..=10_000).contains(agents) {
        return Err(Error::input(format!("{agents} agents: expected 1 to 10000")));
    }
    if !(*runs_per_hour > 0.0 && *runs_per_hour <= 3_600.0) {
        return Err(Error::input(format!("{runs_per_hour} runs an hour: expected above 0 and at most 3600")));
    }
    Ok(())
}

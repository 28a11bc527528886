//! Recorded runs in simulated time, with faults: real spans, real metrics, a clock that is moved by hand.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use agentvitals::cost::Prices;
use agentvitals::semconv::error_type;
use agentvitals::{ManualClock, Outcome, RecordOperation as _, Telemetry, agent_span};
use tracing::Span;

use super::super::runs::{Action, Run};
use super::scenario::{Fault, Scenario};
use super::stage::{Measure, Stage};
use super::traffic::Traffic;

/// Finished operations after which they are measured: so few that the SDK's own thread is never woken to do it, which
/// would make the order of measurements depend on the machine.
const SETTLE: u32 = 12;

/// How long a step takes whose duration nobody recorded, if none of its kind was: nanoseconds.
const ASSUMED: [u64; 2] = [1_000_000_000, 100_000_000];

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(usize),
    StepEnd(usize),
}

/// A run that goes on.
#[derive(Debug)]
struct Going {
    run: usize,
    agents: Vec<Span>,
    next: usize,
    stage: Option<Stage>,
    /// Steps that are made again: from, to (both included), how often still.
    again: Option<(usize, usize, u32)>,
    looped: bool,
}

/// The world that is simulated.
pub(super) struct Simulation<'a> {
    runs: &'a [Run],
    measures: Vec<Vec<Measure>>,
    pools: [Vec<u64>; 2],
    scenarios: &'a [Scenario],
    /// When the hours begin that count, nanoseconds from the start.
    warm_up: u64,
    traffic: Traffic,
    /// Chance for what faults hit, apart from that of the traffic: the same runs come with and without faults.
    chance: fastrand::Rng,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    going: Vec<Option<Going>>,
    free: Vec<usize>,
    now: u64,
    hand: ManualClock,
    telemetry: &'a Telemetry,
    unsettled: u32,
    pub(super) operations: u64,
    pub(super) started: u64,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(
        runs: &'a [Run],
        scenarios: &'a [Scenario],
        telemetry: &'a Telemetry,
        hand: ManualClock,
        (seed, runs_per_hour, warm_up): (u64, f64, Duration),
    ) -> Self {
        let prices = Prices::default();
        let measures: Vec<Vec<Measure>> = runs
            .iter()
            .map(|run| (0..run.steps.len()).map(|step| Measure::of(&prices, run, step)).collect())
            .collect();
        let mut pools = [Vec::new(), Vec::new()];
        for (run, measures) in runs.iter().zip(&measures) {
            for (step, measure) in run.steps.iter().zip(measures) {
                pools[kind_of(&step.action)].extend(measure.duration_ns);
            }
        }
        let mut simulation = Self {
            runs,
            measures,
            pools,
            scenarios,
            warm_up: u64::try_from(warm_up.as_nanos()).unwrap_or(u64::MAX),
            traffic: Traffic::new(seed, runs_per_hour, runs.len()),
            chance: fastrand::Rng::with_seed(!seed),
            events: BinaryHeap::new(),
            sequence: 0,
            going: Vec::new(),
            free: Vec::new(),
            now: 0,
            hand,
            telemetry,
            unsettled: 0,
            operations: 0,
            started: 0,
        };
        simulation.expect_run();
        simulation
    }

    fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn expect_run(&mut self) {
        let (at, run) = self.traffic.next(self.now);
        self.push(at, Event::Arrival(run));
    }

    /// Lets time pass until `end`, nanoseconds from the start.
    pub(super) fn run_until(&mut self, end: u64) {
        while self.events.peek().is_some_and(|Reverse((at, _, _))| *at <= end) {
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.move_to(at);
            match event {
                Event::Arrival(run) => {
                    self.arrive(run);
                    self.expect_run();
                }
                Event::StepEnd(place) => self.step_ends(place),
            }
        }
        self.move_to(end);
    }

    fn move_to(&mut self, at: u64) {
        self.hand.advance(Duration::from_nanos(at.saturating_sub(self.now)));
        self.now = at;
    }

    fn arrive(&mut self, run: usize) {
        if self.is_silenced(run) {
            return;
        }
        self.started += 1;
        let agents = self.runs[run].agents.iter().map(|agent| agent_span!(agent.name)).collect();
        let going = Going { run, agents, next: 0, stage: None, again: None, looped: false };
        let place = self.free.pop().unwrap_or_else(|| {
            self.going.push(None);
            self.going.len() - 1
        });
        self.going[place] = Some(going);
        self.step_begins(place);
    }

    fn step_ends(&mut self, place: usize) {
        let Some(going) = self.going.get_mut(place).and_then(Option::as_mut) else { return };
        if let Some(stage) = going.stage.take() {
            stage.end();
            self.operations += 1;
            self.settle(1);
        }
        self.step_begins(place);
    }

    /// Begins the next step of a run, or ends it.
    fn step_begins(&mut self, place: usize) {
        let Some(mut going) = self.going[place].take() else { return };
        loop {
            if self.is_silenced(going.run) {
                return self.end(place, going, true);
            }
            let run = &self.runs[going.run];
            if going.next >= run.steps.len() {
                return self.end(place, going, false);
            }
            let number = going.next;
            let step = &run.steps[number];
            let hits = self.hits(going.run, number, going.looped);
            Self::go_on(run, &mut going, &hits);
            // What nobody asks for does not take place.
            if hits.iter().any(|(scenario, _)| scenario.kind == Fault::Silence) {
                continue;
            }
            let measure = self.measures[going.run][number];
            let takes = measure.duration_ns.unwrap_or_else(|| self.draw(kind_of(&step.action)));
            let stage = Stage::begin(&going.agents[step.agent], &step.action, measure, takes, &hits);
            let at = self.now.saturating_add(stage.takes_ns);
            going.stage = Some(stage);
            self.going[place] = Some(going);
            return self.push(at, Event::StepEnd(place));
        }
    }

    /// Sets which step is next.
    fn go_on(run: &Run, going: &mut Going, hits: &[(&Scenario, u64)]) {
        let number = going.next;
        going.next += 1;
        if let Some((from, to, times)) = going.again {
            if number == to {
                going.again = (times > 1).then_some((from, to, times - 1));
                going.next = if times > 0 { from } else { going.next };
            }
            return;
        }
        if let Some((scenario, _)) = hits.iter().find(|(scenario, _)| scenario.kind == Fault::Loop) {
            let agent = run.steps[number].agent;
            let before = number.checked_sub(1).filter(|before| {
                run.steps[*before].agent == agent && matches!(run.steps[*before].action, Action::Model(_))
            });
            let from = before.unwrap_or(number);
            let times = scenario.factor.round().max(1.0) as u32;
            going.looped = true;
            going.again = (times > 1).then_some((from, number, times - 1));
            going.next = from;
        }
    }

    fn end(&mut self, place: usize, going: Going, given_up: bool) {
        let run = &self.runs[going.run];
        for (number, span) in going.agents.into_iter().enumerate() {
            if given_up {
                span.record_error_type(error_type::CANCELLED);
            } else if number == 0
                && let Some(success) = run.success
            {
                span.record_outcome(if success { Outcome::Success } else { Outcome::Failure });
            }
            // It ends now, not when its last step began.
            span.in_scope(|| ());
            drop(span);
            self.operations += 1;
            self.settle(1);
        }
        self.free.push(place);
    }

    fn settle(&mut self, operations: u32) {
        self.unsettled += operations;
        if self.unsettled >= SETTLE {
            self.unsettled = 0;
            self.telemetry.settle();
        }
    }

    fn draw(&mut self, kind: usize) -> u64 {
        let pool = &self.pools[kind];
        if pool.is_empty() { ASSUMED[kind] } else { pool[self.chance.usize(..pool.len())] }
    }

    /// The faults that last now, with for how long still.
    fn lasting(&self) -> impl Iterator<Item = (&'a Scenario, u64)> + use<'a> {
        let now = self.now;
        let warm_up = self.warm_up;
        self.scenarios.iter().filter_map(move |scenario| {
            let (start, duration) = (scenario.start.as_nanos() as u64, scenario.duration.as_nanos() as u64);
            let begins = warm_up.saturating_add(start);
            (begins <= now && now < begins.saturating_add(duration))
                .then(|| (scenario, begins.saturating_add(duration) - now))
        })
    }

    /// Whether nothing more is asked of an agent of this run.
    fn is_silenced(&mut self, run: usize) -> bool {
        let run = &self.runs[run];
        let silent: Vec<f64> = self
            .lasting()
            .filter(|(scenario, _)| scenario.kind == Fault::Silence)
            .filter(|(scenario, _)| match &scenario.target {
                None => true,
                Some(target) => run.agents.iter().any(|agent| agent.name == *target),
            })
            .map(|(scenario, _)| scenario.rate)
            .collect();
        silent.into_iter().any(|rate| self.chance.f64() < rate)
    }

    /// The faults that hit a step.
    fn hits(&mut self, run: usize, number: usize, looped: bool) -> Vec<(&'a Scenario, u64)> {
        let run = &self.runs[run];
        let step = &run.steps[number];
        let agent = run.agents[step.agent].name.as_str();
        let mut hits = Vec::new();
        for (scenario, left) in self.lasting() {
            let kind = scenario.kind;
            let target = scenario.target.as_deref();
            let is_agents = target.is_none_or(|target| target == agent);
            let aimed = match &step.action {
                Action::Model(call) => kind.hits_models() && (is_agents || target == Some(&call.model)),
                Action::Tool(call) => kind.hits_tools() && (is_agents || target == Some(&call.tool)),
            };
            // Agents and all together fall silent by runs.
            let by_runs = kind == Fault::Silence && is_agents;
            if !aimed || by_runs || (kind == Fault::Loop && looped) {
                continue;
            }
            if self.chance.f64() < scenario.rate {
                hits.push((scenario, left));
            }
        }
        hits
    }
}

fn kind_of(action: &Action) -> usize {
    match action {
        Action::Model(_) => 0,
        Action::Tool(_) => 1,
    }
}

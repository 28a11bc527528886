//! From operations to OpenTelemetry histograms and counters.
//!
//! Each operation is recorded once, through instruments that are bound to their attributes at the first
//! measurement of a series. A thread finds the series of an operation in a small cache of its own.

mod limits;
mod meters;
mod runs;
mod series;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};

use self::limits::SeriesLimits;
use self::meters::Meters;
use self::runs::{Retry, Runs};
use self::series::{Series, SeriesKey, is_outage, model_attributes, push, subject_attributes};
use crate::clock::Clock;
use crate::cost::Ledger;
use crate::names::Name;
use crate::operation::{Observe, Operation, OperationKind};
use crate::semconv::{attr, health, metric, unit};

pub(crate) use self::meters::view;

/// Records operations; one for each [`crate::Telemetry`].
#[derive(Debug)]
pub(crate) struct Instruments {
    /// Tells the instances of one process apart in the threads' caches.
    instance: u64,
    meters: Meters,
    limits: SeriesLimits,
    extra_keys: Arc<[String]>,
    series: Mutex<HashMap<SeriesKey, Arc<Series>>>,
    active: Arc<Active>,
    failing: Mutex<HashMap<(OperationKind, Name), Arc<AtomicU64>>>,
    runs: Runs,
    orphans: AtomicU64,
    ledger: Arc<Ledger>,
}

/// Running agents by name, read by an observable instrument.
#[derive(Debug)]
struct Active {
    agents: RwLock<HashMap<Name, Presence>>,
    clock: Clock,
}

/// Of one agent.
#[derive(Debug, Default)]
struct Presence {
    running: AtomicI64,
    /// When a run of it started or ended last.
    seen_ns: AtomicU64,
}

/// For how long an agent that does not run counts as seen.
pub(crate) const SEEN_WINDOW: Duration = Duration::from_secs(300);

static INSTANCES: AtomicU64 = AtomicU64::new(1);

type Cached = Option<(u64, SeriesKey, Arc<Series>)>;
const CACHE_SLOTS: usize = 128;

thread_local! {
    static CACHE: RefCell<Vec<Cached>> = const { RefCell::new(Vec::new()) };
}

impl Instruments {
    pub(crate) fn new(
        meter: &Meter,
        ledger: Arc<Ledger>,
        clock: Clock,
        extra_keys: &[String],
        series_limit: usize,
    ) -> Self {
        let active = Arc::new(Active { agents: RwLock::default(), clock });
        observe_active(meter, &active);
        Self {
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            meters: Meters::new(meter),
            limits: SeriesLimits::new(series_limit),
            extra_keys: extra_keys.into(),
            series: Mutex::default(),
            active,
            failing: Mutex::default(),
            runs: Runs::default(),
            orphans: AtomicU64::new(0),
            ledger,
        }
    }

    /// How many measurements went to the overflow series, by instrument.
    pub(crate) fn overflows(&self) -> std::collections::BTreeMap<&'static str, u64> {
        self.limits.overflows()
    }

    /// Agents and tools whose newest call failed.
    pub(crate) fn open_failures(&self) -> Vec<(OperationKind, Name)> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.iter().filter(|(_, since)| since.load(Ordering::Relaxed) != 0).map(|(key, _)| *key).collect()
    }

    /// Agent runs that are going on, by agent.
    pub(crate) fn active(&self) -> Vec<(Name, i64)> {
        self.active.snapshot()
    }

    /// Model and tool calls that no agent is known to have made: often a task that was spawned without its span.
    pub(crate) fn orphans(&self) -> u64 {
        self.orphans.load(Ordering::Relaxed)
    }

    /// Agents that run, or did within [`SEEN_WINDOW`].
    pub(crate) fn agents_seen(&self) -> usize {
        self.active.seen()
    }

    #[inline]
    fn with_series(&self, operation: &Operation, f: impl FnOnce(&Series)) {
        let Some(kind) = operation.kind else { return };
        let key = SeriesKey::of(operation, kind);
        CACHE.with_borrow_mut(|cache| {
            if cache.is_empty() {
                cache.resize(CACHE_SLOTS, None);
            }
            let slot = &mut cache[(key.hash() >> 40) as usize & (CACHE_SLOTS - 1)];
            let series = match slot {
                Some((instance, cached, series)) if *instance == self.instance && *cached == key => series,
                _ => &mut slot.insert((self.instance, key, self.look_up(key, operation, kind))).2,
            };
            f(series);
        });
    }

    #[cold]
    #[inline(never)]
    fn look_up(&self, key: SeriesKey, operation: &Operation, kind: OperationKind) -> Arc<Series> {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = all.get(&key) {
            return series.clone();
        }
        // Each kind may fill its instruments; what is over the limit of a kind shares one overflow series.
        let overflow = all.len() >= self.limits.limit() * KINDS;
        let key = if overflow { SeriesKey::overflow(kind) } else { key };
        all.entry(key)
            .or_insert_with(|| {
                let failing = self.failing_of(operation, kind);
                Arc::new(Series::new(operation, kind, overflow, self.extra_keys.clone(), failing))
            })
            .clone()
    }

    fn failing_of(&self, operation: &Operation, kind: OperationKind) -> Option<Arc<AtomicU64>> {
        let subject = operation.subject();
        if !matches!(kind, OperationKind::Agent | OperationKind::Tool) || subject.is_none() {
            return None;
        }
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.len() >= self.limits.limit() && !failing.contains_key(&(kind, subject)) {
            return None;
        }
        Some(failing.entry((kind, subject)).or_default().clone())
    }

    /// Notes an outage, or measures how long it lasted.
    #[inline]
    fn note_health(&self, series: &Series, operation: &Operation) {
        let Some(since) = &series.failing_since else { return };
        if is_outage(operation) {
            let now = operation.ended_ns.max(1);
            let _ = since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        } else if !operation.failed() && since.load(Ordering::Relaxed) != 0 {
            let began = since.swap(0, Ordering::Relaxed);
            if began != 0 {
                let seconds = operation.ended_ns.saturating_sub(began) as f64 / 1e9;
                series.record_recovery(&self.meters, &self.limits, seconds);
            }
        }
    }

    /// Counts retries and fallbacks: those that the operation reports of itself, and those that its agent's calls show.
    fn count_retries(&self, operation: &Operation, after_failure: Option<Retry>) {
        let cause = after_failure.map_or(Name::NONE, |retry| retry.cause);
        let to_other = after_failure.is_some_and(|retry| retry.fallback);
        let retries = u64::from(operation.retries) + u64::from(after_failure.is_some() && !to_other);
        let fallbacks = u64::from(operation.fallback || to_other);
        if retries == 0 && fallbacks == 0 {
            return;
        }
        let attributes = retry_attributes(operation, cause);
        if retries > 0 {
            self.add(metric::RETRIES, &self.meters.retries, retries, &attributes);
        }
        if fallbacks > 0 {
            self.add(metric::FALLBACKS, &self.meters.fallbacks, fallbacks, &attributes);
        }
    }

    /// Counts an answer that says nothing. A call that failed has none, and a model that calls tools has spent tokens on it.
    fn count_empty(&self, operation: &Operation) {
        if operation.kind != Some(OperationKind::Model) || operation.failed() {
            return;
        }
        let reason = match operation.output_tokens.get() {
            _ if operation.refused => health::reason::REFUSED,
            Some(0) => health::reason::EMPTY,
            _ => return,
        };
        let mut attributes = model_attributes(operation);
        attributes.push(KeyValue::new(attr::REASON, reason));
        self.add(health::metric::EMPTY_RESPONSES, &self.meters.empty_responses, 1, &attributes);
    }

    /// Adds to a counter that is not bound, under the limit of series.
    fn add(&self, name: &'static str, counter: &Counter<u64>, value: u64, attributes: &[KeyValue]) {
        let ((), overflow) = self.limits.bind(name, attributes, false, |a| counter.add(value, a));
        if let Some(overflow) = overflow {
            overflow.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How many kinds of operations have series of their own.
const KINDS: usize = 8;

impl Observe for Instruments {
    fn started(&self, agent: Name) {
        self.active.add(agent, 1);
    }

    fn renamed(&self, before: Name, now: Name) {
        self.active.add(before, -1);
        self.active.add(now, 1);
    }

    fn stopped(&self, agent: Name) {
        self.active.add(agent, -1);
    }

    fn finished(&self, operation: &Operation) {
        self.with_series(operation, |series| {
            series.record(&self.meters, &self.limits, operation);
            self.note_health(series, operation);
        });
        let noted = self.runs.note(operation);
        self.count_retries(operation, noted.retry);
        if noted.looped {
            let mut attributes = subject_attributes(operation);
            push(&mut attributes, attr::AGENT_NAME, operation.agent);
            self.add(health::metric::LOOPS, &self.meters.loops, 1, &attributes);
        }
        self.count_empty(operation);
        let is_call = matches!(operation.kind, Some(OperationKind::Model | OperationKind::Tool));
        if is_call && operation.run == 0 && operation.agent.is_none() {
            self.orphans.fetch_add(1, Ordering::Relaxed);
        }
        match operation.kind {
            Some(OperationKind::Agent) => {
                self.active.add_at(operation.agent, -1, operation.ended_ns);
                self.ledger.end_run(operation);
            }
            Some(kind) if kind.counts_usage() => self.ledger.enter(operation),
            _ => {}
        }
    }

    fn chunk(&self, operation: &Operation, gap_ns: u64) {
        self.with_series(operation, |series| {
            series.record_chunk(&self.meters, &self.limits, gap_ns as f64 / 1e9);
        });
    }

    fn settled(&self) {
        for run in self.runs.close() {
            self.with_series(&run, |series| series.record_calls(&self.meters, &self.limits, &run));
        }
        self.ledger.close_runs();
    }
}

/// The attributes of retries and fallbacks: rare, so not bound.
fn retry_attributes(operation: &Operation, cause: Name) -> Vec<KeyValue> {
    let mut attributes = match operation.kind {
        Some(kind) if kind.counts_usage() => model_attributes(operation),
        _ => {
            let mut attributes = subject_attributes(operation);
            push(&mut attributes, attr::OPERATION_NAME, operation.operation);
            attributes
        }
    };
    push(&mut attributes, attr::ERROR_TYPE, cause);
    attributes
}

impl Active {
    fn add(&self, agent: Name, change: i64) {
        self.add_at(agent, change, self.clock.now_ns());
    }

    fn add_at(&self, agent: Name, change: i64, now: u64) {
        let note = |presence: &Presence| {
            presence.running.fetch_add(change, Ordering::Relaxed);
            presence.seen_ns.fetch_max(now, Ordering::Relaxed);
        };
        if let Some(presence) = self.agents.read().unwrap_or_else(PoisonError::into_inner).get(&agent) {
            return note(presence);
        }
        // Names are bounded (see `names`), and so is this map.
        note(self.agents.write().unwrap_or_else(PoisonError::into_inner).entry(agent).or_default());
    }

    fn snapshot(&self) -> Vec<(Name, i64)> {
        let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
        agents.iter().map(|(agent, presence)| (*agent, presence.running.load(Ordering::Relaxed))).collect()
    }

    fn seen(&self) -> usize {
        let window = u64::try_from(SEEN_WINDOW.as_nanos()).unwrap_or(u64::MAX);
        let since = self.clock.now_ns().saturating_sub(window);
        let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
        let seen = |presence: &&Presence| {
            presence.running.load(Ordering::Relaxed) > 0 || presence.seen_ns.load(Ordering::Relaxed) >= since
        };
        agents.values().filter(seen).count()
    }
}

fn observe_active(meter: &Meter, active: &Arc<Active>) {
    let active = active.clone();
    meter
        .i64_observable_up_down_counter(metric::ACTIVE_TASKS)
        .with_unit(unit::TASK)
        .with_description("Agent runs that are going on.")
        .with_callback(move |observer| {
            for (agent, count) in active.snapshot() {
                let mut attributes = Vec::new();
                push(&mut attributes, attr::AGENT_NAME, agent);
                observer.observe(count, &attributes);
            }
        })
        .build();
}

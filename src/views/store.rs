//! All series, and what came last of each cumulative one.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};

use super::Performance;
use super::reading::{Numbers, Reading};
use super::rings::Rings;
use super::route::{Fresh, Route, share_of_agent, tally_of};
use super::sketch::Sketch;
use super::subject::{Subject, SubjectKind};
use super::tally::Tally;
use crate::semconv::{health, host};

/// How many series views hold at most; the points of further ones count for the system only, and are counted.
pub const MAX_SERIES: usize = 10_000;
/// A cumulative point that is the first of its series counts whole if the process began to count less than this before.
const YOUNG: Duration = Duration::from_secs(600);

/// Windows over the collected aggregates: of every agent, model, tool, workflow and operation, of every model and tool as
/// each agent uses it, and of the whole, the newest minute, five minutes, hour and day.
///
/// At most 64 KiB a series, [`MAX_SERIES`] series.
#[derive(Debug)]
pub struct Views {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    series: BTreeMap<Subject, Series>,
    previous: HashMap<u64, Previous>,
    limit: usize,
    refused: u64,
}

#[derive(Debug)]
struct Series {
    rings: Rings,
    /// What came since the last [`Views::take`].
    fresh: Tally,
    /// Values that stand for themselves, with when they came.
    gauges: BTreeMap<Box<str>, Vec<Level>>,
}

/// A value that stands for itself, as one process told it last.
#[derive(Debug, Clone, Copy)]
struct Level {
    process: u64,
    value: f64,
    at: u64,
}

/// Processes whose levels of one metric are kept.
const MAX_LEVELS: usize = 256;
/// What is not told any more is not so any more.
const LEVEL_HOLDS: u64 = 150_000_000_000;

impl Level {
    fn set(levels: &mut Vec<Self>, process: u64, value: f64, now: u64) {
        levels.retain(|level| now.saturating_sub(level.at) < LEVEL_HOLDS);
        if let Some(level) = levels.iter_mut().find(|level| level.process == process) {
            // Several agents or processors of one process tell theirs: the greatest of one collection counts.
            let value = if now == level.at { level.value.max(value) } else { value };
            *level = Self { process, value, at: now };
        } else if levels.len() < MAX_LEVELS {
            levels.push(Self { process, value, at: now });
        }
    }

    fn greatest(levels: &[Self], now: u64) -> Option<f64> {
        let held = levels.iter().filter(|level| now.saturating_sub(level.at) < LEVEL_HOLDS);
        held.map(|level| level.value).reduce(f64::max)
    }
}

/// The newest state of a cumulative series.
#[derive(Debug)]
enum Previous {
    Sum(f64),
    Exponential { scale: i8, sketch: Sketch },
    Explicit { counts: Vec<u64>, sum: f64 },
}

/// What happened to one subject since the evaluation before.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Moment {
    /// Whom it is about.
    pub subject: Subject,
    /// What happened.
    pub tally: Tally,
    /// For how many seconds the oldest open call has been going on, if one is.
    pub oldest_open: Option<f64>,
}

impl Default for Views {
    fn default() -> Self {
        Self::new(MAX_SERIES)
    }
}

impl Views {
    /// Views that hold at most so many series.
    pub fn new(limit: usize) -> Self {
        let state = State { series: BTreeMap::new(), previous: HashMap::new(), limit, refused: 0 };
        Self { state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a collection of this process's reader.
    pub fn observe(&self, metrics: &ResourceMetrics, now: SystemTime) {
        let now = nanos(now);
        let mut state = self.lock();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            state.observe(metric.name(), metric.data(), now);
        }
    }

    /// Takes in points of other processes.
    pub fn add<'a>(&self, readings: impl IntoIterator<Item = Reading<'a>>, now: SystemTime) {
        let now = nanos(now);
        let mut state = self.lock();
        for reading in readings {
            state.add(&reading, now);
        }
    }

    /// Everything that is known of.
    pub fn subjects(&self) -> Vec<Subject> {
        self.lock().series.keys().cloned().collect()
    }

    /// What happened to a subject in the window up to `now`. A window is never longer than it says, and may be shorter: by up to
    /// 20 s up to five minutes, 5 minutes up to an hour, an hour up to a day, which is the longest. `None` if nothing is known
    /// of the subject.
    pub fn window(&self, subject: &Subject, window: Duration, now: SystemTime) -> Option<Tally> {
        self.lock().series.get_mut(subject).map(|series| series.rings.window(nanos(now), window))
    }

    /// Durations and errors of a subject in the window up to `now`; `None` if none of its operations ended in it.
    pub fn performance(&self, subject: &Subject, window: Duration, now: SystemTime) -> Option<Performance> {
        Performance::of_tally(&self.window(subject, window, now)?)
    }

    /// The greatest of the processes' newest values of a gauge of the system, by metric; what is older than 150 s is not
    /// counted.
    pub fn gauge(&self, metric: &str, now: SystemTime) -> Option<f64> {
        let state = self.lock();
        Level::greatest(state.series.get(&Subject::system())?.gauges.get(metric)?, nanos(now))
    }

    /// What happened since the last call of this, to each subject that is known. For one evaluator.
    pub fn take(&self, now: SystemTime) -> Vec<Moment> {
        let now = nanos(now);
        let mut state = self.lock();
        let moments = state.series.iter_mut().map(|(subject, series)| Moment {
            subject: subject.clone(),
            tally: std::mem::take(&mut series.fresh),
            oldest_open: series
                .gauges
                .get(health::metric::OPEN_CALL_AGE)
                .and_then(|levels| Level::greatest(levels, now)),
        });
        moments.collect()
    }

    /// How many points found no room for their series.
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Bytes that the series take, about: in all, and the largest.
    pub fn bytes(&self) -> (usize, usize) {
        let state = self.lock();
        let sizes = state.series.values().map(|series| size_of::<Series>() + series.rings.bytes());
        sizes.fold((0, 0), |(all, most), bytes| (all + bytes, most.max(bytes)))
    }
}

impl State {
    fn observe(&mut self, name: &str, data: &AggregatedMetrics, now: u64) {
        match data {
            AggregatedMetrics::F64(data) => self.observe_data(name, data, now, |value| value),
            AggregatedMetrics::U64(data) => self.observe_data(name, data, now, |value| value as f64),
            AggregatedMetrics::I64(data) => self.observe_data(name, data, now, |value| value as f64),
        }
    }

    fn observe_data<T: Copy>(
        &mut self,
        name: &str,
        data: &MetricData<T>,
        now: u64,
        number: impl Fn(T) -> f64,
    ) {
        let mut put =
            |attributes: &[(&str, Cow<'_, str>)], temporality: Temporality, numbers: Numbers<'_>| {
                // This process counts from its own start.
                let reading = Reading::new(0, name, attributes, numbers).between(now, now);
                let delta = temporality == Temporality::Delta;
                self.add(&if delta { reading.delta() } else { reading }, now);
            };
        match data {
            MetricData::Sum(sum) => {
                for point in sum.data_points() {
                    put(&texts(point.attributes()), sum.temporality(), Numbers::Sum(number(point.value())));
                }
            }
            MetricData::Gauge(gauge) => {
                for point in gauge.data_points() {
                    let numbers = Numbers::Gauge(number(point.value()));
                    put(&texts(point.attributes()), Temporality::Cumulative, numbers);
                }
            }
            MetricData::Histogram(histogram) => {
                for point in histogram.data_points() {
                    let (bounds, counts): (Vec<f64>, Vec<u64>) =
                        (point.bounds().collect(), point.bucket_counts().collect());
                    let numbers = Numbers::Explicit {
                        sum: number(point.sum()),
                        min: point.min().map(&number),
                        max: point.max().map(&number),
                        bounds: &bounds,
                        counts: &counts,
                    };
                    put(&texts(point.attributes()), histogram.temporality(), numbers);
                }
            }
            MetricData::ExponentialHistogram(histogram) => {
                for point in histogram.data_points() {
                    let buckets = point.positive_bucket();
                    let counts: Vec<u64> = buckets.counts().collect();
                    let numbers = Numbers::Exponential {
                        sum: number(point.sum()),
                        min: point.min().map(&number),
                        max: point.max().map(&number),
                        scale: point.scale(),
                        zeros: point.zero_count(),
                        offset: buckets.offset(),
                        counts: &counts,
                    };
                    put(&texts(point.attributes()), histogram.temporality(), numbers);
                }
            }
        }
    }

    fn add(&mut self, reading: &Reading<'_>, now: u64) {
        let Some(route) = Route::of(reading) else { return };
        if let Numbers::Gauge(value) = reading.numbers {
            return self.set_gauge(route, reading, value, now);
        }
        // The pool's connections are an up-down counter: a level, not an increase.
        if let (Numbers::Sum(value), host::metric::DB_CONNECTIONS | host::metric::DB_CONNECTIONS_MAX) =
            (&reading.numbers, reading.metric)
        {
            return self.set_gauge(route, reading, *value, now);
        }
        let Some(fresh) = self.fresh(reading) else { return };
        let tally = tally_of(reading, fresh);
        if tally.is_empty() {
            return;
        }
        let subject = route.subject();
        if !route.agent.is_empty() && matches!(route.kind, SubjectKind::Model | SubjectKind::Tool) {
            let share = share_of_agent(route.kind, &tally);
            self.put(Subject::new(SubjectKind::Agent, route.agent), &share, now);
            self.put(subject.clone().used_by(route.agent), &tally, now);
        }
        if route.kind == SubjectKind::Agent || route.kind == SubjectKind::System {
            self.put(Subject::system(), &tally, now);
        }
        if route.kind != SubjectKind::System {
            self.put(subject, &tally, now);
        }
    }

    fn put(&mut self, subject: Subject, tally: &Tally, now: u64) {
        if let Some(series) = self.series_of(subject) {
            series.rings.add(now, tally);
            series.fresh.merge(tally);
        }
    }

    fn series_of(&mut self, subject: Subject) -> Option<&mut Series> {
        if self.series.len() >= self.limit && !self.series.contains_key(&subject) {
            self.refused += 1;
            return None;
        }
        Some(self.series.entry(subject).or_insert_with(|| Series {
            rings: Rings::new(),
            fresh: Tally::default(),
            gauges: BTreeMap::new(),
        }))
    }

    fn set_gauge(&mut self, route: Route<'_>, reading: &Reading<'_>, value: f64, now: u64) {
        let mut subjects = vec![route.subject()];
        if !route.agent.is_empty() {
            subjects.push(route.subject().used_by(route.agent));
        }
        for subject in subjects {
            let Some(series) = self.series_of(subject) else { continue };
            if !series.gauges.contains_key(reading.metric) {
                series.gauges.insert(reading.metric.into(), Vec::new());
            }
            if let Some(levels) = series.gauges.get_mut(reading.metric) {
                Level::set(levels, reading.process, value, now);
            }
        }
    }

    /// What is new in a point; `None` if nothing is, or if it cannot be said.
    fn fresh(&mut self, reading: &Reading<'_>) -> Option<Fresh> {
        let state = match reading.numbers {
            Numbers::Sum(value) => Previous::Sum(value),
            Numbers::Exponential { sum, scale, zeros, offset, counts, .. } => Previous::Exponential {
                scale,
                sketch: Sketch::of_exponential(scale, zeros, offset, counts.iter().copied()).with_sum(sum),
            },
            Numbers::Explicit { sum, counts, .. } => Previous::Explicit { counts: counts.to_vec(), sum },
            Numbers::Gauge(_) => return None,
        };
        if !reading.cumulative {
            return Some(state.whole(reading));
        }
        // As many as series can have points: agent, model and tool each with their errors.
        let room = self.previous.len() < self.limit.saturating_mul(8);
        let series = reading.series();
        let Some(before) = self.previous.get(&series) else {
            if !room {
                self.refused += 1;
                return None;
            }
            // What a process has counted before it was first heard of is nothing new.
            let age = reading.time_ns.saturating_sub(reading.start_ns);
            let young = reading.start_ns != 0 && age <= YOUNG.as_nanos() as u64;
            let fresh = young.then(|| state.whole(reading));
            self.previous.insert(series, state);
            return fresh;
        };
        let fresh = state.since(before, reading);
        self.previous.insert(series, state);
        Some(fresh)
    }
}

impl Previous {
    fn whole(&self, reading: &Reading<'_>) -> Fresh {
        match (self, &reading.numbers) {
            (Self::Exponential { sketch, .. }, Numbers::Exponential { min, max, .. }) => {
                Fresh::Values(sketch.clone().with_extremes(*min, *max))
            }
            (Self::Explicit { counts, sum }, Numbers::Explicit { bounds, min, max, .. }) => Fresh::Values(
                Sketch::of_explicit(bounds, counts, *min, *max).with_sum(*sum).with_extremes(*min, *max),
            ),
            (Self::Sum(value), _) => Fresh::Sum(*value),
            _ => Fresh::Sum(0.0),
        }
    }

    /// What came since `before`; all of it, if the process has begun again.
    fn since(&self, before: &Self, reading: &Reading<'_>) -> Fresh {
        match (self, before) {
            (Self::Sum(now), Self::Sum(before)) if now >= before => Fresh::Sum(now - before),
            (
                Self::Exponential { scale, sketch },
                Self::Exponential { scale: before_scale, sketch: before },
            ) => {
                let coarse = *scale < *before_scale && *scale < super::sketch::SCALE;
                let before =
                    if coarse { Cow::Owned(before.coarsened(*scale)) } else { Cow::Borrowed(before) };
                sketch.since(&before).map_or_else(|| self.whole(reading), Fresh::Values)
            }
            (Self::Explicit { counts, sum }, Self::Explicit { counts: before, sum: before_sum })
                if counts.len() == before.len() && counts.iter().zip(before).all(|(now, old)| now >= old) =>
            {
                let Numbers::Explicit { bounds, .. } = reading.numbers else { return Fresh::Sum(0.0) };
                let fresh: Vec<u64> = counts.iter().zip(before).map(|(now, old)| now - old).collect();
                let sketch = Sketch::of_explicit(bounds, &fresh, None, None);
                Fresh::Values(sketch.with_sum((sum - before_sum).max(0.0)))
            }
            _ => self.whole(reading),
        }
    }
}

fn texts<'a>(attributes: impl Iterator<Item = &'a opentelemetry::KeyValue>) -> Vec<(&'a str, Cow<'a, str>)> {
    attributes.map(|attribute| (attribute.key.as_str(), attribute.value.as_str())).collect()
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

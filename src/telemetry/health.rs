//! Health of the process: looked at in the background, and whenever somebody asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::watch;

use super::Telemetry;
use super::alerting::Alerting;
use crate::Clock;
use crate::Error;
use crate::forecast::{Forecast, MetricKind, Options, Series, forecast};
use crate::health::{Exemplars, HealthReport, Monitor, Settings, Status, Summary};
use crate::operation::OperationKind;
use crate::views::{Performance, Subject, SubjectKind, Views};

/// How often health is looked at in the background by default.
pub const DEFAULT_HEALTH_INTERVAL: Duration = Duration::from_secs(10);

/// Looks at the views: one for each [`Telemetry`].
#[derive(Debug)]
pub(super) struct Examiner {
    monitor: Mutex<Monitor>,
    views: Arc<Views>,
    exemplars: Arc<Exemplars>,
    clock: Clock,
    newest: watch::Sender<Option<Arc<HealthReport>>>,
    alerting: Alerting,
}

impl Examiner {
    pub(super) fn new(
        settings: Settings,
        views: Arc<Views>,
        exemplars: Arc<Exemplars>,
        clock: Clock,
        alerting: Alerting,
    ) -> Self {
        let newest = watch::Sender::new(None);
        Self { monitor: Mutex::new(Monitor::new(settings)), views, exemplars, clock, newest, alerting }
    }

    pub(super) fn alerting(&self) -> &Alerting {
        &self.alerting
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn monitor(&self) -> MutexGuard<'_, Monitor> {
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what was collected last.
    pub(super) fn look(&self) -> Arc<HealthReport> {
        let now = self.clock.wall();
        // Held until the alerts are evaluated too: they must see reports in the order of their times.
        let mut monitor = self.monitor();
        let mut report = monitor.check(&self.views, now);
        report.attach_traces(|issue| self.exemplars.of(issue));
        self.alerting.evaluate(&self.views, &report, now);
        drop(monitor);
        self.alerting.act(&report, now);
        let report = Arc::new(report);
        self.newest.send_if_modified(|newest| {
            let changed = newest.as_ref().is_none_or(|before| report.differs_from(before));
            *newest = Some(Arc::clone(&report));
            changed
        });
        report
    }

    pub(super) fn newest(&self) -> Option<Arc<HealthReport>> {
        self.newest.borrow().clone()
    }
}

/// Tells of each change of health: a status that is another, an issue that comes or goes. See [`Telemetry::subscribe`].
///
/// Never holds up who evaluates: who is slow misses what was true in between, and gets what is true now.
#[derive(Debug, Clone)]
pub struct Changes(watch::Receiver<Option<Arc<HealthReport>>>);

impl Changes {
    /// Waits for the next change; `None` once telemetry is gone. Works on every runtime and on none.
    pub async fn next(&mut self) -> Option<Arc<HealthReport>> {
        loop {
            self.0.changed().await.ok()?;
            let report = self.0.borrow_and_update().clone();
            if report.is_some() {
                return report;
            }
        }
    }

    /// The newest report, if there is one yet.
    pub fn newest(&self) -> Option<Arc<HealthReport>> {
        self.0.borrow().clone()
    }
}

/// The thread that looks.
#[derive(Debug)]
pub(super) struct Watcher {
    thread: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Watcher {
    /// Looks each `interval`, never if that is zero; `collect` brings the views up to date.
    pub(super) fn start(
        examiner: Arc<Examiner>,
        interval: Duration,
        collect: impl Fn() + Send + 'static,
    ) -> Result<Self, Error> {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        if interval.is_zero() {
            return Ok(Self { thread: Mutex::new(None), stop });
        }
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("agentvitals-health".into())
            .spawn(move || {
                while !stopped.load(std::sync::atomic::Ordering::Acquire) {
                    std::thread::park_timeout(interval);
                    if stopped.load(std::sync::atomic::Ordering::Acquire) {
                        break;
                    }
                    collect();
                    examiner.look();
                }
            })
            .map_err(|error| Error::install(format!("cannot start the health thread: {error}")))?;
        Ok(Self { thread: Mutex::new(Some(thread)), stop })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Release);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            thread.thread().unpark();
            // It only fails if the thread panicked, and then there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

/// How the whole is, in a line: see [`Telemetry::system_health`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SystemHealth {
    /// The worst of agents, models and workflows.
    pub status: Status,
    /// From 0 to 100, the mean by activity.
    pub score: Option<f64>,
    /// The share of agents' runs of the newest hour that did not fail; `None` without any.
    pub success_rate: Option<f64>,
    /// For how long telemetry has been running.
    pub uptime: Duration,
    /// Agents that run or did within the last five minutes.
    pub active_agents: usize,
    /// Runs of agents and calls that failed within the last five minutes.
    pub errors_in_last_5_minutes: u64,
}

/// What is known of an operation, by its name: see [`Telemetry::operation`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OperationHealth {
    /// What it is.
    pub subject: Subject,
    /// How it is.
    pub status: Status,
    /// From 0 to 100.
    pub score: Option<f64>,
    /// How long it took in the newest five minutes, and how often it failed.
    pub last_5_minutes: Option<Performance>,
    /// The same in the newest hour.
    pub last_hour: Option<Performance>,
}

/// The window of what is wrong now.
const NOW: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3_600);

impl Telemetry {
    /// How everything is: agents, models, tools, workflows, what is wrong with them and which traces show it. Collects first,
    /// so that everything counts that has ended by now, and reads the aggregates that are exported.
    ///
    /// ```
    /// use agentvitals::{Measured, health::Status};
    /// use std::time::Duration;
    ///
    /// let vitals = agentvitals::builder().without_export().build()?;
    /// for _ in 0..10 {
    ///     vitals.record(&Measured::agent_run("planner").duration(Duration::from_millis(800)));
    /// }
    /// let health = vitals.health();
    /// assert_eq!((health.status, health.score), (Status::Healthy, Some(100.0)));
    /// println!("{health}");
    /// # Ok::<(), agentvitals::Error>(())
    /// ```
    pub fn health(&self) -> HealthReport {
        // Without a new collection the last one is still true, only older.
        let _ = self.collect();
        (*self.examiner.look()).clone()
    }

    /// The whole in a line.
    pub fn system_health(&self) -> SystemHealth {
        let report = self.health();
        let now = self.clock.wall();
        let (mut runs, mut failed, mut errors) = (0, 0, 0);
        for subject in self.views.subjects().into_iter().filter(|subject| subject.agent.is_none()) {
            if subject.kind == SubjectKind::System {
                continue;
            }
            let tally = |window| self.views.window(&subject, window, now).unwrap_or_default();
            errors += tally(NOW).failed();
            if subject.kind == SubjectKind::Agent {
                let hour = tally(HOUR);
                runs += hour.count;
                failed += hour.failed();
            }
        }
        SystemHealth {
            status: report.status,
            score: report.score,
            success_rate: (runs > 0).then(|| 1.0 - failed as f64 / runs as f64),
            uptime: Duration::from_nanos(self.clock.now_ns().saturating_sub(self.started_ns)),
            active_agents: self.instruments.agents_seen(),
            errors_in_last_5_minutes: errors,
        }
    }

    /// How everything was in the window up to now, by the checks of the background (one each ten seconds by default) and
    /// those that were asked for.
    pub fn health_summary(&self, window: Duration) -> Summary {
        self.examiner.monitor().summary(window, self.clock.wall())
    }

    /// Where the score of the whole is going, by the checks of about the last day: its trend, and with
    /// [`passes`](Forecast::passes) when it will be below a cut, if the forecast's interval says so.
    ///
    /// # Errors
    /// Too few checks with a score yet, or a horizon that is longer than they reach back ([`Error::is_config`]).
    pub fn health_forecast(&self, horizon: Duration) -> Result<Forecast, Error> {
        let mut series = Series::default();
        for (at, score) in self.examiner.monitor().scores() {
            let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            series.push(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX), score)?;
        }
        forecast(&series, horizon, &Options::new().named("health").kind(MetricKind::Health))
    }

    /// An agent, tool, model, workflow or operation, whichever has this name; `None` if nothing is known of it. If several
    /// kinds share the name, in this order: agent, model, tool, workflow, operation.
    pub fn operation(&self, name: &str) -> Option<OperationHealth> {
        let report = self.health();
        let now = self.clock.wall();
        let component = report.components.iter().find(|one| *one.subject.name == *name)?;
        let subject = component.subject.clone();
        Some(OperationHealth {
            status: component.status,
            score: component.score,
            last_5_minutes: self.views.performance(&subject, NOW, now),
            last_hour: self.views.performance(&subject, HOUR, now),
            subject,
        })
    }

    /// How long the runs of an agent took in the window up to now, and how many failed; `None` if none ended in it. Windows
    /// of one minute, five minutes, an hour and a day are kept; others are taken from the next longer one.
    pub fn performance(&self, agent: &str, window: Duration) -> Option<Performance> {
        self.performance_in(OperationKind::Agent, agent, window)
    }

    /// [`performance`](Self::performance) of tools, workflows, models (as requested) and operations of your own.
    pub fn performance_in(&self, kind: OperationKind, name: &str, window: Duration) -> Option<Performance> {
        let _ = self.collect();
        let kind = match kind {
            OperationKind::Agent => SubjectKind::Agent,
            OperationKind::Tool => SubjectKind::Tool,
            OperationKind::Workflow => SubjectKind::Workflow,
            kind if kind.counts_usage() => SubjectKind::Model,
            _ => SubjectKind::Operation,
        };
        self.views.performance(&Subject::new(kind, crate::names::cut(name)), window, self.clock.wall())
    }

    /// Tells of each change of health, as the background sees it.
    pub fn subscribe(&self) -> Changes {
        Changes(self.examiner.newest.subscribe())
    }

    /// Says that somebody works on a subject (or on all: [`Subject::system`]) for so long: it is measured, and not judged.
    pub fn maintenance(&self, subject: Subject, time: Duration) {
        let until = self.clock.wall().checked_add(time).unwrap_or(SystemTime::UNIX_EPOCH);
        self.examiner.monitor().set_maintenance(subject, until);
    }
}

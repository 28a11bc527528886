//! Checks targets in their intervals.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use tokio::sync::{Notify, Semaphore, watch};

use super::target::{Target, TargetHealth};
use super::{Failure, Probe, ProbeConfig};
use crate::health::Status;
use crate::semconv::probe::{attr, metric};
use crate::semconv::unit;
use crate::{Clock, Error};

/// Targets at most.
pub const MAX_TARGETS: usize = 1_000;
/// Checks at the same time.
const AT_ONCE: usize = 10;
/// An interval is up to so much longer or shorter, so that checks of many targets and processes do not meet.
const JITTER: f64 = 0.1;

struct Entry {
    probe: Arc<dyn Probe>,
    target: Target,
}

struct Inner {
    targets: Mutex<BTreeMap<Arc<str>, Entry>>,
    clock: Clock,
    permits: Semaphore,
    added: Notify,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Entry>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks a target once; `None` if it is gone.
    async fn check(&self, name: &Arc<str>) -> Option<TargetHealth> {
        let (probe, config) = {
            let targets = self.lock();
            let entry = targets.get(name)?;
            (Arc::clone(&entry.probe), entry.target.config().clone())
        };
        // Closed only with the prober.
        let _permit = self.permits.acquire().await.ok()?;
        let started = self.clock.now_ns();
        let deadline = config.deadline();
        let checked = tokio::time::timeout(deadline, probe.check(&config)).await;
        let result = checked
            .unwrap_or_else(|_| Err(Failure::new("timeout", format!("no answer within {deadline:?}"))));
        let took = Duration::from_nanos(self.clock.now_ns().saturating_sub(started));
        let now = self.clock.wall();
        let mut targets = self.lock();
        let entry = targets.get_mut(name)?;
        entry.target.note(result, took, now);
        Some(entry.target.health(Arc::clone(name), now))
    }

    /// Checks a target in its interval, as long as it is there.
    async fn watch(self: Arc<Self>, name: Arc<str>) {
        loop {
            let Some(interval) = self.lock().get(&name).map(|entry| entry.target.config().interval()) else {
                return;
            };
            if self.check(&name).await.is_none() {
                return;
            }
            tokio::time::sleep(interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * fastrand::f64())).await;
        }
    }
}

/// Checks targets, on the thread `agentvitals-probe`. Cheap to clone; the last clone ends it.
#[derive(Debug, Clone)]
pub struct Prober {
    inner: Arc<Inner>,
    runtime: tokio::runtime::Handle,
    _thread: Arc<Thread>,
}

#[derive(Debug)]
struct Thread {
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
            && thread.thread().id() != std::thread::current().id()
        {
            // It only fails if a check panicked, and then there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Prober {
    /// Starts without a target. Times come from this clock.
    ///
    /// # Errors
    /// No thread is to be had ([`Error::is_install`]).
    pub fn start(clock: Clock) -> Result<Self, Error> {
        let failed =
            |error: std::io::Error| Error::install(format!("cannot start the thread of probes: {error}"));
        let runtime = crate::export::silent_runtime().map_err(failed)?;
        let handle = runtime.handle().clone();
        let inner = Arc::new(Inner {
            targets: Mutex::default(),
            clock,
            permits: Semaphore::new(AT_ONCE),
            added: Notify::new(),
        });
        let (stop, mut stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("agentvitals-probe".into())
            .spawn(move || {
                crate::export::silence();
                runtime.block_on(async {
                    // The sender is gone when the prober is: that is an end as well.
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                });
                // Not a plain drop: that would wait for a name look-up that hangs.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        let thread = Arc::new(Thread { stop, thread: Mutex::new(Some(thread)) });
        Ok(Self { inner, runtime: handle, _thread: thread })
    }

    /// Adds a target. It is checked when somebody asks ([`perform_health_check`](Self::perform_health_check)) and, after
    /// [`start_monitoring`](Self::start_monitoring), in its interval.
    ///
    /// # Errors
    /// A configuration that cannot be, a name that is there already, or too many targets ([`Error::is_config`]).
    pub fn add(
        &self,
        name: impl Into<Arc<str>>,
        config: ProbeConfig,
        probe: impl Probe,
    ) -> Result<(), Error> {
        let name: Arc<str> = name.into();
        config.check()?;
        let mut targets = self.inner.lock();
        if targets.contains_key(&name) {
            return Err(Error::config(format!("probe: the target {:?} is there already", &*name)));
        }
        if targets.len() >= MAX_TARGETS {
            return Err(Error::config(format!("probe: more than {MAX_TARGETS} targets")));
        }
        let target = Target::new(config, self.inner.clock.wall());
        targets.insert(name, Entry { probe: Arc::new(probe), target });
        drop(targets);
        self.inner.added.notify_one();
        Ok(())
    }

    /// Takes a target away; `false` if there is none.
    pub fn remove(&self, name: &str) -> bool {
        self.inner.lock().remove(name).is_some()
    }

    /// Checks every target in its interval from now on, those that are added later too.
    pub fn start_monitoring(&self) {
        let inner = Arc::clone(&self.inner);
        self.runtime.spawn(async move {
            let mut watched: BTreeMap<Arc<str>, tokio::task::JoinHandle<()>> = BTreeMap::new();
            loop {
                let names: Vec<Arc<str>> = inner.lock().keys().cloned().collect();
                watched.retain(|_, task| !task.is_finished());
                for name in names {
                    let watch = || tokio::spawn(Arc::clone(&inner).watch(Arc::clone(&name)));
                    watched.entry(Arc::clone(&name)).or_insert_with(watch);
                }
                // Those that are taken away and added again under the same name are seen a second later.
                let _ = tokio::time::timeout(Duration::from_secs(1), inner.added.notified()).await;
            }
        });
    }

    /// Checks a target now, and says what it is. Waits for at most its timeout, and for others if ten are being checked.
    ///
    /// # Errors
    /// There is no such target ([`Error::is_config`]); the prober's thread is gone ([`Error::is_install`]).
    pub fn perform_health_check(&self, name: &str) -> Result<TargetHealth, Error> {
        let name = self.known(name)?;
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        let inner = Arc::clone(&self.inner);
        self.runtime.spawn(async move {
            let _ = send.send(inner.check(&name).await);
        });
        let gone = || Error::install("the thread of probes is gone");
        receive.recv().map_err(|_| gone())?.ok_or_else(gone)
    }

    /// [`perform_health_check`](Self::perform_health_check) for code that is asynchronous, on whatever runtime.
    ///
    /// # Errors
    /// As [`perform_health_check`](Self::perform_health_check).
    pub async fn check(&self, name: &str) -> Result<TargetHealth, Error> {
        let name = self.known(name)?;
        let inner = Arc::clone(&self.inner);
        let gone = || Error::install("the thread of probes is gone");
        let checked = self.runtime.spawn(async move { inner.check(&name).await }).await;
        checked.map_err(|_| gone())?.ok_or_else(gone)
    }

    fn known(&self, name: &str) -> Result<Arc<str>, Error> {
        let targets = self.inner.lock();
        let known = targets.get_key_value(name).map(|(name, _)| Arc::clone(name));
        known.ok_or_else(|| Error::config(format!("probe: there is no target {name:?}")))
    }

    /// What a target is, by its checks so far; `None` if there is none of this name.
    pub fn get_tool_health_status(&self, name: &str) -> Option<Status> {
        self.inner.lock().get(name).map(|entry| entry.target.status())
    }

    /// What is known of a target.
    pub fn health(&self, name: &str) -> Option<TargetHealth> {
        let now = self.inner.clock.wall();
        let targets = self.inner.lock();
        let (name, entry) = targets.get_key_value(name)?;
        Some(entry.target.health(Arc::clone(name), now))
    }

    /// What is known of all targets, by name.
    pub fn targets(&self) -> Vec<TargetHealth> {
        let now = self.inner.clock.wall();
        let targets = self.inner.lock();
        targets.iter().map(|(name, entry)| entry.target.health(Arc::clone(name), now)).collect()
    }

    /// Takes in how a call of the program's own went: what is used all the time need not be probed to be known. `false` if
    /// there is no such target.
    pub fn observe(&self, name: &str, result: Result<(), Failure>, took: Duration) -> bool {
        let now = self.inner.clock.wall();
        let mut targets = self.inner.lock();
        targets.get_mut(name).map(|entry| entry.target.note(result, took, now)).is_some()
    }

    /// Says that somebody works on a target, or that nobody does any more. `false` if there is none.
    pub fn set_maintenance(&self, name: &str, maintenance: bool) -> bool {
        let now = self.inner.clock.wall();
        let mut targets = self.inner.lock();
        targets.get_mut(name).map(|entry| entry.target.set_maintenance(maintenance, now)).is_some()
    }

    /// Shows the targets as metrics of this meter, e.g. `vitals.meter("probes")`.
    pub fn show(&self, meter: &Meter) {
        let gauge = |name, unit, description, value: fn(&TargetHealth) -> Option<f64>| {
            // Weakly held: an instrument must not keep probes alive.
            let inner = Arc::downgrade(&self.inner);
            meter
                .f64_observable_gauge(name)
                .with_unit(unit)
                .with_description(description)
                .with_callback(move |observer| {
                    let Some(inner) = inner.upgrade() else { return };
                    let now = inner.clock.wall();
                    for (name, entry) in inner.lock().iter() {
                        if let Some(value) = value(&entry.target.health(Arc::clone(name), now)) {
                            observer.observe(value, &[KeyValue::new(attr::TARGET, name.to_string())]);
                        }
                    }
                })
                .build();
        };
        gauge(metric::UP, unit::ONE, "1 if the newest check of a target succeeded, else 0.", |target| {
            (target.checks > 0).then(|| if target.failure.is_none() { 1.0 } else { 0.0 })
        });
        gauge(metric::LATENCY, unit::SECONDS, "How long the newest check took.", |target| target.latency_s);
        gauge(
            metric::CONSECUTIVE_FAILURES,
            unit::FAILURE,
            "Checks that failed since one succeeded.",
            |target| Some(f64::from(target.consecutive_failures)),
        );
        gauge(
            metric::AVAILABILITY,
            unit::ONE,
            "The share of the newest hour in which a target was not unhealthy.",
            |target| target.availability.hour,
        );
    }
}

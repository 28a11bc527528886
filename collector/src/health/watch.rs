//! Looks at everything that processes send, again and again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentvitals::Subject;
use agentvitals::alert::sink::{AlertSink, Delivery, SinkStats};
use agentvitals::alert::{Alert, Engine, ManagerSettings, Phase, Preset, Rules, Silence};
use agentvitals::health::{HealthReport, Monitor, Settings as HealthSettings, Summary};
use agentvitals::views::Views;
use serde::{Deserialize, Serialize};

use super::{readings, traces};
use crate::Error;
use crate::query::exec::Queries;

/// The file in the data directory that alerts are kept in over restarts.
const STATE: &str = "alerts.json";
/// Alerts that are over and are shown.
const SHOWN: usize = 100;

/// How health is watched.
#[derive(Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How often everything is looked at.
    pub every: Duration,
    /// How it is judged.
    pub health: HealthSettings,
    /// The file with rules, which is read again when it changes; the rules of the host without one.
    pub rules: Option<PathBuf>,
    /// Where alerts go.
    pub sinks: Vec<Box<dyn AlertSink>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(10),
            health: HealthSettings::default(),
            rules: None,
            sinks: Vec::new(),
        }
    }
}

/// Views over all processes, and what follows from them.
pub struct Watch {
    views: Views,
    state: Mutex<State>,
    newest: Mutex<Option<Arc<HealthReport>>>,
    delivery: Option<Delivery>,
    rules: Option<PathBuf>,
    file: PathBuf,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("rules", &self.rules).field("file", &self.file).finish_non_exhaustive()
    }
}

struct State {
    monitor: Monitor,
    engine: Engine,
    rules_read: Option<SystemTime>,
    trouble: Option<String>,
    written: String,
}

/// What `/api/v1/alerts` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an answer")]
pub struct AlertsAnswer {
    /// Alerts that are pending or firing, the worst first.
    pub alerts: Vec<Alert>,
    /// Alerts that are over, the newest first, at most 100.
    pub resolved: Vec<Alert>,
    /// Silences that are in force.
    pub silences: Vec<Silence>,
    /// What became of notices, by sink.
    pub sinks: BTreeMap<String, serde_json::Value>,
    /// What is wrong with the file of rules, or with the file that alerts are kept in.
    pub trouble: Option<String>,
}

/// Asks to silence alerts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a question")]
pub struct SilenceRequest {
    /// Labels that alerts must have; a `*` at the end stands for anything.
    pub matchers: BTreeMap<String, String>,
    /// For how long, such as `2h`.
    pub r#for: String,
    /// Who asks.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub comment: String,
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(crate::clock::unix_nanos().unsigned_abs())
}

impl Watch {
    /// Watches, and goes on with the alerts that are kept in the data directory.
    ///
    /// # Errors
    /// Rules that cannot be read, or a state of alerts that cannot; names the file.
    pub fn open(data_dir: &Path, settings: Settings) -> Result<Self, Error> {
        let Settings { health, rules, sinks, every: _ } = settings;
        let mut engine = Engine::new(Rules::preset(Preset::Host), ManagerSettings::default());
        let mut rules_read = None;
        if let Some(path) = &rules {
            engine.set_rules(read_rules(path)?);
            rules_read = modified(path);
        }
        let file = data_dir.join(STATE);
        let mut written = String::new();
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                engine
                    .restore(&text)
                    .map_err(|error| Error::failed(format!("{}: {error}", file.display())))?;
                written = text;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::failed(format!("{}: {error}", file.display()))),
        }
        let delivery = if sinks.is_empty() {
            None
        } else {
            Some(Delivery::start(sinks).map_err(|error| Error::failed(error.to_string()))?)
        };
        let state = State { monitor: Monitor::new(health), engine, rules_read, trouble: None, written };
        Ok(Self {
            views: Views::default(),
            state: Mutex::new(state),
            newest: Mutex::default(),
            delivery,
            rules,
            file,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The views.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Takes in a request of metrics, as it was received.
    pub fn take_in(&self, request: &[u8]) {
        readings::add(&self.views, request, now());
    }

    /// As [`take_in`](Self::take_in), at a time of its own: for tests and replays.
    pub fn take_in_at(&self, request: &[u8], at: SystemTime) {
        readings::add(&self.views, request, at);
    }

    /// Looks at everything, evaluates the rules, tells who is to be told, and keeps the alerts. It reads and writes files.
    pub fn look(&self, queries: Option<&Queries>) -> Arc<HealthReport> {
        self.look_at(queries, now())
    }

    /// As [`look`](Self::look), at a time of its own.
    pub fn look_at(&self, queries: Option<&Queries>, at: SystemTime) -> Arc<HealthReport> {
        let mut state = self.state();
        self.reload(&mut state);
        let mut report = state.monitor.check(&self.views, at);
        if let Some(queries) = queries {
            report.attach_traces(|issue| traces::of(queries, issue));
        }
        let notices = state.engine.evaluate(&self.views, &report, at);
        if let Some(delivery) = self.delivery.as_ref().filter(|_| !notices.is_empty()) {
            delivery.send(&notices);
        }
        self.keep(&mut state);
        drop(state);
        let report = Arc::new(report);
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&report));
        report
    }

    /// Reads the rules again if their file has changed; what is wrong with it is told, and the rules stay.
    fn reload(&self, state: &mut State) {
        let Some(path) = &self.rules else { return };
        let modified = modified(path);
        if modified == state.rules_read {
            return;
        }
        state.rules_read = modified;
        match read_rules(path) {
            Ok(rules) => {
                state.engine.set_rules(rules);
                state.trouble = None;
            }
            Err(error) => state.trouble = Some(error.to_string()),
        }
    }

    /// Writes the alerts, if something about them has changed: a file of another name first, so that there is always a whole
    /// one.
    fn keep(&self, state: &mut State) {
        let written = state.engine.state().map_err(|error| error.to_string()).and_then(|text| {
            if text == state.written {
                return Ok(None);
            }
            let partial = self.file.with_extension("json.partial");
            let write = || {
                let mut options = std::fs::OpenOptions::new();
                options.write(true).create(true).truncate(true);
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let mut file = options.open(&partial)?;
                std::io::Write::write_all(&mut file, text.as_bytes())?;
                file.sync_all()?;
                std::fs::rename(&partial, &self.file)
            };
            write().map_err(|error| format!("{}: {error}", self.file.display()))?;
            Ok(Some(text))
        });
        match written {
            Ok(Some(text)) => state.written = text,
            Ok(None) => {}
            Err(error) => state.trouble = Some(error),
        }
    }

    /// The newest report; one is made if there is none yet.
    pub fn report(&self) -> Arc<HealthReport> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        newest.unwrap_or_else(|| self.look(None))
    }

    /// How everything was in the newest minutes.
    pub fn summary(&self, window: Duration) -> Summary {
        self.state().monitor.summary(window, now())
    }

    /// The alerts.
    pub fn alerts(&self) -> AlertsAnswer {
        let state = self.state();
        let manager = state.engine.manager();
        let mut resolved: Vec<Alert> = manager.history().cloned().collect();
        resolved.reverse();
        resolved.truncate(SHOWN);
        let sinks = self.delivery.as_ref().map(Delivery::stats).unwrap_or_default();
        let sinks = sinks.into_iter().map(|(name, stats): (String, SinkStats)| {
            (name, serde_json::to_value(stats).unwrap_or_default())
        });
        AlertsAnswer {
            alerts: manager.alerts(),
            resolved,
            silences: manager.silences().to_vec(),
            sinks: sinks.collect(),
            trouble: state.trouble.clone(),
        }
    }

    /// How many alerts fire and are not muted.
    pub fn firing(&self) -> usize {
        let alerts = self.state().engine.manager().alerts();
        alerts.iter().filter(|alert| alert.phase == Phase::Firing && alert.muted.is_none()).count()
    }

    /// Silences alerts for so long; returns what ends it.
    ///
    /// # Errors
    /// No matcher.
    pub fn silence(&self, request: &SilenceRequest, time: Duration) -> Result<u64, Error> {
        let mut state = self.state();
        let (matchers, until) = (request.matchers.clone(), now() + time);
        let id = state.engine.manager_mut().silence(matchers, until, &request.by, &request.comment);
        let id = id.map_err(|error| Error::input(error.to_string()))?;
        self.keep(&mut state);
        Ok(id)
    }

    /// Ends a silence.
    pub fn unsilence(&self, id: u64) -> bool {
        let mut state = self.state();
        let ended = state.engine.manager_mut().unsilence(id);
        self.keep(&mut state);
        ended
    }

    /// Says who has taken an alert on.
    pub fn acknowledge(&self, id: &str, by: &str) -> bool {
        let mut state = self.state();
        let known = state.engine.manager_mut().acknowledge(id, by);
        self.keep(&mut state);
        known
    }

    /// Measures a subject and does not judge it for so long.
    pub fn maintain(&self, subject: Subject, time: Duration) {
        let mut state = self.state();
        let until = now() + time;
        state.monitor.set_maintenance(subject.clone(), until);
        state.engine.manager_mut().set_maintenance(subject, until);
        self.keep(&mut state);
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// Rules of a file.
///
/// # Errors
/// The file cannot be read, or has what is no rule; names the file.
pub(crate) fn read_rules(path: &Path) -> Result<Rules, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::input(format!("{}: cannot be read: {error}", path.display())))?;
    Rules::parse(&text).map_err(|error| Error::input(format!("{}: {error}", path.display())))
}

//! Alerts of the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast;

use super::Telemetry;
use crate::Error;
use crate::alert::sink::{AlertSink, Delivery, SinkStats};
use crate::alert::{Action, Actions, Alert, Condition, Engine, Notice, Rules};
use crate::cost::budget::Budgets;
use crate::health::HealthReport;
use crate::probe::Prober;
use crate::views::Views;

/// Notices that a subscriber may be behind.
const BEHIND: usize = 1_024;

/// Rules, sinks and who listens.
#[derive(Debug)]
pub(super) struct Alerting {
    engine: Mutex<Engine>,
    delivery: Option<Delivery>,
    actions: Mutex<Actions>,
    told: broadcast::Sender<Notice>,
    budgets: Option<Budgets>,
    prober: Option<Prober>,
}

impl Alerting {
    /// # Errors
    /// The thread of the sinks cannot be started.
    pub(super) fn start(
        rules: Option<Rules>,
        sinks: Vec<Box<dyn AlertSink>>,
        actions: Vec<Action>,
        budgets: Option<Budgets>,
        prober: Option<Prober>,
    ) -> Result<Self, Error> {
        let mut engine = Engine::default();
        if let Some(rules) = rules {
            engine.set_rules(rules);
        }
        let delivery = if sinks.is_empty() { None } else { Some(Delivery::start(sinks)?) };
        let actions = Mutex::new(Actions::new(actions));
        Ok(Self {
            engine: Mutex::new(engine),
            delivery,
            actions,
            told: broadcast::Sender::new(BEHIND),
            budgets,
            prober,
        })
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn evaluate(&self, views: &Views, report: &HealthReport, now: SystemTime) {
        let standings = self.budgets.as_ref().map(Budgets::standings).unwrap_or_default();
        let targets = self.prober.as_ref().map(Prober::targets).unwrap_or_default();
        let others: Vec<Condition> = standings
            .iter()
            .filter_map(Condition::of_budget)
            .chain(targets.iter().filter_map(Condition::of_probe))
            .collect();
        let notices = self.engine().evaluate_with(views, report, &others, now);
        if let Some(delivery) = self.delivery.as_ref().filter(|_| !notices.is_empty()) {
            delivery.send(&notices);
        }
        for notice in notices {
            // Nobody listens: that is no error.
            let _ = self.told.send(notice);
        }
    }

    /// Takes the actions that are due. One that asks for health meanwhile does not start others.
    pub(super) fn act(&self, report: &HealthReport, now: SystemTime) {
        if let Ok(mut actions) = self.actions.try_lock() {
            actions.take(&report.issues, now);
        }
    }
}

/// Notices of alerts, as they come. See [`Telemetry::subscribe_alerts`].
#[derive(Debug)]
pub struct Notices {
    receiver: broadcast::Receiver<Notice>,
    missed: u64,
}

impl Notices {
    /// Waits for the next notice; `None` once telemetry is gone. Works on every runtime and on none.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            match self.receiver.recv().await {
                Ok(notice) => return Some(notice),
                Err(broadcast::error::RecvError::Lagged(missed)) => self.missed += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// How many notices were missed because this was more than 1,024 behind.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

impl Telemetry {
    /// Alerts that are pending or firing, the worst first. Looks first ([`health`](Self::health)).
    pub fn alerts(&self) -> Vec<Alert> {
        let _ = self.health();
        self.examiner.alerting().engine().manager().alerts()
    }

    /// Tells of each alert that fires, becomes worse or is over.
    pub fn subscribe_alerts(&self) -> Notices {
        Notices { receiver: self.examiner.alerting().told.subscribe(), missed: 0 }
    }

    /// Evaluates these rules from now on; what the rules that stay have learned, and their alerts, stay.
    pub fn set_alert_rules(&self, rules: Rules) {
        self.examiner.alerting().engine().set_rules(rules);
    }

    /// Keeps alerts with these labels from being told of for so long: see [`Silence`](crate::alert::Silence). Returns what
    /// ends it.
    ///
    /// # Errors
    /// No matcher, or a time that is too long ([`Error::is_config`]).
    pub fn silence_alerts(
        &self,
        matchers: BTreeMap<String, String>,
        time: Duration,
        by: &str,
        comment: &str,
    ) -> Result<u64, Error> {
        let now = self.examiner.clock().wall();
        let until = now
            .checked_add(time)
            .ok_or_else(|| Error::config(format!("a silence of {time:?} has no end: expected less")))?;
        self.examiner.alerting().engine().manager_mut().silence(matchers, until, by, comment)
    }

    /// Ends a silence; `false` if there is none.
    pub fn unsilence_alerts(&self, id: u64) -> bool {
        self.examiner.alerting().engine().manager_mut().unsilence(id)
    }

    /// Says who has taken an alert on: it is told of again only when it becomes worse or is over. `false` if there is none of
    /// this id.
    pub fn acknowledge_alert(&self, id: &str, by: &str) -> bool {
        self.examiner.alerting().engine().manager_mut().acknowledge(id, by)
    }

    /// What became of notices, by sink.
    pub fn alert_delivery(&self) -> BTreeMap<String, SinkStats> {
        self.examiner.alerting().delivery.as_ref().map(Delivery::stats).unwrap_or_default()
    }
}

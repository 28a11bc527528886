//! Rules, health and the lifecycle together.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::manager::{Manager, ManagerSettings};
use super::notice::Notice;
use super::preset::Preset;
use super::rules::Rules;
use crate::Error;
use crate::health::HealthReport;
use crate::views::Views;

/// Evaluates rules and what health says, and keeps the alerts.
#[derive(Debug)]
pub struct Engine {
    rules: Rules,
    manager: Manager,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(Rules::preset(Preset::Host), ManagerSettings::default())
    }
}

/// Where the state is from: another version of it cannot be read.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    manager: &'a Manager,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    manager: Manager,
}

impl Engine {
    /// An engine without any alert.
    pub fn new(rules: Rules, settings: ManagerSettings) -> Self {
        Self { rules, manager: Manager::new(settings) }
    }

    /// Takes these rules from now on. Alerts of rules that are gone are forgotten; the others go on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules.replace(rules);
        self.manager.keep_rules(&self.rules.names());
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The alerts.
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// The alerts, to silence or acknowledge them.
    pub fn manager_mut(&mut self) -> &mut Manager {
        &mut self.manager
    }

    /// Evaluates, and returns what somebody is to be told.
    pub fn evaluate(&mut self, views: &Views, health: &HealthReport, now: SystemTime) -> Vec<Notice> {
        self.evaluate_with(views, health, &[], now)
    }

    /// [`evaluate`](Self::evaluate), with conditions of others: of budgets ([`Condition::of_budget`]), of probes.
    pub fn evaluate_with(
        &mut self,
        views: &Views,
        health: &HealthReport,
        others: &[Condition],
        now: SystemTime,
    ) -> Vec<Notice> {
        let mut conditions = self.rules.evaluate(views, health, now);
        conditions.extend_from_slice(others);
        conditions.extend(health.issues.iter().map(Condition::of_issue));
        self.manager.evaluate(&conditions, now)
    }

    /// The state of all alerts as JSON, for [`restore`](Self::restore).
    ///
    /// # Errors
    /// A time before 1970 or the like, which JSON has no form for.
    pub fn state(&self) -> Result<String, Error> {
        serde_json::to_string(&Written { version: VERSION, manager: &self.manager })
            .map_err(|error| Error::config(format!("the state of alerts cannot be written: {error}")))
    }

    /// Goes on from a state: whoever was told of an alert is not told again.
    ///
    /// # Errors
    /// A state that is none, or of another version ([`Error::is_config`]); the engine is as it was.
    pub fn restore(&mut self, state: &str) -> Result<(), Error> {
        let read: Read = serde_json::from_str(state)
            .map_err(|error| Error::config(format!("the state of alerts cannot be read: {error}")))?;
        if read.version != VERSION {
            return Err(Error::config(format!(
                "the state of alerts is of version {}, expected {VERSION}: remove it to start anew",
                read.version
            )));
        }
        self.manager = read.manager;
        self.manager.keep_rules(&self.rules.names());
        Ok(())
    }
}

//! What health, alerts and budgets are made of, as the builder takes it.

use std::sync::Arc;
use std::time::Duration;

use super::Builder;
use super::alerting::Alerting;
use super::health::Examiner;
use crate::alert::sink::AlertSink;
use crate::alert::{Action, Rules};
use crate::cost::budget::Budgets;
use crate::health::{Exemplars, Settings};
use crate::probe::Prober;
use crate::views::Views;
use crate::{Clock, Error};

/// What health is made of.
#[derive(Default)]
pub(super) struct HealthParts {
    settings: Settings,
    pub(super) interval: Option<Duration>,
    rules: Option<Rules>,
    sinks: Vec<Box<dyn AlertSink>>,
    actions: Vec<Action>,
    pub(super) budgets: Option<Budgets>,
    pub(super) prober: Option<Prober>,
}

impl HealthParts {
    pub(super) fn start(
        self,
        views: Arc<Views>,
        exemplars: Arc<Exemplars>,
        clock: Clock,
    ) -> Result<Arc<Examiner>, Error> {
        if let Some(budgets) = &self.budgets {
            budgets.attach();
        }
        let alerting = Alerting::start(self.rules, self.sinks, self.actions, self.budgets, self.prober)?;
        Ok(Arc::new(Examiner::new(self.settings, views, exemplars, clock, alerting)))
    }
}

impl Builder {
    /// How health is judged: profile, cuts, targets.
    pub fn health(mut self, settings: Settings) -> Self {
        self.health.settings = settings;
        self
    }

    /// How often health is looked at in the background ([`DEFAULT_HEALTH_INTERVAL`](crate::DEFAULT_HEALTH_INTERVAL)); zero: only when somebody asks. Each
    /// look collects the metrics; with delta temporality they are exported then.
    pub fn health_interval(mut self, interval: Duration) -> Self {
        self.health.interval = Some(interval);
        self
    }

    /// Alerts by these rules, beside what health finds by itself; [`Preset::Host`](crate::alert::Preset::Host) without it.
    pub fn alert_rules(mut self, rules: Rules) -> Self {
        self.health.rules = Some(rules);
        self
    }

    /// Where alerts go; may be called several times.
    pub fn alert_sink(mut self, sink: impl AlertSink) -> Self {
        self.health.sinks.push(Box::new(sink));
        self
    }

    /// Counts what model calls cost against these budgets, for all and for each agent, and alerts at 50, 80 and 100 % of a
    /// limit. Keep a clone to ask [`Budgets::guard`] before a call.
    pub fn budgets(mut self, budgets: Budgets) -> Self {
        self.health.budgets = Some(budgets);
        self
    }

    /// Alerts when a target of this prober is degraded or unhealthy, and exports what its targets are.
    pub fn prober(mut self, prober: Prober) -> Self {
        self.health.prober = Some(prober);
        self
    }

    /// What the program does by itself about an issue.
    pub fn action(mut self, action: Action) -> Self {
        self.health.actions.push(action);
        self
    }
}

//! Looks at views, again and again, and says how everything is.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::evaluator::{Evaluator, Finding, STEP};
use super::report::{Component, Estimate, Evidence, HealthReport, Issue};
use super::score::{Profile, classic_terms, slo_score, total};
use super::status::Settled;
use super::targets::Targets;
use super::{Code, Severity, Status, host, words};
use crate::views::{Subject, SubjectKind, Tally, Views};

/// How health is judged.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// How scores are made.
    pub profile: Profile,
    /// The window that scores are of: 5 minutes. With fewer than `min_samples` in it, the hour is taken.
    pub window: Duration,
    /// With fewer operations a subject is unknown: 5.
    pub min_samples: u64,
    /// At or above this score something is healthy: 80.
    pub healthy: f64,
    /// At or above this score it is degraded, below unhealthy: 60.
    pub degraded: f64,
    /// So many evaluations in a row must say so before a status changes: 2.
    pub hysteresis: u32,
    /// What people have set themselves as targets.
    pub targets: Targets,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            window: Duration::from_secs(300),
            min_samples: 5,
            healthy: 80.0,
            degraded: 60.0,
            hysteresis: 2,
            targets: Targets::default(),
        }
    }
}

/// The hour, if there is too little in the window.
const LONGER: Duration = Duration::from_secs(3_600);
/// What is usual is of the newest day, and looked up so often.
const DAY: Duration = Duration::from_secs(86_400);
const USUAL_HOLDS: Duration = Duration::from_secs(600);
/// Checks that are remembered for summaries: a day of one each ten seconds.
const HISTORY: usize = 8_640;

/// How everything was over a window: see [`Monitor::summary`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The mean of the whole's scores; `None` if none is known of the window.
    pub overall_health_score: Option<f64>,
    /// The least of them.
    pub lowest: Option<f64>,
    /// How many checks there were.
    pub checks: u64,
    /// How many of them said what.
    pub statuses: BTreeMap<Status, u64>,
    /// The window, minutes.
    pub time_window_minutes: f64,
}

/// Judges what views say: one for a set of views.
#[derive(Debug, Default)]
pub struct Monitor {
    settings: Settings,
    evaluator: Evaluator,
    stepped: Option<SystemTime>,
    findings: Vec<Finding>,
    settled: BTreeMap<Subject, Settled>,
    usual: BTreeMap<Subject, (SystemTime, Tally)>,
    host: host::Watch,
    maintenance: BTreeMap<Subject, SystemTime>,
    history: VecDeque<(SystemTime, Option<f64>, Status)>,
}

impl Monitor {
    /// One that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// How it judges.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Judges in another way from now on. What it has learned stays.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Says that somebody works on a subject until then: it is measured, and not judged. A time that is past ends it.
    pub fn set_maintenance(&mut self, subject: Subject, until: SystemTime) {
        self.maintenance.insert(subject, until);
    }

    /// What is unusual, as the newest step of the evaluator says.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Looks at the views and says how everything is. The evaluator's step is made if one is due ([`STEP`]).
    pub fn check(&mut self, views: &Views, now: SystemTime) -> HealthReport {
        let due = self.stepped.is_none_or(|at| now.duration_since(at).unwrap_or_default() >= STEP);
        if due {
            self.findings = self.evaluator.step(&views.take(now), now);
            self.stepped = Some(now);
        }
        self.maintenance.retain(|_, until| *until > now);
        let mut issues: Vec<Issue> = self.findings.iter().map(words::issue_of).collect();
        let mut components = Vec::new();
        for subject in views.subjects() {
            if subject.agent.is_some() || subject.kind == SubjectKind::System {
                continue;
            }
            components.extend(self.component(views, &subject, &mut issues, now));
        }
        issues.extend(self.host.look(views, &self.settings.targets.host, now));
        issues.extend(telemetry_loss(views, now));
        issues.retain(|issue| !self.is_maintained(&issue.subject));
        issues.sort_by(|a, b| (b.severity, a.code, &a.subject).cmp(&(a.severity, b.code, &b.subject)));
        let known: Vec<&Subject> = components.iter().map(|one: &Component| &one.subject).collect();
        self.settled.retain(|subject, _| known.binary_search(&subject).is_ok());
        self.usual.retain(|subject, _| known.binary_search(&subject).is_ok());
        let report = self.whole(components, issues, now);
        self.remember(&report);
        report
    }

    fn is_maintained(&self, subject: &Subject) -> bool {
        let whole = Subject { agent: None, ..subject.clone() };
        let of_agent = subject
            .agent
            .as_ref()
            .map(|agent| Subject::new(SubjectKind::Agent, std::sync::Arc::clone(agent)));
        [Some(Subject::system()), Some(whole), of_agent]
            .into_iter()
            .flatten()
            .any(|subject| self.maintenance.contains_key(&subject))
    }

    fn component(
        &mut self,
        views: &Views,
        subject: &Subject,
        issues: &mut Vec<Issue>,
        now: SystemTime,
    ) -> Option<Component> {
        let mut window = self.settings.window;
        let mut tally = views.window(subject, window, now)?;
        if tally.count < self.settings.min_samples && window < LONGER {
            window = LONGER;
            tally = views.window(subject, window, now)?;
        }
        let enough = tally.count >= self.settings.min_samples;
        let terms = match (enough, self.settings.profile) {
            (false, _) => Vec::new(),
            (true, Profile::Classic) => classic_terms(&tally),
            (true, Profile::Slo) => {
                self.look_up_usual(views, subject, now);
                let nothing = Tally::default();
                let usual = self.usual.get(subject).map_or(&nothing, |(_, usual)| usual);
                slo_score(subject.kind, &tally, usual, &self.settings.targets)
            }
        };
        if enough {
            issues.extend(words::missed_targets(subject, &tally, &self.settings.targets, window, now));
        }
        let worst =
            issues.iter().filter(|issue| concerns(&issue.subject, subject)).map(|issue| issue.severity).max();
        let score = total(&terms).map(|score| score.min(self.cap(worst)));
        let status = if self.is_maintained(subject) {
            Status::Maintenance
        } else {
            Status::of_score(score, self.settings.healthy, self.settings.degraded)
        };
        let settled = self.settled.entry(subject.clone()).or_insert_with(Settled::new);
        let status = settled.say(status, self.settings.hysteresis);
        Some(component_of(subject, status, score, terms, &tally, window))
    }

    /// The best score that is left with an issue of this severity.
    fn cap(&self, worst: Option<Severity>) -> f64 {
        match worst {
            Some(Severity::Critical) => self.settings.degraded - 1.0,
            Some(Severity::Error) => self.settings.healthy - 1.0,
            _ => 100.0,
        }
    }

    /// Looks up what is usual, if that was long ago.
    fn look_up_usual(&mut self, views: &Views, subject: &Subject, now: SystemTime) {
        let held = |at: &SystemTime| now.duration_since(*at).unwrap_or_default() < USUAL_HOLDS;
        if !self.usual.get(subject).is_some_and(|(at, _)| held(at)) {
            let day = views.window(subject, DAY, now).unwrap_or_default();
            self.usual.insert(subject.clone(), (now, day));
        }
    }

    fn whole(&self, components: Vec<Component>, issues: Vec<Issue>, now: SystemTime) -> HealthReport {
        let scored = |agents: bool| {
            let chosen =
                components.iter().filter(move |one| (one.subject.kind == SubjectKind::Agent) == agents);
            let (sum, weight) = chosen
                .filter_map(|one| Some((one.score?, one.samples as f64)))
                .fold((0.0, 0.0), |(sum, weight), (score, samples)| {
                    (sum + score * samples, weight + samples)
                });
            (weight > 0.0).then(|| sum / weight)
        };
        let system = issues.iter().filter(|issue| issue.subject.kind == SubjectKind::System);
        let cap = self.cap(system.map(|issue| issue.severity).max());
        let score = scored(true).or_else(|| scored(false)).map(|score| score.min(cap));
        let of_whole = Status::of_score(score, self.settings.healthy, self.settings.degraded);
        let worst = components.iter().map(|one| match (one.subject.kind, one.status) {
            (SubjectKind::Tool | SubjectKind::Operation, Status::Unhealthy) => Status::Degraded,
            (_, Status::Maintenance) => Status::Unknown,
            (_, status) => status,
        });
        let whole = Subject::system();
        let status = match self.maintenance.contains_key(&whole) {
            true => Status::Maintenance,
            false => worst.fold(of_whole, Status::max),
        };
        // The components have settled already; only what is of the whole alone has not.
        HealthReport {
            status,
            score,
            profile: self.settings.profile,
            checked_at: now,
            window_s: self.settings.window.as_secs_f64(),
            components,
            issues,
        }
    }

    fn remember(&mut self, report: &HealthReport) {
        if self.history.len() >= HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((report.checked_at, report.score, report.status));
    }

    /// How everything was in the window up to `now`, by the checks that were made in it.
    pub fn summary(&self, window: Duration, now: SystemTime) -> Summary {
        let in_window = |at: &SystemTime| now.duration_since(*at).is_ok_and(|age| age <= window);
        let mut summary = Summary {
            overall_health_score: None,
            lowest: None,
            checks: 0,
            statuses: BTreeMap::new(),
            time_window_minutes: window.as_secs_f64() / 60.0,
        };
        let (mut sum, mut scored) = (0.0, 0_u64);
        for (_, score, status) in self.history.iter().filter(|(at, ..)| in_window(at)) {
            summary.checks += 1;
            *summary.statuses.entry(*status).or_default() += 1;
            if let Some(score) = score {
                sum += score;
                scored += 1;
                summary.lowest = Some(summary.lowest.map_or(*score, |lowest: f64| lowest.min(*score)));
            }
        }
        summary.overall_health_score = (scored > 0).then(|| sum / scored as f64);
        summary
    }

    /// The scores of the whole, the oldest first: one for each check of about the last day.
    pub fn scores(&self) -> impl Iterator<Item = (SystemTime, f64)> + '_ {
        self.history.iter().filter_map(|(at, score, _)| Some((*at, (*score)?)))
    }
}

/// Whether an issue of one subject says something of the other: its own, or of its use by an agent.
fn concerns(issue: &Subject, subject: &Subject) -> bool {
    let own = issue.kind == subject.kind && issue.name == subject.name;
    let of_agent = subject.kind == SubjectKind::Agent && issue.agent.as_ref() == Some(&subject.name);
    own || of_agent
}

fn component_of(
    subject: &Subject,
    status: Status,
    score: Option<f64>,
    terms: Vec<super::score::Term>,
    tally: &Tally,
    window: Duration,
) -> Component {
    let judged = tally.count.saturating_sub(tally.cancelled());
    Component {
        subject: subject.clone(),
        status,
        score,
        terms,
        window_s: window.as_secs_f64(),
        samples: tally.count,
        errors: tally.failed(),
        error_rate: Estimate::of_share(tally.failed(), judged),
        average_s: tally.all_durations().mean(),
        p50_s: tally.durations.quantile(0.5),
        p95_s: tally.durations.quantile(0.95),
        cost_usd: tally.cost_nano as f64 / 1e9,
        tokens: tally.tokens(),
    }
}

/// Whether the telemetry itself has lost something in the newest five minutes.
fn telemetry_loss(views: &Views, now: SystemTime) -> Option<Issue> {
    let window = Duration::from_secs(300);
    let tally = views.window(&Subject::system(), window, now)?;
    (tally.spans_lost > 0).then(|| Issue {
        code: Code::TelemetryLoss,
        severity: Code::TelemetryLoss.severity(),
        subject: Subject::system(),
        summary: format!("{} spans were lost in 5 minutes", tally.spans_lost),
        evidence: Evidence {
            observed: tally.spans_lost as f64,
            limit: 0.0,
            unit: "{span}".into(),
            window_s: window.as_secs_f64(),
            samples: tally.spans_lost,
        },
        since: now,
        top_error: None,
        trace_ids: Vec::new(),
        advice: Code::TelemetryLoss.advice().to_owned(),
    })
}

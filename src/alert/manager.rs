//! What becomes of conditions: pending, firing, resolved, and who is told when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::condition::{Condition, Source, Verdict, seconds};
use super::notice::{Alert, Notice, NoticeKind, Phase};
use crate::Error;
use crate::health::Severity;
use crate::views::Subject;

/// How alerts are handled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ManagerSettings {
    /// Whoever was told of an alert is told again after so long, unless somebody has taken it on: 4 h.
    #[serde(with = "seconds")]
    pub repeat_after: Duration,
    /// A firing alert of which nothing is known for so long is over: 15 min.
    #[serde(with = "seconds")]
    pub no_data_after: Duration,
    /// Alerts that are held at most, pending ones counted: 10,000. Further ones are counted ([`Manager::refused`]).
    pub max_alerts: usize,
    /// Alerts that are over and remembered: 1,000.
    pub history: usize,
}

impl Default for ManagerSettings {
    fn default() -> Self {
        Self {
            repeat_after: Duration::from_secs(4 * 3_600),
            no_data_after: Duration::from_secs(900),
            max_alerts: 10_000,
            history: 1_000,
        }
    }
}

/// Keeps alerts from being told of while they are firing; what is over is told of to whom was told that it fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Silence {
    /// What it is called, to end it.
    pub id: u64,
    /// Labels that an alert must have, all of them: `alertname` (or `rule`), `severity`, `subject_kind`, `subject`, `agent`, and
    /// the alert's own. A `*` at the end stands for anything.
    pub matchers: BTreeMap<String, String>,
    /// Until when.
    #[serde(with = "crate::health::rfc3339")]
    pub until: SystemTime,
    /// Who set it.
    pub by: String,
    /// Why.
    pub comment: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    condition: Condition,
    alert: Alert,
    /// When the condition was active, or not unknown, last.
    #[serde(with = "crate::health::rfc3339")]
    active_at: SystemTime,
    #[serde(with = "crate::health::rfc3339")]
    known_at: SystemTime,
    /// Who was told what, last: the severity, and when.
    told: Option<(Severity, u64)>,
}

/// The state machine of alerts. It does not read time and does nothing by itself: the same calls give the same notices.
///
/// The whole of it is its serialised form: one that is read back goes on as if nothing had been.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Manager {
    #[serde(default)]
    settings: ManagerSettings,
    entries: BTreeMap<String, Entry>,
    #[serde(default)]
    silences: Vec<Silence>,
    #[serde(default)]
    maintenance: Vec<(Subject, u64)>,
    #[serde(default)]
    history: VecDeque<Alert>,
    #[serde(default)]
    refused: u64,
    #[serde(default)]
    next_silence: u64,
}

impl Manager {
    /// One without any alert.
    pub fn new(settings: ManagerSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Takes in what is said at one evaluation and returns what somebody is to be told. Times must not go back.
    pub fn evaluate(&mut self, conditions: &[Condition], now: SystemTime) -> Vec<Notice> {
        self.silences.retain(|silence| silence.until > now);
        self.maintenance.retain(|(_, until)| *until > seconds_of(now));
        let mut said = BTreeSet::new();
        let mut over = Vec::new();
        for condition in conditions {
            let id = id_of(condition);
            if said.insert(id.clone()) {
                self.say(id, condition, now, &mut over);
            }
        }
        let unsaid: Vec<String> = self.entries.keys().filter(|id| !said.contains(*id)).cloned().collect();
        for id in unsaid {
            let Some(entry) = self.entries.get(&id) else { continue };
            let mut condition = entry.condition.clone();
            condition.verdict = match condition.source {
                Source::Health => Verdict::Inactive,
                Source::Rule => Verdict::Unknown,
            };
            self.say(id, &condition, now, &mut over);
        }
        self.mute();
        let mut notices: Vec<Notice> = over;
        notices.extend(self.tell(now));
        notices
    }

    fn say(&mut self, id: String, condition: &Condition, now: SystemTime, over: &mut Vec<Notice>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            if condition.verdict == Verdict::Active {
                self.begin(id, condition, now);
            }
            return;
        };
        if condition.verdict != Verdict::Unknown {
            entry.known_at = now;
        }
        match condition.verdict {
            Verdict::Active => {
                entry.active_at = now;
                entry.update(condition);
                entry.rise(now);
            }
            Verdict::Inactive => {
                let kept = since(now, entry.active_at) < entry.condition.keep_firing;
                if entry.alert.phase == Phase::Pending || !kept {
                    self.end(&id, now, None, over);
                }
            }
            Verdict::Unknown => {
                if since(now, entry.known_at) >= self.settings.no_data_after {
                    self.end(&id, now, Some("nothing is known of it any more"), over);
                }
            }
        }
    }

    fn begin(&mut self, id: String, condition: &Condition, now: SystemTime) {
        if self.entries.len() >= self.settings.max_alerts {
            self.refused += 1;
            return;
        }
        let alert = Alert {
            id: id.clone(),
            rule: Arc::clone(&condition.rule),
            subject: condition.subject.clone(),
            severity: condition.severity,
            phase: Phase::Pending,
            since: now,
            fired_at: None,
            resolved_at: None,
            summary: condition.summary.clone(),
            advice: condition.advice.clone(),
            evidence: condition.evidence.clone(),
            top_error: condition.top_error.clone(),
            trace_ids: condition.trace_ids.clone(),
            labels: condition.labels.clone(),
            muted: None,
            acknowledged_by: None,
        };
        let mut entry =
            Entry { condition: condition.clone(), alert, active_at: now, known_at: now, told: None };
        entry.rise(now);
        self.entries.insert(id, entry);
    }

    fn end(&mut self, id: &str, now: SystemTime, why: Option<&str>, over: &mut Vec<Notice>) {
        let Some(mut entry) = self.entries.remove(id) else { return };
        if entry.alert.phase != Phase::Firing {
            return;
        }
        entry.alert.phase = Phase::Resolved;
        entry.alert.resolved_at = Some(now);
        if let Some(why) = why {
            entry.alert.summary = format!("{} ({why})", entry.alert.summary);
        }
        // Who was told that it fires is told that it is over, silenced or not.
        if entry.told.is_some() {
            over.push(Notice::new(NoticeKind::Resolved, entry.alert.clone()));
        }
        self.history.push_back(entry.alert);
        while self.history.len() > self.settings.history {
            self.history.pop_front();
        }
    }

    /// Says of each alert whether, and why, nobody is to be told.
    fn mute(&mut self) {
        let mut worst: BTreeMap<(Arc<str>, Subject), Severity> = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| entry.alert.phase == Phase::Firing) {
            let place = (Arc::clone(&entry.condition.group), entry.condition.subject.clone());
            let severity = worst.entry(place).or_insert(entry.alert.severity);
            *severity = (*severity).max(entry.alert.severity);
        }
        for entry in self.entries.values_mut() {
            let alert = &mut entry.alert;
            let place = (Arc::clone(&entry.condition.group), entry.condition.subject.clone());
            let silence = self.silences.iter().find(|silence| matches(silence, alert));
            alert.muted = if let Some(silence) = silence {
                Some(format!("silenced by {}: {}", silence.by, silence.comment))
            } else if self.maintenance.iter().any(|(subject, _)| covers(subject, &alert.subject)) {
                Some("maintenance".to_owned())
            } else if worst.get(&place).is_some_and(|worst| *worst > alert.severity) {
                Some("a more severe alert says the same".to_owned())
            } else {
                None
            };
        }
    }

    fn tell(&mut self, now: SystemTime) -> Vec<Notice> {
        let mut notices = Vec::new();
        for entry in self.entries.values_mut() {
            if entry.alert.phase != Phase::Firing || entry.alert.muted.is_some() {
                continue;
            }
            let kind = match entry.told {
                None => NoticeKind::Firing,
                Some((severity, _)) if entry.alert.severity > severity => NoticeKind::Escalated,
                Some((_, at)) => {
                    let due = seconds_of(now).saturating_sub(at) >= self.settings.repeat_after.as_secs();
                    if !due || entry.alert.acknowledged_by.is_some() {
                        continue;
                    }
                    NoticeKind::Repeated
                }
            };
            if kind == NoticeKind::Escalated {
                entry.alert.acknowledged_by = None;
            }
            entry.told = Some((entry.alert.severity, seconds_of(now)));
            notices.push(Notice::new(kind, entry.alert.clone()));
        }
        notices
    }

    /// Alerts that are pending or firing, the worst and oldest first; those that nobody is told of say why
    /// ([`Alert::muted`]).
    pub fn alerts(&self) -> Vec<Alert> {
        let mut alerts: Vec<Alert> = self.entries.values().map(|entry| entry.alert.clone()).collect();
        alerts.sort_by(|a, b| {
            let rank = |alert: &Alert| {
                (alert.phase != Phase::Firing, std::cmp::Reverse(alert.severity), alert.since)
            };
            rank(a).cmp(&rank(b)).then_with(|| a.id.cmp(&b.id))
        });
        alerts
    }

    /// Alerts that are over, the oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Alert> {
        self.history.iter()
    }

    /// Alerts that found no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Keeps matching alerts from being told of until then. Returns what ends it ([`unsilence`](Self::unsilence)).
    ///
    /// # Errors
    /// No matcher ([`Error::is_config`]): everything would be silenced.
    pub fn silence(
        &mut self,
        matchers: BTreeMap<String, String>,
        until: SystemTime,
        by: impl Into<String>,
        comment: impl Into<String>,
    ) -> Result<u64, Error> {
        if matchers.is_empty() {
            return Err(Error::config(
                "a silence without a matcher would silence everything: name a label, e.g. alertname",
            ));
        }
        self.next_silence += 1;
        let id = self.next_silence;
        self.silences.push(Silence { id, matchers, until, by: by.into(), comment: comment.into() });
        Ok(id)
    }

    /// Ends a silence; `false` if there is none of this id.
    pub fn unsilence(&mut self, id: u64) -> bool {
        let before = self.silences.len();
        self.silences.retain(|silence| silence.id != id);
        self.silences.len() < before
    }

    /// Silences that are in force.
    pub fn silences(&self) -> &[Silence] {
        &self.silences
    }

    /// Says who has taken an alert on: it is not told of again until it is over or becomes more severe. `false` if no such
    /// alert is there.
    pub fn acknowledge(&mut self, id: &str, by: impl Into<String>) -> bool {
        match self.entries.get_mut(id) {
            Some(entry) => {
                entry.alert.acknowledged_by = Some(by.into());
                true
            }
            None => false,
        }
    }

    /// Keeps all alerts of a subject (of all: [`Subject::system`]) from being told of until then.
    pub fn set_maintenance(&mut self, subject: Subject, until: SystemTime) {
        self.maintenance.retain(|(known, _)| *known != subject);
        self.maintenance.push((subject, seconds_of(until)));
    }

    /// Forgets alerts of rules that are not there any more, without a notice.
    pub(super) fn keep_rules(&mut self, rules: &BTreeSet<Arc<str>>) {
        self.entries.retain(|_, entry| {
            entry.condition.source != Source::Rule || rules.contains(&entry.condition.rule)
        });
    }
}

impl Entry {
    /// Takes over what is said now.
    fn update(&mut self, condition: &Condition) {
        let alert = &mut self.alert;
        alert.severity = condition.severity;
        alert.summary.clone_from(&condition.summary);
        alert.advice.clone_from(&condition.advice);
        alert.evidence.clone_from(&condition.evidence);
        alert.top_error.clone_from(&condition.top_error);
        if !condition.trace_ids.is_empty() {
            alert.trace_ids.clone_from(&condition.trace_ids);
        }
        self.condition.clone_from(condition);
    }

    /// Fires if it has held for long enough.
    fn rise(&mut self, now: SystemTime) {
        if self.alert.phase == Phase::Pending && since(now, self.alert.since) >= self.condition.hold {
            self.alert.phase = Phase::Firing;
            self.alert.fired_at = Some(now);
        }
    }
}

fn since(now: SystemTime, then: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

fn seconds_of(time: SystemTime) -> u64 {
    since(time, SystemTime::UNIX_EPOCH).as_secs()
}

/// FNV-1a over what makes an alert the same: stable over restarts and versions, which a hasher of the standard library is
/// not.
fn id_of(condition: &Condition) -> String {
    let subject = condition.subject.to_string();
    let labels = condition.labels.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in [&*condition.rule, subject.as_str()].into_iter().chain(labels) {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

fn covers(maintained: &Subject, subject: &Subject) -> bool {
    maintained.kind == crate::views::SubjectKind::System
        || (maintained.kind == subject.kind && maintained.name == subject.name)
        || (maintained.kind == crate::views::SubjectKind::Agent
            && subject.agent.as_ref() == Some(&maintained.name))
}

fn matches(silence: &Silence, alert: &Alert) -> bool {
    silence.matchers.iter().all(|(key, wanted)| {
        let value = match key.as_str() {
            "alertname" | "rule" => &*alert.rule,
            "severity" => alert.severity.as_str(),
            "subject_kind" => alert.subject.kind.as_str(),
            "subject" => &*alert.subject.name,
            "agent" => match (&alert.subject.agent, alert.subject.kind) {
                (Some(agent), _) => &**agent,
                (None, crate::views::SubjectKind::Agent) => &*alert.subject.name,
                _ => "",
            },
            own => alert.labels.get(own).map_or("", String::as_str),
        };
        match wanted.strip_suffix('*') {
            Some(start) => value.starts_with(start),
            None => value == wanted,
        }
    })
}

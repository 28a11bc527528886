//! Which of the things that look wrong are wrong by themselves, and which only follow from another.
//!
//! A run that goes round in circles makes prompts longer and dearer; a model that hangs lets its agents fall silent. To
//! tell of the cause alone is what makes an alarm worth waking up for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Code;
use super::detect::Evidence;
use super::series::{FIRING, SUSPICIOUS, Series};
use crate::views::{Subject, SubjectKind};

/// Something that looks wrong in the newest step.
#[derive(Debug, Clone)]
pub(super) struct Suspect {
    pub(super) code: Code,
    pub(super) subject: Subject,
    pub(super) evidence: Evidence,
}

/// All series of the newest step, by subject.
pub(super) type All = BTreeMap<Subject, Series>;

/// What is wrong by itself in the newest step. `recently` says whether something was told of lately.
pub(super) fn find(all: &All, system: &Series, recently: impl Fn(Code, &Subject) -> bool) -> Vec<Suspect> {
    let mut found = silence(all, system);
    let silent = !found.is_empty();
    for (subject, series) in all {
        for (code, evidence) in &series.now {
            if evidence.nats < FIRING || *code == Code::Silence {
                continue;
            }
            let Some(subject) = place(all, subject, *code) else { continue };
            if explained(all, &subject, *code, &recently) || (silent && *code == Code::Stall) {
                continue;
            }
            if !found.iter().any(|suspect: &Suspect| suspect.code == *code && suspect.subject == subject) {
                found.push(Suspect { code: *code, subject, evidence: *evidence });
            }
        }
    }
    found
}

/// The same model or tool, as each agent uses it.
fn uses<'a>(all: &'a All, subject: &'a Subject) -> impl Iterator<Item = (&'a Arc<str>, &'a Series)> {
    all.range(subject.clone()..)
        .take_while(move |(other, _)| other.kind == subject.kind && other.name == subject.name)
        .filter_map(|(other, series)| Some((other.agent.as_ref()?, series)))
}

/// Whom it is to be told of: a model or tool that only one agent sees go wrong goes wrong for that agent. `None` if the
/// model or tool as a whole is told of already.
fn place(all: &All, subject: &Subject, code: Code) -> Option<Subject> {
    let whole = Subject::new(subject.kind, Arc::clone(&subject.name));
    match (subject.kind, &subject.agent) {
        (SubjectKind::Model | SubjectKind::Tool, None) => {
            let mut suspicious = uses(all, subject).filter(|(_, series)| series.nats(code) >= SUSPICIOUS);
            Some(match (suspicious.next(), suspicious.next()) {
                (Some((agent, _)), None) => whole.used_by(Arc::clone(agent)),
                _ => whole,
            })
        }
        (SubjectKind::Model | SubjectKind::Tool, Some(_)) => {
            let told = all.get(&whole).is_some_and(|series| series.nats(code) >= FIRING);
            (!told).then(|| subject.clone())
        }
        // A loop of an agent is told of at the tool that goes round, if it is one.
        (SubjectKind::Agent, _) if code == Code::Loop => {
            let mut tools = all.iter().filter(|(tool, series)| {
                tool.kind == SubjectKind::Tool
                    && tool.agent.as_ref() == Some(&subject.name)
                    && series.nats(Code::Loop) >= SUSPICIOUS
            });
            match (tools.next(), tools.next()) {
                (Some((tool, _)), None) => Some(tool.clone()),
                _ => Some(subject.clone()),
            }
        }
        _ => Some(subject.clone()),
    }
}

/// Whether something else explains it.
fn explained(all: &All, subject: &Subject, code: Code, recently: &impl Fn(Code, &Subject) -> bool) -> bool {
    let whole = Subject::new(subject.kind, Arc::clone(&subject.name));
    let here = |cause: Code| {
        let now = |subject: &Subject| all.get(subject).is_some_and(|series| series.nats(cause) >= SUSPICIOUS);
        now(subject) || now(&whole) || recently(cause, subject) || recently(cause, &whole)
    };
    let goes_round = |agent: &Arc<str>| {
        let agent = Subject::new(SubjectKind::Agent, Arc::clone(agent));
        recently(Code::Loop, &agent)
            || all.get(&agent).is_some_and(|series| series.nats(Code::Loop) >= SUSPICIOUS)
    };
    let loops = || match &subject.agent {
        Some(agent) => goes_round(agent),
        None => uses(all, &whole).any(|(agent, _)| goes_round(agent)),
    };
    match code {
        Code::ContextGrowth | Code::EmptyOutput => loops(),
        Code::ToolError => loops() || here(Code::Loop),
        Code::Cost => here(Code::ContextGrowth) || loops(),
        Code::SlowModel | Code::SlowTool => here(Code::Stall),
        Code::Stall => here(Code::SlowModel) || here(Code::SlowTool),
        Code::FailingRuns => {
            let agent = &subject.name;
            all.values().any(|series| {
                series.subject.agent.as_ref() == Some(agent)
                    && series.now.iter().any(|(_, evidence)| evidence.nats >= SUSPICIOUS)
            }) || goes_round(agent)
        }
        _ => false,
    }
}

/// Who has gone quiet: all, else the agents, else the models and tools of agents that have not.
fn silence(all: &All, system: &Series) -> Vec<Suspect> {
    let suspect = |series: &Series| {
        let evidence = series.now.iter().find(|(code, _)| *code == Code::Silence)?.1;
        (evidence.nats >= FIRING).then(|| Suspect {
            code: Code::Silence,
            subject: series.subject.clone(),
            evidence,
        })
    };
    let agents = || all.values().filter(|series| series.subject.kind == SubjectKind::Agent);
    // Of one agent alone it is said by name.
    if agents().count() > 1
        && let Some(suspect) = suspect(system)
    {
        return vec![suspect];
    }
    let mut found: Vec<Suspect> = agents().filter_map(suspect).collect();
    for series in all.values().filter(|series| series.subject.agent.is_none()) {
        if !matches!(series.subject.kind, SubjectKind::Model | SubjectKind::Tool) {
            continue;
        }
        // Nothing is called by agents that do nothing.
        let callers_rest = uses(all, &series.subject).all(|(agent, _)| {
            let agent = Subject::new(SubjectKind::Agent, Arc::clone(agent));
            all.get(&agent).is_some_and(|agent| agent.silent)
        });
        let has_callers = uses(all, &series.subject).next().is_some();
        if !(has_callers && callers_rest) {
            found.extend(suspect(series));
        }
    }
    found
}

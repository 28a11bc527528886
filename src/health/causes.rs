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

/// How many times the evidence of any other agent it must be, for a model or tool to go wrong for one agent alone.
const ALONE: f64 = 4.0;

/// Steps between the beginnings of silences that are taken for one.
const TOGETHER: usize = 3;

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
    // Who waits for a call that does not end is not quiet by himself, nor is who waits for him.
    let stalled = all
        .values()
        .any(|series| series.nats(Code::Stall) >= SUSPICIOUS || recently(Code::Stall, &series.subject));
    // After all have been quiet, they begin one by one.
    let resumed = system.nats(Code::Silence) < FIRING && recently(Code::Silence, &system.subject);
    let mut found = if stalled || resumed { Vec::new() } else { silence(all, system, &recently) };
    let silent = !found.is_empty();
    for (subject, series) in all {
        for (code, evidence) in &series.now {
            if evidence.nats < FIRING || *code == Code::Silence {
                continue;
            }
            let Some(subject) = place(all, subject, *code) else { continue };
            if (stalled && follows_stalls(*code))
                || explained(all, &subject, *code, &recently)
                || (silent && *code == Code::Stall)
            {
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
            let mut parts: Vec<(f64, &Arc<str>)> =
                uses(all, subject).map(|(agent, series)| (series.nats(code), agent)).collect();
            // If it is as usual for each of them, only the shares of the agents in it have changed.
            if !parts.is_empty() && parts.iter().map(|(nats, _)| nats).sum::<f64>() < FIRING / 2.0 {
                return None;
            }
            parts.retain(|(nats, _)| *nats >= SUSPICIOUS);
            parts.sort_by(|(a, _), (b, _)| b.total_cmp(a));
            Some(match parts.as_slice() {
                [(_, agent)] => whole.used_by(Arc::clone(agent)),
                [(most, agent), (next, _), ..] if *most > ALONE * next => whole.used_by(Arc::clone(agent)),
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
        Code::EmptyOutput | Code::ModelError | Code::RateLimit => loops(),
        Code::ToolError => loops() || here(Code::Loop),
        Code::ContextGrowth => loops(),
        Code::Cost => loops() || here(Code::ContextGrowth),
        Code::SlowModel => loops(),
        Code::SlowTool => loops() || here(Code::Loop),
        Code::Runaway => goes_round(&subject.name) || ails(all, &subject.name, recently),
        Code::Stall => here(Code::SlowModel) || here(Code::SlowTool),
        Code::FailingRuns => goes_round(&subject.name) || ails(all, &subject.name, recently),
        _ => false,
    }
}

/// Whether it may come of runs being held up: those that go on meanwhile are other ones than usual, and afterwards all go on
/// together.
fn follows_stalls(code: Code) -> bool {
    matches!(
        code,
        Code::ContextGrowth
            | Code::Cost
            | Code::SlowModel
            | Code::SlowTool
            | Code::Loop
            | Code::FailingRuns
            | Code::Runaway
    )
}

/// Whether anything is wrong with the calls of an agent, or was lately.
fn ails(all: &All, agent: &Arc<str>, recently: &impl Fn(Code, &Subject) -> bool) -> bool {
    let calls = all.values().filter(|series| series.subject.agent.as_ref() == Some(agent));
    let mut subjects = calls.map(|series| &series.subject);
    subjects.any(|subject| {
        let whole = Subject::new(subject.kind, Arc::clone(&subject.name));
        let seen = |subject: &Subject| {
            all.get(subject).is_some_and(|series| series.now.iter().any(|(_, it)| it.nats >= SUSPICIOUS))
        };
        let told = |subject: &Subject| Code::OF_CALLS.into_iter().any(|code| recently(code, subject));
        seen(subject) || told(subject) || told(&whole)
    })
}

/// Who has gone quiet: all, else the agents, else the models and tools of agents that have not.
fn silence(all: &All, system: &Series, recently: &impl Fn(Code, &Subject) -> bool) -> Vec<Suspect> {
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
    // Agents that fell silent at the same time work together: one of them is told of, that which was told of already or has
    // done most.
    found.sort_by(|a, b| {
        let told = |suspect: &Suspect| recently(Code::Silence, &suspect.subject);
        told(b).cmp(&told(a)).then(b.evidence.nats.total_cmp(&a.evidence.nats))
    });
    let mut told: Vec<usize> = Vec::new();
    found.retain(|suspect| {
        let together = told.iter().any(|steps| steps.abs_diff(suspect.evidence.steps) <= TOGETHER);
        told.push(suspect.evidence.steps);
        !together
    });
    let resting = agents().any(|agent| recently(Code::Silence, &agent.subject));
    for series in all.values().filter(|series| series.subject.agent.is_none()) {
        if !matches!(series.subject.kind, SubjectKind::Model | SubjectKind::Tool) {
            continue;
        }
        // Nothing is called by agents that do nothing, and little by those that have just begun again or wait for others.
        let callers_rest = resting
            || uses(all, &series.subject).all(|(agent, _)| {
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

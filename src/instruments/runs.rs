//! What the calls of an agent's run add up to.
//!
//! A run and its calls come through different queues, so that a call may be seen after the run that made it. A run is
//! therefore closed one round of the queues after it was seen to end.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::names::Name;
use crate::operation::{Operation, OperationKind};

/// Runs that are being counted. The calls of further ones are not, until some end.
const MAX_RUNS: usize = 65_536;

/// A call that was made because one like it had failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    /// The `error.type` of the failure.
    pub(super) cause: Name,
    /// Whether it went to another model.
    pub(super) fallback: bool,
}

#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    going_on: HashMap<u64, Run>,
    /// Runs that have ended: in this round, and before.
    ended: [Vec<Operation>; 2],
}

#[derive(Debug, Clone, Copy, Default)]
struct Run {
    inference_calls: u32,
    tool_calls: u32,
    /// The last failed call: what may be tried again.
    failed: Option<Failed>,
}

#[derive(Debug, Clone, Copy)]
struct Failed {
    kind: OperationKind,
    subject: Name,
    error_type: Name,
    ended_ns: u64,
}

impl Run {
    /// Counts a call.
    fn note(&mut self, kind: OperationKind, call: &Operation) -> Option<Retry> {
        match kind {
            OperationKind::Model => self.inference_calls += 1,
            _ => self.tool_calls += 1,
        }
        let subject = call.subject();
        // A call that was going on beside the failed one is no answer to it.
        let started_ns = call.ended_ns.saturating_sub(call.duration_ns);
        let before = self.failed.filter(|failed| failed.kind == kind && failed.ended_ns <= started_ns);
        if call.failed() {
            self.failed =
                Some(Failed { kind, subject, error_type: call.error_type, ended_ns: call.ended_ns });
        } else if before.is_some() {
            self.failed = None;
        }
        let failed = before?;
        let same = failed.subject == subject;
        // Another tool after a failed one is the agent's next idea; another model is a fallback.
        (same || kind == OperationKind::Model).then_some(Retry { cause: failed.error_type, fallback: !same })
    }
}

impl Runs {
    /// Counts an operation at the run that it is part of, or notes that the run is over.
    pub(super) fn note(&self, operation: &Operation) -> Option<Retry> {
        let kind = operation.kind?;
        match kind {
            OperationKind::Agent => {
                let mut state = self.lock();
                if state.ended[0].len() < MAX_RUNS {
                    state.ended[0].push(*operation);
                }
                None
            }
            OperationKind::Model | OperationKind::Tool if operation.run != 0 => {
                let mut state = self.lock();
                let full = state.going_on.len() >= MAX_RUNS && !state.going_on.contains_key(&operation.run);
                if full {
                    return None;
                }
                state.going_on.entry(operation.run).or_default().note(kind, operation)
            }
            _ => None,
        }
    }

    /// The runs that had ended before the last call of this, with the calls that they made.
    pub(super) fn close(&self) -> Vec<Operation> {
        let mut state = self.lock();
        let state = &mut *state;
        let mut closed = std::mem::take(&mut state.ended[1]);
        state.ended.swap(0, 1);
        for run in &mut closed {
            if let Some(calls) = state.going_on.remove(&run.run) {
                run.inference_calls += calls.inference_calls;
                run.tool_calls += calls.tool_calls;
            }
        }
        closed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

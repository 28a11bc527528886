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

/// What a call tells of the run that it is part of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noted {
    pub(super) retry: Option<Retry>,
    /// The same tool was called with the same arguments for the [`LOOP`]th time: counted once for each row of such calls.
    pub(super) looped: bool,
}

/// So many equal calls are a loop ...
const LOOP: usize = 3;
/// ... if they are among so many tool calls of a run.
const LATELY: usize = 8;

#[derive(Debug, Clone, Copy, Default)]
struct Run {
    inference_calls: u32,
    tool_calls: u32,
    /// Tool and arguments of the newest tool calls, 0 for none.
    lately: [u64; LATELY],
    /// The call that goes round, 0 if none does.
    looping: u64,
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
    fn note(&mut self, kind: OperationKind, call: &Operation) -> Noted {
        let looped = match kind {
            OperationKind::Model => {
                self.inference_calls += 1;
                false
            }
            _ => {
                self.tool_calls += 1;
                self.note_arguments(call)
            }
        };
        Noted { retry: self.note_failure(kind, call), looped }
    }

    /// Whether a loop begins with this tool call.
    fn note_arguments(&mut self, call: &Operation) -> bool {
        let this = if call.arguments == 0 {
            0
        } else {
            call.arguments.rotate_left(17) ^ (u64::from(call.tool.id()) << 1) | 1
        };
        self.lately[self.tool_calls as usize % LATELY] = this;
        if this == 0 {
            return false;
        }
        let goes_round = self.lately.iter().filter(|call| **call == this).count() >= LOOP;
        if goes_round {
            return std::mem::replace(&mut self.looping, this) != this;
        }
        if self.looping != 0 && !self.lately.contains(&self.looping) {
            self.looping = 0;
        }
        false
    }

    fn note_failure(&mut self, kind: OperationKind, call: &Operation) -> Option<Retry> {
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
    pub(super) fn note(&self, operation: &Operation) -> Noted {
        let Some(kind) = operation.kind else { return Noted::default() };
        match kind {
            OperationKind::Agent => {
                let mut state = self.lock();
                if state.ended[0].len() < MAX_RUNS {
                    state.ended[0].push(*operation);
                }
                Noted::default()
            }
            OperationKind::Model | OperationKind::Tool if operation.run != 0 => {
                let mut state = self.lock();
                let full = state.going_on.len() >= MAX_RUNS && !state.going_on.contains_key(&operation.run);
                if full {
                    return Noted::default();
                }
                state.going_on.entry(operation.run).or_default().note(kind, operation)
            }
            _ => Noted::default(),
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

//! What a new operation has from the one above it, and how many spans are below one.

use tracing::Subscriber;
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::{Shared, stack};
use crate::names::Name;
use crate::operation::{Operation, OperationKind};

impl Shared {
    /// The span directly above a new one; 0 if there is none.
    #[inline]
    pub(super) fn parent(&self, attributes: &Attributes<'_>) -> u64 {
        match attributes.parent() {
            Some(parent) => parent.into_u64(),
            None if attributes.is_contextual() => stack::current(self.instance).unwrap_or(0),
            None => 0,
        }
    }

    /// Counts a new span at the operation directly above it, if that is one, and reads from it.
    #[inline]
    pub(super) fn adopt<T>(&self, parent: u64, read: impl FnOnce(&Operation) -> T) -> Option<T> {
        if parent == 0 {
            return None;
        }
        self.table.with(parent, |record| {
            record.children += 1;
            read(&record.operation)
        })
    }

    /// Takes a closed span off the count of the operation that it was below.
    #[inline]
    pub(super) fn release(&self, parent: u64) {
        if parent != 0 {
            self.table.with(parent, |record| record.children = record.children.saturating_sub(1));
        }
    }

    /// Gives a new operation what it has from the operation that it is part of: the agent on whose behalf it runs.
    /// Returns whether that operation is directly above it.
    #[inline]
    pub(super) fn inherit<S>(&self, parent: u64, context: &Context<'_, S>, operation: &mut Operation) -> bool
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        if parent == 0 {
            return false;
        }
        if let Some(above) = self.adopt(parent, Inherited::of) {
            above.give(operation);
            return true;
        }
        // The parent is an ordinary span: look further up.
        let mut ancestor = context.span(&Id::from_u64(parent)).and_then(|span| span.parent());
        while let Some(span) = ancestor {
            let above = self.table.with(span.id().into_u64(), |record| Inherited::of(&record.operation));
            if let Some(above) = above {
                above.give(operation);
                return false;
            }
            ancestor = span.parent();
        }
        false
    }
}

/// What an operation has from the one above it.
struct Inherited {
    agent: Name,
    run: u64,
    task_type: Name,
}

impl Inherited {
    #[inline]
    fn of(above: &Operation) -> Self {
        Self { agent: above.agent, run: above.run, task_type: above.task_type }
    }

    #[inline]
    fn give(&self, operation: &mut Operation) {
        if operation.kind != Some(OperationKind::Agent) {
            operation.agent = operation.agent.or(self.agent);
            operation.run = self.run;
        }
        operation.task_type = operation.task_type.or(self.task_type);
    }
}

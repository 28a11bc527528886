//! The `tracing` layer that turns spans into operations.
//!
//! It knows no policy: what is done with an operation is up to its [`Observe`]r. It never blocks, allocates or
//! panics on the traced thread in the steady state, and it measures when an operation's function returns (its last
//! exit), not when the last handle of the span goes.

mod callsites;
mod otel;
mod parents;
mod stack;
mod sweep;
mod table;
mod visitor;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use tracing::dispatcher::WeakDispatch;
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use self::callsites::Callsites;
pub(crate) use self::callsites::declares_operation;
pub(crate) use self::table::OpenCall;
use self::table::{Closed, Queued, Record, Table};
use self::visitor::{FieldVisitor, Formatting, set_error};
pub(crate) use self::visitor::{is_refusal, set_outcome};
use crate::clock::Clock;
use crate::errors;
use crate::names::Name;
use crate::operation::{Amount, Observe, Operation, OperationKind, Outcome};
use crate::semconv::{attr, error_type};

/// Measures agents, model calls and tools; made by [`crate::Telemetry::agent_layer`].
///
/// Cloning it gives a second handle on the same measurements, not a second layer: add it to one registry once.
#[derive(Debug, Clone)]
pub struct AgentLayer {
    shared: Arc<Shared>,
}

/// What a layer and its telemetry share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Tells layers apart in the threads' caches and stacks.
    instance: u64,
    clock: Clock,
    callsites: Callsites,
    table: Table,
    observer: Arc<dyn Observe>,
    runs: AtomicU64,
    dispatch: OnceLock<WeakDispatch>,
    captures_content: bool,
    /// The thread that measures finished operations.
    worker: OnceLock<Thread>,
    batch: Mutex<Vec<Operation>>,
    otel: otel::Beside,
}

/// Tells layers apart in the threads' caches.
static INSTANCES: AtomicU64 = AtomicU64::new(1);

impl AgentLayer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The measurements behind this layer, for the recording trait.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    pub(crate) fn new(
        clock: Clock,
        observer: Arc<dyn Observe>,
        extra_attributes: &[String],
        max_open: usize,
        captures_content: bool,
    ) -> Self {
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        Self {
            instance,
            clock,
            callsites: Callsites::new(instance, extra_attributes),
            table: Table::new(max_open),
            observer,
            runs: AtomicU64::new(1),
            dispatch: OnceLock::new(),
            captures_content,
            worker: OnceLock::new(),
            batch: Mutex::default(),
            otel: otel::Beside::default(),
        }
    }

    /// Names the thread that calls [`settle`](Self::settle) when it is unparked.
    pub(crate) fn set_worker(&self, worker: Thread) {
        let _ = self.worker.set(worker);
    }

    /// Measures all operations that have finished. When it returns, every operation that had finished before the call
    /// has been given to the observer.
    pub(crate) fn settle(&self) {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        self.table.drain(&mut batch);
        // Errors and recoveries of one agent come from many shards. The registry uses its slots again with greater ids: of
        // two operations of the same nanosecond, the later one has the greater.
        batch.sort_unstable_by_key(|operation| (operation.ended_ns, operation.span));
        for operation in batch.drain(..) {
            self.observer.finished(&operation);
        }
        self.observer.settled();
    }

    /// Operations that have been seen, and that were refused because too many were open.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.table.counts()
    }

    /// The model and tool calls that go on: for how many seconds the oldest of each has.
    pub(crate) fn open_calls(&self) -> Vec<(OpenCall, f64)> {
        let now = self.clock.now_ns();
        let age = |start: u64| now.saturating_sub(start) as f64 / 1e9;
        self.table.oldest_calls().into_iter().map(|(call, start)| (call, age(start))).collect()
    }

    fn dispatch(&self) -> Option<Dispatch> {
        self.dispatch.get().and_then(WeakDispatch::upgrade)
    }

    /// Whether a registry has taken this layer in.
    pub(crate) fn is_attached(&self) -> bool {
        self.dispatch.get().is_some()
    }

    /// Whether message content may leave the process.
    pub(crate) fn captures_content(&self) -> bool {
        self.captures_content
    }

    /// Calls `f` with the operation of a span. `None` if the span is no candidate for one.
    pub(crate) fn update(&self, id: &Id, f: impl FnOnce(&mut Operation)) -> bool {
        let changed = self.table.with(id.into_u64(), |record| {
            let before = record.operation.agent;
            f(&mut record.operation);
            self.transition(record, before)
        });
        changed.map(|change| self.announce(change)).is_some()
    }

    /// Notes that a chunk of the streamed answer has come.
    pub(crate) fn chunk(&self, id: &Id) -> Option<u64> {
        let now = self.clock.now_ns();
        let (operation, elapsed, gap) = self.table.with(id.into_u64(), |record| {
            let elapsed = now.saturating_sub(record.start_ns);
            let operation = &mut record.operation;
            let gap = operation.last_chunk_ns.get().map(|last| elapsed.saturating_sub(last));
            operation.last_chunk_ns = Amount::new(elapsed);
            if gap.is_none() {
                operation.first_chunk_ns = Amount::new(elapsed);
            }
            (*operation, elapsed, gap)
        })?;
        match gap {
            Some(gap) => {
                self.observer.chunk(&operation, gap);
                None
            }
            None => Some(elapsed),
        }
    }

    /// Ends an operation now, whatever becomes of its span. It is measured when the span closes or when metrics are
    /// collected, so that what is recorded right after the end still counts.
    pub(crate) fn finish(&self, id: &Id) {
        let now = self.clock.now_ns();
        self.table.with(id.into_u64(), |record| {
            if !record.ended {
                record.exit_ns = now;
                record.ended = true;
            }
        });
    }

    /// What a change of the fields means for the count of running agents.
    #[inline]
    fn transition(&self, record: &mut Record, agent_before: Name) -> Change {
        let operation = &mut record.operation;
        if record.finished {
            return Change::None;
        }
        if operation.kind != Some(OperationKind::Agent) {
            // It turned out to be something else.
            return if std::mem::take(&mut record.started) {
                Change::Stopped(agent_before)
            } else {
                Change::None
            };
        }
        if !record.started {
            record.started = true;
            operation.run = self.runs.fetch_add(1, Ordering::Relaxed);
            return Change::Started(operation.agent);
        }
        if operation.agent == agent_before {
            return Change::None;
        }
        Change::Renamed(agent_before, operation.agent)
    }

    #[inline]
    fn announce(&self, change: Change) {
        match change {
            Change::None => {}
            Change::Started(agent) => self.observer.started(agent),
            Change::Renamed(before, now) => self.observer.renamed(before, now),
            Change::Stopped(agent) => self.observer.stopped(agent),
        }
    }

    /// Sees to it that a finished operation is measured.
    #[inline]
    fn announce_queued(&self, queued: Queued) {
        match queued {
            Queued::Done => {}
            Queued::Wake => {
                if let Some(worker) = self.worker.get() {
                    worker.unpark();
                }
            }
            Queued::Full(operation) => self.observer.finished(&operation),
        }
    }
}

/// What an update means for the count of running agents.
#[derive(Debug, Clone, Copy)]
enum Change {
    None,
    Started(Name),
    Renamed(Name, Name),
    Stopped(Name),
}

impl<S> Layer<S> for AgentLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // Weak: a subscriber must not keep itself alive.
        let _ = self.shared.dispatch.set(dispatch.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let shared = &*self.shared;
        let parent = shared.parent(attributes);
        let Some(site) = shared.callsites.get(attributes.metadata()) else {
            if shared.adopt(parent, |_| ()).is_some() {
                shared.table.insert_below(id, parent);
            }
            return;
        };
        let mut operation = Operation { span: id.into_u64(), ..Operation::EMPTY };
        let mut visitor = FieldVisitor::new(site, &mut operation, Formatting::Now);
        attributes.record(&mut visitor);
        let has_error_type = visitor.has_error_type;
        let is_child = shared.inherit(parent, &context, &mut operation);
        let mut record = Record {
            site,
            operation,
            start_ns: shared.clock.now_ns(),
            exit_ns: 0,
            parent: if is_child { parent } else { 0 },
            children: 0,
            has_error_type,
            unwinding: std::thread::panicking(),
            ended: false,
            finished: false,
            started: false,
        };
        let change = shared.transition(&mut record, Name::NONE);
        if shared.table.insert(id, record) {
            shared.announce(change);
        } else {
            shared.release(record.parent);
        }
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, _: Context<'_, S>) {
        let shared = &*self.shared;
        let first = shared.table.with(id.into_u64(), |record| {
            let before = record.operation.agent;
            let mut visitor = FieldVisitor::new(record.site, &mut record.operation, Formatting::Later);
            values.record(&mut visitor);
            let left = visitor.left;
            record.has_error_type |= visitor.has_error_type;
            (left, shared.transition(record, before))
        });
        let Some((left, change)) = first else { return };
        shared.announce(change);
        if left {
            shared.record_formatted(id, values);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // `#[instrument(err)]` reports a returned error as an event of the line that its span is of. Anything else with
        // such a field is a log line, perhaps about an error that was handled.
        let metadata = event.metadata();
        if metadata.fields().len() != 1 || metadata.fields().field(attr::ERROR).is_none() {
            return;
        }
        let Some(span) = context.event_span(event) else { return };
        if span.metadata().line() == metadata.line() && span.metadata().file() == metadata.file() {
            let mut text = ErrorText::default();
            event.record(&mut text);
            let class = errors::classify(text.0.as_str());
            self.shared.table.with(span.id().into_u64(), |record| set_error(&mut record.operation, class));
        }
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        stack::push(self.shared.instance, id.into_u64());
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let shared = &*self.shared;
        stack::pop(shared.instance, id.into_u64());
        let now = shared.clock.now_ns();
        let found = shared.table.with(id.into_u64(), |record| {
            if !record.ended {
                record.exit_ns = now;
            }
            // What is dropped while a panic unwinds the stack did not panic itself.
            if std::thread::panicking() && !record.unwinding {
                set_outcome(&mut record.operation, Some(Outcome::Error));
                record.operation.error_type = Name::new(error_type::PANIC);
            }
        });
        if found.is_some() && shared.otel.is_unknown() {
            shared.look_for_otel_layer(id);
        }
    }

    fn on_close(&self, span: Id, context: Context<'_, S>) {
        let shared = &*self.shared;
        let id = span.into_u64();
        let now = || shared.clock.now_ns();
        let mut closed = shared.table.close(id, false, now);
        if let Closed::Unmarked(error_type) = closed {
            if context.span(&span).is_some() {
                shared.mark_span(&span, error_type);
            }
            closed = shared.table.close(id, true, now);
        }
        match closed {
            Closed::Operation { parent, queued } => {
                if shared.otel.is_unjudged() {
                    shared.judge_otel_order(&span);
                }
                shared.announce_queued(queued);
                shared.release(parent);
            }
            Closed::Ordinary { parent } => shared.release(parent),
            Closed::Unmarked(_) => {}
        }
    }
}

impl Shared {
    /// Reads values that are given as `Debug` or `Display`: they run the user's code, so no lock is held.
    #[cold]
    fn record_formatted(&self, id: &Id, values: &Values<'_>) {
        let Some((site, mut operation)) =
            self.table.with(id.into_u64(), |record| (record.site, record.operation))
        else {
            return;
        };
        let mut visitor = FieldVisitor::new(site, &mut operation, Formatting::Now);
        values.record(&mut visitor);
        let has_error_type = visitor.has_error_type;
        let change = self.table.with(id.into_u64(), |record| {
            let before = record.operation.agent;
            record.operation = operation;
            record.has_error_type |= has_error_type;
            self.transition(record, before)
        });
        if let Some(change) = change {
            self.announce(change);
        }
    }
}

/// The beginning of the text of an error.
#[derive(Default)]
struct ErrorText(visitor::TextBuffer);

impl tracing::field::Visit for ErrorText {
    fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        // A full buffer is enough to tell the class.
        let _ = write!(self.0, "{value:?}");
    }
}

//! The `tracing` layer that turns spans into operations.
//!
//! It knows no policy: what is done with an operation is up to its [`Observe`]r. It never blocks, allocates or
//! panics on the traced thread in the steady state, and it measures when an operation's function returns (its last
//! exit), not when the last handle of the span goes.

mod callsites;
mod stack;
mod sweep;
mod table;
mod visitor;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use tracing::dispatcher::WeakDispatch;
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use self::callsites::Callsites;
pub(crate) use self::callsites::declares_operation;
use self::table::{Queued, Record, Table};
pub(crate) use self::visitor::set_outcome;
use self::visitor::{FieldVisitor, Formatting, set_error};
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
    sweeper: OnceLock<fn(&Shared, &Dispatch)>,
    captures_content: bool,
    /// The thread that measures finished operations.
    worker: OnceLock<Thread>,
    batch: Mutex<Vec<Operation>>,
    otel_order: AtomicU8,
}

/// Nothing is known of an OpenTelemetry layer beside this one.
const ORDER_UNKNOWN: u8 = 0;
/// There is one.
const ORDER_SEEN: u8 = 1;
/// It comes after this layer, as it should.
const ORDER_RIGHT: u8 = 2;
/// It comes before this layer.
const ORDER_WRONG: u8 = 3;

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
            sweeper: OnceLock::new(),
            captures_content,
            worker: OnceLock::new(),
            batch: Mutex::default(),
            otel_order: AtomicU8::new(ORDER_UNKNOWN),
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
        // Errors and recoveries of one agent come from many shards.
        batch.sort_unstable_by_key(|operation| operation.ended_ns);
        for operation in batch.drain(..) {
            self.observer.finished(&operation);
        }
        self.observer.settled();
    }

    /// Operations that have been seen, and that were refused because too many were open.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.table.counts()
    }

    /// Whether a registry has taken this layer in.
    pub(crate) fn is_attached(&self) -> bool {
        self.dispatch.get().is_some()
    }

    /// Whether message content may leave the process.
    pub(crate) fn captures_content(&self) -> bool {
        self.captures_content
    }

    /// Whether this layer was found to stand behind an OpenTelemetry layer.
    pub(crate) fn is_behind_otel_layer(&self) -> bool {
        self.otel_order.load(Ordering::Relaxed) == ORDER_WRONG
    }

    /// Measures the operations whose function has returned although their span is kept open by spans below it.
    pub(crate) fn sweep(&self) {
        let dispatch = self.dispatch.get().and_then(WeakDispatch::upgrade);
        if let (Some(dispatch), Some(sweeper)) = (dispatch, self.sweeper.get()) {
            sweeper(self, &dispatch);
        }
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

    /// Measures an operation now: its function has returned, whatever becomes of the span.
    pub(crate) fn finish(&self, id: &Id) {
        let now = self.clock.now_ns();
        self.announce_queued(self.table.enqueue(id.into_u64(), Some(now), true));
    }

    /// What a change of the fields means for the count of running agents.
    #[inline]
    fn transition(&self, record: &mut Record, agent_before: Name) -> Change {
        let operation = &mut record.operation;
        if operation.kind != Some(OperationKind::Agent) || record.finished {
            return Change::None;
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
}

impl<S> Layer<S> for AgentLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // Weak: a subscriber must not keep itself alive.
        let _ = self.shared.dispatch.set(dispatch.downgrade());
        let _ = self.shared.sweeper.set(sweep::sweep::<S>);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let shared = &*self.shared;
        let Some(site) = shared.callsites.get(attributes.metadata()) else { return };
        let mut operation = Operation::EMPTY;
        let mut visitor = FieldVisitor::new(site, &mut operation, Formatting::Now);
        attributes.record(&mut visitor);
        let has_error_type = visitor.has_error_type;
        shared.inherit(attributes, &context, &mut operation);
        let mut record = Record {
            site,
            operation,
            start_ns: shared.clock.now_ns(),
            exit_ns: 0,
            has_error_type,
            finished: false,
            started: false,
        };
        let change = shared.transition(&mut record, Name::NONE);
        if shared.table.insert(id, record) {
            shared.announce(change);
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
        // `#[instrument(err)]` reports a returned error as an event whose one field is `error`; anything else at this
        // level is a log line, perhaps about an error that was handled.
        let metadata = event.metadata();
        let is_returned_error = *metadata.level() <= Level::WARN
            && metadata.fields().len() == 1
            && metadata.fields().field(attr::ERROR).is_some();
        if !is_returned_error {
            return;
        }
        if let Some(span) = context.event_span(event) {
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
            record.exit_ns = now;
            if std::thread::panicking() {
                set_outcome(&mut record.operation, Some(Outcome::Error));
                record.operation.error_type = Name::new(error_type::PANIC);
            }
        });
        if found.is_some() && shared.otel_order.load(Ordering::Relaxed) == ORDER_UNKNOWN {
            shared.look_for_otel_layer(id);
        }
    }

    fn on_close(&self, span: Id, context: Context<'_, S>) {
        let shared = &*self.shared;
        let id = span.into_u64();
        if shared.otel_order.load(Ordering::Relaxed) == ORDER_SEEN {
            shared.judge_otel_order(&span);
        }
        let Some(closing) = shared.table.with(id, |record| Closing::of(record)) else { return };
        if let Some(error_type) = closing.unmarked_error
            && context.span(&span).is_some()
        {
            shared.mark_span(&span, error_type);
        }
        let end = closing.never_left.then(|| shared.clock.now_ns());
        shared.announce_queued(shared.table.enqueue(id, end, false));
    }
}

/// What is to be done when a span closes, besides its measurement.
struct Closing {
    /// The error that only this layer knows of.
    unmarked_error: Option<Name>,
    /// The span was never entered, so that its end is now.
    never_left: bool,
}

impl Closing {
    #[inline]
    fn of(record: &Record) -> Self {
        let unmarked = record.operation.failed() && !record.has_error_type;
        Self {
            unmarked_error: unmarked.then_some(record.operation.error_type),
            never_left: record.exit_ns == 0,
        }
    }
}

impl Shared {
    /// Gives a new operation what it has from the operation that it is part of: the agent on whose behalf it runs.
    #[inline]
    fn inherit<S>(&self, attributes: &Attributes<'_>, context: &Context<'_, S>, operation: &mut Operation)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let parent = match attributes.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if attributes.is_contextual() => stack::current(self.instance),
            None => None,
        };
        let Some(parent) = parent else { return };
        if self.inherit_from(parent, operation) {
            return;
        }
        // The parent is an ordinary span: look further up.
        let mut ancestor = context.span(&Id::from_u64(parent)).and_then(|span| span.parent());
        while let Some(span) = ancestor {
            if self.inherit_from(span.id().into_u64(), operation) {
                return;
            }
            ancestor = span.parent();
        }
    }

    /// Whether the span is an operation.
    #[inline]
    fn inherit_from(&self, id: u64, operation: &mut Operation) -> bool {
        let above = self.table.with(id, |record| {
            let above = &record.operation;
            (above.agent, above.run, above.task_type)
        });
        let Some((agent, run, task_type)) = above else { return false };
        if operation.kind != Some(OperationKind::Agent) {
            operation.agent = operation.agent.or(agent);
            operation.run = run;
        }
        operation.task_type = operation.task_type.or(task_type);
        true
    }

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

    /// Puts the error that only this layer has seen on the OpenTelemetry span, if there is one within reach: the
    /// OpenTelemetry layer must have been added after this one.
    #[cold]
    fn mark_span(&self, id: &Id, error_type: Name) {
        use opentelemetry::KeyValue;
        use opentelemetry::trace::TraceContextExt as _;

        if let Some(context) = self.otel_context(id) {
            context.span().set_attribute(KeyValue::new(attr::ERROR_TYPE, error_type.as_str()));
        }
    }

    fn otel_context(&self, id: &Id) -> Option<opentelemetry::Context> {
        let dispatch = self.dispatch.get().and_then(WeakDispatch::upgrade)?;
        tracing_opentelemetry::get_otel_context(id, &dispatch)
    }

    /// Finds out once whether there is an OpenTelemetry layer: when an operation is left, it has data of the span.
    #[cold]
    fn look_for_otel_layer(&self, id: &Id) {
        if self.otel_context(id).is_some() {
            self.otel_order.store(ORDER_SEEN, Ordering::Relaxed);
        }
    }

    /// Finds out once in which order the layers stand: one that comes before this one has thrown its data of a span
    /// away when this one hears of the end.
    #[cold]
    fn judge_otel_order(&self, id: &Id) {
        let order = if self.otel_context(id).is_some() { ORDER_RIGHT } else { ORDER_WRONG };
        self.otel_order.store(order, Ordering::Relaxed);
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

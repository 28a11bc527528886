//! The `tracing` layer that turns spans into operations.
//!
//! It knows no policy: what is done with an operation is up to its [`Observe`]r. It never blocks, allocates or
//! panics on the traced thread in the steady state, and it measures when an operation's function returns (its last
//! exit), not when the last handle of the span goes.

mod callsites;
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
use self::table::{Enqueued, FailedCall, Record, Table};
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
        let id = id.into_u64();
        let now = self.clock.now_ns();
        let open = self.table.with(id, |record| {
            record.exit_ns = now;
            (!std::mem::replace(&mut record.finished, true)).then(|| Ending::of(record))
        });
        if let Some(Some(ending)) = open {
            self.measure(id, &ending, now, true);
        }
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

    /// Queues a finished operation for its measurement and counts it at the agent that it is part of.
    #[inline]
    fn measure(&self, id: u64, ending: &Ending, end_ns: u64, keep_open: bool) {
        let retried = match ending.agent_span {
            0 => None,
            agent => self.table.with(agent, |agent| ending.note(agent)).flatten(),
        };
        let queued = self.table.enqueue(id, keep_open, |operation| {
            operation.duration_ns = end_ns.saturating_sub(ending.start_ns);
            operation.ended_ns = end_ns;
            if let Some((cause, fallback)) = retried {
                operation.retry_cause = cause;
                operation.retry_fallback = fallback;
            }
        });
        match queued {
            Enqueued::Done | Enqueued::Gone => {}
            Enqueued::Wake => {
                if let Some(worker) = self.worker.get() {
                    worker.unpark();
                }
            }
            Enqueued::Full(operation) => self.observer.finished(&operation),
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

/// What is needed of an operation that ends, apart from its measurement.
#[derive(Debug, Clone, Copy)]
struct Ending {
    kind: Option<OperationKind>,
    subject: Name,
    error_type: Name,
    has_error_type: bool,
    finished: bool,
    start_ns: u64,
    exit_ns: u64,
    agent_span: u64,
}

impl Ending {
    #[inline]
    fn of(record: &Record) -> Self {
        Self {
            kind: record.operation.kind,
            subject: record.operation.subject(),
            error_type: record.operation.error_type,
            has_error_type: record.has_error_type,
            finished: record.finished,
            start_ns: record.start_ns,
            exit_ns: record.exit_ns,
            agent_span: record.agent_span,
        }
    }

    /// Counts a call at the agent that made it. Returns the `error.type` of the failure that the call came after, if
    /// it was a retry, and whether it went to another model.
    #[inline]
    fn note(&self, agent: &mut Record) -> Option<(Name, bool)> {
        let kind = self.kind?;
        match kind {
            OperationKind::Model => agent.operation.inference_calls += 1,
            OperationKind::Tool => agent.operation.tool_calls += 1,
            _ => return None,
        }
        let before = agent.failed;
        if self.error_type.is_some() {
            agent.failed = Some(FailedCall { kind, subject: self.subject, error_type: self.error_type });
        } else if before.is_some_and(|failed| failed.kind == kind) {
            agent.failed = None;
        }
        let failed = before.filter(|failed| failed.kind == kind)?;
        let same = failed.subject == self.subject;
        // Another tool after a failed one is the agent's next idea; another model is a fallback.
        (same || kind == OperationKind::Model).then_some((failed.error_type, !same))
    }
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
        let agent_span = shared.find_agent(attributes, &context, &mut operation);
        let mut record = Record {
            site,
            operation,
            start_ns: shared.clock.now_ns(),
            exit_ns: 0,
            agent_span,
            has_error_type,
            finished: false,
            started: false,
            failed: None,
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

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let shared = &*self.shared;
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
        let Some(ending) = shared.table.with(id, |record| Ending::of(record)) else { return };
        if shared.otel_order.load(Ordering::Relaxed) == ORDER_SEEN {
            shared.judge_otel_order(&span);
        }
        if ending.error_type.is_some() && !ending.has_error_type && context.span(&span).is_some() {
            shared.mark_span(&span, ending.error_type);
        }
        if ending.finished || ending.kind.is_none() {
            shared.table.remove(id);
            return;
        }
        let end = if ending.exit_ns == 0 { shared.clock.now_ns() } else { ending.exit_ns };
        shared.measure(id, &ending, end, false);
    }
}

impl Shared {
    /// The span of the agent that a new operation is part of, and what the operation has from it.
    #[inline]
    fn find_agent<S>(
        &self,
        attributes: &Attributes<'_>,
        context: &Context<'_, S>,
        operation: &mut Operation,
    ) -> u64
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let mut ancestor = match attributes.parent() {
            Some(parent) => context.span(parent),
            None if attributes.is_contextual() => context.lookup_current(),
            None => None,
        };
        while let Some(span) = ancestor {
            let id = span.id().into_u64();
            let found = self.table.with(id, |record| {
                let above = &record.operation;
                let agent_span =
                    if above.kind == Some(OperationKind::Agent) { id } else { record.agent_span };
                (agent_span, above.agent, above.run, above.task_type)
            });
            if let Some((agent_span, agent, run, task_type)) = found {
                if operation.kind != Some(OperationKind::Agent) {
                    operation.agent = operation.agent.or(agent);
                    operation.run = run;
                }
                operation.task_type = operation.task_type.or(task_type);
                return agent_span;
            }
            ancestor = span.parent();
        }
        0
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
            // What the agent's own calls have counted meanwhile must stay.
            operation.inference_calls = record.operation.inference_calls;
            operation.tool_calls = record.operation.tool_calls;
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

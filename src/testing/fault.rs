//! What a receiver can be told to do wrong.

use std::collections::VecDeque;

/// How a request is answered instead of being taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// gRPC `UNAVAILABLE`, HTTP 503: a client may try again.
    Unavailable,
    /// gRPC `RESOURCE_EXHAUSTED`, HTTP 429: a client may try again over HTTP, and over gRPC only if the answer
    /// says when (this one does not).
    ResourceExhausted,
    /// gRPC `INVALID_ARGUMENT`, HTTP 400: a client must not try again.
    InvalidArgument,
    /// No answer at all, until the receiver is dropped or the client gives up.
    Hang,
}

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metric points.
    Metrics,
}

/// The faults to come, oldest first.
#[derive(Debug, Default)]
pub(super) struct Faults(VecDeque<Planned>);

#[derive(Debug)]
struct Planned {
    signal: Option<Signal>,
    left: usize,
    fault: Fault,
}

impl Faults {
    pub(super) fn plan(&mut self, signal: Option<Signal>, requests: usize, fault: Fault) {
        if requests > 0 {
            self.0.push_back(Planned { signal, left: requests, fault });
        }
    }

    /// The fault that a request of this signal meets, and one less to come.
    pub(super) fn take(&mut self, signal: Signal) -> Option<Fault> {
        let at = self.0.iter().position(|planned| planned.signal.is_none_or(|only| only == signal))?;
        let planned = self.0.get_mut(at)?;
        planned.left -= 1;
        let fault = planned.fault;
        if planned.left == 0 {
            self.0.remove(at);
        }
        Some(fault)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

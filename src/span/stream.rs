//! A stream that is a model call: it owns the span until the answer is complete.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;
use tracing::Span;

use super::RecordOperation as _;
use crate::operation::Outcome;

/// Makes a model call of a stream.
pub trait StreamExt: Stream + Sized {
    /// Runs this stream in `span` and measures the time to the first chunk, between chunks and to the end. Each item
    /// counts as a chunk. A stream that is dropped before its end is [`Outcome::Cancellation`]; its tokens, if they
    /// were recorded by then, count. Usage can be recorded as long as the stream is there, also after its end.
    ///
    /// While the stream is polled the span is entered, so `Span::current().record_usage(..)` inside of it works.
    fn in_model_call(self, span: Span) -> OperationStream<Self> {
        OperationStream { stream: self, call: Call::new(span) }
    }

    /// As [`in_model_call`](Self::in_model_call), for a stream of results: an error is recorded and ends the call.
    fn in_fallible_model_call<T, E>(self, span: Span) -> TryOperationStream<Self>
    where
        Self: Stream<Item = Result<T, E>>,
        E: StdError,
    {
        TryOperationStream { stream: self, call: Call::new(span) }
    }
}

impl<S: Stream> StreamExt for S {}

/// The span of a streamed answer, ended exactly once.
#[derive(Debug)]
struct Call {
    span: Span,
    done: bool,
    /// Inside of a poll. Who sees it from outside sees what a panic left.
    polled: bool,
}

impl Call {
    fn new(span: Span) -> Self {
        Self { span, done: false, polled: false }
    }

    /// Polls the stream inside of the span.
    fn poll<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.polled = true;
        let _entered = self.span.enter();
        let polled = poll();
        self.polled = false;
        polled
    }

    /// The answer is complete. Its time ended when the stream was left; it is measured when the span closes, so that
    /// usage that is recorded after the last chunk still counts.
    fn end(&mut self) {
        self.done = true;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.done {
            // A panic is no cancellation, also when it was caught meanwhile.
            if !self.polled && !std::thread::panicking() {
                self.span.record_outcome(Outcome::Cancellation);
            }
            self.span.finish_operation();
        }
    }
}

pin_project! {
    /// See [`StreamExt::in_model_call`].
    #[derive(Debug)]
    #[must_use = "streams do nothing unless polled"]
    pub struct OperationStream<S> {
        #[pin]
        stream: S,
        call: Call,
    }
}

impl<S> OperationStream<S> {
    /// The span of the call, to record usage and response on.
    pub fn span(&self) -> &Span {
        &self.call.span
    }
}

impl<S: Stream> Stream for OperationStream<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let polled = this.call.poll(|| this.stream.poll_next(context));
        match &polled {
            Poll::Ready(Some(_)) => this.call.span.record_chunk(),
            Poll::Ready(None) => this.call.end(),
            Poll::Pending => {}
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

pin_project! {
    /// See [`StreamExt::in_fallible_model_call`].
    #[derive(Debug)]
    #[must_use = "streams do nothing unless polled"]
    pub struct TryOperationStream<S> {
        #[pin]
        stream: S,
        call: Call,
    }
}

impl<S> TryOperationStream<S> {
    /// The span of the call, to record usage and response on.
    pub fn span(&self) -> &Span {
        &self.call.span
    }
}

impl<S, T, E> Stream for TryOperationStream<S>
where
    S: Stream<Item = Result<T, E>>,
    E: StdError,
{
    type Item = Result<T, E>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let polled = this.call.poll(|| this.stream.poll_next(context));
        match &polled {
            Poll::Ready(Some(Ok(_))) => this.call.span.record_chunk(),
            Poll::Ready(Some(Err(error))) if !this.call.done => {
                this.call.span.record_error(error);
                this.call.end();
            }
            Poll::Ready(None) => this.call.end(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

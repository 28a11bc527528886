//! A future that is an operation: measured when it returns, cancelled when it is dropped before.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tracing::Span;

use super::RecordOperation as _;
use crate::operation::Outcome;

/// Makes an operation of a future.
pub trait InOperation: Future + Sized {
    /// Runs this future in `span`. The operation ends when the future returns, even if something else keeps the span
    /// open; if the future is dropped before (a timeout, a lost `select!`), its outcome is
    /// [`Outcome::Cancellation`]. `Instrument` cannot tell the two apart.
    ///
    /// The span is made where it is named: to have one operation below another, name the inner one inside of the
    /// outer one's future.
    ///
    /// ```
    /// use agentvitals::InOperation as _;
    /// # async fn example() {
    /// let answer = async { 42 }.in_operation(agentvitals::agent_span!("planner")).await;
    /// # }
    /// ```
    fn in_operation(self, span: Span) -> OperationFuture<Self> {
        OperationFuture { future: Some(self), span, state: State::Waiting }
    }
}

impl<F: Future> InOperation for F {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    /// Inside of a poll. Who sees it from outside sees what a panic left.
    Polled,
    Waiting,
}

pin_project! {
    /// See [`InOperation::in_operation`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct OperationFuture<F> {
        #[pin]
        future: Option<F>,
        span: Span,
        state: State,
    }

    impl<F> PinnedDrop for OperationFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if *this.state != State::Done {
                // A caught panic is over when the future is dropped, and is no cancellation either.
                if *this.state == State::Waiting && !std::thread::panicking() {
                    this.span.record_outcome(Outcome::Cancellation);
                }
                // What the future holds is dropped inside of the span, as with `Instrument`.
                let _entered = this.span.enter();
                this.future.set(None);
            }
        }
    }
}

impl<F: Future> Future for OperationFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let output = {
            let _entered = this.span.enter();
            let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Pending };
            *this.state = State::Polled;
            let polled = future.poll(context);
            *this.state = State::Waiting;
            match polled {
                Poll::Ready(output) => {
                    this.future.set(None);
                    output
                }
                Poll::Pending => return Poll::Pending,
            }
        };
        *this.state = State::Done;
        this.span.finish_operation();
        Poll::Ready(output)
    }
}

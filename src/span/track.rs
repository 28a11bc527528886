//! A guard for operations of one's own in synchronous code.

use tracing::span::EnteredSpan;

/// Measures the time until it is dropped; see [`track`].
#[derive(Debug)]
#[must_use = "the operation ends when this is dropped"]
pub struct Tracked {
    span: EnteredSpan,
}

impl Tracked {
    /// The span of the operation.
    pub fn span(&self) -> &tracing::Span {
        &self.span
    }
}

/// Starts an operation named `name` that ends when the returned guard is dropped.
///
/// In asynchronous code use [`operation_span!`](crate::operation_span) with
/// [`in_operation`](crate::InOperation::in_operation): a guard must not be held over an await.
///
/// ```
/// {
///     let _tracked = agentvitals::track("data_processing");
///     // the work
/// }
/// ```
pub fn track(name: &str) -> Tracked {
    Tracked { span: crate::operation_span!(name).entered() }
}

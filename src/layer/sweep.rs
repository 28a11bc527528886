//! Finds operations whose function has returned although their span is still open.
//!
//! A span stays open while spans below it are: an agent that leaves work behind (`tokio::spawn` with a span of its own) is
//! over when its function returns, but the registry closes its span only after that work. A layer does not hear of the
//! moment in between, when the function drops its handle. But it can be told afterwards: then nothing but the spans
//! below refer to the span. So before metrics are collected, the operations that were left and have open spans below
//! are looked at, and those without a handle are measured as of their last exit.
//!
//! The registry does not give its count of references away except in its `Debug` form. If that changes, or if spans below
//! are hidden from this layer by a filter, an operation is measured when its span closes, with the same duration.

use tracing::span::Id;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;

use super::Shared;
use super::table::Over;

impl Shared {
    /// Measures the operations that are over although their span is open.
    pub(crate) fn sweep(&self) {
        let dispatch = self.dispatch();
        let registry = dispatch.as_ref().and_then(|dispatch| dispatch.downcast_ref::<Registry>());
        for (span, over) in self.table.perhaps_over() {
            // A span below may open or close between two looks: only if two of them agree it is sure.
            let is_over = match (over, registry) {
                (Over::Surely, _) => true,
                (Over::WithChildren(_), None) => false,
                (Over::WithChildren(count), Some(registry)) => (0..2).all(|_| {
                    references(registry, span) == Some(count) && self.table.children(span) == Some(count)
                }),
            };
            if is_over {
                self.announce_queued(self.table.finish(span));
            }
        }
    }
}

/// How many handles and spans below refer to a span.
fn references(registry: &Registry, span: u64) -> Option<usize> {
    let data = registry.span_data(&Id::from_u64(span))?;
    let shown = format!("{data:?}");
    let (_, count) = shown.split_once("ref_count: ")?;
    count.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Dispatch;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn the_registry_still_shows_how_many_refer_to_a_span() {
        // Without any layer the registry never clears a span.
        let layer = tracing_subscriber::layer::Identity::new();
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
        tracing::dispatcher::with_default(&dispatch, || {
            let span = tracing::info_span!("parent");
            let id = span.id().unwrap().into_u64();
            let registry = dispatch.downcast_ref::<Registry>().unwrap();
            assert_eq!(references(registry, id), Some(1));
            let below = tracing::info_span!(parent: &span, "below");
            let handle = span.clone();
            assert_eq!(references(registry, id), Some(3));
            drop((span, handle));
            assert_eq!(references(registry, id), Some(1));
            drop(below);
            assert_eq!(references(registry, id), None);
        });
    }
}

//! The spans that this thread is in.
//!
//! The registry knows them too, but to ask it costs a look-up in its slab; here it is the end of a list.

use std::cell::RefCell;

thread_local! {
    /// Layer and span, the innermost last.
    static ENTERED: RefCell<Vec<(u64, u64)>> = const { RefCell::new(Vec::new()) };
}

/// The span that this thread is in, as the layer `instance` sees it.
#[inline]
pub(super) fn current(instance: u64) -> Option<u64> {
    ENTERED
        .try_with(|entered| {
            entered.borrow().iter().rev().find(|(layer, _)| *layer == instance).map(|(_, span)| *span)
        })
        .ok()
        .flatten()
}

#[inline]
pub(super) fn push(instance: u64, span: u64) {
    // It fails only while the thread ends, and then nobody asks any more.
    let _ = ENTERED.try_with(|entered| entered.borrow_mut().push((instance, span)));
}

#[inline]
pub(super) fn pop(instance: u64, span: u64) {
    let _ = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        // Guards may be dropped in another order than they were made.
        if let Some(index) = entered.iter().rposition(|entry| *entry == (instance, span)) {
            entered.remove(index);
        }
    });
}

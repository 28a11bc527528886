//! A deadline that can come closer while work is under way.

#[cfg(feature = "otlp")]
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::stats::LossReason;

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    /// Why what is not done by then is lost.
    reason: LossReason,
}

/// The end that work watches.
#[derive(Debug, Clone)]
pub(crate) struct Limit(watch::Receiver<Mark>);

/// The end that moves the deadline.
#[derive(Debug)]
pub(crate) struct LimitHandle(watch::Sender<Mark>);

pub(crate) fn limit(at: Instant, reason: LossReason) -> (LimitHandle, Limit) {
    let (sender, receiver) = watch::channel(Mark { at, reason });
    (LimitHandle(sender), Limit(receiver))
}

impl LimitHandle {
    /// Moves the deadline, unless it is sooner already.
    pub(crate) fn bring_forward(&self, at: Instant, reason: LossReason) {
        self.0.send_if_modified(|mark| {
            let sooner = at < mark.at;
            if sooner {
                *mark = Mark { at, reason };
            }
            sooner
        });
    }
}

impl Limit {
    /// Completes when the deadline has passed.
    pub(crate) async fn passed(&mut self) {
        loop {
            let at = self.0.borrow_and_update().at;
            tokio::select! {
                () = sleep_until(at) => return,
                changed = self.0.changed() => {
                    if changed.is_err() {
                        // Nobody can move it any more.
                        sleep_until(at).await;
                        return;
                    }
                }
            }
        }
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn remaining(&self) -> Duration {
        self.0.borrow().at.saturating_duration_since(Instant::now())
    }

    pub(crate) fn reason(&self) -> LossReason {
        self.0.borrow().reason
    }
}

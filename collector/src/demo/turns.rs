//! The order of the steps of a run: each of its agents waits until it is its turn.

use tokio::sync::watch;

/// Who may take the next step. One agent at a time has the turn; the others wait.
#[derive(Debug)]
pub(super) struct Turns(watch::Sender<Option<usize>>);

/// Another agent of the run gave up, so that the awaited turn will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GivenUp;

impl Turns {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Some(0)))
    }

    /// Waits until it is time for `step`. The turn goes on when the returned guard is finished, and the run
    /// is given up when it is dropped before that: nobody waits for an agent that is gone.
    pub(super) async fn wait_for(&self, step: usize) -> Result<Turn<'_>, GivenUp> {
        let mut next = self.0.subscribe();
        let reached = next.wait_for(|next| next.is_none_or(|next| next >= step)).await;
        match reached.map(|next| *next) {
            Ok(Some(next)) if next == step => Ok(Turn { turns: self, step, finished: false }),
            _ => Err(GivenUp),
        }
    }
}

/// The right to take one step.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    step: usize,
    finished: bool,
}

impl Turn<'_> {
    /// Passes the turn on to the next step.
    pub(super) fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.0.send_replace(self.finished.then_some(self.step + 1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::{GivenUp, Turns};

    #[tokio::test]
    async fn agents_take_their_steps_in_recorded_order() {
        let (turns, order) = (Turns::new(), Mutex::new(Vec::new()));
        let agent = async |steps: &[usize]| {
            for &step in steps {
                let turn = turns.wait_for(step).await.unwrap();
                tokio::task::yield_now().await;
                order.lock().unwrap().push(step);
                turn.finish();
            }
        };
        tokio::join!(agent(&[1, 2, 5]), agent(&[0, 4]), agent(&[3]), agent(&[]));
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn an_agent_that_gives_up_ends_the_wait_of_the_others() {
        let turns = Turns::new();
        let waiting = async { turns.wait_for(1).await.map(|_| ()) };
        let gives_up = async { drop(turns.wait_for(0).await.unwrap()) };
        let (waited, ()) = tokio::join!(waiting, gives_up);
        assert_eq!(waited.unwrap_err(), GivenUp);
    }
}

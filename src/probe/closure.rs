//! A check that is the program's own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::{Checking, Failure, Probe, ProbeConfig};

type Made = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Checks by a closure: `Ok` is a success, `Err` says why not.
pub struct Closure(Box<dyn Fn() -> Made + Send + Sync>);

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closure").finish_non_exhaustive()
    }
}

impl Closure {
    /// One that does not block for long: checks share a thread.
    pub fn new(check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Box::new(move || {
            let result = check();
            Box::pin(async move { result })
        }))
    }

    /// One that waits.
    pub fn of_future<F>(check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(check())))
    }
}

impl Probe for Closure {
    fn check<'a>(&'a self, _config: &'a ProbeConfig) -> Checking<'a> {
        let made = (self.0)();
        Box::pin(async move { made.await.map_err(|message| Failure::new("failed", message)) })
    }
}

//! What the API needs to answer.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Answers, Sample};
use crate::health::Watch;
use crate::store::Deleted;
use crate::token::Token;

/// Whether the server takes data and questions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it is, or it is not")]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not, and why: still reading its log, disk full, closing.
    NotReady(String),
}

/// Removes the data of the service of this name.
type Deletion = dyn Fn(&str) -> std::io::Result<Deleted> + Send + Sync;

/// Answers, and what is told about the server itself. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub(super) answers: Arc<dyn Answers>,
    pub(super) metrics: Arc<dyn Fn() -> Vec<Sample> + Send + Sync>,
    pub(super) readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    pub(super) data: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    pub(super) deletion: Option<Arc<Deletion>>,
    pub(super) watch: Option<Arc<Watch>>,
    pub(super) token: Token,
    pub(super) running: Arc<Semaphore>,
    pub(super) most: usize,
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState")
            .field("token", &self.token)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl ApiState {
    /// Questions that are answered at the same time unless told otherwise.
    pub const DEFAULT_MAX_QUERIES: usize = 16;

    /// With answers: always ready, without metrics, data and token.
    pub fn new(answers: Arc<dyn Answers>) -> Self {
        Self {
            answers,
            metrics: Arc::new(Vec::new),
            readiness: Arc::new(|| Readiness::Ready),
            data: Arc::new(|| serde_json::Value::Null),
            deletion: None,
            watch: None,
            token: Token::none(),
            running: Arc::new(Semaphore::new(Self::DEFAULT_MAX_QUERIES)),
            most: Self::DEFAULT_MAX_QUERIES,
        }
    }

    /// What `/metrics` shows. It is asked on a thread that serves requests, so it must be quick.
    #[must_use]
    pub fn metrics(mut self, metrics: impl Fn() -> Vec<Sample> + Send + Sync + 'static) -> Self {
        self.metrics = Arc::new(metrics);
        self
    }

    /// What `/health/ready` shows, likewise.
    #[must_use]
    pub fn readiness(mut self, readiness: impl Fn() -> Readiness + Send + Sync + 'static) -> Self {
        self.readiness = Arc::new(readiness);
        self
    }

    /// What `/api/v1/status` shows as `data`, likewise.
    #[must_use]
    pub fn data(mut self, data: impl Fn() -> serde_json::Value + Send + Sync + 'static) -> Self {
        self.data = Arc::new(data);
        self
    }

    /// What removes the data of a service; it blocks.
    #[must_use]
    pub fn deletion(
        mut self,
        deletion: impl Fn(&str) -> std::io::Result<Deleted> + Send + Sync + 'static,
    ) -> Self {
        self.deletion = Some(Arc::new(deletion));
        self
    }

    /// What health and alerts are asked of; without it their paths are not there.
    #[must_use]
    pub fn watch(mut self, watch: Arc<Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// The token that every request but those for health must bear.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.token = token;
        self
    }

    /// How many questions are answered at the same time, at least 1; further ones are refused.
    #[must_use]
    pub fn max_queries(mut self, most: usize) -> Self {
        self.most = most.clamp(1, Semaphore::MAX_PERMITS);
        self.running = Arc::new(Semaphore::new(self.most));
        self
    }
}

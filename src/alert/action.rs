//! What the program does by itself about what is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::health::{Code, Issue};
use crate::views::Subject;

/// Something to do about an issue: restart an agent, lower a temperature, take a tool out of the list, open a circuit breaker.
///
/// It runs on health's own thread (or on that of whoever asks), so it must be short: send a message to whoever does the work.
///
/// ```
/// use agentvitals::alert::Action;
/// use agentvitals::health::Code;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let paused = Arc::new(AtomicBool::new(false));
/// let flag = paused.clone();
/// let action = Action::on(Code::Loop, "pause", move |_| flag.store(true, Ordering::Relaxed))
///     .cool_down(Duration::from_secs(600));
/// let builder = agentvitals::builder().action(action);
/// # drop(builder);
/// ```
#[must_use]
pub struct Action {
    code: Code,
    name: Arc<str>,
    run: Box<dyn FnMut(&Issue) + Send>,
    cool_down: Duration,
    dry_run: bool,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action")
            .field("code", &self.code)
            .field("name", &self.name)
            .field("cool_down", &self.cool_down)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

impl Action {
    /// Does `run` when an issue of this code comes up, once for a subject in 15 minutes.
    pub fn on(code: Code, name: impl Into<Arc<str>>, run: impl FnMut(&Issue) + Send + 'static) -> Self {
        Self {
            code,
            name: name.into(),
            run: Box::new(run),
            cool_down: Duration::from_secs(900),
            dry_run: false,
        }
    }

    /// For how long it is not done again for the same subject.
    pub fn cool_down(mut self, time: Duration) -> Self {
        self.cool_down = time;
        self
    }

    /// Only says what it would do.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

/// Subjects whose cool-down is remembered, for each action.
const REMEMBERED: usize = 10_000;

/// All actions, with when each was taken last.
#[derive(Debug)]
pub(crate) struct Actions(Vec<(Action, BTreeMap<Subject, SystemTime>)>);

impl Actions {
    pub(crate) fn new(actions: Vec<Action>) -> Self {
        Self(actions.into_iter().map(|action| (action, BTreeMap::new())).collect())
    }

    /// Takes what is to be taken. Each is a span `health action` (target `agentvitals::action`) and an event in it.
    pub(crate) fn take(&mut self, issues: &[Issue], now: SystemTime) {
        for (action, taken) in &mut self.0 {
            taken.retain(|_, at| now.duration_since(*at).unwrap_or_default() < action.cool_down);
            for issue in issues.iter().filter(|issue| issue.code == action.code) {
                if taken.contains_key(&issue.subject) || taken.len() >= REMEMBERED {
                    continue;
                }
                taken.insert(issue.subject.clone(), now);
                let (name, code, subject) = (&*action.name, issue.code.as_str(), issue.subject.to_string());
                let span = tracing::info_span!(
                    target: "agentvitals::action", "health action", action = name, code, subject,
                    dry_run = action.dry_run
                );
                let _in_span = span.enter();
                if action.dry_run {
                    tracing::info!(target: "agentvitals::action", "would run {name}: {}", issue.summary);
                    continue;
                }
                tracing::info!(target: "agentvitals::action", "runs {name}: {}", issue.summary);
                // What the user does wrong here must not end health.
                if catch_unwind(AssertUnwindSafe(|| (action.run)(issue))).is_err() {
                    tracing::error!(target: "agentvitals::action", "{name} panicked");
                }
            }
        }
    }
}

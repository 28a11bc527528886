//! What may be spent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cost::Nanodollars;
use crate::error::Error;

/// What a limit is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Scope {
    /// All together.
    Overall,
    /// Each agent.
    Agent,
    /// Each conversation.
    Conversation,
    /// Each run.
    Run,
}

impl Scope {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overall => "overall",
            Self::Agent => "agent",
            Self::Conversation => "conversation",
            Self::Run => "run",
        }
    }
}

/// In which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Window {
    /// Each hour of the clock.
    Hour,
    /// Each day of UTC.
    Day,
    /// Without an end, as for a run.
    Ever,
}

impl Window {
    /// The length, seconds; 0 without an end.
    pub(crate) fn seconds(self) -> u64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Ever => 0,
        }
    }
}

/// What a call does whose price is unknown. It is counted in any case, and its tokens too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnUnknown {
    /// Nothing more.
    #[default]
    Ignore,
    /// The guard warns from then on.
    Warn,
    /// The guard says stop from then on.
    Stop,
}

/// A limit: in USD, in tokens, or both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Limit {
    /// Its name.
    pub name: Arc<str>,
    /// What it is counted for.
    pub scope: Scope,
    /// Only for the agent (conversation, run) of this name.
    #[serde(default)]
    pub only: Option<Arc<str>>,
    /// In which time.
    pub window: Window,
    /// USD.
    #[serde(default)]
    pub usd: Option<f64>,
    /// Input and output tokens.
    #[serde(default)]
    pub tokens: Option<u64>,
    /// From which share on the guard warns: 0.8.
    #[serde(default = "eighty_percent")]
    pub warn_at: f64,
    /// What a call does whose price is unknown.
    #[serde(default)]
    pub on_unknown: OnUnknown,
}

fn eighty_percent() -> f64 {
    0.8
}

impl Limit {
    /// A limit in USD.
    ///
    /// # Errors
    /// An amount that is none ([`Error::is_config`]).
    pub fn usd(name: impl Into<Arc<str>>, scope: Scope, window: Window, usd: f64) -> Result<Self, Error> {
        let limit = Self { usd: Some(usd), ..Self::tokens(name, scope, window, 0) };
        let limit = Self { tokens: None, ..limit };
        limit.check()?;
        Ok(limit)
    }

    /// A limit in tokens.
    pub fn tokens(name: impl Into<Arc<str>>, scope: Scope, window: Window, tokens: u64) -> Self {
        Self {
            name: name.into(),
            scope,
            only: None,
            window,
            usd: None,
            tokens: Some(tokens),
            warn_at: eighty_percent(),
            on_unknown: OnUnknown::default(),
        }
    }

    /// Only for the agent (conversation, run) of this name.
    #[must_use]
    pub fn only(mut self, name: impl Into<Arc<str>>) -> Self {
        self.only = Some(name.into());
        self
    }

    /// What a call does whose price is unknown.
    #[must_use]
    pub fn on_unknown(mut self, what: OnUnknown) -> Self {
        self.on_unknown = what;
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::config(format!("budget {:?}: {what}", &*self.name)));
        if let Some(usd) = self.usd
            && (usd <= 0.0 || Nanodollars::from_usd(usd).is_err())
        {
            return wrong(format!("{usd} USD is no limit: expected above 0 and at most 18 billion"));
        }
        if self.usd.is_none() && self.tokens.is_none_or(|tokens| tokens == 0) {
            return wrong("expected a limit in usd or in tokens, above 0".to_owned());
        }
        if !(self.warn_at > 0.0 && self.warn_at <= 1.0) {
            return wrong(format!("warn_at = {}: expected a share above 0 and at most 1", self.warn_at));
        }
        Ok(())
    }

    /// Whether so much goes beyond the limit.
    pub(super) fn is_passed(&self, cost: Nanodollars, tokens: u64) -> bool {
        let limit = self.usd.and_then(|usd| Nanodollars::from_usd(usd).ok());
        limit.is_some_and(|limit| cost > limit) || self.tokens.is_some_and(|limit| tokens > limit)
    }
}

//! Budgets: what may be spent, by whom, in which time, and who is asked before the next call.
//!
//! ```
//! use agentvitals::Clock;
//! use agentvitals::cost::budget::{Budgets, Guard, Limit, Scope, Spender, Window};
//! use agentvitals::cost::Nanodollars;
//!
//! let budgets = Budgets::new([
//!     Limit::usd("daily", Scope::Overall, Window::Day, 10.0)?,
//!     Limit::tokens("a-run", Scope::Run, Window::Ever, 200_000),
//! ], Clock::system())?;
//! let spender = Spender::new().agent("planner").run("run-7");
//! match budgets.guard(&spender) {
//!     Guard::Ok => {}
//!     Guard::Warn(standing) => eprintln!("{standing}"),
//!     Guard::Stop(standing) => return Err(standing.to_string().into()),
//! }
//! // ... the model call ...
//! budgets.record(&spender, Some(Nanodollars::from_usd(0.02)?), 1_500);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod limit;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use self::account::Account;
pub use self::limit::{Limit, OnUnknown, Scope, Window};
use super::Nanodollars;
use crate::clock::Clock;
use crate::error::Error;

/// Runs, conversations or agents that a limit is counted for at the same time; beyond them the one that has spent longest ago
/// is forgotten, and counted ([`Budgets::forgotten`]).
pub const MAX_ACCOUNTS: usize = 10_000;

/// Who spends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spender<'a> {
    /// The agent's name.
    pub agent: Option<&'a str>,
    /// The conversation's id.
    pub conversation: Option<&'a str>,
    /// The run's id.
    pub run: Option<&'a str>,
}

impl<'a> Spender<'a> {
    /// Nobody in particular: only limits of all are asked.
    pub fn new() -> Self {
        Self::default()
    }

    /// An agent.
    #[must_use]
    pub fn agent(self, agent: &'a str) -> Self {
        Self { agent: Some(agent), ..self }
    }

    /// In a conversation.
    #[must_use]
    pub fn conversation(self, conversation: &'a str) -> Self {
        Self { conversation: Some(conversation), ..self }
    }

    /// In a run.
    #[must_use]
    pub fn run(self, run: &'a str) -> Self {
        Self { run: Some(run), ..self }
    }

    /// Whose account of a limit it is; `None` if the limit is not about it.
    fn key(&self, limit: &Limit) -> Option<&'a str> {
        let key = match limit.scope {
            Scope::Overall => Some(""),
            Scope::Agent => self.agent,
            Scope::Conversation => self.conversation,
            Scope::Run => self.run,
        };
        key.filter(|key| limit.only.as_deref().is_none_or(|only| only == *key))
    }
}

/// Whether the next call may be made.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a call is made, made with a warning, or not made")]
pub enum Guard {
    /// Yes.
    Ok,
    /// Yes, but a share of a limit is spent at which somebody wants to know (80 %).
    Warn(Standing),
    /// No: a limit is spent.
    Stop(Standing),
}

impl Guard {
    /// Whether the call may be made.
    pub fn may_go_on(&self) -> bool {
        !matches!(self, Self::Stop(_))
    }
}

/// How much of a limit is spent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Standing {
    /// The limit's name.
    pub limit: Arc<str>,
    /// What it is counted for.
    pub scope: Scope,
    /// Whose: an agent's name, an id; empty for all.
    pub of: String,
    /// In which time.
    pub window: Window,
    /// Spent, USD, what is reserved included.
    pub spent_usd: f64,
    /// Spent tokens.
    pub spent_tokens: u64,
    /// The limit, USD.
    pub limit_usd: Option<f64>,
    /// The limit, tokens.
    pub limit_tokens: Option<u64>,
    /// The share of the limit that is spent: 1 is all of it.
    pub share: f64,
    /// Calls whose price is unknown: more than `spent_usd` may be spent.
    pub unpriced: u64,
    /// When it is spent if it goes on as in the newest quarter of an hour, seconds from now; `None` if not in this window.
    pub exhausted_in_s: Option<f64>,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "budget {}", self.limit)?;
        if !self.of.is_empty() {
            write!(f, " of {} {}", self.scope.as_str(), self.of)?;
        }
        write!(f, ": {:.0} % spent", self.share * 100.0)?;
        if let Some(limit) = self.limit_usd {
            write!(f, " (${:.2} of ${limit:.2})", self.spent_usd)?;
        }
        if let Some(limit) = self.limit_tokens {
            write!(f, " ({} of {limit} tokens)", self.spent_tokens)?;
        }
        if let Some(seconds) = self.exhausted_in_s {
            write!(f, ", all of it in about {:.0} min", seconds / 60.0)?;
        }
        if self.unpriced > 0 {
            write!(f, "; the price of {} calls is unknown", self.unpriced)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    /// By the limit's name, by whose it is.
    accounts: BTreeMap<String, HashMap<String, Account>>,
    forgotten: u64,
}

/// Limits, and what is spent of them. Cheap to clone: clones share it.
///
/// Asking takes a lock for some 100 ns and allocates nothing while all is well.
#[derive(Debug, Clone)]
pub struct Budgets {
    limits: Arc<[Limit]>,
    state: Arc<Mutex<State>>,
    /// Whether telemetry records what is spent by all and by agents.
    attached: Arc<AtomicBool>,
    clock: Clock,
}

impl Budgets {
    /// With these limits.
    ///
    /// # Errors
    /// A limit that cannot be, or two of one name ([`Error::is_config`]).
    pub fn new(limits: impl IntoIterator<Item = Limit>, clock: Clock) -> Result<Self, Error> {
        let limits: Vec<Limit> = limits.into_iter().collect();
        let mut state = State::default();
        for limit in &limits {
            limit.check()?;
            if state.accounts.insert(limit.name.to_string(), HashMap::new()).is_some() {
                return Err(Error::config(format!("budget {:?} is there twice", &*limit.name)));
            }
        }
        let state = Arc::new(Mutex::new(state));
        Ok(Self { limits: limits.into(), state, attached: Arc::default(), clock })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the next call of this spender may be made.
    pub fn guard(&self, spender: &Spender<'_>) -> Guard {
        self.guard_for(spender, Nanodollars::ZERO, 0)
    }

    /// [`guard`](Self::guard), if the call is expected to cost so much: it must not go beyond a limit.
    pub fn guard_for(&self, spender: &Spender<'_>, cost: Nanodollars, tokens: u64) -> Guard {
        let now = self.clock.wall();
        let mut state = self.lock();
        self.judge(&mut state, spender, (cost, tokens), now)
    }

    fn judge(
        &self,
        state: &mut State,
        spender: &Spender<'_>,
        (cost, tokens): (Nanodollars, u64),
        now: SystemTime,
    ) -> Guard {
        let mut warning: Option<(f64, usize, &str)> = None;
        for (place, limit) in self.limits.iter().enumerate() {
            let Some(key) = spender.key(limit) else { continue };
            let Some(account) = state.accounts.get_mut(&*limit.name).and_then(|all| all.get_mut(key)) else {
                if limit.is_passed(cost, tokens) {
                    let standing = Account::default().standing(limit, key, now);
                    return Guard::Stop(standing);
                }
                continue;
            };
            account.turn(limit.window, now);
            let share = account.share(limit);
            let stops = share >= 1.0
                || limit.is_passed(account.spent() + cost, account.tokens() + tokens)
                || (account.unpriced > 0 && limit.on_unknown == OnUnknown::Stop);
            if stops {
                return Guard::Stop(account.standing(limit, key, now));
            }
            let warns =
                share >= limit.warn_at || (account.unpriced > 0 && limit.on_unknown == OnUnknown::Warn);
            if warns && warning.is_none_or(|(worst, ..)| share > worst) {
                warning = Some((share, place, key));
            }
        }
        let Some((_, place, key)) = warning else { return Guard::Ok };
        let limit = &self.limits[place];
        let account = state.accounts.get(&*limit.name).and_then(|all| all.get(key)).cloned();
        Guard::Warn(account.unwrap_or_default().standing(limit, key, now))
    }

    /// Sets aside what a call is expected to cost, so that calls that are made at the same time cannot go beyond a limit
    /// together. Given back when it is dropped, replaced by what was spent when it is [settled](Reservation::settle).
    ///
    /// # Errors
    /// A limit would be passed: its standing.
    pub fn reserve(
        &self,
        spender: &Spender<'_>,
        cost: Nanodollars,
        tokens: u64,
    ) -> Result<Reservation, Box<Standing>> {
        let now = self.clock.wall();
        let mut state = self.lock();
        if let Guard::Stop(standing) = self.judge(&mut state, spender, (cost, tokens), now) {
            return Err(Box::new(standing));
        }
        self.each_account(&mut state, spender, now, |_, account| account.reserve(cost, tokens));
        let own = |text: Option<&str>| text.map(Box::from);
        Ok(Reservation {
            budgets: self.clone(),
            spender: [own(spender.agent), own(spender.conversation), own(spender.run)],
            reserved: Some((cost, tokens)),
        })
    }

    /// Enters what was spent; `None` for a cost that is not known. If telemetry counts calls
    /// ([`Builder::budgets`](crate::Builder::budgets)), this counts for conversations and runs only, which telemetry does
    /// not know.
    pub fn record(&self, spender: &Spender<'_>, cost: Option<Nanodollars>, tokens: u64) {
        let now = self.clock.wall();
        self.enter(&mut self.lock(), spender, (cost, tokens), now);
    }

    fn enter(
        &self,
        state: &mut State,
        spender: &Spender<'_>,
        (cost, tokens): (Option<Nanodollars>, u64),
        now: SystemTime,
    ) {
        let attached = self.attached.load(Ordering::Relaxed);
        self.each_account(state, spender, now, |limit, account| {
            if !(attached && matches!(limit.scope, Scope::Overall | Scope::Agent)) {
                account.add(cost, tokens, now);
            }
        });
    }

    /// Enters a call that telemetry has seen.
    pub(crate) fn record_call(&self, agent: Option<&str>, cost: Option<Nanodollars>, tokens: u64) {
        let now = self.clock.wall();
        let spender = Spender { agent, ..Spender::default() };
        self.each_account(&mut self.lock(), &spender, now, |_, account| account.add(cost, tokens, now));
    }

    /// Telemetry counts from now on.
    pub(crate) fn attach(&self) {
        self.attached.store(true, Ordering::Relaxed);
    }

    fn each_account(
        &self,
        state: &mut State,
        spender: &Spender<'_>,
        now: SystemTime,
        mut change: impl FnMut(&Limit, &mut Account),
    ) {
        let State { accounts, forgotten } = state;
        for limit in self.limits.iter() {
            let (Some(key), Some(all)) = (spender.key(limit), accounts.get_mut(&*limit.name)) else {
                continue;
            };
            if !all.contains_key(key) {
                if all.len() >= MAX_ACCOUNTS {
                    let oldest =
                        all.iter().min_by_key(|(_, account)| account.used_at()).map(|(key, _)| key.clone());
                    oldest.and_then(|oldest| all.remove(&oldest));
                    *forgotten += 1;
                }
                all.insert(key.to_owned(), Account::default());
            }
            if let Some(account) = all.get_mut(key) {
                account.turn(limit.window, now);
                change(limit, account);
            }
        }
    }

    /// How much of each limit is spent, by whom: the most spent first.
    pub fn standings(&self) -> Vec<Standing> {
        let now = self.clock.wall();
        let mut state = self.lock();
        let mut all = Vec::new();
        for limit in self.limits.iter() {
            for (key, account) in state.accounts.get_mut(&*limit.name).into_iter().flatten() {
                account.turn(limit.window, now);
                all.push(account.standing(limit, key, now));
            }
        }
        all.sort_by(|a, b| b.share.total_cmp(&a.share));
        all
    }

    /// Accounts that were forgotten because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }

    /// What is spent, as JSON for [`restore`](Self::restore); reservations are not in it.
    ///
    /// # Errors
    /// None that is known of.
    pub fn state(&self) -> Result<String, Error> {
        serde_json::to_string(&*self.lock())
            .map_err(|error| Error::config(format!("the state of budgets cannot be written: {error}")))
    }

    /// Goes on from a state, so that a restart does not give a day's budget anew. Limits that are gone are left out.
    ///
    /// # Errors
    /// A state that is none ([`Error::is_config`]).
    pub fn restore(&self, state: &str) -> Result<(), Error> {
        let mut read: State = serde_json::from_str(state)
            .map_err(|error| Error::config(format!("the state of budgets cannot be read: {error}")))?;
        let mut own = self.lock();
        for (name, accounts) in &mut own.accounts {
            if let Some(read) = read.accounts.remove(name) {
                *accounts = read;
            }
        }
        own.forgotten = read.forgotten;
        Ok(())
    }
}

/// What is set aside for one call: see [`Budgets::reserve`].
#[derive(Debug)]
#[must_use = "dropped, it gives back what it set aside"]
pub struct Reservation {
    budgets: Budgets,
    spender: [Option<Box<str>>; 3],
    reserved: Option<(Nanodollars, u64)>,
}

impl Reservation {
    /// The call is over, and has cost so much (`None`: not known) for so many tokens.
    pub fn settle(mut self, cost: Option<Nanodollars>, tokens: u64) {
        self.give_back(Some((cost, tokens)));
    }

    /// In one step: between what is given back and what was spent no other call may find room that is not there.
    fn give_back(&mut self, spent: Option<(Option<Nanodollars>, u64)>) {
        let Some((cost, tokens)) = self.reserved.take() else { return };
        let [agent, conversation, run] = &self.spender;
        let spender =
            Spender { agent: agent.as_deref(), conversation: conversation.as_deref(), run: run.as_deref() };
        let now = self.budgets.clock.wall();
        let mut state = self.budgets.lock();
        self.budgets.each_account(&mut state, &spender, now, |_, account| account.release(cost, tokens));
        if let Some((cost, tokens)) = spent {
            self.budgets.enter(&mut state, &spender, (cost, tokens), now);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back(None);
    }
}

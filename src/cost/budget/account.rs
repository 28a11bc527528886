//! What one spender has spent of one limit.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Standing;
use super::limit::{Limit, Window};
use crate::cost::Nanodollars;

/// The newest quarter of an hour, minute by minute, says how fast it goes.
const RATE_MINUTES: u64 = 15;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Account {
    /// The number of the window that it is counted in.
    window: u64,
    cost: Nanodollars,
    tokens: u64,
    pub(super) unpriced: u64,
    /// When something was spent last, seconds since 1970.
    used_at: u64,
    /// Minutes since 1970 with what was spent in them: cost and tokens.
    minutes: VecDeque<(u64, Nanodollars, u64)>,
    /// What is set aside: gone with the process that asked for it.
    #[serde(skip)]
    reserved: (Nanodollars, u64),
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Account {
    /// Begins anew if the window is over. What is set aside stays so.
    pub(super) fn turn(&mut self, window: Window, now: SystemTime) {
        let number = seconds(now).checked_div(window.seconds()).unwrap_or(0);
        // A clock that goes back must not give a budget anew.
        if number > self.window {
            *self =
                Self { window: number, reserved: self.reserved, used_at: self.used_at, ..Self::default() };
        }
    }

    pub(super) fn add(&mut self, cost: Option<Nanodollars>, tokens: u64, now: SystemTime) {
        match cost {
            Some(cost) => self.cost += cost,
            None => self.unpriced += 1,
        }
        self.tokens = self.tokens.saturating_add(tokens);
        self.used_at = self.used_at.max(seconds(now));
        let minute = self.used_at / 60;
        let cost = cost.unwrap_or(Nanodollars::ZERO);
        match self.minutes.back_mut().filter(|(at, ..)| *at == minute) {
            Some((_, spent, used)) => {
                *spent += cost;
                *used = used.saturating_add(tokens);
            }
            None => self.minutes.push_back((minute, cost, tokens)),
        }
        while self.minutes.front().is_some_and(|(at, ..)| *at + RATE_MINUTES <= minute) {
            self.minutes.pop_front();
        }
    }

    pub(super) fn reserve(&mut self, cost: Nanodollars, tokens: u64) {
        self.reserved.0 += cost;
        self.reserved.1 = self.reserved.1.saturating_add(tokens);
    }

    pub(super) fn release(&mut self, cost: Nanodollars, tokens: u64) {
        self.reserved.0 = Nanodollars::new(self.reserved.0.get().saturating_sub(cost.get()));
        self.reserved.1 = self.reserved.1.saturating_sub(tokens);
    }

    /// What is spent and set aside.
    pub(super) fn spent(&self) -> Nanodollars {
        self.cost + self.reserved.0
    }

    pub(super) fn tokens(&self) -> u64 {
        self.tokens.saturating_add(self.reserved.1)
    }

    pub(super) fn used_at(&self) -> u64 {
        self.used_at
    }

    /// The share of the limit that is spent.
    pub(super) fn share(&self, limit: &Limit) -> f64 {
        let usd = limit.usd.map_or(0.0, |usd| self.spent().usd() / usd);
        let tokens = limit.tokens.map_or(0.0, |tokens| self.tokens() as f64 / tokens.max(1) as f64);
        usd.max(tokens)
    }

    pub(super) fn standing(&self, limit: &Limit, of: &str, now: SystemTime) -> Standing {
        Standing {
            limit: limit.name.clone(),
            scope: limit.scope,
            of: of.to_owned(),
            window: limit.window,
            spent_usd: self.spent().usd(),
            spent_tokens: self.tokens(),
            limit_usd: limit.usd,
            limit_tokens: limit.tokens,
            share: self.share(limit),
            unpriced: self.unpriced,
            exhausted_in_s: self.exhausted_in(limit, now),
        }
    }

    /// In how many seconds all is spent, if it goes on as in the newest quarter of an hour, and if that is in this window.
    fn exhausted_in(&self, limit: &Limit, now: SystemTime) -> Option<f64> {
        let now = seconds(now);
        let lately = self.minutes.iter().filter(|(at, ..)| *at + RATE_MINUTES > now / 60);
        let (cost, tokens) = lately
            .fold((0.0, 0.0), |(cost, tokens), (_, spent, used)| (cost + spent.usd(), tokens + *used as f64));
        let span = (RATE_MINUTES * 60) as f64;
        let left =
            |limit: f64, spent: f64, rate: f64| (rate > 0.0).then(|| (limit - spent).max(0.0) * span / rate);
        let usd = limit.usd.and_then(|usd| left(usd, self.spent().usd(), cost));
        let tokens = limit.tokens.and_then(|limit| left(limit as f64, self.tokens() as f64, tokens));
        let soonest = match (usd, tokens) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }?;
        let length = limit.window.seconds();
        let rest = if length == 0 { f64::INFINITY } else { (length - now % length) as f64 };
        (soonest <= rest).then_some(soonest)
    }
}

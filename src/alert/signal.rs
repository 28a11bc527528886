//! What rules look at.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::health::HealthReport;
use crate::semconv::host::metric;
use crate::views::{Subject, SubjectKind, Tally, Views};

/// A number about a subject over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Signal {
    /// The share of operations that failed.
    ErrorRate,
    /// The share of runs that reached their goal, or, of what has no goal, that did not fail.
    SuccessRate,
    /// Half took at most so long, seconds.
    P50,
    /// 95 % took at most so long, seconds.
    P95,
    /// 99 % took at most so long, seconds.
    P99,
    /// The mean duration, seconds.
    Average,
    /// Operations that failed.
    FailureCount,
    /// Operations that took longer than 3 s.
    SlowRequests,
    /// Operations that ended.
    Requests,
    /// USD.
    CostUsd,
    /// Input and output tokens.
    Tokens,
    /// Loops of the same tool call.
    Loops,
    /// Health, from 0 to 100.
    HealthScore,
    /// CPU in use, a share. Of the system, as the next ones.
    Cpu,
    /// Memory in use, a share.
    Memory,
    /// Connections in use of those that a pool may have, a share.
    Pool,
    /// Cache hits among look-ups, a share.
    CacheHitRate,
    /// Errors of caches.
    CacheErrors,
    /// Spans that were lost.
    SpansLost,
}

/// What takes longer is slow, seconds.
pub(super) const SLOW: f64 = 3.0;

impl Signal {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::SuccessRate => "success_rate",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Average => "average",
            Self::FailureCount => "failure_count",
            Self::SlowRequests => "slow_requests",
            Self::Requests => "requests",
            Self::CostUsd => "cost_usd",
            Self::Tokens => "tokens",
            Self::Loops => "loops",
            Self::HealthScore => "health_score",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pool => "pool",
            Self::CacheHitRate => "cache_hit_rate",
            Self::CacheErrors => "cache_errors",
            Self::SpansLost => "spans_lost",
        }
    }

    /// `1` for shares, `s`, `USD`, or what is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Self::ErrorRate
            | Self::SuccessRate
            | Self::Cpu
            | Self::Memory
            | Self::Pool
            | Self::CacheHitRate => "1",
            Self::P50 | Self::P95 | Self::P99 | Self::Average => "s",
            Self::CostUsd => "USD",
            Self::Tokens => "tokens",
            Self::HealthScore => "points",
            Self::FailureCount => "failures",
            Self::SlowRequests | Self::Requests => "requests",
            Self::Loops => "loops",
            Self::CacheErrors => "errors",
            Self::SpansLost => "spans",
        }
    }

    /// Whether values are shares from 0 to 1.
    pub fn is_share(self) -> bool {
        self.unit() == "1"
    }

    /// Whether it is about the system only.
    pub fn is_of_the_system(self) -> bool {
        matches!(
            self,
            Self::Cpu | Self::Memory | Self::Pool | Self::CacheHitRate | Self::CacheErrors | Self::SpansLost
        )
    }

    /// Whether it is counted, so that none is 0 and not unknown.
    pub(super) fn is_count(self) -> bool {
        matches!(
            self,
            Self::FailureCount
                | Self::SlowRequests
                | Self::Requests
                | Self::CostUsd
                | Self::Tokens
                | Self::Loops
                | Self::CacheErrors
                | Self::SpansLost
        )
    }

    /// The number, and on how many operations it rests; `None` if nothing is known.
    pub(super) fn read(
        self,
        views: &Views,
        health: &HealthReport,
        subject: &Subject,
        window: Duration,
        now: SystemTime,
    ) -> Option<(f64, u64)> {
        let gauge = |name: &str| views.gauge(name, now).map(|value| (value, u64::MAX));
        match self {
            Self::HealthScore if subject.kind == SubjectKind::System => {
                return health.score.map(|score| (score, u64::MAX));
            }
            Self::HealthScore => {
                let component = health.component(subject)?;
                return component.score.map(|score| (score, component.samples));
            }
            Self::Cpu => {
                return gauge(metric::SYSTEM_CPU_UTILIZATION)
                    .or_else(|| gauge(metric::PROCESS_CPU_UTILIZATION));
            }
            Self::Memory => return gauge(metric::SYSTEM_MEMORY_UTILIZATION),
            Self::Pool => {
                let (used, most) = (gauge(metric::DB_CONNECTIONS)?.0, gauge(metric::DB_CONNECTIONS_MAX)?.0);
                return (most > 0.0).then(|| (used / most, u64::MAX));
            }
            _ => {}
        }
        let tally = views.window(subject, window, now)?;
        self.of_tally(&tally)
    }

    fn of_tally(self, tally: &Tally) -> Option<(f64, u64)> {
        let judged = tally.count.saturating_sub(tally.cancelled());
        let counted = |name: &str| tally.counters.get(name).copied().unwrap_or(0.0);
        let quantile = |p: f64| Some((tally.all_durations().quantile(p)?, tally.count));
        match self {
            Self::ErrorRate => (judged > 0).then(|| (tally.failed() as f64 / judged as f64, judged)),
            Self::SuccessRate => {
                let goals = tally.succeeded + tally.missed;
                let (good, all) = match goals {
                    0 => (judged.saturating_sub(tally.failed()), judged),
                    _ => (tally.succeeded, goals + tally.failed()),
                };
                (all > 0).then(|| (good as f64 / all as f64, all))
            }
            Self::P50 => quantile(0.50),
            Self::P95 => quantile(0.95),
            Self::P99 => quantile(0.99),
            Self::Average => Some((tally.all_durations().mean()?, tally.count)),
            Self::FailureCount => Some((tally.failed() as f64, judged)),
            Self::SlowRequests => Some((tally.all_durations().slower_than(SLOW) as f64, tally.count)),
            Self::Requests => Some((tally.count as f64, tally.count)),
            Self::CostUsd => Some((tally.cost_nano as f64 / 1e9, tally.activity())),
            Self::Tokens => Some((tally.tokens() as f64, tally.activity())),
            Self::Loops => Some((tally.loops as f64, tally.activity())),
            Self::CacheHitRate => {
                let (hits, misses) = (counted(metric::CACHE_HITS), counted(metric::CACHE_MISSES));
                (hits + misses > 0.0).then(|| (hits / (hits + misses), (hits + misses) as u64))
            }
            Self::CacheErrors => Some((counted(metric::CACHE_ERRORS), u64::MAX)),
            Self::SpansLost => Some((tally.spans_lost as f64, u64::MAX)),
            Self::HealthScore | Self::Cpu | Self::Memory | Self::Pool => None,
        }
    }
}

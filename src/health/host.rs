//! What processes run on: CPU, memory, connection pools, caches.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::Code;
use super::report::{Evidence, Issue, quantity};
use super::targets::Host;
use crate::semconv::host::metric;
use crate::views::{Subject, Views};

/// For how long something must be so before it is told of.
const FOR: Duration = Duration::from_secs(60);
/// Look-ups in a cache before its hit rate says anything, and the window that they are counted in.
const LOOKUPS: f64 = 50.0;
const WINDOW: Duration = Duration::from_secs(300);

/// Since when what is beyond its target.
#[derive(Debug, Default)]
pub(super) struct Watch(BTreeMap<&'static str, SystemTime>);

impl Watch {
    pub(super) fn look(&mut self, views: &Views, targets: &Host, now: SystemTime) -> Vec<Issue> {
        let gauge = |name: &str| views.gauge(name, now);
        let cpu = gauge(metric::SYSTEM_CPU_UTILIZATION).or_else(|| gauge(metric::PROCESS_CPU_UTILIZATION));
        let pool = gauge(metric::DB_CONNECTIONS)
            .zip(gauge(metric::DB_CONNECTIONS_MAX))
            .filter(|(_, most)| *most > 0.0)
            .map(|(used, most)| used / most);
        let seen = [
            ("CPU", cpu.map(|share| (share, 1)), targets.cpu, true),
            (
                "memory",
                gauge(metric::SYSTEM_MEMORY_UTILIZATION).map(|share| (share, 1)),
                targets.memory,
                true,
            ),
            ("the connection pool", pool.map(|share| (share, 1)), targets.pool, true),
            ("cache hits", hits(views, now), targets.cache_hits, false),
        ];
        let mut issues = Vec::new();
        for (what, share, limit, most) in seen {
            let Some((share, samples)) =
                share.filter(|(share, _)| if most { *share > limit } else { *share < limit })
            else {
                self.0.remove(what);
                continue;
            };
            let since = *self.0.entry(what).or_insert(now);
            if now.duration_since(since).unwrap_or_default() >= FOR {
                issues.push(issue(what, share, limit, samples, since, most));
            }
        }
        issues
    }
}

fn hits(views: &Views, now: SystemTime) -> Option<(f64, u64)> {
    let tally = views.window(&Subject::system(), WINDOW, now)?;
    let count = |name: &str| tally.counters.get(name).copied().unwrap_or(0.0);
    let (hits, misses) = (count(metric::CACHE_HITS), count(metric::CACHE_MISSES));
    let all = hits + misses;
    (all >= LOOKUPS).then(|| (hits / all, all as u64))
}

fn issue(what: &str, share: f64, limit: f64, samples: u64, since: SystemTime, most: bool) -> Issue {
    let at = if most { "at most" } else { "at least" };
    let subject = Subject::system();
    Issue {
        code: Code::TargetMissed,
        severity: Code::TargetMissed.severity(),
        summary: format!("{what}: {}, the target is {at} {}", quantity(share, "1"), quantity(limit, "1")),
        subject,
        evidence: Evidence {
            observed: share,
            limit,
            unit: "1".into(),
            window_s: if samples > 1 { WINDOW.as_secs_f64() } else { FOR.as_secs_f64() },
            samples,
        },
        since,
        top_error: None,
        trace_ids: Vec::new(),
        advice: format!("find what uses it, or give it more: {what} has been beyond its target for a minute"),
    }
}

//! How the machine, the database connections and the cache of programs are, by the newest points of their metrics.

mod read;

use agentvitals::semconv::host::{attr, metric};
use hashbrown::HashMap;

use self::read::Newest;
use super::Queries;
use crate::clock;
use crate::query::engine::{Control, QueryError};
use crate::query::system::{CacheFigures, DatabaseFigures, SystemAnswer, SystemFigures, SystemRequest};

/// The metrics that are read.
const NAMES: [&str; 18] = [
    metric::PROCESS_CPU_UTILIZATION,
    metric::PROCESS_MEMORY_USAGE,
    metric::PROCESS_DISK_IO,
    metric::SYSTEM_CPU_UTILIZATION,
    metric::SYSTEM_MEMORY_USAGE,
    metric::SYSTEM_MEMORY_UTILIZATION,
    metric::SYSTEM_MEMORY_AVAILABLE,
    metric::SYSTEM_MEMORY_AVAILABLE_BEFORE,
    metric::SYSTEM_DISK_IO,
    metric::DB_CONNECTIONS,
    metric::DB_CONNECTIONS_IDLE_MIN,
    metric::DB_CONNECTIONS_MAX,
    metric::CACHE_ENABLED,
    metric::CACHE_HITS,
    metric::CACHE_MISSES,
    metric::CACHE_SETS,
    metric::CACHE_DELETES,
    metric::CACHE_ERRORS,
];
const MEGABYTE: f64 = 1_048_576.0;
/// What a processor does when it does nothing.
const IDLE_MODES: [&str; 2] = ["idle", "iowait"];

pub(super) fn answer(
    queries: &Queries,
    request: &SystemRequest,
    control: &Control,
) -> Result<SystemAnswer, QueryError> {
    let found = Found(read::newest(queries, request, &NAMES, control)?);
    let times = found.0.values().flatten().map(|point| point.time);
    Ok(SystemAnswer {
        time_unix_nano: times.max().unwrap_or_else(clock::unix_nanos),
        system: found.system(),
        database: found.database(),
        cache: found.cache(),
    })
}

/// A value of an attribute that points must have.
type With<'a> = Option<(&'a str, &'a str)>;

/// What was found, by the metric's name.
struct Found<'n>(HashMap<&'n str, Vec<Newest>>);

impl Found<'_> {
    fn of(&self, name: &str) -> &[Newest] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// What all processes tell, added up.
    fn sum(&self, name: &str, with: With<'_>) -> Option<f64> {
        sum(self.of(name).iter(), with)
    }

    /// What the last process tells: of one machine all tell the same.
    fn of_last(&self, name: &str) -> Vec<&Newest> {
        let points = self.of(name);
        let last = points.iter().max_by_key(|point| (point.time, point.resource));
        last.map_or_else(Vec::new, |last| {
            points.iter().filter(|point| point.resource == last.resource).collect()
        })
    }

    fn system(&self) -> SystemFigures {
        let last = |name, with| sum(self.of_last(name).into_iter(), with);
        let used = Some((attr::SYSTEM_MEMORY_STATE, "used"));
        let used_bytes = last(metric::SYSTEM_MEMORY_USAGE, used);
        let percent = last(metric::SYSTEM_MEMORY_UTILIZATION, used).or_else(|| {
            let all = last(metric::SYSTEM_MEMORY_USAGE, None).filter(|all| *all > 0.0);
            used_bytes.zip(all.filter(|_| self.tells_states())).map(|(used, all)| used / all)
        });
        let available = last(metric::SYSTEM_MEMORY_AVAILABLE, None)
            .or_else(|| last(metric::SYSTEM_MEMORY_AVAILABLE_BEFORE, None));
        let disk = |direction| {
            let with = Some((attr::DISK_IO_DIRECTION, direction));
            self.sum(metric::PROCESS_DISK_IO, with).or_else(|| last(metric::SYSTEM_DISK_IO, with))
        };
        let cpu = self.sum(metric::PROCESS_CPU_UTILIZATION, None).or_else(|| self.machine_cpu());
        let megabytes = |bytes: Option<f64>| bytes.map(|bytes| rounded(bytes / MEGABYTE));
        SystemFigures {
            cpu_percent: cpu.map(|share| rounded(share * 100.0)),
            memory_mb: megabytes(self.sum(metric::PROCESS_MEMORY_USAGE, None).or(used_bytes)),
            memory_percent: percent.map(|share| rounded(share * 100.0)),
            memory_available_mb: megabytes(available),
            disk_read_mb: megabytes(disk("read")),
            disk_write_mb: megabytes(disk("write")),
        }
    }

    /// Whether the memory of the machine is told by state: one state alone says nothing of all memory.
    fn tells_states(&self) -> bool {
        self.of_last(metric::SYSTEM_MEMORY_USAGE).len() > 1
    }

    /// The share of the machine's processors that do something: the average of all of them.
    fn machine_cpu(&self) -> Option<f64> {
        let points = self.of_last(metric::SYSTEM_CPU_UTILIZATION);
        let idle = |point: &Newest| IDLE_MODES.iter().any(|mode| has(point, attr::CPU_MODE, mode));
        let busy: Vec<&Newest> = points.into_iter().filter(|point| !idle(point)).collect();
        let mut processors: Vec<String> = busy
            .iter()
            .map(|point| point.attributes.get(attr::CPU_LOGICAL_NUMBER).map(ToString::to_string))
            .map(Option::unwrap_or_default)
            .collect();
        processors.sort_unstable();
        processors.dedup();
        sum(busy.into_iter(), None).map(|sum| sum / processors.len() as f64)
    }

    fn database(&self) -> DatabaseFigures {
        let state = |state| self.sum(metric::DB_CONNECTIONS, Some((attr::DB_CONNECTION_STATE, state)));
        let (idle, used) = (state("idle"), state("used"));
        let size = idle.zip(used).map(|(idle, used)| idle + used);
        let utilization = used.zip(size.filter(|size| *size > 0.0)).map(|(used, size)| used / size);
        DatabaseFigures {
            pool_size: whole(size),
            pool_available: whole(idle),
            pool_active: whole(used),
            pool_min: whole(self.sum(metric::DB_CONNECTIONS_IDLE_MIN, None)),
            pool_max: whole(self.sum(metric::DB_CONNECTIONS_MAX, None)),
            utilization_percent: utilization.map(|share| rounded(share * 100.0)),
        }
    }

    fn cache(&self) -> CacheFigures {
        let count = |name| self.sum(name, None);
        let (hits, misses) = (count(metric::CACHE_HITS), count(metric::CACHE_MISSES));
        let (sets, deletes) = (count(metric::CACHE_SETS), count(metric::CACHE_DELETES));
        let errors = count(metric::CACHE_ERRORS);
        let used = [hits, misses, sets, deletes, errors].iter().any(Option::is_some);
        let enabled = count(metric::CACHE_ENABLED).map(|enabled| enabled > 0.0);
        let reads = hits.zip(misses).map(|(hits, misses)| hits + misses);
        let rate = hits.zip(reads.filter(|reads| *reads > 0.0)).map(|(hits, reads)| hits / reads);
        CacheFigures {
            enabled: enabled.or_else(|| used.then_some(true)),
            hits: whole(hits),
            misses: whole(misses),
            sets: whole(sets),
            deletes: whole(deletes),
            errors: whole(errors),
            total_reads: whole(reads),
            hit_rate: rate.map(|share| rounded(share * 100.0)),
        }
    }
}

fn has(point: &Newest, key: &str, value: &str) -> bool {
    point.attributes.get(key).and_then(|known| known.as_str()) == Some(value)
}

fn sum<'a>(points: impl Iterator<Item = &'a Newest>, with: With<'_>) -> Option<f64> {
    let values = points.filter(|point| with.is_none_or(|(key, value)| has(point, key, value)));
    values.map(|point| point.value).filter(|value| value.is_finite()).reduce(|sum, value| sum + value)
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn whole(value: Option<f64>) -> Option<i64> {
    value.map(|value| value.round() as i64)
}

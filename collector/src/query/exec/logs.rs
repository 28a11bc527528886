//! Log records in order, a page at a time.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array as _, RecordBatch};
use serde_json::Value as Json;
use xxhash_rust::xxh3::Xxh3;

use super::render::{Rows, json_size, map_size};
use super::{Plan, Queries};
use crate::query::engine::{Columns, Control, Flow, Order, QueryError, Table};
use crate::query::signals::{Log, LogsAnswer, LogsRequest};
use crate::value::Value;

/// Records of a page unless said otherwise.
const DEFAULT_LIMIT: usize = 100;
/// Records of one nanosecond that pages can go through.
const MAX_SKIP: usize = 100_000;
/// The least severe number of each name.
const SEVERITIES: [(&str, i8); 8] = [
    ("trace", 1),
    ("debug", 5),
    ("info", 9),
    ("warn", 13),
    ("warning", 13),
    ("error", 17),
    ("fatal", 21),
    ("critical", 21),
];

/// Records have no ids: those of one time are told apart by what they hold, and equal ones are counted.
type Key = (i64, u64, u32);

/// Where the next page begins: the rank of the last record, and how many of that rank were given out.
struct Cursor {
    rank: i64,
    skip: usize,
}

pub(super) fn answer(
    queries: &Queries,
    request: &LogsRequest,
    control: &Control,
) -> Result<LogsAnswer, QueryError> {
    let limit = super::bounded("limit", request.limit, DEFAULT_LIMIT, queries.limits.max_spans)?;
    let least = request.severity.as_deref().map_or(Ok(0), severity)?;
    let after = request.after.as_deref().map(cursor).transpose()?;
    let plan = Plan::of(Table::Logs, &request.q, request.start, request.end)?;
    let order = if request.oldest_first { Order::OldestFirst } else { Order::NewestFirst };
    let mut parts = queries.engine.parts(&plan.scan(Columns::All, order))?;
    parts.sort_by_key(|part| {
        rank(order, if order == Order::OldestFirst { part.times().0 } else { part.times().1 })
    });
    let skip = after.as_ref().map_or(0, |after| after.skip);
    let mut page = Page { best: BTreeMap::new(), limit: limit + skip + 1 };
    let (mut scanned, mut complete) = (0, true);
    for part in parts {
        let times = part.times();
        if page.is_past(rank(order, if order == Order::OldestFirst { times.0 } else { times.1 })) {
            break;
        }
        let read = part.read(control, &mut |batch| {
            control.check()?;
            let wanted = Wanted {
                plan: &plan,
                order,
                least,
                contains: request.contains.as_deref(),
                after: after.as_ref(),
            };
            wanted.read(batch, &mut page, control)
        });
        match read {
            Ok(read) => scanned += read,
            // What was found is of use.
            Err(QueryError::TimedOut) => {
                complete = false;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(page.answer(after.as_ref(), limit, complete, scanned))
}

/// What comes first is smaller.
const fn rank(order: Order, time: i64) -> i64 {
    match order {
        Order::OldestFirst => time,
        Order::Any | Order::NewestFirst => time.saturating_neg(),
    }
}

struct Wanted<'a> {
    plan: &'a Plan,
    order: Order,
    least: i8,
    contains: Option<&'a str>,
    after: Option<&'a Cursor>,
}

impl Wanted<'_> {
    fn read(&self, batch: &RecordBatch, page: &mut Page, control: &Control) -> Result<Flow, QueryError> {
        let rows = Rows::new(batch);
        let times = rows.column("time")?.as_primitive::<TimestampNanosecondType>();
        let severities = rows.column("severity")?.as_primitive::<arrow_array::types::Int8Type>();
        for row in self.plan.rows(batch)? {
            let row = row as usize;
            let rank = rank(self.order, times.value(row));
            if page.is_past(rank) {
                return Ok(Flow::Stop);
            }
            if self.after.is_some_and(|after| rank < after.rank)
                || severities.value(row) < self.least
                || !self.contains.is_none_or(|text| contains(rows.text("body", row), text))
            {
                continue;
            }
            page.add(rank, log(&rows, row, times.value(row))?, control)?;
        }
        Ok(Flow::Continue)
    }
}

/// Whether a body, as it is kept, contains a text.
fn contains(body: &str, text: &str) -> bool {
    // Letters and digits are kept as they are, so most bodies need not be read to tell.
    let plain = text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if plain {
        return body.contains(text);
    }
    match Value::parse(body) {
        Some(Value::String(body)) => body.contains(text),
        Some(other) => other.to_json().to_string().contains(text),
        None => false,
    }
}

fn log(rows: &Rows<'_>, row: usize, time: i64) -> Result<Log, QueryError> {
    let observed = rows.column("observed")?.as_primitive::<TimestampNanosecondType>();
    let body = rows.column("body")?;
    let body = if body.is_null(row) { None } else { Value::parse(rows.text("body", row)) };
    Ok(Log {
        time_unix_nano: time,
        observed_unix_nano: observed.value(row),
        severity: u8::try_from(rows.small("severity", row)).unwrap_or(0),
        severity_text: rows.text("severity_text", row).to_owned(),
        name: rows.text("name", row).to_owned(),
        body: body.map_or(Json::Null, |body| body.to_json()),
        trace_id: rows.id("trace_id", row),
        span_id: rows.id("span_id", row),
        service: rows.text("service", row).to_owned(),
        flags: rows.count("flags", row),
        resource: rows.resource(row),
        scope: rows.scope(row),
        attributes: rows.attributes(row),
        dropped_attributes: rows.count("dropped_attributes", row),
    })
}

/// The first records of what was seen so far.
struct Page {
    best: BTreeMap<Key, Log>,
    limit: usize,
}

impl Page {
    fn is_past(&self, rank: i64) -> bool {
        self.best.len() >= self.limit && self.best.last_key_value().is_some_and(|(last, _)| rank > last.0)
    }

    fn add(&mut self, rank: i64, log: Log, control: &Control) -> Result<(), QueryError> {
        let hash = hash(&log);
        let same = self.best.range((rank, hash, 0)..=(rank, hash, u32::MAX)).count();
        let key = (rank, hash, u32::try_from(same).unwrap_or(u32::MAX));
        control.take_memory(size(&log))?;
        self.best.insert(key, log);
        if self.best.len() > self.limit
            && let Some((_, last)) = self.best.pop_last()
        {
            control.give_memory(size(&last));
        }
        Ok(())
    }

    fn answer(self, after: Option<&Cursor>, limit: usize, complete: bool, scanned: u64) -> LogsAnswer {
        let mut found: Vec<(Key, Log)> = self.best.into_iter().collect();
        if let Some(after) = after {
            let given = found.iter().take(after.skip).filter(|(key, _)| key.0 == after.rank).count();
            found.drain(..given);
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(last, _)| {
            let here = found.iter().filter(|(key, _)| key.0 == last.0).count();
            let before = after.filter(|after| after.rank == last.0).map_or(0, |after| after.skip);
            format!("{}.{}", last.0, here + before)
        });
        LogsAnswer { logs: found.into_iter().map(|(_, log)| log).collect(), next, complete, scanned }
    }
}

fn hash(log: &Log) -> u64 {
    let mut hash = Xxh3::new();
    for text in [Some(&log.service), Some(&log.name), log.trace_id.as_ref(), log.span_id.as_ref()] {
        hash.update(text.map_or(&[], |text| text.as_bytes()));
        hash.update(&[0xff]);
    }
    hash.update(log.body.to_string().as_bytes());
    for (key, value) in log.attributes.iter().chain(&log.resource) {
        hash.update(key.as_bytes());
        hash.update(value.to_string().as_bytes());
    }
    hash.digest()
}

fn size(log: &Log) -> usize {
    let maps = [&log.resource, &log.scope, &log.attributes];
    size_of::<Log>() + 120 + json_size(&log.body) + maps.into_iter().map(map_size).sum::<usize>()
}

fn severity(text: &str) -> Result<i8, QueryError> {
    let known =
        SEVERITIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| *number);
    known.or_else(|| text.parse().ok().filter(|number| (1..=24).contains(number))).ok_or_else(|| {
        QueryError::invalid(format!(
            "severity is {text:?}, expected trace, debug, info, warn, error, fatal or a number from 1 to 24"
        ))
    })
}

fn cursor(text: &str) -> Result<Cursor, QueryError> {
    let parts = text.split_once('.').and_then(|(rank, skip)| Some((rank.parse().ok()?, skip.parse().ok()?)));
    match parts {
        Some((rank, skip)) if skip <= MAX_SKIP => Ok(Cursor { rank, skip }),
        _ => Err(QueryError::invalid(format!("after is {text:?}, expected the `next` of the page before"))),
    }
}

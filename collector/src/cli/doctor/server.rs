//! What a server says of itself: whether it is ready, what was lost and why, and what time it has.

use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;

use agentvitals::semconv::{attr, metric};

use super::{Check, Status};
use crate::cli::client::{Common, post};
use crate::cli::http::Response;
use crate::query::request::{CountAnswer, CountRequest};
use crate::query::signals::{MetricAnswer, MetricRequest};

/// Clocks that differ by less are as good as the same: the header `Date` has whole seconds.
const MOST_APART: i64 = 3;
const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// What the server counts of its own losses, and what one does about them.
const COUNTED: [(&str, &str); 5] = [
    (
        "agentvitals_store_requests_overloaded_total",
        "senders are quicker than the disk; they were asked to come again",
    ),
    ("agentvitals_log_refused_total", "the log could not be written: look at the disk of the data directory"),
    ("agentvitals_store_rows_rejected_total", "senders sent records that are none; their answers say why"),
    ("agentvitals_receiver_refused_total", "requests were refused; the label says why"),
    ("agentvitals_store_spans_pending_dropped_total", "more spans were open than are kept"),
];

/// All that is asked of a server; nothing more if it is not there.
pub(super) fn checks(common: &Common) -> Vec<Check> {
    let mut checks = Vec::new();
    let answer = common.http().and_then(|http| {
        let answer =
            http.send(Method::GET, &root(common, "/health/ready"), "application/json", Vec::new().into())?;
        Ok((crate::clock::unix_nanos(), answer))
    });
    match answer {
        Err(error) => {
            let message = format!("{error}; what it has lost and its clock were not asked");
            checks.push(Check { name: "server", status: Status::Skipped, message });
        }
        Ok((now, answer)) => {
            checks.push(ready(common, &answer));
            checks.push(clock(common, now, &answer));
            checks.push(lost_by_server(common));
            checks.push(lost_by_programs(common));
        }
    }
    checks
}

fn root(common: &Common, path: &str) -> String {
    common.url("").trim_end_matches("/api/v1/").to_owned() + path
}

fn ready(common: &Common, answer: &Response) -> Check {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let (status, message) = match (answer.status, body["reason"].as_str()) {
        (200, _) => (Status::Ok, format!("{} is ready", common.api)),
        (_, Some(reason)) => (Status::Failed, format!("{} is not ready: {reason}", common.api)),
        (other, None) => (Status::Failed, format!("{} answers {other} to /health/ready", common.api)),
    };
    Check { name: "server", status, message }
}

/// The server's time by its answer, and whether spans come from the future.
fn clock(common: &Common, now: i64, answer: &Response) -> Check {
    let check = |status, message: String| Check { name: "clock", status, message };
    let Some(theirs) = answer.date else {
        return check(Status::Skipped, "the server does not tell its time".to_owned());
    };
    let apart = theirs - now / SECOND;
    if apart.abs() > MOST_APART {
        let way = if apart > 0 { "ahead of" } else { "behind" };
        let message = format!(
            "the clock of {} is {} s {way} this machine's; spans of both will not fit together: set both by NTP",
            common.api,
            apart.abs()
        );
        return check(Status::Failed, message);
    }
    let start = now.saturating_add(60 * SECOND);
    let request = CountRequest { start: Some(start), ..CountRequest::default() };
    match post::<CountAnswer>(common, "count", &request, "") {
        Ok(CountAnswer { count: 0, .. }) => check(
            Status::Ok,
            format!(
                "the server's and this machine's differ by no more than {MOST_APART} s, and no span is from the future"
            ),
        ),
        Ok(CountAnswer { count, .. }) => {
            let message = format!(
                "{count} spans start more than a minute from now: a sender's clock is ahead; `agentvitals spans --since {start}` shows them"
            );
            check(Status::Warned, message)
        }
        Err(error) => check(Status::Failed, error.to_string()),
    }
}

/// What the server counted since it started.
fn lost_by_server(common: &Common) -> Check {
    let check = |status, message: String| Check { name: "losses of the server", status, message };
    let answer = common
        .http()
        .and_then(|http| http.send(Method::GET, &root(common, "/metrics"), "text/plain", Vec::new().into()));
    let text = match answer {
        Ok(Response { status: 200, body, .. }) => String::from_utf8_lossy(&body).into_owned(),
        Ok(Response { status, .. }) => return check(Status::Failed, format!("/metrics answers {status}")),
        Err(error) => return check(Status::Failed, error.to_string()),
    };
    let mut lost = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or(series);
        let advice = COUNTED.iter().find(|(counted, _)| *counted == name);
        if let (Some((_, advice)), Ok(count)) = (advice, value.parse::<f64>())
            && count > 0.0
        {
            lost.push(format!("{series} is {count}: {advice}"));
        }
    }
    if lost.is_empty() {
        return check(Status::Ok, "it has refused and dropped nothing since it started".to_owned());
    }
    check(Status::Warned, lost.join("; "))
}

/// What programs said that they lost, over a day.
fn lost_by_programs(common: &Common) -> Check {
    let check = |status, message: String| Check { name: "losses of programs", status, message };
    let mut lost = BTreeMap::new();
    for (name, what) in [
        (metric::SDK_SPANS_LOST, "spans"),
        (metric::SDK_OPERATIONS_REFUSED, "operations"),
        (metric::SDK_SERIES_OVERFLOW, "series"),
    ] {
        let request = MetricRequest {
            name: name.to_owned(),
            start: Some(crate::clock::unix_nanos().saturating_sub(DAY)),
            by: vec!["resource.service.name".to_owned(), attr::REASON.to_owned()],
            ..MetricRequest::default()
        };
        let answer: MetricAnswer = match post(common, "metrics/query", &request, "") {
            Ok(answer) => answer,
            Err(error) => return check(Status::Failed, error.to_string()),
        };
        for group in answer.groups {
            let count = group.increase.unwrap_or(0.0);
            if count > 0.0 {
                let text =
                    |at: usize| group.by.get(at).and_then(Value::as_str).unwrap_or("no reason").to_owned();
                *lost.entry(format!("{what} of {} ({})", text(0), text(1))).or_insert(0.0) += count;
            }
        }
    }
    if lost.is_empty() {
        return check(Status::Ok, "no program told of any within a day".to_owned());
    }
    let told: Vec<String> = lost.iter().map(|(what, count)| format!("{count} {what}")).collect();
    check(Status::Warned, format!("within a day: {}", told.join("; ")))
}

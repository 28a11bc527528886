//! Tempo's API: a search for traces, and then these.

use serde::Deserialize;

use super::SpanQuery;
use super::client::Client;
use super::filter::{Comparison, Field, Filter, Value};
use super::otlp::{self, ResourceSpans};
use super::span::FoundSpan;
use crate::Error;

/// Traces that a search hands out at most.
const MOST: usize = 1_000;
const SECOND: i64 = 1_000_000_000;

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    traces: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(rename = "traceID")]
    trace_id: String,
}

#[derive(Deserialize)]
struct Answer {
    trace: Option<Trace>,
    #[serde(default)]
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    #[serde(default, alias = "batches")]
    resource_spans: Vec<ResourceSpans>,
}

/// Which traces have spans that match Tempo tells; which spans these are, and which are the newest, is told from the traces.
pub(super) async fn spans(client: &Client, query: &SpanQuery) -> Result<Vec<FoundSpan>, Error> {
    let mut parameters = vec![
        ("q", widened(&query.filter).to_string()),
        ("limit", MOST.to_string()),
        ("spss", "1".to_owned()),
    ];
    // Without both Tempo looks at what is recent only.
    let start = query.start.unwrap_or(0).max(0) / SECOND;
    // Whole seconds, so that no span is left out.
    let end = query.end.map_or_else(|| super::now() / SECOND + 3_600, |end| end.div_euclid(SECOND) + 1);
    parameters.extend([("start", start.to_string()), ("end", end.max(start + 1).to_string())]);
    let search: Option<Search> = client.get("/api/search", &parameters).await?;
    let search = search.ok_or_else(|| {
        Error::backend(format!("{} has no /api/search; is it Tempo's address?", client.url))
    })?;
    if search.traces.len() >= MOST {
        return Err(Error::backend(format!(
            "{MOST} traces or more match, and {} may hold back some; ask for a shorter time range or more narrowly",
            client.url
        )));
    }
    let mut all = Vec::new();
    for found in search.traces {
        all.extend(trace(client, &format!("{:0>32}", found.trace_id)).await?);
    }
    query.select(all)
}

/// What lets through all that a filter does, and more. Tempo keeps whole numbers and others apart, and compares a number that is
/// written in a query with those of its own kind only; and `.a = 1 && .b = nil` finds nothing there (3.0), though `.b = nil` does.
fn widened(filter: &Filter) -> Filter {
    fn part(filter: &Filter) -> Filter {
        if matches!(filter, Filter::Exists(_, false)) { Filter::All } else { widened(filter) }
    }
    match filter {
        Filter::And(a, b) => part(a) & part(b),
        Filter::Or(a, b) => part(a) | part(b),
        Filter::Compare(
            field @ (Field::Attribute(_) | Field::SpanAttribute(_) | Field::ResourceAttribute(_)),
            how,
            value @ (Value::Int(_) | Value::Float(_)),
        ) => {
            let other = match value {
                Value::Int(number) => as_float(*number).map(|number| (*how, Value::Float(number))),
                Value::Float(number) => as_int(*how, *number).map(|(how, number)| (how, Value::Int(number))),
                _ => None,
            };
            let other = other.map_or_else(
                || field.clone().exists(),
                |(how, value)| Filter::Compare(field.clone(), how, value),
            );
            Filter::Or(Box::new(filter.clone()), Box::new(other))
        }
        other => other.clone(),
    }
}

/// The same number, if none is lost.
#[expect(clippy::cast_precision_loss, reason = "all of these have one")]
fn as_float(number: i64) -> Option<f64> {
    (number.unsigned_abs() <= 1 << 53).then_some(number as f64)
}

/// How whole numbers compare with one that need not be.
#[expect(clippy::cast_possible_truncation, reason = "within 53 bits")]
fn as_int(how: Comparison, number: f64) -> Option<(Comparison, i64)> {
    if number.is_nan() || number.abs() > 9e15 {
        return None;
    }
    let is_whole = number.fract() == 0.0;
    match how {
        Comparison::Eq | Comparison::Ne if !is_whole => None,
        Comparison::Gt | Comparison::Le => Some((how, number.floor() as i64)),
        Comparison::Ge | Comparison::Lt => Some((how, number.ceil() as i64)),
        Comparison::Eq | Comparison::Ne => Some((how, number as i64)),
    }
}

pub(super) async fn trace(client: &Client, id: &str) -> Result<Vec<FoundSpan>, Error> {
    let answer: Option<Answer> = client.get(&format!("/api/v2/traces/{id}"), &[]).await?;
    let Some(answer) = answer else { return Ok(Vec::new()) };
    if answer.status.as_deref() == Some("PARTIAL") {
        return Err(Error::backend(format!("{} has only a part of the trace {id}", client.url)));
    }
    let trace = answer.trace.map_or_else(Vec::new, |trace| trace.resource_spans);
    otlp::found(trace).map_err(|why| client.unreadable(&why))
}

#[cfg(test)]
mod tests {
    use super::widened;
    use crate::query::{attribute, duration, name};

    #[test]
    fn numbers_of_both_kinds_are_asked_for() {
        let (a, b) = (|| attribute("a"), || attribute("b"));
        let cases = [
            (a().eq(17), "{ (.a = 17 || .a = 17.0) }"),
            (a().lt(1.5), "{ (.a < 1.5 || .a < 2) }"),
            (a().le(1.5), "{ (.a <= 1.5 || .a <= 1) }"),
            (a().gt(-1.5), "{ (.a > -1.5 || .a > -2) }"),
            (a().ge(-1.5), "{ (.a >= -1.5 || .a >= -1) }"),
            (a().ne(2.0), "{ (.a != 2.0 || .a != 2) }"),
            (a().eq(0.5), "{ (.a = 0.5 || .a != nil) }"),
            (a().gt(i64::MAX), "{ (.a > 9223372036854775807 || .a != nil) }"),
            (a().eq("17"), "{ .a = \"17\" }"),
            (
                a().eq(1) & (b().gt(2) | name().eq("x")),
                "{ ((.a = 1 || .a = 1.0) && ((.b > 2 || .b > 2.0) || name = \"x\")) }",
            ),
            (b().missing(), "{ .b = nil }"),
            (a().eq("x") & b().missing(), "{ .a = \"x\" }"),
            (a().eq("x") | b().missing(), "{}"),
            (duration().gt(std::time::Duration::from_nanos(5)), "{ duration > 5ns }"),
        ];
        for (filter, asked) in cases {
            assert_eq!(widened(&filter).to_string(), asked);
        }
    }
}

//! What a search of Jaeger's API asks for, as TraceQL.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use super::model;
use crate::api::Answers;
use crate::api::time::parse_duration;
use crate::query::search::SearchRequest;
use crate::query::traceql::{Field, Literal, Scope};
use crate::query::{Control, QueryError};

/// Traces of a search unless it says otherwise.
const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 10_000;
/// How far a search looks back unless it says when to start: nanoseconds.
const LOOKBACK: i64 = 2 * 86_400_000_000_000;

/// A search, whichever version of the API asked for it.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) service: String,
    pub(super) operation: String,
    pub(super) tags: BTreeMap<String, String>,
    /// Nanoseconds; both are in it.
    pub(super) start: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) at_least: Option<i64>,
    pub(super) at_most: Option<i64>,
    pub(super) limit: Option<usize>,
}

impl Search {
    /// Of the parameters of the first version.
    pub(super) fn of(parameters: &[(String, String)]) -> Result<Self, String> {
        let mut search = Self::default();
        let mut plain: BTreeMap<String, String> = BTreeMap::new();
        for (name, text) in parameters.iter().filter(|(_, text)| !text.is_empty()) {
            match name.as_str() {
                "service" => search.service.clone_from(text),
                "operation" => search.operation.clone_from(text),
                "start" => search.start = Some(micros(name, text)?),
                "end" => search.end = Some(micros(name, text)?.saturating_add(999)),
                "minDuration" => search.at_least = Some(duration(name, text)?),
                "maxDuration" => search.at_most = Some(duration(name, text)?),
                "limit" => search.limit = Some(limit(name, text)?),
                "tag" => {
                    let (key, value) = text.split_once(':').ok_or_else(|| {
                        format!("malformed 'tag' parameter, expecting key:value, received: {text}")
                    })?;
                    plain.insert(key.to_owned(), value.to_owned());
                }
                "tags" => {
                    let tags: BTreeMap<String, String> = serde_json::from_str(text).map_err(|error| {
                        format!("malformed 'tags' parameter, expecting a JSON object of texts: {error}")
                    })?;
                    search.tags.extend(tags);
                }
                _ => {}
            }
        }
        // Those of `tags` win.
        plain.append(&mut search.tags);
        search.tags = plain;
        if search.service.is_empty() {
            return Err("parameter 'service' is required".to_owned());
        }
        match (search.at_least, search.at_most) {
            (Some(least), Some(most)) if least != 0 && most != 0 && most < least => {
                Err("'maxDuration' should be greater than 'minDuration'".to_owned())
            }
            _ => Ok(search),
        }
    }

    /// The traces that it finds.
    pub(super) fn find(
        &self,
        answers: &dyn Answers,
        request: &SearchRequest,
        control: &Control,
    ) -> Result<Vec<Vec<ResourceSpans>>, QueryError> {
        let found = answers.search(request, control)?;
        let ids: Vec<String> = found.traces.iter().map(|trace| trace.trace_id.clone()).collect();
        let mut traces = answers.traces(&ids, control)?;
        if self.texts().next().is_some() {
            let sets = found.traces.into_iter().flat_map(|trace| trace.sets);
            let spans: HashSet<String> = sets.flat_map(|set| set.spans).map(|span| span.span_id).collect();
            traces.retain(|trace| self.has_texts(trace, &spans));
            traces.truncate(self.limit.unwrap_or(DEFAULT_LIMIT));
        }
        Ok(traces)
    }

    /// The tags whose value may be that of a list or a map, of which TraceQL can compare single elements only.
    fn texts(&self) -> impl Iterator<Item = (&String, &String)> {
        self.tags.iter().filter(|(_, value)| value.starts_with(['[', '{']))
    }

    /// Whether one of these spans has all of them.
    fn has_texts(&self, trace: &[ResourceSpans], found: &HashSet<String>) -> bool {
        trace.iter().any(|of| {
            let mut spans = of.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.any(|span| {
                found.contains(&hex::encode(&span.span_id))
                    && self.texts().all(|(key, value)| model::has(of.resource.as_ref(), span, key, value))
            })
        })
    }

    /// The question that it is.
    pub(super) fn request(&self, now: i64) -> SearchRequest {
        let mut conditions = Vec::new();
        let mut is = |field: &str, value: &str| {
            if !value.is_empty() {
                conditions.push(format!("{field} = {}", Literal::String(value.to_owned())));
            }
        };
        is("resource.service.name", &self.service);
        is("name", &self.operation);
        for (op, nanos) in [(">=", self.at_least), ("<=", self.at_most)] {
            if let Some(nanos) = nanos.filter(|nanos| *nanos != 0) {
                conditions.push(format!("duration {op} {}", Literal::Duration(nanos)));
            }
        }
        conditions.extend(self.tags.iter().map(|(key, value)| tag(key, value)));
        let end = self.end.unwrap_or(now);
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        // What is left of them is told by a look at the spans.
        let (limit, spans) = if self.texts().next().is_some() { (MOST, MOST) } else { (limit, 1) };
        SearchRequest {
            q: format!("{{ {} }}", conditions.join(" && ")),
            start: Some(self.start.unwrap_or_else(|| now.saturating_sub(LOOKBACK)).min(end)),
            end: Some(end.saturating_add(1)),
            limit: Some(limit),
            spans_per_set: Some(spans),
            started_within: true,
        }
    }
}

pub(super) fn micros(name: &str, text: &str) -> Result<i64, String> {
    let micros = text.parse::<i64>().map_err(|error| error.to_string());
    micros.and_then(|micros| micros.checked_mul(1_000).ok_or_else(|| "out of range".to_owned())).map_err(
        |error| {
            format!("unable to parse param '{name}': {text:?}: {error}, expected microseconds since 1970")
        },
    )
}

pub(super) fn duration(name: &str, text: &str) -> Result<i64, String> {
    parse_duration(text).map_err(|error| format!("unable to parse param '{name}': {error}"))
}

pub(super) fn limit(name: &str, text: &str) -> Result<usize, String> {
    let limit: i64 =
        text.parse().map_err(|error| format!("unable to parse param '{name}': {text:?}: {error}"))?;
    // None of them means the usual number.
    Ok(usize::try_from(limit).unwrap_or(0))
        .map(|limit| if limit == 0 { DEFAULT_LIMIT } else { limit.min(MOST) })
}

/// A tag is an attribute of the span, of its resource, or of one of its events; its value is compared as text. Some tags are
/// what OTLP has in places of its own.
fn tag(key: &str, value: &str) -> String {
    let text = Literal::String(value.to_owned());
    let mut ways = Vec::new();
    let known = |names: [&'static str; 6]| names.into_iter().find(|name| *name == value);
    match key {
        "error" if value == "true" => ways.push("status = error".to_owned()),
        "span.kind" => {
            let kind = known(["internal", "server", "client", "producer", "consumer", "unspecified"]);
            ways.extend(kind.map(|kind| format!("kind = {kind}")));
        }
        "otel.status_code" => {
            let code = match value {
                "ERROR" => Some("error"),
                "OK" => Some("ok"),
                _ => None,
            };
            ways.extend(code.map(|code| format!("status = {code}")));
        }
        "otel.status_description" => ways.push(format!("statusMessage = {text}")),
        "otel.scope.name" => ways.push(format!("instrumentation:name = {text}")),
        "otel.scope.version" => ways.push(format!("instrumentation:version = {text}")),
        "event" => ways.push(format!("event:name = {text}")),
        _ => {}
    }
    let number = value.parse::<i64>().ok().filter(|number| number.to_string() == value);
    let other = match (number, value.parse::<f64>()) {
        (Some(i64::MIN), _) => None,
        (Some(number), _) => Some(number.to_string()),
        (None, Ok(number)) if number.is_finite() && number.to_string() == value => Some(value.to_owned()),
        _ => (value == "true" || value == "false").then(|| value.to_owned()),
    };
    for scope in [Scope::Span, Scope::Resource, Scope::Event] {
        let field = Field::Attribute { scope, key: key.to_owned() };
        if value.starts_with(['[', '{']) {
            ways.push(format!("{field} != nil"));
            continue;
        }
        ways.push(format!("{field} = {text}"));
        ways.extend(other.as_ref().map(|other| format!("{field} = {other}")));
    }
    format!("({})", ways.join(" || "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::traceql::parse_filter;

    #[test]
    fn tags_are_conditions() {
        let cases = [
            ("k", "v"),
            ("a key", "it's \"x\" `y`"),
            ("error", "true"),
            ("error", "false"),
            ("n", "42"),
            ("n", "-0.5"),
            ("span.kind", "client"),
            ("span.kind", "odd"),
            ("otel.status_code", "ERROR"),
            ("event", "e"),
            ("n", "1e400"),
            ("n", "-9223372036854775808"),
            ("n", "007"),
        ];
        for (key, value) in cases {
            let query = format!("{{ {} }}", tag(key, value));
            parse_filter(&query).unwrap_or_else(|error| panic!("{query}: {error}"));
        }
        assert!(tag("n", "42").contains("span.n = 42 ||"));
        assert!(!tag("n", "007").contains("= 007"));
    }

    #[test]
    fn wrong_parameters_are_named() {
        let ask = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            Search::of(&pairs).map(|search| search.request(0).q)
        };
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[], "'service' is required"),
            (&[("service", "s"), ("start", "x")], "'start'"),
            (&[("service", "s"), ("minDuration", "2s"), ("maxDuration", "1s")], "should be greater"),
            (&[("service", "s"), ("tag", "k")], "malformed 'tag'"),
            (&[("service", "s"), ("tags", "{\"k\":1}")], "malformed 'tags'"),
            (&[("service", "s"), ("limit", "x")], "'limit'"),
        ];
        for (pairs, wanted) in cases {
            let error = ask(pairs).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
        let query = ask(&[("service", "s"), ("operation", "o"), ("minDuration", "1.5ms")]).unwrap();
        assert_eq!(query, r#"{ resource.service.name = "s" && name = "o" && duration >= 1500000ns }"#);
    }
}

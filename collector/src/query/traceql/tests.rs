use std::borrow::Cow;

use super::*;
use crate::query::{Must, QueryError};
use crate::value::Value;

struct Span<'a>(&'a Compiled, Vec<(&'a str, Datum<'a>)>);

impl Row for Span<'_> {
    fn value(&self, field: usize) -> Datum<'_> {
        let name = self.0.fields()[field].to_string();
        self.1.iter().find(|(known, _)| *known == name).map_or(Datum::Nil, |(_, datum)| datum.clone())
    }
}

fn text(value: &str) -> Datum<'_> {
    Datum::Text(Cow::Borrowed(value))
}

fn matches(query: &str) -> bool {
    let compiled = parse_filter(query).unwrap_or_else(|error| panic!("{query}: {error}")).compile().unwrap();
    let span = vec![
        (".gen_ai.agent.name", text("planner")),
        (".code", Datum::Int(200)),
        (".share", Datum::Float(0.5)),
        (".zero", Datum::Float(0.0)),
        (".ok", Datum::Bool(true)),
        (".tags", Datum::List(vec![text("a"), text("b")])),
        (".route", text("GET /runs/{id}\nHost: x")),
        ("event:name", Datum::Each(vec![text("retry"), text("exception")])),
        ("event.attempt", Datum::Each(vec![Datum::Int(1), Datum::Int(2)])),
        ("event.tags", Datum::Each(vec![Datum::List(vec![text("p"), text("q")]), text("r")])),
        ("trace:id", text("0000000000000000000000000000001f")),
        ("resource.service.name", text("bot")),
        ("name", text("chat gpt-4o")),
        ("duration", Datum::Int(2_500_000_000)),
        ("status", Datum::Status(2)),
        ("kind", Datum::Kind(3)),
    ];
    let span = Span(&compiled, span);
    compiled.matches(&span)
}

#[test]
fn filters_mean_what_tempo_says() {
    for query in [
        "",
        "{}",
        "{ .gen_ai.agent.name = \"planner\" && status = error && duration > 2s }",
        "{ duration >= 1s500ms && duration < 1h }",
        "{ .code = 200.0 }",
        "{ .code >= 200 && .code < 300 }",
        "{ .share < 1 }",
        "{ .ok }",
        "{ .ok = true }",
        "{ .missing = nil && .code != nil }",
        "{ .tags = \"b\" }",
        "{ name =~ \"chat .*\" }",
        "{ name !~ \"chat\" }",
        "{ kind = client || kind = server }",
        "{ !(.code = 404) }",
        "{ .code + 1 = 201 }",
        "{ 2s < duration }",
        "{ resource.service.name = `bot` }",
        "{ .\"gen_ai.agent.name\" = \"planner\" }",
        "{ .code > -1 }",
        "{ 2 ^ 3 ^ 2 = 512 && 7 - 2 - 1 = 4 && 1 + 2 * 3 = 7 }",
    ] {
        assert!(matches(query), "{query}");
    }
    for query in [
        "{ .code = \"200\" }",
        "{ .missing != \"x\" }",
        "{ .missing > 1 }",
        "{ .missing != nil }",
        "{ name =~ \"chat\" }",
        "{ status = ok }",
        "{ .tags = \"c\" }",
        "{ false }",
        "{ .code }",
        "{ .code / 0 = 1 }",
    ] {
        assert!(!matches(query), "{query}");
    }
}

/// What Tempo says of the same filters, found by asking it for the same spans.
#[test]
fn a_filter_is_true_of_the_spans_that_tempo_finds() {
    for query in [
        // Of an array `!=` and `!~` want all elements, and the others one.
        "{ .tags != \"c\" && .tags !~ \"c|d\" && .tags =~ \"[ab]\" && .tags > \"a\" }",
        // Of events any may be the one, and the array of one is an array.
        "{ event:name = \"retry\" && event:name != \"retry\" && event.tags != \"p\" }",
        "{ event.attempt + 1 = 3 && -event.attempt = -2 && event.missing = nil }",
        // A duration is no integer when it is divided.
        "{ duration / 1s = 2.5 && duration / 2 = 1.25s && duration * 2 = 5s && 5 / 2 = 2 }",
        "{ .share / .zero > 1 }",
        // What a span does not have, and Tempo keeps as an empty text.
        "{ statusMessage = \"\" && instrumentation:name != \"x\" && instrumentation:version =~ \".*\" }",
        "{ .service.name = \"\" && .service.name != nil && span.service.name = nil }",
        // A root has no parent; all three ways to say so.
        "{ span:parentID = nil && span:parentID = \"0000000000000000\" && span:parentID != \"1f\" }",
        "{ nestedSetParent < 0 && nestedSetParent = -1 && !(nestedSetParent >= 0) }",
        // Ids are compared as numbers are: zeros before them do not count.
        "{ trace:id = \"1f\" && trace:id = \"0000000000000000000000000000001f\" && \"1e\" != trace:id }",
        // `&&` and `||` bind alike.
        "{ false && false || true }",
        // Regular expressions are Go's, and of whole texts.
        "{ .route =~ \"GET /runs/{id}.*\" && .route !~ \"GET\" && name =~ `\\w+ gpt-\\d\\w` }",
        "{ 1d = 24h && 1w = 7d && 1m30s = 90s && 1.5ms = 1500us && .5 = 0.5 && 1e3 = 1000 }",
        "{ .code > minInt && .code < maxInt && .code = 0200 }",
        "{ .code = 200 /* of HTTP */ && .ok // and so on\n }",
        "({ .ok }) with (most_recent = true)",
    ] {
        assert!(matches(query), "{query}");
    }
    for query in [
        "{ .tags != \"a\" }",
        "{ .tags !~ \"a\" }",
        "{ event.tags = \"s\" }",
        // Nothing is compared with what is missing, on whichever side.
        "{ \"x\" != .missing }",
        "{ .missing != .code }",
        "{ .missing = .missing }",
        // Types that differ are neither the same nor not.
        "{ .code != \"200\" }",
        "{ nil = nil || nil != nil || 1 = nil }",
        "{ true || false && false }",
        "{ .code / 0 > 1 }",
        "{ trace:id = \"1F\" }",
        "{ event.missing != nil }",
    ] {
        assert!(!matches(query), "{query}");
    }
}

#[test]
fn errors_name_the_place_and_what_was_expected() {
    for (query, at, word) in [
        ("status = error", 0, "begins with `{`"),
        ("{ status = \"error\" }", 9, "status"),
        ("{ duration > \"2s\" }", 11, "`>`"),
        ("{ .a = }", 7, "expected an attribute"),
        ("{ .a = 1", 8, "`}`"),
        ("{ agent = \"x\" }", 2, "`.agent`"),
        ("{ Duration > 1s }", 2, "`duration`"),
        ("{ .a = \"x }", 7, "does not end"),
        ("{ .a = 5x }", 7, "units"),
        ("{ name =~ \"(\" }", 7, "regular expression"),
        ("{ 1 + 2 }", 2, "true or false"),
        ("{ . }", 2, "key"),
    ] {
        match parse_filter(query) {
            Err(QueryError::Invalid { message, at: Some(place) }) => {
                assert!(place == at && message.contains(word), "{query}: {message} at {place}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
    assert!(parse_filter(&format!("{{ {} .a {} }}", "(".repeat(1_000), ")".repeat(1_000))).is_err());
    assert!(parse_filter(&"x".repeat(20_000)).is_err());
}

#[test]
fn what_a_span_must_have_is_known_to_the_index() {
    let musts = |query: &str| parse_filter(query).unwrap().musts();
    let agent = || Value::String("planner".to_owned());
    assert_eq!(
        musts("{ span.agent = \"planner\" && status = error && duration > 2s && .x != 1 && name =~ \"a\" }"),
        [Must::Attribute("agent".to_owned(), agent()), Must::Status(2), Must::DurationAtLeast(2_000_000_001)]
    );
    assert_eq!(
        musts("{ .agent = \"planner\" }"),
        [Must::AnyOf(vec![
            Must::Attribute("agent".to_owned(), agent()),
            Must::Resource("agent".to_owned(), agent())
        ])]
    );
    assert_eq!(
        musts("{ status = error || name = \"x\" }"),
        [Must::AnyOf(vec![Must::Status(2), Must::Name("x".to_owned())])]
    );
    assert_eq!(musts("{ status = error || name =~ \"x\" }"), []);
    assert_eq!(musts("{ !(status = error) }"), []);
    assert_eq!(musts("{ span:parentID = nil }"), [Must::Root]);
    assert_eq!(musts("{ nestedSetParent < 0 }"), [Must::Root]);
    assert_eq!(musts("{ trace:id = \"1f\" }"), musts("{ trace:id = \"0000000000000000000000000000001f\" }"));
    // Spans without a service's name have the empty one.
    assert_eq!(musts("{ resource.service.name = \"\" }"), []);
}

#[test]
fn what_is_grouped_by_may_be_a_plain_key() {
    for (text, shown) in [
        ("gen_ai.agent.name", ".gen_ai.agent.name"),
        (".a", ".a"),
        ("resource.service.name", "resource.service.name"),
        ("name", "name"),
        ("span:duration", "duration"),
        ("host-1/x", ".host-1/x"),
    ] {
        assert_eq!(parse_field(text).unwrap().to_string(), shown);
    }
    assert!(parse_field("{ a }").is_err() && parse_field("").is_err());
}

use std::borrow::Cow;

use proptest::prelude::*;

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
        (".ok", Datum::Bool(true)),
        (".tags", Datum::List(vec![text("a"), text("b")])),
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
        ("{ status = error } | count() > 2", 19, "pipelines"),
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

proptest! {
    #[test]
    fn no_text_panics_and_what_parses_is_shown_as_it_is(query in "\\{[ a-z.:0-9=<>!~&|()\"`^+*/%-]*\\}|\\PC*") {
        if let Ok(filter) = parse_filter(&query) {
            let shown = filter.to_string();
            let again = parse_filter(&shown).map_err(|error| TestCaseError::fail(format!("{shown}: {error}")))?;
            prop_assert_eq!(again.to_string(), shown);
        }
    }
}

//! The whole grammar: what is a query, how it is shown, and what is refused, where and why.

use proptest::prelude::*;

use super::*;
use crate::query::QueryError;

/// Queries of every production, and how they are shown if that is not how they are written.
const QUERIES: &[(&str, &str)] = &[
    ("", "{}"),
    ("{ }", "{}"),
    ("({ .ok })", "{ .ok }"),
    // Conditions.
    ("{ .a || .b && .c }", ""),
    ("{ .a || (.b && .c) }", ""),
    ("{ .a && (.b && (.c || .d)) && .e }", "{ .a && .b && (.c || .d) && .e }"),
    ("{ (.a || .b) && .c && .d || .e || .f }", "{ .a || .b && .c && .d || .e || .f }"),
    ("{ ((.a && .b) && .c) && .d }", "{ .a && .b && .c && .d }"),
    ("{ !(.a = 1) && !!.b && -.c < -(1 + .d) }", ""),
    ("{ (-.a) * 2 = 1 }", ""),
    ("{ (2 ^ .a) ^ 3 = 2 ^ .a ^ 3 }", ""),
    ("{ .a - (.b - .c) = .a - .b - .c }", ""),
    ("{ .a % 2 = 1 / 2 }", ""),
    ("{ nil != .a }", ""),
    ("{ .a = nil }", ""),
    ("{ .a.b-c/d:e = \"x\\ty\" }", ""),
    ("{ span.\"with space\".\"say \\\"hi\\\"\" = `x` }", "{ span.\"with space.say \\\"hi\\\"\" = \"x\" }"),
    ("{ .\"5\" = 5 && parent.\"span.x\" = 1 && .\"\" = 1 }", ""),
    ("{ parent.a = 1 && parent.span.a = 1 && parent.resource.a = 1 }", ""),
    ("{ event.a = 1 && link.a = 1 && instrumentation.a = 1 && resource.a = 1 }", ""),
    ("{ duration > 1h30m }", "{ duration > 5400000000000ns }"),
    ("{ .a = minInt || .a = maxInt }", "{ .a = minInt || .a = 9223372036854775807 }"),
    ("{ .a = \"\\x41\\u00e4\\101\\U0001F642\\a\" }", "{ .a = \"AäA🙂\\u0007\" }"),
    ("{ span:childCount > 3 && nestedSetLeft < nestedSetRight && nestedSetParent = 1 }", ""),
    (
        "{ trace:rootName = \"x\" && trace:rootService = \"y\" && trace:duration > 1ns }",
        "{ rootName = \"x\" && rootServiceName = \"y\" && traceDuration > 1ns }",
    ),
    ("{ event:timeSinceStart > 1ns && link:spanID != \"\" && parent != 1 }", ""),
    ("{ status != unset && kind = consumer }", ""),
    // Relations.
    ("{ .a } && { .b } || { .c }", ""),
    ("{ .a } && ({ .b } || { .c })", ""),
    ("{ .a } > { .b } >> { .c } ~ { .d }", ""),
    ("{ .a } < ({ .b } << { .c })", ""),
    ("{ .a } !> { .b } !< { .c } !>> { .d } !<< { .e } !~ { .f }", ""),
    ("{ .a } &> { .b } &< { .c } &>> { .d } &<< { .e } &~ { .f }", ""),
    ("{ .a } && { .b } >> { .c }", ""),
    ("(({ .a } && { .b })) >> { .c }", "({ .a } && { .b }) >> { .c }"),
    ("({ .a } | count() > 1) && ({ .b } | { .c })", ""),
    // Pipelines.
    ("{ .a } | { .b } | count() >= 2", ""),
    ("{} | by(.gen_ai.agent.name) | count() != 1 | coalesce()", ""),
    ("{} | select(.gen_ai.request.model, name, resource.service.name)", ""),
    ("by(1 + .a) | max(duration) < 2.5", ""),
    ("select(.a) | min(-.a) = -3", ""),
    ("count() > 1", ""),
    ("avg(.gen_ai.usage.input_tokens) + sum(.a) * 2 > (count() - 1) ^ 2 % 3", ""),
    ("3 - (2 - count()) > 1 / 2 * 4.0", "3 - (2 - count()) > 0.0"),
    ("({ .a } | count()) + ({ .b } | max(.c)) > 2 + 1", "({ .a } | count()) + ({ .b } | max(.c)) > 3"),
    ("({ .a } | count()) = ({ .b } | count()) / ({ .c } | count())", ""),
    // Metrics.
    ("{} | rate()", ""),
    ("{} | { .a } | count_over_time() by (.gen_ai.agent.name, name)", ""),
    ("{} | min_over_time(duration)", ""),
    ("{} | max_over_time(.a) by (.b)", ""),
    ("{} | avg_over_time(.a)", ""),
    ("{} | sum_over_time(.gen_ai.usage.output_tokens)", ""),
    ("{} | histogram_over_time(duration)", ""),
    (
        "{} | quantile_over_time(duration, 0, .5, 0.99, 1) by (.a)",
        "{} | quantile_over_time(duration, 0, 0.5, 0.99, 1) by (.a)",
    ),
    ("{} | compare({ status = error })", "{} | compare({ status = error }, 10)"),
    ("{} | compare({ status = error }, 5, 0, 0)", "{} | compare({ status = error }, 5)"),
    ("{} | compare({ status = error }, 5, 100, 200)", ""),
    ("{} | rate() | topk(3) > 2 | bottomk(1) <= -2.5", ""),
    ("({} | rate()) > 10s", "{} | rate() > 10000000000ns"),
    ("({} | rate() > 1) > 2", ""),
    ("({ status = error } | rate()) / ({} | rate()) * 100", ""),
    (
        "60 * (({} | rate()) - ({} | rate() | topk(1))) + 1 | topk(5) > 1 + 1",
        "60 * (({} | rate()) - ({} | rate() | topk(1))) + 1 | topk(5) > 2",
    ),
    ("-(2) - 20 / ({} | rate())", "-2 - 20 / ({} | rate())"),
    // Hints.
    (
        "{} | rate() with (sample = 0.1, exemplars = true) with (x = \"y\")",
        "{} | rate() with (sample = 0.1, exemplars = true, x = \"y\")",
    ),
];

#[test]
fn every_production_is_a_query_and_is_shown_as_one() {
    for (query, shown) in QUERIES {
        let parsed = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let shown = if shown.is_empty() { query } else { shown };
        assert_eq!(parsed.to_string(), *shown);
        assert_eq!(parse(shown).as_ref(), Ok(&parsed), "{shown}");
    }
    for (name, intrinsic) in field::INTRINSICS {
        let field = Field::Intrinsic(*intrinsic);
        assert_eq!(parse_field(name).as_ref(), Ok(&field));
        assert!(parse(&format!("{{}} | select({name})")).is_ok(), "{name}");
    }
}

/// Queries that are refused, at which byte, and a word of the reason.
const REFUSED: &[(&str, usize, &str)] = &[
    // What is no token.
    ("{ .a = 'x' }", 7, "not known"),
    ("{ .a = \"x\\d\" }", 9, "backticks"),
    ("{ .a = `x }", 7, "does not end"),
    ("{ .a = \"x\ny\" }", 7, "line"),
    ("{ .\"a\\n\" }", 5, "escaped"),
    ("{ .\"a }", 3, "does not end"),
    ("{ .a = 1.5d }", 7, "units"),
    ("{ .a = 0x10 }", 7, "no number"),
    ("{ .a = 300y }", 7, "292 years"),
    ("{ .a = 9223372036854775808 }", 7, "64 bits"),
    ("{ .a /* }", 5, "comment"),
    // Conditions.
    ("{ .a = 1", 8, "`}`"),
    ("{ (.a = 1 }", 10, "`)`"),
    ("{ .a == 1 }", 6, "expected an attribute"),
    ("{ agent = 1 }", 2, "`.agent`"),
    ("{ trace:status = ok }", 2, "not known"),
    ("{ nil }", 2, "true or false"),
    ("{ duration }", 2, "true or false"),
    ("{ nil > 1 }", 6, "`>`"),
    ("{ .a && 1 }", 5, "`&&`"),
    ("{ .a + \"x\" = 1 }", 5, "`+`"),
    ("{ status > ok }", 9, "`>`"),
    ("{ true < false }", 7, "`<`"),
    ("{ kind = error }", 7, "`=`"),
    ("{ name = 1 }", 7, "`=`"),
    ("{ span:childCount = \"1\" }", 18, "`=`"),
    ("{ !name }", 2, "`!`"),
    ("{ -name = \"x\" }", 2, "`-`"),
    ("{ .a =~ .b }", 5, "quotes"),
    ("{ .a =~ 1 }", 5, "`=~`"),
    ("{ .a !~ \"[\" }", 5, "regular expression"),
    ("{ status = nil }", 9, "never nil"),
    ("{ nil = resource.service.name }", 6, "never nil"),
    // Relations.
    ("{} + {}", 3, "`+`"),
    ("{} = {}", 3, "`=`"),
    ("{} =~ {}", 3, "`=~`"),
    ("{} && count()", 3, "`&&`"),
    ("{} > 1", 3, "`>`"),
    ("{} &&", 5, "expected a filter"),
    ("({}", 3, "`)`"),
    // Pipelines.
    ("status = error", 0, "begins with `{`"),
    ("{} |", 4, "expected a filter"),
    ("{} | count()", 0, "compared"),
    ("count()", 0, "compared"),
    ("({} | count()) * ({} | count())", 0, "compared"),
    ("1 + 2", 0, "compared"),
    ("1 > 2", 2, "one has to be"),
    ("{} | 5", 5, "no stage"),
    ("{} | count() | { .a }", 0, "compared"),
    ("5 | {}", 0, "no stage"),
    ("count() > 1 && {}", 12, "stage"),
    ("({} | count()) * 2 > 2", 15, "`*`"),
    ("2 < ({} | count())", 2, "`<`"),
    ("coalesce()", 0, "before"),
    ("(coalesce())", 0, "before"),
    ("{} | count(1) > 1", 11, "`)`"),
    ("{} | max() > 1", 9, "expected an attribute"),
    ("{} | max(name) > 1", 9, "numbers"),
    ("{} | max(1) > 1", 9, "same for all"),
    ("{} | by(1)", 8, "same for all"),
    ("{} | by()", 8, "expected an attribute"),
    ("{} | select()", 12, "expected an attribute"),
    ("{} | select(1)", 12, "expected an attribute"),
    ("{} | mean(.a) > 1", 5, "no `mean(..)`"),
    ("{} | max(.a) > \"x\"", 15, "expected"),
    // Metrics.
    ("rate()", 0, "after `|`"),
    ("{} | topk(5)", 5, "metrics"),
    ("{} | rate() | topk(0)", 19, "at least 1"),
    ("{} | rate() | topk(1.5)", 19, "whole"),
    ("{} | rate() | { .a }", 14, "after a metric"),
    ("{} | rate() + 5", 12, "the end"),
    ("{} | rate() > ({} | rate())", 14, "number"),
    ("{} | max_over_time()", 19, "expected an attribute"),
    ("{} | max_over_time(.a + 1)", 22, "`)`"),
    ("{} | quantile_over_time(.a)", 26, "quantile"),
    ("{} | quantile_over_time(.a, 50)", 28, "0 to 1"),
    ("{} | rate() by ()", 16, "expected an attribute"),
    ("{} | compare({}) by (.a)", 17, "every attribute"),
    ("{} | compare({}, 0)", 17, "values"),
    ("{} | compare({}, 5, 1)", 21, "`,`"),
    ("{} | compare({}, 5, 2, 1)", 20, "earlier"),
    ("{} | compare({}) | topk(1)", 17, "last"),
    ("({} | compare({})) + 1", 19, "last"),
    ("({} | rate()) ^ 2", 14, "`^`"),
    ("({} | rate()) * 10s", 14, "duration"),
    ("({} | rate()) > 1s * 2", 19, "duration"),
    ("({} | rate()) * (1 / 0)", 19, "no number"),
    ("({} | rate()) && ({} | rate())", 14, "`&&`"),
    ("({} | rate()) + {}", 14, "`+`"),
    // Hints.
    ("{} with sample", 8, "`(`"),
    ("{} with ()", 9, "name of a hint"),
    ("{} with (sample)", 15, "`=`"),
    ("{} with (sample = .a)", 18, "value"),
    ("{} {}", 3, "end of the query"),
];

#[test]
fn what_is_no_query_is_refused_with_its_place_and_the_reason() {
    for (query, at, word) in REFUSED {
        match parse(query) {
            Err(QueryError::Invalid { message, at: Some(place) }) => {
                assert!(place == *at && message.contains(word), "{query}: {message} at {place}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
}

#[test]
fn what_is_not_answered_yet_is_told_apart_from_what_is_wrong() {
    for (query, at, word) in [
        ("{ .a } && { .b }", 7, "relations"),
        ("{ .a } >> { .b }", 7, "relations"),
        ("{ .a } | count() > 2", 7, "pipelines"),
        ("count() > 2", 0, "pipelines"),
        ("{ .a } | rate()", 7, "pipelines"),
        ("60 * ({ .a } | rate())", 0, "metrics"),
        ("{ .a && traceDuration > 1s }", 8, "other spans"),
        ("{ parent.a = 1 }", 2, "other spans"),
        ("{ span:childCount = 0 }", 2, "other spans"),
        ("{ nestedSetParent = 1 }", 2, "other spans"),
    ] {
        match parse_filter(query) {
            Err(QueryError::Unsupported { message, at: Some(place) }) => {
                assert!(place == at && message.contains(word), "{query}: {message} at {place}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
    for wrong in ["{ .a } && ", "{ traceDuration > \"x\" }", "{ .a } | rate() | topk(0)"] {
        assert!(matches!(parse_filter(wrong), Err(QueryError::Invalid { .. })), "{wrong}");
    }
}

#[test]
fn what_nests_too_deep_or_has_too_many_parts_is_refused() {
    let many = |count: usize, part: &str, between: &str| vec![part; count].join(between);
    for deep in [
        format!("{{ {}.a{} }}", "(".repeat(100), ")".repeat(100)),
        format!("{{ {}.a }}", "!".repeat(100)),
        format!("{}{{}}{}", "(".repeat(100), ")".repeat(100)),
        format!("{}5 + ({{}} | rate())", "-".repeat(100)),
        format!("{{ {} }}", many(1_002, ".a", "||")),
        format!("{{ {} = 1 }}", many(200, ".a", " + ")),
        format!("{{ {} }}", many(100, ".a && .b", " || ")),
        many(1_002, "{}", "&&"),
        "x".repeat(20_000),
    ] {
        assert!(matches!(parse(&deep), Err(QueryError::Invalid { .. })), "{:.30}", deep);
    }
    // A list of ids is long and not deep: the stack of a test is not larger than that of a server's thread.
    let long = format!("{{ {} }}", many(500, ".a = 1", " || "));
    let filter = parse_filter(&long).unwrap();
    assert_eq!(filter.to_string(), long);
    assert!(filter.compile().is_ok() && filter.musts().len() == 1);
    assert!(parse_filter(&format!("{{ {} }}", many(1_000, ".b", "&&"))).unwrap().compile().is_ok());
}

/// Texts that are queries more often than not.
fn query() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just(".a"),
        Just("span.\"b c\""),
        Just("duration"),
        Just("status"),
        Just("1"),
        Just("2.5"),
        Just("3s"),
        Just("\"x\""),
        Just("nil"),
        Just("error"),
        Just("true"),
        Just("parent.a"),
        Just("event:name"),
        Just("minInt"),
    ]
    .prop_map(str::to_owned);
    let condition = value.prop_recursive(4, 16, 2, |inner| {
        let op =
            prop::sample::select(vec!["=", "!=", "<", ">=", "=~", "&&", "||", "+", "-", "*", "/", "%", "^"]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            (prop::sample::select(vec!["!", "-"]), inner).prop_map(|(sign, a)| format!("{sign}{a}")),
        ]
    });
    let leaf = prop_oneof![
        condition.prop_map(|condition| format!("{{ {condition} }}")),
        prop::sample::select(vec![
            "{}",
            "count()",
            "max(.a)",
            "2",
            "-3.5",
            "{} | rate()",
            "{} | count_over_time() by (.a)",
            "by(.a)",
            "{} | quantile_over_time(.a, 0.5)",
            "select(name)",
            "coalesce()",
            "count() > 1",
            "{} | compare({}, 2)",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        let op = prop::sample::select(vec![
            "&&",
            "||",
            ">",
            ">>",
            "<",
            "~",
            "!>>",
            "!~",
            "&<",
            "&~",
            "+",
            "-",
            "*",
            "/",
            "^",
            "=",
            ">=",
            "|",
            "| topk(2) |",
        ]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.prop_map(|a| format!("{a} with (x = 1)")),
        ]
    })
}

fn is_shown_as_it_is(query: &str) -> Result<(), TestCaseError> {
    if let Ok(parsed) = parse(query) {
        let shown = parsed.to_string();
        let again =
            parse(&shown).map_err(|error| TestCaseError::fail(format!("{query}: {shown}: {error}")))?;
        prop_assert_eq!(again, parsed);
    }
    if let Ok(filter) = parse_filter(query) {
        let shown = filter.to_string();
        prop_assert_eq!(parse_filter(&shown), Ok(filter));
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_text_panics_and_what_parses_is_shown_as_it_is(query in "\\{[ a-z.:0-9=<>!~&|()\"`^+*/%-]*\\}|\\PC*") {
        is_shown_as_it_is(&query)?;
    }

    #[test]
    fn what_is_put_together_of_queries_is_shown_as_it_is(query in query()) {
        is_shown_as_it_is(&query)?;
    }
}

//! Filters: what they are in TraceQL and in SQL, and which spans they let through.

use serde_json::json;

use super::matching::Ready;
use super::*;

fn span() -> FoundSpan {
    FoundSpan {
        trace_id: format!("{:032x}", 1),
        span_id: format!("{:016x}", 1),
        parent_span_id: None,
        service: "shop".to_owned(),
        name: "chat gpt".to_owned(),
        kind: Kind::Client,
        start_unix_nano: 1_790_000_000_000_000_000,
        duration: Duration::from_millis(1_500),
        status: Status::Error,
        status_message: "gone".to_owned(),
        attributes: [
            ("agent", json!("planner")),
            ("tokens", json!(42)),
            ("digits", json!("\u{0663}\u{0664}")),
            ("ratio", json!(0.5)),
            ("streamed", json!(true)),
            ("reasons", json!(["stop", "length"])),
            ("none", json!([])),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into(),
        resource: [("service.name", json!("shop")), ("region", json!("eu")), ("agent", json!("other"))]
            .map(|(key, value)| (key.to_owned(), value))
            .into(),
    }
}

#[test]
fn filters_let_through_what_they_say() {
    let span = span();
    let cases = [
        (Filter::All, true, "{}"),
        (attribute("agent").eq("planner"), true, "{ .agent = \"planner\" }"),
        (resource_attribute("agent").eq("other"), true, "{ resource.agent = \"other\" }"),
        (span_attribute("region").exists(), false, "{ span.region != nil }"),
        (attribute("region").ne("us"), true, "{ .region != \"us\" }"),
        (attribute("nothing").ne("us"), false, "{ .nothing != \"us\" }"),
        (attribute("nothing").missing(), true, "{ .nothing = nil }"),
        (attribute("none").missing(), true, "{ .none = nil }"),
        (attribute("tokens").gt(41.5), true, "{ .tokens > 41.5 }"),
        (attribute("tokens").eq("42"), false, "{ .tokens = \"42\" }"),
        (attribute("ratio").le(1), true, "{ .ratio <= 1 }"),
        (attribute("streamed").eq(true), true, "{ .streamed = true }"),
        (attribute("reasons").eq("length"), true, "{ .reasons = \"length\" }"),
        (attribute("reasons").ne("length"), false, "{ .reasons != \"length\" }"),
        (attribute("digits").matches(r"\d+"), false, r#"{ .digits =~ "\\d+" }"#),
        (attribute("digits").matches(r"\D[^\d\s]"), true, r#"{ .digits =~ "\\D[^\\d\\s]" }"#),
        (attribute("digits").matches(r"\W+"), true, r#"{ .digits =~ "\\W+" }"#),
        (attribute("reasons").matches("l.*"), true, "{ .reasons =~ \"l.*\" }"),
        (attribute("reasons").not_matches("x.*"), true, "{ .reasons !~ \"x.*\" }"),
        (name().matches("chat"), false, "{ name =~ \"chat\" }"),
        (
            name().matches("chat .*") & kind().eq(Kind::Client),
            true,
            "{ (name =~ \"chat .*\" && kind = client) }",
        ),
        (
            status().ne(Status::Error) | duration().ge(Duration::from_secs(1)),
            true,
            "{ (status != error || duration >= 1000000000ns) }",
        ),
        (status_message().eq("a \"b\"\n"), false, "{ statusMessage = \"a \\\"b\\\"\\n\" }"),
        (service().eq("shop") & Filter::All, true, "{ resource.service.name = \"shop\" }"),
        (attribute("a b\"").exists(), false, "{ .\"a b\\\"\" != nil }"),
    ];
    for (filter, wanted, shown) in cases {
        assert_eq!(filter.to_string(), shown);
        assert_eq!(Ready::new(&filter).unwrap().matches(&span), wanted, "{shown}");
    }
    assert!(Ready::new(&name().matches("(")).is_err_and(|error| error.is_config()));
}

#[test]
fn texts_of_others_stay_texts_in_sql() {
    let query = SpanQuery::new().filter(name().eq("a' OR 1 = 1 --\\")).since(5).until(9).limit(7);
    let sql = clickhouse::statement("otel_traces", &query);
    assert!(sql.contains(r"SpanName = 'a\' OR 1 = 1 --\\'"), "{sql}");
    assert!(
        sql.contains("Timestamp >= fromUnixTimestamp64Nano(toInt64(5))") && sql.contains("LIMIT 7 "),
        "{sql}"
    );
    for wrong in ["a;b", "a.b.c", "", "a.", "`a`"] {
        let error = Client::clickhouse("http://127.0.0.1:8123").unwrap().table(wrong).unwrap_err();
        assert!(error.is_config() && error.to_string().contains(wrong));
    }
    assert!(Client::tempo("http://127.0.0.1:3200").unwrap().table("t").is_err());
    assert!(Client::jaeger("127.0.0.1:16686").unwrap_err().to_string().contains("http://HOST:PORT"));
}

/// Texts that are filters, and what they are shown as if that is not how they are written.
#[test]
fn a_text_in_traceql_is_a_filter() {
    let same = [
        "{}",
        "{ .agent = \"planner\" }",
        "{ span.a = 1 }",
        "{ resource.a.b-c/d != 0.5 }",
        "{ .a != nil }",
        "{ .a = nil }",
        "{ name =~ \"ch.*\" }",
        "{ statusMessage !~ \"x\" }",
        "{ .\"5\" = 5 }",
        "{ .\"say \\\"hi\\\" \\\\\" = \"\\n\\t\" }",
        "{ .\"line\nfeed\" = -5 }",
        "{ (.a = true && .b >= -0.5) }",
    ];
    let others = [
        ("", "{}"),
        (" { true } ", "{}"),
        ("{ .ok }", "{ .ok = true }"),
        ("{ 5 < .a }", "{ .a > 5 }"),
        ("{ nil != .a }", "{ .a != nil }"),
        ("{ .a = 1 || .b = 2 && .c = 3 }", "{ ((.a = 1 || .b = 2) && .c = 3) }"),
        ("{ .a = 1 || (.b = 2 && .c = 3) }", "{ (.a = 1 || (.b = 2 && .c = 3)) }"),
        ("{ duration>1h30m&&status=error }", "{ (duration > 5400000000000ns && status = error) }"),
        (
            "{ span:duration >= 1.5s && span:kind = client }",
            "{ (duration >= 1500000000ns && kind = client) }",
        ),
        ("{ duration < 1d12h }", "{ duration < 129600000000000ns }"),
        ("{ .wait > 2s }", "{ .wait > 2000000000 }"),
        ("{ .a = `raw \\d` }", "{ .a = \"raw \\\\d\" }"),
        ("{ .a = 1e3 }", "{ .a = 1000.0 }"),
        ("{ span.\"with space\".x = 1 }", "{ span.\"with space.x\" = 1 }"),
    ];
    for (text, shown) in same.iter().map(|text| (*text, *text)).chain(others) {
        let filter: Filter = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.to_string(), shown, "{text}");
        assert_eq!(shown.parse::<Filter>().unwrap(), filter, "{shown}");
    }
}

#[test]
fn a_text_that_not_every_backend_understands_is_refused_with_its_place() {
    let cases = [
        ("{ .a = 1 } >> { .b = 2 }", 11, "relations"),
        ("{ .a = 1 } | count() > 1", 11, "pipelines"),
        ("{ !(.a = 1) }", 2, "turn the comparison round"),
        ("{ .a + 1 = 2 }", 5, "arithmetic"),
        ("{ .a = .b }", 2, "two fields"),
        ("{ 1 = 1 }", 2, "no field"),
        ("{ rootName = \"x\" }", 2, "rootName"),
        ("{ event.a = 1 }", 2, "event.a"),
        ("{ name = 5 }", 2, "name cannot"),
        ("{ status > error }", 2, "status cannot"),
        ("{ duration =~ \"x\" }", 2, "duration cannot"),
        ("{ .a = 1", 8, "ends where `}`"),
        ("{ .a = }", 7, "field or a value"),
        ("{ .a = \"x }", 7, "does not end"),
        ("{ .a = 5x }", 7, "units"),
        ("{ .a = 1.5d }", 7, "units"),
        ("{ .a = 99999999999999999999 }", 7, "no number"),
        ("{ . = 1 }", 3, "key"),
        ("{ name }", 2, "expected a field"),
        ("{ false }", 2, "expected a field"),
        ("x", 0, "`{`"),
    ];
    for (text, at, word) in cases {
        let error = text.parse::<Filter>().unwrap_err();
        assert!(error.is_config());
        let error = error.to_string();
        assert!(error.contains(&format!("at byte {at}:")) && error.contains(word), "{text}: {error}");
    }
    let deep = format!("{{ {}.a = 1{} }}", "(".repeat(65), ")".repeat(65));
    assert!(deep.parse::<Filter>().unwrap_err().to_string().contains("64 deep"));
    let long = |conditions: usize| format!("{{ {} }}", vec![".a = 1"; conditions].join(" || "));
    assert!(long(1_000).parse::<Filter>().is_ok());
    assert!(long(1_001).parse::<Filter>().unwrap_err().to_string().contains("1000 conditions"));
}

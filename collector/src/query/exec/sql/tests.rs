//! SQL over a real store, against what was sent: 3,000 traces of an agent, its model call and its tool, a span every
//! millisecond.

use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::query::exec::tests::queries;
use crate::query::request::CountRequest;

fn ask(queries: &Queries, q: &str) -> Result<SqlAnswer, QueryError> {
    queries.sql(&SqlRequest { q: q.to_owned(), limit: None }, &queries.control())
}

/// The rows, a text each: cells between spaces, `null` for nothing.
fn rows(answer: &SqlAnswer) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut out = Vec::new();
    for batch in &answer.batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        out.extend((0..batch.num_rows()).map(|row| {
            columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ")
        }));
    }
    out
}

fn told(queries: &Queries, q: &str) -> Vec<String> {
    rows(&ask(queries, q).unwrap_or_else(|error| panic!("{q}: {error}")))
}

/// Feature: L3
#[test]
fn the_query_of_the_list_of_features_runs_as_written() {
    let (_dir, queries) = queries();
    let q = "SELECT attributes->>'gen_ai.agent.name' AS agent, COUNT(*) AS requests, AVG(duration_ms) AS avg_duration \
             FROM spans WHERE attributes->>'gen_ai.agent.name' IS NOT NULL GROUP BY agent";
    let mut found = told(&queries, q);
    found.sort();
    // Durations are 0 to 99 us, over and over; of each fourth number those that leave the same rest.
    let wanted = ["agent-0 2250 0.048", "agent-1 2250 0.049", "agent-2 2250 0.05", "agent-3 2250 0.051"];
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(&wanted[..wanted.len() - 1]), "{found}, not {wanted}");
    }
    let names: Vec<_> =
        ask(&queries, q).unwrap().schema.fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(
        (found.len(), names),
        (4, vec!["agent".to_owned(), "requests".to_owned(), "avg_duration".to_owned()])
    );
}

/// Queries and their rows.
const CASES: &[(&str, &[&str])] = &[
    ("SELECT COUNT(*) FROM spans", &["9000"]),
    ("SELECT count(*) FROM logs", &["0"]),
    ("SELECT count(*) FROM metrics", &["0"]),
    ("SELECT count(*) FROM spans WHERE status = 'error'", &["900"]),
    ("SELECT count(*) FROM spans WHERE status = 'nothing'", &["0"]),
    ("SELECT count(*) FROM spans WHERE parent_span_id IS NULL", &["3000"]),
    ("SELECT count(*) FROM spans WHERE name IN ('chat', 'execute_tool')", &["6000"]),
    ("SELECT count(*) FROM spans WHERE attributes->>'rare' = 'yes' OR name = 'execute_tool'", &["3001"]),
    ("SELECT attributes->>'number' FROM spans WHERE attributes->>'rare' = 'yes'", &["4321"]),
    ("SELECT count(*) FROM spans WHERE attributes ? 'rare'", &["1"]),
    (
        "SELECT attributes->'rare', attributes->>'nothing', attributes->'number' FROM spans WHERE attributes ? 'rare'",
        &["\"yes\" null 4321"],
    ),
    (
        "SELECT sum((attributes->>'number')::bigint) FROM spans WHERE (attributes->>'number')::bigint < 10",
        &["45"],
    ),
    ("SELECT count(*), min(attributes->>'zero') FROM spans WHERE attributes->>'zero' = '-0.0'", &["9 -0.0"]),
    (
        "SELECT name, kind, status, status_message, duration_ns, duration_ms FROM spans WHERE span_id = '0000000000000015'",
        &["execute_tool internal error failed 20000 0.02"],
    ),
    (
        "SELECT trace_id, parent_span_id, service, resource->>'service.name', resource FROM spans WHERE span_id = '0000000000000015'",
        &["00000000000000000000000000000007 0000000000000013 bot bot {\"service.name\":\"bot\"}"],
    ),
    ("SELECT count(*) FROM spans WHERE trace_id = '00000000000000000000000000000007'", &["3"]),
    ("SELECT count(*) FROM spans WHERE start_time < '2026-09-21T14:13:20.010Z'", &["10"]),
    (
        "SELECT count(*) FROM spans WHERE start_time >= '2026-09-21T14:13:20.010Z' AND start_time < '2026-09-21T14:13:20.020Z'",
        &["10"],
    ),
    ("SELECT count(*) FROM spans WHERE start_time > '2026-09-22' AND start_time < '2026-09-21'", &["0"]),
    (
        "SELECT date_trunc('second', start_time), count(*) FROM spans GROUP BY 1 ORDER BY 1 LIMIT 1",
        &["2026-09-21T14:13:20Z 1000"],
    ),
    ("SELECT count(*) FROM spans WHERE duration_ms >= 0.099", &["90"]),
    ("SELECT count(*) FROM spans WHERE end_time - start_time >= interval '99 microseconds'", &["90"]),
    (
        "SELECT start_time, end_time FROM spans ORDER BY start_time DESC LIMIT 1",
        &["2026-09-21T14:13:28.999Z 2026-09-21T14:13:28.999099Z"],
    ),
    // A parent, its child and theirs, by joins; and what a subquery, a CTE and a window tell.
    (
        "SELECT count(*) FROM spans c JOIN spans p ON c.parent_span_id = p.span_id AND c.trace_id = p.trace_id WHERE p.attributes->>'gen_ai.operation.name' = 'invoke_agent' AND c.attributes->>'gen_ai.operation.name' = 'chat'",
        &["3000"],
    ),
    (
        "WITH a AS (SELECT attributes->>'gen_ai.agent.name' agent, duration_ns d FROM spans) SELECT agent, max(d) FROM a WHERE agent = 'agent-1' GROUP BY agent",
        &["agent-1 97000"],
    ),
    (
        "SELECT count(*) FROM (SELECT row_number() OVER (PARTITION BY trace_id ORDER BY start_time) n FROM spans) WHERE n = 3",
        &["3000"],
    ),
    (
        "SELECT count(*) FROM (SELECT * FROM spans) s WHERE s.attributes->>'gen_ai.agent.name' = 'agent-3'",
        &["2250"],
    ),
    ("SELECT approx_percentile_cont(duration_ms, 1.0) FROM spans", &["0.099"]),
    ("SELECT count(DISTINCT attributes->>'gen_ai.agent.name') FROM spans", &["4"]),
    (
        "SELECT name FROM spans GROUP BY name HAVING count(*) FILTER (WHERE status = 'error') >= 300 ORDER BY name DESC LIMIT 1",
        &["invoke_agent"],
    ),
    (
        "SELECT attributes->>'gen_ai.agent.name' || '!' FROM spans ORDER BY attributes->>'gen_ai.agent.name' DESC, span_id LIMIT 1",
        &["agent-3!"],
    ),
    ("SELECT '{\"a\":[1,{\"b\":\"c\"}]}'->'a'->1->>'b'", &["c"]),
    ("SELECT '{\"a\":[1,2]}'->'a'->> -1, '[\"x\"]' ? 'x'", &["2 true"]),
];

#[test]
fn answers_are_those_of_what_was_sent() {
    let (_dir, queries) = queries();
    for (q, wanted) in CASES {
        assert_eq!(told(&queries, q), *wanted, "{q}");
    }
}

/// What tells where a value may be is used: a rare value of an attribute, a trace, a time.
#[test]
fn what_cannot_match_is_not_read() {
    let (_dir, queries) = queries();
    for q in [
        "SELECT * FROM spans WHERE attributes->>'rare' = 'yes'",
        "SELECT count(*) FROM spans WHERE attributes->>'number' = '17'",
        "SELECT count(*) FROM spans s WHERE s.attributes->>'rare' IN ('yes', 'no') AND s.attributes->>'number' IS NOT NULL",
        "SELECT count(*) FROM (SELECT attributes->>'rare' AS rare, name FROM spans) WHERE rare = 'yes'",
        "SELECT name FROM spans WHERE trace_id = '00000000000000000000000000000007'",
        "SELECT name FROM spans WHERE start_time < '2026-09-21T14:13:20.010Z'",
    ] {
        let scanned = ask(&queries, q).unwrap().scanned;
        assert!(scanned > 0 && scanned <= 5_048, "{q}: {scanned} of 9000 spans were looked at");
    }
}

/// The same condition in both languages finds as many spans.
#[test]
fn sql_and_traceql_agree() {
    let (_dir, queries) = queries();
    for (sql, traceql) in [
        ("attributes->>'gen_ai.agent.name' = 'agent-1'", "{ span.gen_ai.agent.name = \"agent-1\" }"),
        ("attributes->>'number' = '17'", "{ span.number = 17 }"),
        ("attributes->>'rare' IS NULL", "{ span.rare = nil }"),
        (
            "attributes->>'gen_ai.agent.name' LIKE 'agent-%' AND status <> 'error'",
            "{ span.gen_ai.agent.name =~ \"agent-.*\" && status != error }",
        ),
        ("attributes->>'gen_ai.agent.name' <> 'agent-1'", "{ span.gen_ai.agent.name != \"agent-1\" }"),
        (
            "resource->>'service.name' = 'bot' AND kind = 'internal'",
            "{ resource.service.name = \"bot\" && kind = internal }",
        ),
        ("resource->>'service.name' = 'other'", "{ resource.service.name = \"other\" }"),
        ("duration_ms > 0.05 AND duration_ms <= 0.07", "{ duration > 50us && duration <= 70us }"),
    ] {
        let request = CountRequest { q: traceql.to_owned(), ..CountRequest::default() };
        let wanted = queries.count(&request, &queries.control()).unwrap().count;
        assert_eq!(
            told(&queries, &format!("SELECT count(*) FROM spans WHERE {sql}")),
            [wanted.to_string()],
            "{sql}"
        );
    }
}

#[test]
fn wrong_queries_tell_what_is_wrong_and_where() {
    let (_dir, queries) = queries();
    let invalid = |q: &str| match ask(&queries, q) {
        Err(QueryError::Invalid { message, at }) => (message, at),
        other => panic!("{q}: {other:?}"),
    };
    let (message, at) = invalid("SELECT * FROM spans\nWHERE name == ");
    assert_eq!(at, Some(34), "{message}");
    let (message, at) = invalid("SELECT name\nFROM spans WHERE ) = 1");
    assert_eq!(at, Some(29), "{message}");
    assert!(invalid("SELECT nam FROM spans").0.contains("nam"));
    assert_eq!(
        invalid("SELECT * FROM traces").0,
        "table 'traces' not found; there are spans, logs and metrics"
    );
    assert!(invalid("").0.contains("empty") || invalid("").0.contains("SQL"));
    assert!(invalid("SELECT (attributes->>'gen_ai.agent.name')::bigint FROM spans").0.contains("agent-"));
    // Reading only, and nothing but the tables.
    for q in [
        "CREATE TABLE a AS SELECT * FROM spans",
        "DROP TABLE spans",
        "INSERT INTO spans SELECT * FROM spans",
        "DELETE FROM spans",
        "COPY spans TO '/tmp/never.csv'",
        "SET datafusion.execution.batch_size = 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "SELECT * FROM '/etc/passwd'",
        "SELECT 1; SELECT 2",
    ] {
        let refused = ask(&queries, q);
        assert!(
            matches!(refused, Err(QueryError::Invalid { .. } | QueryError::Unsupported { .. })),
            "{q}: {refused:?}"
        );
    }
}

#[test]
fn rows_time_and_memory_have_bounds() {
    let (_dir, queries) = queries();
    let request = SqlRequest { q: "SELECT name FROM spans".to_owned(), limit: Some(10) };
    let answer = queries.sql(&request, &queries.control()).unwrap();
    assert_eq!((rows(&answer).len(), answer.more), (10, true));
    let request = SqlRequest { q: "SELECT name FROM spans LIMIT 10".to_owned(), limit: Some(10) };
    assert!(!queries.sql(&request, &queries.control()).unwrap().more);

    let endless =
        "SELECT count(*) FROM spans a, spans b, spans c WHERE a.duration_ns + b.duration_ns <> c.duration_ns";
    let limits = super::super::Limits { timeout: Duration::from_millis(300), ..queries.limits };
    let short = Queries::new(Arc::clone(&queries.engine), limits);
    assert_eq!(ask(&short, endless).unwrap_err(), QueryError::TimedOut);
    let cancelled = queries.control();
    cancelled.cancel();
    let request = SqlRequest { q: endless.to_owned(), limit: None };
    assert_eq!(queries.sql(&request, &cancelled).unwrap_err(), QueryError::Cancelled);

    let limits = super::super::Limits { memory: 64 << 10, ..queries.limits };
    let small = Queries::new(Arc::clone(&queries.engine), limits);
    let error = ask(&small, "SELECT * FROM spans ORDER BY duration_ms, span_id").unwrap_err();
    assert!(
        error.to_string().contains("memory") || matches!(error, QueryError::TooMuchMemory { .. }),
        "{error}"
    );
}

#[test]
fn tables_describe_themselves() {
    let (_dir, queries) = queries();
    let tables = told(&queries, "SHOW TABLES").join("\n");
    for table in ["spans", "logs", "metrics"] {
        assert!(tables.contains(&format!(" {table} ")), "{tables}");
        let columns = told(&queries, &format!("DESCRIBE {table}")).join("\n");
        assert!(
            columns.contains("attributes Utf8View") && columns.contains("resource Utf8View"),
            "{columns}"
        );
    }
    assert!(told(&queries, "EXPLAIN SELECT count(*) FROM spans").join("\n").contains("TableScan: spans"));
}

/// Groups are counted where rows are read, and come to what DataFusion makes of all rows.
#[test]
fn what_is_counted_where_it_is_read_is_the_same() {
    let (_dir, queries) = queries();
    let numbers = "COUNT(*) a, COUNT(1) b, COUNT(duration_ms) c, AVG(duration_ms) d, SUM(duration_ns) e, AVG(duration_ns) f, \
                   MIN(duration_ms) g, MAX(duration_ns) h";
    for (key, rest) in [
        ("attributes->>'gen_ai.agent.name'", ""),
        ("attributes->>'gen_ai.agent.name'", "WHERE attributes->>'gen_ai.agent.name' IS NOT NULL"),
        ("attributes->>'rare'", ""),
        ("attributes->>'rare'", "WHERE attributes->>'rare' IS NOT NULL"),
        ("attributes->>'nothing'", ""),
        ("attributes->>'nothing'", "WHERE attributes->>'nothing' IS NOT NULL"),
        ("attributes->>'number'", "WHERE start_time < '2026-09-21T14:13:20.050Z'"),
        (
            "attributes->>'zero'",
            "WHERE start_time >= '2026-09-21T14:13:22Z' AND start_time <= '2026-09-21T14:13:24.999Z'",
        ),
        ("name", "WHERE start_time > '2026-09-21T14:13:20.010Z'"),
        ("status", ""),
        ("resource->>'service.name'", ""),
        ("kind", "WHERE start_time < '2026-01-01'"),
    ] {
        let counted = format!("SELECT {key} k, {numbers} FROM spans {rest} GROUP BY k ORDER BY k");
        let plan = told(&queries, &format!("EXPLAIN {counted}")).join("\n");
        assert!(plan.contains("TableScan: counted"), "{plan}");
        // A condition that holds of all rows, and of which only DataFusion knows what it means.
        let joined = if rest.is_empty() { "WHERE" } else { "AND" };
        let hashed = format!(
            "SELECT {key} k, {numbers} FROM spans {rest} {joined} trace_id || 'x' <> 'y' GROUP BY k ORDER BY k"
        );
        let plan = told(&queries, &format!("EXPLAIN {hashed}")).join("\n");
        assert!(!plan.contains("TableScan: counted"), "{plan}");
        let (counted, hashed) = (told(&queries, &counted), told(&queries, &hashed));
        assert_eq!(counted.len(), hashed.len(), "{key} {rest}");
        for (counted, hashed) in counted.iter().zip(&hashed) {
            let cells = counted.split(' ').zip(hashed.split(' '));
            for (counted, hashed) in cells {
                let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
                let same = counted == hashed
                    || counted.parse().ok().zip(hashed.parse().ok()).is_some_and(|(a, b)| near(a, b));
                assert!(same, "{key} {rest}: {counted}, not {hashed}");
            }
        }
    }
    // Through subqueries and other names; and what is counted in other ways is left to DataFusion.
    let inner = "SELECT agent, count(*) AS n FROM (SELECT attributes->>'gen_ai.agent.name' AS agent, name FROM spans s) x GROUP BY agent HAVING count(*) > 1 ORDER BY agent LIMIT 1";
    assert_eq!(told(&queries, inner), ["agent-0 2250"]);
    for other in [
        "SELECT name, count(DISTINCT status) FROM spans GROUP BY name",
        "SELECT name, count(*) FILTER (WHERE status = 'error') FROM spans GROUP BY name",
        "SELECT name, status, count(*) FROM spans GROUP BY name, status",
        "SELECT name, stddev(duration_ms) FROM spans GROUP BY name",
        "SELECT name, count(*) FROM (SELECT name FROM spans LIMIT 10) GROUP BY name",
        "SELECT name, count(status_message) FROM spans GROUP BY name",
    ] {
        let plan = told(&queries, &format!("EXPLAIN {other}")).join("\n");
        assert!(!plan.contains("TableScan: counted"), "{plan}");
        assert!(!told(&queries, other).is_empty(), "{other}");
    }
}

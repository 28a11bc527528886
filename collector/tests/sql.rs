//! SQL, asked of a server as its users ask.
#![allow(clippy::unwrap_used)]

mod common;

use serde_json::json;
use tempfile::tempdir;

use self::common::{Server, ask, post};

/// Two spans of an agent and one of none.
async fn served() -> (Server, tempfile::TempDir) {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    let span = |id: u32, agent: Option<&str>, millis: u64| {
        let attributes = agent.map(|agent| json!({"key": "agent", "value": {"stringValue": agent}}));
        json!({"traceId": format!("{id:032x}"), "spanId": format!("{id:016x}"), "name": "run",
            "startTimeUnixNano": "1790000000000000000", "attributes": attributes.into_iter().collect::<Vec<_>>(),
            "endTimeUnixNano": (1_790_000_000_000_000_000 + millis * 1_000_000).to_string()})
    };
    let spans = [span(1, Some("plan, \"ner\""), 10), span(2, Some("plan, \"ner\""), 30), span(3, None, 50)];
    let body = json!({"resourceSpans": [{"scopeSpans": [{ "spans": spans }]}]}).to_string();
    assert_eq!(post(&server.http, "application/json", None, body.into()).await.0, 200);
    (server, dir)
}

const QUERY: &str = "SELECT attributes->>'agent' AS agent, COUNT(*) AS requests, AVG(duration_ms) AS avg_duration \
                     FROM spans WHERE attributes->>'agent' IS NOT NULL GROUP BY agent";

/// Feature: L3
#[cfg(feature = "sql")]
#[tokio::test(flavor = "multi_thread")]
async fn rows_come_as_json_csv_parquet_and_a_table() {
    use arrow_array::cast::AsArray as _;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

    let (server, dir) = served().await;
    let rows = json!([{"agent": "plan, \"ner\"", "requests": 2, "avg_duration": 20.0}]);
    let columns = json!([{"name": "agent", "type": "text"}, {"name": "requests", "type": "bigint"},
        {"name": "avg_duration", "type": "double precision"}]);
    let whole = json!({"columns": columns, "rows": rows, "more": false, "scanned": 3});
    let url = server.api("/api/v1/sql");
    let body = json!({ "q": QUERY }).to_string();
    let (status, answer) = post(&url, "application/json", None, body.into()).await;
    assert_eq!((status, serde_json::from_slice::<serde_json::Value>(&answer).unwrap()), (200, whole.clone()));

    let client = reqwest::Client::new();
    let asked = |accept: &str| {
        client.get(format!("{url}?q=SELECT+name,kind+FROM+spans+LIMIT+0")).header("accept", accept)
    };
    let csv = asked("text/csv;q=0.9, */*").send().await.unwrap();
    assert_eq!(csv.headers()["content-type"], "text/csv");
    assert_eq!(csv.text().await.unwrap(), "name,kind\n");
    let empty: serde_json::Value =
        serde_json::from_slice(&asked("*/*").send().await.unwrap().bytes().await.unwrap()).unwrap();
    assert_eq!((&empty["rows"], empty["columns"].as_array().unwrap().len()), (&json!([]), 2));

    let api = server.ready["api"].as_str().unwrap();
    let (code, out, _) = ask(api, &["sql", QUERY]);
    assert_eq!(code, 0);
    assert!(out.contains("plan, \"ner\"") && out.contains("avg_duration") && out.contains("20.0"), "{out}");
    let (code, out, _) = ask(api, &["sql", QUERY, "--json"]);
    assert_eq!((code, serde_json::from_str::<serde_json::Value>(&out).unwrap()), (0, whole));
    let (code, out, _) = ask(api, &["sql", QUERY, "--format", "csv"]);
    assert_eq!((code, out.as_str()), (0, "agent,requests,avg_duration\n\"plan, \"\"ner\"\"\",2,20.0\n"));

    let file = dir.path().join("rows.parquet");
    let name = file.to_str().unwrap();
    assert_eq!(ask(api, &["sql", QUERY, "--format", "parquet", "--output", name]).0, 0);
    let read =
        ParquetRecordBatchReader::try_new(bytes::Bytes::from(std::fs::read(&file).unwrap()), 10).unwrap();
    let batches: Vec<_> = read.map(Result::unwrap).collect();
    assert_eq!(batches[0].column_by_name("agent").unwrap().as_string_view().value(0), "plan, \"ner\"");
}

#[cfg(feature = "sql")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_with_its_place() {
    let (server, dir) = served().await;
    let api = server.ready["api"].as_str().unwrap();
    let (code, out, told) = ask(api, &["sql", "SELECT name FROM spans WHERE ) = 1"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(told.contains("WHERE ) = 1\n") && told.ends_with(&format!("{}^\n", " ".repeat(29))), "{told}");
    let (code, _, told) = ask(api, &["sql", "DELETE FROM spans"]);
    assert!(code == 2 && told.contains("DML"), "{told}");
    // A file is all of it, or is not there.
    let file = dir.path().join("rows.csv");
    let (code, _, told) = ask(
        api,
        &[
            "sql",
            "SELECT * FROM spans",
            "--limit",
            "2",
            "--format",
            "csv",
            "--output",
            file.to_str().unwrap(),
        ],
    );
    assert!(code == 2 && told.contains("more rows") && !file.exists(), "{told}");
    let (code, out, told) = ask(api, &["sql", "SELECT name FROM spans", "--limit", "2"]);
    assert!(code == 0 && told.contains("first 2 rows"), "{out}{told}");
    for wrong in [&["--format", "xml"][..], &["--format", "parquet"], &["--limit", "0"]] {
        assert_eq!(ask(api, &[&["sql", "SELECT 1"][..], wrong].concat()).0, 2, "{wrong:?}");
    }
}

#[cfg(not(feature = "sql"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_sql_tells_how_to_get_it() {
    let (server, _dir) = served().await;
    let (code, out, told) = ask(server.ready["api"].as_str().unwrap(), &["sql", QUERY]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(told.contains("--features sql"), "{told}");
}

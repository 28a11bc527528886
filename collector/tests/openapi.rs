//! The description of the API, held against the server.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tempfile::tempdir;

use self::common::{Server, post};

/// The schema that a reference names.
fn resolve<'a>(document: &'a Value, mut schema: &'a Value) -> &'a Value {
    while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = reference.strip_prefix('#').unwrap();
        schema = document.pointer(pointer).unwrap_or_else(|| panic!("{reference} is not there"));
    }
    schema
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

/// Where a value is not as its schema says.
fn check(document: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let schema = resolve(document, schema);
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        let fits = any.iter().any(|schema| {
            let mut wrong = Vec::new();
            check(document, schema, value, at, &mut wrong);
            wrong.is_empty()
        });
        if !fits {
            wrong.push(format!("{at}: {value} is none of these"));
        }
        return;
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(value, kind)) {
        wrong.push(format!("{at}: {value} is not {kinds:?}"));
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        wrong.push(format!("{at}: {value} is not one of {allowed:?}"));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for (index, value) in values.iter().enumerate() {
            check(document, items, value, &format!("{at}/{index}"), wrong);
        }
    }
    let Some(members) = value.as_object() else { return };
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !members.contains_key(name.as_str().unwrap()) {
            wrong.push(format!("{at}: {name} is missing"));
        }
    }
    let Some(known) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, value) in members {
        match known.get(name) {
            Some(schema) => check(document, schema, value, &format!("{at}/{name}"), wrong),
            None => wrong.push(format!("{at}: {name} is not described")),
        }
    }
}

/// The parameters that must be there, by their examples.
fn needed(operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let needed = parameters.filter(|parameter| parameter["in"] == "query" && parameter["required"] == true);
    let pair = |parameter: &Value| {
        format!("{}={}", parameter["name"].as_str().unwrap(), parameter["example"].as_str().unwrap())
    };
    needed.map(pair).collect::<Vec<_>>().join("&")
}

fn references<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            out.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, out));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, out)),
        _ => {}
    }
}

const SPANS: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"bot"}}]},
    "scopeSpans":[{"spans":[{"traceId":"0000000000000000000000000000001f","spanId":"000000000000001f","name":"chat",
    "startTimeUnixNano":"1790000000000000030","endTimeUnixNano":"1790000000000000031","status":{"code":2,"message":"no"},
    "attributes":[{"key":"gen_ai.agent.name","value":{"stringValue":"planner"}},{"key":"gen_ai.operation.name","value":
    {"stringValue":"invoke_agent"}},{"key":"gen_ai.conversation.id","value":{"stringValue":"c-1"}}],
    "events":[{"name":"e","timeUnixNano":"1790000000000000030"}],"links":[{"traceId":"0000000000000000000000000000001e",
    "spanId":"000000000000001e"}]}]}]}]}"#;
const LOGS: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1790000000000000001",
    "severityNumber":10,"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","body":{"stringValue":"x"}},
    {"body":{"intValue":"1"}}]}]}]}"#;
const METRICS: &str = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"h","histogram":{"aggregationTemporality":1,
    "dataPoints":[{"timeUnixNano":"1790000000000000001","count":"2","sum":2,"bucketCounts":["1","1"],"explicitBounds":[1]}]}},
    {"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"1790000000000000001","asDouble":1.5}]}}]}]}]}"#;

#[tokio::test]
async fn every_path_that_is_described_answers_as_it_is_described() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path());
    for (signal, body) in [("traces", SPANS), ("logs", LOGS), ("metrics", METRICS)] {
        let url = server.http.replace("traces", signal);
        assert_eq!(post(&url, "application/json", None, body.into()).await.0, 200);
    }
    let document: Value = reqwest::get(server.api("/api/v1/openapi.json")).await.unwrap().json_value().await;
    let mut all = Vec::new();
    references(&document, &mut all);
    assert!(all.len() > 20);
    all.iter().for_each(|reference| {
        resolve(&document, &json!({ "$ref": reference }));
    });
    let client = reqwest::Client::new();
    let mut asked = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        if path == "/api/v1/sql" && !cfg!(feature = "sql") {
            continue;
        }
        for (method, operation) in methods.as_object().unwrap() {
            let path = &path
                .replace("{trace_id}", "1f")
                .replace("{service}", "nobody")
                .replace("{id}", "planner")
                .replace("{tag}", ".service.name");
            let url = server.api(path);
            let name = if path == "/api/v1/metrics/query" { "h" } else { "" };
            let request = match method.as_str() {
                "get" if !name.is_empty() => client.get(format!("{url}?name={name}&by=k&step=1m")),
                "get" => client.get(format!("{url}?{}", needed(operation))),
                "post" if !name.is_empty() => client.post(&url).body(json!({ "name": name }).to_string()),
                "post" => {
                    let example = operation.pointer("/requestBody/content/application~1json/example");
                    client.post(&url).body(example.map_or_else(|| "{}".to_owned(), Value::to_string))
                }
                "delete" => client.delete(&url),
                other => panic!("{path} has the method {other}"),
            };
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200, "{method} {path}");
            asked.insert(format!("{method} {path}"));
            let content = &operation["responses"]["200"]["content"];
            let Some(schema) = content.pointer("/application~1json/schema") else { continue };
            let answer = response.json_value().await;
            let mut wrong = Vec::new();
            check(&document, schema, &answer, "", &mut wrong);
            assert!(wrong.is_empty(), "{method} {path}: {wrong:#?}\n{answer:#}");
        }
    }
    assert!(asked.len() >= 53, "{asked:?}");
    refusals_are_described(&server, &document).await;
    // And every parameter that is described is read: another one is refused by name.
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(parameters) = methods.pointer("/get/parameters").and_then(Value::as_array) else { continue };
        // Other APIs leave aside what they do not know.
        if methods.pointer("/get/tags").is_some() {
            continue;
        }
        let parameters: Vec<&Value> =
            parameters.iter().filter(|parameter| parameter["in"] == "query").collect();
        if parameters.is_empty() {
            continue;
        }
        let unknown = client
            .get(server.api(&format!("{}?colour=red", path.replace("{id}", "planner"))))
            .send()
            .await
            .unwrap();
        assert_eq!(unknown.status(), 400, "{path}");
        let message = unknown.json_value().await["error"]["message"].to_string();
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap();
            assert!(message.contains(&format!("`{name}`")), "{path}: {name} is not in {message}");
        }
    }
}

async fn refusals_are_described(server: &Server, document: &Value) {
    // What is refused is described too; what is right and not answered yet is told apart.
    for (q, status, code) in
        [("{", 400, "invalid"), ("{.a}+%7C+rate()", 501, "unsupported"), ("{parent.a}", 501, "unsupported")]
    {
        let refused =
            reqwest::Client::new().get(server.api(&format!("/api/v1/count?q={q}"))).send().await.unwrap();
        assert_eq!(refused.status(), status, "{q}");
        let answer = refused.json_value().await;
        assert_eq!(answer["error"]["code"], code);
        assert!(answer["error"]["at"].is_u64());
        let mut wrong = Vec::new();
        check(document, &json!({"$ref": "#/components/schemas/Error"}), &answer, "", &mut wrong);
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

trait JsonValue {
    async fn json_value(self) -> Value;
}

impl JsonValue for reqwest::Response {
    async fn json_value(self) -> Value {
        serde_json::from_slice(&self.bytes().await.unwrap()).unwrap()
    }
}

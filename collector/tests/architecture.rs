//! The rules of the collector's house that a compiler does not check.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut open, mut found) = (vec![root.clone()], BTreeMap::new());
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(found.len() > 80);
    found
}

/// The lines that are neither comments nor tests.
fn code<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
    if name.ends_with("tests.rs") {
        return Vec::new();
    }
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).collect()
}

/// What a module must not know.
#[test]
fn modules_know_only_those_below_them() {
    let below: [(&str, &[&str]); 9] = [
        (
            "store/",
            &["axum", "tonic::", "crate::otlp", "crate::api", "crate::cli", "crate::demo", "crate::server"],
        ),
        (
            "query/",
            &["crate::store", "crate::otlp", "crate::api", "crate::cli", "axum", "tonic::", "parquet"],
        ),
        ("otlp/", &["crate::api", "crate::store", "crate::query", "crate::cli", "crate::demo"]),
        ("api/", &["crate::otlp", "crate::cli", "crate::demo", "crate::load", "tonic::"]),
        ("load/", &["crate::store", "crate::query", "crate::otlp", "crate::cli", "axum"]),
        ("demo/", &["crate::cli"]),
        ("value.rs", &["crate::store", "crate::query", "axum"]),
        ("ingest.rs", &["crate::store", "crate::otlp", "axum", "tonic::"]),
        ("server.rs", &["crate::cli", "crate::demo"]),
    ];
    for (name, text) in sources() {
        for (_, unknown) in below.iter().filter(|(module, _)| name.starts_with(module)) {
            for line in code(&name, &text) {
                // The name of a module below begins like that of another.
                let line = &line.replace("crate::otlpjson", "");
                let wrong = unknown.iter().find(|other| line.contains(**other));
                // The service of the messages is named after tonic.
                let messages = line.contains("opentelemetry_proto::tonic");
                assert!(wrong.is_none() || messages, "{name} knows {wrong:?}: {line}");
            }
        }
    }
}

#[test]
fn time_is_read_in_one_file_and_names_of_the_conventions_are_the_sdks() {
    for (name, text) in sources() {
        for line in code(&name, &text) {
            let clock = ["Instant::now()", "SystemTime::now()"].iter().any(|read| line.contains(read));
            // The generator's schedule is that of the timers that it waits for.
            let timers = name.starts_with("load/") || name.starts_with("demo/");
            assert!(!clock || name == "clock.rs" || timers, "{name} reads the time: {line}");
            let example = line.contains("after_help") || name.starts_with("cli/") || name == "demo/agent.rs";
            assert!(!line.contains("\"gen_ai.") || example, "{name} has a name of the conventions: {line}");
            for print in ["println!", "eprintln!", "print!(", "dbg!", "unsafe "] {
                assert!(!line.contains(print), "{name}: {line}");
            }
        }
    }
}

#[test]
fn only_one_file_turns_errors_of_questions_into_statuses() {
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("api/")) {
        let known = ["api/error.rs", "api/routes.rs"].contains(&name.as_str());
        let lines = code(name, text);
        assert!(known || !lines.iter().any(|line| line.contains("StatusCode::")), "{name}");
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 500, "{name} has {lines} lines");
    }
}

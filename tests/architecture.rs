//! The rules of the house, checked on the source.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The modules from the top to the bottom: each may import those on lines below its own, and those that are named as
/// its equals.
const LAYERS: &[&[&str]] = &[
    &["telemetry", "testing"],
    &["alert"],
    &["forecast", "probe", "query"],
    &["health"],
    &["export", "instruments", "sampling", "span", "views"],
    &["layer"],
    &["cost", "propagation"],
    &["config", "operation"],
    &["errors", "http_client", "names"],
    &["clock", "error", "semconv", "statistics"],
];

/// Imports between modules of one line.
const AMONG_EQUALS: &[(&str, &str)] = &[];

/// What the layer must not know: policy.
const POLICY: &[&str] =
    &["alert", "budget", "cost", "export", "forecast", "health", "instruments", "probe", "telemetry"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The files of the SDK with their text without comments and without inline tests, by path below `src`.
fn sources() -> BTreeMap<String, String> {
    let folder = root().join("src");
    let mut files = Vec::new();
    sources_below(&folder, &mut files);
    assert!(files.len() > 40, "{} files", files.len());
    files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&folder).unwrap().to_string_lossy().replace('\\', "/");
            let text = std::fs::read_to_string(&path).unwrap();
            (name, text)
        })
        .collect()
}

/// The lines that are code, numbered, without inline tests at the end of a file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end]
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The module that a file belongs to: the first part of its path.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn is_tests(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// The modules that a line names by `crate::`.
fn imports(line: &str) -> Vec<&str> {
    line.match_indices("crate::")
        // `$crate::` stands in macros that other crates expand.
        .filter(|(index, _)| !line[..*index].ends_with('$'))
        .map(|(index, prefix)| {
            let rest = &line[index + prefix.len()..];
            &rest[..rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())]
        })
        .filter(|name| name.starts_with(|c: char| c.is_lowercase()))
        .collect()
}

fn level(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Feature: N4
#[test]
fn modules_import_downwards_only() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let from = module(&file);
        if from == "lib" || is_tests(&file) {
            continue;
        }
        let Some(above) = level(from) else {
            wrong.push(format!("{file}: module {from} is not in the table of tests/architecture.rs"));
            continue;
        };
        for (number, line) in code(&text) {
            for to in imports(line) {
                // Re-exports of lib.rs that are no modules, such as macros.
                let Some(below) = level(to) else { continue };
                let allowed = from == to || below > above || AMONG_EQUALS.contains(&(from, to));
                if !allowed {
                    wrong.push(format!("{file}:{number}: {from} imports {to}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Feature: N4
#[test]
fn the_layer_knows_no_policy() {
    for (file, text) in sources().iter().filter(|(file, _)| module(file) == "layer") {
        for (number, line) in code(text) {
            for to in imports(line) {
                assert!(!POLICY.contains(&to), "{file}:{number}: the layer imports {to}");
            }
        }
    }
}

#[test]
fn every_module_in_the_table_exists() {
    let sources = sources();
    for name in LAYERS.iter().copied().flatten() {
        assert!(sources.keys().any(|file| module(file) == *name), "{name}");
    }
}

#[test]
fn names_of_the_conventions_stand_in_one_file() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        if file.starts_with("semconv/") || is_tests(&file) {
            continue;
        }
        for (number, line) in code(&text) {
            let code = line.split(" // ").next().unwrap_or(line);
            if ["\"gen_ai.", "\"mcp.", "\"agentvitals."].iter().any(|literal| code.contains(literal)) {
                wrong.push(format!("{file}:{number}: {}", line.trim()));
            }
        }
    }
    // The span of the self-test, and a prefix: neither is a name of a convention.
    wrong.retain(|line| !line.contains("\"agentvitals.self_test\"") && !line.contains("\"agentvitals.\""));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn time_is_read_in_one_file() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        // The real receiver of the testing kit waits in real time, whatever a manual clock says.
        if file == "clock.rs" || file.starts_with("testing/") || is_tests(&file) {
            continue;
        }
        // The exporter's deadlines are those of its runtime, which has a clock of its own to pause in tests.
        let of_tokio =
            text.contains("use tokio::time::") && !text.contains("use std::time::{Duration, Instant}");
        for (number, line) in code(&text) {
            let line = if of_tokio { line.replace("Instant::now", "") } else { line.to_owned() };
            if line.contains("Instant::now") || line.contains("SystemTime::now") {
                wrong.push(format!("{file}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_short_enough_to_read() {
    const MOST: usize = 500;
    let mut folders = vec![root().join("src"), root().join("tests")];
    folders.extend(
        ["collector/src", "collector/tests", "examples", "benches"].map(|folder| root().join(folder)),
    );
    let mut files = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        sources_below(folder, &mut files);
    }
    let long: Vec<String> = files
        .iter()
        .map(|path| (path, std::fs::read_to_string(path).unwrap().lines().count()))
        // Tests are lists: they may be longer.
        .filter(|(path, lines)| {
            *lines > if path.components().any(|part| part.as_os_str() == "tests") { 900 } else { MOST }
        })
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn nothing_prints_and_nothing_is_unsafe() {
    for (file, text) in sources() {
        for (number, line) in code(&text) {
            for forbidden in ["println!", "eprintln!", "print!(", "dbg!", "unsafe {", "unsafe fn"] {
                assert!(!line.contains(forbidden), "{file}:{number}: {line}");
            }
        }
    }
}

/// Behaviour: P1
#[test]
fn no_crate_pins_another_version_of_opentelemetry() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for name in
        ["opentelemetry", "opentelemetry_sdk", "opentelemetry-proto", "tracing-opentelemetry", "tracing-core"]
    {
        let entries = lock.matches(&format!("name = \"{name}\"\n")).count();
        assert_eq!(entries, 1, "{entries} versions of {name}: spans would go nowhere");
    }
}

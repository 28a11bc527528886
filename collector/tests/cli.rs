//! The `agentvitals` binary as its users meet it: arguments, standard output, standard error, exit code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn agentvitals(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agentvitals")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_json_is_one_document_and_nothing_else_is_on_standard_output() {
    let output = agentvitals(&["demo", "--json", "--speed", "max"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut keys: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "asked",
        "cost_partial",
        "cost_usd",
        "errors",
        "exported",
        "lost",
        "outcomes",
        "per_model",
        "per_tool",
        "runs",
        "spans",
        "tokens",
        "verified",
    ];
    assert_eq!(keys, expected);
    assert_eq!(document["verified"], true);
    assert_eq!(text(&output.stdout).lines().count(), 1);
}

#[test]
fn the_default_demo_ends_with_a_verified_table() {
    let output = agentvitals(&["demo"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
    for part in [
        "4 runs: 2 succeeded, 1 failed, 1 unknown",
        "invoke_agent",
        "gpt-4.1",
        "(partial",
        "bash",
        "\nverified",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "colours in a pipe: {shown:?}");
}

#[test]
fn a_malformed_line_ends_with_2_and_names_the_line() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, r#"{{"run_id":"r1","agents":[],"outcome":null,"steps":[]}}"#).unwrap();
    writeln!(file, r#"{{"run_id":"r2","agents":[],"outcome":null,"steps":[{{"kind":"\u001b[31m"}}]}}"#)
        .unwrap();
    let path = file.path().to_str().unwrap();
    for json in [&[][..], &["--json"]] {
        let output = agentvitals(&[&["demo", "--runs", path], json].concat());
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(text(&output.stdout), "");
        let told = text(&output.stderr);
        assert!(told.starts_with(&format!("error: {path}:2: steps[0].kind: unknown variant")), "{told}");
        assert!(!told.contains('\u{1b}'), "{told:?}");
    }
}

#[test]
fn runs_are_read_from_standard_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_agentvitals"))
        .args(["demo", "--json", "--runs", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let run = r#"{"run_id":"r","agents":[{"name":"a"}],"outcome":{"success":true},"steps":[]}"#;
    child.stdin.take().unwrap().write_all(run.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((document["runs"].as_u64(), document["spans"]["total"].as_u64()), (Some(1), Some(2)));
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_was_expected() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage: agentvitals"),
        (&["dem"], "demo"),
        (&["demo", "--speed", "0"], "expected `max` or a number"),
        (&["demo", "--speed", "fast"], "expected `max` or a number"),
        (&["demo", "--concurrency", "0"], "expected 1 to 1024"),
        (&["demo", "--concurrency", "many"], "--concurrency"),
        (&["demo", "--runs", "/no/such/file"], "/no/such/file: cannot be opened"),
        (&["demo", "--runs", "/"], "cannot be read"),
        (&["demo", "--endpoint", "somewhere"], "somewhere"),
        (&["demo", "--stream", "maybe"], "auto, always, never"),
    ];
    for (arguments, told) in cases {
        let output = agentvitals(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert!(text(&output.stderr).contains(told), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn settings_of_other_telemetry_do_not_disturb_the_demo() {
    let with = |name: &str, value: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentvitals"));
        command.args(["demo", "--json", "--speed", "max"]).args(arguments).env(name, value).output().unwrap()
    };
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
    ] {
        let output = with(name, value, &[]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
    }
    // Sent elsewhere they apply, and are refused when they make no sense.
    for (name, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_BSP_SCHEDULE_DELAY", "soon")] {
        let output = with(name, value, &["--endpoint", "http://127.0.0.1:1"]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(text(&output.stderr).contains(name), "{}", text(&output.stderr));
    }
}

#[test]
fn help_teaches_with_examples() {
    let output = agentvitals(&["demo", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for part in ["Examples:", "--runs runs.jsonl", "--endpoint", "\"run_id\"", "Exit codes:"] {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
    assert_eq!(agentvitals(&["--version"]).status.code(), Some(0));
}

#[test]
fn a_query_is_explained_without_a_server() {
    for (query, code, parts) in [
        (
            "{ status = error } | count() > 2",
            0,
            &["spans with status = error", "count() > 2", "whole traces"][..],
        ),
        ("{ .a = 1 }", 0, &["spans with .a = 1", "single spans"]),
        ("{ .a = 1 } >> { .b = 2 }", 0, &["`>>`"]),
        (
            "{} | rate() by (.a) | topk(3) with (sample=true)",
            0,
            &["for each .a", "topk(3)", "query_range", "`sample`"],
        ),
        ("{} | compare({ status = error })", 0, &["compare({ status = error }", "query_range"]),
        (
            "{ nestedSetParent < 0 } | compare({ nestedSetParent < 0 && status = error })",
            0,
            &["compare({ nestedSetParent", "query_range"],
        ),
        ("{ .a = 1 } >> {} | compare({ status = error })", 0, &["`>>`", "query_range"]),
        (&["{ .a = 1 }"; 65].join(" && "), 3, &["does not answer it"]),
    ] {
        let output = agentvitals(&["spans", "--explain", query]);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{query}: {shown}{}", text(&output.stderr));
        parts.iter().for_each(|part| assert!(shown.contains(part), "{part} is not in\n{shown}"));
    }
    let output = agentvitals(&["spans", "--explain", "{ .a = }"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("{ .a = }\nerror:          ^"), "{}", text(&output.stderr));
    let output = agentvitals(&["spans", "--explain", "{ .a = 1 }", "--json"]);
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&explained["kind"], &explained["runs"]), (&"filter".into(), &true.into()));
}

#[test]
fn a_shell_learns_commands_and_options() {
    for shell in ["bash", "zsh", "fish"] {
        let output = agentvitals(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        let script = text(&output.stdout);
        assert!(["explain", "alertmanager", "delete"].iter().all(|word| script.contains(word)), "{script}");
    }
    // Bash takes it, and completes with it.
    let script = agentvitals(&["completions", "bash"]).stdout;
    let ask = "\nCOMP_WORDS=(agentvitals spans --exp); COMP_CWORD=2; _agentvitals agentvitals --exp spans; echo \"${COMPREPLY[@]}\"";
    // A machine may lack it.
    let Ok(mut bash) = Command::new("bash").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        return;
    };
    bash.stdin.take().unwrap().write_all(&[&script[..], ask.as_bytes()].concat()).unwrap();
    let output = bash.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout).trim(), "--explain");
}

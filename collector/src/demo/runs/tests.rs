use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use super::{Action, MAX_LINE_BYTES, Run, read};

/// A line with one run; `steps` is what is in its array of steps.
fn line(id: &str, steps: &str) -> String {
    format!(
        r#"{{"run_id":"{id}","agents":[{{"name":"a","model":"m"}},{{"name":"b"}}],"outcome":{{"success":true}},"steps":[{steps}]}}"#
    )
}

const CALL: &str = r#"{"kind":"model_call","agent":"a","model":"m","prompt_tokens":5}"#;

fn parsed(text: &str) -> Vec<Run> {
    read(text.as_bytes(), "x").unwrap_or_else(|error| panic!("{error}\nof {text}"))
}

fn refused(bytes: impl AsRef<[u8]>) -> String {
    let error = read(bytes.as_ref(), "x").unwrap_err();
    assert!(error.is_input());
    error.to_string()
}

/// Each of these lines, after a good one, is refused with a message that starts so.
fn each_is_refused(cases: &[(String, &str)]) {
    for (bad, expected) in cases {
        let told = refused(format!("{}\n{bad}\n", line("good", CALL)));
        assert!(told.starts_with(expected), "{bad}\n  told:     {told}\n  expected: {expected}");
    }
}

/// A run with this step.
fn step(step: &str) -> String {
    line("r", step)
}

/// A run with a model call with these fields more.
fn call(fields: &str) -> String {
    line("r", &CALL.replace(r#""prompt_tokens":5"#, fields))
}

#[test]
fn a_malformed_run_is_told_by_line_place_and_fault() {
    each_is_refused(&[
        ("{".to_owned(), "x:2: EOF while parsing an object (column 1)"),
        ("[]".to_owned(), "x:2: expected a run, an object in one line, found \"[]\""),
        ("{} {}".to_owned(), "x:2: missing field `run_id`"),
        (format!("{} 1", line("r", "")), "x:2: after the run's object: trailing characters"),
        (line("", ""), "x:2: run_id: invalid value: string \"\", expected a name that is not empty"),
        (line("r", "").replace(r#""agents""#, r#""agentz""#), "x:2: missing field `agents`"),
        (line("r", "").replace(r#""outcome""#, r#""outcomes""#), "x:2: missing field `outcome`"),
        (line("r", "").replace(r#""steps""#, r#""step""#), "x:2: missing field `steps`"),
        (line("r", "").replace(r#""success""#, r#""succes""#), "x:2: outcome: missing field `success`"),
        (
            line("r", "").replace("true", "1"),
            "x:2: outcome.success: invalid type: integer `1`, expected a boolean",
        ),
        (
            line("r", "").replace(r#"{"success":true}"#, "[true]"),
            "x:2: outcome: invalid type: sequence, expected an object",
        ),
        (
            line("r", "").replace(r#""name":"b""#, r#""name":"a""#),
            "x:2: agents[1].name: \"a\" is there twice",
        ),
        (
            line("r", "").replace(r#""name":"b""#, r#""name":7"#),
            "x:2: agents[1].name: invalid type: integer `7`",
        ),
    ]);
}

#[test]
fn a_malformed_step_is_told_by_line_place_and_fault() {
    each_is_refused(&[
        (step("3"), "x:2: steps[0]: invalid type: integer `3`, expected an object"),
        (step(&format!("{CALL},{{}}")), "x:2: steps[1]: missing field `kind`"),
        (
            step(r#"{"kind":"tool_cal"}"#),
            "x:2: steps[0].kind: unknown variant `tool_cal`, expected `model_call` or `tool_call`",
        ),
        (
            step(r#"{"kind":"tool_call","agent":"c","tool":"t"}"#),
            "x:2: steps[0].agent: \"c\" is not in `agents` (\"a\", \"b\")",
        ),
        (step(r#"{"kind":"tool_call","tool":"t"}"#), "x:2: steps[0]: missing field `agent`"),
        (step(r#"{"kind":"tool_call","agent":"a"}"#), "x:2: steps[0].tool: is missing"),
        (
            step(r#"{"kind":"tool_call","agent":"a","tool":"t","error":"yes"}"#),
            "x:2: steps[0].error: invalid type: string \"yes\"",
        ),
        (step(r#"{"kind":"model_call","agent":"a"}"#), "x:2: steps[0].model: is missing"),
        (call(r#""model":"n""#), "x:2: steps[0]: duplicate field `model`"),
    ]);
}

#[test]
fn a_malformed_field_of_a_call_is_told_by_line_place_and_fault() {
    each_is_refused(&[
        (
            call(r#""prompt_tokens":-5"#),
            "x:2: steps[0].prompt_tokens: invalid value: integer `-5`, expected a whole number from 0",
        ),
        (call(r#""prompt_tokens":1.5"#), "x:2: steps[0].prompt_tokens: invalid value: floating point `1.5`"),
        (
            call(r#""prompt_tokens":"5""#),
            "x:2: steps[0].prompt_tokens: invalid type: string \"5\", expected a whole number",
        ),
        (call(r#""prompt_tokens":NaN"#), "x:2: steps[0].prompt_tokens: expected value"),
        (
            call(r#""completion_tokens":99999999999999999999"#),
            "x:2: steps[0].completion_tokens: invalid value",
        ),
        (
            call(r#""duration_ms":-1"#),
            "x:2: steps[0].duration_ms: invalid value: floating point `-1.0`, expected milliseconds",
        ),
        (call(r#""duration_ms":1e300"#), "x:2: steps[0].duration_ms: invalid value"),
        (call(r#""duration_ms":1e999"#), "x:2: steps[0].duration_ms: number out of range"),
        (call(r#""error":true"#), "x:2: steps[0].error: is true; a model_call's error is null or an object"),
        (call(r#""error":{"message":"no"}"#), "x:2: steps[0].error: missing field `type`"),
        (call(r#""error":{"type":5}"#), "x:2: steps[0].error.type: invalid type: integer `5`"),
        (
            call(r#""tool_calls":[{"name":"t"},{"id":"i"}]"#),
            "x:2: steps[0].tool_calls[1]: missing field `name`",
        ),
        (call(r#""new_input":[{"content":"hi"}]"#), "x:2: steps[0].new_input[0]: missing field `role`"),
        (
            call(&format!(r#""finish_reason":"{}""#, "x".repeat(2000))),
            "x:2: steps[0].finish_reason: a name of 2000 bytes",
        ),
    ]);
}

#[test]
fn a_file_without_a_run_is_an_error() {
    for empty in ["", "\n", "\n  \n\r\n", "\u{feff}"] {
        assert_eq!(refused(empty), "x: holds no run; expected JSON Lines, one run a line");
    }
}

#[test]
fn bytes_that_are_no_text_are_told_by_place() {
    let mut bytes = line("r1", "").into_bytes();
    bytes.extend_from_slice(b"\n{\"run_id\":\"\xff\"}\n");
    assert_eq!(refused(&bytes), "x:2: byte 12 (0xff) is not UTF-8");
    assert!(refused([0xff, 0xfe, b'{', 0]).starts_with("x:1: byte 1 (0xff) is not UTF-8"));
}

#[test]
fn a_run_that_is_there_twice_is_told_with_both_lines() {
    let text = format!("{}\n\n{}\n{}\n", line("r1", ""), line("r2", ""), line("r1", CALL));
    assert_eq!(refused(text), "x:4: run_id: \"r1\" is the run of line 1 already");
}

#[test]
fn all_faults_of_a_file_are_told_up_to_a_limit() {
    let told = refused(format!("1\n{}\n2\n", line("r", "")));
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("x:1: ") && told.contains("x:3: "), "{told}");
    let told = refused("1\n".repeat(1000));
    assert_eq!(told.lines().count(), 11, "{told}");
    assert!(told.ends_with("(the rest was not read)"), "{told}");
}

#[test]
fn a_line_that_never_ends_is_not_read_to_its_end() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(b' ');
            self.0 += buffer.len() as u64;
            assert!(self.0 < MAX_LINE_BYTES * 2, "it is read on and on");
            Ok(buffer.len())
        }
    }
    let from: Box<dyn BufRead> = Box::new(BufReader::new(Endless(0)));
    assert_eq!(read(from, "x").unwrap_err().to_string(), "x:1: is longer than 32 MiB");
}

#[test]
fn what_was_not_recorded_stays_absent() {
    let nulls = CALL.replace(
        r#""prompt_tokens":5"#,
        r#""prompt_tokens":null,"output_text":null,"tool_calls":null,"duration_ms":null,"error":null,"response_id":null"#,
    );
    for step in [CALL.replace(r#","prompt_tokens":5"#, ""), nulls] {
        let runs = parsed(&line("r", &step));
        let step = &runs[0].steps[0];
        let Action::Model(call) = &step.action else { panic!("{step:?}") };
        assert!(call.usage.is_empty(), "{call:?}");
        assert_eq!((step.duration, &call.output_text, &call.error), (None, &None, &None));
        assert!(call.was_answered());
    }
    let unknown = line("r", "").replace("true", "null");
    assert_eq!(parsed(&unknown)[0].success, None);
    assert_eq!(parsed(&line("r", "").replace(r#"{"success":true}"#, "null"))[0].success, None);
}

#[test]
fn recordings_unlike_the_known_ones_are_read() {
    let step = r#"{"kind":"tool_call","agent":"b","tool":"Wörter_搜索","arguments":"raw","result":{"n":1},"error":{"type":"timeout"},"later":[1]}"#;
    let text = format!("\u{feff}{}\r\n\n{}", line("läuft 🏃", step), line("r2", ""));
    let runs = parsed(&text);
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].id, "läuft 🏃");
    let Action::Tool(call) = &runs[0].steps[0].action else { panic!("{runs:?}") };
    assert_eq!((call.tool.as_str(), call.arguments.as_str()), ("Wörter_搜索", "raw"));
    assert_eq!((call.result.as_str(), call.result_bytes), (r#"{"n":1}"#, 7));
    assert_eq!((call.error.as_deref(), runs[0].steps[0].agent), (Some("timeout"), 1));

    let tokens = CALL.replace("5", "12.0,\"duration_ms\":1500");
    let runs = parsed(&line("r", &tokens));
    let Action::Model(call) = &runs[0].steps[0].action else { panic!("{runs:?}") };
    assert_eq!(call.usage.prompt, Some(12));
    assert_eq!(runs[0].steps[0].duration, Some(Duration::from_millis(1500)));
}

proptest::proptest! {
    #[test]
    fn whatever_happens_to_a_file_it_is_read_or_refused(
        start in 0..8_000_usize,
        gone in 0..40_usize,
        put in proptest::collection::vec(proptest::num::u8::ANY, 0..8),
    ) {
        let mut bytes = include_bytes!("../builtin.jsonl").to_vec();
        let start = start.min(bytes.len());
        let end = (start + gone).min(bytes.len());
        bytes.splice(start..end, put);
        match read(&bytes[..], "x") {
            Ok(runs) => assert!(!runs.is_empty()),
            Err(error) => assert!(error.is_input() && error.to_string().starts_with("x:"), "{error}"),
        }
    }
}

//! Reading a file of runs: all of it, or an error for every line at fault.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use super::Run;
use super::raw::RawRun;
use crate::Error;

/// The longest line that is read. A recorded run of 200 steps has about 200 KB.
pub const MAX_LINE_BYTES: u64 = 32 * 1024 * 1024;
/// The largest file that is read: all of it is kept in memory while it is replayed.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024 * 1024;
/// Faults that are told of one file; one is enough to refuse it, a few help to mend it.
const MAX_FAULTS: usize = 10;

/// Reads a file of runs, or standard input for `-`.
///
/// # Errors
/// An [input error](Error::is_input) that names the file, the lines at fault and what is wrong with them.
pub fn read_file(path: &Path) -> Result<Vec<Run>, Error> {
    if path.as_os_str() == "-" {
        return read(std::io::stdin().lock(), "standard input");
    }
    let name = path.display().to_string();
    let file =
        File::open(path).map_err(|error| Error::input(format!("{name}: cannot be opened: {error}")))?;
    read(BufReader::new(file), &name)
}

/// Reads runs, one a line; `name` is what errors call the source. Blank lines are skipped.
///
/// # Errors
/// An [input error](Error::is_input) with a line for each fault: the number of the line in the source, the
/// path inside its JSON, what is there and what was expected.
///
/// ```
/// use agentvitals_collector::demo::runs;
/// let error = runs::read(&b"{\"run_id\": \"r1\", \"agents\": [{\"name\": 7}]}"[..], "a.jsonl").unwrap_err();
/// assert!(error.to_string().starts_with("a.jsonl:1: agents[0].name: invalid type: integer `7`"), "{error}");
/// ```
pub fn read(mut from: impl BufRead, name: &str) -> Result<Vec<Run>, Error> {
    let mut reader = Reader::default();
    let (mut line, mut number, mut total) = (Vec::new(), 0, 0);
    loop {
        line.clear();
        let read = from.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
        let read = read.map_err(|error| Error::input(format!("{name}: cannot be read: {error}")))? as u64;
        if read == 0 {
            break;
        }
        number += 1;
        total += read;
        // Neither can be skipped: where such a line ends is not known, what is left would not fit.
        if read > MAX_LINE_BYTES {
            reader.fault(number, format!("is longer than {} MiB", MAX_LINE_BYTES >> 20));
            break;
        }
        if total > MAX_FILE_BYTES {
            reader.fault(number, format!("ends after {} MiB, split the file", MAX_FILE_BYTES >> 20));
            break;
        }
        reader.line(number, &line);
        if reader.faults.len() >= MAX_FAULTS {
            break;
        }
    }
    reader.finish(name)
}

#[derive(Default)]
struct Reader {
    runs: Vec<Run>,
    seen: HashMap<String, u64>,
    faults: Vec<(u64, String)>,
}

impl Reader {
    fn fault(&mut self, number: u64, what: String) {
        self.faults.push((number, what));
    }

    fn line(&mut self, number: u64, line: &[u8]) {
        let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let text = match std::str::from_utf8(line) {
            Ok(text) => text.trim(),
            Err(error) => {
                let at = error.valid_up_to();
                return self.fault(number, format!("byte {} (0x{:02x}) is not UTF-8", at + 1, line[at]));
            }
        };
        if text.is_empty() {
            return;
        }
        match parse(text) {
            Ok(run) => match self.seen.get(&run.id) {
                Some(first) => {
                    let what = format!("run_id: {:?} is the run of line {first} already", run.id);
                    self.fault(number, what);
                }
                None => {
                    self.seen.insert(run.id.clone(), number);
                    self.runs.push(run);
                }
            },
            Err(what) => self.fault(number, what),
        }
    }

    fn finish(self, name: &str) -> Result<Vec<Run>, Error> {
        if !self.faults.is_empty() {
            let more = if self.faults.len() >= MAX_FAULTS { "\n(the rest was not read)" } else { "" };
            let faults: Vec<_> =
                self.faults.iter().map(|(number, what)| format!("{name}:{number}: {what}")).collect();
            return Err(Error::input(format!("{}{more}", faults.join("\n"))));
        }
        if self.runs.is_empty() {
            return Err(Error::input(format!("{name}: holds no run; expected JSON Lines, one run a line")));
        }
        Ok(self.runs)
    }
}

fn parse(text: &str) -> Result<Run, String> {
    // serde would also take an array of the fields' values.
    if !text.starts_with('{') {
        let start: String = text.chars().take(20).collect();
        return Err(format!("expected a run, an object in one line, found {start:?}"));
    }
    let mut from = serde_json::Deserializer::from_str(text);
    let raw: RawRun = serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let path = error.path().to_string();
        at(&path, &json_error(error.inner()))
    })?;
    from.end().map_err(|error| format!("after the run's object: {}", json_error(&error)))?;
    raw.check().map_err(|wrong| at(&wrong.path, &wrong.what))
}

fn at(path: &str, what: &str) -> String {
    // `?` is a key or value that ended before it was read.
    let path = path.strip_suffix('?').unwrap_or(path).trim_end_matches('.');
    if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") }
}

/// serde_json counts lines from the start of what it was given, which is always one line here.
fn json_error(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match whole.strip_suffix(&place) {
        Some(what) => format!("{what} (column {})", error.column()),
        None => whole,
    }
}

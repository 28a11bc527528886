//! A server that is started, and speaks over its standard input and output, a line of JSON each.

use std::process::Stdio as Pipe;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::exchange::{Reply, Wire, answer_of};
use crate::probe::Failure;

/// The longest line that is read.
const MAX_LINE: u64 = 4 << 20;
/// Lines that are no answer and may come before one.
const MAX_OTHERS: usize = 1_000;

pub(super) struct Stdio {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Stdio {
    pub(super) fn start(program: &str, arguments: &[String]) -> Result<Self, Failure> {
        let failed = |why: &dyn std::fmt::Display| {
            Failure::new("unreachable", format!("{program} cannot be started: {why}"))
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Pipe::piped())
            .stdout(Pipe::piped())
            // Nobody reads it, and a pipe that fills would stop the server.
            .stderr(Pipe::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        match (stdin, stdout) {
            (Some(stdin), Some(stdout)) => Ok(Self { child, stdin, stdout: BufReader::new(stdout) }),
            _ => Err(failed(&"it has no pipes")),
        }
    }

    async fn send(&mut self, message: &Value) -> Result<(), Failure> {
        let line = format!("{message}\n");
        let sent = async {
            self.stdin.write_all(line.as_bytes()).await?;
            self.stdin.flush().await
        };
        sent.await.map_err(|error| {
            Failure::new("unreachable", format!("the server does not read any more: {error}"))
        })
    }

    /// Ends the server: its input ends, and it is killed if it does not go.
    pub(super) async fn end(self) {
        let Self { mut child, stdin, stdout } = self;
        drop((stdin, stdout));
        let ended = tokio::time::timeout(std::time::Duration::from_millis(500), child.wait()).await;
        if ended.is_err() {
            // Also reaps it.
            let _ = child.kill().await;
        }
    }
}

impl Wire for Stdio {
    async fn call(&mut self, request: Value, _modern: bool, _name: Option<&str>) -> Result<Reply, Failure> {
        self.send(&request).await?;
        let id = &request["id"];
        for _ in 0..MAX_OTHERS {
            let mut line = Vec::new();
            let read = (&mut self.stdout).take(MAX_LINE).read_until(b'\n', &mut line).await;
            match read {
                Ok(0) => return Err(Failure::new("unreachable", "the server has ended")),
                Ok(_) => {}
                Err(error) => return Err(Failure::new("unreachable", error.to_string())),
            }
            if line.last() != Some(&b'\n') && line.len() as u64 >= MAX_LINE {
                return Err(Failure::new("protocol", format!("a line is longer than {MAX_LINE} bytes")));
            }
            // What is no JSON is somebody's log.
            if let Some(reply) =
                serde_json::from_slice(&line).ok().and_then(|message| answer_of(&message, id))
            {
                return Ok(reply);
            }
        }
        Err(Failure::new("protocol", format!("{MAX_OTHERS} messages and no answer to {}", request["method"])))
    }

    async fn notify(&mut self, notification: Value) -> Result<(), Failure> {
        self.send(&notification).await
    }
}

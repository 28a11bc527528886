//! Sinks within the process and on its disk.

use std::fmt;
use std::fs::OpenOptions;
use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::pin::Pin;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{AlertSink, DeliveryError};
use crate::alert::notice::{Notice, NoticeKind};
use crate::health::Severity;

type Delivered<'a> = Pin<Box<dyn Future<Output = Result<(), DeliveryError>> + Send + 'a>>;

/// Appends each notice to a file, a line of JSON each; the file is readable by its owner only.
#[derive(Debug, Clone)]
pub struct File {
    path: PathBuf,
}

impl File {
    /// The file is made with the first notice.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn append(&self, notices: &[Notice]) -> Result<(), DeliveryError> {
        let failed =
            |error: &dyn fmt::Display| DeliveryError::temporary(format!("{}: {error}", self.path.display()));
        let mut lines = String::new();
        for notice in notices {
            lines.push_str(&serde_json::to_string(notice).map_err(|error| failed(&error))?);
            lines.push('\n');
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path).map_err(|error| failed(&error))?;
        // In one call, so that lines of several processes do not mix.
        file.write_all(lines.as_bytes()).map_err(|error| failed(&error))
    }
}

impl AlertSink for File {
    fn name(&self) -> &str {
        "file"
    }

    fn deliver<'a>(&'a mut self, notices: &'a [Notice]) -> Delivered<'a> {
        let result = self.append(notices);
        Box::pin(async move { result })
    }
}

/// Hands notices to the program; it holds at most 1,024 and then waits.
#[derive(Debug, Clone)]
pub struct Channel(Sender<Notice>);

impl Channel {
    /// The sink, and where the notices come out.
    pub fn new() -> (Self, Receiver<Notice>) {
        let (send, receive) = channel(1_024);
        (Self(send), receive)
    }
}

impl AlertSink for Channel {
    fn name(&self) -> &str {
        "channel"
    }

    fn deliver<'a>(&'a mut self, notices: &'a [Notice]) -> Delivered<'a> {
        Box::pin(async move {
            for notice in notices {
                let gone = |_| DeliveryError::permanent("nobody listens any more");
                self.0.send(notice.clone()).await.map_err(gone)?;
            }
            Ok(())
        })
    }
}

/// Writes notices as `tracing` events (target `agentvitals::alert`): critical and error as errors, warning as warning, the
/// rest as information.
#[derive(Debug, Clone, Default)]
pub struct Events {
    dispatch: Option<tracing::Dispatch>,
}

impl Events {
    /// To the subscriber of the thread that makes it, where notices are delivered on another.
    pub fn here() -> Self {
        Self { dispatch: Some(tracing::dispatcher::get_default(Clone::clone)) }
    }

    /// To the global subscriber.
    pub fn new() -> Self {
        Self::default()
    }

    fn write(notice: &Notice) {
        let (kind, message, rule) = (notice.kind.as_str(), notice.message.as_str(), &*notice.alert.rule);
        let (severity, subject) = (notice.severity.as_str(), notice.alert.subject.to_string());
        let trace_id = notice.alert.trace_ids.first().map_or("", String::as_str);
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(target: "agentvitals::alert", kind, severity, rule, subject, trace_id, "{message}")
            };
        }
        match notice.severity {
            _ if notice.kind == NoticeKind::Resolved => event!(info),
            Severity::Critical | Severity::Error => event!(error),
            Severity::Warning => event!(warn),
            Severity::Info => event!(info),
        }
    }
}

impl AlertSink for Events {
    fn name(&self) -> &str {
        "events"
    }

    fn deliver<'a>(&'a mut self, notices: &'a [Notice]) -> Delivered<'a> {
        match &self.dispatch {
            Some(dispatch) => {
                tracing::dispatcher::with_default(dispatch, || notices.iter().for_each(Self::write))
            }
            None => notices.iter().for_each(Self::write),
        }
        Box::pin(async { Ok(()) })
    }
}

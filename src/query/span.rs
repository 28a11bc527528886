//! A span that was found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value as Json;

/// A span as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FoundSpan {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// The parent's; none for a root.
    pub parent_span_id: Option<String>,
    /// `service.name` of the resource; empty if it has none.
    pub service: String,
    /// What it is called.
    pub name: String,
    /// Which side of a call it is.
    pub kind: Kind,
    /// When it started, in nanoseconds since 1970.
    pub start_unix_nano: i64,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub status: Status,
    /// What its end is told by; mostly empty.
    pub status_message: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, Json>,
    /// Those of its resource, `service.name` among them.
    pub resource: BTreeMap<String, Json>,
}

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "those of OpenTelemetry")]
pub enum Status {
    /// Nothing was said about it, which is what success looks like.
    #[default]
    Unset,
    /// Somebody said that it went well.
    Ok,
    /// It failed.
    Error,
}

impl Status {
    const ALL: [Self; 3] = [Self::Unset, Self::Ok, Self::Error];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }

    /// By its name, with or without OTLP's `STATUS_CODE_` before it, in any case.
    pub(super) fn named(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("status_code_").unwrap_or(&name);
        Self::ALL.into_iter().find(|known| known.name() == name).unwrap_or_default()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which side of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "those of OpenTelemetry")]
pub enum Kind {
    /// Nothing was said about it.
    #[default]
    Unspecified,
    /// Within a program.
    Internal,
    /// Who is called.
    Server,
    /// Who calls.
    Client,
    /// Who sends a message.
    Producer,
    /// Who takes one.
    Consumer,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Unspecified, Self::Internal, Self::Server, Self::Client, Self::Producer, Self::Consumer];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }

    /// By its name, with or without OTLP's `SPAN_KIND_` before it, in any case.
    pub(super) fn named(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("span_kind_").unwrap_or(&name);
        Self::ALL.into_iter().find(|known| known.name() == name).unwrap_or_default()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A duration in nanoseconds, at least 0.
pub(super) fn nanos(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

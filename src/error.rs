//! The one error of the SDK: opaque, with questions to ask of it.

use std::fmt;

/// What went wrong while agentvitals was configured, started, flushed, shut down or asked.
///
/// The message names the value at fault and the remedy. Nothing that happens on a traced thread returns an
/// error: what cannot be recorded there is counted (see [`crate::export::LossReason`]).
///
/// ```
/// let error = agentvitals::Error::config("OTEL_TRACES_SAMPLER_ARG is \"2\", expected a ratio from 0 to 1");
/// assert!(error.is_config());
/// ```
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Config,
    Export,
    Timeout,
    Install,
    Backend,
}

impl Error {
    /// A setting that cannot be honoured. `message` names the setting, its value and what is expected.
    #[cold]
    pub fn config(message: impl Into<String>) -> Self {
        Self { kind: Kind::Config, message: message.into() }
    }

    /// An exporter that could not be built or did not deliver.
    #[cold]
    pub fn export(message: impl Into<String>) -> Self {
        Self { kind: Kind::Export, message: message.into() }
    }

    /// A deadline that passed.
    #[cold]
    pub fn timeout(message: impl Into<String>) -> Self {
        Self { kind: Kind::Timeout, message: message.into() }
    }

    /// A subscriber that could not be installed or composed.
    #[cold]
    pub fn install(message: impl Into<String>) -> Self {
        Self { kind: Kind::Install, message: message.into() }
    }

    /// A backend that did not answer, or not all of what it was asked.
    #[cold]
    pub fn backend(message: impl Into<String>) -> Self {
        Self { kind: Kind::Backend, message: message.into() }
    }

    /// Whether a setting was at fault: correct it and start again.
    pub fn is_config(&self) -> bool {
        self.kind == Kind::Config
    }

    /// Whether the destination was at fault: the same call may work later.
    pub fn is_export(&self) -> bool {
        self.kind == Kind::Export
    }

    /// Whether a deadline passed before the work was done.
    pub fn is_timeout(&self) -> bool {
        self.kind == Kind::Timeout
    }

    /// Whether a backend gave no answer, or would have given only a part of it.
    pub fn is_backend(&self) -> bool {
        self.kind == Kind::Backend
    }

    /// Whether the global subscriber was at fault, e.g. because one is installed already.
    pub fn is_install(&self) -> bool {
        self.kind == Kind::Install
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

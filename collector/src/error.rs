//! The one error of the collector's commands, and the exit code that each kind of it stands for.

use std::fmt;

/// Why a command could not do its work.
///
/// The message names the value at fault and what was expected of it.
///
/// ```
/// let error = agentvitals_collector::Error::input("line 3: steps[0].kind: unknown variant `call`");
/// assert_eq!(error.exit_code(), 2);
/// ```
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Input,
    Failed,
}

impl Error {
    /// Something that the user gave is wrong: an option, a file, a line of a file.
    #[cold]
    pub fn input(message: impl Into<String>) -> Self {
        Self { kind: Kind::Input, message: message.into() }
    }

    /// The input was right, and the work failed all the same.
    #[cold]
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, message: message.into() }
    }

    /// Whether what the user gave is at fault, so that nothing was started.
    pub fn is_input(&self) -> bool {
        self.kind == Kind::Input
    }

    /// The exit code of a command that ends with this error: 2 for wrong input, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Input => 2,
            Kind::Failed => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

//! Which answers of models are streamed.

use super::runs::ModelCall;

/// Which model calls ask for a streamed answer. Recordings do not say whether theirs were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[non_exhaustive]
pub enum Streaming {
    /// Answers in text are streamed, as for somebody who reads along; tool calls are not.
    #[default]
    Auto,
    /// Every answer is streamed.
    Always,
    /// No answer is streamed.
    Never,
}

impl Streaming {
    pub(super) fn applies_to(self, call: &ModelCall) -> bool {
        match self {
            Self::Auto => call.tool_calls.is_empty(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

//! Reads the fields of a span into an [`Operation`].
//!
//! The shape of span that is read, all fields optional but the first, at the start or recorded later:
//!
//! ```text
//! info_span!(
//!     "any name",
//!     gen_ai.operation.name = "chat",
//!     gen_ai.provider.name = "openai",
//!     gen_ai.request.model = "gpt-4o",
//!     gen_ai.response.model = Empty,
//!     gen_ai.usage.input_tokens = Empty,       // integers; a number in a text is read too
//!     gen_ai.usage.output_tokens = Empty,
//!     error.type = Empty,
//!     otel.status_code = Empty,                // "ERROR" counts as an error
//! )
//! ```

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};

use super::callsites::{Role, Site};
use crate::errors;
use crate::names::{MAX_NAME_BYTES, Name};
use crate::operation::{Amount, Operation, OperationKind, Outcome, TextHash, hash_of};
use crate::semconv::error_type;
use crate::semconv::health::finish_reason;

/// Values that are given as `Debug` or `Display` run the user's code when they are formatted, and so are left for
/// a time when no lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Formatting {
    Later,
    Now,
}

pub(super) struct FieldVisitor<'a> {
    pub(super) site: &'static Site,
    pub(super) operation: &'a mut Operation,
    pub(super) formatting: Formatting,
    /// Whether a value is left to be formatted.
    pub(super) left: bool,
    /// Whether the user's own value of `error.type` was seen: the span has the attribute already.
    pub(super) has_error_type: bool,
}

impl<'a> FieldVisitor<'a> {
    pub(super) fn new(site: &'static Site, operation: &'a mut Operation, formatting: Formatting) -> Self {
        Self { site, operation, formatting, left: false, has_error_type: false }
    }

    fn number(&mut self, role: Role, value: u64) {
        let operation = &mut *self.operation;
        match role {
            Role::InputTokens => operation.input_tokens = Amount::new(value),
            Role::OutputTokens => operation.output_tokens = Amount::new(value),
            Role::CacheRead => operation.cache_read_tokens = Amount::new(value),
            Role::CacheWrite => operation.cache_write_tokens = Amount::new(value),
            Role::Reasoning => operation.reasoning_tokens = Amount::new(value),
            Role::InputBytes => operation.input_bytes = Amount::new(value),
            Role::OutputBytes => operation.output_bytes = Amount::new(value),
            Role::Port => operation.server_port = u16::try_from(value).unwrap_or(0),
            Role::Retries => operation.retries = u32::try_from(value).unwrap_or(u32::MAX),
            Role::StepsCompleted => operation.steps_completed = Amount::new(value),
            Role::TimeToFirstChunk => {
                operation.first_chunk_ns = Amount::new(value.saturating_mul(1_000_000_000))
            }
            _ => {}
        }
    }

    fn text(&mut self, role: Role, value: &str) {
        let operation = &mut *self.operation;
        match role {
            Role::Ignored => {}
            Role::Operation => {
                operation.operation = Name::new(value);
                operation.kind =
                    (!value.is_empty()).then(|| OperationKind::from_name(value)).or(operation.kind);
            }
            Role::McpMethod => {
                operation.mcp_method = Name::new(value);
                operation.kind = operation.kind.or(Some(OperationKind::Mcp));
            }
            Role::Custom => {
                operation.custom = Name::new(value);
                operation.kind = operation.kind.or(Some(OperationKind::Custom));
            }
            Role::Provider => operation.provider = Name::new(value),
            Role::RequestModel => operation.request_model = Name::new(value),
            Role::ResponseModel => operation.response_model = Name::new(value),
            Role::Agent => operation.agent = Name::new(value),
            Role::Tool => operation.tool = Name::new(value),
            Role::ToolType => operation.tool_type = Name::new(value),
            Role::Workflow => operation.workflow = Name::new(value),
            Role::TaskType => operation.task_type = Name::new(value),
            Role::ServerAddress => operation.server_address = Name::new(value),
            Role::Extra(index) => operation.extra[usize::from(index)] = Name::new(value),
            Role::ErrorType => {
                operation.error_type = Name::new(value);
                self.has_error_type = !value.is_empty();
            }
            Role::ToolErrorType => operation.error_type = operation.error_type.or(Name::new(value)),
            // Fields of an `Option` are often recorded whether there is an error or not.
            Role::Error if matches!(value, "" | "None" | "null" | "false") => {}
            Role::Error => set_error(operation, errors::classify(value)),
            Role::StatusCode if value.eq_ignore_ascii_case("error") => {
                set_error(operation, error_type::OTHER)
            }
            Role::StatusCode => {}
            Role::OtelKind => operation.mcp_server = value.eq_ignore_ascii_case("server"),
            Role::Outcome => set_outcome(operation, Outcome::parse(value)),
            Role::Fallback => operation.fallback = value == "true",
            Role::Arguments => operation.arguments = hash_of(value),
            Role::FinishReasons => operation.refused |= is_refusal(value),
            _ => self.parse_number(role, value),
        }
    }

    fn parse_number(&mut self, role: Role, value: &str) {
        match value.parse::<u64>() {
            Ok(number) => self.number(role, number),
            Err(_) => {
                if let Ok(number) = value.parse::<f64>() {
                    self.float(role, number);
                }
            }
        }
    }

    fn float(&mut self, role: Role, value: f64) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        match role {
            Role::TimeToFirstChunk => self.operation.first_chunk_ns = Amount::new((value * 1e9) as u64),
            Role::Cost => self.operation.cost_nano = Amount::new((value * 1e9).round() as u64),
            _ => self.number(role, value as u64),
        }
    }
}

/// A class that was only guessed must not replace a value that the user gave.
pub(super) fn set_error(operation: &mut Operation, class: &'static str) {
    if operation.error_type.is_none() {
        operation.error_type = Name::new(class);
    }
}

/// Whether a reason for the end of an answer, or one of several in a list, is that it was refused.
pub(crate) fn is_refusal(reasons: &str) -> bool {
    // Every refusal has one of these letters and the usual reasons have none: four searches in each answer are spared.
    reasons.bytes().any(|letter| matches!(letter, b'f' | b'F' | b'B'))
        && finish_reason::REFUSALS.iter().any(|refusal| reasons.contains(refusal))
}

/// Sets the outcome and, if it is one of the error outcomes, an error class.
pub(crate) fn set_outcome(operation: &mut Operation, outcome: Option<Outcome>) {
    operation.outcome = outcome.or(operation.outcome);
    if let Some(class) = outcome.and_then(Outcome::error_type) {
        set_error(operation, class);
    }
}

impl Visit for FieldVisitor<'_> {
    #[inline]
    fn record_str(&mut self, field: &Field, value: &str) {
        match self.site.role(field) {
            Role::Ignored => {}
            role => self.text(role, value),
        }
    }

    #[inline]
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(self.site.role(field), value);
    }

    #[inline]
    fn record_i64(&mut self, field: &Field, value: i64) {
        // A negative count is nonsense that the span may show; the metrics leave it out.
        if let Ok(value) = u64::try_from(value) {
            self.number(self.site.role(field), value);
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.record_u64(field, u64::try_from(value).unwrap_or(u64::MAX));
    }

    #[inline]
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.float(self.site.role(field), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match self.site.role(field) {
            Role::Fallback => self.operation.fallback = value,
            Role::Error if value => set_error(self.operation, error_type::OTHER),
            _ => {}
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }

    #[inline]
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let role = self.site.role(field);
        if role == Role::Ignored {
            return;
        }
        if self.formatting == Formatting::Later {
            self.left = true;
            return;
        }
        if role == Role::Arguments {
            // All of it: two long texts may have the same beginning.
            let mut hash = TextHash::default();
            self.operation.arguments = write!(hash, "{value:?}").map_or(0, |()| hash.finish());
            return;
        }
        let mut buffer = TextBuffer::default();
        // An error only says that the buffer is full: what fits is what counts.
        let _ = write!(buffer, "{value:?}");
        // `?"text"` comes in quotes.
        let text = buffer.as_str();
        self.text(role, text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text));
    }
}

/// The beginning of a formatted value, on the stack.
pub(super) struct TextBuffer {
    bytes: [u8; BUFFER_BYTES],
    len: usize,
}

const BUFFER_BYTES: usize = 2 * MAX_NAME_BYTES;

impl Default for TextBuffer {
    fn default() -> Self {
        Self { bytes: [0; BUFFER_BYTES], len: 0 }
    }
}

impl TextBuffer {
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl fmt::Write for TextBuffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fitting = &text[..text.floor_char_boundary(BUFFER_BYTES - self.len)];
        self.bytes[self.len..self.len + fitting.len()].copy_from_slice(fitting.as_bytes());
        self.len += fitting.len();
        if fitting.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_other_reasons() {
        for refusal in finish_reason::REFUSALS {
            assert!(is_refusal(refusal), "{refusal}");
            assert!(is_refusal(&format!(r#"["stop","{refusal}"]"#)), "{refusal} in a list");
        }
        for other in
            ["", "stop", "STOP", "tool_calls", "end_turn", "length", "MAX_TOKENS", "fine", "FINE", "BLOCK"]
        {
            assert!(!is_refusal(other), "{other}");
        }
    }
}

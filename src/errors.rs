//! Classes of errors: few, so that they can be on metrics and in health rules.

use serde::{Deserialize, Serialize};

use crate::semconv::error_type;

/// What a failure is about, whatever words a provider or library has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorClass {
    /// Credentials were missing or refused.
    Authentication,
    /// The caller gave it up.
    Cancelled,
    /// The connection failed.
    Connection,
    /// A content filter or guardrail refused.
    ContentFilter,
    /// The input was too long for the model.
    ContextLength,
    /// The request was refused as malformed.
    InvalidRequest,
    /// None of the others.
    Other,
    /// The code panicked.
    Panic,
    /// A rate or quota limit.
    RateLimit,
    /// The provider failed.
    ServerError,
    /// A deadline passed.
    Timeout,
    /// A tool said that it failed.
    Tool,
}

impl ErrorClass {
    /// The class of an error, from its `error.type` or its message.
    ///
    /// ```
    /// use agentvitals::ErrorClass;
    /// assert_eq!(ErrorClass::of("openai.RateLimitError"), ErrorClass::RateLimit);
    /// assert_eq!(ErrorClass::of("HTTP 503 Service Unavailable"), ErrorClass::ServerError);
    /// assert_eq!(ErrorClass::of("MyOwnError"), ErrorClass::Other);
    /// ```
    pub fn of(text: &str) -> Self {
        PATTERNS
            .iter()
            .find(|(_, needles)| needles.iter().any(|needle| contains(text, needle)))
            .map_or_else(|| Self::of_status(text), |(class, _)| *class)
    }

    /// The value of `error.type` that agentvitals writes when it has nothing but this class.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => error_type::AUTHENTICATION,
            Self::Cancelled => error_type::CANCELLED,
            Self::Connection => error_type::CONNECTION,
            Self::ContentFilter => error_type::CONTENT_FILTER,
            Self::ContextLength => error_type::CONTEXT_LENGTH,
            Self::InvalidRequest => error_type::INVALID_REQUEST,
            Self::Other => error_type::OTHER,
            Self::Panic => error_type::PANIC,
            Self::RateLimit => error_type::RATE_LIMIT,
            Self::ServerError => error_type::SERVER_ERROR,
            Self::Timeout => error_type::TIMEOUT,
            Self::Tool => error_type::TOOL_ERROR,
        }
    }

    /// Whether the same call may succeed when it is made again.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Connection | Self::RateLimit | Self::ServerError | Self::Timeout)
    }

    /// An HTTP status that stands in the text as a number of its own, at the start or after "status" or "http".
    fn of_status(text: &str) -> Self {
        let mut previous = "";
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
            let announced = previous.is_empty()
                || ["status", "http", "code", "error"].iter().any(|word| previous.eq_ignore_ascii_case(word));
            if word.len() == 3 && announced {
                match word.parse::<u16>() {
                    Ok(401 | 403) => return Self::Authentication,
                    Ok(408) => return Self::Timeout,
                    Ok(429) => return Self::RateLimit,
                    Ok(400..=499) => return Self::InvalidRequest,
                    Ok(500..=599) => return Self::ServerError,
                    _ => {}
                }
            }
            previous = word;
        }
        Self::Other
    }
}

/// The value of `error.type` for an error of which only the message is known.
pub(crate) fn classify(message: &str) -> &'static str {
    ErrorClass::of(message).as_str()
}

/// Lower-case needles, the more specific classes first.
const PATTERNS: &[(ErrorClass, &[&str])] = &[
    (
        ErrorClass::ContextLength,
        &[
            "context_length",
            "context length",
            "contextlength",
            "maximum context",
            "too many tokens",
            "prompt is too long",
        ],
    ),
    (
        ErrorClass::ContentFilter,
        &[
            "content_filter",
            "content filter",
            "contentfilter",
            "content policy",
            "content_policy",
            "guardrail",
            "safety",
        ],
    ),
    (
        ErrorClass::RateLimit,
        &[
            "rate_limit",
            "rate limit",
            "ratelimit",
            "too many requests",
            "toomanyrequests",
            "quota",
            "resource_exhausted",
            "resourceexhausted",
            "throttl",
            "overloaded",
        ],
    ),
    (ErrorClass::Timeout, &["timeout", "timed out", "timedout", "deadline"]),
    (ErrorClass::Cancelled, &["cancelled", "canceled", "aborted"]),
    (
        ErrorClass::Authentication,
        &[
            "authentication",
            "unauthorized",
            "unauthenticated",
            "api key",
            "api_key",
            "apikey",
            "forbidden",
            "permission",
        ],
    ),
    (
        ErrorClass::Connection,
        &["connection", "connect error", "connecterror", "dns error", "broken pipe", "unexpected eof"],
    ),
    (ErrorClass::Tool, &["tool_error", "toolerror"]),
    (ErrorClass::Panic, &["panic"]),
    (
        ErrorClass::ServerError,
        &[
            "server_error",
            "server error",
            "servererror",
            "service unavailable",
            "serviceunavailable",
            "bad gateway",
            "http_5xx",
        ],
    ),
    (
        ErrorClass::InvalidRequest,
        &["invalid_request", "invalid request", "invalidrequest", "bad request", "badrequest"],
    ),
];

/// Whether `text` contains `needle`, which is lower-case ASCII, in any case.
fn contains(text: &str, needle: &str) -> bool {
    text.as_bytes().windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feature: A7
    #[test]
    fn errors_of_providers_and_libraries_fall_into_few_classes() {
        for (text, class, retryable) in [
            ("openai.RateLimitError", ErrorClass::RateLimit, true),
            ("429", ErrorClass::RateLimit, true),
            ("HTTP status 503: upstream failed", ErrorClass::ServerError, true),
            ("error sending request: operation timed out", ErrorClass::Timeout, true),
            ("This model's maximum context length is 8192 tokens", ErrorClass::ContextLength, false),
            ("The response was filtered: content_filter", ErrorClass::ContentFilter, false),
            ("connection refused", ErrorClass::Connection, true),
            ("invalid api key", ErrorClass::Authentication, false),
            ("tool_error", ErrorClass::Tool, false),
            ("order 503 not found", ErrorClass::Other, false),
            ("", ErrorClass::Other, false),
        ] {
            assert_eq!(ErrorClass::of(text), class, "{text}");
            assert_eq!(class.is_retryable(), retryable, "{text}");
        }
    }
}

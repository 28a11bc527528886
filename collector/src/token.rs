//! The token that requests must bear, if there is one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::Error;

/// Where the token is taken from when no file is named.
pub const VARIABLE: &str = "AGENTVITALS_TOKEN";

/// A token, or none: then every request is admitted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Token(Option<Arc<str>>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It is nobody's business.
        f.write_str(if self.0.is_some() { "Token(set)" } else { "Token(none)" })
    }
}

impl Token {
    /// No token.
    pub const fn none() -> Self {
        Self(None)
    }

    /// This one.
    pub fn new(token: &str) -> Self {
        Self(Some(token.into()))
    }

    /// The token of a file, else that of the environment, else none. It never is an argument of a command, since every user of
    /// a machine can read those.
    ///
    /// # Errors
    /// When the file cannot be read, or the token is empty or cannot be in a header.
    pub fn find(file: Option<&Path>) -> Result<Self, Error> {
        let (text, place) = match (file, std::env::var(VARIABLE)) {
            (Some(path), _) => {
                let place = format!("the token file {}", path.display());
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Error::input(format!("{place} cannot be read: {error}")))?;
                (text, place)
            }
            (None, Ok(text)) => (text, VARIABLE.to_owned()),
            (None, Err(std::env::VarError::NotPresent)) => return Ok(Self::none()),
            (None, Err(error)) => return Err(Error::input(format!("{VARIABLE}: {error}"))),
        };
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::input(format!(
                "{place} holds no token; expected one line of letters, digits and signs without spaces"
            )));
        }
        Ok(Self::new(token))
    }

    /// Whether there is one.
    pub const fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// What a request says that bears it.
    pub fn header(&self) -> Option<String> {
        self.0.as_ref().map(|token| format!("Bearer {token}"))
    }

    /// Whether a request with these headers may come in.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.0 else { return true };
        let given = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let (scheme, given) = given.and_then(|value| value.split_at_checked(7)).unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"bearer ") && same(given.trim_ascii(), token.as_bytes())
    }
}

/// Compares in a time that does not tell how much of a guess was right.
fn same(given: &[u8], token: &[u8]) -> bool {
    let differences = given.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == token.len() && std::hint::black_box(differences) == 0
}

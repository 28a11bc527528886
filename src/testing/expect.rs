//! Expectations about spans that say, when they fail, what was there instead.

use std::fmt::Write as _;

use serde_json::Value;

use super::span::ReceivedSpan;

/// At most so many spans are listed in a panic's message.
const LISTED: usize = 50;

/// The one span of this name.
///
/// # Panics
/// If there is none, or more than one (use [`find_spans`] for those); the message lists what is there.
///
/// ```
/// use agentvitals::testing::{ReceivedSpan, find_span};
/// let mut span = ReceivedSpan::default();
/// span.name = "chat gpt-4o".into();
/// assert_eq!(find_span(&[span], "chat gpt-4o").kind, "internal");
/// ```
#[track_caller]
pub fn find_span<'a>(spans: &'a [ReceivedSpan], name: &str) -> &'a ReceivedSpan {
    match find_spans(spans, name)[..] {
        [span] => span,
        [] => panic!("no span named {name:?} among {}", list(spans)),
        ref found => panic!(
            "{} spans named {name:?}, expected one; use find_spans to look at all of them. They are among {}",
            found.len(),
            list(spans)
        ),
    }
}

/// All spans of this name, in the order in which they arrived.
pub fn find_spans<'a>(spans: &'a [ReceivedSpan], name: &str) -> Vec<&'a ReceivedSpan> {
    spans.iter().filter(|span| span.name == name).collect()
}

impl ReceivedSpan {
    /// Checks that an attribute has this value, of this type: the text `"5"` is not the integer 5. Gives the
    /// span back, for the next check.
    ///
    /// # Panics
    /// If it is absent or another; the message shows all attributes of the span.
    #[track_caller]
    pub fn assert_attr(&self, key: &str, expected: impl Into<Value>) -> &Self {
        let expected = expected.into();
        match self.attr(key) {
            Some(actual) if *actual == expected => self,
            Some(actual) => {
                panic!("span {:?}: {key} is {actual}, expected {expected}{}", self.name, self.listed())
            }
            None => panic!("span {:?}: {key} is absent, expected {expected}{}", self.name, self.listed()),
        }
    }

    /// Checks that an attribute is absent.
    ///
    /// # Panics
    /// If it is there.
    #[track_caller]
    pub fn assert_no_attr(&self, key: &str) {
        if let Some(actual) = self.attr(key) {
            panic!("span {:?}: {key} is {actual}, expected it to be absent", self.name);
        }
    }

    fn listed(&self) -> String {
        let mut text = String::from("; its attributes are");
        for (key, value) in &self.attributes {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {key}={value}");
        }
        text
    }
}

fn list(spans: &[ReceivedSpan]) -> String {
    let mut text = format!("{} spans", spans.len());
    for span in spans.iter().take(LISTED) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {} [{}]", span.name, span.kind);
    }
    if spans.len() > LISTED {
        let _ = write!(text, "\n  and {} more", spans.len() - LISTED);
    }
    text
}

/// Finds the one span of a name, checks its attributes, and is a reference to it.
///
/// ```
/// use agentvitals::testing::{ReceivedSpan, assert_span};
/// let mut span = ReceivedSpan::default();
/// span.name = "chat gpt-4o".into();
/// span.attributes.insert("gen_ai.usage.input_tokens".into(), 12.into());
/// let spans = vec![span];
/// let chat = assert_span!(spans, "chat gpt-4o", "gen_ai.usage.input_tokens" => 12);
/// assert_eq!(chat.kind, "internal");
/// ```
///
/// # Panics
/// As [`find_span`] and [`ReceivedSpan::assert_attr`] do.
#[doc(hidden)]
#[macro_export]
macro_rules! __assert_span {
    // One expression without a block, so that `assert_span!(receiver.spans(), ..)` may borrow the temporary.
    ($spans:expr, $name:expr $(, $key:expr => $value:expr)* $(,)?) => {
        $crate::testing::find_span(&$spans[..], $name)$( .assert_attr($key, $value) )*
    };
}

//! What leaves the process: content only when switched on, then redaction, then size.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use opentelemetry::trace::Status;
use opentelemetry::{Array, Key, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::SpanData;

use super::stats::ExportStats;
use crate::config::{ContentCapture, Limits};
use crate::semconv::attr;

/// What stands for a value on which a redaction hook panicked.
pub const REDACTION_FAILED: &str = "[redaction failed]";
/// The key under which hooks see a span's name, unless the name is made of attributes that they have seen.
pub const SPAN_NAME: &str = "otel.name";

/// A redaction hook: gets a key and a text value and returns what to put in its place, or `None` to leave it.
pub type Redactor = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// Applies content capture, redaction and limits to spans, in this order.
pub(crate) struct Guard {
    content: ContentCapture,
    limits: Limits,
    redactors: Vec<Redactor>,
    stats: Arc<ExportStats>,
}

impl Guard {
    pub(crate) fn new(
        content: ContentCapture,
        limits: Limits,
        redactors: Vec<Redactor>,
        stats: Arc<ExportStats>,
    ) -> Self {
        Self { content, limits, redactors, stats }
    }

    /// Removes content that must not leave and redacts the rest, all but the span's name.
    pub(crate) fn redact(&self, span: &mut SpanData) {
        if self.content == ContentCapture::Off {
            let keep = |attribute: &KeyValue| !attr::is_content(attribute.key.as_str());
            span.attributes.retain(keep);
            for event in &mut span.events.events {
                event.attributes.retain(keep);
            }
            for link in &mut span.links.links {
                link.attributes.retain(keep);
            }
        }
        if self.redactors.is_empty() {
            return;
        }
        self.attributes(&mut span.attributes);
        for event in &mut span.events.events {
            self.attributes(&mut event.attributes);
            if let Some(name) = self.text(SPAN_NAME, &event.name) {
                event.name = name.into();
            }
        }
        for link in &mut span.links.links {
            self.attributes(&mut link.attributes);
        }
        if let Status::Error { description } = &mut span.status
            && let Some(text) = self.text(attr::OTEL_STATUS_DESCRIPTION, description)
        {
            *description = text.into();
        }
    }

    /// Redacts a name that the user wrote.
    pub(crate) fn redact_name(&self, span: &mut SpanData) {
        if let Some(name) = self.text(SPAN_NAME, &span.name) {
            span.name = name.into();
        }
    }

    /// Cuts values and counts to their limits.
    pub(crate) fn limit(&self, span: &mut SpanData) {
        let limits = &self.limits;
        span.dropped_attributes_count += drop_attributes(&mut span.attributes, limits.attributes);
        let events = &mut span.events;
        events.dropped_count += drop_tail(&mut events.events, limits.events);
        let links = &mut span.links;
        links.dropped_count += drop_tail(&mut links.links, limits.links);
        for event in &mut span.events.events {
            event.dropped_attributes_count += drop_attributes(&mut event.attributes, limits.event_attributes);
        }
        for link in &mut span.links.links {
            link.dropped_attributes_count += drop_attributes(&mut link.attributes, limits.link_attributes);
        }
        let cut = cut_to_fit(span, limits.value_bytes);
        if cut > 0 {
            self.stats.add_truncated(cut);
        }
    }

    fn attributes(&self, attributes: &mut [KeyValue]) {
        for attribute in attributes {
            let key = attribute.key.as_str();
            match &mut attribute.value {
                Value::String(text) => {
                    if let Some(replacement) = self.text(key, text.as_str()) {
                        *text = replacement.into();
                    }
                }
                Value::Array(Array::String(texts)) => {
                    for text in texts {
                        if let Some(replacement) = self.text(key, text.as_str()) {
                            *text = replacement.into();
                        }
                    }
                }
                // A number can identify a person too.
                number @ (Value::I64(_) | Value::F64(_)) => {
                    if let Some(replacement) = self.text(key, &number.as_str()) {
                        *number = Value::String(replacement.into());
                    }
                }
                _ => {}
            }
        }
    }

    /// What to put in the place of `text`, after all hooks.
    fn text(&self, key: &str, text: &str) -> Option<String> {
        let mut current: Option<String> = None;
        for redactor in &self.redactors {
            let text = current.as_deref().unwrap_or(text);
            match catch_unwind(AssertUnwindSafe(|| redactor(key, text))) {
                Ok(Some(replacement)) => current = Some(replacement),
                Ok(None) => {}
                Err(_) => {
                    // Fail closed: what could not be checked does not leave.
                    self.stats.add_redaction_failure();
                    return Some(REDACTION_FAILED.to_owned());
                }
            }
        }
        current
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("content", &self.content)
            .field("limits", &self.limits)
            .field("redactors", &self.redactors.len())
            .finish_non_exhaustive()
    }
}

fn drop_tail<T>(items: &mut Vec<T>, limit: usize) -> u32 {
    let dropped = items.len().saturating_sub(limit);
    items.truncate(limit);
    u32::try_from(dropped).unwrap_or(u32::MAX)
}

/// Drops the last attributes over the limit, but those of the conventions last: a span that lost its usage
/// and error because a loop recorded 200 fields would be worth little.
fn drop_attributes(attributes: &mut Vec<KeyValue>, limit: usize) -> u32 {
    let dropped = attributes.len().saturating_sub(limit);
    let mut excess = dropped;
    if excess == 0 {
        return 0;
    }
    for index in (0..attributes.len()).rev() {
        let key = attributes[index].key.as_str();
        let ours = key.starts_with(attr::GEN_AI_PREFIX)
            || key == attr::ERROR_TYPE
            || key.starts_with("agentvitals.");
        if !ours {
            attributes.remove(index);
            excess -= 1;
            if excess == 0 {
                break;
            }
        }
    }
    attributes.truncate(limit);
    u32::try_from(dropped).unwrap_or(u32::MAX)
}

/// Cuts every text of a span to `limit` bytes and says how many it cut.
pub(crate) fn cut_to_fit(span: &mut SpanData, limit: usize) -> u64 {
    let mut cut = cut_attributes(&mut span.attributes, limit);
    for event in &mut span.events.events {
        cut += cut_attributes(&mut event.attributes, limit) + cut_name(&mut event.name, limit);
    }
    for link in &mut span.links.links {
        cut += cut_attributes(&mut link.attributes, limit);
    }
    cut += cut_name(&mut span.name, limit);
    if let Status::Error { description } = &mut span.status {
        cut += cut_name(description, limit);
    }
    cut
}

fn cut_name(name: &mut Cow<'static, str>, limit: usize) -> u64 {
    match truncated(name, limit) {
        Some(short) => {
            *name = short.into();
            1
        }
        None => 0,
    }
}

fn cut_attributes(attributes: &mut [KeyValue], limit: usize) -> u64 {
    let mut cut = 0;
    let mut one = |text: &mut StringValue| {
        if let Some(short) = truncated(text.as_str(), limit) {
            *text = short.into();
            cut += 1;
        }
    };
    for attribute in attributes {
        match &mut attribute.value {
            Value::String(text) => one(text),
            Value::Array(Array::String(texts)) => texts.iter_mut().for_each(&mut one),
            _ => {}
        }
        if attribute.key.as_str().len() > limit {
            attribute.key = Key::new(truncated(attribute.key.as_str(), limit).unwrap_or_default());
        }
    }
    cut
}

/// The text cut to `limit` bytes with a mark at its end, if it is longer. Never splits a character.
fn truncated(text: &str, limit: usize) -> Option<String> {
    if text.len() <= limit {
        return None;
    }
    // The mark counts too. Its number is written as if the whole text was dropped, which is never shorter.
    let room = limit.saturating_sub(mark(text.len()).len());
    let head = text.floor_char_boundary(if room == 0 { limit } else { room });
    let mut short = text[..head].to_owned();
    if room > 0 {
        short.push_str(&mark(text.len() - head));
    }
    Some(short)
}

fn mark(bytes: usize) -> String {
    format!("…[truncated {bytes} bytes]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character_and_says_how_much_is_missing() {
        assert_eq!(truncated("short", 32), None);
        let cut = truncated(&"é".repeat(100), 64).unwrap();
        assert!(cut.len() <= 64, "{}", cut.len());
        let head = cut.chars().take_while(|c| *c == 'é').count();
        assert_eq!(cut, format!("{}…[truncated {} bytes]", "é".repeat(head), 200 - 2 * head));
    }

    #[test]
    fn attributes_of_the_conventions_are_dropped_last() {
        let mut attributes: Vec<KeyValue> = (0..20).map(|i| KeyValue::new(format!("loop.{i}"), i)).collect();
        attributes.push(KeyValue::new(attr::USAGE_INPUT_TOKENS, 7));
        assert_eq!(drop_attributes(&mut attributes, 16), 5);
        assert_eq!(attributes.len(), 16);
        assert_eq!(attributes[15].key.as_str(), attr::USAGE_INPUT_TOKENS);
        assert_eq!(attributes[14].key.as_str(), "loop.14");
    }
}

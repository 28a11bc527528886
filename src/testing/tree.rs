//! Traces as indented text, for snapshots.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::span::ReceivedSpan;
use crate::semconv::attr;

/// Spans as an indented tree: children below their parents, siblings by start, then name.
///
/// Each line is the name, the kind in brackets and, for errors, `ERROR` and `error.type`. A span whose parent is
/// not among the spans stands at the margin, marked `(parent missing)` unless the parent is known to live in
/// another process. See [`TreeOptions`] for more on each line.
///
/// ```
/// use agentvitals::testing::{ReceivedSpan, tree};
/// let mut agent = ReceivedSpan::default();
/// (agent.name, agent.span_id) = ("invoke_agent planner".into(), "01".into());
/// let mut chat = ReceivedSpan::default();
/// (chat.name, chat.span_id, chat.kind) = ("chat gpt-4o".into(), "02".into(), "client".into());
/// chat.parent_span_id = Some("01".into());
/// assert_eq!(tree(&[chat, agent]), "invoke_agent planner [internal]\n  chat gpt-4o [client]\n");
/// ```
pub fn tree(spans: &[ReceivedSpan]) -> String {
    TreeOptions::new().render(spans)
}

/// What [`tree`] shows of each span.
///
/// ```
/// use agentvitals::testing::{ReceivedSpan, TreeOptions};
/// let mut chat = ReceivedSpan::default();
/// chat.name = "chat gpt-4o".into();
/// chat.attributes.insert("gen_ai.usage.input_tokens".into(), 12.into());
/// let tree = TreeOptions::new().attribute("gen_ai.usage.input_tokens").render(&[chat]);
/// assert_eq!(tree, "chat gpt-4o [internal] gen_ai.usage.input_tokens=12\n");
/// ```
#[derive(Debug, Clone)]
pub struct TreeOptions {
    attributes: Vec<String>,
    events: bool,
    status_message: bool,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeOptions {
    /// Shows `error.type` and no other attribute.
    pub fn new() -> Self {
        Self { attributes: vec![attr::ERROR_TYPE.to_owned()], events: false, status_message: false }
    }

    /// Shows this attribute too, on the spans that have it. Attributes show in the order of these calls.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>) -> Self {
        self.attributes.push(key.into());
        self
    }

    /// Shows these attributes too.
    #[must_use]
    pub fn attributes<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.attributes.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Shows the names of events, each on a line of its own. By default they are left out.
    #[must_use]
    pub fn events(mut self, shown: bool) -> Self {
        self.events = shown;
        self
    }

    /// Shows the message of error statuses. By default it is left out: it seldom is the same in every run.
    #[must_use]
    pub fn status_message(mut self, shown: bool) -> Self {
        self.status_message = shown;
        self
    }

    /// The tree. Each span shows once, whatever its parents say.
    pub fn render(&self, spans: &[ReceivedSpan]) -> String {
        let forest = Forest::of(spans);
        let mut text = String::new();
        let mut shown = vec![false; spans.len()];
        for &root in &forest.roots {
            self.walk(root, &forest, &mut shown, &mut text);
        }
        // What is left has no way to a root: its parents go round in a circle.
        for start in forest.order.iter().copied() {
            if !shown[start] {
                self.walk(start, &forest, &mut shown, &mut text);
            }
        }
        text
    }

    /// Not recursive: a chain of spans can be deeper than the stack.
    fn walk(&self, root: usize, forest: &Forest<'_>, shown: &mut [bool], text: &mut String) {
        let mut stack = vec![(root, 0)];
        while let Some((index, depth)) = stack.pop() {
            if std::mem::replace(&mut shown[index], true) {
                continue;
            }
            let span = &forest.spans[index];
            self.line(span, depth, forest.mark(index), text);
            stack.extend(forest.children_of(index).iter().rev().map(|&child| (child, depth + 1)));
        }
    }

    fn line(&self, span: &ReceivedSpan, depth: usize, mark: &str, text: &mut String) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{:indent$}{} [{}]", "", span.name, span.kind, indent = depth * 2);
        match span.status_code.as_str() {
            "error" => text.push_str(" ERROR"),
            "ok" => text.push_str(" OK"),
            _ => {}
        }
        for key in &self.attributes {
            match span.attr(key) {
                Some(Value::String(value)) => _ = write!(text, " {key}={value}"),
                Some(value) => _ = write!(text, " {key}={value}"),
                None => {}
            }
        }
        if self.status_message && !span.status_message.is_empty() {
            let _ = write!(text, " {:?}", span.status_message);
        }
        text.push_str(mark);
        text.push('\n');
        if self.events {
            for event in &span.events {
                let _ = writeln!(text, "{:indent$}- {}", "", event.name, indent = depth * 2 + 2);
            }
        }
    }
}

/// The spans with their relations, by index.
struct Forest<'a> {
    spans: &'a [ReceivedSpan],
    /// All spans by start, then name, then id.
    order: Vec<usize>,
    roots: Vec<usize>,
    children: HashMap<(&'a str, &'a str), Vec<usize>>,
    missing: Vec<bool>,
}

impl<'a> Forest<'a> {
    fn of(spans: &'a [ReceivedSpan]) -> Self {
        let mut order: Vec<_> = (0..spans.len()).collect();
        order.sort_by_key(|&index| {
            let span = &spans[index];
            (span.start_unix_nano, &span.name, &span.trace_id, &span.span_id)
        });
        let present: std::collections::HashSet<_> =
            spans.iter().map(|span| (span.trace_id.as_str(), span.span_id.as_str())).collect();
        let mut forest = Self {
            spans,
            order: Vec::new(),
            roots: Vec::new(),
            children: HashMap::new(),
            missing: vec![false; spans.len()],
        };
        for &index in &order {
            let span = &spans[index];
            match span.parent_span_id.as_deref().map(|parent| (span.trace_id.as_str(), parent)) {
                None => forest.roots.push(index),
                Some(parent) if present.contains(&parent) => {
                    forest.children.entry(parent).or_default().push(index);
                }
                Some(_) => {
                    forest.missing[index] = span.parent_is_remote != Some(true);
                    forest.roots.push(index);
                }
            }
        }
        forest.order = order;
        forest
    }

    fn children_of(&self, index: usize) -> &[usize] {
        let span = &self.spans[index];
        let key = (span.trace_id.as_str(), span.span_id.as_str());
        self.children.get(&key).map_or(&[], Vec::as_slice)
    }

    fn mark(&self, index: usize) -> &'static str {
        if self.missing[index] { " (parent missing)" } else { "" }
    }
}

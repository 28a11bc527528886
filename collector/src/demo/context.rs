//! What an agent has in mind: the messages that it sends with its next model call.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::client::Completion;
use super::runs::{Message, ToolCall};

/// What is kept of the messages. Recorded runs can be longer than a context window; and without a limit the
/// bytes that a run sends grow with the square of its length.
const MAX_BYTES: usize = 256 * 1024;

/// The messages of one agent, the oldest of which are forgotten beyond [`MAX_BYTES`].
#[derive(Debug)]
pub(super) struct Context {
    system: Value,
    messages: VecDeque<(usize, Value)>,
    bytes: usize,
}

impl Context {
    pub(super) fn new(agent: &str) -> Self {
        let system = json!({"role": "system", "content": format!("You are {agent}.")});
        Self { system, messages: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn add_input(&mut self, messages: &[Message]) {
        for message in messages {
            self.add(&message.role, None, &message.content);
        }
    }

    pub(super) fn add_answer(&mut self, answer: Completion) {
        let size = cut(&answer.text).len();
        let mut message = json!({"role": "assistant", "content": cut(&answer.text)});
        if !answer.tool_calls.is_empty() {
            message["tool_calls"] = answer.tool_calls.into();
        }
        self.push(size, message);
    }

    pub(super) fn add_result(&mut self, call: &ToolCall) {
        self.add("tool", call.call_id.as_deref(), &call.result);
    }

    /// The messages to send.
    pub(super) fn messages(&self) -> Vec<Value> {
        let messages = self.messages.iter().map(|(_, message)| message.clone());
        std::iter::once(self.system.clone()).chain(messages).collect()
    }

    fn add(&mut self, role: &str, call_id: Option<&str>, content: &str) {
        let content = cut(content);
        let mut message = json!({"role": role, "content": content});
        if let Some(id) = call_id {
            message["tool_call_id"] = id.into();
        }
        self.push(content.len(), message);
    }

    fn push(&mut self, size: usize, message: Value) {
        self.messages.push_back((size, message));
        self.bytes += size;
        while self.bytes > MAX_BYTES {
            let Some((size, _)) = self.messages.pop_front() else { break };
            self.bytes -= size;
        }
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_BYTES / 4)]
}
